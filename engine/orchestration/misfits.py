"""What is said of a value that does not fit a schema: in JSON's words, as it would be written there.

jsonschema tells keyword and value at fault, and shows both as Python does: None, True, 'x'. Whoever wrote the JSON, in
whatever language, reads null, true and "x" here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

MESSAGE_LENGTH_MAX = 200
"""Characters of one failure's message."""

ALTERNATIVES_MAX = 5
"""Reasons that are told of a value that fits none of several schemas."""


def told(error: Any) -> str:
    """What is wrong with the value that an error is about: `null is not of type "object"`."""
    words = _words(error)
    # Where there are none, the keyword is one of our own, and its message is said as it is.
    return short(f"{shown(error.instance)} {words}" if words else error.message)


def place_of(root: str, steps: Iterable[object]) -> str:
    """Where something is: `run_input.rows[2]["the name"]`."""
    return (root + "".join(map(_step, steps))).removeprefix(".")


def shown(value: Any) -> str:
    """A value as JSON has it."""
    return json.dumps(value, ensure_ascii=False)


def short(text: str) -> str:
    """A text without its middle when it is long: both ends of a message say what it is about."""
    half = MESSAGE_LENGTH_MAX // 2
    return text if len(text) <= 2 * half else f"{text[:half]} … {text[-half:]}"


def _words(error: Any) -> str:
    if error.validator is None:
        return "is not allowed here"
    words = WORDS.get(error.validator)
    return words(error.validator_value, error) if words is not None else ""


def _step(step: object) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    text = str(step)
    return f".{text}" if text.replace("$", "_").isidentifier() else f"[{short(shown(text))}]"


def _types(wanted: Any, error: Any) -> str:
    return "is not of type " + " or ".join(map(shown, [wanted] if isinstance(wanted, str) else wanted))


def _fits_none(error: Any) -> str:
    """Why a value fits none of several schemas: the first reasons, each with its place below the value."""
    reasons = [f"{place_of('', one.path)} {_why(one)}".strip() for one in error.context[:ALTERNATIVES_MAX]]
    more = ["…"] if len(error.context) > ALTERNATIVES_MAX else []
    return ", and ".join([*dict.fromkeys(reasons), *more])


def _why(error: Any) -> str:
    several = error.validator in ("anyOf", "oneOf")
    return f"does not fit {shown(error.validator)}" if several else _words(error) or str(error.message)


def _one_of(wanted: Any, error: Any) -> str:
    return _fits_none(error) if error.context else 'fits more than one of the schemas of "oneOf"'


def _bound(words: str) -> Callable[[Any, Any], str]:
    return lambda wanted, error: words.format(shown(wanted))


WORDS: dict[str, Callable[[Any, Any], str]] = {
    "type": _types,
    "anyOf": lambda wanted, error: _fits_none(error),
    "oneOf": _one_of,
    "const": _bound("is not {}"),
    "enum": _bound("is not one of {}"),
    "not": _bound("fits the schema that it must not fit: {}"),
    "pattern": _bound("does not match {}"),
    "multipleOf": _bound("is not a multiple of {}"),
    "minimum": _bound("is less than {}"),
    "maximum": _bound("is greater than {}"),
    "exclusiveMinimum": _bound("is not greater than {}"),
    "exclusiveMaximum": _bound("is not less than {}"),
    "minLength": _bound("has fewer characters than {}"),
    "maxLength": _bound("has more characters than {}"),
    "minItems": _bound("has fewer items than {}"),
    "maxItems": _bound("has more items than {}"),
    "minProperties": _bound("has fewer properties than {}"),
    "maxProperties": _bound("has more properties than {}"),
    "items": lambda wanted, error: f"has more items than {len(error.schema.get('prefixItems', ()))}",
    "contains": _bound("has no item that fits {}"),
    "minContains": _bound('has fewer items that fit "contains" than {}'),
    "maxContains": _bound('has more items that fit "contains" than {}'),
    "uniqueItems": lambda wanted, error: "has equal items",
}
