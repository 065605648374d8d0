"""Flows: functions whose every call is a recorded run, with the runs of the tasks called in it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from copy import copy
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

from playhead import v1
from playhead.client.interface import GET_FLOW_RUN, Client
from playhead.context import tags
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.definitions import Hook, NameSource, Recorded
from playhead.engine.execution.drivers import drive_async, drive_sync, run_coroutine
from playhead.engine.execution.entrypoints import entrypoint_of, load_object, loaded_by, source_hash
from playhead.engine.execution.generating import drive_async_generator, drive_generator
from playhead.engine.execution.options import (
    bind,
    changed,
    check_options,
    flow_name,
    hooks_of,
    name_source,
    persist_where,
    plain_function,
    retry_policy,
)
from playhead.engine.execution.parameters import Signature, jsonable, parameters_from_json
from playhead.engine.execution.references import copied, reduced
from playhead.engine.execution.subflows import TrackingTask, call_loop, make_flow_call
from playhead.engine.execution.translation import flow_run_of
from playhead.exceptions import MissingFlowError
from playhead.logging.loggers import get_logger
from playhead.results import storage_url
from playhead.serializers import Serializer, resolve_serializer
from playhead.states import State
from playhead.storage import Place
from playhead.task_runners import TaskRunner, ThreadPoolTaskRunner

P = ParamSpec("P")
R = TypeVar("R")

_NONE_IS_A_CHOICE = frozenset({"persist_result", "result_storage", "result_serializer", "log_prints"})


class Flow(Generic[P, R]):
    """A function whose calls are recorded: made by `@flow`, which describes the options.

    Calling it runs it and gives its result. `fn` is the function, `entrypoint` where another process finds it.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        name: str | None = None,
        version: str | None = None,
        flow_run_name: NameSource = None,
        retries: int | None = None,
        retry_delay_seconds: float | list[float] | None = None,
        retry_on_crash: bool = False,
        task_runner: type[TaskRunner] | TaskRunner | None = None,
        description: str | None = None,
        timeout_seconds: float | None = None,
        validate_parameters: bool = True,
        persist_result: bool | None = None,
        result_storage: Place | None = None,
        result_serializer: Serializer | str | None = None,
        cache_result_in_memory: bool = True,
        log_prints: bool | None = None,
        on_completion: list[Hook] | None = None,
        on_failure: list[Hook] | None = None,
        on_cancellation: list[Hook] | None = None,
        on_crashed: list[Hook] | None = None,
        on_running: list[Hook] | None = None,
    ) -> None:
        check_options(locals())
        self.isclassmethod, self.isstaticmethod = isinstance(fn, classmethod), isinstance(fn, staticmethod)
        self.fn = fn = plain_function(fn)
        self.name = flow_name(name, fn)
        self.version = version or source_hash(fn)
        self.flow_run_name = name_source(flow_run_name, "flow_run_name")
        self.retry = retry_policy(retries, retry_delay_seconds, None, "FLOWS", retry_on_crash)
        runner = task_runner if task_runner is not None else ThreadPoolTaskRunner()
        self.task_runner: TaskRunner = runner() if isinstance(runner, type) else runner
        self.description = description or inspect.getdoc(fn)
        self.timeout_seconds = float(timeout_seconds) if timeout_seconds else None
        self.should_validate_parameters = validate_parameters
        self.result_storage = storage_url(result_storage, "result_storage")
        self.result_serializer = None if result_serializer is None else resolve_serializer(result_serializer)
        self.persist_result = persist_where(self, persist_result)
        self._given = {"persist_result": persist_result}
        self.cache_result_in_memory = cache_result_in_memory
        self.log_prints = log_prints
        self.on_completion_hooks = hooks_of(on_completion, "on_completion", "flow")
        self.on_failure_hooks = hooks_of(on_failure, "on_failure", "flow")
        self.on_cancellation_hooks = hooks_of(on_cancellation, "on_cancellation", "flow")
        self.on_crashed_hooks = hooks_of(on_crashed, "on_crashed", "flow")
        self.on_running_hooks = hooks_of(on_running, "on_running", "flow")
        self.isasync = inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)
        self.isgenerator = inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)
        self.signature = Signature(fn, "flow")
        self.entrypoint = entrypoint_of(fn)
        self.tracking: Recorded = TrackingTask(self.name, self.version)
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__name__ = getattr(fn, "__name__", self.name)
        self.__module__ = getattr(fn, "__module__", "")
        self.__qualname__ = getattr(fn, "__qualname__", self.name)
        self.__wrapped__ = fn

    @property
    def retries(self) -> int:
        """How often a failed run is tried again."""
        return self.retry.retries

    @property
    def retry_delay_seconds(self) -> list[float]:
        """Seconds before each retry; the last holds for all further ones."""
        return list(self.retry.delays_s)

    @property
    def retry_on_crash(self) -> bool:
        """Whether a run whose process died is scheduled again."""
        return self.retry.on_crash

    def __call__(
        self, *args: Any, return_state: bool = False, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> Any:
        """Run the flow here and give its result; awaitable when its function is async.

        When its function is a generator function, the result is a generator of what it yields, and iterating runs it.
        Called in a flow, it is a subflow. `return_state=True` gives the final state instead, whatever it is;
        `wait_for`, for subflows only, names futures and states that must have completed before. Raises what the
        function raised, `ParameterBindError` and `ParameterTypeError` for arguments that do not fit. While a script is
        loaded so that one run of its can be executed, the calls that it makes itself are left out: they give None.
        """
        return call_flow(self, self.signature.bind(args, kwargs), wait_for, return_state)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as the annotations want them. Raises `ParameterTypeError`."""
        return self.signature.validate(parameters)

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as values that JSON knows; those of which none can be made are left out."""
        return jsonable(parameters, self.name)

    def with_options(self, **options: Any) -> Flow[P, R]:
        """The same flow with other options: those of `@flow`. None and NotSet leave an option as it is.

        For log_prints and the options of results, None is a choice.
        """
        current = {
            "name": self.name,
            "version": self.version,
            "flow_run_name": self.flow_run_name,
            "retries": self.retry.retries,
            "retry_delay_seconds": list(self.retry.delays_s),
            "retry_on_crash": self.retry.on_crash,
            "task_runner": self.task_runner,
            "description": self.description,
            "timeout_seconds": self.timeout_seconds,
            "validate_parameters": self.should_validate_parameters,
            **self._given,
            "result_storage": self.result_storage,
            "result_serializer": self.result_serializer,
            "cache_result_in_memory": self.cache_result_in_memory,
            "log_prints": self.log_prints,
            "on_completion": self.on_completion_hooks,
            "on_failure": self.on_failure_hooks,
            "on_cancellation": self.on_cancellation_hooks,
            "on_crashed": self.on_crashed_hooks,
            "on_running": self.on_running_hooks,
        }
        new: Flow[P, R] = Flow(self.fn, **changed(current, options, _NONE_IS_A_CHOICE))
        new.isclassmethod, new.isstaticmethod = self.isclassmethod, self.isstaticmethod
        return new

    def on_completion(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, flow_run, state)` when a run has completed."""
        self.on_completion_hooks.append(fn)
        return fn

    def on_failure(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, flow_run, state)` when a run has failed for good."""
        self.on_failure_hooks.append(fn)
        return fn

    def on_cancellation(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, flow_run, state)` when a run was cancelled."""
        self.on_cancellation_hooks.append(fn)
        return fn

    def on_crashed(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, flow_run, state)` when a run has crashed."""
        self.on_crashed_hooks.append(fn)
        return fn

    def on_running(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, flow_run, state)` whenever a run starts."""
        self.on_running_hooks.append(fn)
        return fn

    @property
    def ismethod(self) -> bool:
        """Whether it is bound: to an instance or, for a class method, to a class."""
        return inspect.ismethod(self.fn)

    def __get__(self, instance: object, owner: type | None = None) -> Flow[P, R]:
        """A flow that is a method: bound to its instance or class, as functions are."""
        receiver = owner if self.isclassmethod else instance
        if receiver is None or self.isstaticmethod:
            return self
        bound = copy(self)
        bound.fn = bind(self.fn, receiver)
        bound.signature = Signature(bound.fn, "flow")
        return bound

    def __copy__(self) -> Self:
        return copied(self)  # type: ignore[no-any-return]  # of the same class

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def __repr__(self) -> str:
        return f"Flow(name={self.name!r})"


@overload
def flow(__fn: Callable[P, R]) -> Flow[P, R]: ...


@overload
def flow(
    __fn: None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    flow_run_name: NameSource = None,
    retries: int | None = None,
    retry_delay_seconds: float | list[float] | None = None,
    retry_on_crash: bool = False,
    task_runner: type[TaskRunner] | TaskRunner | None = None,
    description: str | None = None,
    timeout_seconds: float | None = None,
    validate_parameters: bool = True,
    persist_result: bool | None = None,
    result_storage: Place | None = None,
    result_serializer: Serializer | str | None = None,
    cache_result_in_memory: bool = True,
    log_prints: bool | None = None,
    on_completion: list[Hook] | None = None,
    on_failure: list[Hook] | None = None,
    on_cancellation: list[Hook] | None = None,
    on_crashed: list[Hook] | None = None,
    on_running: list[Hook] | None = None,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...


def flow(__fn: Callable[P, R] | None = None, **options: Any) -> Flow[P, R] | Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow.

    name                  by default the function's name, with - for _
    version               by default a hash of the source file
    flow_run_name         a template over the parameters, "{day:%A}", or a function that returns the name
    retries               how often a failed run is tried again
    retry_delay_seconds   seconds before a retry: a number or a list (the last holds on)
    retry_on_crash        a run whose process died is scheduled again, within its retries, instead of ending as Crashed;
                          whoever executes it then (python -m playhead.engine RUN) goes on where it was
    task_runner           where submitted tasks run: a class or an object; by default `ThreadPoolTaskRunner`
    description           by default the function's docstring
    timeout_seconds       a run that takes longer fails as "TimedOut"
    validate_parameters   coerce arguments to their annotations, with pydantic
    persist_result        True: fail if the result can not be stored; False: do not store it; None: as the parent flow
                          says, or, if there is none, store it if possible. True when an option below is given. This
                          one and those below hold for the tasks and flows called in it, too, unless they say otherwise
    result_storage        folder or fsspec URL for results; by default they are in the states of runs and, above 16 KiB,
                          in PLAYHEAD_RESULTS_URL
    result_serializer     a serializer of `playhead.serializers`, or its name; by default exact JSON, else a pickle
    cache_result_in_memory   False: the result is read from storage each time it is asked for
    log_prints            print() in the flow becomes log records
    on_completion, on_failure, on_cancellation, on_crashed, on_running   functions of (flow, flow_run, state)
    """
    if __fn is not None:
        return Flow(__fn, **options)
    return cast("Callable[[Callable[P, R]], Flow[P, R]]", lambda fn: Flow(fn, **options))


def load_flow_from_entrypoint(entrypoint: str) -> Flow[Any, Any]:
    """The flow at "path/to/file.py:function" or "module:function". Raises `MissingFlowError`."""
    found = load_object(entrypoint)
    if not isinstance(found, Flow):
        raise MissingFlowError(f"What {entrypoint!r} names is not a flow but {type(found).__name__}.")
    return found


def run_existing_flow_run(flow_run_id: str) -> State[Any]:
    """Execute a recorded flow run again, under its own id. Waits while another process holds its lease.

    Raises `NotFound` for an unknown run, `MissingFlowError` when its code is not found, and what the run crashed with.
    """
    client = get_client()
    call = recorded_call(flow_run_id, client)
    with tags(*call.existing.tags if call.existing else ()):
        if call.flow.isasync:
            return run_coroutine(drive_async(call_loop(call), client))
        return drive_sync(call_loop(call), client)


def recorded_call(flow_run_id: str, client: Client) -> FlowCall:
    """The call that a recorded flow run is of. Raises `NotFound` and `MissingFlowError`."""
    recorded = client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=flow_run_id)).flow_run
    if not recorded.spec.entrypoint:
        raise MissingFlowError(f"Flow run {flow_run_id} was recorded without an entrypoint: run its flow where it is.")
    found = load_flow_from_entrypoint(recorded.spec.entrypoint)
    run = flow_run_of(recorded)
    run.parameters = parameters_from_json(recorded.spec.parameters)
    return FlowCall(found, run.parameters, client, existing=run)


