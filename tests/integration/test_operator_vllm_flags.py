"""vLLM's own parser accepts what the builders render after `--`. In a process of its own: the import takes seconds."""

import importlib.util
import json
import subprocess
import sys

import pytest
from rendered import TEMPLATE, containers, every_deployment, of_kind, render

from manta_operator.planning.adapters import lora_of

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
    assert parsed["every engine field"]["max_num_seqs"] == 32


def vllm_flags(deployment):
    """What stands after `--`, with the escape of `$(` undone as the kubelet does."""
    args = containers(of_kind(render(deployment)[1], "StatefulSet")[0])["engine"]["args"]
    return [arg.replace("$$", "$") for arg in args[args.index("--") + 1 :]]
