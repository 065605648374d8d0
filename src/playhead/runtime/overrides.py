"""Facts of a run that an environment variable can set, for tests: PLAYHEAD__RUNTIME__FLOW_RUN__NAME=marvin.

The text becomes a value of the same type as the real one; lists and dicts can not be set.
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
    datetime: lambda text: datetime.fromisoformat(text).astimezone(UTC),
    type(None): str,
}


def attribute(kind: str, name: str, sources: dict[str, Callable[[], Any]]) -> Any:
    """The value of a fact. Raises AttributeError for an unknown one, ValueError for one that can not be set."""
    text = os.environ.get(f"PLAYHEAD__RUNTIME__{kind}__{name.upper()}")
    if name not in sources:
        if text is None:
            raise AttributeError(f"playhead.runtime.{kind.lower()} has no attribute {name!r}")
        return text
    value = sources[name]()
    if text is None:
        return value
    if type(value) not in _CASTS:
        raise ValueError(f"{name!r} is of type {type(value).__name__}, which can not be set by the environment.")
    return _CASTS[type(value)](text)
