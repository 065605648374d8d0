"""How deep calls may go, and what a failure shows of the way it took."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import playhead
from playhead import flow, task
from playhead.states import State
from tests.sdk.conftest import Service

PACKAGE = str(playhead.__file__).removesuffix("__init__.py")


@flow
def nest(levels: int) -> int:
    return 0 if levels == 0 else 1 + int(nest(levels - 1))


@flow
async def nest_async(levels: int) -> int:
    return 0 if levels == 0 else 1 + int(await nest_async(levels - 1))


@task
def nest_tasks(levels: int) -> int:
    return 0 if levels == 0 else 1 + int(nest_tasks(levels - 1))


def in_a_fresh_thread(function: Callable[[], Any]) -> Any:
    """What a function gives where the stack is empty, as in a program's own main thread."""
    box: list[Any] = []
    thread = threading.Thread(target=lambda: box.append(function()))
    thread.start()
    thread.join()
    return box[0]


@pytest.mark.parametrize("call", [nest, nest_tasks, lambda levels: asyncio.run(nest_async(levels))])
def test_a_hundred_calls_inside_each_other_are_no_trouble(embedded: Service, call: Callable[[int], int]) -> None:
    assert in_a_fresh_thread(lambda: call(100)) == 100


@pytest.mark.parametrize("kind", ["flows", "async flows", "tasks"])
def test_calls_that_are_too_deep_are_refused_with_a_readable_error(
    embedded: Service, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def run() -> State[Any]:
        if kind == "async flows":
            return asyncio.run(nest_async(1_000, return_state=True))  # type: ignore[no-any-return]  # tasks answer Any
        call = nest if kind == "flows" else flow(name="outer")(lambda: nest_tasks(1_000))
        arguments = (1_000,) if kind == "flows" else ()
        return call(*arguments, return_state=True)  # type: ignore[no-any-return]  # flows answer Any

    state = in_a_fresh_thread(run)
    assert state.is_failed()
    assert "RecursionError: 'nest" in str(state.message)
    assert "is not called: flows and tasks call each other too deep" in str(state.message)
    failures = [record for record in caplog.records if "Encountered exception" in record.message]
    assert 100 < len(failures) < 200
    assert len("".join(logging.Formatter().format(record) for record in failures).splitlines()) < 50 * len(failures)


def frames_of(record: logging.LogRecord) -> list[traceback.FrameSummary]:
    assert record.exc_info is not None
    return list(traceback.extract_tb(record.exc_info[2]))


def test_a_failure_shows_the_users_frames_only(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    @task
    def inner() -> None:
        raise ValueError("here")

    @flow
    def middle() -> Any:
        return inner()

    @flow
    def outer() -> Any:
        return middle()

    with pytest.raises(ValueError, match="here"):
        outer()
    failures = [frames_of(record) for record in caplog.records if "Encountered exception" in record.message]
    assert [[frame.name for frame in frames] for frames in failures] == [
        ["inner"],
        ["middle", "inner"],
        ["outer", "middle", "inner"],
    ]


def busy() -> None:
    while True:
        pass


@pytest.mark.parametrize("call", ["direct", "submitted", "async", "async submitted", "flow"])
def test_a_timeout_shows_where_the_users_code_was(
    embedded: Service, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    @task(timeout_seconds=0.05)
    def slow() -> None:
        busy()

    @task(timeout_seconds=0.05)
    async def slow_async() -> None:
        await asyncio.Event().wait()

    @flow
    async def awaiting() -> Any:
        return await slow_async(return_state=True)

    @flow(timeout_seconds=0.05)
    def slow_flow() -> None:
        busy()

    match call:
        case "direct":
            state = slow(return_state=True)
        case "submitted":
            state = flow(lambda: slow.submit(return_state=True), name="submitting")(return_state=True)
        case "async":
            state = asyncio.run(awaiting(return_state=True))
        case "async submitted":
            state = flow(lambda: slow_async.submit(return_state=True), name="submitting")(return_state=True)
        case _:
            state = slow_flow(return_state=True)
    (record,) = [record for record in caplog.records if "Encountered exception" in record.message]
    assert record.exc_info is not None
    assert record.exc_info[0] is TimeoutError
    frames = frames_of(record)
    assert not any(frame.filename.startswith(PACKAGE) for frame in frames)
    assert frames[0].name in {"slow", "slow_async", "slow_flow"}
    error = state.result(raise_on_failure=False)
    assert isinstance(error, TimeoutError)
    assert "exceeded timeout of 0.05 seconds" in str(error)
