"""How the launcher lays data ranks over pods: what it refuses, and what it tells vLLM and Ray."""

from dataclasses import replace
from pathlib import Path

import pytest

from manta_runtime.engine.commands import engine_environment, ray_command, vllm_command
from manta_runtime.engine.ranks import PACK_STRATEGY, read_ranks
from manta_runtime.engine.settings import EngineSettings, SettingsError, check_settings

ONE_POD = EngineSettings(
    rank=0,
    group_size=1,
    pod_ip="10.0.0.7",
    pod_name="moe-ab12-0-0",
    head="moe-ab12-0-0.moe-group.default.svc",
    port=8000,
    control_port=8001,
    executor="mp",
    accelerator="gpu",
    accelerators_per_pod=2,
    startup_seconds=1800,
    drain_seconds=60,
    scratch=Path("/tmp/m"),
    vllm_flags=("--model=/models/moe", "--data-parallel-size=2", "--tensor-parallel-size=1"),
)


def group(data: int, tensor: int, pods: int, per_pod: int, pipeline: int = 1) -> EngineSettings:
    """A replica over several pods."""
    flags = (f"--data-parallel-size={data}", f"--tensor-parallel-size={tensor}", f"--pipeline-parallel-size={pipeline}")
    return replace(
        ONE_POD,
        executor="ray",
        group_size=pods,
        accelerators_per_pod=per_pod,
        vllm_flags=("--model=/models/moe", *flags),
    )


@pytest.mark.parametrize(
    ("settings", "local", "strategy", "cpus"),
    [
        pytest.param(group(2, 1, 2, 1), 1, "strict", 1, id="one engine a pod"),
        pytest.param(group(16, 1, 2, 8), 8, "strict", 8, id="eight engines a pod"),
        pytest.param(group(4, 2, 2, 4), 2, "strict", 2, id="two engines of two ranks a pod"),
        pytest.param(group(2, 8, 2, 8), 1, "strict", 1, id="an engine fills a pod"),
        pytest.param(group(2, 8, 4, 8, pipeline=2), 1, "span", 1, id="an engine spans two pods"),
    ],
)
def test_ray_places_the_engines_where_they_belong(settings, local, strategy, cpus):
    check_settings(settings)
    command = vllm_command(settings)
    assert "--data-parallel-backend=ray" in command
    assert "--data-parallel-address=10.0.0.7" in command
    assert f"--data-parallel-size-local={local}" in command
    assert engine_environment(settings, {PACK_STRATEGY: "fill"})[PACK_STRATEGY] == strategy
    assert f"--num-cpus={cpus}" in ray_command(settings, "", 7001)


def test_in_one_pod_vllm_starts_the_engines_itself():
    check_settings(ONE_POD)
    assert not [flag for flag in vllm_command(ONE_POD) if flag.startswith("--data-parallel-") and "size=2" not in flag]
    assert PACK_STRATEGY not in engine_environment(ONE_POD, {})


def test_without_data_ranks_nothing_is_said_of_them():
    settings = group(1, 2, 2, 1)
    assert not [flag for flag in vllm_command(settings) if flag.startswith("--data-parallel-") and "size=1" not in flag]
    assert PACK_STRATEGY not in engine_environment(settings, {})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (replace(ONE_POD, accelerators_per_pod=1), "data 2 x tensor 1 x pipeline 1 needs 2 accelerators"),
        (replace(ONE_POD, executor="uni"), "not 2 in 1: use mp or ray"),
        (replace(ONE_POD, vllm_flags=("--model=/m", "--data-parallel-size=0")), "--data-parallel-size=0"),
        (group(2, 3, 3, 2), "a data rank takes 3 accelerators"),
        (replace(ONE_POD, vllm_flags=(*ONE_POD.vllm_flags, "--data-parallel-rank=1")), "--data-parallel-rank after"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(settings, words):
    with pytest.raises(SettingsError, match=words):
        check_settings(settings)


def test_the_cut_is_read_from_the_flags():
    ranks = read_ranks(("--model=/m", "--data_parallel_size", "4", "--tensor-parallel-size=2"))
    assert (ranks.data, ranks.width, ranks.total) == (4, 2, 8)
    assert str(ranks) == "data 4 x tensor 2 x pipeline 1"
    assert str(read_ranks(())) == "tensor 1 x pipeline 1"
