"""Inputs of tasks: futures, states, annotations, and `.map`."""

from __future__ import annotations

import asyncio
import io
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from playhead import allow_failure, flow, quote, task, unmapped
from playhead.exceptions import (
    MappingLengthMismatch,
    MappingMissingIterable,
    UnfinishedRun,
    UpstreamTaskError,
)
from playhead.futures import PlayheadFuture
from playhead.states import StateType
from playhead.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, ThreadPoolTaskRunner
from tests.sdk.conftest import Service

RUNNERS = [ThreadPoolTaskRunner, ConcurrentTaskRunner, SequentialTaskRunner, ThreadPoolTaskRunner(max_workers=1)]


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
def echo(value: Any) -> Any:
    return value


@task
def fail(message: str = "bad") -> None:
    raise ValueError(message)


@task
async def add_async(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@pytest.mark.parametrize("runner", RUNNERS, ids=["threads", "concurrent", "sequential", "one thread"])
def test_submit_and_map_on_every_runner(service: Service, runner: Any) -> None:
    @flow(task_runner=runner)
    def submitting() -> tuple[Any, Any, int]:
        first = add.submit(1)
        second = add.submit(first, y=first)
        mapped = add.map([1, 2, 3], second)
        total = add.submit(sum(mapped.result()), 0)
        return second.result(), mapped.result(), total.result()

    assert submitting() == (4, [5, 6, 7], 18)


def test_futures_are_found_in_nested_collections(service: Service) -> None:
    Named = namedtuple("Named", "a b")

    @dataclass
    class Box:
        content: Any

    @flow
    def nesting() -> Any:
        f = echo.submit(1)
        return echo({"a": [f, (f, {f})], "b": Box(f), "c": Named(f, 2), "d": [[f]]})

    result = nesting()
    assert result["a"] == [1, (1, {1})]
    assert result["b"].content == 1
    assert result["c"] == (1, 2)
    assert result["d"] == [[1]]


def test_an_argument_without_futures_is_passed_as_it_is(service: Service) -> None:
    seen = []

    @task
    def look(value: Any) -> None:
        seen.append(value)

    @flow
    def passing() -> None:
        look(given)
        look.submit(given)

    given = [1, {"a": [2]}, (3,)]
    passing()
    assert all(value is given for value in seen)


def test_states_are_inputs_too(service: Service) -> None:
    @flow
    def chaining() -> int:
        state = add(1, return_state=True)
        return add(state)  # type: ignore[no-any-return]  # tasks answer Any

    assert chaining() == 3


def test_what_a_run_was_made_of_is_recorded(service: Service) -> None:
    @flow
    def tracing() -> None:
        made = echo([1])
        future = add.submit(2)
        add(made, [future], wait_for=[future])

    tracing()
    run = service.flow_runs("tracing")[-1]
    by_name = {task_run.spec.name: task_run.spec for task_run in service.task_runs(run.spec.id)}
    inputs = by_name["add-1"].inputs
    assert [i.task_run_id for i in inputs["x"].inputs] == [by_name["echo-0"].id]
    assert [i.task_run_id for i in inputs["y"].inputs] == [by_name["add-0"].id]
    assert [i.task_run_id for i in inputs["wait_for"].inputs] == [by_name["add-0"].id]


def test_each_mapped_run_was_made_of_what_was_mapped_over(service: Service) -> None:
    @flow
    def tracing() -> None:
        add.map(echo.submit([1, 2]), wait_for=[echo.submit("waited for")]).wait()

    tracing()
    made, waited, *mapped = service.task_runs(service.flow_runs("tracing")[-1].spec.id)
    assert [run.status.name for run in mapped] == ["add-0", "add-1"]
    for run in mapped:
        assert [i.task_run_id for i in run.spec.inputs["x"].inputs] == [made.spec.id]
        assert [i.task_run_id for i in run.spec.inputs["wait_for"].inputs] == [waited.spec.id]


def test_a_failed_upstream_holds_the_call_back(service: Service) -> None:
    ran = []

    @task
    def follow(value: Any = None) -> None:
        ran.append(value)

    @flow
    def holding() -> list[Any]:
        failed = fail.submit()
        states = [follow.submit(failed, return_state=True), follow.submit(wait_for=[failed], return_state=True)]
        with pytest.raises(UnfinishedRun):
            follow(failed)
        follow(allow_failure(failed))
        return states

    state = holding(return_state=True)
    assert (state.type, state.message) == (StateType.FAILED, "2/2 states are not final.")
    names = [run.status.state.name for run in service.task_runs(state.state_details.flow_run_id)]
    assert names.count("NotReady") == 3
    assert [str(value) for value in ran] == ["bad"]


def test_quoted_arguments_are_not_looked_into(service: Service) -> None:
    @flow
    def quoting() -> tuple[str, bool]:
        future = echo.submit(1)
        return echo(quote("x + y")), isinstance(echo.fn(quote([future]).unquote()[0]), PlayheadFuture)

    assert quoting() == ("x + y", True)


def test_map_rules(service: Service) -> None:
    @task
    def join(a: Any, b: Any = "default", **rest: Any) -> Any:
        return a, b, rest

    @flow
    def mapping() -> str:
        assert join.map([1, 2]).result() == [(1, "default", {}), (2, "default", {})]
        assert join.map([1, 2], unmapped([3, 4])).result() == [(1, [3, 4], {}), (2, [3, 4], {})]
        assert join.map([1, 2], "ab").result() == [(1, "ab", {}), (2, "ab", {})]
        assert join.map({"k": 1}, c=(5,)).result() == [("k", "default", {"c": 5})]
        assert join.map(echo.submit([1, 2]), b=echo.map(["x", "y"])).result() == [(1, "x", {}), (2, "y", {})]
        assert join.map([]).result() == []
        assert join.map(n for n in (1, 2)).result() == [(1, "default", {}), (2, "default", {})]
        with pytest.raises(MappingMissingIterable, match="No iterable parameters were received"):
            join.map(1, io.StringIO("text"))
        with pytest.raises(MappingLengthMismatch, match=r"Got lengths: \{'a': 2, 'b': 3\}"):
            join.map([1, 2], [1, 2, 3])
        with pytest.raises(UpstreamTaskError):
            join.map(fail.submit())
        states = join.map([1], return_state=True)
        assert [state.name for state in states] == ["Completed"]
        return "all as it should be"

    mapping()


def test_failures_among_mapped_inputs_can_be_allowed(service: Service) -> None:
    @task
    def risky(n: int) -> int:
        if n < 0:
            raise ValueError("Negative value")
        return n * 2

    @task
    def handle(result: Any) -> str:
        return f"Error: {result}" if isinstance(result, Exception) else f"Success: {result}"

    @flow
    def handling() -> list[str]:
        return handle.map(allow_failure(risky.map([-1, 2]))).result()

    assert handling() == ["Error: Negative value", "Success: 4"]


def test_mapped_runs_are_counted_in_the_order_of_their_elements(service: Service) -> None:
    @flow
    def mapping() -> None:
        echo.map([10, 11, 12])

    mapping()
    run = service.flow_runs("mapping")[-1]
    keys = {task_run.spec.dynamic_key for task_run in service.task_runs(run.spec.id)}
    assert keys == {"0", "1", "2"}
