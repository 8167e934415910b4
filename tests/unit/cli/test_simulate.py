"""`manta simulate`: what is simulated comes from manifest and options; wrong input ends in one line, exit code 2."""

import gzip
from pathlib import Path

import pytest
import yaml

from manta_operator.cli import simulate_command, simulate_plot
from manta_operator.cli.facts import Lookup
from manta_operator.cli.failures import Refused
from manta_operator.cli.simulate_case import Wish, case, with_rates
from manta_operator.controller.demand import LOOK_SECONDS
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.policies.manta import estimate

EXAMPLES = Path(__file__).parents[3] / "examples"
SCALING = {
    "minReplicas": 0, "maxReplicas": 6, "signal": "latency",
    "target": {"utilisationPercent": 70, "firstTokenMilliseconds": 2000, "betweenTokensMilliseconds": 50,
               "objectivePercent": 95},
    "scaleToZero": {"afterSeconds": 30}, "behaviour": {"stabilisationSeconds": 77, "upReplicas": 2},
}  # fmt: skip
ROWS = [f"{at},{200 + at % 7},{20 + at % 5}" for at in range(0, 240, 2)]


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text("\n".join(["seconds,prompt_tokens,output_tokens", *ROWS]))
    return path


def manifest(tmp_path, example="llama-8b.yaml", **spec):
    body = yaml.safe_load((EXAMPLES / example).read_text())
    body["spec"] |= spec
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


def test_the_manifest_says_what_the_operator_would_be_told(tmp_path):
    path = manifest(tmp_path, autoscaling=SCALING, rollout={"drainSeconds": 45})
    found = case(Wish(path, cold_start=45.0), Lookup())
    setup, told = found.setup, found.settings
    assert (setup.least, setup.most, setup.cold_start) == (0, 6, 45.0)
    assert (told.least, told.most, told.idle_seconds, told.behaviour.hold, told.behaviour.up_count) == (0, 6, 30, 77, 2)
    assert (told.target.utilisation, told.target.first_token, told.target.measured) == (0.7, 2.0, True)
    assert (found.slo.base, found.slo.between, found.slo.objective) == (2.0, 0.05, 0.95)
    assert (found.gpus, found.unit, setup.drain) == (1, "GPU", 45.0)
    assert "on 1 x nvidia-l40s" in found.name
    assert told.estimate.cold_start == 45.0
    assert told.interval == LOOK_SECONDS
    # What the autoscaler is told and what it meets are two ways to the same estimate.
    meets = estimate(setup.model, 45.0)
    assert told.estimate.prefill_tokens_per_s == pytest.approx(meets.prefill_tokens_per_s, rel=0.1)
    assert told.estimate.decode_tokens_per_s == pytest.approx(meets.decode_tokens_per_s, rel=0.25)


def test_options_outweigh_the_manifest(tmp_path):
    path = manifest(tmp_path, "llama-70b-tensor4.yaml", autoscaling=SCALING)
    wish = Wish(path, 1, 3, rates=(8000.0, 900.0), speed=0.5, first_token=1.5, between_tokens=0.2, per_hour=2.5)
    found = case(wish, Lookup())
    assert (found.setup.least, found.setup.most, found.setup.model.speed) == (1, 3, 0.5)
    assert (found.settings.least, found.settings.most) == (1, 3)
    assert (found.slo.base, found.slo.between, found.gpus, found.per_hour) == (1.5, 0.2, 4, 2.5)
    assert estimate(found.setup.model, 0.0).decode_tokens_per_s == pytest.approx(450)
    # The operator does not know what was measured: it is told its own estimate.
    assert found.settings.estimate.decode_tokens_per_s > 2000


def test_without_a_manifest_the_defaults_are_those_of_the_page():
    found = case(Wish(), Lookup())
    assert (found.setup.least, found.setup.most, found.setup.cold_start) == (1, 40, 120.0)
    assert found.settings.estimate == estimate(EngineModel(), 120.0)
    assert found.per_hour is None


