"""What the shapes of a replica take for granted of the installed vLLM. Read from its source: imports are slow."""

import ast
import importlib.util
from pathlib import Path

import pytest

from manta_operator.facts import models
from manta_runtime.engine import cpu_communicator, ranks

SPEC = importlib.util.find_spec("vllm")
pytestmark = pytest.mark.skipif(SPEC is None or SPEC.origin is None, reason="vLLM is not installed")


def source(path: str) -> str:
    assert SPEC is not None
    assert SPEC.origin is not None
    return (Path(SPEC.origin).parent / path).read_text()


def methods(path: str, name: str) -> dict[str, ast.FunctionDef]:
    """The methods of a class, by name."""
    [found] = [n for n in ast.walk(ast.parse(source(path))) if isinstance(n, ast.ClassDef) and n.name == name]
    return {n.name: n for n in found.body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("name", ["all_gatherv", "reduce_scatterv"])
def test_the_cpu_communicator_lacks_what_ours_brings(name: str) -> None:
    """Once vLLM has them, ours can go."""
    folder = "distributed/device_communicators"
    assert name not in methods(f"{folder}/cpu_communicator.py", "CpuCommunicator")
    theirs = methods(f"{folder}/base_device_communicator.py", "DeviceCommunicatorBase")[name].args
    ours = getattr(cpu_communicator, name).__code__
    assert [each.arg for each in theirs.args][1:] == list(ours.co_varnames[1 : ours.co_argcount])


def test_kernels_on_cpu_do_not_know_which_experts_a_rank_holds() -> None:
    """Why expert parallelism is refused on cpu: the map comes in and is not used."""
    apply = methods("model_executor/layers/fused_moe/experts/cpu_moe.py", "CPUUnquantizedExperts")["apply"]
    assert "expert_map" in [each.arg for each in apply.args.args]
    assert "expert_map" not in [n.id for n in ast.walk(apply) if isinstance(n, ast.Name)]


def test_a_request_can_be_sent_to_one_data_rank() -> None:
    assert '"X-data-parallel-rank"' in source("entrypoints/generate/base/serving.py")


def test_ray_places_engines_as_it_is_told() -> None:
    assert f'"{ranks.PACK_STRATEGY}"' in source("envs.py")
    placing = source("v1/engine/utils.py")
    assert '_supported_pack_strategies = ("strict", "fill", "span")' in placing
    assert '{"CPU": 1.0, "node:" + node_ip: 0.001}' in placing, "one CPU for each engine"


def test_experts_are_looked_for_under_the_same_names() -> None:
    getter = methods("transformers_utils/model_arch_config_convertor.py", "ModelArchConfigConvertorBase")[
        "get_num_experts"
    ]
    words = [n.value for n in ast.walk(getter) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert tuple(word for word in words if "experts" in word and " " not in word) == models._EXPERT_COUNTS


def test_experts_are_sliced_over_data_and_tensor_ranks() -> None:
    config = methods("model_executor/layers/fused_moe/config.py", "FusedMoEParallelConfig")
    assert "dp_size * pcp_size * tp_size" in ast.unparse(config["flatten_tp_across_dp_and_pcp"])
