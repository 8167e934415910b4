"""MANTA_ENGINE=simulate: the launcher starts the simulator in vLLM's place, and a stand-in for each Ray node."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from manta_runtime.engine.commands import vllm_command
from manta_runtime.engine.ray_node import start_ray
from manta_runtime.engine.settings import EngineSettings
from manta_runtime.main import main

REAL = EngineSettings(
    rank=0,
    group_size=2,
    pod_ip="127.0.0.1",
    pod_name="tiny-0",
    head="tiny-0",
    port=8000,
    control_port=8001,
    executor="ray",
    accelerator="cpu",
    accelerators_per_pod=1,
    startup_seconds=10,
    drain_seconds=30,
    scratch=Path("unused"),
    vllm_flags=("--model=org/m",),
)
SIMULATED = replace(REAL, simulate=True)


def test_the_simulator_gets_vllms_whole_command_line():
    real, simulated = vllm_command(REAL), vllm_command(SIMULATED)
    assert real[2:3] == ["vllm.entrypoints.openai.api_server"]
    assert simulated[2:4] == ["manta_runtime.main", "simulate"]
    assert simulated[4:] == real[3:]


def test_the_log_names_what_runs():
    assert REAL.engine_name == "vLLM"
    assert "SIMULATOR" in SIMULATED.engine_name


async def test_ranks_join_a_stand_in_for_ray(tmp_path):
    settings = replace(SIMULATED, scratch=tmp_path)
    head, address = await start_ray(settings, {})
    worker, joined = await start_ray(replace(settings, rank=1, scratch=tmp_path / "1"), {}, address)
    try:
        assert joined == address
        assert address.startswith("127.0.0.1:")
        assert head.exit_code is worker.exit_code is None
    finally:
        await head.stop(5)
        await worker.stop(5)
    assert (head.exit_code, worker.exit_code) == (0, 0)


def test_another_engine_is_refused(monkeypatch):
    monkeypatch.setenv("MANTA_ENGINE", "sglang")
    arguments = ["--rank=0", "--pod-ip=127.0.0.1", "--head=x", "--", "--model=org/m"]
    result = CliRunner().invoke(main, ["engine", *arguments])
    assert result.exit_code == 2
    assert "MANTA_ENGINE=sglang: use vllm (or leave it out), or simulate for load tests" in result.output


@pytest.mark.parametrize("arguments", [[], ["--model=m", "--port=x"]])
def test_the_command_ends_with_2_and_a_remedy(arguments):
    result = CliRunner().invoke(main, ["simulate", *arguments])
    assert result.exit_code == 2
    assert "--model" in result.output or "--port=x is no port" in result.output


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port=99999"], "--port=99999 is no port: give a whole number from 1 to 65535"),
        (["--port=80.5"], "--port=80.5 is no port"),
        (["--simulate-journal=/nowhere/at/all"], "--simulate-journal=/nowhere/at/all cannot be written: No such file"),
        (["--host=127.0.0.1", "--port={taken}"], "cannot listen on 127.0.0.1:"),
        (["--simulate-speed=nan"], "--simulate-speed=nan is not a number"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(flags, words):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = [flag.format(taken=taken.getsockname()[1]) for flag in flags]
        result = CliRunner().invoke(main, ["simulate", "--model=/m", *given])
    assert result.exit_code != 0
    assert words in result.output
    assert isinstance(result.exception, SystemExit)