def test_an_engine_does_what_was_measured():
    found = estimate(with_rates(EngineModel(), (5000.0, 700.0)), 0.0)
    assert found.prefill_tokens_per_s == pytest.approx(5000)
    assert found.decode_tokens_per_s == pytest.approx(700)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--trace", "gone.csv"], "error: --trace: no trace at gone.csv: there is no such file; give CSV"),
        (["--trace", "."], "error: --trace: .: is a folder"),
        (["--trace", "binary"], "error: --trace: binary: is not text in UTF-8"),
        (["--trace", "broken.gz"], "error: --trace: broken.gz: its gzip archive is broken"),
        (["--trace", "cut.gz"], "error: --trace: cut.gz: its gzip archive is broken"),
        (["--trace", "long"], "error: --trace: long:1: a line of more than a megabyte"),
        (["--trace", "my.csv", "--times", "1e6"], "error: --trace: my.csv: 1e+06 times its 120 requests are more than"),
        (["--trace", "my.csv", "--times", "1e-6"], "error: --trace: my.csv: 1e-06 times its 120 requests are none"),
        (["--trace", "my.csv", "--times", "2", "--peak", "2"], "error: --peak and --times exclude each other"),
        (["--trace", "-", "-f", "-"], "error: --trace and -f cannot both be standard input"),
        (["--trace", "my.csv", "--min", "5", "--max", "2"], "error: --min, --max: minReplicas 5 and maxReplicas 2"),
        (["--trace", "my.csv", "--png", "no/where.png"], "error: --png no/where.png: name a file in a folder"),
        (["--trace", "my.csv", "-f", "gone.yaml"], "error: gone.yaml: there is no such file"),
        (["--trace", "my.csv", "-f", "strange.yaml"], "cannot be estimated: nothing is known of the model"),
        (["--trace", "my.csv", "-f", "two.yaml"], "one LLMDeployment is simulated, and the file has a, b"),
        (["--trace", "my.csv", "--engine-estimate", "12000"], "'12000': write two numbers, tokens"),
        (["--trace", "my.csv", "--engine-estimate", "nan,1"], "write two numbers"),
        (["--trace", "my.csv", "--engine-estimate", "1e-9,1"], "write two numbers"),
        (["--trace", "short.csv"], "error: --trace: short.csv: its requests come within 58 s: give at least a minute"),
        (["--trace", "my.csv", "--cold-start", "nan"], "--cold-start"),
        (["--trace", "my.csv", "--peak", "inf"], "--peak"),
        (["--trace", "my.csv", "--policy", "luck"], "'luck' is not one of"),
    ],
)
def test_wrong_input_ends_in_a_sentence(manta, trace, tmp_path, words, says):
    (tmp_path / "binary").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8bnothing at all")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(trace.read_bytes())[:-200])
    (tmp_path / "short.csv").write_text("\n".join(["seconds,prompt_tokens,output_tokens", *ROWS[:30]]))
    (tmp_path / "long").write_bytes(b"x" * 1_100_000)
    body = yaml.safe_load((EXAMPLES / "llama-8b.yaml").read_text())
    strange = body | {"spec": body["spec"] | {"model": {"uri": "hf://nobody/knows"}}}
    (tmp_path / "strange.yaml").write_text(yaml.safe_dump(strange))
    two = [body | {"metadata": {"name": name}} for name in "ab"]
    (tmp_path / "two.yaml").write_text(yaml.safe_dump_all(two))
    ended = manta("simulate", *words)
    assert ended.exit_code == 2, ended.output
    assert says in ended.stderr
    assert "Traceback" not in ended.output


def test_of_two_the_one_that_is_scaled_is_meant(tmp_path):
    body = yaml.safe_load((EXAMPLES / "llama-8b.yaml").read_text())
    other = body | {"metadata": {"name": "b"}, "spec": body["spec"] | {"autoscaling": SCALING}}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([body, other]))
    assert case(Wish(path), Lookup()).name.startswith("b: ")


def test_ctrl_c_ends_it(manta, trace, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate_command, "read", interrupted)
    assert manta("simulate", "--trace", trace).exit_code == 130


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(simulate_plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"pip install 'manta\[plot\]'"):
        simulate_plot.check(tmp_path / "x.png")
