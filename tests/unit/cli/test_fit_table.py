"""What `manta plan` says of the fit: the same numbers in a table and as JSON, and why smaller shapes were not taken."""

import json
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from manta_operator.cli import fit_table
from manta_operator.cli.main import main
from manta_operator.planning.choice import Rejected
from manta_operator.planning.estimate import Estimate
from manta_operator.planning.fit import Fit
from manta_operator.planning.plan import Plan
from manta_operator.planning.roofline import Performance
from manta_operator.planning.shape import Shape

GIB = 2**30
FIT = Fit(
    "True", "it fits", weights_per_rank=15 * GIB, kv_cache_per_rank=50 * GIB, kv_cache_tokens=400_000,
    max_model_len=8192, overhead_per_rank=Estimate(4.0 * GIB, 3.0 * GIB, 5.0 * GIB),
    kv_cache=Estimate(50.0 * GIB, 48.0 * GIB, 52.0 * GIB), tokens=Estimate(400_000, 384_000, 416_000),
    kv_bytes_per_token=131_072, concurrency=48.828, margin_per_rank=49 * GIB, basis="catalog",
)  # fmt: skip
SPEED = Performance(1024, 256, Estimate(100, 60, 160), 64, Estimate(3000, 1800, 4800), Estimate(0.05, 0.03, 0.08))
SHAPE = Shape(1, 1, 1, "uni")
PLAN = Plan(SHAPE, FIT, "new", (), (), (), performance=SPEED)
SPEC = """
apiVersion: manta.dev/v1alpha1
kind: LLMDeployment
metadata: {name: demo}
spec:
  model: {uri: "hf://meta-llama/Llama-3.3-70B-Instruct"}
  accelerator: {type: nvidia-h100-80gb}
  engine: {maxModelLen: 8192}
"""


def test_every_number_has_its_row():
    lines = [" ".join(click.unstyle(line).split()) for line in fit_table.table(PLAN, None, 0)]
    assert lines == [
        "FIT PREDICTED BETWEEN OF",
        "weights 15.0 GiB a rank",
        "overhead 4.0 GiB 3.0 GiB to 5.0 GiB a rank: activations, CUDA graphs and the like",
        "KV cache 50.0 GiB 48.0 GiB to 52.0 GiB a rank, 131072 bytes a token",
        "margin 49.0 GiB a rank: KV cache beyond one request of the longest kind",
        "tokens 400000 384000 to 416000 a replica's KV cache",
        "requests at once 48.8 8192 tokens each",
        "tokens/s alone 100 60 to 160 1024 tokens in, 256 out; an estimate",
        "tokens/s at most 3000 1800 to 4800 64 requests at once",
        "first token 0.05 s 0.03 s to 0.08 s",
    ]


def test_what_is_missing_is_told_with_its_sign():
    lines = fit_table.table(replace(PLAN, fit=replace(FIT, margin_per_rank=-3 * GIB)), None, 0)
    assert any("-3.0 GiB" in line for line in lines)


def test_nothing_is_said_where_nothing_was_counted():
    assert fit_table.table(Plan(SHAPE, Fit("Unknown", "nobody knows"), "new", (), (), ()), None, 0) == []


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_narrow_terminal_keeps_the_numbers(width):
    lines = fit_table.table(PLAN, width, 0)
    assert all("GiB" in line for line in lines[1:4])


@pytest.mark.parametrize(("many", "told"), [(0, 0), (1, 1), (4, 4), (5, 5), (9, 5)])
def test_of_many_rejected_shapes_some_are_told(many, told):
    lines = fit_table.rejected(tuple(Rejected(SHAPE, f"too small {number}") for number in range(many)))
    assert len(lines) == told
    if many == 9:
        assert lines[-2:] == ["5 more in between", str(Rejected(SHAPE, "too small 8"))]


def run(tmp_path, *args, more=""):
    file = tmp_path / "demo.yaml"
    file.write_text(SPEC + more)
    result = CliRunner().invoke(main, ["plan", "-f", str(file), *args])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_and_json_say_the_same(tmp_path):
    [said] = json.loads(run(tmp_path, "-o", "json"))
    text = run(tmp_path)
    found = said["fit"]
    assert found["fits"] == "True"
    assert found["basis"] == "catalog"
    assert f"{found['weightsPerRank'] / GIB:.1f} GiB" in text
    assert str(found["kvCacheTokens"]) in text
    assert found["tokens"]["low"] <= found["kvCacheTokens"] <= found["tokens"]["high"]
    assert f"{found['concurrency']:.1f}" in text
    assert found["rejected"], "one accelerator is not enough"
    assert f"not {found['rejected'][0]['shape']}: " in text


def test_the_json_of_what_is_not_known_is_null():
    found = fit_table.as_json(Plan(SHAPE, Fit("Unknown", "nobody knows"), "new", (), (), ()))
    assert {name for name, value in found.items() if value is not None} == {"fits", "message", "rejected"}


def test_what_is_started_although_it_does_not_fit_says_why(tmp_path):
    text = run(tmp_path, more="  parallelism: {tensor: 1, pipeline: 1}\n  fit: {policy: warn}\n")
    assert "fit       does not fit: " in text
    assert "started all the same, since spec.fit.policy is warn" in text
