"""What the operator renders for engines is what the runtime understands: arguments, environment, probes."""

import ast
import functools
from pathlib import Path

import pytest
from rendered import SPECS, TEMPLATE, containers, every_deployment, of_kind, render

from manta_operator.api import names
from manta_operator.box.apiserver.server import ApiServer
from manta_operator.box.kubelet.env import container_env
from manta_operator.box.kubelet.expand import expand
from manta_operator.builders.access import group_secret
from manta_operator.planning.adapters import lora_of
from manta_runtime.engine import control
from manta_runtime.engine.command import engine
from manta_runtime.engine.commands import engine_environment, vllm_command
from manta_runtime.engine.settings import GROUP_TOKEN, EngineSettings, check_group_token, check_settings
from manta_runtime.engine.vllm_flags import find_flag, has_flag
from manta_runtime.main import main

DEPLOYMENTS = every_deployment()
every = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())
TOKEN = "a-token-only-the-pods-of-the-group-know"
GIVEN_BY_OTHERS = {"MANTA_CPU_RAY", "RAY_ADDRESS", "KUBECONFIG", "VLLM_API_KEY"}


def started(deployment, rank=0, group=0):
    """The settings and the environment of one engine pod, read as the pod itself would."""
    _, objects = render(deployment)
    statefulset = of_kind(objects, "StatefulSet")[group]
    name = f"{statefulset['metadata']['name']}-{rank}"
    labels = statefulset["spec"]["template"]["metadata"]["labels"] | {names.LABEL_POD_INDEX: str(rank)}
    pod = {
        "metadata": {"name": name, "namespace": deployment.namespace, "labels": labels},
        "status": {"podIP": "10.0.0.7"},
    }
    cluster = ApiServer(token="t", service_addresses=iter(())).cluster
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hugging-face", "namespace": "default"},
            "stringData": {"HF_TOKEN": "secret"},
        }
    )
    if deployment.namespace != "default":
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": deployment.namespace}})
    cluster.create(group_secret(deployment, TOKEN))
    container = containers(statefulset)["engine"]
    env = container_env(cluster, pod, container, {}, {})
    assert main.get_command(None, container["command"][1]) is engine
    context = engine.make_context("engine", [expand(arg, env) for arg in container["args"]])
    more = {"pod_name": env["POD_NAME"], "scratch": Path("/tmp"), "group_token": env.get(GROUP_TOKEN, "")}
    return EngineSettings(**context.params, **more), env


@every
def test_the_launcher_accepts_what_is_rendered(deployment):
    plan = render(deployment)[0].plan
    for rank in range(plan.shape.pods):
        settings, env = started(deployment, rank)
        check_settings(settings)
        check_group_token(settings)
        assert settings.group_token == (TOKEN if plan.shape.pods > 1 else "")
        assert (settings.rank, settings.group_size, settings.pod_ip) == (rank, plan.shape.pods, "10.0.0.7")
        assert (settings.port, settings.control_port) == (names.ENGINE_PORT, names.CONTROL_PORT)
        assert settings.executor == plan.shape.executor
        assert settings.accelerators_per_pod == plan.shape.per_pod
        assert settings.accelerator == ("cpu" if deployment.spec.accelerator.type == "cpu" else "gpu")
        assert settings.startup_seconds == deployment.spec.engine.startup_seconds
        assert settings.drain_seconds == deployment.spec.rollout.drain_seconds
        assert settings.hang_seconds == deployment.spec.engine.hang_seconds
        head = f"{plan.groups[0].name}-0"
        assert settings.head == f"{head}.{deployment.name}-group.{deployment.namespace}.svc"
        assert settings.pod_name == env["POD_NAME"] == f"{plan.groups[0].name}-{rank}"


@every
def test_the_group_has_room_for_its_ranks(deployment):
    settings, _ = started(deployment)
    plan = render(deployment)[0].plan
    assert settings.ranks.total == plan.shape.ranks == settings.group_size * settings.accelerators_per_pod
    assert (settings.ranks.data, settings.ranks.width) == (plan.shape.data, plan.shape.width)


