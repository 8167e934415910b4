"""Writes the reference of all fields from the CRD: `python tools/api_reference.py CRD OUT` (or `make docs`).

The CRD is made from the Python models, so the reference cannot differ from what the API server accepts;
`make verify` regenerates it and fails on a difference.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HEADER = """# {kind}: all fields

Group `{group}`, version `{version}`. Made by `make docs` from `{source}`; do not edit.
"""
ROW = "| `{path}` | {kind} | {default} | {description} |"


def kind_of(schema: dict[str, Any]) -> str:
    """Describes the values that a schema allows, in a few words."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = str(schema.get("type", "any"))
    if kind == "array":
        item = schema["items"]
        return f"list of {kind_of(item)}{'' if 'enum' in item else 's'}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {kind_of(schema['additionalProperties'])}s"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    return f"{kind}, at least {low}" if low is not None else kind


def rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    """One table row per field below the path, depth first, in the order of the schema."""
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
        description = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
        yield ROW.format(
            path=f"{path}.{name}",
            kind=kind_of(field),
            default="**required**" if name in required else default,
            description=description,
        )
        yield from rows(field, f"{path}.{name}")
        if field.get("type") == "array":
            yield from rows(field["items"], f"{path}.{name}[]")


def rules(schema: dict[str, Any], path: str) -> Iterator[str]:
    """The rules (CEL) with their messages, by the field they are stated on."""
    for rule in schema.get("x-kubernetes-validations", ()):
        message = " ".join(str(rule.get("message", rule["rule"])).split())
        yield f"- `{path or 'the object'}`: {message}"
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        yield from rules(field, below)
        if field.get("type") == "array":
            yield from rules(field["items"], f"{below}[]")


def reference(crd: dict[str, Any], source: str) -> str:
    """Renders the page: spec, rules, status."""
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [
        HEADER.format(
            kind=crd["spec"]["names"]["kind"], group=crd["spec"]["group"], version=version["name"], source=source
        )
    ]
    for section in ("spec", "status"):
        part = schema["properties"][section]
        parts += [
            f"## {section}",
            "| field | type | default | what it means |",
            "|---|---|---|---|",
            *rows(part, section),
            "",
        ]
        if section == "spec":
            parts += ["## Rules", "What the API server refuses, with these words:", "", *rules(schema, ""), ""]
    return "\n".join(parts)


def main() -> int:
    """Reads the CRD, writes the page; returns the exit code."""
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    page = reference(yaml.safe_load(source.read_text(encoding="utf-8")), source.as_posix())
    out.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
