"""Facts of a run that an environment variable can set, for tests: PLAYHEAD__RUNTIME__FLOW_RUN__NAME=marvin.

The text becomes a value of the same type as the real one has at that moment: bool ("true", "1", "yes", "on"), int,
float, text, a time (ISO 8601, UTC unless it says otherwise). In place of None, and of a fact that does not exist, it is
text. Lists and dicts can not be set.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_CASTS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: text.strip().lower() in {"1", "true", "yes", "on"},
    int: int,
    float: float,
    str: str,
    datetime: lambda text: _in_utc(datetime.fromisoformat(text)),
    type(None): str,
}


def attribute(module: str, name: str, sources: dict[str, Callable[[], Any]]) -> Any:
    """The value of a fact. Raises AttributeError for an unknown one, ValueError for one that can not be set."""
    variable = f"PLAYHEAD__RUNTIME__{module}__{name.upper()}"
    text = os.environ.get(variable)
    if name not in sources:
        if text is None:
            raise AttributeError(f"playhead.runtime.{module.lower()} has no attribute {name!r}")
        return text
    value = sources[name]()
    if text is None:
        return value
    kind = type(value)
    if kind not in _CASTS:
        raise ValueError(f"{variable} can not be set: {name!r} is a {kind.__name__}, which has no form as text.")
    try:
        return _CASTS[kind](text)
    except ValueError as error:
        raise ValueError(f"{variable} must be a {kind.__name__}, not {text!r}: {error}") from None


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
