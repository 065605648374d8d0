"""States: what a run is in, and how to make, read and judge them.

`State.result()` is what most users need. Types drive orchestration; names are for people.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from playhead.exceptions import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    UnfinishedRun,
)

R = TypeVar("R")


class StateType(StrEnum):
    """The nine types of states."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"


TERMINAL_STATES = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED})
DISPLAY_NAMES = {kind: kind.value.capitalize() for kind in StateType}
_MISFORTUNES = {
    StateType.FAILED: (FailedRun, "Run failed."),
    StateType.CRASHED: (CrashedRun, "Run crashed."),
    StateType.CANCELLED: (CancelledRun, "Run cancelled."),
}


@dataclass(slots=True)
class StateDetails:
    """What orchestration needs to know about a state; None and False where it does not apply."""

    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None
    child_flow_run_id: UUID | None = None
    scheduled_time: datetime | None = None
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    refresh_cache: bool = False
    untrackable_result: bool = False
    pause_timeout: datetime | None = None
    pause_reschedule: bool = False
    pause_key: str | None = None
    run_input_key: str | None = None
    retriable: bool | None = None


class State(Generic[R]):
    """A state of a run.

    `data` is what the run produced: the value itself, or a stored result that is read when `result()` asks for it; for
    FAILED, CRASHED and CANCELLED it is the exception. `timestamp` is when it was recorded, or made, in UTC.
    """

    __slots__ = ("_details", "data", "message", "name", "timestamp", "type")

    def __init__(
        self,
        type: StateType,
        name: str | None = None,
        message: str | None = None,
        data: Any = None,
        timestamp: datetime | None = None,
        state_details: StateDetails | None = None,
    ) -> None:
        self.type = StateType(type)
        self.name = name or DISPLAY_NAMES[self.type]
        self.message = message
        self.data = data
        self.timestamp = timestamp or datetime.now(UTC)
        self._details = state_details

    @property
    def state_details(self) -> StateDetails:
        """What orchestration needs to know about this state."""
        if self._details is None:
            self._details = StateDetails()
        return self._details

    def result(self, raise_on_failure: bool = True, retry_result_failure: bool = True) -> Any:
        """What the run produced.

        A run that ended badly raises its exception, or returns it with `raise_on_failure=False`. Raises `PausedRun` and
        `UnfinishedRun` when there is no result yet, `MissingResult` when it was not stored, `CorruptResult` when what
        was stored is not what is there. `retry_result_failure` has no effect: stored results are there before the state
        is.
        """
        if self.type == StateType.PAUSED:
            raise PausedRun("Run is paused, its result is not available.", state=self)
        if self.type not in TERMINAL_STATES:
            raise UnfinishedRun(f"Run is in {self.name} state, its results are not available.")
        if self.type == StateType.COMPLETED:
            return self._value()
        error = get_state_exception(self)
        if raise_on_failure:
            raise error
        return error

    async def aresult(self, raise_on_failure: bool = True, retry_result_failure: bool = True) -> Any:
        """The same as `result`, for code that awaits it."""
        return self.result(raise_on_failure, retry_result_failure)

    def _value(self) -> Any:
        if isinstance(self.data, Unstored):
            return self.data.value
        return self.data.get() if isinstance(self.data, Retrievable) else self.data

    def is_scheduled(self) -> bool:
        """Will run later."""
        return self.type == StateType.SCHEDULED

    def is_pending(self) -> bool:
        """About to run."""
        return self.type == StateType.PENDING

    def is_running(self) -> bool:
        """User code is running."""
        return self.type == StateType.RUNNING

    def is_completed(self) -> bool:
        """Ended well."""
        return self.type == StateType.COMPLETED

    def is_failed(self) -> bool:
        """User code failed."""
        return self.type == StateType.FAILED

    def is_crashed(self) -> bool:
        """The infrastructure failed."""
        return self.type == StateType.CRASHED

    def is_cancelled(self) -> bool:
        """Cancelled on request."""
        return self.type == StateType.CANCELLED

    def is_cancelling(self) -> bool:
        """Cancellation was asked for and has not ended yet."""
        return self.type == StateType.CANCELLING

    def is_paused(self) -> bool:
        """Held until resumed."""
        return self.type == StateType.PAUSED

    def is_final(self) -> bool:
        """COMPLETED, FAILED, CANCELLED or CRASHED."""
        return self.type in TERMINAL_STATES

    def fresh_copy(self, **changes: Any) -> State[R]:
        """A copy with the time of now; `changes` replace its attributes."""
        new = copy(self)
        new.timestamp = datetime.now(UTC)
        for name, value in changes.items():
            setattr(new, "_details" if name == "state_details" else name, value)
        return new

    def model_copy(self, *, update: dict[str, Any] | None = None) -> State[R]:
        """A copy; `update` replaces its attributes."""
        return self.fresh_copy(**{"timestamp": self.timestamp, **(update or {})})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        details = self.state_details
        return (self.type, self.name, self.message, self.timestamp, details.flow_run_id, details.task_run_id)

    def __getstate__(self) -> tuple[Any, ...]:
        return (self.type, self.name, self.message, self.data, self.timestamp, self._details)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.type, self.name, self.message, self.data, self.timestamp, self._details = state

    def __str__(self) -> str:
        shown = [repr(self.message)] if self.message else []
        if DISPLAY_NAMES[self.type] != self.name:
            shown.append(f"type={self.type.value}")
        return f"{self.name}({', '.join(shown)})"

    def __repr__(self) -> str:
        shown = [f"message={self.message!r}"] if self.message else []
        shown.append(f"type={self.type.value}")
        if self.data is not None:
            shown.append(f"result={self.data!r}")
        return f"{self.name}({', '.join(shown)})"


