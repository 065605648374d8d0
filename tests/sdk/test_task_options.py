"""Options of tasks: retries, timeouts, names, hooks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playhead import flow, task
from playhead.runtime import flow_run, task_run
from playhead.states import Completed, Failed, State
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
