"""Flows: calling them, their parameters, their final states, retries, timeouts, names and hooks."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import warnings
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from playhead import flow, get_run_logger, tags, task
from playhead.context import FlowRunContext
from playhead.exceptions import (
    CancelledRun,
    FailedRun,
    InvalidNameError,
    ParameterBindError,
    ParameterTypeError,
    ReservedArgumentError,
    UpstreamTaskError,
)
from playhead.runtime import flow_run as current
from playhead.states import Cancelled, Completed, Failed, State, StateType
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


def test_a_flow_call_gives_what_the_function_returns(service: Service) -> None:
    @flow
    def add(x: int, y: int = 2, *more: int, **named: int) -> int:
        return x + y + sum(more) + sum(named.values())

    assert add(1) == 3
    assert add(1, 2, 3, 4, z=5) == 15
    recorded = service.flow_runs("add")[-1]
    assert recorded.status.state.type == 4
    assert service.state_names(flow_run=recorded.spec.id)[-2:] == ["Running", "Completed"]


def test_an_async_flow_call_is_awaited(service: Service) -> None:
    @flow
    async def add(x: int) -> int:
        return x + 1

    async def both() -> list[int]:
        return await asyncio.gather(add(1), add(2))

    assert asyncio.run(both()) == [2, 3]


def test_return_state_gives_the_final_state(service: Service) -> None:
    @flow
    def good() -> int:
        return 1

    @flow
    def bad() -> None:
        raise ValueError("no")

    state = good(return_state=True)
    assert (state.type, state.result(), state.message) == (StateType.COMPLETED, 1, None)
    failed = bad(return_state=True)
    assert failed.message == "Flow run encountered an exception. ValueError: no"
    with pytest.raises(ValueError, match="no"):
        failed.result()
    assert isinstance(failed.result(raise_on_failure=False), ValueError)


def test_the_exception_of_a_flow_reaches_the_caller(service: Service) -> None:
    @flow
    def bad() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        bad()
    assert service.flow_runs("bad")[-1].status.state.name == "Failed"


def test_parameters_are_coerced_to_their_annotations(service: Service) -> None:
    @flow
    def typed(n: int, day: dt.date, point: Point, untyped) -> tuple[Any, ...]:  # type: ignore[no-untyped-def]  # meant
        return n, day, point, untyped

    result = typed("3", "2024-02-29", {"x": "1"}, "7")
    assert result == (3, dt.date(2024, 2, 29), Point(x=1), "7")


def test_parameters_keep_their_identity_when_they_fit(service: Service) -> None:
    seen = []

    @flow
    def keep(pair: Pair, copy: int, _hidden: int = 1) -> None:
        seen.append((pair, copy, _hidden))

    pair = Pair(1, 2)
    keep(pair, 5)
    assert seen[0][0] is pair


def test_parameters_that_do_not_fit_make_a_failed_run(service: Service) -> None:
    called = []

    @flow
    def typed_strictly(n: int) -> None:
        called.append(n)

    with pytest.raises(ParameterTypeError, match="n: Input should be a valid integer"):
        typed_strictly("three")
    assert called == []
    recorded = service.flow_runs("typed-strictly")[-1].status.state
    assert recorded.name == "Failed"
    assert recorded.message.startswith("Validation of flow parameters failed with error: ParameterTypeError: ")


def test_validation_can_be_switched_off(service: Service) -> None:
    @flow(validate_parameters=False)
    def loose(n: int) -> Any:
        return n

    assert loose("three") == "three"


def test_arguments_that_do_not_bind_make_no_run(service: Service) -> None:
    @flow
    def one(n: int) -> int:
        return n

    with pytest.raises(ParameterBindError, match="missing a required argument: 'n'"):
        one()


def test_reserved_parameter_names_and_bad_flow_names_are_refused() -> None:
    with pytest.raises(ReservedArgumentError, match="wait_for"):

        @flow
        def waiting(wait_for: int) -> None: ...

    with pytest.raises(InvalidNameError, match="invalid character"):
        flow(name="a/b")(lambda: None)


@pytest.mark.parametrize(
    ("returned", "kind", "message"),
    [
        (lambda: Completed(message="fine"), StateType.COMPLETED, "fine"),
        (lambda: Failed(message="by hand"), StateType.FAILED, "by hand"),
        (lambda: Cancelled(), StateType.CANCELLED, None),
        (
            lambda: [echo(1, return_state=True), echo(2, return_state=True)],
            StateType.COMPLETED,
            "All states completed.",
        ),
        (lambda: (echo(1, return_state=True), fail(return_state=True)), StateType.FAILED, "1/2 states failed."),
        (lambda: fail(return_state=True), StateType.FAILED, "1/1 states failed."),
        (lambda: [Completed(), Cancelled(), Failed()], StateType.CANCELLED, "1/3 states cancelled."),
        (lambda: [echo.submit(1), fail.submit()], StateType.FAILED, "1/2 states failed."),
        (lambda: fail.submit(), StateType.FAILED, "1/1 states failed."),
        (lambda: ValueError("as a value"), StateType.FAILED, "ValueError: as a value"),
        (list, StateType.COMPLETED, None),
    ],
)
def test_the_return_value_decides_the_final_state(
    embedded: Service, returned: Any, kind: StateType, message: str | None
) -> None:
    @flow
    def judged() -> Any:
        return returned()

    state = judged(return_state=True)
    assert (state.type, state.message) == (kind, message)
    recorded = embedded.flow_run(state.state_details.flow_run_id).status.state
    assert recorded.message == (message or "")


def test_a_returned_future_gives_its_result(service: Service) -> None:
    @flow
    def one() -> Any:
        return echo.submit(5)

    @flow
    def several() -> Any:
        return [echo.submit(1), echo.submit(2)]

    assert one() == 5
    assert [state.result() for state in several()] == [1, 2]


def test_a_failed_state_without_data_raises_failed_run(embedded: Service) -> None:
    @flow
    def by_hand(state: Any) -> State[Any]:
        return state

    with pytest.raises(FailedRun, match="by hand"):
        by_hand(Failed(message="by hand"))
    with pytest.raises(CancelledRun):
        by_hand(Cancelled())


def test_a_flow_that_returns_nothing_is_judged_by_its_submitted_tasks(service: Service) -> None:
    @flow
    def unseen() -> None:
        echo(1)
        fail.submit()

    @flow
    def seen() -> None:
        with pytest.raises(ValueError, match="bad"):
            fail.submit().result()
        with pytest.raises(ValueError, match="bad"):
            fail()

    @flow
    def fine() -> None:
        echo(1)

    assert unseen(return_state=True).message == "1/2 states failed."
    with pytest.raises(ValueError, match="bad"):
        unseen()
    assert seen() is None
    assert fine(return_state=True).message == "All states completed."
    assert fine() is None


def test_a_flow_waits_for_what_it_submitted(service: Service) -> None:
    done = []

    @task
    def note(n: int) -> None:
        done.append(n)

    @flow
    def submitting() -> str:
        note.map(range(20))
        return "ok"

    state = submitting(return_state=True)
    assert sorted(done) == list(range(20))
    runs = service.task_runs(state.state_details.flow_run_id)
    assert {run.status.state.name for run in runs} == {"Completed"}


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


def test_a_subflow_is_a_run_tracked_by_a_task_run(service: Service) -> None:
    @flow
    def child(x: int) -> int:
        assert current.parent_flow_run_id == current.root_flow_run_id
        return x + 1

    @flow
    def parent() -> int:
        return child(echo.submit(1))

    state = parent(return_state=True)
    assert state.result() == 2
    runs = service.task_runs(state.state_details.flow_run_id)
    tracking = next(run for run in runs if run.spec.task_key == "flow:child")
    child_run = service.flow_runs("child")[-1]
    assert child_run.spec.parent_task_run_id == tracking.spec.id
    assert tracking.status.state.details.child_flow_run_id == child_run.spec.id
    assert [input_.task_run_id for input_ in tracking.spec.inputs["x"].inputs] == [
        next(run.spec.id for run in runs if run is not tracking)
    ]


def test_a_failed_subflow_fails_its_tracking_run_and_raises(service: Service) -> None:
    @flow
    def child() -> None:
        raise ValueError("inside")

    @flow
    def parent() -> str:
        with pytest.raises(ValueError, match="inside"):
            child()
        return "handled"

    state = parent(return_state=True)
    assert state.result() == "handled"
    (tracking,) = service.task_runs(state.state_details.flow_run_id)
    assert tracking.status.state.name == "Failed"


def test_a_completed_subflow_is_not_run_again_by_a_retry(service: Service) -> None:
    children, parents = [], []

    @flow
    def child() -> int:
        children.append(1)
        return len(children)

    @flow(retries=1)
    def parent() -> int:
        parents.append(1)
        value = child()
        if len(parents) == 1:
            raise RuntimeError("again")
        return value

    assert parent() == 1
    assert (len(children), len(parents)) == (1, 2)


def test_a_failed_subflow_is_run_again_by_a_retry(service: Service) -> None:
    attempts = []

    @flow
    def child() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("once")
        return len(attempts)

    @flow(retries=1)
    def parent() -> int:
        return child()

    assert parent() == 2


def test_async_subflows_run_beside_each_other(service: Service) -> None:
    @flow
    async def child(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @flow
    async def parent() -> int:
        return sum(await asyncio.gather(*(child(n) for n in range(5))))

    assert asyncio.run(parent()) == 10


def test_wait_for_is_for_subflows(service: Service) -> None:
    @flow
    def child() -> str:
        return "ran"

    @flow
    def parent() -> Any:
        return child(wait_for=[fail.submit()], return_state=True)

    with pytest.raises(ValueError, match="subflows"):
        child(wait_for=[1])
    state = parent(return_state=True)
    assert state.message == "1/1 states are not final."
    with pytest.raises((UpstreamTaskError, ValueError)):
        state.result()


def test_the_context_is_the_flow_runs_own(service: Service) -> None:
    @flow
    def named(n: int) -> tuple[int, str]:
        context = FlowRunContext.get()
        assert context is not None
        assert context.parameters == {"n": n}
        get_run_logger().debug("inside")
        return n, str(context.flow_run.id)

    results: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: results.append(named(n))) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(n for n, _ in results) == list(range(10))
    assert len({run_id for _, run_id in results}) == 10
    assert FlowRunContext.get() is None


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
    assert spec.entrypoint.endswith("test_flows.py:module_level")
    assert len(spec.flow_version) == 32


@flow
def module_level() -> None:
    """A flow that another process can find."""
