"""Waiting for what others do, on the streams of the service: nobody asks again and again.

A stream is listened to for a bounded time, so that neither a thread nor a call outlives for long what it waited for;
then, and where it breaks, again from the last revision seen.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from typing import Any
from weakref import WeakKeyDictionary

from playhead import v1
from playhead.client.interface import RECEIVE_INPUTS, WATCH_RUN, Client, Streaming
from playhead.engine.execution.settling import settle
from playhead.exceptions import PlayheadError
from playhead.timer import call_later

LISTEN_S = 30.0
FIRST_LOOK_S = 10.0
"""How long the first message of a stream, which comes at once, may take."""

BROKEN_PAUSE_S = 0.2
"""Before a stream that broke is taken up again."""

GOES_ON = {v1.DEADLINE_PASSED, v1.SHUTTING_DOWN, v1.SUBSCRIBER_TOO_SLOW, v1.JOURNAL_UNAVAILABLE}
"""What may end a stream that can be taken up again."""

Wanted = Callable[[v1.State], bool]

logger = logging.getLogger("playhead.engine")


def state_wanted(client: Client, flow_run_id: str, wanted: Wanted, seconds: float | None) -> Future[v1.State | None]:
    """A future of the first state of a flow run that is wanted: the one it is in, or one to come.

    None once `seconds` are over. All that wait for one run share a stream and its thread.
    """
    future: Future[v1.State | None] = Future()
    with _lock:
        watches = _watches.setdefault(client, {})
        watch = watches.get(flow_run_id)
        if watch is None:
            watch = watches[flow_run_id] = _Watch(client, flow_run_id)
        watch.waiting[future] = wanted
        latest = watch.latest
    if latest is not None and wanted(latest):
        watch.settle(future, latest)
    elif seconds is not None:
        alarm = call_later(seconds, lambda: watch.settle(future, None))
        future.add_done_callback(lambda _: alarm.cancel())
    watch.start()
    return future


def inputs_wanted(
    client: Client,
    request: v1.ReceiveInputsRequest,
    seconds: float | None,
    ended_by: Callable[[Future[Any]], None] | None = None,
) -> Future[v1.ReceiveInputsResponse | None]:
    """A future of the first message with inputs: those that are there, or the next to come.

    None once `seconds` are over, 0: when none is there. `ended_by` is told of the future, and may end it. A thread
    listens meanwhile; it ends with the future, or, when that is given up, within `LISTEN_S`.
    """
    future: Future[v1.ReceiveInputsResponse | None] = Future()
    if ended_by is not None:
        ended_by(future)

    def listen() -> None:
        try:
            settle(future, _first_inputs(client, request, lambda: not future.done(), seconds))
        except PlayheadError as error:
            settle(future, error)

    threading.Thread(target=listen, name="playhead-inputs", daemon=True).start()
    return future


def _first_inputs(
    client: Client, request: v1.ReceiveInputsRequest, is_wanted: Callable[[], bool], seconds: float | None
) -> v1.ReceiveInputsResponse | None:
    end = None if seconds is None else time.monotonic() + seconds
    # Looking takes what it takes, however little time is given; what is left of that is for what comes.
    with closing(messages(client, RECEIVE_INPUTS, request, is_wanted, FIRST_LOOK_S)) as looking:
        seen = next(looking, None)
    left_s = None if end is None else max(end - time.monotonic(), 0.0)
    if seen is None or not seen.inputs:
        with closing(messages(client, RECEIVE_INPUTS, request, is_wanted, left_s)) as coming:
            seen = next((response for response in coming if response.inputs), None)
    return seen


class _Watch:
    """One flow run's states, and who waits for which. Its thread ends when it finds that nobody waits."""

    def __init__(self, client: Client, flow_run_id: str) -> None:
        self.waiting: dict[Future[v1.State | None], Wanted] = {}
        self.latest: v1.State | None = None
        self._client = client
        self._flow_run_id = flow_run_id
        self._started = False

    def start(self) -> None:
        """Begin to listen, once."""
        with _lock:
            begin, self._started = not self._started, True
        if begin:
            threading.Thread(target=self._listen, name="playhead-watch", daemon=True).start()

    def settle(self, future: Future[v1.State | None], outcome: v1.State | PlayheadError | None) -> None:
        """End the wait for a future, unless it has ended."""
        with _lock:
            waits = self.waiting.pop(future, None) is not None
        if not (waits and future.set_running_or_notify_cancel()):
            return
        if isinstance(outcome, PlayheadError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _listen(self) -> None:
        request = v1.WatchRunRequest(flow_run_id=self._flow_run_id)
        error: PlayheadError | None = None
        try:
            for response in messages(self._client, WATCH_RUN, request, self._is_wanted):
                self._tell(response.flow_run.status.state)
        except PlayheadError as raised:
            error = raised
        with _lock:
            self._forget()
            waiting = list(self.waiting)
        for future in waiting:
            self.settle(future, error)

    def _tell(self, state: v1.State) -> None:
        with _lock:
            self.latest = state
            waiting = list(self.waiting.items())
        for future, wanted in waiting:
            if wanted(state):
                self.settle(future, state)

    def _is_wanted(self) -> bool:
        with _lock:
            for future in [future for future in self.waiting if future.done()]:
                del self.waiting[future]
            if not self.waiting:
                self._forget()
            return bool(self.waiting)

    def _forget(self) -> None:
        """Whoever comes from now on has a watch of their own."""
        watches = _watches.get(self._client)
        if watches is not None and watches.get(self._flow_run_id) is self:
            del watches[self._flow_run_id]


def messages(
    client: Client,
    method: Streaming[Any, Any],
    request: Any,
    is_wanted: Callable[[], bool],
    seconds: float | None = None,
) -> Generator[Any, None, None]:
    """The messages of a stream that follows, while they are wanted, for so many seconds at most; None: without end.

    The request has an `after_revision`, which moves on with what was seen. Raises what is no interruption: NotFound.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while is_wanted():
        now = time.monotonic()
        part_end = now + LISTEN_S if end is None else min(now + LISTEN_S, end)
        if part_end <= now:
            return
        try:
            with closing(client.stream(method, request, timeout_s=part_end - now)) as stream:
                for response in stream:
                    request.after_revision = response.meta.revision
                    yield response
                    if not is_wanted():
                        return
        except PlayheadError as error:
            if error.reason not in GOES_ON:
                raise
            if (left := part_end - time.monotonic()) > 0:
                logger.debug("A stream broke and is taken up again: %s", error)
                time.sleep(min(left, BROKEN_PAUSE_S))


_watches: WeakKeyDictionary[Client, dict[str, _Watch]] = WeakKeyDictionary()
_lock = threading.RLock()