class Retrievable:
    """Data of a state that has to be fetched: `get()` gives the value."""

    __slots__ = ()

    def get(self) -> Any:
        """Fetch the value. Raises `MissingResult` or `CorruptResult`."""
        raise NotImplementedError


class Unstored:
    """A value that is only in this process's memory; taken to another one, it is missing."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = [value]

    @property
    def value(self) -> Any:
        """The value. Raises `MissingResult` when this object came from another process."""
        if not self._value:
            raise MissingResult("The result was not persisted and is no longer available.")
        return self._value[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return (_missing, ())

    def __repr__(self) -> str:
        return repr(self._value[0]) if self._value else "<missing>"


def _missing() -> Unstored:
    lost = Unstored(None)
    lost._value.clear()
    return lost


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


def is_state(value: object) -> bool:
    """Whether it is a `State`."""
    return isinstance(value, State)


def is_state_iterable(value: object) -> bool:
    """Whether it is a set, list or tuple with at least one element, all of them states."""
    return isinstance(value, (set, list, tuple)) and bool(value) and all(isinstance(item, State) for item in value)


def get_state_result(state: State[R], raise_on_failure: bool = True) -> Any:
    """The same as `state.result()`."""
    return state.result(raise_on_failure)


def get_state_exception(state: State[Any]) -> BaseException:
    """The exception of a FAILED, CRASHED or CANCELLED state; of a state over several runs, that of the first bad one.

    Raises ValueError for other states, TypeError when the state's data is nothing that an exception can be made of.
    """
    if state.type not in _MISFORTUNES:
        raise ValueError(f"Expected failed or crashed state got {state!r}.")
    wrapper, default_message = _MISFORTUNES[state.type]
    try:
        data = state._value()
    except MissingResult:
        data = None
    if data is None:
        return wrapper(state.message or default_message)
    if isinstance(data, BaseException):
        return data
    if isinstance(data, str):
        return wrapper(data)
    if isinstance(data, State):
        return get_state_exception(data)
    if is_state_iterable(data):
        return _first_exception(data, state)
    raise TypeError(f"Unexpected result for failed state: {data!r} —— cannot be resolved into an exception")


def _first_exception(states: Iterable[State[Any]], of: State[Any]) -> BaseException:
    for state in states:
        if state.type in _MISFORTUNES:
            return get_state_exception(state)
    raise ValueError(f"Failed state result was an iterable of states but none were failed: {of!r}")


def raise_state_exception(state: State[Any]) -> None:
    """Raise the exception of a FAILED, CRASHED or CANCELLED state; other states pass."""
    if state.type in _MISFORTUNES:
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
    text = f"{type(exc).__name__}: {exc}"
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
