"""Signals: what ends the work on a run from outside its code.

Signal (a BaseException, so that `except Exception` in a flow does not swallow it)
├── Abort               the service refused to let the run go on: stop working on it
├── Pause               the run was moved to PAUSED: leave it, it is run again when it is resumed
└── ExternalSignal
    └── TerminationSignal   the process was asked to end; `signal` is the number
"""

from __future__ import annotations


class Signal(BaseException):
    """Base of all signals."""


class Abort(Signal):
    """The service refused to let a run go on; the message is its reason. `rule` decided about `run_id`, if one did."""

    def __init__(self, message: str = "", rule: str = "", run_id: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.run_id = run_id


class Pause(Signal):
    """The run is paused. `state` is the PAUSED state that the service answered."""

    def __init__(self, message: str = "", state: object = None) -> None:
        super().__init__(message)
        self.state = state


class ExternalSignal(Signal):
    """Base of signals that the operating system sent."""


class TerminationSignal(ExternalSignal):
    """The process was asked to end. `signal` is the signal's number."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"Received signal {signal}.")
        self.signal = signal
