"""JSON that others sent: a run's parameters, the input that a pause asks for, and the JSON Schema that it must fit.

All is checked when it arrives, before anything is asked of the journal; whether input fits its schema is a rule's
question, decided with the rest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from playhead.engine.orchestration import json_schema
from playhead.exceptions import BadRequest
from playhead.journal.checks import bounded_bytes
from playhead.serialization import nested_deeper

RUN_INPUT_BYTES_MAX = 65_536
"""Of the schema and of the input, each."""

SCHEMAS_KEPT_MAX = 64
"""Schemas that are known to be good: to check one takes milliseconds, and a flow asks with the same one each time."""

NESTING_MAX = 32
"""Lists and objects inside each other."""

PARAMETERS_BYTES_MAX = 524_288

PARAMETERS_NESTING_MAX = 64
"""Whoever lists runs must be able to show them."""

NUMBER_DIGITS_MAX = 300
"""A whole number of so many digits is still a floating-point number, in whatever language the flow is written."""


def check_parameters(data: bytes, field: str) -> None:
    """Refuse what is no JSON object; empty bytes are none. Raises BadRequest, TooLarge."""
    bounded_bytes(data, field, PARAMETERS_BYTES_MAX)
    if data and not isinstance(_parsed(data, field, PARAMETERS_NESTING_MAX, int), dict):
        raise BadRequest("must be a JSON object", field=field)


@lru_cache(SCHEMAS_KEPT_MAX)
def check_schema(data: bytes, field: str) -> None:
    """Refuse what is no schema of a run's input. Raises BadRequest, TooLarge."""
    schema = _input(data, field)
    if not isinstance(schema, dict):
        raise BadRequest("must be a JSON Schema, a JSON object", field=field)
    try:
        json_schema.check_schema(schema)
    except ValueError as error:
        raise BadRequest(f"no schema that input can be checked against: {error}", field=field) from None


def check_json(data: bytes, field: str) -> None:
    """Refuse what is no JSON. Raises BadRequest, TooLarge."""
    _input(data, field)


def check_input(data: bytes, field: str) -> None:
    """Refuse what is no JSON, and be ready to compare it with a schema. Raises BadRequest, TooLarge."""
    check_json(data, field)
    # The rule that will look at it must not wait for a library to be read from disk.
    json_schema.load()


def misfits(schema: bytes, run_input: bytes) -> list[str]:
    """Why an input does not fit a schema, each with its place: `run_input.age: "x" is not of type "integer"`.

    Both were checked; none when it fits.
    """
    return json_schema.failures(json.loads(schema), json.loads(run_input), "run_input")


def _input(data: bytes, field: str) -> Any:
    bounded_bytes(data, field, RUN_INPUT_BYTES_MAX)
    value = _parsed(data, field, NESTING_MAX, _whole)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # no database or wire can hold such text
        raise BadRequest(f"not JSON: {error}", field=field) from None
    return value


def _parsed(data: bytes, field: str, nesting_max: int, whole: Callable[[str], int]) -> Any:
    try:
        value = json.loads(data.decode(), parse_int=whole, parse_float=_finite, parse_constant=_finite)
        if nested_deeper(value, nesting_max):
            raise RecursionError
    except RecursionError:
        raise BadRequest(f"nested more than {nesting_max} deep", field=field) from None
    except ValueError as error:
        raise BadRequest(f"not JSON: {error}", field=field) from None
    return value


def _whole(digits: str) -> int:
    if len(digits) > NUMBER_DIGITS_MAX:
        raise ValueError(f"a number of more than {NUMBER_DIGITS_MAX} digits")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number
