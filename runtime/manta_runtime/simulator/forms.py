"""Whether the fields of a body have the form they should, as pydantic judges it for vLLM, and in its words. Pure.

Lax like pydantic: "5", 5.0 and true are whole numbers, "yes" is a boolean. Of the several complaints that vLLM has
about a field which may be one thing or another, the first is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE = ("1", "true", "t", "yes", "y", "on")
_FALSE = ("0", "false", "f", "no", "n", "off")
_SHOWN = 200


class Refused(Exception):
    """The HTTP status and the body vLLM would answer with."""

    def __init__(self, status: int, message: str, kind: str, param: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def bad(message: str, param: str | None, value: object = None) -> Refused:
    """Return the refusal of a value vLLM itself has checked."""
    said = "" if value is None else f", value={value}"
    text = f"{message} (parameter={param}{said})" if param else message
    return Refused(400, text, "BadRequestError", param)


def invalid(kind: str, place: str, message: str, given: object) -> Refused:
    """Return the refusal of a body that does not have the form of the request."""
    shown = f"<{type(given).__name__} of {len(given)} items>" if isinstance(given, dict | list) else str(given)[:_SHOWN]
    text = f"1 validation error:\n  {{'type': '{kind}', 'loc': '{place}', 'msg': '{message}', 'input': '{shown}'}}"
    return Refused(400, text, "Bad Request", place)


def missing(body: Mapping[str, Any], name: str) -> Refused:
    """Return the refusal of a body without a field."""
    return invalid("missing", f"body.{name}", "Field required", dict(body))


def text(value: object, place: str) -> str:
    """Return a text. Raises Refused."""
    if not isinstance(value, str):
        raise invalid("string_type", place, "Input should be a valid string", value)
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        what = "Input should be a valid string, unable to parse raw data as a unicode string"
        raise invalid("string_unicode", place, what, ascii(value)) from None
    return value


def texts(value: object, place: str) -> tuple[str, ...]:
    """Return one text or a list of them. Raises Refused."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(text(each, place) for each in value)
    return (text(value, place),)


def integer(value: object, place: str) -> int:
    """Return a whole number. Raises Refused."""
    what = "Input should be a valid integer"
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value.is_integer():
            return int(value)
        raise invalid("int_from_float", place, f"{what}, got a number with a fractional part", value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise invalid("int_parsing", place, f"{what}, unable to parse string as an integer", value) from None
    raise invalid("int_type", place, what, value)


def number(value: object, place: str) -> float:
    """Return a number. Raises Refused."""
    what = "Input should be a valid number"
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise invalid("float_parsing", place, f"{what}, unable to parse string as a number", value) from None
    raise invalid("float_type", place, what, value)


def boolean(value: object, place: str) -> bool:
    """Return a boolean. Raises Refused."""
    what = "Input should be a valid boolean"
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | int | float):
        raise invalid("bool_type", place, what, value)
    word = f"{value:g}" if isinstance(value, float) else str(value).lower()
    if word not in _TRUE + _FALSE:
        raise invalid("bool_parsing", place, f"{what}, unable to interpret input", value)
    return word in _TRUE


def tokens(value: object, place: str) -> list[int]:
    """Return a list of tokens, any whole numbers that are not negative. Raises Refused."""
    if not isinstance(value, list):
        raise invalid("list_type", place, "Input should be a valid list", value)
    found = [integer(each, f"{place}.{index}") for index, each in enumerate(value)]
    for index, token in enumerate(found):
        if token < 0:
            raise invalid("greater_than_equal", f"{place}.{index}", "Input should be greater than or equal to 0", token)
    return found
