"""States: proposing them, reporting crashes, and what the engine asks and decides before a run begins."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any
from uuid import UUID

from playhead import settings, v1
from playhead.client.interface import GET_HEAD, Client
from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.crashes import report_crash
from playhead.engine.execution.definitions import Definition, NameSource
from playhead.engine.execution.drivers import drive_async
from playhead.engine.execution.names import resolve_name
from playhead.engine.execution.outcomes import stored
from playhead.engine.execution.proposals import propose
from playhead.engine.execution.translation import message_of, state_of
from playhead.engine.functions.inputs import link_state_to_result
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import PlayheadError
from playhead.flows import Flow
from playhead.logging import prints
from playhead.logging.loggers import RunLogger, flow_run_logger, get_logger, task_run_logger
from playhead.runs import FlowRun, TaskRun
from playhead.states import State, StateDetails
from playhead.tasks import Task

ANSWER_S_MAX = 10.0

_NO_OPTIONS: Definition = Task(lambda: None, name="no options")


async def propose_state(
    client: Client,
    state: State[Any],
    force: bool = False,
    task_run_id: UUID | str | None = None,
    flow_run_id: UUID | str | None = None,
) -> State[Any]:
    """Propose a state for a task run or a flow run, and wait while the answer is to wait.

    Gives the proposed state, with its time and its run, when it was accepted; the run's state when it was rejected.
    Data of a final state is stored. Raises ValueError without an id, `Abort` when the run must not go on, `Pause` when
    it was moved to PAUSED instead.
    """
    if not task_run_id and not flow_run_id:
        raise ValueError("You must provide either a `task_run_id` or `flow_run_id`")
    request = v1.ProposeStateRequest(force=force)
    if task_run_id:
        request.task_run_id = str(task_run_id)
    else:
        request.flow_run_id = str(flow_run_id)
    definition, request.lease_token = _executed_here(request)
    if state.is_final():
        link_state_to_result(state, state.data)
        state, message = stored(state, definition, RunLogger(get_logger("engine")))
    else:
        message = message_of(state)
    request.state.CopyFrom(message)
    response = await drive_async(propose(request), client)
    recorded = state_of(response.state, request.task_run_id or None, request.flow_run_id or None)
    if response.decision != v1.ACCEPT:
        return recorded
    state.name, state.timestamp = recorded.name, recorded.timestamp
    for field in fields(StateDetails):
        setattr(state.state_details, field.name, getattr(recorded.state_details, field.name))
    return state


def _executed_here(request: v1.ProposeStateRequest) -> tuple[Definition, int]:
    """Whose options hold for a run, and the lease it is executed under. For a run of others, none."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    if flow is not None and flow.flow_run.run_id == request.flow_run_id:
        return flow.flow, flow.flow_run.lease_token
    if flow is not None and task is not None and task.task_run.run_id == request.task_run_id:
        return task.task, flow.flow_run.lease_token
    return _NO_OPTIONS, 0


@asynccontextmanager
async def report_flow_run_crashes(flow_run: FlowRun, client: Client, flow: Flow[..., Any]) -> AsyncIterator[None]:
    """What interrupts the code inside ends the flow run as CRASHED, with its hooks, and goes on. Signals just go on."""
    try:
        yield
    except (Abort, Pause):
        raise
    except BaseException as error:
        request = v1.ProposeStateRequest(flow_run_id=flow_run.run_id, lease_token=flow_run.lease_token)
        await drive_async(report_crash(flow, flow_run, error, flow_run_logger(flow_run), request), client)
        raise


@asynccontextmanager
async def report_task_run_crashes(task_run: TaskRun, client: Client) -> AsyncIterator[None]:
    """What interrupts the code inside ends the task run as CRASHED, by force, and goes on. Signals only go on."""
    try:
        yield
    except (Abort, Pause):
        raise
    except BaseException as error:
        request = v1.ProposeStateRequest(task_run_id=task_run.run_id, force=True)
        await drive_async(report_crash(_NO_OPTIONS, task_run, error, task_run_logger(task_run), request), client)
        raise


async def check_api_reachable(client: Client, fail_message: str) -> None:
    """Ask the service whether it is there. Raises RuntimeError, which begins with `fail_message`, when it is not.

    It has ANSWER_S_MAX seconds to answer.
    """
    try:
        await asyncio.to_thread(client.unary, GET_HEAD, v1.GetHeadRequest(), timeout_s=ANSWER_S_MAX)
    except PlayheadError as error:
        place = os.environ.get("PLAYHEAD_API_URL") or settings.database()
        raise RuntimeError(f"{fail_message}. Failed to reach API at {place}.") from error


def should_log_prints(flow_or_task: Flow[..., Any] | Task[..., Any]) -> bool:
    """Whether print() in a flow or task becomes log records: its own choice, else its flow run's, else the setting."""
    return prints.should_log_prints(flow_or_task.log_prints, FlowRunContext.get())


def resolve_custom_flow_run_name(flow: Flow[..., Any], parameters: dict[str, Any]) -> str:
    """The name that a flow gives to a run with these parameters. Raises TypeError when it has no way to name runs."""
    return resolve_name(_given(flow.flow_run_name, "flow_run_name"), parameters, "flow_run_name")


def resolve_custom_task_run_name(task: Task[..., Any], parameters: dict[str, Any]) -> str:
    """The name that a task gives to a run with these parameters. Raises TypeError when it has no way to name runs."""
    return resolve_name(_given(task.task_run_name, "task_run_name"), parameters, "task_run_name")


def _given(source: NameSource, option: str) -> str | Callable[..., str]:
    if source is None:
        raise TypeError(f"Expected string or callable for '{option}'; got NoneType instead.")
    return source
