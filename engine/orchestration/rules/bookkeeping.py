"""What is kept about a run beside its state. These always apply when a run's state changes, under force too.

They refuse nothing and appear in no decision's list of rules; the policy's id covers them. Each only has an `after`,
and its docstring is the row of the table.
"""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.moments import SECOND_US, micros
from playhead.engine.orchestration.rules.rule import NO_STATE, STATES, TERMINAL, Rule

GOING_ON = frozenset({v1.RUNNING, v1.PAUSED})
RESUMED_BY = frozenset({v1.RUNNING, v1.SCHEDULED})
DEFAULT_NAMES = {number: name.capitalize() for name, number in v1.StateType.items() if number != NO_STATE}


class StampState(Rule):
    """any -> any: the state's time is now; no revision yet; a missing name is the type's own. SCHEDULED: due now, if
    not said.
    """

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        state = status.state
        state.revision = 0
        state.timestamp.CopyFrom(facts.now)
        if not state.name:
            state.name = DEFAULT_NAMES[state.type]
        if state.type == v1.SCHEDULED and not state.details.HasField("scheduled_time"):
            state.details.scheduled_time.CopyFrom(facts.now)


class SetStartTime(Rule):
    """any -> RUNNING, terminal: start_time is now, once."""

    to_states = TERMINAL | {v1.RUNNING}

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        if not status.HasField("start_time"):
            status.start_time.CopyFrom(facts.now)


class SetEndTime(Rule):
    """any -> terminal: end_time is now, unless the run had ended before."""

    to_states = TERMINAL

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        if not status.HasField("end_time"):
            status.end_time.CopyFrom(facts.now)


class ClearEndTime(Rule):
    """terminal -> not terminal: no end_time."""

    from_states = TERMINAL
    to_states = STATES - TERMINAL

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.ClearField("end_time")


class AddRunTime(Rule):
    """RUNNING -> any: total_run_time grows by the time since the state was recorded."""

    from_states = frozenset({v1.RUNNING})

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        total = status.total_run_time
        spent_us = max(micros(facts.now) - micros(facts.status.state.timestamp), 0)
        total_us = total.seconds * SECOND_US + total.nanos // 1000 + spent_us
        total.seconds = total_us // SECOND_US
        total.nanos = total_us % SECOND_US * 1000


class SetExpectedStartTime(Rule):
    """any -> any: expected_start_time is the state's scheduled_time if it is SCHEDULED, else now. Once."""

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        if not status.HasField("expected_start_time"):
            scheduled = status.state.type == v1.SCHEDULED
            status.expected_start_time.CopyFrom(status.state.details.scheduled_time if scheduled else facts.now)


class SetNextScheduledStartTime(Rule):
    """any -> SCHEDULED: next_scheduled_start_time is the state's scheduled_time."""

    to_states = frozenset({v1.SCHEDULED})

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.next_scheduled_start_time.CopyFrom(status.state.details.scheduled_time)


class ClearNextScheduledStartTime(Rule):
    """SCHEDULED -> any other: no next_scheduled_start_time."""

    from_states = frozenset({v1.SCHEDULED})
    to_states = STATES - {v1.SCHEDULED}

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.ClearField("next_scheduled_start_time")


class CountFlowRuns(Rule):
    """any -> RUNNING of a flow run: run_count grows by one, unless a pause is resumed. The first time always counts,
    and so does a process that takes a paused run over by asking for its lease.

    Differs: in Prefect the resume of a blocking pause counts, and uses up a retry.
    """

    to_states = frozenset({v1.RUNNING})
    version = 2

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        goes_on = facts.status.resuming or resumes(facts, command)
        if not goes_on or not status.run_count:
            status.run_count += 1


class CountTaskRuns(Rule):
    """any -> RUNNING of a task run: run_count grows by one; flow_run_run_count is the flow run's run_count. The
    RUNNING of a subflow that is mirrored into a RUNNING task run is the same start, and into a PAUSED one a resume:
    neither is counted.
    """

    to_states = frozenset({v1.RUNNING})
    version = 3

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        goes_on = facts.status.state.type in GOING_ON and command.state.details.child_flow_run_id
        if not goes_on or not status.run_count:
            status.run_count += 1
        status.flow_run_run_count = facts.flow_run.run_count


class StartResuming(Rule):
    """PAUSED -> SCHEDULED: resuming, so that the RUNNING to come is not counted, unless it is to be tried again after a
    crash, or waits for the slots of a process that takes it over.

    Differs: only an accepted resume sets the mark, and a blocking pause, resumed by RUNNING itself, never does.
    """

    from_states = frozenset({v1.PAUSED})
    to_states = frozenset({v1.SCHEDULED})
    version = 2

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        if resumes(facts, command):
            status.resuming = True


class EndResuming(Rule):
    """any -> RUNNING, terminal: not resuming."""

    to_states = TERMINAL | {v1.RUNNING}

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.resuming = False


class KeepPauseKeys(Rule):
    """any -> PAUSED with a pause key: the key is used. A pause without a key has one of its own and can come again."""

    to_states = frozenset({v1.PAUSED})

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        key = status.state.details.pause_key
        if key and key not in status.pause_keys:
            status.pause_keys.append(key)


class ForgetPauseKeys(Rule):
    """terminal -> not terminal: all pause keys can be used again."""

    from_states = TERMINAL
    to_states = STATES - TERMINAL

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.ClearField("pause_keys")


class GrantLease(Rule):
    """any -> RUNNING with lease_ttl: a new lease of that length. Its token, 0 here, and its holder are the caller's to
    stamp.
    """

    to_states = frozenset({v1.RUNNING})

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        if command.HasField("lease_ttl"):
            status.ClearField("lease")
            status.lease.ttl.CopyFrom(command.lease_ttl)


class EndLease(Rule):
    """any -> any but RUNNING: no lease, unless the holder still works on the run: it is CANCELLING, PAUSED without
    being suspended, or awaits the retry of a failure just reported. So its next report is still its own, and its death
    is noticed. A holder that says that it leaves the run has no lease to lose.
    """

    to_states = STATES - {v1.RUNNING}
    version = 2

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        if status.HasField("lease") and not holder_works_on(command, status.state):
            status.ClearField("lease")


def holder_works_on(command: v1.ProposeStateRequest, state: v1.State) -> bool:
    """Whether the process that holds the lease goes on after this state."""
    if command.release_lease:
        return False
    if state.type == v1.PAUSED:
        return not state.details.pause_reschedule
    awaits_retry = state.type == v1.SCHEDULED and command.state.type == v1.FAILED
    return awaits_retry or state.type == v1.CANCELLING


def resumes(facts: v1.Facts, command: v1.ProposeStateRequest) -> bool:
    """Whether a proposal lets a paused flow run go on where it is. What asks for a lease begins to execute it."""
    is_resume = command.state.type in RESUMED_BY and not command.HasField("lease_ttl")
    return is_resume and facts.status.state.type == v1.PAUSED
