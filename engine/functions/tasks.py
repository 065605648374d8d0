"""Task runs: from a call, or a run on record, to a future, a state or a result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from playhead import v1
from playhead.client.interface import CREATE_TASK_RUN, GET_FLOW_RUN, GET_TASK_RUN, Client
from playhead.context import FlowRunContext, RunContext, TaskRunContext
from playhead.engine.execution.calls import Lineage, TaskCall, spec_of, tags_of
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.drivers import drive_async, drive_sync, run_coroutine
from playhead.engine.execution.ids import new_id, task_run_id
from playhead.engine.execution.inputs import lineage
from playhead.engine.execution.mapping import expand
from playhead.engine.execution.task_loop import task_loop
from playhead.engine.execution.transactions import BaseTransaction, place_of
from playhead.engine.execution.translation import flow_run_of, task_run_of
from playhead.engine.functions.inputs import TaskRunResult
from playhead.engine.signals import Abort, Pause
from playhead.futures import PlayheadFuture
from playhead.logging.loggers import task_run_logger
from playhead.runs import TaskRun
from playhead.states import Paused, State
from playhead.task_runners import TaskRunner
from playhead.tasks import Task

ReturnType = Literal["future", "state", "result"]
Inputs = Mapping[str, Iterable[TaskRunResult]]


def enter_task_run_engine(
    task: Task[..., Any],
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    task_runner: TaskRunner | None = None,
    mapped: bool = False,
) -> Any:
    """Submit a task, or a call of it for each element of its parameters, in the flow run that the code is in.

    Gives futures, or waits for states or results; awaitable when task and flow are async. Raises RuntimeError outside
    of flow runs, where a task can be called but not submitted.
    """
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError(
            "Tasks cannot be submitted outside of a flow. To call the task itself use `task()`, to call its function "
            "`task.fn()`."
        )
    enter = begin_task_map if mapped else get_task_call_return_value
    begun = enter(task, context, parameters, wait_for, return_type, task_runner)
    return begun if task.isasync and context.flow.isasync else run_coroutine(begun)


async def begin_task_map(
    task: Task[..., Any],
    flow_run_context: FlowRunContext,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "future",
    task_runner: TaskRunner | None = None,
) -> list[Any]:
    """Submit a call for each element of the parameters, as `.map` does, and give a list of what was asked for.

    Raises `MappingMissingIterable` and `MappingLengthMismatch`.
    """
    _check(return_type)
    args, kwargs = task.signature.arguments(parameters)
    calls, inputs = await asyncio.to_thread(expand, task.signature, args, kwargs)
    waited = list(wait_for) if wait_for is not None else None
    with _within(flow_run_context):
        runner = task_runner or flow_run_context.task_runner
        futures = [runner.submit(task, call, waited, inputs) for call in calls]
    return [await _answer(future, return_type) for future in futures]


async def get_task_call_return_value(
    task: Task[..., Any],
    flow_run_context: FlowRunContext,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    return_type: ReturnType = "result",
    task_runner: TaskRunner | None = None,
    extra_task_inputs: Inputs | None = None,
) -> Any:
    """Submit a task, and give its future at once, or its state or result when it has ended."""
    _check(return_type)
    future = await create_task_run_future(task, flow_run_context, parameters, wait_for, task_runner, extra_task_inputs)
    return await _answer(future, return_type)


async def create_task_run_future(
    task: Task[..., Any],
    flow_run_context: FlowRunContext,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    task_runner: TaskRunner | None = None,
    extra_task_inputs: Inputs | None = None,
) -> PlayheadFuture[Any]:
    """Submit a task to a runner, by default the flow run's, and give its future at once."""
    runner = task_runner or flow_run_context.task_runner
    with _within(flow_run_context):
        return runner.submit(task, parameters, wait_for, _recorded(extra_task_inputs))


async def create_task_run_then_submit(
    task: Task[..., Any],
    task_run_name: str,
    task_run_dynamic_key: str,
    future: PlayheadFuture[Any],
    flow_run_context: FlowRunContext,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None,
    task_runner: TaskRunner,
    extra_task_inputs: Inputs | None = None,
) -> None:
    """Create a task run under this name and key, and submit it; `future` is completed when it has ended."""
    waited = list(wait_for) if wait_for is not None else None
    run = await create_task_run(
        task, task_run_name, flow_run_context, parameters, task_run_dynamic_key, waited, extra_task_inputs
    )
    await submit_task_run(task, future, flow_run_context, parameters, run, waited, task_runner)


async def create_task_run(
    task: Task[..., Any],
    name: str,
    flow_run_context: FlowRunContext,
    parameters: dict[str, Any],
    dynamic_key: str,
    wait_for: Iterable[Any] | None = None,
    extra_task_inputs: Inputs | None = None,
) -> TaskRun:
    """Record a task run that is to run later, PENDING, with its tags and inputs; for a known key, give its run.

    In a transaction's block the key is one of the transaction's: the run is undone with it.
    """
    flow_run_id = flow_run_context.flow_run.run_id
    place = _place(flow_run_context)
    if isinstance(place, BaseTransaction) and place.run_id:
        dynamic_key = f"{place.run_id}.{dynamic_key}"
    run = TaskRun(
        task_run_id(flow_run_id, task.task_key, dynamic_key),
        name,
        tags_of(task),
        task.name,
        task.task_key,
        dynamic_key,
        flow_run_id,
    )
    call = _call(task, run, parameters, wait_for, flow_run_context)
    known = flow_run_context.progress.maker_of
    sources: dict[str, list[v1.TaskInput]] = {name: list(found) for name, found in _recorded(extra_task_inputs).items()}
    for parameter, value in parameters.items():
        sources[parameter] = [*sources.get(parameter, ()), *lineage(value, known)]
    if wait_for is not None:
        sources["wait_for"] = lineage(wait_for, known)
    request = v1.CreateTaskRunRequest(request_id=new_id(), spec=spec_of(call, sources))
    answer = await call.client.submit(CREATE_TASK_RUN, request)
    return task_run_of(answer.task_run, task.name)


