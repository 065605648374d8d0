"""Options of flows: retries, timeouts, names, hooks, tags."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import warnings
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from playhead import flow, tags, task
from playhead.runtime import flow_run as current
from playhead.states import State
from tests.sdk.conftest import Service


class Point(pydantic.BaseModel):
    x: int
    y: int = 0


@dataclass
class Pair:
    left: Any
    right: Any


@task
def fail(message: str = "bad") -> None:
    raise ValueError(message)


@task
def echo(value: Any) -> Any:
    return value


def test_a_failed_flow_is_retried_and_completed_tasks_are_not_run_again(service: Service) -> None:
    bodies, attempts = [], []

    @task
    def body(n: int) -> int:
        bodies.append(n)
        return n * 2

    @flow(retries=2)
    def flaky() -> list[int]:
        attempts.append(len(attempts))
        results = [body(1), body(2)]
        if len(attempts) < 3:
            raise RuntimeError("again")
        return results

    assert flaky() == [2, 4]
    assert (attempts, bodies) == ([0, 1, 2], [1, 2])
    run = service.flow_runs("flaky")[-1]
    assert run.status.run_count == 3
    names = service.state_names(flow_run=run.spec.id)
    assert [name for name in names if name != "Pending"] == [
        "Running", "AwaitingRetry", "Running", "AwaitingRetry", "Running", "Completed",
    ]  # fmt: skip


def test_retries_are_counted(service: Service) -> None:
    attempts = []

    @flow(retries=1)
    def hopeless() -> None:
        attempts.append(current.run_count)
        raise RuntimeError("never")

    with pytest.raises(RuntimeError, match="never"):
        hopeless()
    assert attempts == [1, 2]


@pytest.mark.parametrize("thread", ["main", "other"])
def test_a_flow_that_takes_too_long_fails_as_timed_out(embedded: Service, thread: str) -> None:
    @flow(timeout_seconds=0.05)
    def endless() -> None:
        while True:
            pass

    states: list[State[Any]] = []
    if thread == "main":
        states.append(endless(return_state=True))
    else:
        other = threading.Thread(target=lambda: states.append(endless(return_state=True)))
        other.start()
        other.join()
    assert states[0].name == "TimedOut"
    assert states[0].message == "Flow run exceeded timeout of 0.05 seconds"
    with pytest.raises(TimeoutError):
        states[0].result()


def test_an_async_flow_that_takes_too_long_fails_as_timed_out(service: Service) -> None:
    @flow(timeout_seconds=0.05)
    async def endless() -> None:
        await asyncio.Event().wait()

    state = asyncio.run(endless(return_state=True))
    assert state.name == "TimedOut"


def test_a_timeout_of_a_flow_ends_the_task_it_is_in(embedded: Service) -> None:
    @task(timeout_seconds=60)
    def stuck() -> None:
        threading.Event().wait()

    @flow(timeout_seconds=0.05)
    def outer() -> None:
        stuck()

    state = outer(return_state=True)
    assert state.name == "TimedOut"
    (run,) = embedded.task_runs(state.state_details.flow_run_id)
    assert run.status.state.message == "Execution was cancelled by the runtime environment."


def test_a_name_of_characters_that_can_not_be_printed_has_them_escaped(service: Service) -> None:
    @task(task_run_name="load-{path}")
    def load(path: str) -> str:
        return path

    @flow(name="odd-names", flow_run_name="files-{path}\x1b")
    def odd(path: str) -> str:
        return str(load(path))

    latin_1 = "caf\udce9"  # what os.listdir() makes of b"caf\xe9"
    assert odd(latin_1) == latin_1
    (run,) = service.flow_runs("odd-names")
    assert run.status.name == r"files-caf\udce9\x1b"
    assert [each.status.name for each in service.task_runs(run.spec.id)] == [r"load-caf\udce9"]


def test_flow_run_names_come_from_templates_and_functions(service: Service) -> None:
    @flow(flow_run_name="{name}-on-{date:%A}")
    def templated(name: str, date: dt.datetime) -> str:
        return str(current.name)

    @flow(flow_run_name=lambda: f"{current.flow_name}-with-{current.parameters['limit']}")
    def computed(limit: int = 100) -> str:
        return str(current.name)

    @flow(flow_run_name=lambda: 5)  # type: ignore[arg-type,return-value]  # wrong on purpose
    def wrong() -> None: ...

    assert templated("marvin", dt.datetime(2024, 2, 29)) == "marvin-on-Thursday"
    assert computed() == "computed-with-100"
    assert service.flow_runs("computed")[-1].status.name == "computed-with-100"
    with pytest.raises(TypeError, match="flow_run_name"):
        wrong()


def test_a_template_that_names_nothing_there_is_says_what_there_is(service: Service) -> None:
    @task(task_run_name="{nope}")
    def unnamed(x: int) -> int:
        return x

    @flow(flow_run_name="{date:%A}")
    def misnamed(day: int, hour: int = 3) -> None: ...

    @flow(flow_run_name="{x:%Q}")
    def unformatted(x: int) -> int:
        return x

    with pytest.raises(ValueError, match=r"flow_run_name '{date:%A}' .*: there is no {date}.*: {day}, {hour}\.$"):
        misnamed(1)
    with pytest.raises(ValueError, match=r"The flow_run_name '{x:%Q}' can not be filled in: ValueError"):
        unformatted(1)
    with pytest.raises(ValueError, match=r"The task_run_name '{nope}' .*: there is no {nope}.*: {x}\.$"):
        unnamed(1)


def test_hooks_are_called_with_flow_run_and_state(service: Service) -> None:
    calls = []

    def note(name: str) -> Any:
        def hook(flow: Any, run: Any, state: State[Any]) -> None:
            calls.append((name, flow.name, run.name, state.name))

        return hook

    async def note_async(flow: Any, run: Any, state: State[Any]) -> None:
        calls.append(("async", flow.name, run.name, state.name))

    def broken(flow: Any, run: Any, state: State[Any]) -> None:
        raise RuntimeError("hooks may fail")

    @flow(
        flow_run_name="r",
        on_running=[note("running")],
        on_completion=[broken, note("completed"), note_async],
        on_failure=[note("failed")],
    )
    def hooked(bad: bool) -> None:
        if bad:
            raise ValueError

    hooked(False)
    assert calls == [("running", "hooked", "r", "Running"), ("completed", "hooked", "r", "Completed"),
                     ("async", "hooked", "r", "Completed")]  # fmt: skip
    calls.clear()
    hooked(True, return_state=True)
    assert [call[0] for call in calls] == ["running", "failed"]


def test_tags_reach_flow_and_task_runs(service: Service) -> None:
    @task(tags=["own"])
    def tagged() -> None: ...

    @flow
    def tagging() -> None:
        tagged()
        with tags("inner", zone="eu"):
            tagged()

    with tags("outer"):
        tagging()
    run = service.flow_runs("tagging")[-1]
    assert list(run.status.tags) == ["outer"]
    first, second = service.task_runs(run.spec.id)
    assert list(first.status.tags) == ["outer", "own"]
    assert list(second.status.tags) == ["inner", "outer", "own", "zone:eu"]


def test_with_options_makes_another_flow(service: Service) -> None:
    @flow(name="first", retries=3, description="text")
    def original() -> str:
        return str(current.flow_name)

    other = original.with_options(name="second", retries=0)
    assert (other.name, other.retries, other.description) == ("second", 0, "text")
    assert (original(), other()) == ("first", "second")


def test_the_entrypoint_and_version_are_recorded(service: Service) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module_level()
    spec = service.flow_runs("module-level")[-1].spec
    assert spec.entrypoint == "tests.sdk.test_flow_options:module_level"
    assert len(spec.flow_version) == 32


@flow
def module_level() -> None:
    """A flow that another process can find."""
