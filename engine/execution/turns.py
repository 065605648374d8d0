"""Waiting in line for slots of a concurrency limit: one stream of a client tells all its runs when it is their turn."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from weakref import WeakKeyDictionary

from playhead import v1
from playhead.client.interface import READ_EVENTS, WATCH_EVENTS, Client
from playhead.engine.execution.watching import messages, state_wanted
from playhead.exceptions import PlayheadError
from playhead.timer import call_later

SERVED = ["slots_granted", "slots_refused"]
"""The events that end a run's time in line: it has its slots, or never will and is to hear why."""

logger = logging.getLogger("playhead.engine")


def turn_of(client: Client, run_id: str, after: int, seconds: float, flow_run_id: str = "") -> Future[None]:
    """A future that is done once a run that waits was served after a revision, or the flow run it is in was stopped; at
    the latest after so many seconds.
    """
    with _lock:
        turns = _turns.get(client)
        if turns is None:
            turns = _turns[client] = Turns(client)
    return turns.wait(run_id, after, seconds, flow_run_id)


class Turns:
    """The runs of one client that wait. A thread follows the grants while there are any."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, Future[None]] = {}
        self._changed = threading.Lock()
        self._following = False

    def wait(self, run_id: str, after: int, seconds: float, flow_run_id: str = "") -> Future[None]:
        """See `turn_of`."""
        turn: Future[None] = Future()
        with self._changed:
            self._waiting[run_id] = turn
            begin, self._following = not self._following, True
        if begin:
            threading.Thread(target=self._follow, args=(after,), name="playhead-turns", daemon=True).start()
        if self._was_served(run_id, after):
            self._end(run_id)
        else:
            alarm = call_later(seconds, lambda: self._end(run_id))
            turn.add_done_callback(lambda _: alarm.cancel())
            if flow_run_id:
                stopped = state_wanted(self._client, flow_run_id, _is_stopped, seconds)
                stopped.add_done_callback(lambda _: self._end_if_stopped(run_id, stopped))
                turn.add_done_callback(lambda _: stopped.cancel())
        return turn

    def _end_if_stopped(self, run_id: str, stopped: Future[v1.State | None]) -> None:
        # A stream that can not be followed ends no wait: it would only begin again.
        if not stopped.cancelled() and stopped.exception() is None:
            self._end(run_id)

    def _was_served(self, run_id: str, after: int) -> bool:
        """Whether that was before anybody listened; an error leaves the run to its alarm."""
        request = v1.ReadEventsRequest(
            filter=v1.EventFilter(stream=run_id, kinds=SERVED), from_revision=after + 1, limit=1
        )
        try:
            return any(response.events for response in self._client.stream(READ_EVENTS, request))
        except PlayheadError as error:
            logger.debug("Whether run %s was served can not be read; it asks again: %s", run_id, error)
            return False

    def _follow(self, after: int) -> None:
        """Tell the runs of their grants until nobody waits. An error leaves them to their alarms."""
        request = v1.WatchEventsRequest(filter=v1.EventFilter(kinds=SERVED), after_revision=after)
        try:
            for response in messages(self._client, WATCH_EVENTS, request, self._is_wanted):
                for event in response.page.events:
                    self._end(event.stream)
        except PlayheadError as error:
            logger.debug("The stream of grants ended; runs that wait ask again: %s", error)
            with self._changed:
                self._following = False

    def _is_wanted(self) -> bool:
        """Whether anybody waits; if not, the next one begins to follow anew."""
        with self._changed:
            self._following = bool(self._waiting)
            return self._following

    def _end(self, run_id: str) -> None:
        with self._changed:
            turn = self._waiting.pop(run_id, None)
        if turn is not None and turn.set_running_or_notify_cancel():
            turn.set_result(None)


def _is_stopped(state: v1.State) -> bool:
    """Whether a flow run in this state starts no more task runs, and will not again."""
    return state.type not in (v1.SCHEDULED, v1.PENDING, v1.RUNNING, v1.PAUSED)


_turns: WeakKeyDictionary[Client, Turns] = WeakKeyDictionary()
_lock = threading.Lock()
