"""Subflows: a flow called in a flow run is a run of its own, and a task run in its parent stands for it.

The tracking task run is identified like any other call, and names the subflow run (through its idempotency key): in a
later attempt of the parent, the same call finds the same run, goes on with it, or has its result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from playhead import v1
from playhead.client.interface import LIST_FLOW_RUNS
from playhead.context import FlowRunContext, RunContext
from playhead.engine.execution.calls import FlowCall, make_call, spec_of
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.definitions import FlowDefinition, Hook
from playhead.engine.execution.effects import Ask, Loop
from playhead.engine.execution.flow_loop import commit_failed, flow_loop, subflow_key
from playhead.engine.execution.inputs import lineage, resolve, unwrap_annotations
from playhead.engine.execution.outcomes import stored
from playhead.engine.execution.proposals import propose, propose_shielded
from playhead.engine.execution.starting import VERSION_WHEN_NEW, start
from playhead.engine.execution.task_transactions import doom_place, finish_own, stage_again
from playhead.engine.execution.translation import flow_run_of
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import CommitFailed, UpstreamTaskError, is_unanswered
from playhead.logging.loggers import RunLogger, flow_run_logger
from playhead.runs import FlowRun
from playhead.states import Pending, State, StateDetails, exception_to_crashed_state
from playhead.utilities.hashing import arguments_digest


class TrackingTask:
    """What the task run that stands for a subflow is a run of. It has no function: the subflow is run in its place."""

    def __init__(self, flow_name: str, version: str | None) -> None:
        self.name = flow_name
        self.task_key = f"flow:{flow_name}"
        self.version = version
        self.tags: frozenset[str] = frozenset()
        self.retry = v1.RetryPolicy()
        self.on_commit_hooks: list[Hook] = []
        self.on_rollback_hooks: list[Hook] = []


def make_flow_call(flow: FlowDefinition, parameters: dict[str, Any], wait_for: Iterable[Any] | None) -> FlowCall:
    """The call of a flow from where the code is: a subflow inside of a flow run.

    Raises ValueError when a flow that is not a subflow is to wait for something.
    """
    parent = FlowRunContext.get()
    if parent is None:
        if wait_for is not None:
            raise ValueError("Only flows run as subflows can wait for dependencies.")
        return FlowCall(flow, parameters, get_client())
    tracking = make_call(flow.tracking, parameters, wait_for)
    return FlowCall(flow, parameters, tracking.client, parent, tracking, wait_for)


def call_loop(call: FlowCall) -> Loop[State[Any]]:
    """Run a call of a flow, tracked in the parent when it has one."""
    if call.tracking is None:
        return (yield from flow_loop(call))
    tracked = call.tracking
    parent = call.parent
    assert parent is not None
    logger = flow_run_logger(parent.flow_run)
    sources = {n: found for n, v in call.parameters.items() if (found := lineage(v, parent.progress.maker_of))}
    spec = spec_of(tracked, sources)
    try:
        if call.wait_for:
            yield from resolve(list(call.wait_for))
        call.parameters = unwrap_annotations((yield from resolve(call.parameters)))
    except UpstreamTaskError as error:
        message = v1.State(type=v1.PENDING, name="NotReady", message=str(error))
        yield from propose(v1.ProposeStateRequest(create_task_run=spec, state=message, lease_token=tracked.lease_token))
        details = StateDetails(task_run_id=tracked.task_run.id)
        return Pending(name="NotReady", message=str(error), state_details=details)
    request = v1.ProposeStateRequest(
        create_task_run=spec, state=v1.State(type=v1.RUNNING), lease_token=tracked.lease_token
    )
    request.state.details.arguments_digest = tracked.arguments_digest = arguments_digest(call.parameters)
    response = yield from start(request, tracked.task_run, logger)
    if response.state.type != v1.RUNNING:
        logger.info("Subflow run of %r is done already: %s", call.flow.name, response.state.name)
        try:
            yield from stage_again(tracked, RunContext({}, None, False), response.state, logger)
        except CommitFailed as error:
            doom_place(tracked)
            return (yield from commit_failed(call, response.state.details.child_flow_run_id, error, logger))[0]
        return tracked.task_run.state
    if response.version > VERSION_WHEN_NEW:
        call.existing = yield from _earlier_run(call)
        yield from finish_own(tracked, logger)
    state = yield from _tracked(call, logger)
    if state.is_failed() or state.is_crashed():
        doom_place(tracked)
    return state


def _earlier_run(call: FlowCall) -> Loop[FlowRun | None]:
    """The subflow run that an earlier attempt of the parent made for this call, with these arguments."""
    assert call.tracking is not None
    filter_ = v1.FlowRunFilter(parent_task_run_ids=[call.tracking.task_run.run_id])
    answer: v1.ListFlowRunsResponse = yield Ask(LIST_FLOW_RUNS, v1.ListFlowRunsRequest(filter=filter_))
    for recorded in answer.flow_runs:
        if recorded.spec.idempotency_key != subflow_key(call):
            continue
        run = flow_run_of(recorded)
        run.parameters = call.parameters
        return run
    return None


def _tracked(call: FlowCall, logger: RunLogger) -> Loop[State[Any]]:
    """Run the subflow. The service gives its states to the task run that tracks it, but for a crash before it began."""
    try:
        return (yield from flow_loop(call))
    except (Abort, Pause, GeneratorExit):
        raise
    except BaseException as error:
        if not call.begun and not is_unanswered(error):
            yield from _report_crash(call, error, logger)
        raise


def _report_crash(call: FlowCall, error: BaseException, logger: RunLogger) -> Loop[None]:
    assert call.tracking is not None
    _, message = stored(exception_to_crashed_state(error), call.flow, logger)
    request = v1.ProposeStateRequest(
        task_run_id=call.tracking.task_run.run_id, state=message, lease_token=call.tracking.lease_token
    )
    try:
        yield from propose_shielded(request)
    except Exception:  # whatever it is, the crash itself is what the caller must hear of
        logger.exception("The crash of a subflow could not be reported to its parent")
