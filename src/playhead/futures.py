"""Futures: results of submitted task runs that are not there yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for_futures
from contextlib import nullcontext
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from playhead.states import Pending, State
from playhead.utilities.collections import Visited, visit

R = TypeVar("R")

worker = threading.local()
"""Of a pool's worker thread: `away()` is a context in which the pool may use another thread in its place."""


class PlayheadFuture(Visited, Generic[R]):
    """The result of a task run that was submitted. Ask with `result()`, or pass it on as an argument of other tasks.

    `state` is the run's state as far as this process knows; `task_run_id` the run's UUID; `failure_seen` says whether
    the flow has asked for the result, and so knows of a failure.
    """

    __slots__ = ("_final", "failure_seen", "run_id", "task_run_name")

    def __init__(self, run_id: str, task_run_name: str = "") -> None:
        self.run_id = run_id
        self.task_run_name = task_run_name
        self._final: Future[State[R]] = Future()
        self.failure_seen = False

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
        state = self.wait(timeout)
        if state is None:
            raise TimeoutError(f"Task run {self.run_id} did not complete within {timeout} seconds.")
        self.failure_seen = True
        return state.result(raise_on_failure)

    async def aresult(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """The same as `result`, without blocking the event loop."""
        import asyncio

        _check(timeout)
        state = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._final)), timeout)
        self.failure_seen = True
        return state.result(raise_on_failure)

    def add_done_callback(self, function: Callable[[PlayheadFuture[R]], None]) -> None:
        """Call `function(future)` when the run has ended; at once when it has."""
        self._final.add_done_callback(lambda _: function(self))

    def error(self) -> BaseException | None:
        """Why there is no state, once it is done: the run was given up before it ended. None: there is one."""
        return self._final.exception() if self._final.done() else None

    def complete(self, state: State[R]) -> None:
        """Set the state the run ended in. For task runners."""
        self._final.set_result(state)

    def fail(self, error: BaseException) -> None:
        """Set the reason why there is no state. For task runners."""
        self._final.set_exception(error)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlayheadFuture) and self.run_id == other.run_id

    def __hash__(self) -> int:
        return hash(self.run_id)

    def __repr__(self) -> str:
        return f"PlayheadFuture({self.task_run_name or self.run_id!r}, {self.state!s})"


PrefectFuture = PlayheadFuture
"""The name by which flows that come from Prefect import it."""


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
        wait_for_futures([future._final for future in waited], timeout)
    done = {future for future in waited if future.done()}
    return DoneAndNotDoneFutures(done, set(waited) - done)


def as_completed(futures: Iterable[PlayheadFuture[R]], timeout: float | None = None) -> Iterator[PlayheadFuture[R]]:
    """The futures, each as soon as its run has ended. Raises TimeoutError when not all have after `timeout` seconds."""
    from concurrent.futures import as_completed as first_done

    _check(timeout)
    pending = {future._final: future for future in futures}
    total = len(pending)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        for final in first_done(list(pending), None if deadline is None else max(0.0, deadline - time.monotonic())):
            yield pending.pop(final)
    except FutureTimeout:
        raise TimeoutError(f"{len(pending)} (of {total}) futures unfinished") from None


def resolve_futures_to_states(expr: Any) -> Any:
    """The expression with states in the places of futures, waiting for them."""
    return _resolve(expr, lambda future: future.wait())


def resolve_futures_to_results(expr: Any) -> Any:
    """The expression with results in the places of futures, waiting for them. Raises the first failure."""
    return _resolve(expr, lambda future: future.result())


def _resolve(expr: Any, of: Callable[[PlayheadFuture[Any]], Any]) -> Any:
    return visit(expr, lambda item, _: of(item) if isinstance(item, PlayheadFuture) else item)


def _check(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError("`timeout` must be non-negative")


def _blocking(*futures: PlayheadFuture[Any]) -> Any:
    """While a worker thread waits, its pool may run others in its place.

    Else tasks that wait for tasks could block all.
    """
    if all(future.done() for future in futures):
        return nullcontext()
    away = getattr(worker, "away", None)
    return nullcontext() if away is None else away()
