"""Inputs of calls: futures and states among the arguments are found, waited for and replaced by their results.

Looked through: lists, tuples, sets, dicts, dataclasses, pydantic models and annotations. Left alone: what is quoted,
and everything else. An argument in which nothing is found is passed on as the very same object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from playhead import v1
from playhead.engine.execution.effects import Loop, WaitFor
from playhead.exceptions import UpstreamTaskError
from playhead.futures import PlayheadFuture
from playhead.states import State
from playhead.utilities.annotations import BaseAnnotation, allow_failure
from playhead.utilities.collections import visit

ELEMENTS_MAX = 64


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
    """The runs a value is made of. `known` tells the task run that made an object, for results and their elements."""
    findings = find(value)
    ids = [future.run_id for future in findings.futures]
    ids += [str(state.state_details.task_run_id) for state in findings.states if state.state_details.task_run_id]
    makers = {maker: None for made in (value, *elements_of(value)) if (maker := known(made))}
    return [v1.TaskInput(task_run_id=task_run_id) for task_run_id in (*ids, *makers)]


def elements_of(value: object) -> Iterable[Any]:
    """What a collection of at most ELEMENTS_MAX holds: values of a dict, elements of others. Of other things, nothing.

    Nobody remembers the origin of each element of a large one.
    """
    if not isinstance(value, (list, tuple, set, dict)) or len(value) > ELEMENTS_MAX:
        return ()
    return value.values() if isinstance(value, dict) else value


def result_of(value: Any, failure_allowed: bool) -> Any:
    """The result of a future that is done, or of a state. Raises `UpstreamTaskError` when it is not COMPLETED."""
    state: State[Any] = value.state if isinstance(value, PlayheadFuture) else value
    if state.is_completed():
        return state.result()
    failure_allowed = failure_allowed or (isinstance(value, PlayheadFuture) and value.failure_allowed)
    if failure_allowed and (state.is_failed() or state.is_crashed()):
        return state.result(raise_on_failure=False)
    run = value.run_id if isinstance(value, PlayheadFuture) else state.state_details.task_run_id
    raise UpstreamTaskError(f"Upstream task run '{run}' did not reach a 'COMPLETED' state.")


def allows_own_failure(parameters: dict[str, Any]) -> bool:
    """Whether a call may fail without holding back what comes after it: `allow_failure` around plain values."""
    for value in parameters.values():
        if isinstance(value, allow_failure):
            findings = find(value)
            if not findings.futures and not findings.states:
                return True
    return False


def unwrap_annotations(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as the function gets them: without their marks."""
    for value in parameters.values():
        if isinstance(value, BaseAnnotation):
            return {
                name: value.unwrap() if isinstance(value, BaseAnnotation) else value
                for name, value in parameters.items()
            }
    return parameters
