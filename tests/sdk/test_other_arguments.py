"""A flow run that is executed again: a call has the result of the same call, which is one of the same arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.cache_policies import INPUTS
from playhead.client.interface import LIST_DECISIONS
from playhead.engine.execution.calls import FlowCall
from playhead.engine.execution.drivers import drive_sync
from playhead.engine.execution.subflows import call_loop
from playhead.runs import FlowRun
from playhead.states import State
from playhead.transactions import Transaction, get_transaction
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


def commit(txn: Any) -> None:
    began.append(f"commit {txn.get('item')}")


def undo(txn: Any) -> None:
    began.append(f"undo {txn.get('item')}")


@task(on_commit=[commit], on_rollback=[undo])
def staging(item: Any) -> Any:
    txn = get_transaction()
    assert txn is not None
    txn.set("item", item)
    return load.fn(item)


@task(cache_policy=INPUTS, on_commit=[commit], on_rollback=[undo])
def cached_staging(item: Any) -> Any:
    return staging.fn(item)


@task
def calls_staging(item: Any) -> Any:
    return staging(item)


@flow
def subflow_staging(item: Any) -> Any:
    return staging(item)


@pytest.mark.parametrize("call", [staging, calls_staging, subflow_staging], ids=["task", "nested task", "subflow"])
def test_what_a_call_with_other_arguments_has_left_staged_is_undone(service: Service, call: Callable[..., Any]) -> None:
    items = iter("aba")

    @flow
    def in_a_transaction() -> Any:
        txn = Transaction().__enter__()
        result = call(next(items))
        if began.count("a") == 1:
            raise Died
        txn.commit()
        return result

    for execute in (in_a_transaction, lambda: executed_again(service, in_a_transaction)):
        with pytest.raises(Died):
            execute()
    assert executed_again(service, in_a_transaction).result() == "a"
    assert began == ["a", "undo a", "b", "undo b", "a", "commit a"]
    if call == subflow_staging:
        states = [run.status.state.name for run in service.flow_runs("subflow-staging")]
        assert states[-2:] == ["Completed", "RolledBack"]


def test_what_a_call_has_left_staged_is_undone_when_its_other_arguments_are_found_in_a_cache(service: Service) -> None:
    items = iter("bab")

    @flow
    def once() -> Any:
        return cached_staging(next(items))

    @flow
    def in_a_transaction() -> Any:
        txn = Transaction().__enter__()
        result = cached_staging(next(items))
        if result == "a":
            raise Died
        txn.commit()
        return result

    once()
    with pytest.raises(Died):
        in_a_transaction()
    assert executed_again(service, in_a_transaction).result() == "b"
    assert began == ["b", "commit b", "a", "undo a"]


def test_what_was_committed_stays_so_when_the_call_comes_with_other_arguments(service: Service) -> None:
    items = iter("ab")

    @flow
    def without_a_transaction() -> Any:
        result = staging(next(items))
        if result == "a":
            raise Died
        return result

    with pytest.raises(Died):
        without_a_transaction()
    assert executed_again(service, without_a_transaction).result() == "b"
    assert began == ["a", "commit a", "b", "commit b"]


def calls_a_task(txn: Any) -> None:
    if load(len(began)) == 0:
        raise Died


def test_a_task_that_a_hook_calls_with_other_arguments_runs_again(service: Service) -> None:
    @flow
    def with_a_hook() -> None:
        with Transaction() as txn:
            txn.stage(None, on_commit_hooks=[calls_a_task])

    with pytest.raises(Died):
        with_a_hook()
    executed_again(service, with_a_hook)
    assert began == [0, 1]
