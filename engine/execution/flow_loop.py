"""A flow run, from the first proposal to the last.

parameters validated      -> propose RUNNING with a lease, creating the run in the same commit
  they do not fit            the run is created FAILED, and the function is not called
  REJECT, COMPLETED          done before: its stored result is the result
  ACCEPT                  -> call the function, wait for what it submitted -> propose what came of it
    REJECT, SCHEDULED        to be retried: propose RUNNING again, WAIT says until when
    REJECT, CANCELLING       propose CANCELLED
the service says stop     -> CANCELLED when it was asked for; else the state the run is in; a subflow run that is
                             scheduled again is tried again here, while its caller goes on
the service says pause    -> the state the run is in, when it is to be run again; else it waits in its next call
anything else goes wrong  -> CRASHED, and the error goes on
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from playhead import v1
from playhead.client.interface import UPDATE_RUN
from playhead.context import FlowRunContext, TaskRunContext, current_tags
from playhead.engine.execution import live
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.connection import register_flow
from playhead.engine.execution.crashes import Termination, capture_sigterm, report_crash
from playhead.engine.execution.effects import Ask, CallUser, Loop, RunTimedOut
from playhead.engine.execution.flow_ends import cancel, finish, is_ours_to_retry, log_end, stop, suspend
from playhead.engine.execution.hooks import run_hooks
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.inputs import resolve_to_states
from playhead.engine.execution.leases import LeaseKeeper, lease_ttl
from playhead.engine.execution.names import random_name, resolve_name
from playhead.engine.execution.outcomes import stored, timed_out
from playhead.engine.execution.parameters import parameters_to_json
from playhead.engine.execution.progress import FlowProgress
from playhead.engine.execution.proposals import due_in_s, pass_time, patience_for, propose
from playhead.engine.execution.starting import start
from playhead.engine.execution.task_transactions import roll_back_own, settle_own, stage_outcome
from playhead.engine.execution.tracebacks import of_user_code
from playhead.engine.execution.translation import (
    NAME_BYTES_MAX,
    TYPE_OF,
    bounded_line,
    state_of,
)
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import CommitFailed, FlowPauseTimeout, PausedRun
from playhead.logging.loggers import RunLogger, flow_run_logger
from playhead.logging.prints import patch_print, should_log_prints
from playhead.results import persist_result_of, result_store_around
from playhead.runs import FlowRun
from playhead.states import (
    TERMINAL_STATES,
    Paused,
    Running,
    State,
    Unstored,
    exception_to_failed_state,
    return_value_to_state,
)


def flow_loop(call: FlowCall) -> Loop[State[Any]]:
    """Run one call of a flow. Answers the state it ended in. Raises what the run crashed with."""
    run = call.existing or _new_run(call)
    around = call.parent
    tally = live.begin(call.flow.name, run, around.tally if around else None, around is not None)
    if tally is None:
        return (yield from _run(call, _context_for(call, run)))
    try:
        return (yield from _run(call, _context_for(call, run, tally)))
    finally:
        tally.end()


def _run(call: FlowCall, context: FlowRunContext) -> Loop[State[Any]]:
    run = context.flow_run
    logger = flow_run_logger(run)
    refusal = "Validation of flow parameters failed with error:"
    try:
        if call.flow.should_validate_parameters:
            context.parameters = run.parameters = call.flow.validate_parameters(call.parameters)
        refusal = "Flow run encountered an exception."
        if call.flow.flow_run_name is not None and not run.run_count:
            with context:
                name = resolve_name(call.flow.flow_run_name, run.parameters, "flow_run_name")
            run.name = bounded_line(name, NAME_BYTES_MAX)
    except Exception as error:  # what annotations and functions for names raise is the user's
        return (yield from _refuse(call, run, exception_to_failed_state(error, refusal), logger))
    with nullcontext(Termination()) if call.parent else capture_sigterm() as termination:
        return (yield from _orchestrate(call, context, termination))


def _orchestrate(call: FlowCall, context: FlowRunContext, termination: Termination) -> Loop[State[Any]]:
    run = context.flow_run
    try:
        response = yield from start((yield from _first_request(call, run)), run, flow_run_logger(run))
    except Abort as abort:
        if call.existing is not None:
            raise
        run.run_id = abort.run_id or run.run_id
        return (yield from stop(call, run, abort, flow_run_logger(run)))
    call.begun = True
    run.run_id = response.run_id or run.run_id
    if call.existing is not None and response.state.type == v1.RUNNING and run.name != response.run_name:
        yield Ask(UPDATE_RUN, v1.UpdateRunRequest(request_id=new_id(), flow_run_id=run.run_id, name=run.name))
    else:
        run.name = response.run_name or run.name
    logger = flow_run_logger(run)
    if response.state.type == v1.RUNNING:
        kind = "subflow" if call.parent else "flow"
        logger.info("Beginning %s run %r for flow %r", kind, run.name, call.flow.name)
    try:
        while response.state.type == v1.RUNNING:
            run.lease_token, run.run_count = response.lease_token, response.run_count
            run.state = Running(name=response.state.name)
            renewal = v1.RenewLeaseRequest(flow_run_id=run.run_id, lease_token=run.lease_token)
            keeper = LeaseKeeper(call.client, renewal, context.progress)
            try:
                state, response = yield from _run_once(call, context, logger)
                if response.decision == v1.REJECT and response.state.type == v1.SCHEDULED:
                    _log_retry(response, state, logger)
                    yield from _until_due(run, response.state)
            finally:
                keeper.release()
            if response.decision == v1.ACCEPT or _ended_otherwise(response):
                return (yield from finish(call, run, state, response, logger))
            if response.state.type == v1.SCHEDULED:
                context = _context_for(call, run, context.tally)
                response = yield from start(_running(run), run, logger)
            elif response.state.type == v1.RUNNING:
                # What the run came to was refused: it is not run again for that.
                raise Abort(response.reason, response.rule, run.run_id)
            else:
                run.state = state_of(response.state, flow_run_id=run.run_id)
        if response.state.type == v1.CANCELLING:
            return (yield from cancel(call, run, logger))
    except Abort as abort:
        _abandon(context, logger)
        if call.parent is not None and (yield from is_ours_to_retry(call.parent.flow_run, run)):
            logger.warning("The subflow run was given up, and is scheduled again: %s", abort)
            call.existing, run.lease_token = run, 0
            return (yield from _orchestrate(call, _context_for(call, run, context.tally), termination))
        yield from _undo(call, context, abort, logger)
        return (yield from stop(call, run, abort, logger))
    except Pause:
        _abandon(context, logger)
        return (yield from suspend(run, logger))
    except GeneratorExit:
        raise
    except BaseException as error:
        _abandon(context, logger)
        yield from _undo(call, context, error, logger)
        request = v1.ProposeStateRequest(flow_run_id=run.run_id, lease_token=run.lease_token)
        yield from report_crash(call.flow, run, termination.cause(error), logger, request)
        raise
    log_end(run.state, logger)
    return run.state


def _run_once(
    call: FlowCall, context: FlowRunContext, logger: RunLogger
) -> Loop[tuple[State[Any], v1.ProposeStateResponse]]:
    """Call the function once and propose what came of it."""
    run = context.flow_run
    if call.flow.on_running_hooks:
        yield from run_hooks(call.flow, run, run.state, logger)
    state = yield from _attempt(call, context, logger)
    try:
        return (yield from _report(call, context, state, logger))
    except FlowPauseTimeout as error:
        # It was to complete, and a pause from outside asks for input that nobody brought.
        return (yield from _report(call, context, exception_to_failed_state(error), logger))


def _report(
    call: FlowCall, context: FlowRunContext, state: State[Any], logger: RunLogger
) -> Loop[tuple[State[Any], v1.ProposeStateResponse]]:
    """Propose what an attempt came to. Raises `FlowPauseTimeout` when a pause that keeps it from its end is over."""
    # A pause that timed out has ended the run, and the lease with it, if a timer was quicker to say so.
    run, own = context.flow_run, None
    lease_token = 0 if isinstance(state.data, FlowPauseTimeout) else run.lease_token
    timeout_s = patience_for(state)
    state, message = stored(state, call.flow, logger)
    if call.tracking is not None:
        own = yield from stage_outcome(call.tracking, context, state, message, logger)
    request = v1.ProposeStateRequest(flow_run_id=run.run_id, state=message, lease_token=lease_token)
    # A state that was returned ends the attempt, also where it pauses the run: nobody waits in such a pause.
    request.release_lease = message.type == v1.PAUSED
    response = yield from propose(request, run.run_id, timeout_s=timeout_s)
    if own is not None and response.decision == v1.ACCEPT:
        try:
            yield from settle_own(own)
        except CommitFailed as error:
            return (yield from commit_failed(call, run.run_id, error, logger))
    return state, response


def commit_failed(
    call: FlowCall, flow_run_id: str, error: CommitFailed, logger: RunLogger
) -> Loop[tuple[State[Any], v1.ProposeStateResponse]]:
    """A subflow run has completed, and what it did could not be committed: it has failed."""
    state, message = stored(exception_to_failed_state(error, "Flow run could not be committed"), call.flow, logger)
    request = v1.ProposeStateRequest(flow_run_id=flow_run_id, state=message, force=True)
    return state, (yield from propose(request, flow_run_id))


def _undo(call: FlowCall, context: FlowRunContext, error: BaseException, logger: RunLogger) -> Loop[None]:
    """A subflow ends before its end: undo what waits in its own transaction."""
    if call.tracking is not None:
        yield from roll_back_own(call.tracking, context, error, logger)


def _abandon(context: FlowRunContext, logger: RunLogger) -> None:
    """Start nothing more. What the runner has to object is logged: how the run ends must be recorded all the same."""
    try:
        context.task_runner.abandon()
    except Exception:  # a runner may be the user's own, and object in any way
        logger.exception("The calls that were submitted could not be given up:")


def _attempt(call: FlowCall, context: FlowRunContext, logger: RunLogger) -> Loop[State[Any]]:
    """Call the function, and wait for the calls it submitted. Answers the state it asks for."""
    flow, progress = call.flow, context.progress
    args, kwargs = flow.signature.arguments(context.flow_run.parameters)
    effect = CallUser(flow.fn, args, kwargs, flow.timeout_seconds)
    outer_task = TaskRunContext.hide()
    try:
        with context:
            value = yield effect
        state = None
    except RunTimedOut as limit:
        if limit.owner is not effect or flow.timeout_seconds is None:
            raise
        _abandon(context, logger)
        state = timed_out(flow.timeout_seconds, "Flow", limit)
        logger.exception("Encountered exception during execution:", exc_info=state.data)
        return state
    except Exception as error:
        state = _asked_for(error, logger)
    finally:
        TaskRunContext.show(outer_task)
    yield from progress.drain()
    context.task_runner.close()
    progress.check()
    if state is not None:
        return state
    kept = not isinstance(value, Unstored)
    value = value if kept else value.value
    state = progress.verdict() if value is None else return_value_to_state((yield from resolve_to_states(value)))
    if state.is_completed() and not kept:
        state.data = Unstored(state.data)
    return state


def _asked_for(error: Exception, logger: RunLogger) -> State[Any]:
    """What an error of the function asks for: a call that came to a pause pauses its flow run as well."""
    if isinstance(error, PausedRun) and isinstance(error.state, State):
        details = error.state.state_details
        return Paused(
            name=error.state.name,
            message=error.state.message,
            pause_expiration_time=details.pause_timeout,
            reschedule=bool(details.pause_reschedule),
            pause_key=details.pause_key,
        )
    logger.exception("Encountered exception during execution:", exc_info=error.with_traceback(of_user_code(error)))
    return exception_to_failed_state(error, "Flow run encountered an exception.")


def _new_run(call: FlowCall) -> FlowRun:
    tags = sorted(current_tags() or ())
    run = FlowRun(new_id(), random_name(), tags, call.flow.name, call.parameters)
    run.flow_version = call.flow.version
    run.parent_task_run_id = call.tracking.task_run.run_id if call.tracking else None
    return run


def _context_for(call: FlowCall, run: FlowRun, tally: live.FlowTally | None = None) -> FlowRunContext:
    log_prints = should_log_prints(call.flow.log_prints, call.parent)
    if log_prints:
        patch_print()
    runner = call.flow.task_runner.duplicate()
    context = FlowRunContext(call.flow, run, run.parameters, call.client, runner, log_prints)
    context.progress, context.call = FlowProgress(), call.tracking
    context.persist_result = persist_result_of(call.flow, call.parent)
    context.result_store = result_store_around(call.parent).update_for_flow(call.flow)
    if tally is not None:
        context.tally = tally
        tally.begin_again()
    if call.parent is not None:
        context.ancestors = [call.parent.flow_run.run_id, *call.parent.ancestors]
    context.progress.call_off = runner.call_off
    return context


def _first_request(call: FlowCall, run: FlowRun) -> Loop[v1.ProposeStateRequest]:
    if call.existing is not None:
        return _running(run)
    spec = yield from _spec(call, run)
    return v1.ProposeStateRequest(create_flow_run=spec, state=v1.State(type=v1.RUNNING), lease_ttl=lease_ttl())


def _running(run: FlowRun) -> v1.ProposeStateRequest:
    return v1.ProposeStateRequest(
        flow_run_id=run.run_id,
        state=v1.State(type=v1.RUNNING),
        lease_ttl=lease_ttl(),
        lease_token=run.lease_token,
    )


def _spec(call: FlowCall, run: FlowRun) -> Loop[v1.FlowRunSpec]:
    flow = call.flow
    run.flow_id = yield from register_flow(call.client, flow.name)
    spec = v1.FlowRunSpec(
        id=run.run_id,
        flow_id=run.flow_id,
        name=run.name,
        parameters=parameters_to_json(run.parameters, flow.signature),
        tags=run.tags,
        entrypoint=flow.entrypoint,
        flow_version=flow.version or "",
        parent_task_run_id=run.parent_task_run_id or "",
        state=v1.State(type=v1.PENDING),
    )
    if call.tracking is not None:
        spec.idempotency_key = subflow_key(call)
    if flow.retry.retries:
        spec.retry.CopyFrom(flow.retry)
    return spec


def subflow_key(call: FlowCall) -> str:
    """The idempotency key of a subflow run: the call that it is of, and the arguments."""
    assert call.tracking is not None
    return f"subflow:{call.tracking.task_run.run_id}:{call.tracking.arguments_digest.hex()}"


def _refuse(call: FlowCall, run: FlowRun, state: State[Any], logger: RunLogger) -> Loop[State[Any]]:
    """The run can not begin: it is there, and FAILED."""
    logger.error("%s", state.message)
    state, message = stored(state, call.flow, logger)
    if call.existing is not None:
        request = v1.ProposeStateRequest(flow_run_id=run.run_id, state=message)
    else:
        request = v1.ProposeStateRequest(create_flow_run=(yield from _spec(call, run)), state=message)
    response = yield from propose(request)
    call.begun = True
    return (yield from finish(call, run, state, response, logger))


def _ended_otherwise(response: v1.ProposeStateResponse) -> bool:
    """Whether this very proposal ended the run in another state than the one proposed: its pause had timed out."""
    return TYPE_OF[response.state.type] in TERMINAL_STATES and response.state.revision == response.meta.revision


def _until_due(run: FlowRun, awaiting: v1.State) -> Loop[None]:
    """Wait for a retry. A cancellation ends the wait: what is proposed then is refused."""
    if (seconds := due_in_s(awaiting)) > 0:
        yield from pass_time(seconds, run.run_id, awaiting.revision)


def _log_retry(response: v1.ProposeStateResponse, state: State[Any], logger: RunLogger) -> None:
    logger.info(
        "Received non-final state %r when proposing final state %r and will attempt to run again...",
        response.state.name,
        state.name,
    )
