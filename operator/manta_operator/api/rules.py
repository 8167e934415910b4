"""The CEL rules of the CRD, as data: where each holds, what it says to the user.

Read by `crd.py`. Rules are written in the CEL that a Kubernetes API server and our offline evaluator both know, and
over bounded lists only, so that the API server can prove them cheap. What a rule reads without has() stands on an
object that has no default of its own: API servers try rules on the bare default, before the defaults inside. A rule
that CEL cannot state (does the model fit?) belongs to the planner.
"""

from collections.abc import Mapping
from types import MappingProxyType

from manta_operator.api.adapter_rules import (
    ADAPTER_RULES,
    LORA_RULES,
    MODULES_RULES,
    OWN_NAME_RULES,
    SERVED_NAME_RULES,
)
from manta_operator.api.autoscaling_rules import AUTOSCALING_RULES, HOLDING_RULES
from manta_operator.api.engine_rules import ENGINE_RULES, SPECULATIVE_RULES
from manta_operator.api.flags import ARGS_RULES
from manta_operator.api.model_rules import ENDPOINT_VARIABLES, MODEL_RULES, SECRET_VARIABLES
from manta_operator.api.router_rules import ROUTER_RULES
from manta_operator.api.rule import Rule
from manta_operator.api.shape_rules import ACCELERATOR_RULES, SHAPE_RULES

OWN_VARIABLES = (
    "GROUP_HEAD",
    "GROUP_RANK",
    "MANTA_CPU_RAY",
    "MANTA_STATE",
    "POD_IP",
    "POD_NAME",
    "POD_NAMESPACE",
    "RAY_ADDRESS",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
)
"""Environment variables of the engine container that Manta sets itself."""


def _cel_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _any_of(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(_cel_text(value) for value in values) + "]"


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
            *OWN_NAME_RULES,
        ),
        "spec": (
            *SHAPE_RULES,
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
            *MODULES_RULES,
            *ENGINE_RULES,
            *ROUTER_RULES,
            *HOLDING_RULES,
        ),
        "spec.autoscaling": AUTOSCALING_RULES,
        "spec.model": (*MODEL_RULES, *SERVED_NAME_RULES),
        "spec.model.adapters[*]": ADAPTER_RULES,
        "spec.model.cache": (
            Rule(
                "(has(self.claim) ? 1 : 0) + (has(self.hostPath) ? 1 : 0) + (has(self.sizeLimit) ? 1 : 0) <= 1",
                "at most one of claim, hostPath and sizeLimit may be set",
            ),
        ),
        "spec.accelerator": ACCELERATOR_RULES,
        "spec.engine.args": ARGS_RULES,
        "spec.engine.speculative": SPECULATIVE_RULES,
        "spec.engine.speculative.model": MODEL_RULES,
        "spec.engine.lora": LORA_RULES,
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
