"""A task run, from the first proposal to the last.

inputs ready            -> propose RUNNING, creating the run in the same commit
  REJECT, COMPLETED        done before, or cached: its stored result is the result, the function is not called
  ACCEPT                -> call the function -> propose what came of it, with the result
    REJECT, SCHEDULED      to be retried: propose RUNNING again, WAIT says until when
an input did not complete -> PENDING "NotReady"
the function's process dies -> propose CRASHED, which asks to be retried
anything else goes wrong  -> CRASHED, and the error goes on
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from playhead import v1
from playhead.context import TaskRunContext
from playhead.engine.execution.calls import Lineage, TaskCall, spec_of
from playhead.engine.execution.crashes import report_crash
from playhead.engine.execution.effects import CallUser, Loop, RunTimedOut, WorkerLost
from playhead.engine.execution.hooks import run_hooks
from playhead.engine.execution.inputs import lineage, resolve, resolve_to_states, unwrap_annotations
from playhead.engine.execution.leases import keeper_of, request_under_lease
from playhead.engine.execution.live import Stage
from playhead.engine.execution.names import resolve_name
from playhead.engine.execution.outcomes import stored, timed_out
from playhead.engine.execution.proposals import FLOW_STOPPED, due_in_s, log_refusal, pass_time, patience_for, propose
from playhead.engine.execution.sharing import Sharing, sharing_of, under_lock
from playhead.engine.execution.starting import VERSION_WHEN_NEW, start
from playhead.engine.execution.task_transactions import (
    doom_place,
    finish_own,
    roll_back_own,
    settle_own,
    stage_again,
    stage_outcome,
)
from playhead.engine.execution.tracebacks import of_user_code
from playhead.engine.execution.translation import (
    NAME_BYTES_MAX,
    TYPE_OF,
    bounded_line,
    datetime_of,
    message_of,
    state_of,
)
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import (
    CommitFailed,
    CrashedRun,
    FlowPauseTimeout,
    NotSendable,
    RunRefused,
    UpstreamTaskError,
)
from playhead.futures import PlayheadFuture
from playhead.logging.loggers import RunLogger, task_run_logger
from playhead.logging.prints import patch_print, should_log_prints
from playhead.states import (
    Crashed,
    Pending,
    State,
    StateDetails,
    StateType,
    Unstored,
    exception_to_failed_state,
    return_value_to_state,
)
from playhead.utilities.hashing import arguments_digest


def task_loop(call: TaskCall) -> Loop[State[Any]]:
    """Run one call of a task. Answers the state it ended in.

    Raises `Abort`, `Pause`, `FlowPauseTimeout`, and what it crashed with.
    """
    mark = call.mark
    if mark is None:
        return (yield from _task_run(call))
    try:
        state = yield from _task_run(call)
    except BaseException as error:
        mark.stop(error)
        raise
    mark.end(state)
    return state


def _task_run(call: TaskCall) -> Loop[State[Any]]:
    logger = task_run_logger(call.task_run, call.flow.flow_run if call.flow else None)
    sources = _lineage_of(call)
    try:
        if call.wait_for:
            yield from resolve(list(call.wait_for))
        resolved = yield from resolve(call.parameters)
    except UpstreamTaskError as error:
        return (yield from _not_ready(call, sources, error, logger))
    parameters = unwrap_annotations(resolved)
    log_prints = should_log_prints(call.task.log_prints, call.flow)
    if log_prints:
        patch_print()
    with TaskRunContext(call.task, call.task_run, parameters, call.client, log_prints) as context:
        context.call = call
        try:
            state = yield from _orchestrate(call, context, sources, logger)
        except Abort as abort:
            yield from roll_back_own(call, context, abort, logger)
            if not abort.rule or abort.rule in FLOW_STOPPED:
                raise
            # A rule speaks against this run alone; the flow run hears of it as of any failure.
            refusal = RunRefused(f"{abort.rule}: {abort}")
            state = yield from _failed(call, refusal, "Task run was refused", request_under_lease(call), logger)
        except (Pause, GeneratorExit):
            raise
        except FlowPauseTimeout as error:
            yield from roll_back_own(call, context, error, logger)
            raise
        except BaseException as error:
            doom_place(call)
            try:
                yield from roll_back_own(call, context, error, logger)
            finally:
                yield from report_crash(call.task, call.task_run, error, logger, request_under_lease(call, force=True))
            raise
        if state.type in (StateType.FAILED, StateType.CRASHED):
            doom_place(call)
        if state.type == StateType.COMPLETED:
            logger.info("Finished in state %s", state)
        else:
            logger.error("Finished in state %s", state)
    return state


def _orchestrate(call: TaskCall, context: TaskRunContext, sources: Lineage, logger: RunLogger) -> Loop[State[Any]]:
    task, run = call.task, call.task_run
    if task.task_run_name is not None:
        try:
            name = resolve_name(task.task_run_name, context.parameters, "task_run_name")
        except Exception as error:  # a function for names is the user's
            logger.exception(
                "Encountered exception during execution:", exc_info=error.with_traceback(of_user_code(error))
            )
            request = _first_request(call, sources)
            return (yield from _failed(call, error, "Task run encountered an exception", request, logger))
        run.name = bounded_line(name, NAME_BYTES_MAX)
        logger.extra = {**(logger.extra or {}), "task_run_name": run.name}
    try:
        sharing = sharing_of(call, context, logger)
    except ValueError as error:
        request = _first_request(call, sources)
        return (yield from _failed(call, error, "Task run encountered an exception", request, logger))
    return (yield from under_lock(sharing, run.run_id, _run(call, context, sources, sharing, logger)))


def _run(
    call: TaskCall, context: TaskRunContext, sources: Lineage, sharing: Sharing, logger: RunLogger
) -> Loop[State[Any]]:
    task, run = call.task, call.task_run
    # Outside of a flow run no call is made again.
    digest = call.arguments_digest = arguments_digest(context.parameters) if call.flow is not None else b""
    found = sharing.find(logger)
    if found is not None:
        cached = message_of(found, found.data.message)
        cached.details.arguments_digest = digest
        response = yield from propose(_first_request(call, sources, cached))
        if response.decision == v1.ACCEPT:
            if response.version > VERSION_WHEN_NEW and call.flow is not None:
                yield from finish_own(call, logger)
            run.state = _recorded(found, response, call)
            return run.state
    running = v1.State(type=v1.RUNNING)
    running.details.arguments_digest = digest
    sharing.ask(running)
    response = yield from start(_first_request(call, sources, running), run, logger)
    if response.version > VERSION_WHEN_NEW and call.flow is not None:
        if response.state.type == v1.RUNNING:
            _log_rerun(response, logger)
            yield from finish_own(call, logger)
        elif response.state.type == v1.COMPLETED:
            return (yield from _settled(call, stage_again(call, context, response.state, logger), logger))
    while response.state.type == v1.RUNNING:
        run.run_count = response.run_count
        run.state = State(StateType.RUNNING, response.state.name)
        if call.mark is not None:
            call.mark.move(Stage.RUNNING)
        keeper = keeper_of(call, response)
        try:
            if task.on_running_hooks:
                yield from run_hooks(task, run, run.state, logger)
            state = yield from _attempt(call, context, logger)
            timeout_s = patience_for(state)
            state, message = stored(state, task, logger, sharing)
            if state.type == StateType.COMPLETED:
                message.details.arguments_digest = digest
            own = yield from stage_outcome(call, context, state, message, logger, sharing.waiting)
            response = yield from propose(request_under_lease(call, message), run.parent_run_id, logger, timeout_s)
            if response.decision == v1.REJECT and response.state.type == v1.SCHEDULED:
                _log_retry(response, state, logger)
                if call.mark is not None:
                    call.mark.move(Stage.RETRYING)
                if (seconds := due_in_s(response.state)) > 0:
                    # What is proposed after a cancellation is refused.
                    yield from pass_time(seconds, run.parent_run_id, response.meta.revision)
        finally:
            if keeper is not None:
                keeper.release()
        if response.decision == v1.ACCEPT:
            run.state = _recorded(state, response, call)
            if own is not None:
                state = yield from _settled(call, settle_own(own), logger)
                if state.is_failed():
                    return state
            if run.state.is_final():
                yield from run_hooks(task, run, run.state, logger)
            return run.state
        if response.state.type == v1.SCHEDULED:
            response = yield from start(request_under_lease(call, running), run, logger)
        elif response.state.type == v1.RUNNING:
            # What the run came to was refused: it is not run again for that.
            raise Abort(response.reason, response.rule, run.run_id)
        else:
            run.state = state_of(response.state, run.run_id, run.parent_run_id)
    return run.state


def _settled(call: TaskCall, settling: Loop[None], logger: RunLogger) -> Loop[State[Any]]:
    """The run's state once its own transaction was settled: a run that could not be committed has failed."""
    try:
        yield from settling
    except CommitFailed as error:
        return (yield from _failed(call, error, "Task run could not be committed", request_under_lease(call), logger))
    return call.task_run.state


