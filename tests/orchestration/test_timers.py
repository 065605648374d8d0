"""What falls due by itself, on real databases under a clock moved by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.orchestration import timers
from playhead.engine.orchestration.asking import TIMERS
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import core_policy
from playhead.engine.orchestration.timers import BATCH_MAX, Timers
from playhead.journal.encoding import bytes_of, timestamp
from playhead.journal.payload import event_of
from tests.orchestration.commanding import ALICE, SECOND_US, Commanding, commanding, new_id

TTL = Duration(seconds=10)
TTL_US = 10 * SECOND_US
LATE_US = 15 * SECOND_US
CANCELLING_US = 300 * SECOND_US


@pytest.fixture
def command(store: str) -> Iterator[Commanding]:
    with commanding(store) as ready:
        yield ready


def tick(command: Commanding) -> int:
    return command.orchestrator.timers.tick()


def scheduled(command: Commanding, in_us: int = 0, name: str = "") -> str:
    """A flow run that is due so long from now."""
    state = v1.State(type=v1.SCHEDULED, name=name)
    state.details.scheduled_time.CopyFrom(timestamp(command.clock() + in_us))
    run = command.flow_run()
    command.propose(state, flow_run_id=run)
    return run


def name_of(command: Commanding, run: str) -> str:
    return command.status(run).state.name


# Late runs.


def test_a_run_that_did_not_start_is_late_15_seconds_after_its_time_once(command: Commanding) -> None:
    run = scheduled(command, in_us=SECOND_US)
    due = command.status(run).next_scheduled_start_time
    command.clock.advance(SECOND_US + LATE_US - 1)
    assert tick(command) == 0
    command.clock.advance(1)
    assert tick(command) == 1
    status = command.status(run)
    assert (status.state.name, status.next_scheduled_start_time) == ("Late", due)
    assert command.decisions(run)[-1].actor == TIMERS.actor
    assert tick(command) == 0


def test_only_runs_named_scheduled_are_late(command: Commanding) -> None:
    scheduled(command, name="AwaitingRetry")
    scheduled(command, name="Resuming")
    task_run = command.task_run(id=new_id(), task_key="t")
    command.propose(v1.SCHEDULED, task_run_id=task_run)
    command.clock.advance(10 * LATE_US)
    assert tick(command) == 0


def test_how_late_is_late_can_be_chosen(command: Commanding) -> None:
    run = scheduled(command)
    orchestrator = command.orchestrator
    patient = Timers(orchestrator.journal, orchestrator.jobs, orchestrator.perform, core_policy().id, late_s=60)
    command.clock.advance(LATE_US)
    assert patient.tick() == 0
    command.clock.advance(45 * SECOND_US)
    assert patient.tick() == 1
    assert name_of(command, run) == "Late"


def test_a_run_that_was_put_off_or_started_is_not_late(command: Commanding) -> None:
    run = scheduled(command)
    later = v1.State(type=v1.SCHEDULED)
    later.details.scheduled_time.CopyFrom(timestamp(command.clock() + 100 * SECOND_US))
    command.propose(later, flow_run_id=run)
    started = scheduled(command)
    command.propose(v1.RUNNING, flow_run_id=started)
    command.clock.advance(LATE_US)
    assert tick(command) == 0


def test_a_look_goes_on_until_nothing_is_due(command: Commanding) -> None:
    runs = [scheduled(command) for _ in range(2 * BATCH_MAX + 1)]
    command.clock.advance(LATE_US)
    assert tick(command) == len(runs)
    assert {name_of(command, run) for run in runs} == {"Late"}


def test_a_look_ends_at_a_bound_and_the_next_one_goes_on(command: Commanding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "BATCH_MAX", 3)
    monkeypatch.setattr(timers, "TICK_PROPOSALS_MAX", 5)
    for _ in range(7):
        scheduled(command)
    command.clock.advance(LATE_US)
    assert [tick(command), tick(command), tick(command)] == [6, 1, 0]


# Pauses.


def paused(command: Commanding, timeout_s: int | None) -> str:
    run = command.flow_run(v1.RUNNING)
    timeout = None if timeout_s is None else Duration(seconds=timeout_s)
    request = v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=run, timeout=timeout)
    assert command.orchestration.pause_flow_run(request, ALICE).result().decision == v1.ACCEPT
    return run


def test_a_pause_that_times_out_fails_the_run_by_a_rule(command: Commanding) -> None:
    run, forever = paused(command, 60), paused(command, None)
    command.clock.advance(60 * SECOND_US - 1)
    assert tick(command) == 0
    command.clock.advance(1)
    assert tick(command) == 1
    last = command.decisions(run)[-1]
    assert (last.decision, last.rule, last.after.type) == (v1.REJECT, "HandleResumingPausedFlows", v1.FAILED)
    assert name_of(command, forever) == "Paused"


# Cancellations that never end.


def test_a_cancellation_that_no_process_ends_is_ended(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    command.propose(v1.CANCELLING, flow_run_id=run)
    command.clock.advance(CANCELLING_US - 1)
    assert tick(command) == 0
    command.clock.advance(1)
    assert tick(command) == 1
    assert name_of(command, run) == "Cancelled"
    assert "no process works on the run" in command.status(run).state.message


def test_a_cancellation_that_a_live_process_takes_its_time_for_is_left_alone(command: Commanding) -> None:
    run = command.flow_run()
    token = command.propose(v1.RUNNING, flow_run_id=run, lease_ttl=Duration(seconds=3_600)).lease_token
    command.propose(v1.CANCELLING, flow_run_id=run)
    command.clock.advance(CANCELLING_US)
    assert tick(command) == 0
    assert command.propose(v1.CANCELLED, flow_run_id=run, lease_token=token).decision == v1.ACCEPT


# Slots that were given and not claimed.


def set_limit(command: Commanding, limit: str, slots: int) -> None:
    request = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit=limit, slots=slots)
    command.orchestration.set_concurrency_limit(request, ALICE).result()


def test_slots_that_nobody_claims_go_to_the_next_one(command: Commanding) -> None:
    set_limit(command, "name:db", 1)
    alone = [command.task_run(id=new_id(), task_key="t", slots={"db": 1}) for _ in range(3)]
    answers = [command.propose(v1.RUNNING, task_run_id=run).decision for run in alone]
    assert answers == [v1.ACCEPT, v1.WAIT, v1.WAIT]
    command.propose(v1.COMPLETED, task_run_id=alone[0])
    command.clock.advance(30 * SECOND_US)
    assert tick(command) == 1
    given_up = command.task_status(alone[1])
    assert (given_up.state.type, list(given_up.slots)) == (v1.PENDING, [])
    assert [held.limit for held in command.task_status(alone[2]).slots] == ["name:db"]
    assert tick(command) == 0


def test_a_flow_run_that_does_not_claim_its_slots_is_scheduled_without_them_and_late(command: Commanding) -> None:
    deployment = new_id()
    set_limit(command, f"deployment:{deployment}", 1)
    first, second = (command.flow_run(deployment_id=deployment) for _ in range(2))
    command.propose(v1.PENDING, flow_run_id=first)
    command.propose(v1.PENDING, flow_run_id=second)
    command.propose(v1.CANCELLED, flow_run_id=first)
    before = command.status(second)
    assert before.slots[0].HasField("claim_by")
    command.clock.advance(30 * SECOND_US)
    assert tick(command) == 1
    status = command.status(second)
    assert (status.state.type, status.state.name) == (v1.SCHEDULED, "Scheduled")
    assert status.state.message == "It did not go on in time with the slots that it was given."
    assert status.state.details.scheduled_time == before.state.details.scheduled_time
    assert not status.slots
    assert tick(command) == 1
    assert command.status(second).state.name == "Late"


def test_a_paused_task_run_whose_pause_is_over_gives_its_slots_up_and_stays_paused(command: Commanding) -> None:
    set_limit(command, "name:db", 1)
    holder, paused_run = (command.task_run(id=new_id(), task_key="t", slots={"db": 1}) for _ in range(2))
    command.propose(v1.RUNNING, task_run_id=holder)
    details = v1.StateDetails(pause_timeout=timestamp(command.clock() + SECOND_US))
    request = v1.ProposeStateRequest(
        request_id=new_id(), task_run_id=paused_run, state=v1.State(type=v1.PAUSED, details=details)
    )
    assert command.orchestration.propose_state(request, ALICE).result().decision == v1.ACCEPT
    assert command.propose(v1.RUNNING, task_run_id=paused_run).decision == v1.WAIT
    command.propose(v1.COMPLETED, task_run_id=holder)
    command.clock.advance(30 * SECOND_US)
    assert tick(command) == 1
    status = command.task_status(paused_run)
    assert (status.state.type, list(status.slots)) == (v1.PAUSED, [])
    assert status.state.message == "It did not go on in time with the slots that it was given."


# Leases of task runs, and crashes that are tried again.


def test_a_task_run_outside_of_flow_runs_is_given_up_when_its_lease_lapses(command: Commanding) -> None:
    run = command.task_run(id=new_id(), task_key="t")
    token = command.propose(v1.RUNNING, task_run_id=run, lease_ttl=TTL).lease_token
    assert token
    command.clock.advance(TTL_US - 1)
    renew = v1.RenewLeaseRequest(task_run_id=run, lease_token=token)
    assert command.orchestration.renew_lease(renew, ALICE).result().state.type == v1.RUNNING
    command.clock.advance(TTL_US - 1)
    assert tick(command) == 0
    command.clock.advance(1)
    assert tick(command) == 1
    status = command.task_status(run)
    assert (status.state.type, status.HasField("lease")) == (v1.CRASHED, False)
    late = command.propose(v1.COMPLETED, task_run_id=run, lease_token=token)
    assert (late.decision, late.rule) == (v1.REJECT, "FenceLateReports")


def test_a_flow_run_that_asks_for_it_is_tried_again_after_a_crash(command: Commanding) -> None:
    spec = v1.FlowRunSpec(
        id=new_id(), flow_id=command.flow_id, retry=v1.RetryPolicy(retries=1, delays_s=[5], on_crash=True)
    )
    token = command.propose(v1.RUNNING, create_flow_run=spec, lease_ttl=TTL).lease_token
    command.clock.advance(TTL_US)
    assert tick(command) == 1
    status = command.status(spec.id)
    assert (status.state.type, status.state.name, status.HasField("lease")) == (v1.SCHEDULED, "AwaitingRetry", False)
    assert command.propose(v1.COMPLETED, flow_run_id=spec.id, lease_token=token).rule == "FenceLateReports"
    command.clock.advance(5 * SECOND_US)
    command.propose(v1.RUNNING, flow_run_id=spec.id, lease_ttl=TTL)
    command.clock.advance(TTL_US)
    assert tick(command) == 1
    assert name_of(command, spec.id) == "Crashed"


# What stopped flow runs leave.


class Family:
    """A flow run, its task runs in several states, and its subflow runs, one of which is under a lease."""

    def __init__(self, command: Commanding) -> None:
        self.command = command
        self.parent = command.flow_run()
        self.token = command.propose(v1.RUNNING, flow_run_id=self.parent, lease_ttl=TTL).lease_token
        self.tasks = {type_: self.task(str(type_), type_) for type_ in (None, v1.PENDING, v1.RUNNING, v1.COMPLETED)}
        self.waiting, self.waiting_tracked = self.subflow("waiting", v1.SCHEDULED)
        self.pausing, self.pausing_tracked = self.subflow("pausing", v1.RUNNING)
        command.propose(v1.PAUSED, flow_run_id=self.pausing)
        self.running, self.running_tracked = self.subflow("running", None)
        command.propose(v1.RUNNING, flow_run_id=self.running, lease_ttl=Duration(seconds=3_600))
        self.ended, _ = self.subflow("ended", v1.COMPLETED)

    def task(self, key: str, state: v1.StateType.ValueType | None) -> str:
        return self.command.task_run(state, flow_run_id=self.parent, task_key=key, dynamic_key="0")

    def subflow(self, key: str, state: v1.StateType.ValueType | None) -> tuple[str, str]:
        tracked = self.task(f"flow:{key}", None)
        return self.command.flow_run(state, parent_task_run_id=tracked), tracked

    def task_names(self) -> list[str]:
        return [self.command.task_status(run).state.name for run in self.tasks.values()]

    def names(self) -> list[str]:
        """The states of the subflow runs: waiting, pausing, running, ended."""
        runs = (self.waiting, self.pausing, self.running, self.ended)
        return [self.command.status(run).state.name for run in runs]


def test_what_a_crashed_flow_run_leaves_has_crashed_but_for_subflows_under_a_lease_of_their_own(
    command: Commanding,
) -> None:
    family = Family(command)
    command.clock.advance(TTL_US)
    assert tick(command) == 1 + 2 + 3
    assert family.task_names() == ["Crashed", "Crashed", "Crashed", "Completed"]
    assert family.names() == ["Crashed", "Crashed", "Running", "Completed"]
    left = command.task_status(family.tasks[v1.RUNNING]).state
    assert left.message == "The flow run that it belongs to has crashed."
    assert command.task_status(family.waiting_tracked).state.type == v1.CRASHED
    assert command.task_status(family.running_tracked).state.type == v1.RUNNING
    assert tick(command) == 0


def test_what_a_cancelled_flow_run_leaves_is_cancelled(command: Commanding) -> None:
    family = Family(command)
    command.propose(v1.CANCELLED, flow_run_id=family.parent, lease_token=family.token)
    assert tick(command) == 3 + 3
    assert family.task_names() == ["Cancelled", "Cancelled", "Cancelled", "Completed"]
    assert family.names() == ["Cancelled", "Cancelling", "Cancelling", "Completed"]
    assert command.task_status(family.running_tracked).state.type == v1.CANCELLING
    assert tick(command) == 0


def test_while_a_flow_run_is_cancelling_its_subflows_are_asked_too_and_its_tasks_go_on(command: Commanding) -> None:
    family = Family(command)
    command.propose(v1.CANCELLING, flow_run_id=family.parent)
    assert tick(command) == 3
    assert family.task_names() == ["", "Pending", "Running", "Completed"]
    assert family.names() == ["Cancelled", "Cancelling", "Cancelling", "Completed"]
    command.propose(v1.CANCELLED, flow_run_id=family.parent, lease_token=family.token)
    assert tick(command) == 3
    assert family.task_names() == ["Cancelled", "Cancelled", "Cancelled", "Completed"]


@pytest.mark.parametrize(
    ("stopped", "ends"),
    [(v1.CANCELLING, v1.CANCELLED), (v1.CANCELLED, v1.CANCELLED), (v1.CRASHED, v1.CRASHED), (v1.FAILED, v1.PENDING)],
)
def test_a_task_run_that_is_made_in_a_flow_run_that_was_stopped_ends_with_it(
    command: Commanding, stopped: v1.StateType.ValueType, ends: v1.StateType.ValueType
) -> None:
    """Its flow run is looked through when it stops; what comes later, asked for before, would wait for the sweep."""
    parent = command.flow_run(v1.RUNNING)
    command.propose(stopped, flow_run_id=parent)
    tick(command)
    spec = v1.TaskRunSpec(flow_run_id=parent, task_key="t", dynamic_key="0", state=v1.State(type=v1.PENDING))
    answer = command.propose(v1.RUNNING, create_task_run=spec)
    assert (answer.decision, answer.rule, answer.state.type) == (
        v1.ABORT,
        "PreventRunningTasksFromStoppedFlows",
        ends,
    )
    other = command.task_run(flow_run_id=parent, task_key="t", dynamic_key="1")
    assert command.task_status(other).state.type == (ends if ends != v1.PENDING else 0)


def test_a_run_that_changes_while_it_is_looked_at_is_looked_at_again(command: Commanding) -> None:
    family = Family(command)
    tick(command)
    rename = v1.UpdateRunRequest(request_id=new_id(), task_run_id=family.tasks[v1.PENDING], name="renamed")
    command.propose(v1.CANCELLED, flow_run_id=family.parent, lease_token=family.token)
    timers = command.orchestrator.timers
    _, tasks = timers._left(command.clock())
    command.orchestration.update_run(rename, ALICE).result()
    timers._propose(tasks, command.clock())
    assert family.task_names() == ["Cancelled", "Pending", "Cancelled", "Completed"]
    tick(command)
    assert family.task_names() == ["Cancelled", "Cancelled", "Cancelled", "Completed"]


@pytest.mark.parametrize("waits", [False, True], ids=["a future", "an answer"])
def test_the_subflow_runs_of_a_flow_run_that_is_cancelled_hear_of_it_at_once(store: str, waits: bool) -> None:
    """No look is due for a long time: the cancellation wakes the loop."""
    with commanding(store) as command:
        family = Family(command)
        tick(command)
        orchestrator = command.orchestrator
        orchestrator.timers._interval_s = 1e6
        orchestrator.timers.start()
        request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=family.parent)
        if waits:
            orchestrator.calls.cancel_flow_run(request, ALICE)
        else:
            orchestrator.orchestration.cancel_flow_run(request, ALICE).result()
        watched = orchestrator.runs.watch_run(v1.WatchRunRequest(flow_run_id=family.running), timeout_s=60)
        names = (response.flow_run.status.state.name for response in watched)
        assert next(name for name in names if name != "Running") == "Cancelling"


def test_cancellation_reaches_the_subflows_of_subflows(command: Commanding) -> None:
    family = Family(command)
    tracked = command.task_run(flow_run_id=family.running, task_key="flow:deep", dynamic_key="0")
    deep = command.flow_run(v1.SCHEDULED, parent_task_run_id=tracked)
    command.propose(v1.CANCELLING, flow_run_id=family.parent)
    tick(command)
    tick(command)
    assert name_of(command, deep) == "Cancelled"


def test_what_ended_otherwise_leaves_its_task_runs_alone(command: Commanding) -> None:
    family = Family(command)
    command.propose(v1.FAILED, flow_run_id=family.parent, lease_token=family.token)
    assert tick(command) == 0
    assert family.task_names() == ["", "Pending", "Running", "Completed"]


def test_a_process_that_begins_anew_finds_what_was_left(store: str) -> None:
    with commanding(store) as command:
        family = Family(command)
        command.propose(v1.CANCELLED, flow_run_id=family.parent, lease_token=family.token)
        clock = command.clock
    with Orchestrator.open(store, clock=clock, timers=False) as again:
        assert again.timers.tick() == 3 + 3
        assert again.timers.tick() == 0


def test_a_look_that_was_cut_short_goes_on_where_it_was(command: Commanding, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tick(command) == 0
    family = Family(command)
    command.propose(v1.CANCELLED, flow_run_id=family.parent, lease_token=family.token)
    monkeypatch.setattr(timers, "BATCH_MAX", 2)
    monkeypatch.setattr(timers, "TICK_PROPOSALS_MAX", 1)
    assert [tick(command) for _ in range(5)] == [2, 1, 2, 1, 0]
    assert family.task_names() == ["Cancelled", "Cancelled", "Cancelled", "Completed"]


def test_what_is_made_late_in_a_stopped_flow_run_is_found_within_a_minute(command: Commanding) -> None:
    family = Family(command)
    command.propose(v1.CRASHED, flow_run_id=family.parent, lease_token=family.token)
    tick(command)
    late = family.task("late", v1.PENDING)
    assert tick(command) == 0
    command.clock.advance(60 * SECOND_US)
    assert tick(command) == 1
    assert command.task_status(late).state.type == v1.CRASHED


def test_who_begins_anew_finds_the_subflow_run_of_a_stopped_flow_run_though_its_task_run_has_ended(
    command: Commanding,
) -> None:
    parent = command.flow_run(v1.RUNNING)
    tracked = command.task_run(v1.RUNNING, flow_run_id=parent, task_key="flow:child", dynamic_key="0")
    child = command.flow_run(v1.SCHEDULED, parent_task_run_id=tracked)
    command.propose(v1.COMPLETED, task_run_id=tracked, force=True)
    command.propose(v1.CRASHED, flow_run_id=parent)
    orchestrator = command.orchestrator
    anew = Timers(orchestrator.journal, orchestrator.jobs, orchestrator.perform, core_policy().id)
    assert [due.run_id for due in anew.due()] == [child]
    assert anew.tick() == 1
    assert name_of(command, child) == "Crashed"


def test_a_look_decides_in_its_own_thread(store: str) -> None:
    with commanding(store) as command:
        scheduled(command)
    with Orchestrator.open(store, clock=lambda: command.clock() + LATE_US, timers=False) as anew:
        before = threading.active_count()
        assert anew.timers.tick() == 1
        assert threading.active_count() == before


def test_several_servers_on_one_database_make_one_event_of_each(store: str) -> None:
    with commanding(store) as command, Orchestrator.open(store, clock=command.clock, timers=False) as other:
        late, pause = scheduled(command), paused(command, 5)
        family = Family(command)
        command.propose(v1.CANCELLED, flow_run_id=family.parent, lease_token=family.token)
        stuck = command.flow_run(v1.RUNNING)
        command.propose(v1.CANCELLING, flow_run_id=stuck)
        command.clock.advance(CANCELLING_US)
        looks = [server.timers for server in (command.orchestrator, other)]
        # Both have looked before either proposes.
        seen = [[*chain(*look._due_flow_runs(command.clock()), *look._left(command.clock()))] for look in looks]
        assert seen[0] == seen[1]
        for look, requests in zip(looks, seen, strict=True):
            look._propose(requests, command.clock())
        # The waiting subflow run was late too, and had changed when it was to be cancelled: it is looked at again.
        assert [look.tick() for look in looks] == [1, 0]
        assert [look.tick() for look in looks] == [0, 0]
        journal = command.orchestrator.journal
        events = [record for record in journal.read(1, command.head(), limit=1_000) if record.actor == TIMERS.actor]
        proposals = [(record.stream, event_of(record).state_proposed) for record in events]
        own = [(stream, proposed.command.state.type) for stream, proposed in proposals if not proposed.mirrors]
        assert len(own) == len(set(own))
        assert {bytes_of(late), bytes_of(pause), bytes_of(stuck)} <= {stream for stream, _ in own}


def test_an_old_look_changes_nothing(command: Commanding) -> None:
    run = scheduled(command)
    command.clock.advance(LATE_US)
    (request,) = next(command.orchestrator.timers._due_flow_runs(command.clock()))
    command.propose(v1.PENDING, flow_run_id=run)
    head = command.head()
    assert command.orchestrator.timers._propose([request], command.clock()) == 1
    assert command.head() == head
