"""Tasks: functions whose every call is a recorded run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from copy import copy
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload

from playhead.cache_policies import CachePolicy, receiver_of
from playhead.context import FlowRunContext, tags_of
from playhead.engine.execution.calls import TaskCall, make_call
from playhead.engine.execution.definitions import Hook, NameSource
from playhead.engine.execution.drivers import drive_async, drive_sync
from playhead.engine.execution.generating import drive_async_generator, drive_generator
from playhead.engine.execution.mapping import expand
from playhead.engine.execution.options import (
    RETRY_DELAYS_MAX,
    RetryDelay,
    bind,
    cache_policy_of,
    changed,
    check_options,
    function_name,
    hooks_of,
    name_source,
    persist_where,
    plain_function,
    retry_policy,
    task_key_of,
)
from playhead.engine.execution.parameters import Signature
from playhead.engine.execution.references import copied, reduced
from playhead.engine.execution.task_loop import task_loop
from playhead.exceptions import HashError
from playhead.futures import PlayheadFuture, PlayheadFutureList
from playhead.results import storage_url
from playhead.serializers import Serializer, resolve_serializer
from playhead.states import State
from playhead.storage import Place
from playhead.utilities.annotations import NotSet
from playhead.utilities.hashing import hash_objects, source_of, stable_hash

P = ParamSpec("P")
R = TypeVar("R")

_NONE_IS_A_CHOICE = frozenset(
    {
        "task_run_name",
        "refresh_cache",
        "retries",
        "retry_delay_seconds",
        "retry_jitter_factor",
        "persist_result",
        "result_storage",
        "result_storage_key",
        "result_serializer",
        "cache_policy",
        "log_prints",
    }
)


class Task(Generic[P, R]):
    """A function whose calls are recorded: made by `@task`, which describes the options.

    Calling it runs it and gives its result; `submit` and `map` hand it to the flow's task runner. `fn` is the function.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        task_run_name: NameSource = None,
        cache_policy: CachePolicy | type[NotSet] | None = NotSet,
        cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None,
        cache_expiration: timedelta | None = None,
        refresh_cache: bool | None = None,
        retries: int | None = None,
        retry_delay_seconds: RetryDelay = None,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: Callable[..., Any] | None = None,
        persist_result: bool | None = None,
        result_storage: Place | None = None,
        result_storage_key: str | None = None,
        result_serializer: Serializer | str | None = None,
        cache_result_in_memory: bool = True,
        timeout_seconds: float | None = None,
        log_prints: bool | None = None,
        on_running: list[Hook] | None = None,
        on_completion: list[Hook] | None = None,
        on_failure: list[Hook] | None = None,
        on_cancellation: list[Hook] | None = None,
        on_crashed: list[Hook] | None = None,
        on_commit: list[Hook] | None = None,
        on_rollback: list[Hook] | None = None,
        viz_return_value: Any = None,
        task_key: str | None = None,
    ) -> None:
        check_options(locals())
        self.isclassmethod, self.isstaticmethod = isinstance(fn, classmethod), isinstance(fn, staticmethod)
        self.fn = fn = plain_function(fn)
        self.name = str(name or function_name(fn))
        self.description = description or inspect.getdoc(fn)
        self.tags = tags_of(tags or ())
        self.version = version
        self.task_run_name = name_source(task_run_name, "task_run_name")
        self.cache_key_fn = cache_key_fn
        self.names_policy = cache_key_fn is not None or cache_policy is not NotSet
        self.cache_policy = cache_policy_of(self.name, cache_policy, cache_key_fn, result_storage_key, persist_result)
        self._given = {"cache_policy": cache_policy, "persist_result": persist_result}
        self.cache_expiration = cache_expiration
        self.refresh_cache = refresh_cache
        self.retry = retry_policy(retries, retry_delay_seconds, retry_jitter_factor, "TASKS")
        self.retry_condition_fn = retry_condition_fn
        self.result_storage = storage_url(result_storage, "result_storage")
        self.result_storage_key = result_storage_key
        self.result_serializer = None if result_serializer is None else resolve_serializer(result_serializer)
        self.persist_result = persist_where(self, persist_result, result_storage_key)
        self.cache_result_in_memory = cache_result_in_memory
        self.timeout_seconds = float(timeout_seconds) if timeout_seconds else None
        self.log_prints = log_prints
        self.on_running_hooks = hooks_of(on_running, "on_running", "task")
        self.on_completion_hooks = hooks_of(on_completion, "on_completion", "task")
        self.on_failure_hooks = hooks_of(on_failure, "on_failure", "task")
        self.on_cancellation_hooks = hooks_of(on_cancellation, "on_cancellation", "task")
        self.on_crashed_hooks = hooks_of(on_crashed, "on_crashed", "task")
        self.on_commit_hooks = hooks_of(on_commit, "on_commit", "task")
        self.on_rollback_hooks = hooks_of(on_rollback, "on_rollback", "task")
        self.viz_return_value = viz_return_value
        self.isasync = inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)
        self.isgenerator = inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)
        self.signature = Signature(fn, "task")
        self.task_key = task_key or task_key_of(fn)
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

    def __call__(
        self, *args: Any, return_state: bool = False, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> Any:
        """Run the task here and give its result; awaitable when its function is async.

        When its function is a generator function, the result is a generator of what it yields, and iterating runs it.
        `return_state=True` gives the final state instead, whatever it is. `wait_for`: futures and states that must have
        completed before. Raises what the function raised, and `ParameterBindError` for arguments that do not fit.
        """
        call = make_call(self, self.signature.bind(args, kwargs), wait_for)
        if self.isgenerator:
            return _generate(call, return_state)
        if self.isasync:
            return _call_async(call, return_state)
        return _outcome(call, drive_sync(task_loop(call), call.client), return_state)

    def submit(
        self, *args: Any, return_state: bool = False, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> Any:
        """Hand the task to the flow's task runner and give a `PlayheadFuture` at once.

        The result of a generator function is a list of what it yields. `return_state=True` waits and gives the final
        state. Raises RuntimeError outside of a flow.
        """
        future = _runner().submit(self, self.signature.bind(args, kwargs), wait_for)
        return _state_of(future) if return_state else future

    def map(self, *args: Any, return_state: bool = False, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> Any:
        """Submit the task once for each element of its iterable arguments, and give a list of futures.

        Wrap an argument in `unmapped` to pass it whole. Raises `MappingMissingIterable` and `MappingLengthMismatch`.
        """
        runner = _runner()
        calls, inputs = expand(self.signature, args, kwargs)
        futures: PlayheadFutureList[Any] = runner.map(self, calls, wait_for, inputs)
        return [_state_of(future) for future in futures] if return_state else futures

    def with_options(self, **options: Any) -> Task[P, R]:
        """The same task with other options: those of `@task`. None and NotSet leave an option as it is.

        For task_run_name, refresh_cache, log_prints and the options of retries and results, None is a choice.
        """
        current = {
            "name": self.name,
            "description": self.description,
            "tags": self.tags,
            "version": self.version,
            "task_run_name": self.task_run_name,
            "cache_key_fn": self.cache_key_fn if options.get("cache_policy", NotSet) is NotSet else None,
            "cache_expiration": self.cache_expiration,
            "refresh_cache": self.refresh_cache,
            "retries": self.retry.retries,
            "retry_delay_seconds": list(self.retry.delays_s),
            "retry_jitter_factor": self.retry.jitter_factor or None,
            "retry_condition_fn": self.retry_condition_fn,
            **self._given,
            "result_storage": self.result_storage,
            "result_storage_key": self.result_storage_key,
            "result_serializer": self.result_serializer,
            "cache_result_in_memory": self.cache_result_in_memory,
            "timeout_seconds": self.timeout_seconds,
            "log_prints": self.log_prints,
            "on_running": self.on_running_hooks,
            "on_completion": self.on_completion_hooks,
            "on_failure": self.on_failure_hooks,
            "on_cancellation": self.on_cancellation_hooks,
            "on_crashed": self.on_crashed_hooks,
            "on_commit": self.on_commit_hooks,
            "on_rollback": self.on_rollback_hooks,
            "viz_return_value": self.viz_return_value,
            "task_key": self.task_key,
        }
        new: Task[P, R] = Task(self.fn, **changed(current, options, _NONE_IS_A_CHOICE))
        new.isclassmethod, new.isstaticmethod = self.isclassmethod, self.isstaticmethod
        return new

    @cached_property
    def source_hash(self) -> str:
        """A digest of the function's source text; where there is none, of its bytecode."""
        return stable_hash(source_of(self.fn))

    def on_running(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, task_run, state)` whenever a run starts."""
        self.on_running_hooks.append(fn)
        return fn

    def on_completion(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, task_run, state)` when a run has completed."""
        self.on_completion_hooks.append(fn)
        return fn

    def on_failure(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, task_run, state)` when a run has failed for good."""
        self.on_failure_hooks.append(fn)
        return fn

    def on_cancellation(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, task_run, state)` when a run ends CANCELLED in this process."""
        self.on_cancellation_hooks.append(fn)
        return fn

    def on_crashed(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, task_run, state)` when a run has crashed and its process lives to say so."""
        self.on_crashed_hooks.append(fn)
        return fn

    def on_commit(self, fn: Hook) -> Hook:
        """Decorator: call `fn(transaction)` when the transaction that a run completed in is committed.

        A run outside of transactions has one of its own, and one inside another task run's shares that one's.
        """
        self.on_commit_hooks.append(fn)
        return fn

    def on_rollback(self, fn: Hook) -> Hook:
        """Decorator: call `fn(transaction)` when the transaction that a run completed in is rolled back."""
        self.on_rollback_hooks.append(fn)
        return fn

    @property
    def ismethod(self) -> bool:
        """Whether it is bound: to an instance or, for a class method, to a class."""
        return inspect.ismethod(self.fn)

    def __get__(self, instance: object, owner: type | None = None) -> Task[P, R]:
        """A task that is a method: bound to its instance or class, as functions are."""
        receiver = owner if self.isclassmethod else instance
        if receiver is None or self.isstaticmethod:
            return self
        bound = copy(self)
        bound.fn = bind(self.fn, receiver)
        bound.signature = Signature(bound.fn, "task")
        return bound

    def __copy__(self) -> Self:
        return copied(self)  # type: ignore[no-any-return]  # of the same class

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def __repr__(self) -> str:
        return f"Task(name={self.name!r})"


@overload
def task(__fn: Callable[P, R]) -> Task[P, R]: ...


@overload
def task(
    __fn: None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] | None = None,
    version: str | None = None,
    task_run_name: NameSource = None,
    cache_policy: CachePolicy | type[NotSet] | None = NotSet,
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None,
    cache_expiration: timedelta | None = None,
    refresh_cache: bool | None = None,
    retries: int | None = None,
    retry_delay_seconds: RetryDelay = None,
    retry_jitter_factor: float | None = None,
    retry_condition_fn: Callable[..., Any] | None = None,
    persist_result: bool | None = None,
    result_storage: Place | None = None,
    result_storage_key: str | None = None,
    result_serializer: Serializer | str | None = None,
    cache_result_in_memory: bool = True,
    timeout_seconds: float | None = None,
    log_prints: bool | None = None,
    on_running: list[Hook] | None = None,
    on_completion: list[Hook] | None = None,
    on_failure: list[Hook] | None = None,
    on_cancellation: list[Hook] | None = None,
    on_crashed: list[Hook] | None = None,
    on_commit: list[Hook] | None = None,
    on_rollback: list[Hook] | None = None,
    viz_return_value: Any = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(__fn: Callable[P, R] | None = None, **options: Any) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task.

    name                  by default the function's name
    description           by default the function's docstring
    tags                  added to those of `tags(...)` around the call
    version               for people
    task_run_name         a template over the parameters, "{day:%A}", or a function that returns the name
    cache_policy          which runs share one result: see `playhead.cache_policies`. By default DEFAULT, which has an
                          effect only where `persist_result` is True; None, NO_CACHE: none
    cache_key_fn          function of (context, parameters): runs with the same key share one result
    cache_expiration      how long a result is shared; by default for ever
    refresh_cache         True: run even if there is a shared result, and share the new one
    retries               how often a failed run is tried again
    retry_delay_seconds   seconds before a retry: a number, a list (the last holds on), or a function of `retries`
    retry_jitter_factor   spreads each delay at random, by at most this factor
    retry_condition_fn    function of (task, task_run, state): False means do not retry
    persist_result        True: fail if the result can not be stored; False: do not store it; None: as the flow says,
                          or, if that says nothing, store it if possible. True when an option below is given
    result_storage        folder or fsspec URL for the result; by default as the flow says, or, if that says nothing, in
                          the run's state and, above 16 KiB, in PLAYHEAD_RESULTS_URL
    result_storage_key    the file of a record of the result, there: "{parameters[day]}/{task_run.name}". A task without
                          a cache policy that finds one there has its result
    result_serializer     a serializer of `playhead.serializers`, or its name; by default as the flow says
    cache_result_in_memory   False: the result is read from storage each time it is asked for
    timeout_seconds       a run that takes longer fails as "TimedOut"
    log_prints            print() in the task becomes log records
    on_running, on_completion, on_failure, on_cancellation, on_crashed   functions of (task, task_run, state)
    on_commit, on_rollback   functions of (transaction): see `playhead.transactions`
    viz_return_value      kept with the task for programs that draw flows; it has no effect on runs
    """
    if __fn is not None:
        return Task(__fn, **options)
    return cast("Callable[[Callable[P, R]], Task[P, R]]", lambda fn: Task(fn, **options))


def task_input_hash(context: Any, arguments: dict[str, Any]) -> str | None:
    """A cache key of the task, its code, its arguments and whose method it is, the same in every process.

    None, which means no caching, for arguments that have no digest.
    """
    code = getattr(context.task.fn, "__code__", None)
    try:
        return hash_objects(context.task.task_key, code, arguments, receiver_of(context))
    except HashError:
        return None


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Delays for `retry_delay_seconds`: the factor times 1, 2, 4, … seconds."""

    def delays(retries: int) -> list[float]:
        return [backoff_factor * max(0, 2**attempt) for attempt in range(min(retries, RETRY_DELAYS_MAX))]

    return delays


async def _call_async(call: TaskCall, return_state: bool) -> Any:
    return _outcome(call, await drive_async(task_loop(call), call.client), return_state)


def _generate(call: TaskCall, return_state: bool) -> Any:
    """What the task's function yields. Raises ValueError when its state is asked for: it has none before the end."""
    if return_state:
        raise ValueError("The return_type for a generator task must be 'result'")

    def seen(value: Any) -> None:
        if call.flow is not None and call.flow.progress is not None:
            call.flow.progress.remember(value, call.task_run.run_id)

    drive = drive_async_generator if call.task.isasync else drive_generator
    return drive(task_loop(call), call.client, seen, lambda state: _outcome(call, state, False))


def _outcome(call: TaskCall, state: State[Any], return_state: bool) -> Any:
    if call.flow is not None and call.flow.progress is not None:
        call.flow.progress.called(state, call.task_run.run_id)
    return state if return_state else state.result()


def _runner() -> Any:
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("Tasks can only be submitted to a task runner inside of a flow; call the task instead.")
    return context.task_runner


def _state_of(future: PlayheadFuture[Any]) -> State[Any] | None:
    future.failure_seen = True
    return future.wait()
