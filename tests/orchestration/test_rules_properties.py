"""What holds for every history of proposals: decide is pure, and what is kept about a run agrees with a plain model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.policy import Subject, core_policy
from playhead.engine.orchestration.rules.moments import micros
from playhead.engine.orchestration.rules.rule import NO_STATE, STATES, TERMINAL, StateType
from tests.orchestration.given import FLOW, POLICY, STORED, TASK, at

LEASED = frozenset({v1.RUNNING, v1.PAUSED, v1.CANCELLING, v1.SCHEDULED})
FORCE_REFUSED_BY = {
    "BypassCancellingFlowRunsWithNoInfra",
    "PreventResultDataLoss",
    "FenceLateReports",
    "OnlyLapsedLeases",
    "LimitCacheKeys",
}

offsets_s = st.none() | st.sampled_from([-30.0, 0.0, 0.3, 2.0, 40.0])


@dataclass(frozen=True)
class Step:
    """One proposal and the world it is made in. Times are seconds from the proposal."""

    type: StateType
    name: str
    passed_s: float
    scheduled_s: float | None
    pause_timeout_s: float | None
    pause_reschedule: bool
    pause_key: str
    cache_key: str
    refresh_cache: bool
    retriable: bool | None
    result: v1.Result | None
    force: bool
    leases: bool
    token: str
    if_lease_expired: bool
    lease_left_s: float
    flow_run: StateType | None
    flow_run_count: int
    cached: bool


steps = st.builds(
    Step,
    type=st.sampled_from(sorted(STATES)),
    name=st.sampled_from(["", "Late", "Scheduled", "Mine", "AwaitingRetry"]),
    passed_s=st.sampled_from([0.0, 0.000001, 1.5, 60.0]),
    scheduled_s=offsets_s,
    pause_timeout_s=offsets_s,
    pause_reschedule=st.booleans(),
    pause_key=st.sampled_from(["", "a", "b"]),
    cache_key=st.sampled_from(["", "k", "k" * 2001]),
    refresh_cache=st.booleans(),
    retriable=st.none() | st.booleans(),
    result=st.sampled_from([None, STORED, v1.Result(media_type="text/plain")]),
    force=st.sampled_from([False, False, False, True]),
    leases=st.booleans(),
    token=st.sampled_from(["none", "none", "own", "stale"]),
    if_lease_expired=st.sampled_from([False, False, False, True]),
    lease_left_s=st.sampled_from([-1.0, 0.0, 20.0]),
    flow_run=st.none() | st.sampled_from([NO_STATE, *sorted(STATES), *[v1.RUNNING] * 5]),
    flow_run_count=st.integers(0, 3),
    cached=st.booleans(),
)


@dataclass
class Model:
    """A run as its accepted states alone tell it: the plain answer to what bookkeeping keeps up to date."""

    history: list[tuple[int, v1.State]] = field(default_factory=list)

    def start_us(self) -> int:
        return next((time for time, state in self.history if state.type in TERMINAL | {v1.RUNNING}), 0)

    def end_us(self) -> int:
        end_us = 0
        for time, state in self.history:
            end_us = (end_us or time) if state.type in TERMINAL else 0
        return end_us

    def run_time_us(self) -> int:
        stays = zip(self.history, self.history[1:], strict=False)
        return sum(left - entered for (entered, state), (left, _) in stays if state.type == v1.RUNNING)

    def expected_start_us(self) -> int:
        time, state = self.history[0]
        return micros(state.details.scheduled_time) if state.type == v1.SCHEDULED else time

    def next_start_us(self) -> int:
        state = self.history[-1][1]
        return micros(state.details.scheduled_time) if state.type == v1.SCHEDULED else 0


@given(st.sampled_from([FLOW, TASK]), st.booleans(), st.booleans(), st.integers(0, 2), st.lists(steps, max_size=12))
@settings(max_examples=300, deadline=None)
def test_every_history_is_decided_purely_and_kept_right(
    subject: Subject, has_deployment: bool, is_subflow: bool, retries: int, story: Sequence[Step]
) -> None:
    model, now_us = Model(), micros(at(0))
    run = v1.Facts(has_deployment=has_deployment, is_subflow=is_subflow)
    run.retry.MergeFrom(v1.RetryPolicy(retries=retries, delays_s=[0, 3], jitter_factor=0.5))
    for number, step in enumerate(story, start=1):
        now_us += round(step.passed_s * 1_000_000)
        set_world(run, step, now_us, number)
        command = command_of(run, step)
        answer = purely_decided(subject, run, command)
        check_answer(run, command, answer)
        if answer.HasField("status"):
            model.history.append((now_us, answer.status.state))
            check_status(subject, run.status, command, answer.status, model)
            run.status.CopyFrom(stamped(answer.status, number))


def set_world(run: v1.Facts, step: Step, now_us: int, number: int) -> None:
    """The facts beside the run's status."""
    run.now.CopyFrom(moment(now_us))
    run.entropy = number * 0x9E3779B97F4A7C15 % 2**64
    for name in ("flow_run", "cache_entry", "lease_expires"):
        run.ClearField(name)
    if step.flow_run is not None:
        run.flow_run.MergeFrom(v1.FlowRunFacts(state_type=step.flow_run, run_count=step.flow_run_count))
    if step.cached:
        run.cache_entry.state.MergeFrom(v1.State(type=v1.COMPLETED, name="Completed", revision=1, result=STORED))
    if run.status.HasField("lease"):
        run.lease_expires.CopyFrom(moment(now_us, step.lease_left_s))


