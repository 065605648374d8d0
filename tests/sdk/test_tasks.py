"""Tasks: calling, submitting and mapping them, their inputs, retries, timeouts, names and hooks."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from playhead import flow, task
from playhead.context import TaskRunContext
from playhead.exceptions import (
    ParameterBindError,
)
from playhead.futures import as_completed, wait
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


def test_a_direct_call_gives_the_result_or_raises(service: Service) -> None:
    @flow
    def calling() -> Any:
        with pytest.raises(ValueError, match="bad"):
            fail()
        assert fail(return_state=True).is_failed()
        return add(1, y=2)

    state = calling(return_state=True)
    assert state.result() == 3
    runs = service.task_runs(state.state_details.flow_run_id)
    assert [run.spec.name for run in runs] == ["fail-0", "fail-1", "add-0"]
    assert service.state_names(task_run=runs[2].spec.id)[-2:] == ["Running", "Completed"]


def test_a_task_can_be_called_outside_of_flows(service: Service) -> None:
    assert add(1) == 2
    assert asyncio.run(add_async(1)) == 2
    with pytest.raises(RuntimeError, match="inside of a flow"):
        add.submit(1)


def test_async_tasks_in_async_flows(service: Service) -> None:
    @flow
    async def gathering() -> int:
        direct = await add_async(1)
        together = await asyncio.gather(*(add_async(n) for n in range(5)))
        submitted = await add_async.submit(10).aresult()
        return direct + sum(together) + submitted + add(1)

    assert asyncio.run(gathering()) == 2 + 15 + 11 + 2


def test_async_tasks_submitted_from_sync_flows(service: Service) -> None:
    @flow
    def mapping() -> list[int]:
        return add_async.map([1, 2, 3]).result()

    assert mapping() == [2, 3, 4]


def test_an_async_task_that_a_sync_flow_calls_is_a_coroutine_as_ever(service: Service) -> None:
    @flow
    async def adding_async(x: int) -> int:
        return await add_async(x)

    @flow
    def running() -> list[int]:
        return [asyncio.run(add_async(1)), asyncio.run(adding_async(2))]

    assert running() == [2, 3]
    runs = service.task_runs(service.flow_runs("running")[-1].spec.id)
    assert [run.status.name for run in runs] == ["add_async-0", "adding-async-0"]


def test_a_task_in_a_task_is_a_run_of_the_same_flow_run(service: Service) -> None:
    @task
    def outer(n: int) -> Any:
        return add(n) + add.submit(n).result()

    @flow
    def nesting() -> list[int]:
        return outer.map([1, 2]).result()

    assert nesting() == [4, 6]
    runs = service.task_runs(service.flow_runs("nesting")[-1].spec.id)
    assert len({run.spec.dynamic_key for run in runs if run.spec.name.startswith("add")}) == 4


def test_tasks_that_wait_for_tasks_can_not_block_a_small_pool(service: Service) -> None:
    @task
    def countdown(n: int) -> int:
        return 0 if n == 0 else 1 + countdown.submit(n - 1).result()  # type: ignore[no-any-return]  # tasks answer Any

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def deep() -> int:
        return countdown(6) + sum(countdown.map([2, 2, 2]).result())

    assert deep() == 12


def test_functions_run_at_once_up_to_the_number_of_workers(embedded: Service) -> None:
    together = threading.Barrier(4)

    @task
    def meet() -> bool:
        return together.wait() >= 0

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def meeting() -> Any:
        return [meet.submit() for _ in range(8)]

    assert meeting(return_state=True).is_completed()


def test_futures(service: Service) -> None:
    release = threading.Event()

    @task
    def held() -> int:
        release.wait()
        return 5

    @flow
    def futures() -> None:
        future = held.submit()
        assert future.wait(timeout=0) is None
        assert future.state.is_pending()
        with pytest.raises(TimeoutError):
            future.result(timeout=0)
        with pytest.raises(ValueError, match="non-negative"):
            future.wait(timeout=-1)
        called = []
        future.add_done_callback(called.append)
        release.set()
        assert future.result() == 5
        assert called == [future]
        done, not_done = wait(echo.map([1, 2]))
        assert (len(done), len(not_done)) == (2, 0)
        assert sorted(f.result() for f in as_completed(echo.map([1, 2, 3]))) == [1, 2, 3]
        assert future.task_run_id == future.state.state_details.task_run_id

    futures()


def test_methods_can_be_tasks(service: Service) -> None:
    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @task
        def times(self, n: int) -> int:
            return n * self.factor

        @staticmethod
        @task
        def twice(n: int) -> int:
            return n * 2

    @flow
    def scaling() -> list[Any]:
        return [Scale(3).times(2), Scale(4).times.submit(2).result(), Scale.twice(4)]

    assert scaling() == [6, 8, 8]


def test_bad_arguments_make_no_run(service: Service) -> None:
    @flow
    def binding() -> None:
        with pytest.raises(ParameterBindError):
            add.submit(1, 2, 3)

    state = binding(return_state=True)
    assert service.task_runs(state.state_details.flow_run_id) == []


def test_the_task_context(service: Service) -> None:
    @task
    def look(n: int) -> tuple[str, dict[str, Any]]:
        context = TaskRunContext.get()
        assert context is not None
        return context.task.name, context.parameters

    @flow
    def looking() -> Any:
        return look(1), look.submit(2).result()

    assert looking() == (("look", {"n": 1}), ("look", {"n": 2}))
    assert TaskRunContext.get() is None


def test_what_is_longer_than_the_service_accepts_is_cut(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    # Half a surrogate pair in a captured log could not be sent from a test worker to its master.
    for name in ("playhead.flow_runs", "playhead.task_runs"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)

    @task(task_run_name="{text}", cache_key_fn=lambda context, parameters: parameters["text"])
    def verbose(text: str) -> None:
        raise ValueError(text)

    @task
    def gather(values: list[int]) -> int:
        return len(values)

    @flow
    def bounds() -> int:
        assert verbose("line\n" * 100_000, return_state=True).is_failed()
        assert verbose("é\ud800" * 1_000, return_state=True).is_failed()
        return gather([echo.submit(1)] * 1_001)  # type: ignore[no-any-return]  # tasks answer Any

    assert bounds() == 1_001
    runs = service.task_runs(service.flow_runs("bounds")[-1].spec.id)
    long_name, strange_name = (run.status.name for run in runs if run.spec.task_key.endswith("verbose"))
    assert long_name.startswith("line line line")
    assert strange_name.startswith("é\\ud800é\\ud800")
    gathering = next(run for run in runs if run.spec.name.startswith("gather"))
    assert len(gathering.spec.inputs["values"].inputs) == 1_000


def test_the_traceback_of_a_failure_begins_in_the_users_function(service: Service) -> None:
    @task
    def failing() -> None:
        raise ValueError("here")

    @flow
    def tracing() -> list[str]:
        error = failing(return_state=True).result(raise_on_failure=False)
        frames = []
        traceback = error.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        return frames

    assert tracing() == ["failing"]