def call_flow(
    called: Flow[..., Any], parameters: dict[str, Any], wait_for: Iterable[Any] | None, return_state: bool
) -> Any:
    """Call a flow with these parameters, as `Flow.__call__` describes."""
    if by := loaded_by():
        get_logger().warning("Flow %r is not called: %s.", called.name, by)
        return _nothing_from(called)
    call = make_flow_call(called, parameters, wait_for)
    if called.isgenerator:
        return _generate(call, return_state)
    if called.isasync:
        return _call_async(call, return_state)
    return outcome_of(call, drive_sync(call_loop(call), call.client), return_state)


def outcome_of(call: FlowCall, state: State[Any], return_state: bool) -> Any:
    """What the caller gets when a call has ended. Raises what a run that ended badly ended with."""
    if call.tracking is not None and call.parent is not None and call.parent.progress is not None:
        call.parent.progress.called(state, call.tracking.task_run.run_id)
    if return_state:
        return state
    result = state.result()
    return result.result() if isinstance(result, State) else result


def _nothing_from(called: Flow[..., Any]) -> Any:
    """What a call gives that is left out."""
    if called.isgenerator:
        return _no_values() if called.isasync else iter(())
    return _nothing() if called.isasync else None


async def _nothing() -> None:
    """What an async flow gives that is not called."""


async def _no_values() -> AsyncIterator[None]:
    """What an async generator flow gives that is not called."""
    nothing: tuple[None, ...] = ()
    for value in nothing:
        yield value


async def _call_async(call: FlowCall, return_state: bool) -> Any:
    return outcome_of(call, await drive_async(call_loop(call), call.client), return_state)


def _generate(call: FlowCall, return_state: bool) -> Any:
    """What the flow's function yields. Raises ValueError when its state is asked for: it has none before the end."""
    if return_state:
        raise ValueError("The return_type for a generator flow must be 'result'")

    def seen(value: Any) -> None:
        if call.tracking is not None and call.parent is not None and call.parent.progress is not None:
            call.parent.progress.remember(value, call.tracking.task_run.run_id)

    drive = drive_async_generator if call.flow.isasync else drive_generator
    return drive(call_loop(call), call.client, seen, lambda state: outcome_of(call, state, False))
