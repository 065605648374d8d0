"""Crash reports: a run whose process is interrupted ends CRASHED, with the reason, before the interruption goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from playhead import v1
from playhead.engine.execution.definitions import Definition
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.hooks import run_hooks
from playhead.engine.execution.outcomes import stored
from playhead.engine.execution.proposals import propose_shielded
from playhead.engine.signals import TerminationSignal
from playhead.exceptions import PlayheadError, is_unanswered
from playhead.logging.loggers import RunLogger
from playhead.runs import FlowRun, Run
from playhead.states import State, exception_to_crashed_state


def report_crash(
    definition: Definition, run: Run, error: BaseException, logger: RunLogger, request: v1.ProposeStateRequest
) -> Loop[State[Any]]:
    """Propose CRASHED with `request`.

    A report that can not be made is logged: the error that caused it matters more. Where nobody answers, none is made:
    that was waited for, and the run is Crashed when its lease has lapsed.
    """
    state, message = stored(exception_to_crashed_state(error), definition, logger)
    if is_unanswered(error):
        logger.error("Nobody answers, so what came of the run is not on record: %s", error)
        return state
    logger.error("Crash detected! %s", state.message)
    logger.debug("Crash details:", exc_info=error)
    request.state.CopyFrom(message)
    try:
        response = yield from propose_shielded(request)
    except PlayheadError as failure:
        logger.error("The crash could not be reported: %s", failure)
        return state
    except Exception:  # whatever it is, the crash itself is what the caller must hear of
        logger.exception("The crash could not be reported")
        return state
    if response.decision == v1.ACCEPT:
        run.state = state
        kind = "flow" if isinstance(run, FlowRun) else "task"
        logger.debug("Reported crashed %s run %r successfully!", kind, run.name)
        yield from run_hooks(definition, run, state, logger)
    else:
        logger.debug("Reported crashed run, but the state stays %s: %s", response.state.name, response.reason)
    return state


class Termination:
    """Whether SIGTERM was received while a flow run was executed."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def cause(self, error: BaseException) -> BaseException:
        """What really ended the run: an event loop passes a signal on as a cancellation."""
        return error if self.signal is None else TerminationSignal(self.signal)


class _SignalHandler:
    """The process's handler of SIGTERM, in force while at least one flow run is executed in the main thread."""

    def __init__(self) -> None:
        self._listeners: list[Termination] = []
        self._before: Any = signal.SIG_DFL

    def enter(self, listener: Termination) -> None:
        if not self._listeners:
            self._before = signal.signal(signal.SIGTERM, self._receive) or signal.SIG_DFL
        self._listeners.append(listener)

    def leave(self, listener: Termination) -> None:
        self._listeners.remove(listener)
        if not self._listeners:
            signal.signal(signal.SIGTERM, self._before)
            if listener.signal is not None:
                os.kill(os.getpid(), listener.signal)

    def _receive(self, number: int, _: FrameType | None) -> None:
        for listener in self._listeners:
            listener.signal = number
        raise TerminationSignal(number)


_handler = _SignalHandler()


@contextmanager
def capture_sigterm() -> Iterator[Termination]:
    """SIGTERM raises `TerminationSignal` inside; once that was reported, the signal takes the way it would have taken.

    Only the main thread receives signals: elsewhere, nothing changes. Flow runs that are executed beside each other in
    one event loop share the handler.
    """
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return
    _handler.enter(termination)
    try:
        yield termination
    finally:
        _handler.leave(termination)
