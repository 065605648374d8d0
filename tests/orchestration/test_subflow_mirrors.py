"""Subflows on a real database: the task run that tracks a subflow run comes to its states, in the same command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from playhead import v1
from playhead.engine.orchestration.policy import core_policy
from playhead.engine.orchestration.rules.effects import Effect, reject
from playhead.engine.orchestration.rules.rule import Rule
from playhead.exceptions import RequestIdReused
from playhead.journal.encoding import bytes_of
from playhead.journal.payload import event_of
from playhead.journal.record import Record
from tests.orchestration.commanding import ALICE, SECOND_US, Commanding, commanding, new_id


@pytest.fixture
def command(store: str) -> Iterator[Commanding]:
    with commanding(store) as ready:
        yield ready


class Family:
    """A running parent, the task run that tracks its subflow, and the subflow run."""

    def __init__(self, command: Commanding, child: v1.StateType.ValueType | None = v1.RUNNING, **fields: str) -> None:
        self.command = command
        self.parent = command.flow_run(v1.RUNNING)
        self.tracking = command.task_run(flow_run_id=self.parent, task_key="flow:child", dynamic_key="0")
        self.child = command.flow_run(child, parent_task_run_id=self.tracking, **fields)

    def tracked(self) -> v1.RunStatus:
        """What the tracking task run is."""
        return self.command.task_status(self.tracking)


class KeepTracking(Rule):
    """RUNNING -> any: REJECT."""

    from_states = frozenset({v1.RUNNING})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return reject("Not this one.")


def last_records(command: Commanding, count: int) -> list[Record]:
    return command.orchestrator.journal.read(command.head() - count + 1, command.head(), limit=count)


def test_the_tracking_run_comes_to_the_states_of_the_subflow(command: Commanding) -> None:
    family = Family(command)
    assert (family.tracked().state.name, family.tracked().run_count) == ("Running", 1)
    result = v1.Result(inline=b"42", media_type="application/json", size_bytes=2)
    command.propose(v1.State(type=v1.COMPLETED, message="well", result=result), flow_run_id=family.child)
    tracked = family.tracked()
    assert (tracked.state.type, tracked.state.message, tracked.state.result) == (v1.COMPLETED, "well", result)
    assert tracked.state.details.child_flow_run_id == family.child
    assert tracked.HasField("end_time")


def test_a_mirror_is_a_decision_of_the_same_command(command: Commanding) -> None:
    family = Family(command)
    request = v1.ProposeStateRequest(
        request_id=new_id(), flow_run_id=family.child, state=v1.State(type=v1.FAILED, message="bad")
    )
    answer = command.orchestration.propose_state(request, ALICE).result()
    own, mirror = last_records(command, 2)
    assert answer.meta.revision == own.revision
    assert (own.request_seq, mirror.request_seq) == (0, 1)
    assert own.request_id == mirror.request_id == bytes_of(request.request_id)
    proposed = event_of(mirror).state_proposed
    assert (mirror.stream, proposed.mirrors) == (bytes_of(family.tracking), own.revision)
    assert (proposed.decision, proposed.command.force) == (v1.ACCEPT, True)
    assert [(o.rule, o.effect) for o in proposed.rules] == [("UpdateSubflowParentTask", v1.RULE_RECORDED)]


def test_a_request_that_was_mirrored_is_answered_again_the_same(command: Commanding) -> None:
    family = Family(command, None)
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, parent_task_run_id=family.tracking)
    for request in (
        v1.ProposeStateRequest(request_id=new_id(), flow_run_id=family.child, state=v1.State(type=v1.RUNNING)),
        v1.ProposeStateRequest(request_id=new_id(), create_flow_run=spec, state=v1.State(type=v1.RUNNING)),
    ):
        first = command.orchestration.propose_state(request, ALICE).result()
        head = command.head()
        assert command.orchestration.propose_state(request, ALICE).result() == first
        request.state.message = "another"
        with pytest.raises(RequestIdReused):
            command.orchestration.propose_state(request, ALICE).result()
        assert command.head() == head
    create = v1.CreateFlowRunRequest(request_id=new_id(), spec=spec)
    create.spec.id, create.spec.state.type = new_id(), v1.SCHEDULED
    made = command.orchestration.create_flow_run(create, ALICE).result()
    assert family.tracked().state.type == v1.SCHEDULED
    assert command.orchestration.create_flow_run(create, ALICE).result() == made


def test_a_resumption_is_mirrored_and_answered_again_the_same(command: Commanding) -> None:
    family = Family(command)
    command.propose(v1.PAUSED, flow_run_id=family.child)
    assert family.tracked().state.type == v1.PAUSED
    request = v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=family.child)
    first = command.orchestration.resume_flow_run(request, ALICE).result()
    assert family.tracked().state.type == v1.RUNNING
    assert command.orchestration.resume_flow_run(request, ALICE).result() == first


def test_what_changes_nothing_about_the_subflow_mirrors_nothing(command: Commanding) -> None:
    family = Family(command)
    version = family.tracked().version
    assert command.propose(v1.PENDING, flow_run_id=family.child).decision == v1.ABORT
    assert command.propose(v1.FAILED, flow_run_id=family.child, validate_only=True).decision == v1.ACCEPT
    rename = v1.UpdateRunRequest(request_id=new_id(), flow_run_id=family.child, name="other")
    command.orchestration.update_run(rename, ALICE).result()
    assert family.tracked().version == version


def test_a_mirror_that_the_minimal_policy_refuses_is_on_record_and_does_not_hinder_the_subflow(
    store: str,
) -> None:
    core = core_policy()
    with commanding(store, replace(core, minimal_task=(*core.minimal_task, KeepTracking()))) as command:
        family = Family(command)
        assert command.propose(v1.COMPLETED, flow_run_id=family.child).decision == v1.ACCEPT
        assert family.tracked().state.type == v1.RUNNING
        refused = event_of(last_records(command, 1)[0]).state_proposed
        assert (refused.decision, refused.rule, bool(refused.mirrors)) == (v1.REJECT, "KeepTracking", True)
        effects = [outcome.effect for outcome in refused.rules]
        assert effects == [v1.RULE_FIZZLED, v1.RULE_REJECTED]


def test_a_retry_of_the_subflow_is_another_attempt_of_the_tracking_run_but_its_start_is_not(
    command: Commanding,
) -> None:
    family = Family(command, None)
    command.propose(v1.RUNNING, task_run_id=family.tracking)
    command.propose(v1.RUNNING, flow_run_id=family.child)
    assert family.tracked().run_count == 1
    command.propose(v1.SCHEDULED, flow_run_id=family.child)
    command.propose(v1.RUNNING, flow_run_id=family.child)
    assert family.tracked().run_count == 2


def test_what_concerns_the_subflow_alone_is_not_mirrored(command: Commanding) -> None:
    family = Family(command)
    done = v1.State(type=v1.COMPLETED, details=v1.StateDetails(cache_key="shared"))
    command.propose(done, flow_run_id=family.child)
    assert family.tracked().state.details == v1.StateDetails(child_flow_run_id=family.child)
    asks = v1.State(type=v1.RUNNING, details=v1.StateDetails(cache_key="shared"))
    other = command.task_run(task_key="other", id=new_id())
    assert command.propose(asks, task_run_id=other).decision == v1.ACCEPT


def test_a_subflow_that_waits_is_mirrored_as_it_was_created(command: Commanding) -> None:
    family = Family(command, None)
    later = v1.State(type=v1.SCHEDULED)
    later.details.scheduled_time.FromMicroseconds(command.clock() + 60 * SECOND_US)
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, parent_task_run_id=family.tracking, state=later)
    assert command.propose(v1.RUNNING, create_flow_run=spec).decision == v1.WAIT
    tracked = family.tracked().state
    assert (tracked.type, tracked.details.scheduled_time) == (v1.SCHEDULED, later.details.scheduled_time)
    assert event_of(last_records(command, 1)[0]).state_proposed.mirrors == command.head() - 2
