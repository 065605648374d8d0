"""Futures: what a flow can ask of task runs that it has submitted."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from playhead import flow, task
from playhead.futures import (
    PlayheadFuture,
    PlayheadFutureList,
    PrefectConcurrentFuture,
    PrefectDistributedFuture,
    PrefectFuture,
    PrefectFutureList,
    PrefectTaskRunFuture,
    as_completed,
    resolve_futures_to_data,
    resolve_futures_to_results,
    resolve_futures_to_states,
    wait,
)
from playhead.states import Completed, Failed, State
from playhead.task_runners import SequentialTaskRunner, ThreadPoolTaskRunner
from tests.sdk.conftest import Service


@task
def echo(value: Any) -> Any:
    return value


@task
def fail(message: str = "bad") -> None:
    raise ValueError(message)


class Gate:
    """A task that ends when it is let through."""

    def __init__(self) -> None:
        self.opened = threading.Event()

        @task
        def held(value: int = 5) -> int:
            self.opened.wait()
            return value

        self.task = held


def unfinished() -> PlayheadFuture[Any]:
    """The future of a run that has not ended."""
    return PlayheadFuture("0195f5b8-0000-7000-8000-000000000001", "held-0")


def ended(state: State[Any], number: int = 2) -> PlayheadFuture[Any]:
    """The future of a run that has ended in a state."""
    future: PlayheadFuture[Any] = PlayheadFuture(f"0195f5b8-0000-7000-8000-{number:012}")
    future.complete(state)
    return future


# One future


def test_a_future_is_pending_until_its_run_has_ended_and_then_has_its_final_state(service: Service) -> None:
    gate = Gate()

    @flow
    def waiting() -> None:
        future = gate.task.submit()
        assert future.state.is_pending()
        assert not future.done()
        gate.opened.set()
        assert future.result() == 5
        assert future.state.is_completed()
        assert future.get_state() == future.state == future.wait()
        assert future.task_run_id == future.state.state_details.task_run_id

    waiting()


def test_waiting_has_an_end(service: Service) -> None:
    gate = Gate()

    @flow
    def waiting() -> None:
        future = gate.task.submit()
        assert future.wait(timeout=0) is None
        with pytest.raises(TimeoutError, match=rf"Task run {future.run_id} did not complete within 0 seconds\."):
            future.result(timeout=0)
        gate.opened.set()

    waiting()


def test_a_failure_is_raised_or_returned_and_the_flow_has_seen_it(service: Service) -> None:
    @flow
    def failing() -> None:
        future = fail.submit()
        with pytest.raises(ValueError, match="bad"):
            future.result()
        assert isinstance(future.result(raise_on_failure=False), ValueError)

    assert failing(return_state=True).is_completed()


def test_a_result_may_be_none_or_false(service: Service) -> None:
    @flow
    def empty() -> list[Any]:
        return [echo.submit(value).result() for value in (None, False, [])]

    assert empty() == [None, False, []]


@pytest.mark.parametrize(
    "waits",
    [
        lambda: unfinished().wait(-1),
        lambda: unfinished().result(-0.5),
        lambda: PlayheadFutureList([unfinished()]).result(-1),
        lambda: wait([unfinished()], -1),
        lambda: list(as_completed([unfinished()], -1)),
        lambda: asyncio.run(unfinished().aresult(-1)),
        lambda: asyncio.run(unfinished().wait_async(-1)),
    ],
)
def test_a_negative_timeout_is_refused(waits: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="`timeout` must be non-negative"):
        waits()


def test_callbacks_are_called_once_the_run_has_ended_and_at_once_if_it_has() -> None:
    future, called = unfinished(), list[Any]()
    future.add_done_callback(called.append)
    assert called == []
    future.complete(Completed())
    future.add_done_callback(called.append)
    assert called == [future, future]


@pytest.mark.parametrize("raised", [ValueError("bad"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_callback_that_raises_keeps_nobody_back(
    service: Service, caplog: pytest.LogCaptureFixture, raised: BaseException
) -> None:
    called: list[Any] = []

    def fails(_: object) -> None:
        raise raised

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def submitting() -> list[Any]:
        gate = Gate()
        futures = gate.task.map([1, 2, 3, 4])
        for future in futures:
            future.add_done_callback(fails)
            future.add_done_callback(called.append)
        gate.opened.set()
        return [*futures.result(timeout=60), echo.submit(5).result(timeout=60)]

    with caplog.at_level("ERROR", "playhead"):
        assert submitting() == [1, 2, 3, 4, 5]
    assert len(called) == 4
    assert "held-0" in caplog.text


def test_what_can_not_be_called_is_no_callback() -> None:
    with pytest.raises(TypeError, match="takes a function, not 5"):
        unfinished().add_done_callback(5)  # type: ignore[arg-type] # that is what is refused


def test_futures_are_equal_when_they_are_of_the_same_run() -> None:
    assert unfinished() == unfinished()
    assert unfinished() != ended(Completed())
    assert len({unfinished(), unfinished(), ended(Completed())}) == 2
    assert unfinished() != unfinished().run_id


def test_in_async_code_futures_are_awaited(service: Service) -> None:
    gate = Gate()

    @flow
    async def waiting() -> Any:
        future = gate.task.submit()
        assert await future.wait_async(timeout=0) is None
        with pytest.raises(TimeoutError, match=rf"Task run {future.run_id} did not complete within 0 seconds\."):
            await future.aresult(timeout=0)
        opening = asyncio.get_running_loop().run_in_executor(None, gate.opened.set)
        assert await future.result_async() == 5
        await opening
        assert isinstance(await fail.submit().aresult(raise_on_failure=False), ValueError)
        return (await future.wait_async()).result()

    assert asyncio.run(waiting()) == 5


def test_all_names_that_prefect_has_for_futures_are_those_of_one_class(service: Service) -> None:
    @flow
    def submitting() -> None:
        future = echo.submit(1)
        kinds = (PrefectFuture, PrefectTaskRunFuture, PrefectConcurrentFuture, PrefectDistributedFuture)
        assert all(isinstance(future, kind) for kind in kinds)
        assert isinstance(echo.map([1]), PrefectFutureList)

    submitting()


# Crossing a process


def test_a_future_that_is_done_is_pickled_with_its_state(service: Service) -> None:
    @flow
    def submitting() -> None:
        future, failed = echo.submit({"a": [1, 2]}), fail.submit()
        wait([future, failed])
        copy, failed_copy = pickle.loads(pickle.dumps([future, failed]))
        assert copy == future
        assert copy.result() == {"a": [1, 2]}
        assert str(failed_copy.result(raise_on_failure=False)) == "bad"
        assert failed.result(raise_on_failure=False) is not None

    submitting()


def test_a_future_that_is_not_done_is_not_pickled_and_the_error_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"'held-0' can not be pickled before the run has ended: ask for its `result\("):
        pickle.dumps([unfinished()])


# Many futures


def test_the_futures_of_a_map_are_a_list_with_results_in_the_order_of_the_elements(service: Service) -> None:
    @flow
    def mapping() -> None:
        futures = echo.map([3, 1, 2])
        assert isinstance(futures, list)
        assert futures.wait() is None
        assert [future.state.name for future in futures] == ["Completed"] * 3
        assert futures.result() == [3, 1, 2]

    mapping()


def test_a_list_raises_its_first_failure_or_returns_all(service: Service) -> None:
    @task
    def odd(value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} is even")
        return value

    @flow
    def mapping() -> None:
        futures = odd.map([1, 2, 3, 4])
        with pytest.raises(ValueError, match="2 is even"):
            futures.result()
        results = futures.result(raise_on_failure=False)
        assert [str(result) for result in results] == ["1", "2 is even", "3", "4 is even"]

    assert mapping(return_state=True).is_completed()


def test_when_time_is_over_it_is_told_how_many_of_how_many_have_not_ended() -> None:
    futures = PlayheadFutureList([ended(Completed(data=1)), unfinished()])
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        futures.result(timeout=0)
    seen = []
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        seen.extend(as_completed(futures, timeout=0))
    assert futures.wait(timeout=0) is None


def test_wait_tells_apart_those_that_have_ended_and_those_that_have_not() -> None:
    first, second = ended(Completed()), unfinished()
    answer = wait([first, second], timeout=0)
    assert (answer.done, answer.not_done) == ({first}, {second})
    assert wait([]) == (set(), set())


def test_as_completed_gives_each_future_when_its_run_has_ended(service: Service) -> None:
    gate = Gate()

    @flow
    def in_order_of_ending() -> list[Any]:
        futures = [gate.task.submit(1), echo.submit(2)]
        results = []
        for future in as_completed(futures):
            results.append(future.result())
            gate.opened.set()
        return results

    assert in_order_of_ending() == [2, 1]
    assert list(as_completed([])) == []


@pytest.mark.parametrize("how", ["result", "as_completed", "wait", "an argument", "aresult"])
def test_a_task_that_waits_for_others_holds_no_worker(service: Service, how: str) -> None:
    @task
    def parent() -> int:
        futures = echo.map([1, 2])
        if how == "as_completed":
            return sum(future.result() for future in as_completed(futures))
        if how == "an argument":
            return sum(echo(list(futures)))
        if how == "wait":
            wait(futures)
        return sum(futures.result())

    @task
    async def parent_async() -> int:
        return sum([await future.aresult() for future in echo.map([1, 2])])

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def nesting() -> Any:
        futures = [(parent_async if how == "aresult" else parent).submit() for _ in range(3)]
        return [future.result() for future in futures]

    assert nesting() == [3, 3, 3]


def test_on_the_sequential_runner_futures_are_done_when_they_are_made(service: Service) -> None:
    @flow(task_runner=SequentialTaskRunner())
    def one_by_one() -> None:
        future, failed = echo.submit(1), fail.submit()
        assert future.done()
        assert failed.state.is_failed()
        assert failed.result(raise_on_failure=False).args == ("bad",)

    one_by_one()


# Futures inside of other things


def test_futures_in_collections_are_resolved_to_states_and_to_results() -> None:
    good, bad = ended(Completed(data=1)), ended(Failed(data=ValueError("bad")), 3)
    assert resolve_futures_to_states({"a": [good, 2], "b": (bad,)}) == {"a": [good.state, 2], "b": (bad.state,)}
    assert resolve_futures_to_results({"a": [good, 2]}) == {"a": [1, 2]}
    with pytest.raises(ValueError, match="bad"):
        resolve_futures_to_results([bad])
    assert [str(error) for error in resolve_futures_to_data([bad], raise_on_failure=False)] == ["bad"]
    unchanged = {"a": 1}
    assert resolve_futures_to_results(unchanged) is unchanged
