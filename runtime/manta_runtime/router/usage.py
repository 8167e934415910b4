"""The Envoy filters that learn what an answer cost, and hide the usage that a stream's client did not ask for. Pure.

A whole answer of our engines tells its tokens in headers (`engine/usage_header.py`), which clients do not get. Streams,
and only those (the picker says which they are), pass through `usage.lua`. Either way the results become metadata of the
request, for access logs and spans. Other ways cost more: docs/adr/0013 has the numbers.
"""

from pathlib import Path
from typing import Any

from manta_runtime.engine.usage_header import CACHED_HEADER, COMPLETION_HEADER, PROMPT_HEADER
from manta_runtime.router import asking

Json = dict[str, Any]

SPACE = "manta"
"""The namespace of the metadata."""

HEADERS = {
    PROMPT_HEADER: "prompt_tokens",
    COMPLETION_HEADER: "completion_tokens",
    CACHED_HEADER: "cached_tokens",
}
"""Of whole answers, and under which name of the metadata each is kept."""
_SOURCE = Path(__file__).with_name("usage.lua")
_TYPE = "type.googleapis.com/envoy."


def build() -> list[Json]:
    """The filters; they must come after the one that asks the picker."""
    return [_streams(), _documents()]


def metadata(count: str) -> str:
    """Envoy's command operator for one of the counts."""
    return f"%DYNAMIC_METADATA({SPACE}:{count})%"


def _documents() -> Json:
    rules = [
        {
            "header": header,
            "on_header_present": {"metadata_namespace": SPACE, "key": count, "type": "NUMBER"},
            "remove": True,
        }
        for header, count in HEADERS.items()
    ]
    kind = _TYPE + "extensions.filters.http.header_to_metadata.v3.Config"
    return {"name": "envoy.filters.http.header_to_metadata", "typed_config": {"@type": kind, "response_rules": rules}}


def _streams() -> Json:
    """Lua, left out for every request of which the picker did not say that its answer may be a stream."""
    lua = {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": _TYPE + "extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": _SOURCE.read_text(encoding="utf-8")},
        },
    }
    skip = {"name": "skip", "typed_config": {"@type": _TYPE + "extensions.filters.common.matcher.action.v3.SkipFilter"}}
    others = {"predicate": {"not_matcher": {"single_predicate": _said()}}, "on_match": {"action": skip}}
    return {
        "name": "usage",
        "typed_config": {
            "@type": _TYPE + "extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": lua,
            "xds_matcher": {"matcher_list": {"matchers": [others]}},
        },
    }


def _said() -> Json:
    kind = _TYPE + "extensions.matching."
    metadata_input = {
        "@type": kind + "common_inputs.network.v3.DynamicMetadataInput",
        "filter": asking.FILTER,
        "path": [{"key": asking.USAGE_HEADER}],
    }
    any_value = {"@type": kind + "input_matchers.metadata.v3.Metadata", "value": {"present_match": True}}
    return {
        "input": {"name": "said", "typed_config": metadata_input},
        "custom_match": {"name": "any", "typed_config": any_value},
    }
