"""The anatomy of a checkpoint as it is stored: what its `config.json` describes, quantized as it says. Pure.

Joins `anatomy_config` (which weights) with `anatomy_schemes` and `anatomy_kept` (how they are stored).
"""

from collections.abc import Mapping
from typing import Any

from manta_operator.facts.anatomy import Anatomy
from manta_operator.facts.anatomy_config import anatomy
from manta_operator.facts.anatomy_fields import Uncountable
from manta_operator.facts.anatomy_kept import dressed
from manta_operator.facts.anatomy_schemes import scheme


def anatomy_of(config: Mapping[str, Any], quantization: Mapping[str, Any]) -> Anatomy | str:
    """Return the weights of a checkpoint by its configuration and its quantization (empty: none), or why not."""
    bare = anatomy(config)
    if isinstance(bare, str) or not quantization:
        return bare
    try:
        return dressed(bare, scheme(quantization))
    except Uncountable as error:
        return str(error)
    except (TypeError, ValueError) as error:
        return f"config.json: quantization_config cannot be read: {error}"
