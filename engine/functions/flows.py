"""Flow runs: from a call, or a run on record, to the state it ended in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Literal
from uuid import UUID

from playhead.client.interface import Client
from playhead.context import FlowRunContext, tags
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import drive_async, drive_sync
from playhead.engine.execution.subflows import call_loop, make_flow_call
from playhead.engine.functions.inputs import resolve_inputs
from playhead.engine.functions.states import propose_state
from playhead.exceptions import MissingContextError, PlayheadError, UpstreamTaskError
from playhead.flows import Flow, call_flow, outcome_of, recorded_call
from playhead.logging.loggers import get_logger
from playhead.runs import FlowRun
from playhead.states import Pending, State, exception_to_failed_state

ReturnType = Literal["state", "result"]


def enter_flow_run_engine_from_flow_call(
    flow: Flow[..., Any],
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
) -> Any:
    """Call a flow as `flow(**parameters)` does; awaitable when its function is async.

    `wait_for`: for subflows, what must have completed before. Raises ValueError for another `return_type`.
    """
    return call_flow(flow, parameters, wait_for, _wants_state(return_type))


async def create_then_begin_flow_run(
    flow: Flow[..., Any],
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    client: Client | None = None,
    user_thread: Any = None,
) -> Any:
    """Create a flow run that is nobody's subflow, and run it; a sync function in a worker thread.

    Raises ValueError when it is to wait for something, which only subflows do.
    """
    wants_state = _wants_state(return_type)
    if wait_for is not None:
        raise ValueError("Only flows run as subflows can wait for dependencies.")
    call = FlowCall(flow, parameters, client or get_client())
    return outcome_of(call, await _run(call), wants_state)


async def create_and_begin_subflow_run(
    flow: Flow[..., Any],
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    client: Client | None = None,
    user_thread: Any = None,
) -> Any:
    """Call a flow inside the flow run that the code is in, whose client it uses.

    Futures among the parameters are resolved, a task run stands for it in the parent. Raises `MissingContextError`
    outside of flow runs.
    """
    wants_state = _wants_state(return_type)
    if FlowRunContext.get() is None:
        raise MissingContextError("There is no active flow run whose subflow this could be.")
    call = make_flow_call(flow, parameters, wait_for)
    return outcome_of(call, await _run(call), wants_state)


async def retrieve_flow_then_begin_flow_run(
    flow_run_id: UUID | str, client: Client | None = None, user_thread: Any = None
) -> State[Any]:
    """Execute a flow run on record, with the flow at its entrypoint and the parameters recorded with it.

    When the flow can not be loaded, whatever its file does, the run ends FAILED with that error. Raises `NotFound`.
    """
    client = client or get_client()
    try:
        call = recorded_call(str(flow_run_id), client)
    except PlayheadError:
        raise
    except Exception as error:
        message = "Flow could not be retrieved from deployment."
        get_logger("engine").exception(message)
        return await propose_state(client, exception_to_failed_state(error, message), True, flow_run_id=flow_run_id)
    with tags(*call.existing.tags if call.existing else ()):
        return await _run(call)


async def begin_flow_run(
    flow: Flow[..., Any],
    flow_run: FlowRun,
    parameters: dict[str, Any],
    client: Client | None = None,
    user_thread: Any = None,
) -> State[Any]:
    """Execute a flow run on record with these parameters: until it has ended, or is paused."""
    return await _run(FlowCall(flow, parameters, client or get_client(), existing=flow_run))


async def orchestrate_flow_run(
    flow: Flow[..., Any],
    flow_run: FlowRun,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    interruptible: bool = False,
    client: Client | None = None,
    partial_flow_run_context: Any = None,
    user_thread: Any = None,
) -> State[Any]:
    """The same, after everything in `wait_for` has completed; else the run is PENDING, "NotReady"."""
    client = client or get_client()
    try:
        await resolve_inputs({"wait_for": wait_for}, return_data=False)
    except UpstreamTaskError as error:
        not_ready = Pending(name="NotReady", message=str(error))
        return await propose_state(client, not_ready, flow_run.state.is_pending(), flow_run_id=flow_run.id)
    return await begin_flow_run(flow, flow_run, parameters, client)


async def _run(call: FlowCall) -> State[Any]:
    if call.flow.isasync:
        return await drive_async(call_loop(call), call.client)
    return await asyncio.to_thread(drive_sync, call_loop(call), call.client)


def _wants_state(return_type: str) -> bool:
    if return_type not in {"state", "result"}:
        raise ValueError(f"Invalid return type for flow engine {return_type!r}.")
    return return_type == "state"
