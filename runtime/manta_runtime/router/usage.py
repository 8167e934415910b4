"""The Envoy filter that counts tokens and hides the usage which a stream's client did not ask for. Pure.

`usage.lua` does it; its results are metadata of the request, for the access logs and the spans. Envoy's own filters
(json_to_metadata, sse_to_metadata) parse every byte as JSON and buffer whole answers; docs/adr/0013 has the numbers.
"""

from pathlib import Path
from typing import Any

Json = dict[str, Any]

_SOURCE = Path(__file__).with_name("usage.lua")


def build() -> Json:
    """The filter."""
    return {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": _SOURCE.read_text(encoding="utf-8")},
        },
    }


def metadata(count: str) -> str:
    """Envoy's command operator for one of the counts."""
    return f"%DYNAMIC_METADATA(manta:usage:{count})%"
