"""Futures of which there are many, three for each submitted task run, and few that anybody blocks on.

A future of the standard library is ten objects for the garbage collector, since it has all that waiting takes. This one
makes such a future when somebody waits; until then it is an object with a lock and a list.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

logger = logging.getLogger("playhead.engine")


class LightFuture(Generic[Result]):
    """A result, or an error, that comes once, from any thread."""

    __slots__ = ("_callbacks", "_error", "_lock", "_result", "_standard")

    _result: Result

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[LightFuture[Result]], Any]] | None = []  # None: it is done
        self._standard: Future[Result] | None = None

    def done(self) -> bool:
        """Whether the result or the error is there."""
        return self._callbacks is None

    def result(self, timeout: float | None = None) -> Result:
        """The result, waited for; or the error raised. Raises TimeoutError after `timeout` seconds."""
        if not self.done():
            return self.standard().result(timeout)
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error, waited for; None when there is a result. Raises TimeoutError after `timeout` seconds."""
        return self._error if self.done() else self.standard().exception(timeout)

    def add_done_callback(self, function: Callable[[LightFuture[Result]], Any]) -> None:
        """Call `function(future)` once it is done, in the thread that has the result; at once when it is."""
        with self._lock:
            if self._callbacks is not None:
                self._callbacks.append(function)
                return
        self._tell(function)

    def standard(self) -> Future[Result]:
        """The same as a future of the standard library's, for its functions to wait for: one for all who wait."""
        with self._lock:
            standard = self._standard
            if standard is None or standard.cancelled():
                standard = self._standard = Future()
                if self.done():
                    self._settle(standard)
        return standard

    def __await__(self) -> Generator[Any, None, Result]:
        """Wait in an event loop. To be cancelled ends this wait alone."""
        import asyncio  # loads where it is used

        return asyncio.shield(asyncio.wrap_future(self.standard())).__await__()

    def set_result(self, result: Result) -> None:
        """It has come to this. Raises InvalidStateError when it was done before."""
        self._end(result, None)

    def set_exception(self, exception: BaseException) -> None:
        """It has failed. Raises InvalidStateError when it was done before."""
        self._end(None, exception)

    def _end(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            callbacks, standard = self._callbacks, self._standard
            if callbacks is None:
                raise InvalidStateError(f"{self!r} was done before.")
            self._result, self._error, self._callbacks = result, error, None
        if standard is not None:
            self._settle(standard)
        raised: BaseException | None = None
        for function in callbacks:
            try:
                self._tell(function)
            except BaseException as error:  # it is to end the thread, after the others were told
                raised = error
        if raised is not None:
            raise raised

    def _settle(self, standard: Future[Result]) -> None:
        with suppress(InvalidStateError):  # it was cancelled: nobody waits for this one any more
            if self._error is not None:
                standard.set_exception(self._error)
            else:
                standard.set_result(self._result)

    def _tell(self, function: Callable[[LightFuture[Result]], Any]) -> None:
        try:
            function(self)
        except Exception:  # it is anybody's, and what came is there all the same
            logger.exception("The callback %r failed:", function)
