"""Generates the reference of LLMDeployment for readers: every field, its type, its default and its bounds.

`python -m manta_operator.api.reference > docs/reference/llmdeployment.md`; a contract test holds that file up to date.
It is made from the same schema as the CRD, so it says what the API server does.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from manta_operator.api.crd import open_api_schema
from manta_operator.api.names import API_VERSION, KIND
from manta_operator.api.rules import PLANNED_FLAGS, RULES

_HEADER = f"""\
<!-- Generated from the models in operator/manta_operator/api: do not edit.
     python -m manta_operator.api.reference > docs/reference/llmdeployment.md -->

# {KIND}

`apiVersion: {API_VERSION}`, `kind: {KIND}`, short name `llmd`. The smallest one that is valid:

```yaml
apiVersion: {API_VERSION}
kind: {KIND}
metadata:
  name: llama-8b
spec:
  model:
    uri: hf://meta-llama/Llama-3.1-8B-Instruct
  accelerator:
    type: nvidia-l40s
```

Everything else has a default, or is chosen by the planner. Bold fields are required.
"""


def render() -> str:
    """Return the whole reference as Markdown."""
    schema = open_api_schema()["properties"]
    sections = [
        _HEADER + _rules(""),
        *_section("spec", schema["spec"]),
        *_section("status", schema["status"]),
        _flags(),
    ]
    return "\n".join(sections)


def _section(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section of an object, then those of the objects in it."""
    yield f"## {path}\n\n{schema['description']}\n"
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        shown = f"**{name}**" if name in required else name
        default = _code(field["default"]) if "default" in field else ""
        yield f"| {shown} | {_type(field)} | {default} | {_cell(field['description'] + _words(field))} |"
    yield _rules(path)
    for name, field in schema["properties"].items():
        inner, where = (field["items"], f"{path}.{name}[*]") if "items" in field else (field, f"{path}.{name}")
        if inner.get("properties"):
            yield from _section(where, inner)


def _type(field: Mapping[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "items" in field:
        return f"list of {field['items'].get('format') or field['items']['type']}s, at most {field['maxItems']}"
    if "additionalProperties" in field:
        return f"map of {field['additionalProperties']['type']}s, at most {field['maxProperties']}"
    return str(field.get("format") or field["type"]) + _bounds(field)


def _bounds(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None:
        return f", {low} to {high}" if high is not None else f", {low} or more"
    return f", at most {field['maxLength']} characters" if "maxLength" in field else ""


def _words(field: Mapping[str, Any]) -> str:
    return f" One of {', '.join(map(_code, field['enum']))}." if "enum" in field else ""


def _rules(path: str) -> str:
    """Return the rules that hold at `path`; the flags that Manta sets itself have a table of their own."""
    rules = [(rule.field_path.lstrip("."), rule.message) for rule in RULES.get(path, ())]
    rules += [("args", rule.message) for rule in RULES.get(f"{path}.args", ())[:1]]
    lines = [f"- {_code(field)}: {message}" if field else f"- {message}" for field, message in rules]
    return "\nRules:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _flags() -> str:
    rows = "\n".join(f"| {_code(flag)} | {instead} |" for flag, instead in PLANNED_FLAGS.items())
    return f"## Flags that Manta sets itself\n\n`spec.engine.args` refuses them.\n\n| flag | use |\n|---|---|\n{rows}\n"


def _code(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Print the reference."""
    sys.stdout.write(render())


if __name__ == "__main__":
    main()
