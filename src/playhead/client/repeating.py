"""Sending again: upon which errors, after which pauses, and for how long. One rule for both clients.

    JournalUnavailable   the database is away, or another holds it
    ShuttingDown         the server drains
    ConnectionLost       the connection to the server broke

They say that the same request is to be sent again. That is safe: a command carries its request id, and reads have no
effect. Any other error is an answer.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from typing import TypeVar

from playhead.exceptions import ConnectionLost, DeadlinePassed, PlayheadError, ShuttingDown
from playhead.journal.errors import JournalUnavailable
from playhead.timer import call_later

TIMEOUT_S = 60.0
"""How long a request is sent again, and its answer waited for, unless a client is made with another bound."""

PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 1.0

SEND_AGAIN = (JournalUnavailable, ShuttingDown, ConnectionLost)

Answer = TypeVar("Answer")

logger = logging.getLogger("playhead.client")


class Repeating:
    """Sends the requests of one client until they are answered, each for `timeout_s` at most.

    An attempt is given the seconds that are left. The log tells of the first error of an outage, and of its end.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.closed = False
        """Whether the client was closed: nothing is sent again then."""
        self._away = False

    def call(self, attempt: Callable[[float], Answer], timeout_s: float | None = None) -> Answer:
        """The answer of an attempt that blocks, within `timeout_s` (default: the client's); or its last error."""
        attempts = _Attempts(self, self.timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                answer = attempt(attempts.left_s())
            except PlayheadError as error:
                pause_s = attempts.pause_s(error)
                if pause_s is None:
                    if (heard := attempts.heard_before(error)) is not error:
                        raise heard from None
                    raise
            else:
                attempts.answered()
                return answer
            time.sleep(pause_s)

    def submit(self, attempt: Callable[[float], Future[Answer]]) -> Future[Answer]:
        """As `call`, without waiting. Further attempts begin in this process's timer thread."""
        attempts = _Attempts(self, self.timeout_s)
        answer: Future[Answer] = Future()

        def send() -> None:
            try:
                attempt(attempts.left_s()).add_done_callback(hear)
            except Exception as error:  # handed to whoever asks the future
                fail(error)

        def hear(done: Future[Answer]) -> None:
            error = done.exception()
            if error is None:
                attempts.answered()
                if answer.set_running_or_notify_cancel():
                    answer.set_result(done.result())
            elif not isinstance(error, PlayheadError):
                fail(error)
            elif (pause_s := attempts.pause_s(error)) is None:
                fail(attempts.heard_before(error))
            else:
                call_later(pause_s, send)

        def fail(error: BaseException) -> None:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)

        send()
        return answer

    def stream(
        self, attempt: Callable[[float | None], Generator[Answer, None, None]], timeout_s: float | None
    ) -> Generator[Answer, None, None]:
        """The answers of a stream. It is sent again up to its first answer; the caller knows how to go on after that.

        `timeout_s` bounds all of it, None: nothing does, but the first answer comes within the client's bound.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        attempts = _Attempts(self, self.timeout_s if timeout_s is None else min(timeout_s, self.timeout_s))
        answered = False
        while True:
            try:
                with closing(attempt(None if end is None else max(end - time.monotonic(), 0.0))) as stream:
                    for response in stream:
                        if not answered:
                            attempts.answered()
                        answered = True
                        yield response
                return
            except PlayheadError as error:
                if answered or (pause_s := attempts.pause_s(error)) is None:
                    raise
            time.sleep(pause_s)

    def is_away(self, error: PlayheadError, left_s: float) -> None:
        """A request is to be sent again."""
        if not self._away:
            logger.warning("The service is away; requests are sent again, this one for %.0f s: %s", left_s, error)
        logger.debug("A request is sent again, with %.1f s left: %s", left_s, error)
        self._away = True

    def is_back(self) -> None:
        """A request that was sent again is answered."""
        if self._away:
            logger.warning("The service answers again.")
        self._away = False

    def is_given_up(self) -> None:
        """A request that was sent again is not any more: what asked for it tells why, and the next outage is new."""
        self._away = False


class _Attempts:
    """How often one request was sent, and for how long it may still be."""

    def __init__(self, client: Repeating, timeout_s: float) -> None:
        self._client = client
        self._end = time.monotonic() + timeout_s
        self._pause_s = PAUSE_S_MIN
        self._is_repeated = False
        self._heard: PlayheadError | None = None

    def left_s(self) -> float:
        """Seconds until it is given up."""
        return max(self._end - time.monotonic(), 0.0)

    def pause_s(self, error: PlayheadError) -> float | None:
        """Seconds until it is sent again, after an error; None: it is not."""
        pause_s = self._pause_s * random.uniform(0.5, 1.0)  # all who wait for the same come at different times
        left_s = self.left_s()
        if not isinstance(error, (*SEND_AGAIN, DeadlinePassed)):
            self.answered()
        elif isinstance(error, SEND_AGAIN) and pause_s < left_s and not self._client.closed:
            self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
            self._is_repeated = True
            self._heard = None if isinstance(error, ConnectionLost) else error
            self._client.is_away(error, left_s)
            return pause_s
        elif self._is_repeated:
            self._client.is_given_up()
        return None

    def answered(self) -> None:
        """It is answered, with a response or an error."""
        if self._is_repeated:
            self._client.is_back()

    def heard_before(self, error: PlayheadError) -> PlayheadError:
        """What the service said before the time was over, which says more than that it was; else the error."""
        return self._heard if self._heard is not None and isinstance(error, DeadlinePassed) else error
