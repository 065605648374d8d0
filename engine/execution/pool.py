"""The pool: many task runs at once on few threads.

Threads run user functions and the short steps of the loops between them, and wait for nothing else: a run whose
proposal is on its way, whose retry is not due or whose inputs are not there holds no thread. Proposals of all runs are
on their way at the same time, so that the journal commits many of them together.

    backlog -> (a slot is free) -> ready -> a thread advances it -> proposal, delay, inputs -> ready -> … -> its future

A slot is held from a run's start until its function has returned, so that what is recorded as running, runs; a run that
waits for something gives it back, and takes one again to go on. There is a thread more than there are slots, so that
functions that take long do not keep back what has to be done about other runs. A thread whose function waits for other
runs gives its slot and its place away meanwhile: tasks that wait for tasks can not block the pool.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any

from playhead.client.interface import Client
from playhead.engine.execution.drivers import call_user, perform
from playhead.engine.execution.effects import (
    Ask,
    AwaitLock,
    AwaitState,
    AwaitTurn,
    CallUser,
    Effect,
    Loop,
    Sleep,
    WaitFor,
)
from playhead.engine.execution.turns import turn_of
from playhead.engine.execution.watching import state_wanted
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import FlowPauseTimeout
from playhead.futures import PlayheadFuture, worker
from playhead.light_futures import LightFuture
from playhead.states import State, exception_to_crashed_state, exception_to_failed_state
from playhead.timer import call_later

logger = logging.getLogger("playhead.engine")


class PooledRun:
    """A task run in the pool: its loop, the context variables it was submitted with, and its future.

    `next_call` is what it waits for a slot for, once it has started.
    """

    __slots__ = ("client", "context", "future", "holds_slot", "loop", "next_call")

    def __init__(self, loop: Loop[State[Any]], client: Client, future: PlayheadFuture[Any]) -> None:
        self.loop = loop
        self.client = client
        self.future = future
        self.context = contextvars.copy_context()
        self.holds_slot = False
        self.next_call: CallUser | None = None

    def give_up(self) -> None:
        """End it where it stands, in its own context: what it has entered there is left there."""
        try:
            self.context.run(self.loop.close)
        finally:
            self.future.fail(Abort("The flow run ended before the task run was started."))


Step = tuple[PooledRun, Any, BaseException | None]


class Pool:
    """Runs loops, at most `slots` functions of runs at once, on threads that start as they are needed.

    `call` calls functions; `close()` ends the threads.
    """

    def __init__(self, slots: int, call: Callable[[CallUser], Any] = call_user) -> None:
        self._call_user = call
        self._slots = slots
        self._threads_max = slots + 1
        self._threads = 0
        self._idle = 0
        self._ready: SimpleQueue[Step | None] = SimpleQueue()
        self._backlog: deque[Step] = deque()
        self._waiting: deque[Step] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, run: PooledRun) -> None:
        """Start a run when a slot is free; those submitted first start first."""
        self._enqueue_with_slot((run, None, None), self._backlog)

    def resize(self, slots: int) -> None:
        """There are so many slots more from now on; fewer, if negative."""
        with self._lock:
            self._threads_max += slots
            self._slots += min(slots, 0)
        for _ in range(slots):
            self._free_slot()

    def close(self) -> None:
        """End the threads when they have nothing left to do."""
        with self._lock:
            self._closed = True
            threads = self._threads
        for _ in range(threads):
            self._ready.put(None)

    def abandon(self) -> None:
        """Start no more runs; those that wait for a slot are given up, all of them, also when one of them objects."""
        with self._lock:
            given_up = [*self._waiting, *self._backlog]
            self._waiting.clear()
            self._backlog.clear()
        with ExitStack() as ends:
            ends.callback(self.close)
            for run, _, _ in reversed(given_up):
                ends.callback(run.give_up)

    def _enqueue_with_slot(self, step: Step, line: deque[Step]) -> None:
        """Queue a step once its run has a slot; until one is free, it stands in line."""
        run = step[0]
        with self._lock:
            if not run.holds_slot:
                if self._slots <= 0:
                    line.append(step)
                    return
                self._slots -= 1
                run.holds_slot = True
        self._enqueue(*step)

    def _resume(self, run: PooledRun, outcome: Any = None, error: BaseException | None = None) -> None:
        """Go on with a run that had given its slot back to wait for something."""
        self._enqueue_with_slot((run, outcome, error), self._waiting)

    def _enqueue(self, run: PooledRun, outcome: Any, error: BaseException | None) -> None:
        self._ready.put((run, outcome, error))
        if not self._idle:
            self._grow()

    def _grow(self) -> None:
        with self._lock:
            if self._threads >= self._threads_max:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="playhead-worker", daemon=True).start()

    def _work(self) -> None:
        worker.away = self._away
        while True:
            with self._lock:
                self._idle += 1
            step = self._ready.get()
            with self._lock:
                self._idle -= 1
            if step is None:
                break
            try:
                self._advance(*step)
            except BaseException:  # a callback of the user's raised it, and there are other runs
                logger.exception(
                    "A callback of task run %r raised what was to end a thread:", step[0].future.task_run_name
                )
            if self._closed and self._ready.empty():
                break
        with self._lock:
            self._threads -= 1

    def _advance(self, run: PooledRun, outcome: Any, error: BaseException | None) -> None:
        """Take a run as far as it goes without waiting."""
        if run.next_call is not None:
            call, run.next_call = run.next_call, None
            outcome, error = self._call(run, call)
        while True:
            try:
                if error is None:
                    effect = run.context.run(run.loop.send, outcome)
                else:
                    effect = run.context.run(run.loop.throw, error)
            except StopIteration as end:
                return self._finish(run, end.value, None)
            except BaseException as raised:  # what ends the run ends its future, not this thread
                return self._finish(run, None, raised)
            if type(effect) is AwaitLock:
                outcome, error = self._lock_for(run, effect)
                continue
            if type(effect) is not CallUser:
                return self._perform(run, effect)
            if effect.of_run and not run.holds_slot:
                run.next_call = effect
                return self._resume(run)
            outcome, error = self._call(run, effect)

    def _call(self, run: PooledRun, effect: CallUser) -> tuple[Any, BaseException | None]:
        if not self._idle and not self._ready.empty():
            self._grow()
        try:
            return run.context.run(self._call_user, effect), None
        except BaseException as error:  # the loop decides what it means
            return None, error
        finally:
            self._give_slot_back(run)

    def _lock_for(self, run: PooledRun, effect: AwaitLock) -> tuple[Any, BaseException | None]:
        """Lock managers make who waits wait: it is as if a function waited."""
        try:
            with self._away():
                return run.context.run(perform, effect, run.client), None
        except BaseException as error:  # the loop decides what it means
            return None, error

    def _perform(self, run: PooledRun, effect: Effect) -> None:
        if type(effect) is Ask:
            try:
                answer = run.client.submit(effect.method, effect.request, timeout_s=effect.timeout_s)
            except BaseException as error:  # the loop decides what it means
                return self._enqueue(run, None, error)
            answer.add_done_callback(lambda future: self._enqueue(run, *_outcome_of(future)))
            return None
        self._give_slot_back(run)
        if type(effect) is Sleep:
            call_later(effect.seconds, lambda: self._resume(run))
            return None
        if type(effect) is AwaitTurn:
            turn = turn_of(run.client, effect.run_id, effect.after, effect.seconds, effect.flow_run_id)
            turn.add_done_callback(lambda _: self._resume(run))
            return None
        if type(effect) is AwaitState:
            seen = state_wanted(run.client, effect.flow_run_id, effect.wanted, effect.seconds)
            return seen.add_done_callback(lambda future: self._resume(run, *_outcome_of(future)))
        assert isinstance(effect, WaitFor)
        return self._await(run, list(effect.futures))

    def _await(self, run: PooledRun, futures: list[PlayheadFuture[Any]]) -> None:
        left = len(futures)
        lock = threading.Lock()

        def one_is_done(_: object) -> None:
            nonlocal left
            with lock:
                left -= 1
                last = left == 0
            if last:
                self._resume(run)

        for future in futures:
            future.add_done_callback(one_is_done)

    def _finish(self, run: PooledRun, state: State[Any] | None, error: BaseException | None) -> None:
        self._give_slot_back(run)
        if state is not None:
            run.future.complete(state)
        elif isinstance(error, Pause) and isinstance(error.state, State):
            run.future.complete(error.state)
        elif isinstance(error, Abort):
            run.future.fail(error)
        elif isinstance(error, FlowPauseTimeout):
            run.future.complete(exception_to_failed_state(error))
        else:
            assert error is not None
            run.future.complete(exception_to_crashed_state(error))

    def _give_slot_back(self, run: PooledRun) -> None:
        if run.holds_slot:
            run.holds_slot = False
            self._free_slot()

    def _free_slot(self) -> None:
        with self._lock:
            line = self._waiting or self._backlog
            if self._slots < 0 or not line:
                self._slots += 1
                return
            following = line.popleft()
            following[0].holds_slot = True
        self._enqueue(*following)

    @contextmanager
    def _away(self) -> Iterator[None]:
        """This thread waits: another may do its work."""
        with self._lock:
            self._threads_max += 1
        if not self._ready.empty() and not self._idle:
            self._grow()
        self._free_slot()
        try:
            yield
        finally:
            with self._lock:
                self._threads_max -= 1
                self._slots -= 1


def _outcome_of(future: Future[Any] | LightFuture[Any]) -> tuple[Any, BaseException | None]:
    error = future.exception()
    return (None, error) if error else (future.result(), None)
