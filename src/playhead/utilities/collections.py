"""Looking through nested values for the futures and states in them.

Looked through: lists, tuples, sets, dicts, dataclasses, pydantic models and annotations. Left alone: what is quoted,
and everything else. A value in which nothing changes stays the very same object.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from playhead.utilities.annotations import BaseAnnotation, allow_failure, opaque, quote

_SCALARS = (str, int, float, bool, type(None), bytes, bytearray, complex, range, slice, type)
_PLAIN = frozenset({*_SCALARS, date, datetime, timedelta, Decimal, UUID})

Visitor = Callable[[Any, bool], Any]


class Visited:
    """What `visit` stops at: futures and states."""

    __slots__ = ()


def visit(value: Any, visitor: Visitor, failure_allowed: bool = False, depth_max: int = -1) -> Any:
    """The value with what `visitor` makes of each future and state in it; the same object when nothing changes.

    `depth_max`: how many collections inside each other are looked into; by default all. Raises
    ValueError for those that contain themselves, or are too deep.
    """
    try:
        return _visit(value, visitor, failure_allowed, depth_max)
    except RecursionError:
        raise ValueError(
            f"A {type(value).__name__} contains itself, or is nested too deep to be searched for futures: "
            "pass it as quote(value), which is looked into by nobody."
        ) from None


def _visit(value: Any, visitor: Visitor, failure_allowed: bool, depth_max: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Visited):
        return visitor(value, failure_allowed)
    if depth_max == 0 and not isinstance(value, BaseAnnotation):
        return value
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return _visit_items(value, visitor, failure_allowed, depth_max - 1)
    if isinstance(value, dict):
        return _visit_dict(value, visitor, failure_allowed, depth_max - 1)
    if isinstance(value, BaseAnnotation):
        return _visit_annotation(value, visitor, failure_allowed, depth_max)
    if isinstance(value, (list, tuple, set)):
        return _visit_subclass(value, visitor, failure_allowed, depth_max - 1)
    return _visit_fields(value, visitor, failure_allowed, depth_max - 1)


def _visit_items(value: Any, visitor: Visitor, failure_allowed: bool, depth_max: int) -> Any:
    changed = False
    items = []
    for item in value:
        new = item if type(item) in _PLAIN else _visit(item, visitor, failure_allowed, depth_max)
        changed = changed or new is not item
        items.append(new)
    return type(value)(items) if changed else value


def _visit_dict(value: dict[Any, Any], visitor: Visitor, failure_allowed: bool, depth_max: int) -> Any:
    new = {
        _visit(key, visitor, failure_allowed, depth_max): _visit(item, visitor, failure_allowed, depth_max)
        for key, item in value.items()
    }
    if all(new.get(key, visitor) is item for key, item in value.items()):
        return value
    if type(value) is dict:
        return new
    copy = value.copy()
    copy.clear()
    copy.update(new)
    return copy


def _visit_annotation(value: BaseAnnotation[Any], visitor: Visitor, failure_allowed: bool, depth_max: int) -> Any:
    if isinstance(value, quote):
        return value
    inner = value.unwrap()
    if isinstance(value, opaque) and not isinstance(inner, Visited):
        return value
    new = _visit(inner, visitor, failure_allowed or isinstance(value, allow_failure), depth_max)
    return value if new is inner else value.rewrap(new)


def _visit_subclass(value: Any, visitor: Visitor, failure_allowed: bool, depth_max: int) -> Any:
    items = [_visit(item, visitor, failure_allowed, depth_max) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    if hasattr(value, "_fields"):
        return type(value)(*items)
    return items if isinstance(value, list) else type(value)(items)


def _visit_fields(value: Any, visitor: Visitor, failure_allowed: bool, depth_max: int) -> Any:
    """Dataclasses and pydantic models: a changed one is copied, without validation."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        pydantic = sys.modules.get("pydantic")
        if pydantic is None or not isinstance(value, pydantic.BaseModel):
            return value
        names = list(type(value).model_fields)
    old = {name: getattr(value, name, None) for name in names}
    new = {name: _visit(item, visitor, failure_allowed, depth_max) for name, item in old.items()}
    changes = {name: item for name, item in new.items() if item is not old[name]}
    if not changes:
        return value
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]  # an instance, as found above
    return value.model_copy(update=changes)
