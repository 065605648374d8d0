"""What a flow run, while it is executed, remembers of the calls made in it."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import Any

from playhead.futures import PlayheadFuture
from playhead.states import Completed, State, StateGroup

MAKERS_MAX = 1_024
_SMALL_INTS = range(-5, 257)
_ENDED_WELL: State[Any] = Completed()


class FlowProgress:
    """Calls under way, how those that ended did, and which run made which object.

    A failure counts as seen when it was raised in the flow, or its state was asked for: then the flow had its chance to
    deal with it. `stop` is the signal that ends the flow run at its next call.
    """

    def __init__(self) -> None:
        self.stop: BaseException | None = None
        self.completed = 0
        self.failures: list[PlayheadFuture[Any]] = []
        self._outstanding: set[PlayheadFuture[Any]] = set()
        self._lock = threading.Lock()
        self._makers: OrderedDict[int, tuple[Any, str]] = OrderedDict()

    def check(self) -> None:
        """Raise the signal that ends the flow run, if there is one."""
        if self.stop is not None:
            raise self.stop

    def submitted(self, future: PlayheadFuture[Any]) -> None:
        """A call was submitted."""
        with self._lock:
            self._outstanding.add(future)
        future.add_done_callback(self._ended)

    def outstanding(self) -> list[PlayheadFuture[Any]]:
        """The submitted calls that have not ended."""
        with self._lock:
            return list(self._outstanding)

    def called(self, state: State[Any], run_id: str) -> None:
        """A direct call has ended; the flow has its result or its exception."""
        if state.is_completed():
            self.completed += 1
            self.remember(state, run_id)

    def remember(self, state: State[Any], run_id: str) -> None:
        """Remember which run made an object, so that calls it is passed to know where it came from."""
        value = state.result()
        if is_untrackable(value):
            return
        try:
            holder: Any = weakref.ref(value)
        except TypeError:  # strings, lists, dicts: kept themselves, so that their identity is not used again
            holder = value
        with self._lock:
            self._makers[id(value)] = (holder, run_id)
            if len(self._makers) > MAKERS_MAX:
                self._makers.popitem(last=False)

    def maker_of(self, value: Any) -> str | None:
        """The task run that made this very object, if it is remembered."""
        if not self._makers:
            return None
        holder, run_id = self._makers.get(id(value), (None, None))
        held = holder() if isinstance(holder, weakref.ref) else holder
        return run_id if held is value and not is_untrackable(value) else None

    def verdict(self) -> State[Any]:
        """The final state of a flow that returned nothing: it fails when a submitted call failed and nobody has seen
        it.
        """
        unseen = [future.state for future in self.failures if not future.failure_seen]
        total = self.completed + len(unseen)
        if not total:
            return Completed()
        if not unseen:
            return Completed(message="All states completed.")
        return StateGroup([*unseen, *[_ENDED_WELL] * self.completed]).judge().fresh_copy(data=unseen)

    def _ended(self, future: PlayheadFuture[Any]) -> None:
        error = future.error()
        with self._lock:
            self._outstanding.discard(future)
            if error is not None:
                self.stop = self.stop or error
            elif future.state.is_completed():
                self.completed += 1
            else:
                self.failures.append(future)


def is_untrackable(value: object) -> bool:
    """Whether equal values of this kind are one and the same object, so that identity says nothing of origin."""
    kind = type(value)
    if kind is int:
        return value in _SMALL_INTS
    return value is None or kind is bool or value is Ellipsis or value is NotImplemented
