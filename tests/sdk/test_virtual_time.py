"""The loops under virtual time: delays, timeouts and expiries take no time at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import Flow, Task, flow, task, v1
from playhead.client.interface import LIST_FLOW_RUNS, LIST_STATES, PROPOSE_STATE, REGISTER_FLOW, Client
from playhead.engine.execution import calls
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.connection import close_clients
from playhead.engine.execution.drivers import perform
from playhead.engine.execution.effects import CallUser
from playhead.engine.execution.flow_loop import flow_loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.task_loop import task_loop
from playhead.engine.execution.translation import flow_run_of
from playhead.runs import FlowRun
from playhead.states import State
from tests.sdk.virtual import Takes, VirtualTime, virtual_journal

World = tuple[VirtualTime, Client]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Virtual time and a journal that goes by it."""
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))
    with virtual_journal(tmp_path) as world:
        yield world
    close_clients()


def run_task(world: World, run: Task[..., Any], **parameters: Any) -> State[Any]:
    """One call of a task outside of flows."""
    time, client = world
    call = calls.make_call(run, parameters)
    call.client = client
    return time.drive(task_loop(call), client)


def run_flow(world: World, run: Flow[..., Any], **parameters: Any) -> State[Any]:
    """One call of a flow."""
    time, client = world
    return time.drive(flow_loop(FlowCall(run, parameters, client)), client)


def names(world: World, **run: str) -> list[str]:
    """The names of all states of a run."""
    return [state.name for state in world[1].unary(LIST_STATES, v1.ListStatesRequest(**run)).states]  # type: ignore[arg-type]  # one field by name


@pytest.mark.parametrize(
    ("delays", "slept"),
    [
        (5, [5, 5, 5]),
        ([1, 10], [1, 10, 10]),
        ([0.3, 1.5, 0.001], [0.3, 1.5, 0.001]),
        ([1, 2, 3600], [1, 2, 3600]),
        (0, []),
    ],
)
def test_a_task_waits_as_long_as_its_retry_delays_say(world: World, delays: Any, slept: list[float]) -> None:
    @task(retries=3, retry_delay_seconds=delays)
    def hopeless() -> None:
        raise ValueError("never")

    state = run_task(world, hopeless)
    assert state.is_failed()
    assert world[0].slept_s == slept
    assert names(world, task_run_id=str(state.state_details.task_run_id)).count("AwaitingRetry") == 3


def test_jitter_spreads_a_delay_within_its_bound(world: World) -> None:
    @task(retries=20, retry_delay_seconds=100, retry_jitter_factor=0.5)
    def hopeless() -> None:
        raise ValueError("never")

    run_task(world, hopeless)
    slept = world[0].slept_s
    assert len(set(slept)) > 5
    assert all(0 <= seconds <= 151 for seconds in slept)


@pytest.mark.parametrize("delay_s", [60, 0.3])
def test_a_flow_waits_for_its_retry_delay(world: World, delay_s: float) -> None:
    attempts = []

    @flow(retries=2, retry_delay_seconds=delay_s)
    def second_try() -> int:
        attempts.append(world[0].now_us)
        if len(attempts) < 2:
            raise ValueError("once")
        return 5

    assert run_flow(world, second_try).result() == 5
    assert world[0].slept_s == [delay_s]
    assert attempts[1] - attempts[0] == delay_s * 1_000_000


@pytest.mark.parametrize(("on_crash", "left"), [(True, "AwaitingRetry"), (False, "Crashed")])
def test_a_flow_run_whose_process_died_is_scheduled_again_where_that_is_asked_for(
    world: World, on_crash: bool, left: str
) -> None:
    time, client = world

    @flow(retries=1, retry_delay_seconds=5, retry_on_crash=on_crash)
    def interrupted() -> None: ...

    dying = flow_loop(FlowCall(interrupted, {}, client))
    effect = dying.send(None)
    while not isinstance(effect, CallUser):
        effect = dying.send(perform(effect, client))
    dying.close()
    time.advance(60)
    client.orchestrator.timers.tick()  # type: ignore[attr-defined] # the embedded client's
    (run,) = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest()).flow_runs
    assert run.status.state.name == left
    again = FlowCall(interrupted, {}, client, existing=flow_run_of(run))
    assert time.drive(flow_loop(again), client).is_completed()
    assert time.slept_s == ([5] if on_crash else [])


def test_a_crash_is_tried_again_within_the_retries_there_are() -> None:
    with pytest.raises(ValueError, match="set `retries` too"):
        flow(retry_on_crash=True)(lambda: None)


@pytest.mark.parametrize(("takes_s", "name"), [(59, "Completed"), (61, "TimedOut")])
def test_a_timeout_is_a_failure_of_its_own_name(world: World, takes_s: float, name: str) -> None:
    @task(timeout_seconds=60)
    def slow_task() -> Any:
        return Takes(takes_s, "done")

    @flow(timeout_seconds=60)
    def slow_flow() -> Any:
        return Takes(takes_s, "done")

    assert run_task(world, slow_task).name == name
    assert run_flow(world, slow_flow).name == name


def test_a_timed_out_task_is_retried(world: World) -> None:
    durations = iter([100, 1])

    @task(timeout_seconds=60, retries=1)
    def slow_once() -> Any:
        return Takes(next(durations), "done")

    assert run_task(world, slow_once).result() == "done"


def test_a_run_whose_lease_another_process_holds_waits_until_it_lapses(world: World) -> None:
    time, client = world

    @flow
    def stranded() -> str:
        return "finished"

    run = FlowRun(new_id(), "stranded", [], "stranded", {})
    registered = client.unary(
        REGISTER_FLOW, v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="stranded")
    )
    lost = v1.ProposeStateRequest(
        request_id=new_id(),
        create_flow_run=v1.FlowRunSpec(id=run.run_id, flow_id=registered.flow.id, name="stranded"),
        state=v1.State(type=v1.RUNNING),
        lease_ttl=Duration(seconds=60),
    )
    client.unary(PROPOSE_STATE, lost)
    state = time.drive(flow_loop(FlowCall(stranded, {}, client, existing=run)), client)
    assert state.result() == "finished"
    assert sum(time.slept_s) == pytest.approx(60, abs=1.5)
