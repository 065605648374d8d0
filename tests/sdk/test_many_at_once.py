"""Fifty flows at once, from threads and from one event loop: each is in its own context, none sees another's."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from playhead import flow, get_run_logger, tags, task
from playhead.context import FlowRunContext, TagsContext, TaskRunContext, get_settings_context, use_profile
from playhead.logging import disable_run_logger
from playhead.profiles import Profile
from playhead.runtime import flow_run, task_run
from tests.sdk.conftest import Service

FLOWS = 50
NUMBERS = range(FLOWS)

together = threading.Barrier(FLOWS)


def seen() -> tuple[Any, ...]:
    """What the code sees of the flow run that it is in."""
    context = FlowRunContext.get()
    assert context is not None
    ids = (str(context.flow_run.id), flow_run.id, flow_run.root_flow_run_id)
    names = (context.flow_run.name, flow_run.name)
    parameters = (context.parameters, flow_run.parameters)
    profile = get_settings_context().profile.name
    return len({*ids}), {*names}, parameters, sorted(TagsContext.get().current_tags), sorted(flow_run.tags), profile


def expected(number: int) -> tuple[Any, ...]:
    """The same as it must be."""
    here = [f"flow-{number}"]
    parameters = {"number": number}
    return 1, {f"run-{number}"}, (parameters, parameters), here, here, f"profile-{number}"


@task
def in_task(number: int) -> tuple[Any, ...]:
    """What a task sees."""
    get_run_logger().info("task of %d", number)
    context = TaskRunContext.get()
    assert context is not None
    assert context.parameters == task_run.parameters == {"number": number}
    assert str(context.task_run.id) == task_run.id
    with tags(f"inner-{number}"):
        inner = in_nested(number)
    return seen(), context.task_run.name, inner


@task
def in_nested(number: int) -> list[str]:
    """What a task in a task sees."""
    assert task_run.parameters == {"number": number}
    return sorted(task_run.tags)


@task
async def in_async_task(number: int) -> tuple[Any, ...]:
    """What an async task sees, after others have run."""
    await asyncio.sleep(0)
    get_run_logger().info("task of %d", number)
    return seen()


@flow(flow_run_name="run-{number}")
def one_of_many(number: int) -> Any:
    """Meets all the others half way, so that all fifty are in their flow at the same time."""
    before = seen()
    together.wait(60)
    get_run_logger().info("flow of %d", number)
    submitted = [in_task.submit(number) for _ in range(3)]
    direct = in_task(number)
    return before, [future.result() for future in submitted], direct, seen()


@flow(flow_run_name="run-{number}")
async def one_of_many_async(number: int) -> Any:
    """The same in an event loop."""
    before = seen()
    await asyncio.sleep(0)
    get_run_logger().info("flow of %d", number)
    called = await asyncio.gather(*(in_async_task(number) for _ in range(3)))
    return before, called, seen()


def call(number: int) -> Any:
    """Call a flow in a profile and with tags of its own."""
    with use_profile(Profile(f"profile-{number}")), tags(f"flow-{number}"):
        return one_of_many(number)


async def call_async(number: int) -> Any:
    """The same in an event loop."""
    with use_profile(Profile(f"profile-{number}")), tags(f"flow-{number}"):
        return await one_of_many_async(number)


def check_records(records: list[logging.LogRecord]) -> None:
    """Every record of a flow or task has the name of the run that it speaks of."""
    mine = [record for record in records if record.msg in {"flow of %d", "task of %d"}]
    assert {vars(record)["flow_run_name"] for record in mine} == {f"run-{number}" for number in NUMBERS}
    for record in mine:
        assert vars(record)["flow_run_name"] == f"run-{record.args[0]}"  # type: ignore[index]  # a tuple, as logged


def check_recorded(service: Service, flow_name: str, tasks: int) -> None:
    """The service has each flow run, with its task runs in the order of their calls."""
    runs = service.flow_runs(flow_name)[-FLOWS:]
    assert {run.status.name for run in runs} == {f"run-{number}" for number in NUMBERS}
    for run in runs:
        number = run.status.name.partition("-")[2]
        assert list(run.spec.tags) == [f"flow-{number}"]
        of_run = service.task_runs(run.spec.id)
        assert len(of_run) == tasks
        outer = [each for each in of_run if "." not in each.spec.dynamic_key]
        assert {each.spec.dynamic_key for each in outer} == {str(n) for n in range(len(outer))}
        assert all(f"flow-{number}" in each.spec.tags for each in of_run)


def test_from_threads(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(FLOWS) as pool:
        results = list(pool.map(call, NUMBERS))
    for number, (before, submitted, direct, after) in enumerate(results):
        assert before == after == expected(number)
        told, names, inner = zip(*submitted, direct, strict=True)
        assert list(told) == [expected(number)] * 4
        assert list(names) == [f"in_task-{n}" for n in range(4)]
        assert list(inner) == [[f"flow-{number}", f"inner-{number}"]] * 4
    assert FlowRunContext.get() is None
    check_records(caplog.records)
    check_recorded(service, "one-of-many", 8)


def test_from_one_event_loop(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    async def all_of_them() -> list[Any]:
        results = await asyncio.gather(*map(call_async, NUMBERS))
        assert FlowRunContext.get() is None
        return results

    caplog.set_level(logging.INFO)
    for number, (before, called, after) in enumerate(asyncio.run(all_of_them())):
        assert before == after == expected(number)
        assert called == [expected(number)] * 3
    check_records(caplog.records)
    check_recorded(service, "one-of-many-async", 3)


def test_one_flow_s_silence_is_not_another_s(embedded: Service, caplog: pytest.LogCaptureFixture) -> None:
    meeting = threading.Barrier(2)

    @flow
    def speaking(quiet: bool) -> None:
        if quiet:
            disable_run_logger()
        meeting.wait(60)
        get_run_logger().info("%s", "not heard" if quiet else "heard")
        meeting.wait(60)

    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(speaking, [True, False]))
    assert "not heard" not in caplog.text
    assert "heard" in caplog.text


def test_threads_of_one_flow_never_make_the_same_call(embedded: Service) -> None:
    @task
    def number_of_call() -> str:
        return task_run.name or ""

    @flow
    def shared() -> int:
        context = FlowRunContext.get()
        assert context is not None
        around = context

        def work(_: int) -> list[str]:
            with around.model_copy():
                return [number_of_call() for _ in range(20)]

        with ThreadPoolExecutor(8) as pool:
            return len({name for names in pool.map(work, range(8)) for name in names})

    assert shared() == 160
