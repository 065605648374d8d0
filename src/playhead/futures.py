"""Futures: results of submitted task runs that are not there yet.

A future that is done can be pickled, with the state it holds; one that is not belongs to the process in which it waits.
As arguments of tasks, futures are replaced by their results before anything is called, wherever that is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for_futures
from contextlib import nullcontext
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from playhead.light_futures import LightFuture
from playhead.states import Pending, State
from playhead.utilities.collections import Visited, visit

R = TypeVar("R")

worker = threading.local()
"""Of a pool's worker thread: `away()` is a context in which the pool may use another thread in its place."""


class PlayheadFuture(Visited, Generic[R]):
    """The result of a task run that was submitted. Ask with `result()`, or pass it on as an argument of other tasks.

    `state` is the run's state as far as this process knows; `task_run_id` the run's UUID; `failure_seen` says whether
    the flow has asked for the result, and so knows of a failure; `failure_allowed`, whether calls that get this future
    run with its exception when it has failed.
    """

    __slots__ = ("_final", "failure_allowed", "failure_seen", "run_id", "task_run_name")

    def __init__(self, run_id: str, task_run_name: str = "") -> None:
        self.run_id = run_id
        self.task_run_name = task_run_name
        self._final: LightFuture[State[R]] = LightFuture()
        self.failure_seen = False
        self.failure_allowed = False

    @property
    def task_run_id(self) -> UUID:
        """The id of the task run."""
        return UUID(self.run_id)

    @property
    def state(self) -> State[R]:
        """The run's final state; before that, PENDING."""
        return self._final.result() if self._final.done() else Pending()

    def done(self) -> bool:
        """Whether the run has ended, or was given up."""
        return self._final.done()

    def wait(self, timeout: float | None = None) -> State[R] | None:
        """Wait for the end of the run, at most `timeout` seconds, and give its state; None when it has not ended."""
        _check(timeout)
        try:
            with _blocking(self):
                return self._final.result(timeout)
        except FutureTimeout:
            return None

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """The result. A run that ended badly raises its exception, or returns it with `raise_on_failure=False`.

        Raises TimeoutError when the run has not ended after `timeout` seconds.
        """
        return self._result_of(self.wait(timeout), timeout, raise_on_failure)

    async def wait_async(self, timeout: float | None = None) -> State[R] | None:
        """The same as `wait`, without blocking the event loop."""
        import asyncio

        _check(timeout)
        if not self.done():
            with _blocking(self):
                await asyncio.wait([asyncio.wrap_future(self._final.standard())], timeout=timeout)
        return self._final.result() if self.done() else None

    async def aresult(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """The same as `result`, without blocking the event loop."""
        return self._result_of(await self.wait_async(timeout), timeout, raise_on_failure)

    result_async = aresult

    def get_state(self, client: object = None) -> State[R]:
        """The same as `state`. `client` has no effect: runs report to their futures."""
        return self.state

    def add_done_callback(self, function: Callable[[PlayheadFuture[R]], None]) -> None:
        """Call `function(future)` when the run has ended; at once when it has."""
        if not callable(function):
            raise TypeError(f"add_done_callback() takes a function, not {function!r}.")
        self._final.add_done_callback(partial(_call_with, function, self))

    def error(self) -> BaseException | None:
        """Why there is no state, once it is done: the run was given up before it ended. None: there is one."""
        return self._final.exception() if self._final.done() else None

    def complete(self, state: State[R]) -> None:
        """Set the state the run ended in. For task runners."""
        self._final.set_result(state)

    def fail(self, error: BaseException) -> None:
        """Set the reason why there is no state. For task runners."""
        self._final.set_exception(error)

    def _result_of(self, state: State[R] | None, timeout: float | None, raise_on_failure: bool) -> Any:
        if state is None:
            raise TimeoutError(f"Task run {self.run_id} did not complete within {timeout} seconds.")
        self.failure_seen = True
        return state.result(raise_on_failure)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.done():
            raise TypeError(
                f"The future of task run {self.task_run_name or self.run_id!r} can not be pickled before the run has "
                "ended: ask for its `result()` first, or pass it as an argument of a task, where it is replaced by it."
            )
        return (_done, (self.run_id, self.task_run_name, self._final.result()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlayheadFuture) and self.run_id == other.run_id

    def __hash__(self) -> int:
        return hash(self.run_id)

    def __repr__(self) -> str:
        return f"PlayheadFuture({self.task_run_name or self.run_id!r}, {self.state!s})"


PrefectFuture = PrefectTaskRunFuture = PrefectConcurrentFuture = PrefectDistributedFuture = PlayheadFuture
"""The names by which flows that come from Prefect import it: there is one kind, whatever the runner."""


class PlayheadFutureList(list[PlayheadFuture[R]]):
    """The futures of a `.map`, in the order of its elements."""

    def wait(self, timeout: float | None = None) -> None:
        """Wait for all runs, at most `timeout` seconds."""
        wait(self, timeout)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """All results, in order.

        Raises the first failure, unless `raise_on_failure=False`; TimeoutError when time is over.
        """
        done = wait(self, timeout).done
        if len(done) < len(self):
            raise TimeoutError(f"{len(self) - len(done)} (of {len(self)}) futures unfinished")
        return [future.result(raise_on_failure=raise_on_failure) for future in self]


PrefectFutureList = PlayheadFutureList


class DoneAndNotDoneFutures(NamedTuple):
    """What `wait` answers."""

    done: set[PlayheadFuture[Any]]
    not_done: set[PlayheadFuture[Any]]


def wait(futures: Iterable[PlayheadFuture[Any]], timeout: float | None = None) -> DoneAndNotDoneFutures:
    """Wait until all runs have ended, at most `timeout` seconds."""
    _check(timeout)
    waited = list(futures)
    with _blocking(*waited):
        wait_for_futures([future._final.standard() for future in waited if not future.done()], timeout)
    done = {future for future in waited if future.done()}
    return DoneAndNotDoneFutures(done, set(waited) - done)


def as_completed(futures: Iterable[PlayheadFuture[R]], timeout: float | None = None) -> Iterator[PlayheadFuture[R]]:
    """The futures, each as soon as its run has ended. Raises TimeoutError when not all have after `timeout` seconds."""
    from concurrent.futures import as_completed as first_done

    _check(timeout)
    pending = {future._final.standard(): future for future in futures}
    total = len(pending)
    ended = first_done(list(pending), timeout)
    try:
        while pending:
            with _blocking(*pending.values()):
                final = next(ended)
            yield pending.pop(final)
    except FutureTimeout:
        raise TimeoutError(f"{len(pending)} (of {total}) futures unfinished") from None


def resolve_futures_to_states(expr: Any) -> Any:
    """The expression with states in the places of futures, waiting for them."""
    return _resolve(expr, lambda future: future.wait())


def resolve_futures_to_results(expr: Any, raise_on_failure: bool = True) -> Any:
    """The expression with results in the places of futures, waiting for them.

    Raises the first failure, unless `raise_on_failure=False`: then exceptions are in the places of what failed.
    """
    return _resolve(expr, lambda future: future.result(raise_on_failure=raise_on_failure))


resolve_futures_to_data = resolve_futures_to_results


def _resolve(expr: Any, of: Callable[[PlayheadFuture[Any]], Any]) -> Any:
    return visit(expr, lambda item, _: of(item) if isinstance(item, PlayheadFuture) else item)


def _done(run_id: str, task_run_name: str, state: State[Any]) -> PlayheadFuture[Any]:
    future: PlayheadFuture[Any] = PlayheadFuture(run_id, task_run_name)
    future.complete(state)
    return future


def _call_with(function: Callable[[PlayheadFuture[Any]], None], future: PlayheadFuture[Any], _: object) -> None:
    """Call a callback; the log names both when that fails."""
    function(future)


def _check(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError("`timeout` must be non-negative")


def _blocking(*futures: PlayheadFuture[Any]) -> Any:
    """While a worker thread waits, its pool may run others in its place.

    Else tasks that wait for tasks could block all.
    """
    return nullcontext() if all(future.done() for future in futures) else away()


def away() -> Any:
    """A context in which this thread waits: if it is a pool's worker, the pool may use another in its place."""
    leave = getattr(worker, "away", None)
    return nullcontext() if leave is None else leave()
