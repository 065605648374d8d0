"""Flows: calling them, their parameters, their final states, retries, timeouts, names and hooks."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from playhead import flow, get_run_logger, task
from playhead.context import FlowRunContext
from playhead.engine.execution.names import random_name
from playhead.exceptions import (
    CancelledRun,
    FailedRun,
    InvalidNameError,
    ParameterBindError,
    ParameterTypeError,
    ReservedArgumentError,
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


def test_fifty_flows_at_once_do_not_see_each_other(service: Service) -> None:
    @task
    def whose(n: int) -> tuple[int, str]:
        return n, str(current.parameters["n"])

    @flow
    def threaded(n: int) -> list[Any]:
        return [whose(n), *whose.map([n, n]).result()]

    @flow
    async def looped(n: int) -> list[Any]:
        await asyncio.sleep(0)
        return [whose(n), await whose.submit(n).aresult()]

    async def together() -> list[list[Any]]:
        return await asyncio.gather(*(looped(n) for n in range(25)))

    with ThreadPoolExecutor(25) as pool:
        results = list(pool.map(threaded, range(25)))
    results += asyncio.run(together())
    assert [set(result) for result in results] == [{(n, str(n))} for n in [*range(25), *range(25)]]


def test_methods_can_be_flows(service: Service) -> None:
    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @flow
        def times(self, n: int) -> int:
            return n * self.factor

    assert Scale(3).times("2") == 6


def test_names_that_are_made_seldom_repeat() -> None:
    assert len({random_name() for _ in range(1_000)}) > 990