@pytest.mark.parametrize(
    ("name", "model", "place"),
    [
        ("hub", "/mnt/cache/models/org-model-v1-9fc07cfa93", "/mnt/cache"),
        ("claim", "/mnt/model/llama/8b", "/mnt/model"),
        ("whole claim", "/mnt/model", "/mnt/model"),
        ("folder", "/mnt/model", "/mnt/model"),
    ],
)
def test_the_model_arrives(name, model, place):
    settings, _ = started(DEPLOYMENTS[name])
    assert (settings.model, settings.model_is_local) == (model, True)
    statefulset = of_kind(render(DEPLOYMENTS[name])[1], "StatefulSet")[0]
    mounts = {mount["mountPath"]: mount for mount in containers(statefulset)["engine"]["volumeMounts"]}
    assert mounts[place]["readOnly"] is True


def test_a_chat_template_reaches_vllm_as_it_was_written():
    settings, _ = started(DEPLOYMENTS["chat template"])
    assert find_flag(settings.vllm_flags, "--chat-template") == TEMPLATE


def test_every_engine_field_reaches_vllm():
    settings, _ = started(DEPLOYMENTS["every engine field"])
    told = {
        "--dtype": "float16",
        "--quantization": "fp8",
        "--kv-cache-dtype": "fp8_e5m2",
        "--attention-backend": "FLASHINFER",
        "--max-model-len": "4096",
        "--max-num-seqs": "32",
        "--gpu-memory-utilization": "0.85",
        "--seed": "7",
    }
    assert {flag: find_flag(settings.vllm_flags, flag) for flag in told} == told
    for flag in ("--no-enable-prefix-caching", "--enforce-eager", "--enable-chunked-prefill"):
        assert has_flag(settings.vllm_flags, flag)
    assert not has_flag(settings.vllm_flags, "--enable-prefix-caching")


@pytest.mark.parametrize(("cpu", "threads"), [("1500m", "2"), ("4", "4"), ("500m", "1"), (None, "1")])
def test_the_cpu_request_becomes_threads_on_cpu(cpu, threads):
    spec = DEPLOYMENTS["folder"].spec
    resources = spec.engine.resources.model_copy(update={"cpu": cpu})
    changed = spec.model_copy(update={"engine": spec.engine.model_copy(update={"resources": resources})})
    settings, env = started(DEPLOYMENTS["folder"].model_copy(update={"spec": changed}))
    assert engine_environment(settings, env)["OMP_NUM_THREADS"] == threads


@every
def test_every_variable_the_runtime_reads_is_rendered(deployment):
    read = read_by_the_runtime()
    assert "POD_NAME" in read
    _, env = started(deployment)
    missing = read - set(env) - GIVEN_BY_OTHERS
    unasked = {"MANTA_CPU_REQUEST"} if deployment.spec.engine.resources.cpu is None else set()
    unasked |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING"} if lora_of(deployment.spec) is None else set()
    assert missing <= unasked


@functools.cache
def read_by_the_runtime():
    """The names of all environment variables that any module of the runtime reads, but for the fetch."""
    files = (path for path in Path(control.__file__).parents[1].rglob("*.py") if path.parent.name != "models")
    return {name for path in files for name in environment_reads(ast.parse(path.read_text()))}


def environment_reads(tree):
    """Constant names in `environ.get("X")` and `environ["X"]`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("environ.get"):
            yield node.args[0].value
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
            yield node.slice.value


@every
def test_the_engines_probes_exist(deployment):
    served = {route.resource.canonical for route in control._application(None).router.routes() if route.method == "GET"}
    for statefulset in of_kind(render(deployment)[1], "StatefulSet"):
        container = containers(statefulset)["engine"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] in served
            assert container[probe]["httpGet"]["port"] == names.CONTROL_PORT


def test_the_table_covers_every_executor():
    shapes = {started(DEPLOYMENTS[name])[0].executor for name in SPECS}
    assert shapes == {"uni", "mp", "ray"}
    assert vllm_command(started(DEPLOYMENTS["mp"])[0])[-1] == "--distributed-executor-backend=mp"
