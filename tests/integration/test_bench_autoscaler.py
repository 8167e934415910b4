"""The comparison of autoscaling policies: traces are found and scaled, rows are complete, pictures are drawn."""

import gzip
import json
from dataclasses import replace

import pytest
from autoscaler import main as bench
from autoscaler.report import verdict
from autoscaler_validation import main as validation
from autoscaler_validation.cases import Case
from click.testing import CliRunner

from manta_operator.cli.simulate_trace import read
from manta_operator.scaling.simulation.compare import compare
from manta_operator.scaling.simulation.fleet import Setup
from manta_operator.scaling.simulation.model import EngineModel
from manta_operator.scaling.simulation.outcome import Slo
from manta_operator.scaling.simulation.policies.manta import manta
from manta_operator.scaling.simulation.scene import made_up, make
from manta_operator.scaling.simulation.trace import rates

MODEL = EngineModel(speed=0.25, step_tokens=2048)
KEYS = {"slo_attainment", "gpu_hours", "gpu_hours_over_oracle", "reaction_s"}


def written(tmp_path, seconds=600):
    path = tmp_path / "some.csv.gz"
    rows = [f"2026-01-01 00:{at // 60:02}:{at % 60:02}.0000000,1500,{20 + at % 7}" for at in range(0, seconds, 2)]
    path.write_bytes(gzip.compress("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]).encode()))
    return path


def test_a_scene_fills_what_was_asked_for(tmp_path):
    path = written(tmp_path)
    scene = make("some", read(path).trace, MODEL, peak=6.0, past=120.0, seed=1)
    assert scene.begin == 120.0
    load = rates(scene.trace, MODEL.work, 60.0, scene.trace[-1].at)
    assert max(load) == pytest.approx(6.0, rel=0.25)
    assert scene.mean == pytest.approx(6.0, rel=0.25)


def test_every_row_is_held_against_the_oracle():
    trace = made_up("ramp", MODEL, peak=3.0, seed=2, seconds=600)
    scene = make("ramp", trace, MODEL, peak=3.0, past=120.0, seed=1)
    found = compare(scene, Setup(MODEL, cold_start=30.0, most=8), Slo(), ("manta", "kubeai"))
    assert list(found.rows) == ["oracle", "manta", "kubeai"]
    assert all(set(row) >= KEYS for row in found.rows.values())
    assert found.rows["oracle"]["gpu_hours_over_oracle"] == 1.0
    assert found.rows["manta"]["gpu_hours"] >= found.bound * 0.99
    assert "% in time" in verdict(found.rows, 120.0)


def test_policies_aside_change_no_place_on_the_front():
    trace = made_up("ramp", MODEL, peak=3.0, seed=2, seconds=600)
    scene = make("ramp", trace, MODEL, peak=3.0, past=120.0, seed=1)
    setup = Setup(MODEL, cold_start=30.0, most=8)
    alone = compare(scene, setup, Slo(), ("manta", "kubeai"))
    wrong = {"manta-estimate-2": manta(error=2.0)}
    found = compare(scene, setup, Slo(), ("manta", "kubeai"), more=wrong)
    assert list(found.rows) == [*alone.rows, *wrong]
    assert all(found.rows[name] == row for name, row in alone.rows.items())


def test_the_command_writes_numbers_and_pictures(tmp_path):
    out = tmp_path / "out" / "autoscaler.json"
    words = [
        "--trace",
        str(written(tmp_path)),
        "--cold-start",
        "30",
        "--peak",
        "3",
        "--past",
        "60",
        "--policy",
        "kubeai",
    ]
    ended = CliRunner().invoke(bench.main, [*words, "--max-replicas", "8", "--markdown", "--out", str(out)])
    assert ended.exit_code == 0, ended.output
    document = json.loads(out.read_text())
    assert set(document["some"]["30"]) == {"oracle", "manta", "kubeai"}
    assert set(document["some"]["30"]["manta"]) >= KEYS
    assert "| | some 30 s |\n|---|---|\n| `oracle` | " in ended.output
    assert (tmp_path / "out" / "autoscaler-some-30s.png").read_bytes()[:4] == b"\x89PNG"


def test_a_trace_that_is_not_there_ends_in_a_sentence(tmp_path):
    ended = CliRunner().invoke(bench.main, ["--trace", "nowhere", "--out", str(tmp_path / "x.json")])
    assert ended.exit_code == 2
    assert "error: no trace at nowhere" in ended.output


def test_the_simulator_is_held_beside_another_engine(tmp_path):
    scene = make("some", read(written(tmp_path, seconds=200)).trace, MODEL, peak=1.5, past=0.0, seed=1)
    case = Case("some", scene, Setup(replace(MODEL, per_pair=0.0), cold_start=30.0, most=4), manta())
    document = {}
    validation.tell("another", {"some": validation.both(case, jitter=0.05)}, document)
    found = document["another"]["some"]
    assert found["simulated"]["requests"] == found["other"]["requests"] == len(scene.trace)
    assert found["simulated"]["first_token"] == pytest.approx(found["other"]["first_token"], rel=0.3)
    assert found["replicas_apart"] < 0.5
