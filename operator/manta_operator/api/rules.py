"""The CEL rules of the CRD, as data: where each holds, what it says to the user.

Read by `crd.py`. Rules are written in the CEL that a Kubernetes API server and our offline evaluator both know, and
over bounded lists only, so that the API server can prove them cheap. What a rule reads without has() stands on an
object that has no default of its own: API servers try rules on the bare default, before the defaults inside. A rule
that CEL cannot state (does the model fit?) belongs to the planner.
"""

from collections.abc import Mapping
from types import MappingProxyType

from manta_operator.api.model_rules import ENDPOINT_VARIABLES, MODEL_RULES, SECRET_VARIABLES
from manta_operator.api.router_rules import ROUTER_RULES
from manta_operator.api.rule import Rule

_GROUP = "Manta forms the group of pods"
_TLS = "the runtime inside speaks plain HTTP; end TLS in a gateway in front of the Service"

PLANNED_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "--api-key": "the router could not ask the engines; keys of clients are for spec.router.auth",
        "--attention-backend": "spec.engine.attentionBackend",
        "--chat-template": "spec.model.chatTemplate",
        "--config": "a file could set what Manta plans; use fields of spec.engine, and spec.engine.args",
        "--data-parallel-size": "spec.replicas",
        "--device-memory-utilization": "spec.engine.gpuMemoryUtilization",
        "--distributed-executor-backend": "spec.engine.executor",
        "--download-dir": "spec.model.cache",
        "--dtype": "spec.engine.dtype",
        "--enable-force-include-usage": "the router asks for it, and hides it from who did not ask",
        "--enable-prefix-caching": "spec.engine.prefixCaching",
        "--enforce-eager": "spec.engine.enforceEager",
        "--gpu-memory-utilization": "spec.engine.gpuMemoryUtilization",
        "--headless": _GROUP,
        "--host": "Manta listens on the address of the pod",
        "--kv-cache-dtype": "spec.engine.kvCacheDtype",
        "--kv-cache-memory-bytes": "spec.engine.kvCacheMemory",
        "--master-addr": _GROUP,
        "--master-port": _GROUP,
        "--max-model-len": "spec.engine.maxModelLen",
        "--max-num-seqs": "spec.engine.maxNumSeqs",
        "--model": "spec.model.uri",
        "--nnodes": _GROUP,
        "--no-enable-prefix-caching": "spec.engine.prefixCaching",
        "--no-enable-prompt-tokens-details": "the router tells from them what the prefix caches have saved",
        "--no-enforce-eager": "spec.engine.enforceEager",
        "--node-rank": _GROUP,
        "--pipeline-parallel-size": "spec.parallelism.pipeline",
        "--port": "spec.router.port",
        "--quantization": "spec.engine.quantization",
        "--revision": "spec.model.revision",
        "--root-path": "the router asks for /v1; rewrite paths in a gateway in front of the Service",
        "--served-model-name": "spec.model.servedNames",
        "--shutdown-timeout": "spec.rollout.drainSeconds",
        "--ssl-ca-certs": _TLS,
        "--ssl-cert-reqs": _TLS,
        "--ssl-certfile": _TLS,
        "--ssl-ciphers": _TLS,
        "--ssl-keyfile": _TLS,
        "--tensor-parallel-size": "spec.parallelism.tensor",
        "--uds": "Manta listens on the address of the pod",
    }
)
"""vLLM flags that are not the user's, and the field to use instead, or why there is none."""

SHORTEST_FLAG = len("--ab")
"""argparse takes any unambiguous beginning of a flag for the flag; every shorter one fits several of vLLM's flags."""

OWN_VARIABLES = (
    "GROUP_HEAD",
    "GROUP_RANK",
    "MANTA_CPU_RAY",
    "MANTA_STATE",
    "POD_IP",
    "POD_NAME",
    "POD_NAMESPACE",
    "RAY_ADDRESS",
)
"""Environment variables of the engine container that Manta sets itself."""


