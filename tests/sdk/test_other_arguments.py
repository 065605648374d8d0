"""A flow run that is executed again: a call has the result of the same call, which is one of the same arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.client.interface import LIST_DECISIONS
from playhead.engine.execution.drivers import drive_sync
from playhead.engine.execution.flow_loop import FlowCall
from playhead.engine.execution.subflows import call_loop
from playhead.runs import FlowRun
from playhead.states import State
from tests.sdk.conftest import Service

began: list[Any] = []


class Died(BaseException):
    """The process is gone."""


@task
def load(item: Any) -> Any:
    began.append(item)
    return item


@task(name="load", cache_policy=None)
def load_uncached(item: Any) -> Any:
    return load.fn(item)


@flow
def loading(item: Any) -> Any:
    began.append(item)
    return item


@task
async def load_async(item: Any) -> Any:
    began.append(item)
    return item


def executed_again(service: Service, run: Any) -> State[Any]:
    """Go on with the last run of a flow that died."""
    recorded = service.flow_runs(run.name)[-1]
    existing = FlowRun(recorded.spec.id, recorded.status.name, [], run.name, {})
    return drive_sync(call_loop(FlowCall(run, {}, service.client, existing=existing)), service.client)


@pytest.fixture(autouse=True)
def nothing_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease of a run that died does not keep others away for long."""
    began.clear()
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "1")


@pytest.mark.parametrize(
    "call", [load, load_uncached, load.submit, loading], ids=["call", "no cache", "submit", "flow"]
)
def test_calls_that_come_in_another_order_have_their_own_results(service: Service, call: Callable[..., Any]) -> None:
    orders = iter([["a", "b"], ["b", "a", "c"]])
    results: list[Any] = []

    @flow
    def as_they_come() -> list[Any]:
        results.clear()
        for item in next(orders):
            outcome = call(item)
            results.append(outcome.result() if call == load.submit else outcome)
        if len(results) == 2:
            raise Died
        return results

    with pytest.raises(Died):
        as_they_come()
    assert executed_again(service, as_they_come).result() == ["b", "a", "c"]
    assert began == ["a", "b", "b", "a", "c"]


def test_calls_in_the_same_order_are_not_repeated(service: Service) -> None:
    attempts = iter([True, False])

    @flow
    def in_order() -> list[Any]:
        results = [load({"n": n, "tags": {"x", "y", str(n)}}) for n in range(3)] + [loading((1, None))]
        if next(attempts):
            raise Died
        return results

    with pytest.raises(Died):
        in_order()
    assert len(executed_again(service, in_order).result()) == 4
    assert len(began) == 4


def test_log_and_decision_say_why_it_runs_again(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    items = iter([1, 2])

    @flow
    def changing() -> Any:
        item = next(items)
        result = load(item)
        if item == 1:
            raise Died
        return result

    with pytest.raises(Died):
        changing()
    state = executed_again(service, changing)
    assert state.result() == 2
    assert "Runs again: The stored result is one of other arguments." in caplog.messages
    (run,) = service.task_runs(state.state_details.flow_run_id)
    assert service.state_names(task_run=run.spec.id) == ["Pending", "Running", "Completed", "Rerunning", "Completed"]
    request = v1.ListDecisionsRequest(task_run_id=run.spec.id)
    reasons = [rule.reason for each in service.client.unary(LIST_DECISIONS, request).decisions for rule in each.rules]
    assert "The stored result is one of other arguments, so the run starts again: run_count from 0." in reasons


@pytest.mark.parametrize(
    "arguments",
    [[bytes(2_000_000), bytes(2_000_001)], [(n for n in "ab"), (n for n in "cd")]],
    ids=["large", "no digest"],
)
def test_arguments_that_are_not_compared_leave_it_to_the_order(service: Service, arguments: list[Any]) -> None:
    items = iter(arguments)
    attempts = iter([True, False])

    @task
    def count(of: Any) -> int:
        began.append(None)
        return len(began)

    @flow
    def ordered() -> Any:
        result = count(next(items))
        if next(attempts):
            raise Died
        return result

    with pytest.raises(Died):
        ordered()
    assert executed_again(service, ordered).result() == 1
    assert len(began) == 1
