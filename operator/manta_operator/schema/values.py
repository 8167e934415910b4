"""Value validation: types, bounds, patterns, formats, required fields and list types of a structural schema.

One of the two walks of `StructuralSchema.validate`; the other one runs the CEL rules. On an update, a part that
did not change is not looked at again (Kubernetes calls this ratcheting), so that a tightened schema does not
lock users out of objects they already have.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from manta_operator.schema import errors
from manta_operator.schema.errors import FieldError, Path, render_path, render_value
from manta_operator.schema.formats import NUMBER_FORMATS, STRING_FORMATS
from manta_operator.schema.olds import MISSING, old_child, old_item

Found = tuple[Path, FieldError]


def check_values(schema: Mapping[str, Any], value: Any, old: Any = MISSING, path: Path = ()) -> Iterator[Found]:
    """Yield every violation in `value` with its path, in the order of the schema; rules are not run here.

    Args:
        schema: A structural schema or a part of it.
        value: The JSON value, pruned and defaulted.
        old: The value that is stored now, or MISSING.
        path: Where `value` lies in its object.
    """
    if old is not MISSING and old == value:
        return
    if value is None and schema.get("nullable"):
        return
    wrong_type = _type_error(schema, value, path)
    if wrong_type:
        yield wrong_type
        return
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(render_value(item) for item in schema["enum"])
        yield _error(path, errors.UNSUPPORTED, f"supported values: {supported}", value)
    if isinstance(value, str):
        yield from _string(schema, value, path)
    elif isinstance(value, Mapping):
        yield from _object(schema, value, old, path)
    elif isinstance(value, list):
        yield from _list(schema, value, old, path)
    elif not isinstance(value, bool):
        yield from _number(schema, value, path)
    yield from _junctors(schema, value, path)


def _error(path: Path, kind: str, message: str, value: Any) -> Found:
    return path, FieldError(render_path(path), kind, message, render_value(value))


def _invalid(path: Path, value: Any, message: str) -> Found:
    return _error(path, errors.INVALID, f"{render_path(path)} in body {message}", value)


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    names: tuple[tuple[type, str], ...] = (
        (bool, "boolean"), (int, "integer"), (str, "string"), (Mapping, "object"), (list, "array"),
    )  # fmt: skip
    return next((name for kind, name in names if isinstance(value, kind)), "number")


def _type_error(schema: Mapping[str, Any], value: Any, path: Path) -> Found | None:
    actual = _type_name(value)
    if schema.get("x-kubernetes-int-or-string"):
        fits, wanted = actual in ("integer", "string"), "integer,string"
    else:
        wanted = schema.get("type", actual)
        integral = isinstance(value, float) and value.is_integer()
        fits = wanted == actual or (actual == "integer" and wanted == "number")
        fits = fits or (wanted == "integer" and integral)
    if fits and actual != "null":
        return None
    where = render_path(path)
    message = f'{where} in body must be of type {wanted}: "{actual}"'
    return path, FieldError(where, errors.INVALID, message, render_value(actual), blocks_rules=True)


@lru_cache(maxsize=512)
def _regex(pattern: str) -> re.Pattern[str]:
    """Compile as RE2 reads it: ASCII classes, and `$` only at the very end, not before a last newline."""
    if pattern.endswith("$") and not pattern.endswith(r"\$"):
        pattern = pattern[:-1] + r"\Z"
    return re.compile(pattern, re.ASCII)


def _string(schema: Mapping[str, Any], value: str, path: Path) -> Iterator[Found]:
    longest = schema.get("maxLength")
    if longest is not None and len(value) > longest:
        yield path, FieldError(render_path(path), errors.TOO_LONG, f"may not be more than {longest} characters", "")
    if len(value) < schema.get("minLength", 0):
        yield _invalid(path, value, f"should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not _regex(schema["pattern"]).search(value):
        yield _invalid(path, value, f"should match '{schema['pattern']}'")
    known = STRING_FORMATS.get(schema.get("format", ""))
    if known and not known(value):
        yield _invalid(path, value, f"must be of type {schema['format']}: {render_value(value)}")


def _number(schema: Mapping[str, Any], value: float, path: Path) -> Iterator[Found]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        if schema.get("exclusiveMinimum") and value <= low:
            yield _invalid(path, value, f"should be greater than {low}")
        elif value < low:
            yield _invalid(path, value, f"should be greater than or equal to {low}")
    if high is not None:
        if schema.get("exclusiveMaximum") and value >= high:
            yield _invalid(path, value, f"should be less than {high}")
        elif value > high:
            yield _invalid(path, value, f"should be less than or equal to {high}")
    if "multipleOf" in schema and value % schema["multipleOf"]:
        yield _invalid(path, value, f"should be a multiple of {schema['multipleOf']}")
    known = NUMBER_FORMATS.get(schema.get("format", ""))
    if known and not known(value):
        yield _invalid(path, value, f"must be of type {schema['format']}: {render_value(value)}")


def _object(schema: Mapping[str, Any], value: Mapping[str, Any], old: Any, path: Path) -> Iterator[Found]:
    for name in schema.get("required", ()):
        if name not in value:
            yield (*path, name), FieldError(render_path((*path, name)), errors.REQUIRED, "", blocks_rules=True)
    most = schema.get("maxProperties")
    if most is not None and len(value) > most:
        message = f"must have at most {most} items"
        yield path, FieldError(render_path(path), errors.TOO_MANY, message, str(len(value)))
    if len(value) < schema.get("minProperties", 0):
        yield _invalid(path, len(value), f"should have at least {schema['minProperties']} properties")
    properties: Mapping[str, Any] = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    for name, item in value.items():
        child = properties.get(name, additional)
        if isinstance(child, Mapping):
            yield from check_values(child, item, old_child(old, name), (*path, name))


def _list(schema: Mapping[str, Any], value: list[Any], old: Any, path: Path) -> Iterator[Found]:
    most = schema.get("maxItems")
    if most is not None and len(value) > most:
        message = f"must have at most {most} items"
        yield path, FieldError(render_path(path), errors.TOO_MANY, message, str(len(value)))
    if len(value) < schema.get("minItems", 0):
        yield _invalid(path, len(value), f"should have at least {schema['minItems']} items")
    yield from _duplicates(schema, value, path)
    for i, item in enumerate(value):
        if "items" in schema:
            yield from check_values(schema["items"], item, old_item(schema, old, item), (*path, i))


def _duplicates(schema: Mapping[str, Any], value: list[Any], path: Path) -> Iterator[Found]:
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in ("set", "map"):
        return
    keys: list[str] = schema.get("x-kubernetes-list-map-keys", [])
    seen: set[str] = set()
    for i, item in enumerate(value):
        identity = item
        if list_type == "map" and isinstance(item, Mapping):
            identity = {key: item.get(key) for key in keys}
        text = render_value(identity)
        if text in seen:
            yield _error((*path, i), errors.DUPLICATE, "", identity)
        seen.add(text)


def _junctors(schema: Mapping[str, Any], value: Any, path: Path) -> Iterator[Found]:
    for part in schema.get("allOf", ()):
        yield from check_values(part, value, path=path)
    any_of, one_of = schema.get("anyOf"), schema.get("oneOf")
    if any_of and not any(_fits(part, value) for part in any_of):
        yield _invalid(path, value, "must validate at least one schema (anyOf)")
    if one_of and sum(_fits(part, value) for part in one_of) != 1:
        yield _invalid(path, value, "must validate one and only one schema (oneOf)")
    if "not" in schema and _fits(schema["not"], value):
        yield _invalid(path, value, "must not validate the schema (not)")


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    return not any(check_values(schema, value))
