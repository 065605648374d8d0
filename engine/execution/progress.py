"""What a flow run, while it is executed, remembers of the calls made in it."""

from __future__ import annotations

import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from playhead.engine.execution.effects import Loop
from playhead.engine.execution.inputs import elements_of, wait_for
from playhead.engine.execution.settling import settle
from playhead.futures import PlayheadFuture
from playhead.states import Completed, State, StateGroup

MAKERS_MAX = 1_024
_SMALL_INTS = range(-5, 257)
_ENDED_WELL: State[Any] = Completed()


class FlowProgress:
    """Calls under way, how those that ended did, and which run made which object.

    A failure counts as seen when it was raised in the flow, or its state was asked for: then the flow had its chance to
    deal with it. `stop` is the signal that ends the flow run at its next call; `call_off` ends the calls under way, and
    what the flow's code waits for ends with the signal.
    """

    def __init__(self) -> None:
        self.stop: BaseException | None = None
        self.call_off: Callable[[], None] | None = None
        self._waits: set[Future[Any]] = set()
        self._failures: dict[int, PlayheadFuture[Any]] = {}
        # One entry for each call. What is done to these is atomic: a lock here would be fought over by all workers.
        self._calls: list[None] = []
        self._outstanding: dict[int, PlayheadFuture[Any]] = {}
        self._lock = threading.Lock()
        self._makers: OrderedDict[int, tuple[Any, str | State[Any]]] = OrderedDict()
        self._pause_known_to = 0.0

    def halt(self, signal: BaseException) -> None:
        """The flow run is to stop: at its next call, and what it waits for is called off where that can be."""
        self.stop = self.stop or signal
        if self.call_off is not None:
            self.call_off()
        for future in list(self._waits):
            settle(future, signal)

    def ends(self, future: Future[Any]) -> None:
        """The flow's code waits for this, and no longer than until the run is to stop."""
        self._waits.add(future)
        future.add_done_callback(self._waits.discard)
        if self.stop is not None:
            settle(future, self.stop)

    def check(self) -> None:
        """Raise the signal that ends the flow run, if there is one."""
        if self.stop is not None:
            raise self.stop

    def hears_of_pause(self, revision: int) -> bool:
        """Whether it is news that the flow run is paused at a revision: of the calls that find it so, one says it."""
        with self._lock:
            is_news = revision > self._pause_known_to
            if is_news:
                self._pause_known_to = math.inf
        return is_news

    def hears_of_resume(self, revision: int) -> None:
        """The flow run goes on from a revision: what finds it paused at an earlier one is late."""
        with self._lock:
            self._pause_known_to = revision

    def submitted(self, future: PlayheadFuture[Any]) -> None:
        """A call was submitted."""
        self._calls.append(None)
        self._outstanding[id(future)] = future
        future.add_done_callback(self._ended)

    def drain(self) -> Loop[None]:
        """Wait until all submitted calls, and those that they submit, have ended."""
        while waited := list(self._outstanding.values()):
            yield from wait_for(waited)
            for future in waited:
                self._ended(future)

    def called(self, state: State[Any], run_id: str) -> None:
        """A direct call has ended; the flow has its result or its exception."""
        if state.is_completed():
            self._calls.append(None)
            self.remember(state.result(), run_id)

    def remember(self, value: Any, maker: str | State[Any]) -> None:
        """Remember which run made an object, so that calls it is passed to know where it came from.

        `maker` is the task run's id or a state of it. The elements of a small collection are remembered too, but not
        what is in them.
        """
        for made in (value, *elements_of(value)):
            if is_untrackable(made):
                continue
            try:
                holder: Any = weakref.ref(made)
            except TypeError:  # strings, lists, dicts: kept themselves, so that their identity is not used again
                holder = made
            with self._lock:
                self._makers[id(made)] = (holder, maker)
                if len(self._makers) > MAKERS_MAX:
                    self._makers.popitem(last=False)

    def maker_of(self, value: Any) -> str | None:
        """The task run that made this very object, if it is remembered."""
        link = self.link_of(value) if self._makers else None
        if isinstance(link, State):
            return str(link.state_details.task_run_id) if link.state_details.task_run_id else None
        return link

    def link_of(self, value: Any) -> str | State[Any] | None:
        """What was remembered as the maker of this very object."""
        holder, maker = self._makers.get(id(value), (None, None))
        held = holder() if isinstance(holder, weakref.ref) else holder
        return maker if held is value and not is_untrackable(value) else None

    def verdict(self) -> State[Any]:
        """The final state of a flow that returned nothing.

        It fails when a submitted call failed and nobody has seen it.
        """
        unseen = [future.state for future in self._failures.values() if not future.failure_seen]
        total = len(self._calls) - len(self._failures) + len(unseen)
        if not total:
            return Completed()
        if not unseen:
            return Completed(message="All states completed.")
        return StateGroup([*unseen, *[_ENDED_WELL] * (total - len(unseen))]).judge().fresh_copy(data=unseen)

    def _ended(self, future: PlayheadFuture[Any]) -> None:
        """A submitted call has ended.

        Called by its worker, and again by whoever waited for it: whichever comes first.
        """
        error = future.error()
        if error is not None:
            self.stop = self.stop or error
        elif not future.state.is_completed():
            self._failures[id(future)] = future
        self._outstanding.pop(id(future), None)


def is_untrackable(value: object) -> bool:
    """Whether equal values of this kind are one and the same object, so that identity says nothing of origin."""
    kind = type(value)
    if kind is int:
        return value in _SMALL_INTS
    return value is None or kind is bool or value is Ellipsis or value is NotImplemented
