"""vLLM's own parser accepts what the builders render after `--`. In a process of its own: the import takes seconds."""

import importlib.util
import json
import subprocess
import sys
from typing import get_args

import pytest
from rendered import TEMPLATE, containers, every_deployment, of_kind, render

from manta_operator.api.choices import Quantization
from manta_operator.planning.adapters import lora_of
from manta_operator.planning.quantization import TAKES

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
PARSE = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
parsed = {name: vars(parser.parse_args(flags)) for name, flags in json.load(sys.stdin).items()}
for found in parsed.values():
    found["held"] = vars(found["structured_outputs_config"])
print("\\n" + json.dumps(parsed, default=str))
"""


def test_vllm_parses_every_command_line_as_it_is_meant():
    deployments = every_deployment()
    flags = {name: vllm_flags(deployment) for name, deployment in deployments.items()}
    command = [sys.executable, "-c", PARSE]
    done = subprocess.run(command, input=json.dumps(flags), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    parsed = json.loads(done.stdout.splitlines()[-1])
    for name, deployment in deployments.items():
        shape, found, engine = render(deployment)[0].plan.shape, parsed[name], deployment.spec.engine
        assert found["served_model_name"] == list(deployment.spec.model.served_names or (deployment.name,))
        assert (found["tensor_parallel_size"], found["pipeline_parallel_size"]) == (shape.tensor, shape.pipeline)
        assert (found["data_parallel_size"], found["enable_expert_parallel"]) == (shape.data, shape.expert)
        assert found["max_model_len"] == engine.max_model_len
        assert found["enable_prefix_caching"] is engine.prefix_caching
        assert found["enforce_eager"] is engine.enforce_eager
        assert (found["enable_prompt_tokens_details"], found["enable_force_include_usage"]) == (True, False)
        assert found["dtype"] == engine.dtype
        lora = lora_of(deployment.spec)
        assert bool(found["enable_lora"]) is (lora is not None)
        assert lora is None or (found["max_loras"], found["max_lora_rank"]) == (lora.max_loaded, lora.max_rank)
        # The revision is the fetch's: an engine reads a folder.
        assert (found["revision"], found["model"].startswith("/mnt/")) == (None, True)
    assert parsed["chat template"]["chat_template"] == TEMPLATE
    assert parsed["fixed cache"]["kv_cache_memory_bytes"] == 1 << 30
    assert parsed["every engine field"]["gpu_memory_utilization"] == 0.85
    assert parsed["every engine field"]["seed"] == 7
    check_options(parsed["every engine field"], parsed["ngram"])


def check_options(every, ngram):
    assert every["max_num_seqs"] == 32
    assert (every["max_num_batched_tokens"], every["enable_chunked_prefill"]) == (2048, True)
    assert (every["enable_auto_tool_choice"], every["tool_call_parser"]) == (True, "hermes")
    assert every["reasoning_parser"] == "qwen3"
    assert (every["held"]["backend"], every["held"]["disable_additional_properties"]) == ("guidance", True)
    assert every["hf_overrides"]["rope_parameters"]["original_max_position_embeddings"] == 32768
    draft = every["speculative_config"]
    assert (draft["method"], draft["num_speculative_tokens"]) == ("draft_model", 3)
    assert draft["model"].startswith("/mnt/cache/models/o-small-v2-")
    assert ngram["enable_chunked_prefill"] is False
    assert (ngram["speculative_config"]["prompt_lookup_max"], ngram["speculative_config"]["prompt_lookup_min"]) == (
        5,
        2,
    )


REFUSE = """
import json, sys
from types import SimpleNamespace
from vllm.config.model import ModelConfig
def refuses(has, asked):
    config = {"quant_method": has, "bits": 4, "group_size": 128, "desc_act": False, "sym": True, "zero_point": True}
    model = SimpleNamespace(
        quantization=asked,
        model_arch_config=SimpleNamespace(quantization_config=config),
        hf_config=SimpleNamespace(model_type="llama"),
        allow_deprecated_quantization=False,
    )
    try:
        ModelConfig._verify_quantization(model)
    except ValueError as error:
        return "does not match" in str(error)
    return False
print("\\n" + json.dumps([refuses(*pair) for pair in json.load(sys.stdin)]))
"""


def test_vllm_refuses_every_quantization_that_is_refused_before():
    methods = set(get_args(Quantization)) - {"auto", "none"}
    pairs = [(has, asked) for has, taken in TAKES.items() for asked in sorted(methods) if asked not in taken]
    pairs = [(has, asked) for has, asked in pairs if asked != has]
    command = [sys.executable, "-c", REFUSE]
    done = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    refused = json.loads(done.stdout.splitlines()[-1])
    assert [pair for pair, is_refused in zip(pairs, refused, strict=True) if not is_refused] == []
    assert len(pairs) > 100


def vllm_flags(deployment):
    """What stands after `--`, with the escape of `$(` undone as the kubelet does."""
    args = containers(of_kind(render(deployment)[1], "StatefulSet")[0])["engine"]["args"]
    return [arg.replace("$$", "$") for arg in args[args.index("--") + 1 :]]