def _attempt(call: TaskCall, context: TaskRunContext, logger: RunLogger) -> Loop[State[Any]]:
    """Call the function once. Answers the state it asks for."""
    task = call.task
    context.calls.clear()
    args, kwargs = task.signature.arguments(context.parameters)
    effect = CallUser(task.fn, args, kwargs, task.timeout_seconds, of_run=True)
    try:
        value = yield effect
        kept = not isinstance(value, Unstored)
        value = value if kept else value.value
        if _may_hold_futures(value):
            value = yield from resolve_to_states(value)
    except RunTimedOut as limit:
        if limit.owner is not effect or task.timeout_seconds is None:
            raise
        state = timed_out(task.timeout_seconds, "Task", limit)
        logger.exception("Encountered exception during execution:", exc_info=state.data)
    except WorkerLost as lost:
        logger.error("Crash detected! %s", lost)
        state = Crashed(message=str(lost), data=CrashedRun(str(lost)), state_details=StateDetails(retriable=True))
    except Exception as error:
        logger.exception("Encountered exception during execution:", exc_info=error.with_traceback(of_user_code(error)))
        state = exception_to_failed_state(error, "Task run encountered an exception")
        if isinstance(error, NotSendable):
            state.state_details.retriable = False
            return state
    else:
        state = return_value_to_state(value)
        if state.is_completed() and not kept:
            state.data = Unstored(state.data)
    if state.type == StateType.FAILED and task.retry_condition_fn is not None:
        state.state_details.retriable = yield from _may_retry(call, state, logger)
    return state


