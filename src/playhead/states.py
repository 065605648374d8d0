"""States: what a run is in, and how to make, read and judge them.

`State.result()` is what most users need. Types drive orchestration; names are for people.
"""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from playhead.serialization import text_of_exception
from playhead.state import (
    DISPLAY_NAMES,
    MISFORTUNES,
    TERMINAL_STATES,
    R,
    Retrievable,
    State,
    StateDetails,
    StateType,
    Unstored,
    get_state_exception,
    is_state_iterable,
)

__all__ = [
    "DISPLAY_NAMES",
    "TERMINAL_STATES",
    "AwaitingConcurrencySlot",
    "AwaitingRetry",
    "Cancelled",
    "Cancelling",
    "Completed",
    "Crashed",
    "Failed",
    "InfrastructurePending",
    "Late",
    "Paused",
    "Pending",
    "Retrievable",
    "Retrying",
    "Running",
    "Scheduled",
    "State",
    "StateDetails",
    "StateGroup",
    "StateType",
    "Submitting",
    "Suspended",
    "Unstored",
    "exception_to_crashed_state",
    "exception_to_failed_state",
    "format_exception",
    "get_state_exception",
    "get_state_result",
    "is_state",
    "is_state_iterable",
    "raise_state_exception",
    "return_value_to_state",
]


