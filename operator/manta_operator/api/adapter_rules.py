"""The CEL rules about LoRA adapters: their names, where they come from, and what engines keep free for them."""

from manta_operator.api.choices import LORA_RANKS
from manta_operator.api.model_rules import SOURCE_RULES, URI_RULES
from manta_operator.api.rule import Rule

ADAPTER_RULES = (
    Rule(
        "self.uri.matches('^(hf|s3|gs|pvc|file)://')",
        "an adapter comes from hf:// (Hugging Face Hub), s3:// or gs:// (a bucket), pvc:// (a PersistentVolumeClaim) "
        "or file:/// (a folder of the node); an image (oci://) cannot be mounted while an engine runs",
        field_path=".uri",
    ),
    *URI_RULES,
    Rule(
        "!self.uri.matches('^file:///[^/]') || self.uri.matches('^file:///[^/]+/+[^/]')",
        "must be file:///folder/adapter: the folder is mounted, and / must not be",
        field_path=".uri",
    ),
    *SOURCE_RULES,
)
"""On each of spec.model.adapters."""

SERVED_NAME_RULES = (
    Rule(
        "!self.adapters.exists(a, a.name in self.servedNames)",
        "an adapter must not have a name of the model: clients could ask for only one of the two",
        "'adapter ' + self.servedNames.filter(n, self.adapters.exists(a, a.name == n))[0] + "
        "' has a name of the model: clients could ask for only one of the two'",
        field_path=".adapters",
    ),
)
"""On spec.model."""

OWN_NAME_RULES = (
    Rule(
        "self.spec.model.servedNames.size() > 0 || !self.spec.model.adapters.exists(a, a.name == self.metadata.name)",
        "metadata.name is the name of the model, for there are no servedNames: give the adapter another one",
        field_path=".spec.model.adapters",
    ),
)
"""On the whole object."""

LORA_RULES = (
    Rule(
        f"self.maxRank in {list(LORA_RANKS)}",
        f"must be one of {', '.join(map(str, LORA_RANKS))}, for which vLLM has kernels: "
        "take the first that is not below the rank of any adapter",
        field_path=".maxRank",
    ),
)
"""On spec.engine.lora."""

MODULES_RULES = (
    Rule(
        "has(self.engine.lora) || self.model.adapters.size() > 0 || "
        # Of an object from before the fields, which an API server lets stand: it may be scaled, too.
        "self.engine.args.exists(a, a.matches('^--enable[-_]lora$')) || "
        "!self.engine.args.exists(a, a.matches('^--lora[-_]m(o(d(u(l(e(s)?)?)?)?)?)?(=|$)'))",
        "--lora-modules needs an engine that is started for adapters: set spec.engine.lora, {} is enough",
        field_path=".engine.args",
    ),
)
"""On spec."""