def _may_retry(call: TaskCall, state: State[Any], logger: RunLogger) -> Loop[bool]:
    try:
        verdict = yield CallUser(call.task.retry_condition_fn, (call.task, call.task_run, state), {})
    except Exception:
        logger.exception("An error was encountered while running `retry_condition_fn`: the run is not retried.")
        return False
    return bool(verdict)


def _not_ready(call: TaskCall, sources: Lineage, error: UpstreamTaskError, logger: RunLogger) -> Loop[State[Any]]:
    message = v1.State(type=v1.PENDING, name="NotReady", message=str(error))
    response = yield from propose(_first_request(call, sources, message))
    if response.state.type in {v1.COMPLETED, v1.FAILED}:
        state = state_of(response.state, call.task_run.run_id, call.task_run.parent_run_id)
    else:
        details = StateDetails(task_run_id=UUID(call.task_run.run_id))
        state = Pending(name="NotReady", message=str(error), state_details=details)
    logger.error("Finished in state %s", state)
    return state


def _failed(
    call: TaskCall, error: Exception, what: str, request: v1.ProposeStateRequest, logger: RunLogger
) -> Loop[State[Any]]:
    """The run must not, or can not, go on: it is there, and FAILED, whatever its retry policy."""
    state, message = stored(exception_to_failed_state(error, what), call.task, logger)
    message.details.retriable = False
    request.state.CopyFrom(message)
    response = yield from propose(request, call.task_run.parent_run_id, logger)
    if response.decision != v1.ACCEPT:
        log_refusal(response, logger)
        return state_of(response.state, call.task_run.run_id, call.task_run.parent_run_id)
    call.task_run.state = _recorded(state, response, call)
    yield from run_hooks(call.task, call.task_run, call.task_run.state, logger)
    return call.task_run.state


def _first_request(call: TaskCall, sources: Lineage, state: v1.State | None = None) -> v1.ProposeStateRequest:
    """A proposal that creates the run, unless an earlier attempt did."""
    request = request_under_lease(call, state)
    request.create_task_run.CopyFrom(spec_of(call, sources))
    return request


def _lineage_of(call: TaskCall) -> Lineage:
    known = call.flow.progress.maker_of if call.flow and call.flow.progress else _nobody
    sources = dict(call.inputs) if call.inputs else {}
    for name, value in call.parameters.items():
        if found := lineage(value, known):
            sources[name] = [*sources.get(name, ()), *found]
    if call.wait_for:
        call.wait_for = list(call.wait_for)
        if found := lineage(call.wait_for, _nobody):
            sources["wait_for"] = found
    return sources


def _nobody(_: object) -> None:
    return None


def _recorded(state: State[Any], response: v1.ProposeStateResponse, call: TaskCall) -> State[Any]:
    """The state as it was recorded, with its value at hand."""
    state.name = response.state.name or state.name
    state.type = TYPE_OF[response.state.type]
    state.timestamp = datetime_of(response.state.timestamp)
    details = state.state_details
    details.task_run_id = UUID(call.task_run.run_id)
    details.flow_run_id = call.task_run.flow_run_id
    return state


def _log_rerun(response: v1.ProposeStateResponse, logger: RunLogger) -> None:
    for outcome in response.rules:
        if outcome.effect == v1.RULE_RENAMED and response.state.name == "Rerunning":
            logger.info("Runs again: %s", outcome.reason)


def _log_retry(response: v1.ProposeStateResponse, state: State[Any], logger: RunLogger) -> None:
    logger.info(
        "Received non-final state %r when proposing final state %r and will attempt to run again...",
        response.state.name,
        state.name,
    )


def _may_hold_futures(value: object) -> bool:
    if isinstance(value, (list, tuple, set)):
        return any(isinstance(item, PlayheadFuture) for item in value)
    return isinstance(value, PlayheadFuture)
