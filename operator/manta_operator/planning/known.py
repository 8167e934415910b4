"""What is known of a model beside its spec, from where, and if nothing is, why. Pure.

    the checkpoint     where it can be seen: nothing is nearer to what the engine loads
    a user's catalog   the entries of a ConfigMap
    Manta's catalog    facts/catalog.py
    a hub              where somebody has allowed to ask it
    nothing            the fit is Unknown, says why, and everything goes on

A catalog knows names, not files. Where the spec shows that the checkpoint is another one than the entry's (a branch, a
quantization), the entry is not used: a wrong number is worse than none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from manta_operator.facts import catalog
from manta_operator.facts.accelerators import Accelerator
from manta_operator.facts.extension import Extension
from manta_operator.facts.models import ModelFacts
from manta_operator.planning.quantization import TAKES

SHIPPED = "Manta's catalog of models"
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_OF_CHECKPOINTS = frozenset(
    {
        "auto_awq", "auto_gptq", "awq", "awq_marlin", "compressed-tensors", "deepseek_v4_fp8", "gpt_oss_mxfp4", "gptq",
        "gptq_marlin", "inc", "modelopt", "modelopt_fp4", "modelopt_mixed", "modelopt_mxfp8", "moe_wna16", "mxfp4",
        "quark",
    }
)  # fmt: skip
"""Methods that a checkpoint has to be quantized with beforehand: whoever asks for one has such a checkpoint."""


@dataclass(frozen=True)
class Asked:
    """Which checkpoint a deployment serves, as far as its facts depend on it."""

    uri: str
    revision: str | None = None
    endpoint: str | None = None
    quantization: str = "auto"
    namespace: str = ""
    secret: str | None = None
    """Name of the Secret with the token of the hub, in that namespace."""


@dataclass(frozen=True)
class Known:
    """The facts of one model, None where nobody knows any; and what a user adds to the catalog of accelerators."""

    facts: ModelFacts | None = None
    source: str = ""
    """Where they come from, in words; empty: there are none."""
    why: str = ""
    """Why there are none, as far as that is worth a sentence."""
    trouble: str = ""
    """What is wrong with the checkpoint, where it can be seen: nothing would come of serving it."""
    accelerators: Mapping[str, Accelerator] = field(default_factory=dict)
    unread: str = ""
    """Why the user's catalog has not been read yet: it may have more of both."""

    @property
    def read(self) -> bool:
        """Whether they were read from the checkpoint itself."""
        return self.facts is not None and self.facts.basis != "catalog"


NOTHING = Known()


def asked_of(body: Mapping[str, Any]) -> Asked:
    """Return what to ask about an LLMDeployment as the API server has it: asked before every pass, so not parsed."""
    spec = body["spec"]
    model = spec["model"]
    return Asked(
        uri=model["uri"],
        revision=model.get("revision"),
        endpoint=model.get("endpoint"),
        quantization=(spec.get("engine") or {}).get("quantization", "auto"),
        namespace=body["metadata"].get("namespace", ""),
        secret=model.get("credentialsSecret"),
    )


def of_catalogs(asked: Asked, own: Extension, where: str = "the user's catalog") -> Known:
    """Return what the catalogs know of it: a user's own entries, in `where`, before those that Manta ships."""
    name = asked.uri.removeprefix(catalog.SCHEME).rstrip("/")
    if asked.revision and (facts := own.models.get(f"{name}@{asked.revision}")):
        return _fitting(asked, facts, where)
    source = where if name in own.models else SHIPPED
    facts = catalog.known(asked.uri.rstrip("/"), own.models)
    if facts is None:
        return Known(why="no catalog has it") if asked.uri.startswith(catalog.SCHEME) else NOTHING
    if asked.revision and asked.revision != "main" and not _COMMIT.fullmatch(asked.revision):
        return Known(
            why=f"{source} has {name}, and not its revision {asked.revision}, which may be quantized in another way: "
            f"add {name}@{asked.revision} to the catalog, or name a commit"
        )
    return _fitting(asked, facts, source)


def _fitting(asked: Asked, facts: ModelFacts, source: str) -> Known:
    if difference := _difference(asked.quantization, facts.quantization):
        return Known(why=f"{source} has it {difference}")
    return Known(facts if facts.basis == "catalog" else replace(facts, basis="catalog"), source)


def _difference(asked: str, has: str | None) -> str:
    """Say how the entry is quantized if the checkpoint of the spec must be quantized in another way; else nothing."""
    if asked == "none":
        return f"quantized with {has}, and spec.engine.quantization is none" if has else ""
    if asked in _OF_CHECKPOINTS and has is None:
        return f"not quantized, and spec.engine.quantization is {asked}"
    if asked != "auto" and has and asked != has and asked not in TAKES.get(has, (asked,)):
        return f"quantized with {has}, and spec.engine.quantization is {asked}"
    return ""
