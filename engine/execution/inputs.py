"""Inputs of calls: futures and states among the arguments are found, waited for and replaced by their results.

Looked through: lists, tuples, sets, dicts, dataclasses, pydantic models and annotations. Left alone: what is quoted,
and everything else. An argument in which nothing is found is passed on as the very same object.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from playhead import v1
from playhead.engine.execution.effects import Loop, WaitFor
from playhead.exceptions import UpstreamTaskError
from playhead.futures import PlayheadFuture
from playhead.states import State
from playhead.utilities.annotations import BaseAnnotation, allow_failure, opaque, quote

_SCALARS = (str, int, float, bool, type(None), bytes, bytearray, complex, range, slice, type)
_PLAIN = frozenset({*_SCALARS, date, datetime, timedelta, Decimal, UUID})

Visitor = Callable[[Any, bool], Any]


class Findings:
    """The futures and states among some arguments."""

    __slots__ = ("futures", "states")

    def __init__(self) -> None:
        self.futures: list[PlayheadFuture[Any]] = []
        self.states: list[State[Any]] = []

    def __call__(self, value: Any, failure_allowed: bool) -> Any:
        (self.futures if isinstance(value, PlayheadFuture) else self.states).append(value)
        return value


def find(value: Any) -> Findings:
    """The futures and states in a value."""
    findings = Findings()
    visit(value, findings)
    return findings


def resolve(value: Any) -> Loop[Any]:
    """The value with results in the places of futures and states.

    Raises `UpstreamTaskError` for one that is not COMPLETED.
    """
    findings = find(value)
    if not findings.futures and not findings.states:
        return value
    yield from wait_for(findings.futures)
    return visit(value, result_of)


def wait_for(futures: Iterable[Any]) -> Loop[None]:
    """Wait for those that are not done yet."""
    if pending := [future for future in futures if not future.done()]:
        yield WaitFor(pending)


def resolve_to_states(value: Any) -> Loop[Any]:
    """The value with states in the places of futures."""
    findings = find(value)
    if not findings.futures:
        return value
    yield from wait_for(findings.futures)
    return visit(value, lambda item, _: item.state if isinstance(item, PlayheadFuture) else item)


def check_upstream(value: Any) -> Loop[None]:
    """Wait for everything in the value. Raises `UpstreamTaskError` when something did not complete."""
    yield from resolve(value)


def lineage(value: Any, known: Callable[[Any], str | None]) -> list[v1.TaskInput]:
    """The runs a value is made of. `known` tells the task run that made an object, for results passed by themselves."""
    findings = find(value)
    ids = [future.run_id for future in findings.futures]
    ids += [str(state.state_details.task_run_id) for state in findings.states if state.state_details.task_run_id]
    if not ids and (maker := known(value)):
        ids = [maker]
    return [v1.TaskInput(task_run_id=task_run_id) for task_run_id in ids]


def visit(value: Any, visitor: Visitor, failure_allowed: bool = False) -> Any:
    """The value with what `visitor` makes of each future and state in it; the same object when nothing changes."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, (PlayheadFuture, State)):
        return visitor(value, failure_allowed)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return _visit_items(value, visitor, failure_allowed)
    if isinstance(value, dict):
        return _visit_dict(value, visitor, failure_allowed)
    if isinstance(value, BaseAnnotation):
        return _visit_annotation(value, visitor, failure_allowed)
    if isinstance(value, (list, tuple, set)):
        return _visit_subclass(value, visitor, failure_allowed)
    return _visit_fields(value, visitor, failure_allowed)


def _visit_items(value: Any, visitor: Visitor, failure_allowed: bool) -> Any:
    changed = False
    items = []
    for item in value:
        new = item if type(item) in _PLAIN else visit(item, visitor, failure_allowed)
        changed = changed or new is not item
        items.append(new)
    return type(value)(items) if changed else value


def _visit_dict(value: dict[Any, Any], visitor: Visitor, failure_allowed: bool) -> Any:
    new = {visit(key, visitor, failure_allowed): visit(item, visitor, failure_allowed) for key, item in value.items()}
    if all(new.get(key, visitor) is item for key, item in value.items()):
        return value
    if type(value) is dict:
        return new
    copy = value.copy()
    copy.clear()
    copy.update(new)
    return copy


def _visit_annotation(value: BaseAnnotation[Any], visitor: Visitor, failure_allowed: bool) -> Any:
    if isinstance(value, quote):
        return value
    inner = value.unwrap()
    if isinstance(value, opaque) and not isinstance(inner, (PlayheadFuture, State)):
        return value
    new = visit(inner, visitor, failure_allowed or isinstance(value, allow_failure))
    return value if new is inner else value.rewrap(new)


def _visit_subclass(value: Any, visitor: Visitor, failure_allowed: bool) -> Any:
    items = [visit(item, visitor, failure_allowed) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    if hasattr(value, "_fields"):
        return type(value)(*items)
    return items if isinstance(value, list) else type(value)(items)


def _visit_fields(value: Any, visitor: Visitor, failure_allowed: bool) -> Any:
    """Dataclasses and pydantic models: a changed one is copied, without validation."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        pydantic = sys.modules.get("pydantic")
        if pydantic is None or not isinstance(value, pydantic.BaseModel):
            return value
        names = list(type(value).model_fields)
    old = {name: getattr(value, name, None) for name in names}
    new = {name: visit(item, visitor, failure_allowed) for name, item in old.items()}
    changes = {name: item for name, item in new.items() if item is not old[name]}
    if not changes:
        return value
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]  # an instance, as found above
    return value.model_copy(update=changes)


def result_of(value: Any, failure_allowed: bool) -> Any:
    """The result of a future that is done, or of a state. Raises `UpstreamTaskError` when it is not COMPLETED."""
    state: State[Any] = value.state if isinstance(value, PlayheadFuture) else value
    if state.is_completed():
        return state.result()
    if failure_allowed and (state.is_failed() or state.is_crashed()):
        return state.result(raise_on_failure=False)
    run = value.run_id if isinstance(value, PlayheadFuture) else state.state_details.task_run_id
    raise UpstreamTaskError(f"Upstream task run '{run}' did not reach a 'COMPLETED' state.")


def unwrap_annotations(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as the function gets them: without their marks."""
    for value in parameters.values():
        if isinstance(value, BaseAnnotation):
            return {
                name: value.unwrap() if isinstance(value, BaseAnnotation) else value
                for name, value in parameters.items()
            }
    return parameters
