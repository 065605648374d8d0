"""What a state is: its type, its details, and what the run produced."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from playhead.exceptions import CancelledRun, CrashedRun, FailedRun, MissingResult, PausedRun, UnfinishedRun
from playhead.utilities.collections import Visited

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
MISFORTUNES = {
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


class State(Visited, Generic[R]):
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


def is_state_iterable(value: object) -> bool:
    """Whether it is a set, list or tuple with at least one element, all of them states."""
    return isinstance(value, (set, list, tuple)) and bool(value) and all(isinstance(item, State) for item in value)


def get_state_exception(state: State[Any]) -> BaseException:
    """The exception of a FAILED, CRASHED or CANCELLED state; of a state over several runs, that of the first bad one.

    Raises ValueError for other states, TypeError when the state's data is nothing that an exception can be made of.
    """
    if state.type not in MISFORTUNES:
        raise ValueError(f"Expected failed or crashed state got {state!r}.")
    wrapper, default_message = MISFORTUNES[state.type]
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
        if state.type in MISFORTUNES:
            return get_state_exception(state)
    raise ValueError(f"Failed state result was an iterable of states but none were failed: {of!r}")
