"""The vLLM flags that are not the user's, and the CEL rules that refuse them in spec.engine.args.

Read by `rules.py`, and by `planning.said_twice` for what an older object has. A flag stands here when Manta sets it
itself, or when a user's value would break what Manta relies on.
"""

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from manta_operator.api.rule import Rule

_GROUP = "Manta forms the group of pods"
_RANKS = "one API server serves all data ranks of a replica, which is one endpoint to the router"
_TLS = "the runtime inside speaks plain HTTP; end TLS in a gateway in front of the Service"

PLANNED_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "--api-key": "the router could not ask the engines; keys of clients are for spec.router.auth",
        "--attention-backend": "spec.engine.attentionBackend",
        "--chat-template": "spec.model.chatTemplate",
        "--config": "a file could set what Manta plans; use fields of spec.engine, and spec.engine.args",
        "--data-parallel-address": _GROUP,
        "--data-parallel-backend": "spec.engine.executor",
        "--data-parallel-external-lb": _RANKS,
        "--data-parallel-hybrid-lb": _RANKS,
        "--data-parallel-multi-port-external-lb": _RANKS,
        "--data-parallel-rank": _RANKS,
        "--data-parallel-rpc-port": _GROUP,
        "--data-parallel-size": "spec.parallelism.data",
        "--data-parallel-size-local": _GROUP,
        "--data-parallel-start-rank": _RANKS,
        "--device-memory-utilization": "spec.engine.gpuMemoryUtilization",
        "--disable-log-stats": "without them nobody sees that an engine hangs, or that a drain is over",
        "--distributed-executor-backend": "spec.engine.executor",
        "--download-dir": "spec.model.cache",
        "--dtype": "spec.engine.dtype",
        "--enable-auto-tool-choice": "spec.engine.toolCallParser",
        "--enable-chunked-prefill": "spec.engine.chunkedPrefill",
        "--enable-expert-parallel": "spec.parallelism.expert",
        "--enable-force-include-usage": "the router asks for it, and hides it from who did not ask",
        "--enable-lora": "spec.engine.lora",
        "--enable-prefix-caching": "spec.engine.prefixCaching",
        "--enforce-eager": "spec.engine.enforceEager",
        "--gpu-memory-utilization": "spec.engine.gpuMemoryUtilization",
        "--headless": _GROUP,
        "--host": "Manta listens on the address of the pod",
        "--kv-cache-dtype": "spec.engine.kvCacheDtype",
        "--kv-cache-memory-bytes": "spec.engine.kvCacheMemory",
        "--master-addr": _GROUP,
        "--master-port": _GROUP,
        "--max-lora-rank": "spec.engine.lora.maxRank",
        "--max-loras": "spec.engine.lora.maxLoaded",
        "--max-model-len": "spec.engine.maxModelLen",
        "--max-num-batched-tokens": "spec.engine.maxNumBatchedTokens",
        "--max-num-seqs": "spec.engine.maxNumSeqs",
        "--model": "spec.model.uri",
        "--nnodes": _GROUP,
        "--no-enable-auto-tool-choice": "spec.engine.toolCallParser",
        "--no-enable-chunked-prefill": "spec.engine.chunkedPrefill",
        "--no-enable-expert-parallel": "spec.parallelism.expert",
        "--no-enable-lora": "spec.engine.lora",
        "--no-enable-prefix-caching": "spec.engine.prefixCaching",
        "--no-enable-prompt-tokens-details": "the router tells from them what the prefix caches have saved",
        "--no-enforce-eager": "spec.engine.enforceEager",
        "--node-rank": _GROUP,
        "--pipeline-parallel-size": "spec.parallelism.pipeline",
        "--port": "spec.router.port",
        "--prefill-context-parallel-size": "it multiplies the ranks of a replica, which Manta counts without it",
        "--quantization": "spec.engine.quantization",
        "--reasoning-parser": "spec.engine.reasoningParser",
        "--revision": "spec.model.revision",
        "--root-path": "the router asks for /v1; rewrite paths in a gateway in front of the Service",
        "--served-model-name": "spec.model.servedNames",
        "--shutdown-timeout": "spec.rollout.drainSeconds",
        "--spec-method": "spec.engine.speculative",
        "--spec-model": "spec.engine.speculative",
        "--spec-tokens": "spec.engine.speculative",
        "--speculative-config": "spec.engine.speculative",
        "--ssl-ca-certs": _TLS,
        "--ssl-cert-reqs": _TLS,
        "--ssl-certfile": _TLS,
        "--ssl-ciphers": _TLS,
        "--ssl-keyfile": _TLS,
        "--structured-outputs-config": "spec.engine.structuredOutputs",
        "--tensor-parallel-size": "spec.parallelism.tensor",
        "--tool-call-parser": "spec.engine.toolCallParser",
        "--uds": "Manta listens on the address of the pod",
    }
)
"""vLLM flags that are not the user's, and the field to use instead, or why there is none."""

