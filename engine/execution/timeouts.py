"""Timeouts of user functions: of coroutines by cancellation, of synchronous functions as follows.

main thread      an interval timer's signal raises RunTimedOut wherever the function is, blocking system calls included
other threads    RunTimedOut is raised at the function's next bytecode; a blocking system call is not interrupted, and
                 the
                 timeout is noticed when it returns
elsewhere        (Windows' main thread) as in other threads
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

from playhead.engine.execution.effects import RunTimedOut
from playhead.timer import call_later


@contextmanager
def time_limit(seconds: float | None, owner: object = None) -> Iterator[None]:
    """Raise `RunTimedOut(owner)` inside when it takes longer than so many seconds. None: no limit."""
    if seconds is None:
        yield
    elif threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        with _limit_by_signal(seconds, owner):
            yield
    else:
        with _limit_by_injection(seconds, owner):
            yield


@asynccontextmanager
async def time_limit_async(seconds: float | None, owner: object = None) -> AsyncIterator[None]:
    """The same for a coroutine, which is cancelled where it waits."""
    if seconds is None:
        yield
        return
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            cancelled = error.__cause__ or error
            raise RunTimedOut(owner).with_traceback(cancelled.__traceback__) from None
        raise


@contextmanager
def _limit_by_signal(seconds: float, owner: object) -> Iterator[None]:
    """Limits nest: an outer one that is due earlier stays in force, and is set again afterwards."""

    def expire(_: int, __: FrameType | None) -> None:
        raise RunTimedOut(owner)

    outer_remaining = signal.getitimer(signal.ITIMER_REAL)[0]
    if 0 < outer_remaining <= seconds:
        yield
        return
    started = time.monotonic()
    outer_handler = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, outer_handler)
        if outer_remaining:
            signal.setitimer(signal.ITIMER_REAL, max(outer_remaining - (time.monotonic() - started), 1e-6))


@contextmanager
def _limit_by_injection(seconds: float, owner: object) -> Iterator[None]:
    thread_id = threading.get_ident()
    lock = threading.Lock()
    over = expired = False

    def expire() -> None:
        nonlocal expired
        with lock:
            if not over:
                expired = True
                _raise_in(thread_id, RunTimedOut)

    alarm = call_later(seconds, expire)
    try:
        yield
    except RunTimedOut as signal_of:
        if expired and signal_of.owner is None:
            signal_of.owner = owner
        raise
    finally:
        with lock:
            over = True
        alarm.cancel()
    if expired:
        _raise_in(thread_id, None)
        raise RunTimedOut(owner)


def _raise_in(thread_id: int, exception: type[BaseException] | None) -> None:
    """Have an exception raised in a thread at its next bytecode; None takes back one that was not raised yet."""
    argument = ctypes.py_object(exception) if exception else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), argument)
