"""The command line and the platform plugin: cheap to load, clear when called wrongly."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from manta_runtime.engine import cpu_communicator, cpu_platform, launcher
from manta_runtime.main import main

GOOD = ["--rank=0", "--pod-ip=127.0.0.1", "--head=x"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing option '--rank'"),
        ([*GOOD, "--executor=slurm"], "'slurm' is not one of"),
        (GOOD, "no --model among the vLLM flags"),
        ([*GOOD, "--", "--model=/no/such/model"], "--model=/no/such/model: no such file or folder"),
        ([*GOOD, "--group-size=2", "--executor=ray", "--", "--model=org/m"], "make both numbers equal"),
        (
            [*GOOD, "--group-size=2", "--executor=ray", "--", "--model=org/m", "--tensor-parallel-size=2"],
            "GROUP_TOKEN is empty",
        ),
    ],
)
def test_wrong_calls_end_with_2_and_a_remedy(arguments, words, monkeypatch):
    monkeypatch.delenv("GROUP_TOKEN", raising=False)
    result = CliRunner().invoke(main, ["engine", *arguments])
    assert result.exit_code == 2
    assert words in result.output


YARN = '--hf-overrides={"rope_parameters":{"rope_type":"yarn","factor":2.0}}'


@pytest.mark.parametrize(("asked", "added"), [([], None), (["--complete-hf-overrides"], 16)])
def test_only_overrides_of_the_operator_are_completed(asked, added, monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 8}')
    started = []
    monkeypatch.setattr(launcher, "launch", lambda settings, environ: started.append(settings) or 0)
    result = CliRunner().invoke(main, ["engine", *GOOD, *asked, "--", f"--model={tmp_path}", YARN])
    assert result.exit_code == 0, result.output
    overrides = started[0].vllm_flags[1]
    assert json.loads(overrides.partition("=")[2]).get("max_position_embeddings") == added
    assert added or overrides == YARN


def test_the_plugin_offers_its_platform_only_when_asked(monkeypatch):
    monkeypatch.delenv("MANTA_CPU_RAY", raising=False)
    assert cpu_platform.plugin() is None
    monkeypatch.setenv("MANTA_CPU_RAY", "1")
    assert cpu_platform.plugin() == "manta_runtime.engine.cpu_platform.RayCpuPlatform"


def test_loading_the_plugin_and_the_command_imports_nothing_heavy():
    code = (
        "import sys, manta_runtime.main, manta_runtime.engine.cpu_platform as p; p.plugin(); "
        "print([name for name in ('vllm', 'torch', 'ray', 'aiohttp', 'kubernetes') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_platform_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = cpu_platform.Other
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = cpu_communicator.Other
