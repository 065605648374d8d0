"""States: constructors, judging several of them, what they show and what they give."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from playhead.engine.execution.translation import message_of, state_of
from playhead.exceptions import CancelledRun, CrashedRun, FailedRun, PausedRun, UnfinishedRun
from playhead.serializers import dumps, loads
from playhead.states import (
    AwaitingConcurrencySlot,
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    InfrastructurePending,
    Late,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    StateDetails,
    StateGroup,
    StateType,
    Submitting,
    Suspended,
    exception_to_failed_state,
    get_state_exception,
    get_state_result,
    is_state,
    is_state_iterable,
    raise_state_exception,
    return_value_to_state,
)
from playhead.stored_results import StoredResult


@pytest.mark.parametrize(
    ("make", "kind", "name"),
    [
        (Scheduled, StateType.SCHEDULED, "Scheduled"),
        (Late, StateType.SCHEDULED, "Late"),
        (AwaitingRetry, StateType.SCHEDULED, "AwaitingRetry"),
        (AwaitingConcurrencySlot, StateType.SCHEDULED, "AwaitingConcurrencySlot"),
        (Pending, StateType.PENDING, "Pending"),
        (Submitting, StateType.PENDING, "Submitting"),
        (InfrastructurePending, StateType.PENDING, "InfrastructurePending"),
        (Running, StateType.RUNNING, "Running"),
        (Retrying, StateType.RUNNING, "Retrying"),
        (Completed, StateType.COMPLETED, "Completed"),
        (Failed, StateType.FAILED, "Failed"),
        (Crashed, StateType.CRASHED, "Crashed"),
        (Cancelled, StateType.CANCELLED, "Cancelled"),
        (Cancelling, StateType.CANCELLING, "Cancelling"),
        (Paused, StateType.PAUSED, "Paused"),
        (Suspended, StateType.PAUSED, "Suspended"),
    ],
)
def test_constructors(make: Any, kind: StateType, name: str) -> None:
    state = make()
    assert (state.type, state.name) == (kind, name)
    assert make(name="Other", message="why").name == "Other"
    assert state.is_final() == (kind in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
    assert getattr(state, f"is_{kind.value.lower()}")()
    assert (state.state_details.scheduled_time is not None) == (kind == StateType.SCHEDULED)


def test_contradictory_arguments_are_refused() -> None:
    now = datetime.now(UTC)
    with pytest.raises(ValueError, match="scheduled_time"):
        Scheduled(now, state_details=StateDetails(scheduled_time=now))
    with pytest.raises(ValueError, match="timeout_seconds"):
        Paused(timeout_seconds=1, pause_expiration_time=now)
    with pytest.raises(ValueError, match="NOSUCH"):
        State(type="NOSUCH")  # type: ignore[arg-type]  # wrong on purpose


def test_pauses_say_until_when() -> None:
    state = Suspended(timeout_seconds=60, pause_key="k")
    assert state.state_details.pause_reschedule
    assert state.state_details.pause_key == "k"
    assert state.state_details.pause_timeout is not None
    assert state.state_details.pause_timeout - datetime.now(UTC) <= timedelta(seconds=60)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Completed(), "Completed()"),
        (Completed(message="All states completed."), "Completed('All states completed.')"),
        (Completed(name="Cached"), "Cached(type=COMPLETED)"),
        (Failed(name="TimedOut", message="late"), "TimedOut('late', type=FAILED)"),
    ],
)
def test_what_a_state_shows(state: State[Any], text: str) -> None:
    assert str(state) == text


def test_repr_shows_the_result() -> None:
    assert repr(Completed(data=[1])) == "Completed(type=COMPLETED, result=[1])"


def test_results() -> None:
    assert Completed(data=5).result() == 5
    assert get_state_result(Completed()) is None
    with pytest.raises(PausedRun):
        Paused().result()
    with pytest.raises(UnfinishedRun, match="Running state"):
        Running().result()
    with pytest.raises(KeyError):
        Failed(data=KeyError("k")).result()
    assert isinstance(Failed(data=KeyError("k")).result(raise_on_failure=False), KeyError)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (Failed(), FailedRun, "Run failed."),
        (Crashed(), CrashedRun, "Run crashed."),
        (Cancelled(), CancelledRun, "Run cancelled."),
        (Failed(message="why"), FailedRun, "why"),
        (Failed(data="text"), FailedRun, "text"),
        (Failed(data=Failed(data=OSError("inner"))), OSError, "inner"),
        (Failed(data=[Completed(), Crashed(), Failed()]), CrashedRun, "Run crashed."),
    ],
    ids=repr,
)
def test_exceptions_of_states(state: State[Any], error: type[Exception], message: str) -> None:
    found = get_state_exception(state)
    assert type(found) is error
    assert str(found) == message
    with pytest.raises(error):
        raise_state_exception(state)


def test_states_without_an_exception() -> None:
    with pytest.raises(ValueError, match="Expected failed or crashed state"):
        get_state_exception(Completed())
    with pytest.raises(ValueError, match="none were failed"):
        get_state_exception(Failed(data=[Completed()]))
    with pytest.raises(TypeError, match="Unexpected result"):
        get_state_exception(Failed(data=5))
    raise_state_exception(Completed())


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ([Completed(), Completed()], "Completed('All states completed.')"),
        ([Completed(), Cancelled(), Paused(), Failed()], "Cancelled('1/4 states cancelled.')"),
        ([Paused(), Failed()], "Paused('1/2 states paused.')"),
        ([Failed(), Crashed(), Completed()], "Failed('2/3 states failed.')"),
        ([Running(), Completed()], "Failed('1/2 states are not final.')"),
    ],
    ids=str,
)
def test_several_states_are_judged_as_one(states: list[State[Any]], text: str) -> None:
    assert str(StateGroup(states).judge()) == text
    assert str(return_value_to_state(states)) == text


def test_counts() -> None:
    group = StateGroup([Completed(), Failed(), Failed()])
    assert group.counts_message() == "total=3 'COMPLETED'=1 'FAILED'=2"
    assert (group.all_final(), group.any_failed(), group.any_paused()) == (True, True, False)


def test_recognising_states() -> None:
    assert is_state(Completed())
    assert not is_state(Completed)
    assert is_state_iterable((Completed(), Failed()))
    assert is_state_iterable({Completed()})
    assert not is_state_iterable([])
    assert not is_state_iterable([Completed(), 1])


def test_a_copy_is_a_state_of_its_own() -> None:
    state = Completed(data=1, message="m")
    copy = state.fresh_copy()
    assert (copy.data, copy.message) == (1, "m")
    assert copy.timestamp >= state.timestamp
    assert state.model_copy(update={"name": "Other"}).name == "Other"
    assert pickle.loads(pickle.dumps(state)) == state


def test_states_and_messages_are_the_same_thing() -> None:
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    details = StateDetails(
        scheduled_time=moment,
        cache_key="k",
        cache_expiration=moment,
        refresh_cache=True,
        pause_key="p",
        retriable=False,
    )
    state: State[Any] = State(StateType.SCHEDULED, name="Late", message="m", state_details=details)
    again = state_of(message_of(state))
    assert again.state_details == details
    assert (again.type, again.name, again.message) == (state.type, state.name, state.message)
    assert not isinstance(again.data, StoredResult)


def test_an_exception_that_can_not_tell_its_message_still_fails_the_run() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    state = exception_to_failed_state(Mute())
    assert state.message == "Mute: (its message can not be told: RuntimeError)"
    data, media_type = dumps(Mute())
    assert type(loads(data, media_type)).__name__ == "Mute"


def test_a_number_that_is_too_long_to_be_written_is_pickled() -> None:
    data, media_type = dumps(2**20_000)
    assert media_type == "application/x-cloudpickle"
    assert loads(data, media_type) == 2**20_000
