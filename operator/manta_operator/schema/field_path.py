"""`fieldPath` of a CEL rule: a small JSONPath such as `.spec.env['a.b']`, relative to the rule's value."""

import re

from manta_operator.schema.errors import Path, SchemaError

_STEP = re.compile(r"\.([A-Za-z_][-A-Za-z0-9_]*)|\['((?:[^'\\]|\\.)*)'\]")


def parse_field_path(where: str, text: str) -> Path:
    """Return the steps of `text`, none for an empty text.

    Raises:
        SchemaError: It is no such path; `where` says whose.
    """
    steps: list[str] = []
    position = 0
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            raise SchemaError(f"{where}: {text!r} is not a path such as .name or ['a name']")
        steps.append(step.group(1) or re.sub(r"\\(.)", r"\1", step.group(2)))
        position = step.end()
    return tuple(steps)
