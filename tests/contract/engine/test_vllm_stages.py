"""Layers go to the stages of a pipeline as vLLM puts them there. Read from its source: imports are slow."""

import ast
import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manta_operator.planning.memory.weights_rank import partitions

SPEC = importlib.util.find_spec("vllm")
pytestmark = pytest.mark.skipif(SPEC is None or SPEC.origin is None, reason="vLLM is not installed")


def theirs(layers: int, stages: int) -> list[int]:
    """How many layers vLLM's own function gives each stage."""
    assert SPEC is not None
    assert SPEC.origin is not None
    tree = ast.parse((Path(SPEC.origin).parent / "distributed/utils.py").read_text())
    [found] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "get_pp_indices"]
    names: dict[str, Any] = {
        "envs": SimpleNamespace(VLLM_PP_LAYER_PARTITION=None),
        "logger": logging.getLogger("vllm"),
    }
    exec(compile(ast.Module([found], []), "get_pp_indices", "exec"), names)
    ranges = [names["get_pp_indices"](layers, rank, stages) for rank in range(stages)]
    return [end - start for start, end in ranges]


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("layers", [8, 27, 32, 61, 80, 94])
def test_layers_of_stages(layers: int, stages: int) -> None:
    assert partitions(layers, stages) == theirs(layers, stages)