PLUGINS: Mapping[str, str] = MappingProxyType(
    {
        "--enable-auto-tool-choice": "--tool-parser-plugin",
        "--reasoning-parser": "--reasoning-parser-plugin",
        "--tool-call-parser": "--tool-parser-plugin",
    }
)
"""Flags that are the user's beside this one: a parser of one's own has a name that no field takes."""

SHORTEST_FLAG = len("--ab")
"""argparse takes any unambiguous beginning of a flag for the flag; every shorter one fits several of vLLM's flags."""


def _shortest(flag: str) -> int:
    """Return the length of the shortest beginning that is refused for `flag`, and not for one that it begins with."""
    return max(
        [SHORTEST_FLAG, *(len(other) + 1 for other in PLANNED_FLAGS if flag != other and flag.startswith(other))]
    )


def _pattern(flag: str) -> str:
    """Match `flag`, its beginnings and its other spelling `--flag_name`: vLLM takes them all for the flag."""
    shortest = _shortest(flag)
    pattern = ""
    for letter in reversed(flag[shortest:].replace("-", "_")):
        pattern = f"({'[-_]' if letter == '_' else letter}{pattern})?"
    beginning = "--" + flag[2:shortest].replace("-", "[-_]")
    return f"^{beginning}{pattern}([.=]|$)"  # --flag.key=value sets a part of a flag that takes JSON


@cache
def _compiled(flag: str) -> re.Pattern[str]:
    """Return the pattern, made once: every pass of every deployment asks for all of them."""
    return re.compile(_pattern(flag))


def planned_flag(arg: str) -> str | None:
    """Return which of PLANNED_FLAGS vLLM takes an item of `spec.engine.args` for; None for a flag of the user's."""
    return next((flag for flag in PLANNED_FLAGS if _compiled(flag).match(arg)), None)


def _refused(flag: str, instead: str) -> Rule:
    is_field = instead.startswith("spec.")
    message = f"Manta sets {flag} itself; use {instead}" if is_field else f"leave {flag} out: {instead}"
    # API servers count what a rule costs, and this pattern is dear for many long arguments: most never come so far.
    first = "--" + flag[2 : _shortest(flag)].partition("-")[0]
    refused = f"!self.exists(a, a.startsWith('{first}') && a.matches('{_pattern(flag)}'))"
    plugin = PLUGINS.get(flag)
    return Rule(f"{refused} || self.exists(a, a.startsWith('{plugin}='))" if plugin else refused, message)


_FLAG = "^--[A-Za-z0-9][-A-Za-z0-9_.]*(=|$)"

ARGS_RULES = (
    Rule(
        f"self.all(a, a.matches('{_FLAG}'))",
        "every item must be one vLLM flag, its value after =, for example --seed=7",
        "'every item must be one vLLM flag, its value after =, like --name=value; this is none: '"
        f" + self.filter(a, !a.matches('{_FLAG}'))[0]",
    ),
    *(_refused(flag, instead) for flag, instead in PLANNED_FLAGS.items()),
)
