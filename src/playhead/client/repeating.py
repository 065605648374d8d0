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
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeAlias, TypeVar

from playhead.exceptions import ConnectionLost, DeadlinePassed, PlayheadError, ShuttingDown, is_unanswered
from playhead.journal.errors import JournalUnavailable
from playhead.light_futures import LightFuture
from playhead.timer import call_later

TIMEOUT_S = 60.0
"""How long a request is sent again, and its answer waited for, unless a client is made with another bound."""

PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 1.0

SEND_AGAIN = (JournalUnavailable, ShuttingDown, ConnectionLost)

Answer = TypeVar("Answer")

Attempt: TypeAlias = Callable[[float, LightFuture[Answer]], None]
"""Sends a request that may take so many seconds, and has its answer, or its error, set in a future."""

logger = logging.getLogger("playhead.client")


class Repeating:
    """Sends the requests of one client until they are answered, each for `timeout_s` at most.

    An attempt is given the seconds that are left. The log tells of the first error of an outage, and of its end.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.closed = False
        """Whether the client was closed: nothing is sent again then."""
        self._lock = threading.Lock()
        self._repeated = 0  # requests that wait to be sent again, or for the answer to that
        self.is_away = False
        """Whether requests were refused, and none of those that were is answered yet."""

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
                attempts.end(answered=True)
                return answer
            time.sleep(pause_s)

    def submit(self, attempt: Attempt[Answer], timeout_s: float | None = None) -> LightFuture[Answer]:
        """As `call`, without waiting. An attempt gives its answer, or its error, to the future that it is given.

        Further attempts begin in this process's timer thread.
        """
        return _Submitted(self, attempt, self.timeout_s if timeout_s is None else timeout_s)

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
                            attempts.end(answered=True)
                        answered = True
                        yield response
                return
            except PlayheadError as error:
                if answered or (pause_s := attempts.pause_s(error)) is None:
                    raise
            time.sleep(pause_s)

    def repeats(self, error: PlayheadError, left_s: float, first: bool) -> None:
        """A request is to be sent again, for the `first` time or once more."""
        with self._lock:
            self._repeated += first
            tells, self.is_away = not self.is_away, True
        if tells:
            logger.warning("The service is away; requests are sent again, this one for %.0f s: %s", left_s, error)
        logger.debug("A request is sent again, with %.1f s left: %s", left_s, error)

    def ends(self, repeated: bool, answered: bool) -> None:
        """A request is answered, or given up. As long as others wait, the answer to one that did not tells nothing."""
        with self._lock:
            self._repeated -= repeated
            tells = self.is_away and answered and (repeated or not self._repeated)
            self.is_away = self.is_away and not tells
        if tells:
            logger.warning("The service answers again.")


class _Attempts:
    """How often one request was sent, and for how long it may still be."""

    __slots__ = ("_client", "_end", "_heard", "_is_repeated", "_pause_s")

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
        if isinstance(error, SEND_AGAIN) and pause_s < left_s and not self._client.closed:
            self._client.repeats(error, left_s, not self._is_repeated)
            self._is_repeated = True
            self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
            self._heard = None if isinstance(error, ConnectionLost) else error
            return pause_s
        self.end(answered=not is_unanswered(error))
        return None

    def end(self, answered: bool) -> None:
        """It is answered, with a response or an error, or given up."""
        if self._is_repeated or self._client.is_away:
            self._client.ends(self._is_repeated, answered)

    def heard_before(self, error: PlayheadError) -> PlayheadError:
        """What the service said before the time was over, which says more than that it was; else the error."""
        return self._heard if self._heard is not None and isinstance(error, DeadlinePassed) else error


class _Submitted(LightFuture[Answer]):
    """A request whose answer is not waited for. An error that says so has it sent again, and does not end it."""

    __slots__ = ("_attempt", "_attempts")

    def __init__(self, client: Repeating, attempt: Attempt[Answer], timeout_s: float) -> None:
        super().__init__()
        self._attempt, self._attempts = attempt, _Attempts(client, timeout_s)
        self._send()

    def set_result(self, result: Answer) -> None:
        """It is answered."""
        self._attempts.end(answered=True)
        super().set_result(result)

    def set_exception(self, exception: BaseException) -> None:
        """An attempt has failed: it is sent again, or that is its end."""
        if isinstance(exception, PlayheadError):
            pause_s = self._attempts.pause_s(exception)
            if pause_s is not None:
                call_later(pause_s, self._send)
                return
            exception = self._attempts.heard_before(exception)
        super().set_exception(exception)

    def _send(self) -> None:
        try:
            self._attempt(self._attempts.left_s(), self)
        except Exception as error:  # handed to whoever asks the future
            self.set_exception(error)
