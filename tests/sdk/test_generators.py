"""Generator functions as flows and tasks: values reach the caller as they are yielded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from playhead import flow, get_run_logger, tags, task
from playhead.context import FlowRunContext, TagsContext, TaskRunContext
from playhead.runtime import flow_run, task_run
from playhead.states import State
from tests.sdk.conftest import Service


@task
def counted(n: int) -> Iterator[int]:
    yield from range(n)


@task
async def counted_async(n: int) -> AsyncIterator[int]:
    for value in range(n):
        await asyncio.sleep(0)
        yield value


@flow
def yielding(n: int) -> Iterator[int]:
    yield from range(n)


@flow
async def yielding_async(n: int) -> AsyncIterator[int]:
    for value in range(n):
        await asyncio.sleep(0)
        yield value


@task
def echo(value: Any) -> Any:
    return value


async def collected(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


def state_name(service: Service, flow_name: str) -> str:
    return service.flow_runs(flow_name)[-1].status.state.name


def test_a_generator_flow_runs_while_it_is_iterated(service: Service) -> None:
    values = yielding("3")  # coerced to its annotation
    before = len(service.flow_runs("yielding"))  # the server has seen other tests
    assert next(values) == 0
    assert len(service.flow_runs("yielding")) == before + 1
    assert state_name(service, "yielding") == "Running"
    assert list(values) == [1, 2]
    assert state_name(service, "yielding") == "Completed"
    assert asyncio.run(collected(yielding_async(3))) == [0, 1, 2]
    assert state_name(service, "yielding-async") == "Completed"
    assert [yielding.isgenerator, yielding.isasync, yielding_async.isgenerator, yielding_async.isasync] == [
        True, False, True, True,
    ]  # fmt: skip


def test_generator_tasks_in_flows_and_outside(service: Service) -> None:
    @flow
    def iterating() -> int:
        return sum(counted(4))

    @flow
    async def iterating_async() -> int:
        return sum(await collected(counted_async(4))) + sum(counted(4))

    assert list(counted(3)) == [0, 1, 2]
    state = iterating(return_state=True)
    assert state.result() == 6
    (run,) = service.task_runs(state.state_details.flow_run_id)
    assert service.state_names(task_run=run.spec.id) == ["Pending", "Running", "Completed"]
    assert asyncio.run(iterating_async()) == 12


def test_what_a_generator_returns_is_its_result(service: Service) -> None:
    @task
    def summing() -> Iterator[int]:
        yield 1
        return 5  # the value of `yield from`

    @flow
    def delegating() -> Iterator[int]:
        result = yield from summing()
        yield int(result) * 10

    assert list(delegating()) == [1, 50]


def test_values_and_errors_are_sent_into_the_function(service: Service) -> None:
    @flow
    def answering() -> Iterator[str]:
        try:
            yield "got " + str((yield "first"))
        except KeyError:
            yield "key error"

    @flow
    async def answering_async() -> AsyncIterator[str]:
        try:
            yield "got " + str((yield "first"))
        except KeyError:
            yield "key error"

    async def asking() -> list[str]:
        values: Any = answering_async()
        return [
            await anext(values),
            await values.asend(1),
            await values.athrow(KeyError("k")),
            *await collected(values),
        ]

    values: Any = answering()
    assert [next(values), values.send(1), values.throw(KeyError("k")), *values] == ["first", "got 1", "key error"]
    assert asyncio.run(asking()) == ["first", "got 1", "key error"]


@pytest.mark.parametrize("kind", ["flow", "task"])
def test_closing_early_ends_the_run_well(service: Service, kind: str) -> None:
    cleaned = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield len(cleaned)
        finally:
            cleaned.append(echo(flow_run.flow_name))

    async def endless_async() -> AsyncIterator[int]:
        try:
            while True:
                yield len(cleaned)
        finally:
            await asyncio.sleep(0)
            cleaned.append(echo(flow_run.flow_name))

    decorator: Any = flow if kind == "flow" else task

    @flow(name="outer")
    def outer() -> None:
        for _ in decorator(name="endless")(endless)():
            break

    @flow(name="outer-async")
    async def outer_async() -> None:
        async with aclosing(decorator(name="endless")(endless_async)()) as values:
            async for _ in values:
                break

    for state in (outer(return_state=True), asyncio.run(outer_async(return_state=True))):
        assert state.is_completed()
        runs = service.task_runs(state.state_details.flow_run_id)
        assert {run.status.state.name for run in runs} == {"Completed"}
        assert len(runs) == (2 if kind == "task" else 1)
    assert cleaned == (["endless", "endless"] if kind == "flow" else ["outer", "outer-async"])


def test_a_failing_generator_fails_its_run_after_what_it_yielded(service: Service) -> None:
    @flow
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("after one")

    values = failing()
    assert next(values) == 1
    with pytest.raises(ValueError, match="after one"):
        next(values)
    assert state_name(service, "failing") == "Failed"


def test_a_generator_that_is_retried_yields_again(service: Service) -> None:
    attempts = []

    @task(retries=1)
    def flaky() -> Iterator[int]:
        attempts.append(task_run.run_count)
        yield 1
        if len(attempts) == 1:
            raise ValueError("again")
        yield 2

    @flow(retries=1)
    def outer() -> list[int]:
        values = [*flaky(), *yielding(2)]
        if len(attempts) == 2:
            raise ValueError("once more")
        return values

    state = outer(return_state=True)
    # Completed generator runs were not kept: the second attempt of the flow runs them again, and has all values.
    assert state.result() == [1, 2, 0, 1]
    assert attempts == [1, 2, 1]


def test_submitted_generators_give_lists(service: Service) -> None:
    @task
    def returning() -> Iterator[int]:
        return (n for n in range(3))

    @flow
    def submitting() -> list[list[int]]:
        return [
            counted.submit(2).result(),
            counted_async.submit(2).result(),
            *counted.map([1, 2]).result(),
            returning(),
        ]

    assert submitting() == [[0, 1], [0, 1], [0], [0, 1], [0, 1, 2]]


def test_the_callers_code_is_in_no_part_of_the_run(service: Service) -> None:
    seen: list[Any] = []

    @task
    def tagged() -> Iterator[str]:
        with tags("inside"):
            for _ in range(2):
                get_run_logger().info("inside")
                yield f"{task_run.task_name} {sorted(TagsContext.get().current_tags)}"

    @flow
    def outer() -> None:
        for value in tagged():
            seen.append((value, TaskRunContext.get() is None, flow_run.flow_name))
            echo(1)

    @flow
    async def generating() -> AsyncIterator[str]:
        with tags("inside"):
            for _ in range(2):
                async with asyncio.timeout(60):
                    yield f"{flow_run.flow_name} {sorted(TagsContext.get().current_tags)}"

    async def caller() -> None:
        async for value in generating():
            around = (FlowRunContext.get(), TagsContext.get().current_tags)
            seen.append((value, *around))
        assert TagsContext.get().current_tags == {"outside"}

    state = outer(return_state=True)
    assert seen == [("tagged ['inside']", True, "outer")] * 2
    assert {run.spec.dynamic_key for run in service.task_runs(state.state_details.flow_run_id)} == {"0", "1"}
    seen.clear()
    with tags("outside"):
        asyncio.run(caller())
    assert seen == [("generating ['inside', 'outside']", None, {"outside"})] * 2


def test_two_generators_are_iterated_in_turn(service: Service) -> None:
    @flow
    def named(name: str) -> Iterator[tuple[str, str]]:
        for _ in range(2):
            yield name, str(flow_run.parameters["name"])

    @flow
    async def named_async(name: str) -> AsyncIterator[tuple[str, str]]:
        for _ in range(2):
            await asyncio.sleep(0)
            yield name, str(flow_run.parameters["name"])

    async def in_turn() -> list[Any]:
        first, second = named_async("a"), named_async("b")
        return [await anext(values) for values in (first, second, first, second)]

    expected = [("a", "a"), ("b", "b"), ("a", "a"), ("b", "b")]
    assert [value for pair in zip(named("a"), named("b"), strict=True) for value in pair] == expected
    assert asyncio.run(in_turn()) == expected


def test_what_is_yielded_is_known_as_an_input(service: Service) -> None:
    @task
    def making() -> Iterator[list[int]]:
        yield [1]

    @flow
    def passing_on() -> None:
        for value in making():
            echo(value)

    state = passing_on(return_state=True)
    maker, user = service.task_runs(state.state_details.flow_run_id)
    assert [made.task_run_id for made in user.spec.inputs["value"].inputs] == [maker.spec.id]


@pytest.mark.parametrize("thread", ["main", "other"])
def test_a_time_limit_counts_the_time_in_the_function(embedded: Service, thread: str) -> None:
    @flow(timeout_seconds=0.2)
    def endless() -> Iterator[int]:
        yield 1
        while True:
            pass

    def iterate() -> None:
        values = endless()
        assert next(values) == 1
        begun = time.monotonic()
        while time.monotonic() - begun < 0.3:
            """The caller takes its time."""
        with pytest.raises(TimeoutError, match="exceeded timeout"):
            next(values)
        states.append(state_name(embedded, "endless"))

    states: list[str] = []
    if thread == "main":
        iterate()
    else:
        other = threading.Thread(target=iterate)
        other.start()
        other.join()
    assert states == ["TimedOut"]


def test_a_time_limit_of_an_async_generator(service: Service) -> None:
    @task(timeout_seconds=0.05)
    async def endless() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    @flow
    async def iterating() -> list[int]:
        with pytest.raises(TimeoutError):
            return await collected(endless())
        return []

    state = asyncio.run(iterating(return_state=True))
    assert state.result() == []
    assert [run.status.state.name for run in service.task_runs(state.state_details.flow_run_id)] == ["TimedOut"]


def test_an_async_iteration_that_is_cancelled_ends_crashed(service: Service) -> None:
    @flow
    async def endless() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def cancelling() -> None:
        values = endless()
        assert await anext(values) == 1
        waiting = asyncio.ensure_future(anext(values))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cancelling())
    run = service.flow_runs("endless")[-1]
    assert run.status.state.name == "Crashed"
    assert run.status.state.message == "Execution was cancelled by the runtime environment."


def test_hooks_retries_and_failures_of_generators(service: Service) -> None:
    states: list[str] = []

    def note(definition: Any, run: Any, state: State[Any]) -> None:
        states.append(state.name)

    async def note_async(definition: Any, run: Any, state: State[Any]) -> None:
        states.append(f"{state.name} async")

    options: Any = {"on_running": [note, note_async], "on_completion": [note, note_async]}
    assert list(yielding.with_options(**options)(1)) == [0]
    assert asyncio.run(collected(yielding_async.with_options(**options)(1))) == [0]
    assert states == ["Running", "Running async", "Completed", "Completed async"] * 2


@pytest.mark.parametrize("generator", [yielding, counted, yielding_async, counted_async])
def test_a_generator_has_no_state_to_return(generator: Any) -> None:
    with pytest.raises(ValueError, match="must be 'result'"):
        generator(3, return_state=True)