async def submit_task_run(
    task: Task[..., Any],
    future: PlayheadFuture[Any],
    flow_run_context: FlowRunContext,
    parameters: dict[str, Any],
    task_run: TaskRun,
    wait_for: Iterable[Any] | None,
    task_runner: TaskRunner,
) -> PlayheadFuture[Any]:
    """Give a task run on record to a runner; `future` is completed when it has ended, and the flow run waits for it."""
    with _within(flow_run_context):
        flow_run_context.progress.submitted(future)
        call = _call(task, task_run, parameters, wait_for, flow_run_context)
        task_runner.run(call, future)
        if isinstance(call.place, BaseTransaction):
            call.place.futures.append(future)
    return future


async def begin_task_run(
    task: Task[..., Any],
    task_run: TaskRun,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    result_factory: Any = None,
    log_prints: bool | None = None,
    settings: Any = None,
) -> State[Any]:
    """Execute a task run on record here, in any process, until it has ended; a sync function in a worker thread.

    The answer is the run's state also when the service refused to let it go on.
    """
    try:
        return await orchestrate_task_run(task, task_run, parameters, wait_for, result_factory, log_prints)
    except Abort as abort:
        request = v1.GetTaskRunRequest(task_run_id=task_run.run_id)
        recorded = await get_client().submit(GET_TASK_RUN, request)
        state = task_run_of(recorded.task_run, task.name).state
        logger = task_run_logger(task_run)
        if state.is_final():
            logger.info("Task run '%s' already finished.", task_run.run_id)
        else:
            logger.warning(
                "Task run '%s' received abort during orchestration: %s Task run is in %s state.",
                task_run.run_id,
                abort,
                state.type.value,
            )
        return state
    except Pause:
        task_run_logger(task_run).info("Task run encountered a pause signal during orchestration.")
        return Paused()


async def orchestrate_task_run(
    task: Task[..., Any],
    task_run: TaskRun,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    result_factory: Any = None,
    log_prints: bool | None = None,
    interruptible: bool = False,
    client: Client | None = None,
) -> State[Any]:
    """The same, raising `Abort` when the service refuses to let the run go on, and `Pause` when it is paused."""
    client = client or get_client()
    if log_prints is not None:
        task = task.with_options(log_prints=log_prints)
    context = FlowRunContext.get()
    if task_run.parent_run_id and (context is None or context.flow_run.run_id != task_run.parent_run_id):
        request = v1.GetFlowRunRequest(flow_run_id=task_run.parent_run_id)
        recorded = await client.submit(GET_FLOW_RUN, request)
        context = FlowRunContext(None, flow_run_of(recorded.flow_run), {}, client)
    call = _call(task, task_run, parameters, wait_for, context if task_run.parent_run_id else None, client)
    if task.isasync:
        return await drive_async(task_loop(call), client)
    return await asyncio.to_thread(drive_sync, task_loop(call), client)


async def wait_for_task_runs_and_report_crashes(
    task_run_futures: Iterable[PlayheadFuture[Any]], client: Client | None = None
) -> Literal[True]:
    """Wait for task runs to end. What was to end the process, and was raised in one of them, is raised again here."""
    for future in list(task_run_futures):
        state = await future._final
        if state.is_crashed():
            error = state.result(raise_on_failure=False)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise error
    return True


def _call(
    task: Task[..., Any],
    run: TaskRun,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None,
    context: FlowRunContext | None,
    client: Client | None = None,
) -> TaskCall:
    client = client or (context.client if context else None) or get_client()
    lease_token = context.flow_run.lease_token if context else 0
    return TaskCall(task, run, parameters, client, context, wait_for, None, lease_token, _place(context))


def _place(context: FlowRunContext | None) -> BaseTransaction | RunContext | None:
    """Where the code stands in this flow run; nowhere when it is another's."""
    if context is None or context is not FlowRunContext.get():
        return None
    return place_of(TaskRunContext.get(), context)


@contextmanager
def _within(context: FlowRunContext) -> Iterator[None]:
    """The flow run that calls are made in is this one."""
    token = FlowRunContext._current.set(context)
    try:
        yield
    finally:
        FlowRunContext._current.reset(token)


def _recorded(inputs: Inputs | None) -> Lineage:
    found = {name: [v1.TaskInput(task_run_id=str(item.id)) for item in items] for name, items in (inputs or {}).items()}
    return {name: items for name, items in found.items() if items}


async def _answer(future: PlayheadFuture[Any], return_type: ReturnType) -> Any:
    if return_type == "future":
        return future
    if return_type == "result":
        return await future.aresult()
    future.failure_seen = True
    return await future._final


def _check(return_type: str) -> None:
    if return_type not in {"future", "state", "result"}:
        raise ValueError(f"Invalid return type for task engine {return_type!r}.")
