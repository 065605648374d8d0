"""What is kept about a run beside its state, under force as well as without."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules.rule import STATES, TERMINAL, StateType
from tests.orchestration.given import FLOW, STORED, TASK, at, decided, facts, inside, short, state

both_subjects = pytest.mark.parametrize("subject", [FLOW, TASK])
forced_or_not = pytest.mark.parametrize("force", [False, True])


def test_a_state_is_stamped_with_the_recorded_time_and_named_after_its_type() -> None:
    proposed = state(v1.RUNNING)
    proposed.revision = 99
    proposed.timestamp.CopyFrom(at(500))
    stamped = decided(FLOW, facts(), proposed).status.state
    assert (stamped.revision, stamped.timestamp, stamped.name) == (0, at(0), "Running")


def test_the_rest_of_the_run_and_of_the_state_is_kept() -> None:
    run = facts(state(v1.PENDING), tags=["a", "b"])
    status = decided(FLOW, run, state(v1.COMPLETED, "Mine", message="well", result=STORED)).status
    assert (status.name, list(status.tags), status.version) == ("swift-fox", ["a", "b"], 7)
    assert (status.state.name, status.state.message, status.state.result) == ("Mine", "well", STORED)


@both_subjects
def test_scheduled_without_a_time_is_due_now(subject: Subject) -> None:
    status = decided(subject, facts(), state(v1.SCHEDULED)).status
    assert status.state.details.scheduled_time == at(0)
    assert status.next_scheduled_start_time == status.expected_start_time == at(0)


@both_subjects
@forced_or_not
def test_a_first_run_from_schedule_to_end(subject: Subject, force: bool) -> None:
    """The life of a run, each status the facts of the next proposal."""
    run = facts()
    for second, proposed in enumerate(
        (state(v1.SCHEDULED, scheduled_time=at(1)), state(v1.PENDING), state(v1.RUNNING), state(v1.COMPLETED))
    ):
        run.now.CopyFrom(at(second))
        run.status.CopyFrom(decided(subject, run, proposed, force=force).status)
        assert run.status.HasField("next_scheduled_start_time") == (proposed.type == v1.SCHEDULED)
    assert run.status.expected_start_time == at(1)
    assert (run.status.start_time, run.status.end_time) == (at(2), at(3))
    assert (run.status.run_count, run.status.total_run_time) == (1, Duration(seconds=1))


@pytest.mark.parametrize("target", sorted(STATES))
def test_run_time_is_counted_whenever_running_is_left(target: StateType) -> None:
    run = facts(state(v1.RUNNING), total_run_time=Duration(seconds=5, nanos=999_999_000))
    run.now.CopyFrom(at(0.000002))
    status = decided(TASK, run, state(target), force=True).status
    assert status.total_run_time == Duration(seconds=16, nanos=1_000)


def test_a_clock_that_went_back_counts_no_run_time() -> None:
    run = facts(state(v1.RUNNING))
    run.now.CopyFrom(at(-20))
    assert decided(TASK, run, state(v1.COMPLETED)).status.total_run_time == Duration()


@pytest.mark.parametrize("target", sorted(STATES - TERMINAL))
def test_the_end_time_goes_when_a_terminal_state_is_left(target: StateType) -> None:
    status = decided(FLOW, facts(state(v1.FAILED), end_time=at(-5)), state(target), force=True).status
    assert not status.HasField("end_time")


@pytest.mark.parametrize("target", sorted(TERMINAL))
def test_from_one_terminal_state_to_another_the_end_time_stays(target: StateType) -> None:
    status = decided(FLOW, facts(state(v1.FAILED), end_time=at(-5)), state(target), force=True).status
    assert status.end_time == at(-5)


def test_a_run_that_ends_without_having_run_started_then() -> None:
    status = decided(FLOW, facts(state(v1.PENDING)), state(v1.CANCELLED)).status
    assert status.start_time == status.end_time == at(0)


def test_start_and_expected_start_are_set_once() -> None:
    run = facts(state(v1.PENDING), start_time=at(-9), expected_start_time=at(-8))
    status = decided(FLOW, run, state(v1.RUNNING)).status
    assert (status.start_time, status.expected_start_time) == (at(-9), at(-8))


@forced_or_not
def test_a_task_run_notes_which_attempt_of_its_flow_run_it_ran_in(force: bool) -> None:
    run = inside(facts(state(v1.PENDING), flow_run_run_count=1), v1.RUNNING, run_count=3)
    assert decided(TASK, run, state(v1.RUNNING), force=force).status.flow_run_run_count == 3
    assert decided(TASK, run, state(v1.FAILED), force=force).status.flow_run_run_count == 1


def test_a_blocking_pause_resumed_counts_as_a_run() -> None:
    status = decided(FLOW, facts(state(v1.PAUSED), run_count=1), state(v1.RUNNING)).status
    assert (status.run_count, status.resuming) == (2, False)


def test_a_suspended_run_resumed_does_not_count_as_a_run() -> None:
    run = facts(state(v1.PAUSED, "Suspended", pause_reschedule=True), run_count=1)
    run.has_deployment = True
    for proposed in (state(v1.SCHEDULED, "Resuming"), state(v1.PENDING)):
        run.status.CopyFrom(decided(FLOW, run, proposed).status)
        assert run.status.resuming
    running = decided(FLOW, run, state(v1.RUNNING)).status
    assert (running.run_count, running.resuming) == (1, False)


@forced_or_not
def test_a_resume_that_ends_instead_forgets_that_it_was_one(force: bool) -> None:
    run = facts(state(v1.SCHEDULED, "Resuming"), run_count=1, resuming=True)
    assert not decided(FLOW, run, state(v1.CANCELLED), force=force).status.resuming


@forced_or_not
def test_a_pause_key_is_used_once_the_pause_is_accepted(force: bool) -> None:
    run = facts(state(v1.RUNNING), pause_keys=["a"])
    assert list(decided(FLOW, run, state(v1.PAUSED, pause_key="b"), force=force).status.pause_keys) == ["a", "b"]
    assert list(decided(FLOW, run, state(v1.PAUSED), force=force).status.pause_keys) == ["a"]


def test_a_forced_pause_under_a_used_key_keeps_it_once() -> None:
    run = facts(state(v1.RUNNING), pause_keys=["a"])
    answer = decided(FLOW, run, state(v1.PAUSED, pause_key="a"), force=True)
    assert (short(answer), list(answer.status.pause_keys)) == ("A", ["a"])


@forced_or_not
def test_pause_keys_last_until_the_run_ends_and_starts_again(force: bool) -> None:
    assert decided(FLOW, facts(state(v1.PAUSED), pause_keys=["a"]), state(v1.RUNNING), force=force).status.pause_keys
    assert decided(FLOW, facts(state(v1.RUNNING), pause_keys=["a"]), state(v1.FAILED), force=force).status.pause_keys
    again = decided(FLOW, facts(state(v1.FAILED), pause_keys=["a"]), state(v1.RUNNING), force=force)
    assert not again.status.pause_keys
