"""Input that a pause asks for and a resume brings: JSON, and the JSON Schema that it must fit.

Both are checked when they arrive, before anything is asked of the journal; whether the one fits the other is a rule's
question, decided with the rest.
"""

from __future__ import annotations

import json
import math
from typing import Any

from playhead.engine.orchestration import json_schema
from playhead.exceptions import BadRequest
from playhead.journal.checks import bounded_bytes
from playhead.serialization import nested_deeper

RUN_INPUT_BYTES_MAX = 65_536
"""Of the schema and of the input, each."""

NESTING_MAX = 32
"""Lists and objects inside each other."""

TOO_DEEP = f"nested more than {NESTING_MAX} deep"

NUMBER_DIGITS_MAX = 300
"""A whole number of so many digits is still a floating-point number, in whatever language the flow is written."""


def check_schema(data: bytes, field: str) -> None:
    """Refuse what is no schema of a run's input. Raises BadRequest, TooLarge."""
    schema = _parsed(data, field)
    if not isinstance(schema, dict):
        raise BadRequest("must be a JSON Schema, a JSON object", field=field)
    try:
        json_schema.check_schema(schema)
    except ValueError as error:
        raise BadRequest(f"no schema that input can be checked against: {error}", field=field) from None


def check_json(data: bytes, field: str) -> None:
    """Refuse what is no JSON. Raises BadRequest, TooLarge."""
    _parsed(data, field)


def check_input(data: bytes, field: str) -> None:
    """Refuse what is no JSON, and be ready to compare it with a schema. Raises BadRequest, TooLarge."""
    check_json(data, field)
    # The rule that will look at it must not wait for a library to be read from disk.
    json_schema.load()


def misfits(schema: bytes, run_input: bytes) -> list[str]:
    """Why an input does not fit a schema, each with its place: "run_input.age: 'x' is not of type 'integer'".

    Both were checked; none when it fits.
    """
    return json_schema.failures(json.loads(schema), json.loads(run_input), "run_input")


def _parsed(data: bytes, field: str) -> Any:
    bounded_bytes(data, field, RUN_INPUT_BYTES_MAX)
    try:
        value = json.loads(data.decode(), parse_int=_whole, parse_float=_finite, parse_constant=_finite)
        if nested_deeper(value, NESTING_MAX):
            raise RecursionError
        json.dumps(value, ensure_ascii=False).encode()  # refuses text that no database or wire can hold
    except RecursionError:
        raise BadRequest(TOO_DEEP, field=field) from None
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
