"""Flow runs that wait: pausing, suspending and resuming them, and waiting for their end.

Each function runs when it is called and, called in async code, gives what is to be awaited; those that begin with `a`
are coroutine functions. `poll_interval` has no effect anywhere: what is waited for is told, not asked for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution import pauses
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import drive, drive_async
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.translation import flow_run_of
from playhead.runs import FlowRun

if TYPE_CHECKING:
    from playhead.client.interface import Client

Id = UUID | str


def pause_flow_run(
    wait_for_input: Id | None = None,
    timeout: float | None = 3600,
    poll_interval: float = 10,
    key: str | None = None,
    *,
    flow_run_id: Id | None = None,
    reschedule: bool = False,
) -> Any:
    """Pause the flow run that the code is in until it is resumed; no tasks start meanwhile, those that run go on.

    `timeout` seconds later, None: never, the run fails. `key` pauses a run once: a run that is executed again passes
    the pauses that it has passed; by default, the number of the pause. With `reschedule` this process leaves the run,
    as in `suspend_flow_run`.

    Another flow run is paused by its id, `flow_run_id` or the first argument: it waits at its next call of a task or
    flow, or with `reschedule` is left there, and this returns at once.

    Raises RuntimeError outside of a flow run and when the run can not be paused, `FlowPauseTimeout` when nobody has
    resumed it in time.
    """
    return drive(_pause(wait_for_input, timeout, key, flow_run_id, reschedule), _client())


async def apause_flow_run(
    wait_for_input: Id | None = None,
    timeout: float | None = 3600,
    poll_interval: float = 10,
    key: str | None = None,
    *,
    flow_run_id: Id | None = None,
    reschedule: bool = False,
) -> Any:
    """As `pause_flow_run`."""
    return await drive_async(_pause(wait_for_input, timeout, key, flow_run_id, reschedule), _client())


def suspend_flow_run(
    flow_run_id: Id | None = None,
    timeout: float | None = None,
    key: str | None = None,
) -> Any:
    """Suspend the flow run that the code is in, or another one by its id: its process leaves it, and it is scheduled
    again when it is resumed.

    It needs a deployment, which starts it again; what it had finished is not repeated. `timeout` seconds later, None:
    never, it can not be resumed any more. `key`: see `pause_flow_run`. Raises RuntimeError outside of a flow run, in a
    task, and when the run can not be suspended.
    """
    return drive(_suspend(flow_run_id, timeout, key), _client())


async def asuspend_flow_run(
    flow_run_id: Id | None = None,
    timeout: float | None = None,
    key: str | None = None,
) -> Any:
    """As `suspend_flow_run`."""
    return await drive_async(_suspend(flow_run_id, timeout, key), _client())


def resume_flow_run(flow_run_id: Id, run_input: Any = None) -> Any:
    """Let a paused flow run go on, with the input that the pause asks for: a dictionary or a model.

    Raises `NotPausedError`; `FlowPauseTimeout` when it was not resumed in time; RuntimeError when it is refused for
    another reason, as for input that does not fit, and then it is still paused.
    """
    return drive(pauses.resume(str(flow_run_id), _json_of(run_input)), _client())


async def aresume_flow_run(flow_run_id: Id, run_input: Any = None) -> None:
    """As `resume_flow_run`."""
    await drive_async(pauses.resume(str(flow_run_id), _json_of(run_input)), _client())


async def wait_for_flow_run(
    flow_run_id: Id,
    timeout: float | None = 10800,
    poll_interval: float | None = None,
    client: Any = None,
    log_states: bool = False,
) -> FlowRun:
    """Wait until a flow run has ended; the run. `log_states` logs the states that it comes to.

    Raises `FlowRunWaitTimeout` when it has not ended after `timeout` seconds, None: no limit.
    """
    ended = await drive_async(pauses.wait_for_end(str(flow_run_id), timeout, log_states), client or _client())
    return flow_run_of(ended)


def _pause(
    wait_for_input: Any, timeout: float | None, key: str | None, flow_run_id: Id | None, reschedule: bool
) -> Loop[Any]:
    if isinstance(wait_for_input, (UUID, str)):
        flow_run_id, wait_for_input = wait_for_input, None
    if flow_run_id is not None:
        return (yield from pauses.pause_elsewhere(str(flow_run_id), timeout, key, reschedule))
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("Flow runs can only be paused from within a flow run.")
    yield from pauses.pause_here(context, timeout, key, reschedule)


def _suspend(flow_run_id: Id | None, timeout: float | None, key: str | None) -> Loop[Any]:
    if flow_run_id is not None:
        return (yield from pauses.pause_elsewhere(str(flow_run_id), timeout, key, True))
    if TaskRunContext.get() is not None:
        raise RuntimeError("Cannot suspend task runs.")
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("Flow runs can only be suspended from within a flow run.")
    yield from pauses.pause_here(context, timeout, key, True)


def _client() -> Client:
    """The client that the flow run works with; outside of flow runs, that of the process."""
    context = FlowRunContext.get()
    return context.client if context is not None and context.client is not None else get_client()


def _json_of(run_input: Any) -> bytes:
    if run_input is None:
        return b""
    data = run_input.model_dump_json() if hasattr(run_input, "model_dump_json") else json.dumps(run_input)
    return bytes(data.encode())
