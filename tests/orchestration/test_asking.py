"""What falls due and is not granted is asked again, in time and no more often, on real databases under a clock moved by
hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.engine.orchestration.asking import ASK_AGAIN_MAX_S, READ_MAX, TIMERS
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.engine.orchestration.rules import effects
from playhead.engine.orchestration.rules.effects import Effect
from playhead.engine.orchestration.rules.rule import Rule
from tests.orchestration.commanding import SECOND_US, Commanding, commanding

TTL = Duration(seconds=10)
TTL_US = 10 * SECOND_US


class KeepsRunning(Rule):
    """any -> CRASHED, SCHEDULED "Late": what it is told to answer."""

    to_states = frozenset({v1.CRASHED, v1.SCHEDULED})

    def __init__(self, how: str) -> None:
        self.how = how

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if proposed.type == v1.SCHEDULED and proposed.name != "Late":
            return None
        return ANSWERS[self.how](facts.status.state.type)


def faulty(_: v1.StateType.ValueType) -> Effect:
    raise ValueError("a bug")


ANSWERS: dict[str, Callable[[v1.StateType.ValueType], Effect]] = {
    "wait": lambda _: effects.wait(20, "not yet"),
    "wait for nothing": lambda _: effects.wait(0, "not yet"),
    "reject": lambda _: effects.reject("no"),
    "abort": lambda _: effects.abort("no"),
    "raise": faulty,
    "keep": lambda type_: effects.replace(v1.State(type=type_), "it stays"),
}


def keeping(how: str) -> Policy:
    core = core_policy()
    rule = KeepsRunning(how)
    return replace(core, core_flow=(rule, *core.core_flow), core_task=(rule, *core.core_task))


@contextmanager
def dead_run(store: str, how: str) -> Iterator[tuple[Commanding, str]]:
    """A flow run whose lease has just lapsed, under a policy that does not let it crash."""
    with commanding(store, keeping(how)) as command:
        run = command.flow_run()
        command.propose(v1.RUNNING, flow_run_id=run, lease_ttl=TTL)
        command.clock.advance(TTL_US)
        yield command, run


def asked_in(command: Commanding, seconds: int) -> list[int]:
    """At which of so many seconds, looked at one after another, something was proposed; the run's clock moves along."""
    asked = []
    for second in range(seconds):
        head = command.head()
        command.orchestrator.timers.tick()
        if command.head() > head:
            asked.append(second)
        command.clock.advance(SECOND_US)
    return asked


def last_asked(command: Commanding, run: str) -> v1.DecisionRecord:
    return [made for made in command.decisions(run) if made.actor == TIMERS.actor][-1]


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ("wait", [0, 20, 40, 60, 80]),
        ("wait for nothing", list(range(100))),
        ("reject", [0, 60]),
        ("abort", [0, 60]),
        ("raise", [0, 60]),
        ("keep", [0, 60]),
    ],
)
def test_what_was_not_granted_is_asked_again_after_the_delay_or_a_pause(store: str, how: str, asked: list[int]) -> None:
    with dead_run(store, how) as (command, run):
        assert asked_in(command, 100) == asked
        assert command.status(run).state.type == v1.RUNNING


