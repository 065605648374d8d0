"""Inputs: futures and states among parameters, and which run made an object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from playhead import v1
from playhead.client.interface import GET_TASK_RUN
from playhead.context import FlowRunContext
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import drive_async
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.inputs import Findings, elements_of, result_of, wait_for
from playhead.engine.execution.progress import is_untrackable
from playhead.engine.execution.translation import state_of
from playhead.exceptions import ExecutionError, UpstreamTaskError
from playhead.futures import PlayheadFuture
from playhead.states import State
from playhead.utilities.annotations import BaseAnnotation, quote
from playhead.utilities.collections import Visitor, visit


@dataclass(frozen=True)
class TaskRunResult:
    """An input that is the result of a task run."""

    id: UUID
    input_type: str = "task_run"


async def resolve_inputs(parameters: dict[str, Any], return_data: bool = True, max_depth: int = -1) -> dict[str, Any]:
    """The parameters with results in the places of futures and states, which are waited for, and without annotations.

    With `return_data=False` they are only waited for, and every parameter is None. `max_depth`: how deep to look, the
    parameters themselves being the first level; by default, everywhere. Raises `UpstreamTaskError` for an input that
    did not complete, unless `allow_failure` is around it, `ExecutionError` for a parameter that can not be looked into.
    """
    if not parameters:
        return {}
    return await drive_async(_resolve(parameters, return_data, max_depth), get_client())


def _resolve(parameters: dict[str, Any], return_data: bool, max_depth: int) -> Loop[dict[str, Any]]:
    findings = Findings()
    for name, value in parameters.items():
        _visit(name, value, findings, max_depth - 1)
    yield from wait_for(findings.futures)
    resolved = {}
    for name, value in parameters.items():
        new = _visit(name, value, result_of, max_depth - 1)
        new = new.unwrap() if isinstance(new, BaseAnnotation) else new
        resolved[name] = new if return_data else None
    return resolved


def _visit(name: str, value: Any, visitor: Visitor, depth_max: int) -> Any:
    try:
        return visit(value, visitor, depth_max=depth_max)
    except UpstreamTaskError:
        raise
    except Exception as error:
        raise ExecutionError(
            f"Failed to resolve inputs in parameter {name!r}. If your parameter type is not supported, consider using "
            "the `quote` annotation to skip resolution of inputs."
        ) from error


async def collect_task_run_inputs(expr: Any, max_depth: int = -1) -> set[TaskRunResult]:
    """The task runs that an expression is made of: by futures, by states, and by results that runs of this flow made.

    `max_depth`: how many collections inside each other are looked into; by default all.
    """
    context = FlowRunContext.get()
    found = set()
    for item in _walk(expr, max_depth):
        if isinstance(item, PlayheadFuture):
            found.add(TaskRunResult(item.task_run_id))
        elif isinstance(item, State):
            if item.state_details.task_run_id:
                found.add(TaskRunResult(item.state_details.task_run_id))
        elif context is not None and context.progress is not None and (maker := context.progress.maker_of(item)):
            found.add(TaskRunResult(UUID(maker)))
    return found


def link_state_to_result(state: State[Any], result: Any) -> None:
    """Remember that a result, and each of its elements, came with this state, so that it is known as an input.

    Objects are known by their identity, in the flow run that the code is in. None, booleans, Ellipsis, NotImplemented
    and the integers from -5 to 256 have none: they are not remembered, and the state's details say
    `untrackable_result`.
    """
    context = FlowRunContext.get()
    if context is None or context.progress is None:
        return
    if any(is_untrackable(made) for made in (result, *elements_of(result))):
        state.state_details.untrackable_result = True
    context.progress.remember(result, state)


def get_state_for_result(obj: Any) -> State[Any] | None:
    """The state of the run that made an object in this flow run; None when no run is known to have made it."""
    context = FlowRunContext.get()
    if context is None or context.progress is None:
        return None
    link = context.progress.link_of(obj)
    if link is None or isinstance(link, State):
        return link
    client = context.client or get_client()
    run = client.unary(GET_TASK_RUN, v1.GetTaskRunRequest(task_run_id=link)).task_run
    return state_of(run.status.state, run.spec.id, run.spec.flow_run_id or None)


def _walk(expr: Any, max_depth: int) -> Iterator[Any]:
    """An expression and what is in it, but for what is quoted."""
    if isinstance(expr, quote):
        return
    if isinstance(expr, BaseAnnotation):
        yield from _walk(expr.unwrap(), max_depth)
        return
    yield expr
    if max_depth == 0:
        return
    if isinstance(expr, dict):
        for key, value in expr.items():
            yield from _walk(key, max_depth - 1)
            yield from _walk(value, max_depth - 1)
    elif isinstance(expr, (list, tuple, set, frozenset)):
        for item in expr:
            yield from _walk(item, max_depth - 1)