def command_of(run: v1.Facts, step: Step) -> v1.ProposeStateRequest:
    """The proposal of a step."""
    details = v1.StateDetails(
        cache_key=step.cache_key,
        refresh_cache=step.refresh_cache,
        pause_reschedule=step.pause_reschedule,
        pause_key=step.pause_key,
        retriable=step.retriable,
    )
    if step.scheduled_s is not None and step.type in (v1.SCHEDULED, v1.PENDING):
        details.scheduled_time.CopyFrom(moment(micros(run.now), step.scheduled_s))
    if step.pause_timeout_s is not None:
        details.pause_timeout.CopyFrom(moment(micros(run.now), step.pause_timeout_s))
    token = run.status.lease.token
    return v1.ProposeStateRequest(
        state=v1.State(type=step.type, name=step.name, details=details, result=step.result, revision=99),
        force=step.force,
        lease_ttl=Duration(seconds=30) if step.leases else None,
        lease_token={"none": 0, "own": token, "stale": token + 1}[step.token],
        if_lease_expired=step.if_lease_expired,
    )


def purely_decided(subject: Subject, run: v1.Facts, command: v1.ProposeStateRequest) -> v1.StateProposed:
    """The decision, made twice, the second time by a policy made anew, with both arguments left as they were."""
    before = run.SerializeToString(deterministic=True), command.SerializeToString(deterministic=True)
    answer = decide(subject, run, command, POLICY)
    again = decide(subject, run, command, core_policy())
    assert answer.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert before == (run.SerializeToString(deterministic=True), command.SerializeToString(deterministic=True))
    return answer


def check_answer(run: v1.Facts, command: v1.ProposeStateRequest, answer: v1.StateProposed) -> None:
    """The parts of a decision agree with each other."""
    effects = {outcome.rule: outcome.effect for outcome in answer.rules}
    assert len(effects) == len(answer.rules)
    assert not answer.reason.startswith(("ValueError", "TypeError", "KeyError", "OverflowError"))
    if answer.decision == v1.ACCEPT:
        assert answer.status.state.type == command.state.type
        assert (answer.rule, answer.reason, answer.HasField("delay")) == ("", "", False)
        assert set(effects.values()) <= {v1.RULE_RENAMED, v1.RULE_RECORDED}
        return
    assert list(effects)[-1] == answer.rule
    assert all(effect == v1.RULE_FIZZLED for rule, effect in effects.items() if rule != answer.rule)
    assert (effects[answer.rule] == v1.RULE_REPLACED) == answer.HasField("status")
    assert (answer.decision == v1.WAIT) == (answer.delay.seconds > 0)
    assert not command.force or answer.rule in FORCE_REFUSED_BY


def check_status(
    subject: Subject, before: v1.RunStatus, command: v1.ProposeStateRequest, after: v1.RunStatus, model: Model
) -> None:
    """What is kept about a run agrees with its history."""
    state = after.state
    assert (micros(state.timestamp), state.revision, bool(state.name)) == (model.history[-1][0], 0, True)
    assert micros(after.start_time) == model.start_us()
    assert micros(after.end_time) == model.end_us()
    assert after.HasField("end_time") == (state.type in TERMINAL)
    assert after.total_run_time.ToMicroseconds() == model.run_time_us()
    assert micros(after.expected_start_time) == model.expected_start_us()
    assert micros(after.next_scheduled_start_time) == model.next_start_us()
    assert not (after.resuming and state.type in TERMINAL | {v1.RUNNING})
    assert not after.HasField("lease") or state.type in LEASED
    assert len(set(after.pause_keys)) == len(after.pause_keys)
    check_run_count(subject, before, command, after)


def check_run_count(
    subject: Subject, before: v1.RunStatus, command: v1.ProposeStateRequest, after: v1.RunStatus
) -> None:
    """run_count grows by one on RUNNING, unless a flow run that ran before goes on after a pause; a task run's restarts
    only on leaving a terminal state.
    """
    resumed = before.state.type == v1.PAUSED and not command.HasField("lease_ttl")
    goes_on = subject is FLOW and before.run_count > 0 and (before.resuming or resumed)
    ran = after.state.type == v1.RUNNING and not goes_on
    restarts = subject is TASK and before.state.type in TERMINAL and after.state.type not in TERMINAL
    counts = {before.run_count, 0} if restarts else {before.run_count}
    assert after.run_count in {count + ran for count in counts}


def stamped(status: v1.RunStatus, number: int) -> v1.RunStatus:
    """The status as the caller completes it."""
    status.state.revision = status.version = number
    if status.HasField("lease") and not status.lease.token:
        status.lease.token = number
    return status


def moment(time_us: int, offset_s: float = 0.0) -> Timestamp:
    """A time from microseconds."""
    seconds, rest_us = divmod(time_us + round(offset_s * 1_000_000), 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest_us * 1000)
