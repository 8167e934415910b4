"""The command line on good and bad input: what is printed, where, and the exit code."""

import json
import socket
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from manta_operator.cli.main import main

ROOT = Path(__file__).parents[3]
GOOD = """\
apiVersion: manta.dev/v1alpha1
kind: LLMDeployment
metadata: {name: demo}
spec:
  model: {uri: "file:///models/tiny"}
  accelerator: {type: cpu}
  engine: {maxModelLen: 512, kvCacheMemory: 64Mi, resources: {memory: 2Gi}}
"""
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "max_position_embeddings": 1024,
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header = json.dumps({"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    return folder


def run(*args: str, manifest: str | bytes = GOOD, models: Path | None = None, tmp: Path):
    path = tmp / "demo.yaml"
    path.write_bytes(manifest if isinstance(manifest, bytes) else manifest.encode())
    maps = [f"--map=/models={models.parent}"] if models else []
    return CliRunner().invoke(main, [*args, "-f", str(path), *maps])


def test_plan_as_json(tmp_path, model):
    result = run("plan", "-o", "json", models=model, tmp=tmp_path)
    assert result.exit_code == 0, result.output
    (plan,) = json.loads(result.output)
    assert plan["fit"]["fits"] == "True"
    assert plan["shape"] == {
        "tensor": 1,
        "pipeline": 1,
        "data": 1,
        "expert": False,
        "acceleratorsPerPod": 1,
        "podsPerReplica": 1,
        "executor": "uni",
    }
    assert "StatefulSet/demo-" + plan["revision"] + "-0" in plan["objects"]


def test_plan_for_people_says_why(tmp_path, model):
    result = run("plan", models=model, tmp=tmp_path)
    assert result.exit_code == 0
    assert "8 heads" in result.output
    assert "fits:" in result.output


def test_without_the_packages_of_the_box_up_says_what_to_install(monkeypatch):
    for name in ("manta_operator.cli.up_command", "manta_operator.box.box"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "trustme", None)
    result = CliRunner().invoke(main, ["up", "-f", "x.yaml"])
    assert result.exit_code == 2
    assert result.output == (
        "error: `manta up` needs trustme, which is not installed: pip install 'manta[operator,box]'\n"
    )
    assert "Not here" in CliRunner().invoke(main, ["--help"]).output
    assert CliRunner().invoke(main, ["plan", "--help"]).exit_code == 0


def test_plan_in_a_pipe_is_one_line_a_fact(tmp_path, model):
    lines = run("plan", models=model, tmp=tmp_path).output.splitlines()
    assert lines[0].endswith("/demo")
    facts = [line for line in lines[1:] if not line.startswith(" ")]  # the fit's table stands below its line
    assert [line.split()[0] for line in facts] == [
        "model",
        "facts",
        "replicas",
        "fit",
        "memory",
        "router",
        "endpoint",
        "revision",
    ]
    assert max(map(len, lines)) > 80
    assert [line for line in lines if line != line.rstrip()] == []


def test_render_prints_what_is_applied(tmp_path, model):
    result = run("render", models=model, tmp=tmp_path)
    kinds = [document["kind"] for document in yaml.safe_load_all(result.output)]
    assert kinds[-1] == "Deployment"
    assert kinds.index("StatefulSet") < kinds.index("Deployment"), "routers come when there is something to route to"


@pytest.mark.parametrize(
    ("case", "manifest", "words"),
    [
        ("not YAML", "spec: [", ["demo.yaml"]),
        ("unknown field", GOOD.replace("maxModelLen", "maxmodellen"), ["spec.engine.maxmodellen", "maxModelLen"]),
        ("wrong type", GOOD.replace("512", "lots"), ["spec.engine.maxModelLen", "integer"]),
        ("does not divide", GOOD + "  parallelism: {tensor: 3}\n", ["spec.parallelism.tensor", "1, 2, 4, 8"]),
        ("unknown accelerator", GOOD.replace("cpu", "abacus"), ["spec.accelerator.type", "use one of"]),
        ("another kind", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", ["LLMDeployment"]),
        ("not text", b"\xff\xfe\x00", ["UTF-8"]),
        (
            "two mistakes at once",
            GOOD.replace("512", "lots").replace("cpu", "C P U"),
            ["maxModelLen", "accelerator.type"],
        ),
    ],
)
def test_bad_input_is_refused_with_field_and_remedy(case, manifest, words, tmp_path, model):
    for command in ("plan", "render", "up"):
        result = run(command, manifest=manifest, models=model, tmp=tmp_path)
        assert result.exit_code == 2, case
        for word in words:
            assert word in result.output, case
        assert "Traceback" not in result.output


def test_a_checkpoint_that_is_not_there_is_refused_by_up(tmp_path):
    result = run("up", tmp=tmp_path)
    assert result.exit_code == 2
    assert "spec.model.uri" in result.output
    assert "does not exist on this machine" in result.output
    assert "--map" in result.output


def test_a_broken_checkpoint_is_refused(tmp_path, model):
    (model / "config.json").write_text("{")
    result = run("plan", models=model, tmp=tmp_path)
    assert result.exit_code == 2
    assert "config.json" in result.output


def test_up_refuses_more_memory_than_there_is(tmp_path, model):
    result = run("up", manifest=GOOD.replace("2Gi", "9000Gi"), models=model, tmp=tmp_path)
    assert result.exit_code == 2
    assert "spec.replicas" in result.output
    assert "the pods ask for 9000." in result.output


def test_up_refuses_a_port_that_is_taken(tmp_path, model):
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = run("up", manifest=GOOD + f"  router: {{port: {port}}}\n", models=model, tmp=tmp_path)
    assert result.exit_code == 2
    assert f"spec.router.port: port {port} is taken" in result.output
    assert "stop it, or use another port" in result.output


@pytest.mark.parametrize(
    ("option", "words"),
    [("--map=nonsense", "write it as"), ("--map=/models=/does/not/exist", "there is no folder")],
)
def test_maps_are_checked(option, words, tmp_path):
    (tmp_path / "demo.yaml").write_text(GOOD)
    result = CliRunner().invoke(main, ["plan", "-f", str(tmp_path / "demo.yaml"), option])
    assert result.exit_code == 2
    assert words in result.output


def test_a_file_that_is_not_there():
    result = CliRunner().invoke(main, ["plan", "-f", "nowhere.yaml"])
    assert result.exit_code == 2
    assert "nowhere.yaml: there is no such file" in result.output


@pytest.mark.parametrize("command", ["status", "logs x"])
def test_without_a_box_the_remedy_is_named(command, tmp_path):
    result = CliRunner().invoke(main, [*command.split(), "--state", str(tmp_path)])
    assert result.exit_code == 2
    assert "manta up" in result.output


def test_down_without_a_box_is_no_error(tmp_path):
    result = CliRunner().invoke(main, ["down", "--state", str(tmp_path)])
    assert result.exit_code == 0
    assert "no box runs" in result.output


def test_up_refuses_an_image_of_a_model(tmp_path, model):
    result = run("up", manifest=GOOD.replace("file:///models/tiny", "oci://r.io/m:1"), models=model, tmp=tmp_path)
    assert result.exit_code == 2
    assert "spec.model.uri: oci://r.io/m:1: the box mounts no images; unpack it into a folder" in result.output


@pytest.mark.parametrize(
    ("model_spec", "words"),
    [
        ("uri: hf://a/b", "fetched by every new pod, into an emptyDir, before the engine starts"),
        ("uri: hf://a/b, credentialsSecret: s, cache: {claim: c}", "fetched with Secret s into claim c, once, before"),
        ("uri: s3://abc, endpoint: http://m, cache: {hostPath: /c}", "fetched from http://m into /c of the node, once"),
        ("uri: oci://r.io/m:1", "an image volume: needs Kubernetes 1.35"),
    ],
)
def test_plan_says_how_the_weights_come(model_spec, words, tmp_path):
    result = run("plan", manifest=GOOD.replace('uri: "file:///models/tiny"', model_spec), tmp=tmp_path)
    assert result.exit_code == 0, result.output
    assert words in result.output


def test_up_refuses_more_cores_than_there_are(tmp_path, model):
    result = run("up", manifest=GOOD.replace("memory: 2Gi", "cpu: 4000"), models=model, tmp=tmp_path)
    assert result.exit_code == 2
    assert "the pods ask for 4000" in result.output


def test_a_name_in_two_files_is_refused(tmp_path, model):
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text(GOOD)
    files = [argument for name in ("one.yaml", "two.yaml") for argument in ("-f", str(tmp_path / name))]
    result = CliRunner().invoke(main, ["plan", *files, f"--map=/models={model.parent}"])
    assert result.exit_code == 2
    assert "two.yaml: metadata.name: default/demo is in" in result.output


def test_text_that_looks_like_markup_is_printed_as_it_is(tmp_path, model):
    config = CONFIG | {"architectures": ["[/model/layers][rank0]"]}
    (model / "config.json").write_text(json.dumps(config))
    result = run("plan", models=model, tmp=tmp_path)
    assert result.exit_code == 0, result.output
    assert "[rank0]" in result.output
