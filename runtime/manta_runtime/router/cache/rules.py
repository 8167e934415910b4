"""Which requests the cache may answer, and what the client's Cache-Control allows. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"})
"""Where answers are generated. Embeddings and scores have no temperature to say that the client wants them repeated."""

_DATA = "data:"
_MOST_DIGITS = 10


class Asked(Protocol):
    """What the picker has read of a request (`picker.request.Request`)."""

    @property
    def path(self) -> str:
        """The path the client asked for, without a query."""

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""

    @property
    def wants_usage(self) -> bool:
        """Whether a streamed answer is to end with its usage."""

    @property
    def deterministic(self) -> bool:
        """Whether temperature 0 or a seed that engines heed was given."""


@dataclass(frozen=True, slots=True)
class Directives:
    """What Cache-Control allows: to be answered from the cache, to be kept there, and the oldest answer in seconds."""

    read: bool = True
    keep: bool = True
    max_age: float | None = None


_ALL = Directives()


def directives(cache_control: bytes) -> Directives:
    """Read a request's Cache-Control; unknown directives are ignored, as HTTP wants it."""
    if not cache_control:
        return _ALL
    given = {part.strip().lower() for part in cache_control.split(b",")}
    if b"no-store" in given:
        return Directives(read=False, keep=False)
    ages = [part[8:].strip(b'" ') for part in given if part.startswith(b"max-age=")]
    # What has more digits is for ever, and would cost Python long to read, or an error.
    seconds = [int(age) for age in ages if age.isdigit() and len(age) <= _MOST_DIGITS]
    return Directives(read=b"no-cache" not in given, max_age=min(seconds, default=None))


def may_repeat(request: Asked) -> bool:
    """Whether the same request must have the same answer, as far as can be told without its body.

    Only where the client says so: temperature 0 or a seed. With temperature 0 an engine takes the likeliest token, and
    top_p, top_k and min_p cannot change which that is. With a seed they, and n, are part of what the seed fixes. All of
    them are part of the key, so two requests that differ in one never share an answer.
    """
    return request.deterministic and request.path in PATHS


def is_self_contained(path: str, body: dict[str, Any], raw: bytes) -> bool:
    """Whether the body alone decides the answer: no stored conversation, no tool run by the engine, no remote media."""
    if path == "/v1/responses" and not _is_fresh_response(body):
        return False
    # Keys can be spelled with escapes; prompts with a "url" in them are only looked at more closely.
    return not ((b"url" in raw or b"\\u" in raw) and _links(body))


def current_revision(usable: Iterable[tuple[str, str]]) -> str | None:
    """The revision whose answers are valid, of usable replicas as (revision, time of creation); None without any.

    It is the one whose oldest usable replica is the youngest: a rollout's new revision as soon as one of its replicas
    serves, whatever is created anew of the old one meanwhile. Times compare as Kubernetes writes them.
    """
    oldest: dict[str, str] = {}
    for revision, created in usable:
        oldest[revision] = min(created, oldest.get(revision, created))
    return max(oldest, key=lambda revision: (oldest[revision], revision), default=None)


def _is_fresh_response(body: Mapping[str, Any]) -> bool:
    if any(body.get(name) for name in ("previous_response_id", "conversation", "background", "store")):
        return False
    tools = body.get("tools") or ()
    return isinstance(tools, list | tuple) and all(
        isinstance(tool, dict) and tool.get("type") == "function" for tool in tools
    )


def _links(value: object) -> bool:
    """Whether something in `value` is to be fetched: under `url` or `…_url`, but for what carries its own data."""
    if isinstance(value, list):
        return any(_links(each) for each in value)
    if not isinstance(value, dict):
        return False
    return any(
        _links(each) or (isinstance(each, str) and _names_a_link(key) and not each.startswith(_DATA))
        for key, each in value.items()
    )


def _names_a_link(key: str) -> bool:
    return key == "url" or key.endswith("_url")
