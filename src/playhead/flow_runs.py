"""Flow runs that wait: pausing, suspending and resuming them, and waiting for their end.

Each function runs when it is called and, called in async code, gives what is to be awaited; those that begin with `a`
are coroutine functions. `poll_interval` has no effect anywhere: what is waited for is told, not asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution import pauses
from playhead.engine.execution.connection import client_here
from playhead.engine.execution.drivers import drive, drive_async
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.translation import flow_run_of
from playhead.runs import FlowRun

if TYPE_CHECKING:
    from playhead.input import RunInput

Id = UUID | str


def pause_flow_run(
    wait_for_input: Any = None,
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

    `wait_for_input` is the type of what a resume must bring: a subclass of `playhead.input.RunInput`, another pydantic
    model, or any type that pydantic knows, for which the resume brings {"value": …}. The input is returned, an instance
    of the type, also to a run that is executed again. Input that does not fit is refused, and the run still paused.

    Raises RuntimeError outside of a flow run and when the run can not be paused, `FlowPauseTimeout` when nobody has
    resumed it in time.
    """
    return drive(_pause(wait_for_input, timeout, key, flow_run_id, reschedule), client_here())


async def apause_flow_run(
    wait_for_input: Any = None,
    timeout: float | None = 3600,
    poll_interval: float = 10,
    key: str | None = None,
    *,
    flow_run_id: Id | None = None,
    reschedule: bool = False,
) -> Any:
    """As `pause_flow_run`."""
    return await drive_async(_pause(wait_for_input, timeout, key, flow_run_id, reschedule), client_here())


def suspend_flow_run(
    wait_for_input: Any = None,
    flow_run_id: Id | None = None,
    timeout: float | None = None,
    key: str | None = None,
) -> Any:
    """Suspend the flow run that the code is in, or another one by its id: its process leaves it, and it is scheduled
    again when it is resumed.

    It needs a deployment, which starts it again; what it had finished is not repeated. `timeout` seconds later, None:
    never, it can not be resumed any more. `key` and `wait_for_input`: see `pause_flow_run`. Raises RuntimeError outside
    of a flow run, in a task, and when the run can not be suspended.
    """
    return drive(_suspend(wait_for_input, flow_run_id, timeout, key), client_here())


async def asuspend_flow_run(
    wait_for_input: Any = None,
    flow_run_id: Id | None = None,
    timeout: float | None = None,
    key: str | None = None,
) -> Any:
    """As `suspend_flow_run`."""
    return await drive_async(_suspend(wait_for_input, flow_run_id, timeout, key), client_here())


def resume_flow_run(flow_run_id: Id, run_input: Any = None) -> Any:
    """Let a paused flow run go on, with the input that the pause asks for: a dictionary or a model.

    Raises `NotPausedError`; `FlowPauseTimeout` when it was not resumed in time; RuntimeError when it is refused for
    another reason, as for input that does not fit, and then it is still paused.
    """
    return drive(pauses.resume(str(flow_run_id), _json_of(run_input)), client_here())


async def aresume_flow_run(flow_run_id: Id, run_input: Any = None) -> None:
    """As `resume_flow_run`."""
    await drive_async(pauses.resume(str(flow_run_id), _json_of(run_input)), client_here())


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
    ended = await drive_async(pauses.wait_for_end(str(flow_run_id), timeout, log_states), client or client_here())
    return flow_run_of(ended)


def _pause(
    wait_for_input: Any, timeout: float | None, key: str | None, flow_run_id: Id | None, reschedule: bool
) -> Loop[Any]:
    flow_run_id, asked = _asked(wait_for_input, flow_run_id)
    if flow_run_id is not None:
        return (yield from pauses.pause_elsewhere(str(flow_run_id), timeout, key, reschedule, _schema_of(asked)))
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("Flow runs can only be paused from within a flow run.")
    return (yield from _pause_here(context, asked, timeout, key, reschedule))


def _suspend(wait_for_input: Any, flow_run_id: Id | None, timeout: float | None, key: str | None) -> Loop[Any]:
    flow_run_id, asked = _asked(wait_for_input, flow_run_id)
    if flow_run_id is not None:
        return (yield from pauses.pause_elsewhere(str(flow_run_id), timeout, key, True, _schema_of(asked)))
    if TaskRunContext.get() is not None:
        raise RuntimeError("Cannot suspend task runs.")
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("Flow runs can only be suspended from within a flow run.")
    return (yield from _pause_here(context, asked, timeout, key, True))


def _pause_here(
    context: FlowRunContext, asked: type[RunInput] | None, timeout: float | None, key: str | None, reschedule: bool
) -> Loop[Any]:
    given = yield from pauses.pause_here(context, timeout, key, reschedule, _schema_of(asked))
    if asked is None:
        return None
    key = key or f"{context.branch}{context.observed_flow_pauses['counter']}"
    return asked.of_resume(given, context.flow_run.run_id, "Suspended" if reschedule else "Paused", key)


def _asked(wait_for_input: Any, flow_run_id: Id | None) -> tuple[Id | None, type[RunInput] | None]:
    """The other run that is to be paused, if one is, and the model of the input that is asked for, if any is."""
    if isinstance(wait_for_input, UUID):
        return wait_for_input, None
    if isinstance(wait_for_input, str):
        try:
            return UUID(wait_for_input), None
        except ValueError:
            raise TypeError(f"{wait_for_input!r} is neither a type of input nor the id of a flow run") from None
    if wait_for_input is None:
        return flow_run_id, None
    from playhead.input import run_input_subclass_from_type  # pydantic's models load when they are used

    return flow_run_id, run_input_subclass_from_type(wait_for_input)


def _schema_of(asked: type[RunInput] | None) -> bytes:
    return b"" if asked is None else asked.schema_bytes()


def _json_of(run_input: Any) -> bytes:
    if run_input is None:
        return b""
    from playhead.input.records import json_of  # as above

    return json_of(run_input)
