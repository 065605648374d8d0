"""Tasks: calling, submitting and mapping them, their inputs, retries, timeouts, names and hooks."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from playhead import allow_failure, flow, quote, task, unmapped
from playhead.context import TaskRunContext
from playhead.exceptions import (
    MappingLengthMismatch,
    MappingMissingIterable,
    ParameterBindError,
    UnfinishedRun,
    UpstreamTaskError,
)
from playhead.futures import PlayheadFuture, as_completed, wait
from playhead.runtime import flow_run, task_run
from playhead.states import Completed, Failed, State, StateType
from playhead.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, ThreadPoolTaskRunner
from playhead.tasks import exponential_backoff
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


@pytest.mark.parametrize("runner", RUNNERS, ids=repr)
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


def test_retries_run_the_function_again(service: Service) -> None:
    attempts = []

    @task(retries=2)
    def flaky() -> int:
        attempts.append(task_run.run_count)
        if len(attempts) < 3:
            raise RuntimeError("again")
        return len(attempts)

    @flow
    def retrying() -> Any:
        return flaky()

    state = retrying(return_state=True)
    assert state.result() == 3
    assert attempts == [1, 2, 3]
    (run,) = service.task_runs(state.state_details.flow_run_id)
    names = [name for name in service.state_names(task_run=run.spec.id) if name != "Pending"]
    assert names == ["Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]


def test_submitted_tasks_are_retried_too(service: Service) -> None:
    attempts: dict[int, int] = {}

    @task(retries=1)
    def flaky(n: int) -> int:
        attempts[n] = attempts.get(n, 0) + 1
        if attempts[n] == 1:
            raise RuntimeError("again")
        return n

    @flow
    def retrying() -> list[int]:
        return flaky.map(range(10)).result()

    assert retrying() == list(range(10))
    assert set(attempts.values()) == {2}


def test_a_task_that_returns_a_failed_state_is_retried(service: Service) -> None:
    attempts = []

    @task(retries=1)
    def returning() -> State[Any]:
        attempts.append(1)
        return Failed(message="by hand") if len(attempts) == 1 else Completed(data=5)

    @flow
    def retrying() -> Any:
        return returning()

    assert retrying() == 5


@pytest.mark.parametrize("condition", [lambda task, run, state: "retry" in state.message, "callable object", "async"])
def test_a_retry_condition_decides(service: Service, condition: Any) -> None:
    class Condition:
        def __call__(self, task: Any, run: Any, state: State[Any]) -> bool:
            return "retry" in str(state.message)

    async def asynchronous(task: Any, run: Any, state: State[Any]) -> bool:
        return "retry" in str(state.message)

    attempts = []

    @task(
        retries=5,
        retry_condition_fn={"callable object": Condition(), "async": asynchronous}.get(str(condition), condition),
    )
    def conditional() -> None:
        attempts.append(1)
        raise ValueError("retry" if len(attempts) < 3 else "stop")

    @flow
    def retrying() -> None:
        with pytest.raises(ValueError, match="stop"):
            conditional()

    retrying()
    assert len(attempts) == 3


def test_retry_options_are_checked() -> None:
    with pytest.raises(ValueError, match="50 retry delays"):
        task(retries=1, retry_delay_seconds=[1.0] * 51)(lambda: None)
    with pytest.raises(ValueError, match="retry_jitter_factor"):
        task(retries=1, retry_jitter_factor=-1.0)(lambda: None)
    with pytest.raises(TypeError, match="retry_condition_fn"):
        task(retry_condition_fn=5)(lambda: None)  # type: ignore[call-overload]  # wrong on purpose
    assert task(retries=3, retry_delay_seconds=exponential_backoff(10))(lambda: None).retry_delay_seconds == [
        10,
        20,
        40,
    ]


@pytest.mark.parametrize("call", ["direct", "submit"])
def test_a_task_that_takes_too_long_fails_as_timed_out(embedded: Service, call: str) -> None:
    @task(timeout_seconds=0.05)
    def endless() -> None:
        while True:
            pass

    @flow
    def timing() -> Any:
        return endless(return_state=True) if call == "direct" else endless.submit(return_state=True)

    state = timing(return_state=True).result(raise_on_failure=False)
    runs = embedded.task_runs(embedded.flow_runs("timing")[-1].spec.id)
    assert [run.status.state.name for run in runs] == ["TimedOut"]
    assert runs[0].status.state.message == "Task run exceeded timeout of 0.05 seconds"
    assert isinstance(state, TimeoutError)


def test_an_async_task_that_takes_too_long_fails_as_timed_out(service: Service) -> None:
    @task(timeout_seconds=0.05)
    async def endless() -> None:
        await asyncio.Event().wait()

    @flow
    async def timing() -> str:
        return (await endless(return_state=True)).name + endless.submit(return_state=True).name

    assert asyncio.run(timing()) == "TimedOutTimedOut"


def test_a_timeout_error_of_the_users_own_is_an_ordinary_failure(service: Service) -> None:
    @task(timeout_seconds=60)
    async def raising() -> None:
        raise TimeoutError("mine")

    @flow
    async def timing() -> State[Any]:
        return await raising(return_state=True)  # type: ignore[no-any-return]  # tasks answer Any

    state = asyncio.run(timing(return_state=True))
    with pytest.raises(TimeoutError, match="mine"):
        state.result()


def test_task_run_names_come_from_templates_and_functions(service: Service) -> None:
    def name_from_runtime() -> str:
        return f"{flow_run.flow_name}-{task_run.task_name}-with-{task_run.parameters['name']}"

    @task(task_run_name="hello-{name}")
    def templated(name: str) -> str:
        return str(task_run.name)

    @task(task_run_name=name_from_runtime, name="computed-task")
    def computed(name: str) -> str:
        return str(task_run.name)

    @task(task_run_name=lambda parameters: f"p-{parameters['name']}")
    def taking(name: str) -> str:
        return str(task_run.name)

    @flow
    def naming() -> list[str]:
        return [templated("marvin"), templated.submit(echo.submit("ford")).result(), computed("x"), taking("y")]

    names = naming()
    assert names == ["hello-marvin", "hello-ford", "naming-computed-task-with-x", "p-y"]
    recorded = {run.status.name for run in service.task_runs(service.flow_runs("naming")[-1].spec.id)}
    assert recorded >= set(names)


def test_hooks_are_called_with_task_run_and_state(service: Service) -> None:
    calls = []

    @task(retries=1)
    def hooked(bad: bool) -> None:
        if bad:
            raise ValueError

    @hooked.on_running
    def running(task: Any, run: Any, state: State[Any]) -> None:
        calls.append((task.name, run.name, state.name))

    @hooked.on_completion
    async def completed(task: Any, run: Any, state: State[Any]) -> None:
        calls.append((task.name, run.name, state.name))

    @hooked.on_failure
    def failed(task: Any, run: Any, state: State[Any]) -> None:
        calls.append((task.name, run.name, state.name))

    @flow
    def hooking() -> None:
        hooked.submit(False).wait()
        hooked(True, return_state=True)

    hooking()
    assert [name for *_, name in calls] == ["Running", "Completed", "Running", "Retrying", "Failed"]


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
