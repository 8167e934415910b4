"""`manta simulate` from end to end: a small trace in every form, a table, plain values, a picture."""

import gzip
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from manta_operator.cli.main import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "llama-8b.yaml"
ROWS = [(at, 200 + at % 7, 20 + at % 5) for at in range(0, 240, 2)]


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text("\n".join(["seconds,prompt_tokens,output_tokens", *(",".join(map(str, row)) for row in ROWS)]))
    return path


def simulate(*words, stdin=None):
    return CliRunner().invoke(main, ["simulate", *map(str, words)], input=stdin, prog_name="manta")


def test_a_trace_is_compared_and_told_of(trace):
    ended = simulate("--trace", trace, "--policy", "hpa-queue", "--cold-start", 20, "--past", 60, "--max", 3)
    assert ended.exit_code == 0, ended.output
    assert "90 requests in 3 minutes, after 60 s of past, the trace's own beginning" in ended.stdout
    assert [line.split()[0] for line in ended.stdout.splitlines()[6:10]] == ["POLICY", "oracle", "manta", "hpa-queue"]
    assert "With manta, " in ended.stdout
    assert "There is little to scale" in ended.stdout
    assert "times as fast as time passes" in ended.stdout


def test_scripts_get_plain_values(trace, tmp_path):
    body = yaml.safe_load(EXAMPLE.read_text())
    body["spec"]["autoscaling"] = {"maxReplicas": 6, "target": {"objectivePercent": 95}}
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(body))
    ended = simulate("--trace", trace, "-f", path, "--peak", 2, "--policy", "fixed-mean", "--past", 0,
                  "--per-hour", 3, "-o", "json")  # fmt: skip
    assert ended.exit_code == 0, ended.output
    document = json.loads(ended.stdout)
    assert document["trace"]["form"] == "plain CSV"
    assert document["trace"]["peakReplicas"] == pytest.approx(2)
    assert (document["maxReplicas"], document["objective"]) == (6, 0.95)
    assert list(document["policies"]) == ["oracle", "manta", "fixed-mean"]
    row = document["policies"]["manta"]
    assert row["cost"] == pytest.approx(3 * row["gpuHours"], abs=0.01)
    assert 0 <= row["sloAttainment"] <= 1
    assert row["gpuHoursOverOracle"] == pytest.approx(
        row["gpuHours"] / document["policies"]["oracle"]["gpuHours"], rel=0.01
    )


def test_the_routers_log_can_be_piped_in_and_a_picture_drawn(tmp_path):
    lines = ["[info] not of a request"]
    for at, prompt, answer in ROWS:
        row = {"time": f"2026-11-21T10:{at // 60:02}:{at % 60:02}.250Z", "path": "/v1/chat/completions", "status": 200,
               "prompt_tokens": prompt, "completion_tokens": answer, "cached_tokens": prompt // 2}  # fmt: skip
        lines.append(json.dumps(row))
    png = tmp_path / "my.png"
    ended = simulate("--trace", "-", "--policy", "fixed-mean", "--cold-start", 10, "--max", 3, "--past", 0,
                     "--png", png, "-o", "wide", stdin="\n".join(lines))  # fmt: skip
    assert ended.exit_code == 0, ended.output
    assert "standard input (access log): 120 requests in 4 minutes, 1 other line left out" in ended.stdout
    assert "50% of the prompts' tokens came from prefix caches" in ended.stdout
    assert "FIRST TOKEN P50" in ended.stdout
    assert png.read_bytes()[:4] == b"\x89PNG"


def test_gzip_and_scale_to_zero(tmp_path, trace):
    packed = tmp_path / "my.csv.gz"
    late = "\n".join(f"{1200 + at},{prompt},{answer}" for at, prompt, answer in ROWS)
    packed.write_bytes(gzip.compress(f"{trace.read_text()}\n{late}".encode()))
    body = yaml.safe_load(EXAMPLE.read_text())
    body["spec"]["autoscaling"] = {"minReplicas": 0, "maxReplicas": 2, "scaleToZero": {"afterSeconds": 60}}
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(body))
    words = ["--trace", packed, "-f", path, "--past", 0, "--cold-start", 30, "--policy", "fixed-mean", "-o", "json"]
    found = json.loads(simulate(*words).stdout)["policies"]
    # It goes to zero in the gap, which a replica that is always there does not, and lets some wait for a start.
    assert found["manta"]["gpuHours"] < 0.8 * found["fixed-mean"]["gpuHours"]
    assert found["manta"]["firstTokenP99Seconds"] > 10
