"""Subflows: runs of their own, tracked by a task run in their parent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from playhead import flow, task
from playhead.exceptions import (
    UpstreamTaskError,
)
from playhead.runtime import flow_run as current
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