def _cel_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _any_of(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(_cel_text(value) for value in values) + "]"


def _planned_flag(flag: str, instead: str) -> Rule:
    """Refuse `flag`, its beginnings and its other spelling `--flag_name`: vLLM takes them all for the flag."""
    pattern = ""
    for letter in reversed(flag[SHORTEST_FLAG:].replace("-", "_")):
        pattern = f"({'[-_]' if letter == '_' else letter}{pattern})?"
    beginning = "--" + flag[2:SHORTEST_FLAG].replace("-", "[-_]")
    pattern = f"^{beginning}{pattern}(=|$)"
    is_field = instead.startswith("spec.")
    message = f"Manta sets {flag} itself; use {instead}" if is_field else f"leave {flag} out: {instead}"
    return Rule(f"!self.exists(a, a.matches('{pattern}'))", message)


_FLAG = "^--[A-Za-z0-9][-A-Za-z0-9_.]*(=|$)"

ARGS_RULES = (
    Rule(
        f"self.all(a, a.matches('{_FLAG}'))",
        "every item must be one vLLM flag, its value after =, for example --max-num-batched-tokens=8192",
        "'every item must be one vLLM flag, its value after =, like --name=value; this is none: '"
        f" + self.filter(a, !a.matches('{_FLAG}'))[0]",
    ),
    *(_planned_flag(flag, instead) for flag, instead in PLANNED_FLAGS.items()),
)

_EXISTS = "has(self.operator) && self.operator == 'Exists'"

TOLERATION_RULES = (
    Rule(
        f"!({_EXISTS}) || !has(self.value) || self.value == ''",
        "operator Exists takes no value: leave the value out, or use operator Equal",
        field_path=".value",
    ),
    Rule(
        f"({_EXISTS}) || (has(self.key) && self.key != '')",
        "operator Equal needs a key; only operator Exists may leave it out",
        field_path=".key",
    ),
    Rule(
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "only pods on nodes with a NoExecute taint are ever evicted: set effect to NoExecute, or leave this out",
        field_path=".tolerationSeconds",
    ),
)

RULES: Mapping[str, tuple[Rule, ...]] = MappingProxyType(
    {
        "": (
            Rule(
                "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                "the name must start with a lower-case letter and hold only lower-case letters, digits and -, "
                "because Services and pods are named after it",
                field_path=".metadata.name",
            ),
            Rule(
                "self.metadata.name.size() <= 38",
                "the name must have at most 38 characters, because the names of pods are built from it",
                field_path=".metadata.name",
            ),
        ),
        "spec": (
            Rule(
                "!has(self.parallelism.tensor) || !has(self.parallelism.pipeline) || !has(self.accelerator.perPod) || "
                "(self.parallelism.tensor * self.parallelism.pipeline) % self.accelerator.perPod == 0",
                "parallelism.tensor x parallelism.pipeline must be a multiple of accelerator.perPod, "
                "so that every pod of a replica gets the same number of accelerators",
                field_path=".accelerator.perPod",
            ),
            Rule(
                "self.engine.executor != 'mp' || !has(self.parallelism.tensor) || !has(self.parallelism.pipeline) || "
                "!has(self.accelerator.perPod) || "
                "self.parallelism.tensor * self.parallelism.pipeline <= self.accelerator.perPod",
                "executor mp works within one pod, but tensor x pipeline is more than accelerator.perPod: "
                "use ray or auto, or raise accelerator.perPod",
                field_path=".engine.executor",
            ),
            Rule(
                "!has(self.rollout.progressDeadlineSeconds) || "
                "self.rollout.progressDeadlineSeconds > self.engine.startupSeconds",
                "progressDeadlineSeconds must be more than spec.engine.startupSeconds, "
                "the time that one replica may take to start: raise it, or leave it out for startupSeconds + 600",
                field_path=".rollout.progressDeadlineSeconds",
            ),
            Rule(
                "self.rollout.surge != 0 || self.rollout.unavailable != 0",
                "surge and unavailable cannot both be 0, for no replica could ever be replaced: "
                "raise one of them, or leave both to auto",
                field_path=".rollout.unavailable",
            ),
            Rule(
                "self.gateway.hostnames.size() == 0 || self.gateway.parentRefs.size() > 0",
                "host names are served by a gateway: name one in parentRefs, or leave hostnames out",
                field_path=".gateway.hostnames",
            ),
            *ROUTER_RULES,
        ),
        "spec.model": MODEL_RULES,
        "spec.model.cache": (
            Rule(
                "(has(self.claim) ? 1 : 0) + (has(self.hostPath) ? 1 : 0) + (has(self.sizeLimit) ? 1 : 0) <= 1",
                "at most one of claim, hostPath and sizeLimit may be set",
            ),
        ),
        "spec.engine.args": ARGS_RULES,
        "spec.engine.env[*]": (
            Rule(
                f"!(self.name in {_any_of(OWN_VARIABLES)})",
                "Manta sets this variable itself: choose another name",
                "'Manta sets ' + self.name + ' itself: choose another name'",
                field_path=".name",
            ),
            Rule(
                f"!(self.name in {_any_of(SECRET_VARIABLES)})",
                "a secret does not belong into clear text: put it into a Secret and name that in "
                "spec.model.credentialsSecret",
                field_path=".name",
            ),
            Rule(
                f"!(self.name in {_any_of(ENDPOINT_VARIABLES)})",
                "the cache would mix models of two addresses: use spec.model.endpoint, "
                "or podTemplate for what the engine alone asks there",
                field_path=".name",
            ),
        ),
        "spec.scheduling.tolerations[*]": TOLERATION_RULES,
        "spec.router.scheduling.tolerations[*]": TOLERATION_RULES,
    }
)
"""Path in the object (`[*]` for every item of a list) to the rules that hold there."""
