"""What a `config.json` says, field by field, under the names that families have for the same thing. Pure.

The anatomy is counted from these; a field that is missing or is no number ends the count with a sentence that names it.
"""

from collections.abc import Mapping
from typing import Any

LAYERS_LIMIT = 2000
"""Decoder layers of one model; the most that the catalog has are 126."""
_ENTRIES_LIMIT = 4096
"""Entries of a list: each says something of a layer, or names one."""


class Uncountable(ValueError):
    """The weights of this model cannot be counted from its configuration; the message says why."""


class Fields:
    """The fields of one configuration: the decoder's, or a tower's."""

    def __init__(self, config: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> None:
        """Read `config`; what it does not have may stand in `beside`, the configuration around it."""
        self._config = config
        self._beside = beside or {}
        self.family = str(config.get("model_type") or self._beside.get("model_type") or "")

    def get(self, *names: str) -> Any:
        """Return the first of these fields that says something, or None."""
        for config in (self._config, self._beside):
            for name in names:
                if config.get(name) is not None:
                    return config[name]
        return None

    def number(self, *names: str, default: int | None = None) -> int:
        """Return the first of these fields as a whole number of at least 0; Uncountable without one and a default."""
        value = self.get(*names)
        if isinstance(value, list) and value:
            value = value[0]  # of each modality or stage: vLLM takes the first
        if value is None and default is not None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Uncountable(f"config.json: {' or '.join(names)} should be a whole number, it is {value!r}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Whether the field is true."""
        value = self.get(name)
        return default if value is None else bool(value)

    def listed(self, *names: str) -> list[Any]:
        """Return the first of these fields that is a list that has items, or an empty one."""
        for name in names:
            value = self.get(name)
            if isinstance(value, list) and value:
                if len(value) > _ENTRIES_LIMIT:
                    raise Uncountable(f"config.json: {name} has {len(value)} entries, more than any model has layers")
                return value
        return []

    def within(self, name: str) -> "Fields | None":
        """Return the fields of the object under `name`; None where there is none."""
        value = self.get(name)
        return Fields(value) if isinstance(value, Mapping) and value else None

    @property
    def hidden(self) -> int:
        """Width of the model."""
        return self.number("hidden_size", "n_embd", "d_model")

    @property
    def layers(self) -> int:
        """Decoder layers."""
        said = len(self.listed("layers_block_type")) or None  # Nemotron-H, as Transformers 5 writes it
        count = self.number("num_hidden_layers", "n_layer", "n_layers", default=said)
        if count > LAYERS_LIMIT:
            raise Uncountable(f"config.json: it has {count} layers, and no model has more than {LAYERS_LIMIT:,}")
        return count

    @property
    def heads(self) -> int:
        """Attention heads of a query."""
        return self.number("num_attention_heads", "n_head", "n_heads")

    @property
    def experts(self) -> int:
        """Experts of one layer that a router chooses from; vLLM's names, in its order (0: none)."""
        names = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
        return self.number(*names, default=0)
