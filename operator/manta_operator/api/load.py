"""Manifests on disk to admitted bodies: parse YAML, pick the LLMDeployments, judge them as the API server would.

Used by the command line before anything is planned or applied, so that a mistake is named with its field and its
remedy, all mistakes of a file at once. Stricter than an API server in one point: an unknown field is an error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from manta_operator.api.crd import llmdeployment_schema, open_api_schema
from manta_operator.api.names import API_VERSION, GROUP, KIND
from manta_operator.api.remedies import remedy_for
from manta_operator.api.strict_yaml import parse_documents
from manta_operator.schema.errors import FieldError, closest
from manta_operator.schema.structure import TYPES
from manta_operator.schema.unknown import known_siblings

_TYPE_NAMES = frozenset(f'"{name}"' for name in TYPES)
_SKELETON = "start from examples/tiny.yaml"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a manifest.

    Attributes:
        source: The file, or `-` for standard input.
        document: The YAML document in the file, counted from 1; 0 for the file as a whole.
        path: The field, for example `spec.model.uri`; empty for the document as a whole.
        message: What is wrong.
        remedy: What to do; empty where the message says it.
    """

    source: str
    document: int
    path: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.source}, document {self.document}" if self.document > 1 else self.source
        text = ": ".join(part for part in (where, self.path, self.message) if part)
        return f"{text}; {self.remedy}" if self.remedy else text


class InvalidManifest(ValueError):
    """A file holds something that would not be admitted; `problems` are all there is to say, in document order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load(text: str, source: str) -> list[dict[str, Any]]:
    """Return the LLMDeployments of a file as the API server would store them: validated, defaults filled in.

    Objects of other API groups in the file are left alone.

    Args:
        text: The file's content: YAML or JSON, one or more documents.
        source: The file's name, for messages.

    Raises:
        InvalidManifest: With every problem of the file.
    """
    try:
        documents = parse_documents(text)
    except yaml.YAMLError as error:
        raise InvalidManifest((_yaml_problem(error, source),)) from error
    bodies: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for number, document in enumerate(documents, start=1):
        found = list(_identity_problems(document, source, number))
        if not found and _is_ours(document):
            body, found = _admit(document, source, number)
            bodies.append(body)
        problems += found
    problems += _duplicates(bodies, source)
    if not bodies and not problems:
        what = "is empty" if not any(documents) else f"holds no {KIND}"
        problems.append(Problem(source, 0, "", what, f"{_SKELETON}: apiVersion: {API_VERSION}, kind: {KIND}"))
    if problems:
        raise InvalidManifest(tuple(problems))
    return bodies


def _yaml_problem(error: yaml.YAMLError, source: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        what = str(error).partition("\n")[0]
        return Problem(source, 0, "", f"is not valid YAML: {what}", "remove what YAML does not allow")
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    message = f"{where}is not valid YAML: {error.problem or error.context}"
    if "'\\t'" in message:
        return Problem(source, 0, "", message, "indent with spaces: YAML does not allow tabs")
    if "given twice" in message:
        return Problem(source, 0, "", message, "remove one of the two")
    return Problem(source, 0, "", message, "check the indentation, the quotes and the colons at that place")


def _is_ours(document: Any) -> bool:
    return isinstance(document, Mapping) and document.get("kind") == KIND


def _identity_problems(document: Any, source: str, number: int) -> Iterator[Problem]:
    """Yield what is wrong with apiVersion and kind; nothing for an empty document or another group's object."""
    if document is None:
        return
    if not isinstance(document, Mapping):
        message = f"must be a mapping with apiVersion, kind, metadata and spec, not {_describe(document)}"
        yield Problem(source, number, "", message, _SKELETON)
        return
    version, kind = document.get("apiVersion"), document.get("kind")
    ours = str(version).split("/")[0] == GROUP
    alike = isinstance(kind, str) and kind.lower() == KIND.lower()
    if not version and not kind:
        yield Problem(source, number, "", "apiVersion and kind are missing", _first_lines())
        return
    if version != API_VERSION and (ours or alike):
        what = f"unknown version {version!r}" if version else "missing"
        yield Problem(source, number, "apiVersion", what, f"write apiVersion: {API_VERSION}")
    if kind != KIND and (ours or alike or not kind):
        what = f"unknown kind {kind!r}" if kind else "missing"
        yield Problem(source, number, "kind", what, f"write kind: {KIND}")


def _first_lines() -> str:
    return f"write apiVersion: {API_VERSION} and kind: {KIND} as the first two lines"


def _describe(document: Any) -> str:
    return "a list" if isinstance(document, list) else f"the text {str(document)[:60]!r}"


def _admit(document: Mapping[str, Any], source: str, number: int) -> tuple[dict[str, Any], list[Problem]]:
    """Return the pruned, defaulted body of an LLMDeployment, and everything the API server would refuse in it."""
    schema = llmdeployment_schema()
    pruned, unknown = schema.prune(document)
    problems = [_unknown_field(path, source, number) for path in unknown]
    broken = _metadata_problem(pruned)
    if broken:
        problems.append(Problem(source, number, *broken))
        pruned = pruned | {"metadata": {"name": "a-name"}}  # so that the rest is judged too
    body = schema.default(pruned)
    problems += [
        Problem(source, number, error.path, _words(error), remedy_for(error)) for error in schema.validate(body)
    ]
    return body, problems


def _words(error: FieldError) -> str:
    """Return what is wrong, without the name of the type that an API server shows in place of a value."""
    return f"{error.kind}: {error.message}" if error.message and error.value in _TYPE_NAMES else error.body


def _unknown_field(path: str, source: str, number: int) -> Problem:
    name, siblings = known_siblings(open_api_schema(), path)
    likely = closest(name, siblings)
    message = f'unknown field "{name}"' + (f'; did you mean "{likely}"?' if likely else "")
    remedy = "" if likely else f"known here: {', '.join(siblings)}" if siblings else "remove it"
    return Problem(source, number, path, message, remedy)


def _metadata_problem(body: Mapping[str, Any]) -> tuple[str, str, str] | None:
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        return "metadata", f"must be a mapping, not {_describe(metadata)}", "write metadata: {name: …}"
    name = (metadata or {}).get("name")
    if name is None or name == "":
        return "metadata.name", "Required value", "give the deployment a name, for example metadata: {name: tiny}"
    if not isinstance(name, str):
        return "metadata.name", f"must be text, not {name!r}", f'put it in quotes: "{name}"'
    return None


def _duplicates(bodies: list[dict[str, Any]], source: str) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for body in bodies:
        metadata = body["metadata"]
        key = metadata.get("namespace", "default"), metadata["name"]
        if key in seen:
            message = f"{KIND} {key[1]!r} is in this file more than once (namespace {key[0]})"
            yield Problem(source, 0, "metadata.name", message, "rename one of them, or remove it")
        seen.add(key)
