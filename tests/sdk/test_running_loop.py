"""Flows called where an event loop already runs, as in a notebook."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from playhead import flow, task
from playhead.runtime import flow_run, task_run
from tests.sdk.conftest import Service


@task(retries=1)
def double(x: int) -> int:
    """A sync task."""
    assert task_run.id
    return 2 * x


@task
async def double_async(x: int) -> int:
    """An async task."""
    await asyncio.sleep(0)
    assert task_run.id
    return 2 * x


@flow(timeout_seconds=60)
def sync_flow(x: int) -> Any:
    """Calls, submits and maps tasks, async ones too, and a subflow."""
    submitted = double.submit(x).result(), double_async.submit(x).result()
    return double(x), *submitted, double.map([1, 2]).result(), double_async.map([1, 2]).result(), inner(x)


@flow
def inner(x: int) -> int:
    """A subflow."""
    assert flow_run.parent_flow_run_id
    return int(double(x))


@flow
async def async_flow(x: int) -> Any:
    """Awaits tasks, and calls sync tasks and subflows."""
    gathered = await asyncio.gather(double_async(x), double_async(x + 1))
    return gathered, double(x), inner(x), await inner_async(x)


@flow
async def inner_async(x: int) -> int:
    """An async subflow."""
    return int(await double_async(x))


def in_a_loop(function: Any, *args: Any) -> Any:
    """What a function gives when it is called in a running event loop, as a notebook calls the code of a cell."""

    async def cell() -> Any:
        return function(*args)

    return asyncio.run(cell())


def test_sync_flows_and_tasks_work(service: Service) -> None:
    assert in_a_loop(sync_flow, 3) == (6, 6, 6, [2, 4], [2, 4], 6)
    assert in_a_loop(double, 4) == 8
    assert [run.status.state.name for run in service.flow_runs("sync-flow")[-1:]] == ["Completed"]


def test_async_flows_and_tasks_are_awaited(service: Service) -> None:
    async def cells() -> Any:
        return await async_flow(3), await double_async(4), sync_flow(3)[0]

    assert asyncio.run(cells()) == (([6, 8], 6, 6, 6), 8, 6)


def test_the_loop_goes_on_while_an_async_flow_waits(service: Service) -> None:
    order = []

    @flow
    async def waiting(opened: asyncio.Event) -> str:
        order.append("flow begins")
        await opened.wait()
        order.append("flow ends")
        return "done"

    async def cell() -> str:
        opened = asyncio.Event()
        flow_task = asyncio.create_task(waiting(opened))
        while not order:
            await asyncio.sleep(0)
        order.append("meanwhile")
        opened.set()
        return await flow_task

    assert asyncio.run(cell()) == "done"
    assert order == ["flow begins", "meanwhile", "flow ends"]


def test_failures_are_raised_in_the_cell_and_the_loop_is_whole(service: Service) -> None:
    @flow
    def failing() -> None:
        raise ValueError("in a cell")

    async def cells() -> int:
        with pytest.raises(ValueError, match="in a cell"):
            failing()
        assert failing(return_state=True).is_failed()
        return int(await double_async(1))

    assert asyncio.run(cells()) == 2
