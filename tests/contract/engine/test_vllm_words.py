"""The words a spec may use for vLLM are words that the installed vLLM knows. Read from its source: imports are slow."""

import ast
import importlib.util
from pathlib import Path
from typing import get_args

import pytest

from manta_operator.api import choices, engine_words
from manta_operator.api.flags import PLANNED_FLAGS
from manta_runtime.engine.settings import OWN_FLAGS

SPEC = importlib.util.find_spec("vllm")
pytestmark = pytest.mark.skipif(SPEC is None or SPEC.origin is None, reason="vLLM is not installed")


def test_quantization() -> None:
    ours = set(get_args(choices.Quantization)) - {"auto", "none"}
    assert ours <= literal("model_executor/layers/quantization/__init__.py", "QuantizationMethods")


def test_kv_cache_dtype() -> None:
    assert set(get_args(choices.KVCacheDType)) <= literal("config/cache.py", "CacheDType")


def test_ranks_of_adapters() -> None:
    """A rank of 1 is left out: vLLM has no adapters of that kind but for a few."""
    assert set(map(str, choices.LORA_RANKS)) == literal("config/lora.py", "MaxLoRARanks") - {"1"}


def test_dtype() -> None:
    assert set(get_args(choices.DType)) <= literal("config/model.py", "ModelDType")


def test_attention_backend() -> None:
    tree = parse("v1/attention/backends/registry.py")
    [backends] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "AttentionBackendEnum"]
    known = {t.id for n in backends.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    assert set(get_args(choices.AttentionBackend)) - {"auto"} <= known


def test_speculative_methods() -> None:
    known = literal("config/speculative.py", "SpeculativeMethod") | set().union(
        *(literal("config/speculative.py", f"{kind}Types") for kind in ("NgramGPU", "DFlashModel", "DSparkModel")),
        literal("config/speculative.py", "EagleModelTypes"),
        literal("config/speculative.py", "MTPModelTypes"),
    )
    assert set(get_args(engine_words.SpeculativeMethod)) <= known
    assert set(engine_words.NEEDS_MODEL) | set(engine_words.TAKES_NO_MODEL) <= known


def test_structured_outputs_backends() -> None:
    known = literal("config/structured_outputs.py", "StructuredOutputsBackend")
    assert set(get_args(engine_words.StructuredOutputsBackend)) == known


@pytest.mark.parametrize(
    ("ours", "path", "name"),
    [
        (engine_words.ToolCallParser, "tool_parsers/__init__.py", "_TOOL_PARSERS_TO_REGISTER"),
        (engine_words.ReasoningParser, "reasoning/__init__.py", "_REASONING_PARSERS_TO_REGISTER"),
    ],
)
def test_parsers(ours: object, path: str, name: str) -> None:
    assert set(get_args(ours)) == keys(path, name)


def test_rope_types() -> None:
    tree = parse("model_executor/layers/rotary_embedding/__init__.py")
    compared = [n for n in ast.walk(tree) if isinstance(n, ast.Compare) and ast.unparse(n.left) == "scaling_type"]
    known = {w.value for n in compared for w in ast.walk(n) if isinstance(w, ast.Constant)}
    assert set(get_args(engine_words.RopeType)) <= known


def test_planned_flags_exist() -> None:
    source = (package() / "engine" / "arg_utils.py").read_text() + (
        package() / "entrypoints/launchers/cli_args.py"
    ).read_text()
    missing = [flag for flag in PLANNED_FLAGS if f'"{flag}"' not in source and field_of(flag) not in source]
    assert missing == []


def test_what_the_launcher_refuses_is_refused_before_a_pod_starts() -> None:
    assert set(OWN_FLAGS) <= set(PLANNED_FLAGS)


def field_of(flag: str) -> str:
    return flag.removeprefix("--").removeprefix("no-").replace("-", "_") + ":"


def package() -> Path:
    assert SPEC is not None
    assert SPEC.origin is not None
    return Path(SPEC.origin).parent


def parse(path: str) -> ast.Module:
    return ast.parse((package() / path).read_text())


def keys(path: str, name: str) -> set[str]:
    """The keys of `name = {...}` in a file of vLLM."""
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and isinstance(node.value, ast.Dict):
            return {
                key.value for key in node.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    raise AssertionError(f"{path} has no {name}")


def literal(path: str, name: str) -> set[str]:
    """The words of `name = Literal[...]` in a file of vLLM."""
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return {str(word.value) for word in ast.walk(node.value) if isinstance(word, ast.Constant)}
    raise AssertionError(f"{path} has no {name}")


def test_vllm_tells_of_a_dead_engine_where_the_middleware_looks() -> None:
    """engine/dead_engine.py reads `app.state.engine_client.errored`."""
    state = (package() / "entrypoints/launchers/api_server/app_state.py").read_text()
    assert "state.engine_client = engine_client" in state
    [client] = [n for n in parse("v1/engine/async_llm.py").body if isinstance(n, ast.ClassDef) and n.name == "AsyncLLM"]
    [errored] = [n for n in client.body if isinstance(n, ast.FunctionDef) and n.name == "errored"]
    assert [ast.unparse(each) for each in errored.decorator_list] == ["property"]
    assert ast.unparse(errored.returns or ast.Pass()) == "bool"