def Scheduled(scheduled_time: datetime | None = None, cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """Will run at `scheduled_time`, by default now."""
    return _make(StateType.SCHEDULED, None, cls, kwargs, scheduled_time=scheduled_time or datetime.now(UTC))


def Late(scheduled_time: datetime | None = None, cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """Should have run at `scheduled_time`."""
    return Scheduled(scheduled_time, cls, **{"name": "Late", **kwargs})


def AwaitingRetry(scheduled_time: datetime | None = None, cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """Failed, and will run again at `scheduled_time`."""
    return Scheduled(scheduled_time, cls, **{"name": "AwaitingRetry", **kwargs})


def AwaitingConcurrencySlot(
    scheduled_time: datetime | None = None, cls: type[State[Any]] = State, **kwargs: Any
) -> State[Any]:
    """Waits for a slot, and will ask again at `scheduled_time`."""
    return Scheduled(scheduled_time, cls, **{"name": "AwaitingConcurrencySlot", **kwargs})


def Pending(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """About to run."""
    return _make(StateType.PENDING, None, cls, kwargs)


def Submitting(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """PENDING: being given to its infrastructure."""
    return _make(StateType.PENDING, "Submitting", cls, kwargs)


def InfrastructurePending(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """PENDING: its infrastructure is being made."""
    return _make(StateType.PENDING, "InfrastructurePending", cls, kwargs)


def Running(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """User code is running."""
    return _make(StateType.RUNNING, None, cls, kwargs)


def Retrying(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """RUNNING again after a failure."""
    return _make(StateType.RUNNING, "Retrying", cls, kwargs)


def Completed(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """Ended well."""
    return _make(StateType.COMPLETED, None, cls, kwargs)


def Failed(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """User code failed."""
    return _make(StateType.FAILED, None, cls, kwargs)


def Crashed(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """The infrastructure failed."""
    return _make(StateType.CRASHED, None, cls, kwargs)


def Cancelling(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """Cancellation was asked for and has not ended yet."""
    return _make(StateType.CANCELLING, None, cls, kwargs)


def Cancelled(cls: type[State[Any]] = State, **kwargs: Any) -> State[Any]:
    """Cancelled on request."""
    return _make(StateType.CANCELLED, None, cls, kwargs)


def Paused(
    cls: type[State[Any]] = State,
    timeout_seconds: float | None = None,
    pause_expiration_time: datetime | None = None,
    reschedule: bool = False,
    pause_key: str | None = None,
    **kwargs: Any,
) -> State[Any]:
    """Held until resumed; fails at `pause_expiration_time` or after `timeout_seconds`, not both. Neither: for ever."""
    if timeout_seconds is not None and pause_expiration_time is not None:
        raise ValueError("Cannot supply both of `pause_expiration_time` and `timeout_seconds`")
    if timeout_seconds is not None:
        pause_expiration_time = datetime.now(UTC) + timedelta(seconds=timeout_seconds)
    return _make(
        StateType.PAUSED,
        None,
        cls,
        kwargs,
        pause_timeout=pause_expiration_time,
        pause_reschedule=reschedule or None,
        pause_key=pause_key,
    )


def Suspended(
    cls: type[State[Any]] = State,
    timeout_seconds: float | None = None,
    pause_expiration_time: datetime | None = None,
    pause_key: str | None = None,
    **kwargs: Any,
) -> State[Any]:
    """PAUSED: the process ends, and the run is scheduled again when it is resumed."""
    kwargs.setdefault("name", "Suspended")
    return Paused(cls, timeout_seconds, pause_expiration_time, True, pause_key, **kwargs)


def _make(
    kind: StateType, name: str | None, cls: type[State[Any]], kwargs: dict[str, Any], **details: object
) -> State[Any]:
    given = {key: value for key, value in details.items() if value is not None}
    if given:
        kwargs["state_details"] = _with_details(kwargs.get("state_details"), given)
    if name is not None:
        kwargs.setdefault("name", name)
    return cls(type=kind, **kwargs)


def _with_details(details: StateDetails | None, given: dict[str, object]) -> StateDetails:
    details = copy(details) if details else StateDetails()
    for key, value in given.items():
        if getattr(details, key) and key == "scheduled_time":
            raise ValueError("An extra scheduled_time was provided in state_details")
        setattr(details, key, value)
    return details


def is_state(value: object) -> bool:
    """Whether it is a `State`."""
    return isinstance(value, State)


def get_state_result(state: State[R], raise_on_failure: bool = True) -> Any:
    """The same as `state.result()`."""
    return state.result(raise_on_failure)


def raise_state_exception(state: State[Any]) -> None:
    """Raise the exception of a FAILED, CRASHED or CANCELLED state; other states pass."""
    if state.type in MISFORTUNES:
        raise get_state_exception(state)


@dataclass
class StateGroup:
    """Several states, counted."""

    states: list[State[Any]]
    type_counts: dict[StateType, int] = field(init=False)

    def __post_init__(self) -> None:
        self.type_counts = dict.fromkeys(StateType, 0)
        for state in self.states:
            self.type_counts[state.type] += 1

    @property
    def total_count(self) -> int:
        """How many states there are."""
        return len(self.states)

    @property
    def fail_count(self) -> int:
        """How many are FAILED or CRASHED."""
        return self.type_counts[StateType.FAILED] + self.type_counts[StateType.CRASHED]

    def all_completed(self) -> bool:
        """Every run ended well."""
        return self.type_counts[StateType.COMPLETED] == self.total_count

    def any_cancelled(self) -> bool:
        """At least one is CANCELLED."""
        return self.type_counts[StateType.CANCELLED] > 0

    def any_failed(self) -> bool:
        """At least one is FAILED or CRASHED."""
        return self.fail_count > 0

    def any_paused(self) -> bool:
        """At least one is PAUSED."""
        return self.type_counts[StateType.PAUSED] > 0

    def all_final(self) -> bool:
        """Every run has ended."""
        return sum(self.type_counts[kind] for kind in TERMINAL_STATES) == self.total_count

    def counts_message(self) -> str:
        """ "total=3 'COMPLETED'=2 'FAILED'=1"."""
        counts = (f"{kind.value!r}={count}" for kind, count in self.type_counts.items() if count)
        return " ".join([f"total={self.total_count}", *counts])

    def judge(self) -> State[Any]:
        """One state for all of them: completed if all are, else cancelled, paused or failed, in this order."""
        total = self.total_count
        if self.all_completed():
            return Completed(message="All states completed.", data=self.states)
        if self.any_cancelled():
            count = self.type_counts[StateType.CANCELLED]
            return Cancelled(message=f"{count}/{total} states cancelled.", data=self.states)
        if self.any_paused():
            return Paused(message=f"{self.type_counts[StateType.PAUSED]}/{total} states paused.", data=self.states)
        if self.any_failed():
            return Failed(message=f"{self.fail_count}/{total} states failed.", data=self.states)
        unfinished = total - sum(self.type_counts[kind] for kind in TERMINAL_STATES)
        return Failed(message=f"{unfinished}/{total} states are not final.", data=self.states)


def return_value_to_state(value: Any) -> State[Any]:
    """The final state of a run whose function returned `value`.

    A state is taken as it is; one that belongs to another run, or a set, list or tuple of states, is judged: completed
    when all are, else cancelled, paused or failed, in this order. An exception means FAILED. Anything else is a result.
    """
    if isinstance(value, State):
        details = value.state_details
        if details.flow_run_id is None and details.task_run_id is None:
            return value
        return StateGroup([value]).judge().fresh_copy(data=value)
    if is_state_iterable(value):
        return StateGroup(list(value)).judge()
    if isinstance(value, BaseException):
        return exception_to_failed_state(value)
    return Completed(data=value)


def exception_to_failed_state(
    exc: BaseException | None = None, message: str | None = None, name: str | None = None
) -> State[Any]:
    """FAILED, with the exception as data; without one, the exception that is being handled."""
    exc = exc or sys.exception()
    if exc is None:
        raise ValueError("Exception was not passed and no active exception could be found.")
    text = f"{type(exc).__name__}: {text_of_exception(exc)}"
    return Failed(name=name, message=f"{message.rstrip()} {text}" if message else text, data=exc)


def exception_to_crashed_state(exc: BaseException) -> State[Any]:
    """CRASHED, with a message that says what ended the run and the exception as data."""
    return Crashed(message=_crash_message(exc), data=exc)


def _crash_message(exc: BaseException) -> str:
    from playhead.engine.signals import TerminationSignal  # the room of the engine stands above this module

    if type(exc).__name__ in {"CancelledError", "Cancelled", "RunTimedOut"}:
        return "Execution was cancelled by the runtime environment."
    if isinstance(exc, KeyboardInterrupt):
        return "Execution was aborted by an interrupt signal."
    if isinstance(exc, TerminationSignal):
        return "Execution was aborted by a termination signal."
    if isinstance(exc, SystemExit):
        return "Execution was aborted by Python system exit call."
    return f"Execution was interrupted by an unexpected exception: {format_exception(exc)}"


def format_exception(exc: BaseException) -> str:
    """ "ValueError: what it says"."""
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
