"""Concurrency limits through the public services, on both databases."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from playhead import v1
from playhead.exceptions import BadRequest, NotFound
from playhead.journal.encoding import bytes_of, micros_of
from playhead.journal.payload import event_of
from tests.orchestration.commanding import ALICE, SECOND_US, Commanding, commanding, new_id


class Limited:
    """Runs that need slots."""

    def __init__(self, command: Commanding) -> None:
        self.command = command
        self.flow_run = command.flow_run(v1.RUNNING)
        self._count = 0

    def set(self, limit: str, slots: int | None, on_full: v1.OnFull.ValueType = v1.ON_FULL_UNSPECIFIED) -> None:
        request = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit=limit, slots=slots, on_full=on_full)
        self.command.orchestration.set_concurrency_limit(request, ALICE).result()

    def task(self, *tags: str, **slots: int) -> str:
        """A new PENDING task run with tags and named slots; its id."""
        self._count += 1
        spec = v1.TaskRunSpec(
            flow_run_id=self.flow_run, task_key="t", dynamic_key=str(self._count), tags=tags, slots=slots
        )
        return self.command.propose(v1.PENDING, create_task_run=spec).run_id

    def run(self, task_run_id: str) -> v1.ProposeStateResponse:
        return self.command.propose(v1.RUNNING, task_run_id=task_run_id)

    def end(self, task_run_id: str) -> v1.ProposeStateResponse:
        return self.command.propose(v1.COMPLETED, task_run_id=task_run_id)

    def status(self, task_run_id: str) -> v1.RunStatus:
        request = v1.GetTaskRunRequest(task_run_id=task_run_id)
        return self.command.orchestrator.runs.get_task_run(request).task_run.status

    def use(self) -> dict[str, tuple[int, int, int]]:
        """Slots, held and waiting of each limit."""
        limits = self.command.orchestrator.runs.list_concurrency_limits(v1.ListConcurrencyLimitsRequest()).limits
        return {use.limit.limit: (use.limit.slots, use.held, use.waiting) for use in limits}

    def users(self, limit: str, waiting: bool = False) -> list[str]:
        request = v1.ListSlotUsersRequest(limit=limit, waiting=waiting)
        users = self.command.orchestrator.runs.list_slot_users(request).users
        return [user.task_run_id or user.flow_run_id for user in users]


def last_event(limited: Limited, task_run_id: str) -> v1.Event:
    """The last event about a task run."""
    journal = limited.command.orchestrator.journal
    return event_of(journal.read(1, limited.command.head(), stream=bytes_of(task_run_id), backwards=True, limit=1)[0])


@pytest.fixture
def limited(store: str) -> Iterator[Limited]:
    with commanding(store) as command:
        yield Limited(command)


def test_slots_go_to_those_who_wait_in_the_order_in_which_they_came(limited: Limited) -> None:
    limited.set("tag:etl", 2)
    tasks = [limited.task("etl") for _ in range(5)]
    answers = [limited.run(task) for task in tasks]
    assert [answer.decision for answer in answers] == [v1.ACCEPT] * 2 + [v1.WAIT] * 3
    assert answers[2].rule == "SecureTaskConcurrencySlots"
    assert limited.use() == {"tag:etl": (2, 2, 3)}
    assert limited.users("tag:etl", waiting=True) == tasks[2:]

    freed = limited.end(tasks[0]).meta.revision
    granted = limited.status(tasks[2])
    assert [held.limit for held in granted.slots] == ["tag:etl"]
    assert granted.slots[0].HasField("claim_by")
    assert not granted.HasField("slot_wait")
    assert granted.state.type == v1.PENDING
    assert limited.use() == {"tag:etl": (2, 2, 2)}
    assert limited.command.head() == freed + 1

    assert limited.run(tasks[4]).decision == v1.WAIT  # asking again does not move it
    assert limited.run(tasks[2]).decision == v1.ACCEPT
    assert not limited.status(tasks[2]).slots[0].HasField("claim_by")
    limited.end(tasks[1])
    limited.end(tasks[2])
    assert limited.users("tag:etl") == [tasks[3], tasks[4]]
    assert limited.use() == {"tag:etl": (2, 2, 0)}


def retag(limited: Limited, task_run_id: str, *tags: str) -> v1.UpdateRunResponse:
    request = v1.UpdateRunRequest(request_id=new_id(), task_run_id=task_run_id, tags=v1.TagList(tags=tags))
    answer: v1.UpdateRunResponse = limited.command.orchestration.update_run(request, ALICE).result()
    return answer


def test_a_run_that_loses_its_tag_leaves_the_line_and_goes_on(limited: Limited) -> None:
    limited.set("tag:etl", 1)
    first, second, third = (limited.task("etl") for _ in range(3))
    for task in (first, second, third):
        limited.run(task)
    retag(limited, second, "etl", "other")
    assert not last_event(limited, second).run_updated.waited_for
    assert limited.users("tag:etl", waiting=True) == [second, third]
    answer = retag(limited, second)
    assert limited.users("tag:etl", waiting=True) == [third]
    told = last_event(limited, second).slots_granted
    assert (told.freed_by, list(told.facts.limits)) == (answer.meta.revision, [])
    assert limited.run(second).decision == v1.ACCEPT
    limited.end(first)
    assert limited.users("tag:etl") == [third]


def test_those_behind_a_run_that_waits_for_another_limit_are_served_at_once(limited: Limited) -> None:
    """The first in a line waits for another limit as well, and keeps the rest from a slot that is free."""
    limited.set("tag:a", 1)
    limited.set("tag:b", 1)
    holder, both, behind = limited.task("a"), limited.task("a", "b"), limited.task("b")
    for task in (holder, both, behind):
        limited.run(task)
    retag(limited, both, "a")
    assert limited.users("tag:b") == [behind]
    assert limited.users("tag:a", waiting=True) == [both]


def test_a_run_with_other_tags_has_what_is_free_at_once_or_waits_in_its_place(limited: Limited) -> None:
    for limit in ("tag:a", "tag:b", "tag:c"):
        limited.set(limit, 1)
    tasks = [limited.task("a"), limited.task("a"), limited.task("c"), limited.task("a"), limited.task("c")]
    for task in tasks:
        limited.run(task)
    retag(limited, tasks[1], "b")
    assert limited.users("tag:b") == [tasks[1]]
    retag(limited, tasks[3], "c")
    assert limited.users("tag:c", waiting=True) == [tasks[3], tasks[4]]
    limited.set("tag:none", 0)
    retag(limited, tasks[3], "none")
    assert "slots_refused" in str(last_event(limited, tasks[3]))
    assert limited.run(tasks[3]).decision == v1.ABORT


def test_another_process_follows_a_run_that_lost_its_tag(store: str) -> None:
    with commanding(store) as here, commanding(store) as there:
        limited, elsewhere = Limited(here), Limited(there)
        limited.set("tag:a", 1)
        limited.set("tag:b", 1)
        holder, both, behind = limited.task("a"), limited.task("a", "b"), limited.task("b")
        limited.run(holder)
        limited.run(both)
        assert elsewhere.run(behind).decision == v1.WAIT
        retag(limited, both, "a")
        assert elsewhere.run(behind).decision == v1.ACCEPT
        elsewhere.end(holder)
        assert limited.users("tag:a") == [both]


def test_a_run_that_stops_waiting_leaves_the_line(limited: Limited) -> None:
    limited.set("tag:etl", 1)
    first, second, third = (limited.task("etl") for _ in range(3))
    for task in (first, second, third):
        limited.run(task)
    limited.command.propose(v1.CANCELLED, task_run_id=second)
    assert limited.users("tag:etl", waiting=True) == [third]
    limited.end(first)
    assert limited.users("tag:etl") == [third]


def test_a_run_takes_all_its_slots_or_none_and_nobody_overtakes(limited: Limited) -> None:
    limited.set("tag:a", 1)
    limited.set("name:b", 2)
    both, only_a, two_of_b = limited.task("a", b=1), limited.task("a"), limited.task(b=2)
    assert limited.run(only_a).decision == v1.ACCEPT
    assert limited.run(both).decision == v1.WAIT
    # b has two free slots, but `both` came first and waits for one of them.
    assert limited.run(two_of_b).decision == v1.WAIT
    limited.end(only_a)
    assert [held.limit for held in limited.status(both).slots] == ["name:b", "tag:a"]
    assert limited.users("name:b", waiting=True) == [two_of_b]
    limited.run(both)
    limited.end(both)
    assert limited.users("name:b") == [two_of_b]
    assert limited.use() == {"tag:a": (1, 0, 0), "name:b": (2, 2, 0)}


def test_limit_zero_aborts_and_so_does_one_that_is_too_small(limited: Limited) -> None:
    limited.set("tag:etl", 0)
    limited.set("name:db", 2)
    answer = limited.run(limited.task("etl", db=1))
    assert (answer.decision, answer.rule) == (v1.ABORT, "SecureTaskConcurrencySlots")
    assert "tag:etl has 0 slots" in answer.reason
    assert limited.run(limited.task(db=3)).decision == v1.ABORT
    assert limited.use() == {"tag:etl": (0, 0, 0), "name:db": (2, 0, 0)}


def test_a_limit_can_change_while_it_is_held(limited: Limited) -> None:
    limited.set("tag:etl", 3)
    tasks = [limited.task("etl") for _ in range(6)]
    for task in tasks:
        limited.run(task)
    limited.set("tag:etl", 1)
    assert limited.use() == {"tag:etl": (1, 3, 3)}
    limited.end(tasks[0])
    limited.end(tasks[1])
    assert limited.users("tag:etl") == [tasks[2]]  # nobody before it is down to one
    limited.end(tasks[2])
    assert limited.users("tag:etl") == [tasks[3]]
    limited.set("tag:etl", 2)
    assert limited.users("tag:etl") == tasks[3:5]
    limited.set("tag:etl", None)
    assert limited.use() == {}
    assert limited.run(tasks[5]).decision == v1.ACCEPT


def test_who_waits_for_more_than_there_is_now_is_told_at_once_and_holds_nobody_up(limited: Limited) -> None:
    limited.set("name:db", 3)
    large, small, holder = limited.task(db=3), limited.task(db=1), limited.task(db=1)
    limited.run(holder)
    assert [limited.run(large).decision, limited.run(small).decision] == [v1.WAIT, v1.WAIT]
    limited.set("name:db", 2)
    set_by = limited.command.head() - 2
    assert limited.users("name:db") == [holder, small]
    told = last_event(limited, large)
    assert (told.slots_refused.rule, told.slots_refused.set_by, told.slots_refused.task_run) == (
        "RefuseSlots",
        set_by,
        True,
    )
    assert not limited.status(large).HasField("slot_wait")
    assert limited.run(large).decision == v1.ABORT
    limited.set("name:db", 3)
    assert limited.run(large).decision == v1.WAIT


@pytest.mark.parametrize("slots", [0, 1, None])
def test_a_limit_that_changes_reaches_all_who_wait_with_it(limited: Limited, slots: int | None) -> None:
    """Lowered to nothing, below what some need, or removed: those who have no hope are told, those who need not wait
    go on, and the others wait.
    """
    limited.set("name:db", 2)
    holder, two, one = limited.task(db=2), limited.task(db=2), limited.task(db=1)
    for task in (holder, two, one):
        limited.run(task)
    limited.set("name:db", slots)
    kinds = [last_event(limited, task).WhichOneof("what") for task in (two, one)]
    assert (
        kinds
        == {
            0: ["slots_refused", "slots_refused"],
            1: ["slots_refused", "state_proposed"],
            None: ["slots_granted", "slots_granted"],
        }[slots]
    )
    outcomes = [limited.run(task).decision for task in (two, one)]
    assert outcomes == {0: [v1.ABORT, v1.ABORT], 1: [v1.ABORT, v1.WAIT], None: [v1.ACCEPT, v1.ACCEPT]}[slots]
    assert limited.end(holder).decision == v1.ACCEPT


def test_a_flow_run_that_can_never_have_its_slot_is_due_to_hear_so(limited: Limited) -> None:
    deployment = new_id()
    limited.set(f"deployment:{deployment}", 1)
    command = limited.command
    first, second = (command.flow_run(deployment_id=deployment) for _ in range(2))
    command.propose(v1.PENDING, flow_run_id=first)
    command.propose(v1.PENDING, flow_run_id=second)
    limited.set(f"deployment:{deployment}", 0)
    waiting = command.status(second)
    assert (waiting.state.type, waiting.state.name) == (v1.SCHEDULED, "Scheduled")
    assert "it would never run" in waiting.state.message
    assert waiting.next_scheduled_start_time == waiting.state.timestamp
    assert waiting.state.revision == command.head()
    assert command.propose(v1.PENDING, flow_run_id=second).decision == v1.ABORT
    command.clock.advance(15 * SECOND_US)
    command.orchestrator.timers.tick()
    assert command.status(second).state.name == "Late"
    limited.set(f"deployment:{deployment}", 2)
    assert command.propose(v1.PENDING, flow_run_id=second).decision == v1.ACCEPT


def test_who_stands_in_line_already_is_not_new_to_a_limit_that_cancels_what_is_new(limited: Limited) -> None:
    limited.set("tag:etl", 1)
    first, second, third = (limited.task("etl") for _ in range(3))
    limited.run(first)
    limited.run(second)
    limited.set("tag:etl", 1, v1.CANCEL_NEW)
    assert limited.run(second).decision == v1.WAIT
    assert limited.run(third).state.type == v1.CANCELLED
    limited.end(first)
    assert limited.users("tag:etl") == [second]


def test_a_subflow_run_that_is_served_is_mirrored_to_the_task_run_that_tracks_it(limited: Limited) -> None:
    limited.set("name:db", 1)
    command = limited.command
    holder = limited.task(db=1)
    limited.run(holder)
    tracking = [command.task_run(flow_run_id=limited.flow_run, task_key="sub", dynamic_key=str(n)) for n in range(2)]
    specs = [
        v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, parent_task_run_id=tracked, slots={"db": 1})
        for tracked in tracking
    ]
    for spec in specs:
        assert command.propose(v1.RUNNING, create_flow_run=spec).state.name == "AwaitingConcurrencySlot"
    freed = limited.end(holder).meta.revision
    status, mirrored = command.status(specs[0].id), limited.status(tracking[0])
    assert "Got slots" in status.state.message
    assert (mirrored.state.message, mirrored.state.details.child_flow_run_id) == (status.state.message, specs[0].id)
    granted, mirror = command.orchestrator.journal.read(freed + 1, command.head(), limit=9)
    assert event_of(granted).slots_granted.freed_by == freed
    assert event_of(mirror).state_proposed.mirrors == granted.revision
    limited.set("name:db", 0)
    assert "it would never run" in limited.status(tracking[1]).state.message


def test_more_subflow_runs_than_python_can_nest_calls_are_let_through_at_once(limited: Limited) -> None:
    limited.set("name:db", 1)
    command = limited.command
    holder = limited.task(db=1)
    limited.run(holder)
    count = sys.getrecursionlimit() // 3
    batch = v1.ProposeStatesRequest()
    for number in range(count):
        tracked = command.task_run(flow_run_id=limited.flow_run, task_key="sub", dynamic_key=str(number))
        spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, parent_task_run_id=tracked, slots={"db": 1})
        request = v1.ProposeStateRequest(request_id=new_id(), create_flow_run=spec, state=v1.State(type=v1.RUNNING))
        batch.items.add(request=request)
    command.orchestration.propose_states(batch, ALICE).result()
    assert limited.use() == {"name:db": (1, 1, count)}
    limited.set("name:db", count + 1)
    assert limited.use() == {"name:db": (count + 1, count + 1, 0)}


def test_a_holder_that_proposes_running_again_does_not_wait_for_itself(limited: Limited) -> None:
    limited.set("tag:etl", 1)
    task = limited.task("etl")
    assert limited.run(task).decision == v1.ACCEPT
    assert limited.run(task).decision == v1.ACCEPT
    assert limited.use() == {"tag:etl": (1, 1, 0)}


def test_a_task_that_awaits_its_retry_gives_its_slot_back(limited: Limited) -> None:
    limited.set("tag:etl", 1)
    spec = v1.TaskRunSpec(
        flow_run_id=limited.flow_run, task_key="r", dynamic_key="0", tags=["etl"], retry=v1.RetryPolicy(retries=1)
    )
    first = limited.command.propose(v1.RUNNING, create_task_run=spec).run_id
    second = limited.task("etl")
    assert limited.run(second).decision == v1.WAIT
    assert limited.command.propose(v1.FAILED, task_run_id=first).state.name == "AwaitingRetry"
    assert limited.run(first).decision == v1.WAIT
    assert limited.users("tag:etl") == [second]
    limited.run(second)
    limited.end(second)
    assert limited.run(first).decision == v1.ACCEPT


def test_a_full_limit_can_cancel_who_comes_new(limited: Limited) -> None:
    limited.set("tag:etl", 1, v1.CANCEL_NEW)
    first, second = limited.task("etl"), limited.task("etl")
    limited.run(first)
    answer = limited.run(second)
    assert (answer.decision, answer.state.type) == (v1.REJECT, v1.CANCELLED)
    assert limited.use() == {"tag:etl": (1, 1, 0)}


def test_a_run_under_force_takes_no_slot_and_frees_none(limited: Limited) -> None:
    limited.set("tag:etl", 1)
    first, forced = limited.task("etl"), limited.task("etl")
    limited.run(first)
    assert limited.command.propose(v1.RUNNING, task_run_id=forced, force=True).decision == v1.ACCEPT
    assert limited.end(forced).decision == v1.ACCEPT
    assert limited.users("tag:etl") == [first]


def test_flow_runs_of_a_deployment_wait_scheduled_and_become_due_when_it_is_their_turn(limited: Limited) -> None:
    deployment = new_id()
    limited.set(f"deployment:{deployment}", 1)
    command = limited.command
    first, second = (command.flow_run(deployment_id=deployment) for _ in range(2))
    assert command.propose(v1.PENDING, flow_run_id=first).decision == v1.ACCEPT
    answer = command.propose(v1.PENDING, flow_run_id=second)
    assert (answer.decision, answer.state.name) == (v1.REJECT, "AwaitingConcurrencySlot")
    head = command.head()
    again = command.propose(v1.RUNNING, flow_run_id=second)
    assert (again.decision, again.rule, again.waits_for_slots) == (v1.WAIT, "SecureFlowConcurrencySlots", True)
    assert again.reason == f"No free slot: deployment:{deployment} has 1, 1 held; in line before this run: 0."
    assert (again.delay.seconds, again.state, command.head()) == (30, answer.state, head + 1)
    assert command.propose(v1.RUNNING, flow_run_id=first).decision == v1.ACCEPT
    command.propose(v1.COMPLETED, flow_run_id=first)
    waiting = command.status(second)
    assert waiting.state.name == "AwaitingConcurrencySlot"
    assert waiting.next_scheduled_start_time == waiting.state.timestamp
    assert waiting.state.revision == command.head()
    assert command.propose(v1.RUNNING, flow_run_id=second).decision == v1.ACCEPT
    assert limited.users(f"deployment:{deployment}") == [second]


@pytest.mark.parametrize(("on_full", "name"), [(v1.CANCEL_NEW, "Cancelled"), (v1.ENQUEUE, "Late")])
def test_a_late_run_of_a_full_deployment_is_cancelled_where_new_runs_are(
    limited: Limited, on_full: v1.OnFull.ValueType, name: str
) -> None:
    deployment = new_id()
    limited.set(f"deployment:{deployment}", 1, on_full)
    command = limited.command
    command.propose(v1.PENDING, flow_run_id=command.flow_run(deployment_id=deployment))
    late = command.flow_run(v1.SCHEDULED, deployment_id=deployment)
    command.clock.advance(15 * SECOND_US)
    command.orchestrator.timers.tick()
    assert command.status(late).state.name == name


def test_a_run_that_needs_less_than_before_keeps_its_place_in_line(limited: Limited) -> None:
    deployment = new_id()
    limited.set(f"deployment:{deployment}", 5)
    limited.set("name:db", 1)
    holder, later = limited.task(db=1), limited.task(db=1)
    limited.run(holder)
    spec = v1.FlowRunSpec(id=new_id(), flow_id=limited.command.flow_id, deployment_id=deployment, slots={"db": 1})
    propose = limited.command.propose
    assert propose(v1.PENDING, create_flow_run=spec).state.name == "AwaitingConcurrencySlot"
    assert limited.run(later).decision == v1.WAIT
    limited.set(f"deployment:{deployment}", None)
    assert propose(v1.PENDING, flow_run_id=spec.id).state.name == "AwaitingConcurrencySlot"
    limited.end(holder)
    assert limited.users("name:db") == [spec.id]
    assert limited.users("name:db", waiting=True) == [later]


def test_a_flow_run_keeps_its_slot_in_a_blocking_pause_and_while_it_awaits_its_retry(limited: Limited) -> None:
    limited.set("name:db", 1)
    spec = v1.FlowRunSpec(
        id=new_id(), flow_id=limited.command.flow_id, slots={"db": 1}, retry=v1.RetryPolicy(retries=9)
    )
    propose = limited.command.propose
    assert propose(v1.RUNNING, create_flow_run=spec).decision == v1.ACCEPT
    for state in (v1.PAUSED, v1.RUNNING, v1.FAILED, v1.RUNNING):
        propose(state, flow_run_id=spec.id)
        assert limited.users("name:db") == [spec.id]
    propose(v1.COMPLETED, flow_run_id=spec.id)
    assert limited.users("name:db") == []


def test_what_was_held_at_a_revision_can_be_read_later(limited: Limited) -> None:
    limited.set("tag:etl", 1)
    first, second = limited.task("etl"), limited.task("etl")
    running = limited.run(first).meta.revision
    waiting = limited.run(second).meta.revision
    limited.end(first)
    runs = limited.command.orchestrator.runs

    def users(revision: int, waits: bool) -> list[str]:
        request = v1.ListSlotUsersRequest(limit="tag:etl", waiting=waits, read_at=v1.ReadAt(revision=revision))
        return [user.task_run_id for user in runs.list_slot_users(request).users]

    assert [users(running, False), users(running, True)] == [[first], []]
    assert [users(waiting, False), users(waiting, True)] == [[first], [second]]
    assert [users(limited.command.head(), False), users(limited.command.head(), True)] == [[second], []]


def test_users_are_shown_with_their_names_states_times_and_places_on_every_page(limited: Limited) -> None:
    limited.set("name:db", 1)
    propose, flow_id = limited.command.propose, limited.command.flow_id
    flow_run = v1.FlowRunSpec(id=new_id(), flow_id=flow_id, name="Red Orca", slots={"db": 1})
    propose(v1.RUNNING, create_flow_run=flow_run)
    waiting = [limited.task(db=1) for _ in range(3)]
    came = [limited.run(task_run).meta.revision for task_run in waiting]
    runs = limited.command.orchestrator.runs
    (holder,) = runs.list_slot_users(v1.ListSlotUsersRequest(limit="name:db")).users
    assert (holder.run_name, holder.state_type, holder.state_name, holder.place) == (
        "Red Orca",
        v1.RUNNING,
        "Running",
        1,
    )
    request = v1.ListSlotUsersRequest(limit="name:db", waiting=True, page_size=2)
    first = runs.list_slot_users(request)
    request.page_token = first.next_page_token
    users = [*first.users, *runs.list_slot_users(request).users]
    assert [(user.task_run_id, user.since, user.place) for user in users] == [
        (task_run, revision, place)
        for place, (task_run, revision) in enumerate(zip(waiting, came, strict=True), start=1)
    ]
    journal = limited.command.orchestrator.journal
    assert [journal.revision_at(micros_of(user.since_time)) >= user.since for user in users] == [True] * 3


def test_another_process_knows_who_holds_and_who_waits(store: str) -> None:
    with commanding(store) as one, commanding(store) as other:
        here, there = Limited(one), Limited(other)
        here.set("tag:etl", 1)
        first, second, third = here.task("etl"), there.task("etl"), here.task("etl")
        assert here.run(first).decision == v1.ACCEPT
        assert there.run(second).decision == v1.WAIT
        assert here.run(third).decision == v1.WAIT
        assert there.end(first).decision == v1.ACCEPT
        assert here.users("tag:etl") == [second]
        assert here.run(second).decision == v1.ACCEPT
        there.end(second)
        assert there.users("tag:etl") == [third]
        there.set("tag:etl", None)
        assert here.run(here.task("etl")).decision == v1.ACCEPT


def test_setting_a_limit_twice_with_one_request_is_setting_it_once(limited: Limited) -> None:
    request = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit="tag:etl", slots=4)
    set_limit = limited.command.orchestration.set_concurrency_limit
    first = set_limit(request, ALICE).result()
    head = limited.command.head()
    assert set_limit(request, ALICE).result() == first
    assert first.limit == v1.ConcurrencyLimit(limit="tag:etl", slots=4, on_full=v1.ENQUEUE)
    assert limited.command.head() == head


@pytest.mark.parametrize(
    ("limit", "slots", "field"),
    [
        ("", 1, "limit"),
        ("etl", 1, "limit"),
        ("tag:", 1, "limit"),
        ("label:x", 1, "limit"),
        ("deployment:x", 1, "limit"),
        ("tag:" + "x" * 600, 1, "limit"),
        ("tag:a\nb", 1, "limit"),
        ("tag:etl", 1_000_001, "slots"),
    ],
)
def test_a_limit_that_can_not_be_is_refused(limited: Limited, limit: str, slots: int, field: str) -> None:
    head = limited.command.head()
    with pytest.raises(BadRequest) as raised:
        limited.set(limit, slots)
    assert raised.value.field == field
    assert limited.command.head() == head


def test_a_limit_that_is_not_there_can_not_be_removed_nor_read(limited: Limited) -> None:
    head = limited.command.head()
    with pytest.raises(NotFound):
        limited.set("tag:none", None)
    with pytest.raises(NotFound):
        limited.users("tag:none")
    assert limited.command.head() == head


def test_a_lock_is_there_without_being_set_and_goes_with_its_users(limited: Limited) -> None:
    first, second, other = (limited.task(**{name: 1}) for name in ("lock:a", "lock:a", "lock:b"))
    assert [limited.run(task).decision for task in (first, second, other)] == [v1.ACCEPT, v1.WAIT, v1.ACCEPT]
    assert limited.users("name:lock:a") == [first]
    assert limited.users("name:lock:a", waiting=True) == [second]
    limited.end(first)
    assert limited.users("name:lock:a") == [second]
    limited.run(second)
    limited.end(second)
    limited.end(other)
    assert limited.users("name:lock:a") == limited.users("name:lock:b") == []
    assert limited.run(limited.task(**{"lock:a": 2})).decision == v1.ABORT
    with pytest.raises(BadRequest, match=r"^limit: is a lock"):
        limited.set("name:lock:a", 2)
    with pytest.raises(NotFound):
        limited.users("name:free:a")


def test_a_lock_holds_between_processes_and_after_they_end(store: str) -> None:
    with commanding(store) as command:
        here = Limited(command)
        task, follower = here.task(**{"lock:a": 1}), here.task(**{"lock:a": 1})
        with commanding(store) as elsewhere:
            there = Limited(elsewhere)
            other = there.task(**{"lock:a": 1})
            assert here.run(task).decision == v1.ACCEPT
            assert there.run(other).decision == v1.WAIT
            assert here.run(follower).decision == v1.WAIT
            here.end(task)
            assert there.run(other).decision == v1.ACCEPT
        with commanding(store) as later:
            assert later.propose(v1.RUNNING, task_run_id=follower).decision == v1.WAIT
            later.propose(v1.COMPLETED, task_run_id=other)
            assert later.propose(v1.RUNNING, task_run_id=follower).decision == v1.ACCEPT