def test_the_pause_grows_from_a_minute_to_an_hour(store: str) -> None:
    with dead_run(store, "reject") as (command, _):
        timers = command.orchestrator.timers
        pauses = []
        for _ in range(READ_MAX + 3):
            assert timers.tick() == 1
            (due,) = timers.due()
            assert due.asked is not None
            pause_us = due.asked.again_at - command.clock()
            pauses.append(pause_us // SECOND_US)
            command.clock.advance(pause_us - 1)
            assert timers.tick() == 0
            command.clock.advance(1)
        hour = int(ASK_AGAIN_MAX_S)
        assert pauses == [60, 120, 240, 480, 960, 1920, *[hour] * (READ_MAX - 3)]


@pytest.mark.parametrize("how", ANSWERS)
def test_another_policy_is_asked_at_once(store: str, how: str) -> None:
    """The rule was taken out, or its bug mended: nothing that it held up stays as it is."""
    with dead_run(store, how) as (command, run):
        command.orchestrator.timers.tick()
        assert command.status(run).state.type == v1.RUNNING
        clock = command.clock
    with Orchestrator.open(store, clock=clock, timers=False) as mended:
        assert mended.timers.tick() == 1
        request = v1.GetFlowRunRequest(flow_run_id=run)
        assert mended.runs.get_flow_run(request).flow_run.status.state.type == v1.CRASHED


def test_processes_of_two_policies_do_not_make_each_other_ask(store: str) -> None:
    with dead_run(store, "reject") as (command, run):
        with Orchestrator.open(store, policy=keeping("abort"), clock=command.clock, timers=False) as other:
            for _ in range(50):
                command.orchestrator.timers.tick()
                other.timers.tick()
                command.clock.advance(SECOND_US)
        made = [decided.decision for decided in command.decisions(run) if decided.actor == TIMERS.actor]
        assert made == [v1.REJECT, v1.ABORT]


def test_several_processes_make_one_event_of_each_asking(store: str) -> None:
    with (
        dead_run(store, "wait") as (command, run),
        Orchestrator.open(store, policy=keeping("wait"), clock=command.clock, timers=False) as other,
    ):
        servers = (command.orchestrator, other)
        for _ in range(3):
            # Both have looked before either proposes.
            seen = [server.timers.due() for server in servers]
            assert seen[0] == seen[1]
            for server, dues in zip(servers, seen, strict=True):
                for due in dues:
                    server.orchestration.propose_state(due.request, TIMERS).result()
                assert server.timers.tick() == 0
            command.clock.advance(20 * SECOND_US)
        assert sum(decided.actor == TIMERS.actor for decided in command.decisions(run)) == 3


def test_what_others_are_refused_meanwhile_changes_nothing(store: str) -> None:
    with dead_run(store, "wait") as (command, run):
        command.orchestrator.timers.tick()
        for _ in range(2 * READ_MAX):
            assert command.propose(v1.CRASHED, flow_run_id=run).decision == v1.WAIT
        assert command.orchestrator.timers.tick() == 0
        command.clock.advance(20 * SECOND_US)
        assert command.orchestrator.timers.tick() == 1


def test_a_late_run_that_a_rule_keeps_scheduled_is_not_asked_about_at_every_look(store: str) -> None:
    """Each answer is a change of the run, which is late as before."""
    with commanding(store, keeping("keep")) as command:
        run = command.flow_run(v1.SCHEDULED)
        command.clock.advance(15 * SECOND_US)
        asked = asked_in(command, 130)
        assert asked == [0, 60, 120]
        assert command.status(run).state.name == "Scheduled"


def test_what_a_stopped_flow_run_leaves_is_found_again_after_a_wait(store: str) -> None:
    """Its flow run is followed once; then the next sweep would be a minute away."""
    with commanding(store, keeping("wait")) as command:
        parent = command.flow_run(v1.RUNNING)
        task = command.task_run(v1.RUNNING, flow_run_id=parent, task_key="t", dynamic_key="0")
        command.orchestrator.timers.tick()
        command.propose(v1.CRASHED, flow_run_id=parent, force=True)
        assert asked_in(command, 50) == [0, 20, 40]
        assert command.task_status(task).state.type == v1.RUNNING


@pytest.mark.parametrize("how", ANSWERS)
def test_to_decide_what_is_due_comes_to_an_end_and_leaves_what_was_not_granted(store: str, how: str) -> None:
    with dead_run(store, how) as (command, run):
        timers = command.orchestrator.timers
        assert timers.decide() == 1
        (due,) = timers.due()
        assert due.run_id == run
        assert due.asked is not None
        assert due.asked.record.revision == last_asked(command, run).revision
        assert timers.decide() == 0
