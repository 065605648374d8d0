"""Tasks for runners in other processes, which find them here by name."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playhead import flow, get_run_logger, task
from playhead.context import TaskRunContext, get_run_context
from playhead.futures import PlayheadFuture
from playhead.runtime import flow_run, task_run


class Refusal(Exception):
    """An error with more than a text."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


@task
def pid() -> int:
    return os.getpid()


@task
def add(x: Any, y: Any = 1) -> Any:
    return x + y


@task
async def add_async(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@task
def count_to(n: int) -> Iterator[int]:
    yield from range(n)


@task
def refuse(code: int) -> None:
    raise Refusal(code, "no")


@task
def make_lock() -> Any:
    return threading.Lock()


@task
def leave() -> None:
    raise SystemExit(3)


@task(timeout_seconds=0.2)
def never_ending() -> None:
    while True:
        time.sleep(0.01)


@task(log_prints=True, tags=["mine"])
def facts() -> dict[str, Any]:
    """What a task knows of its run."""
    print("as printed")
    get_run_logger().warning("as logged", extra={"pid": os.getpid()})
    context = get_run_context()
    assert isinstance(context, TaskRunContext)
    return {
        "task": context.task.name,
        "run_count": context.task_run.run_count,
        "parameters": flow_run.parameters,
        "flow": flow_run.flow_name,
        "flow run": flow_run.id,
        "run": task_run.id,
        "tags": sorted(task_run.tags),
    }


@task
def nested(n: int) -> Any:
    """Calls and submits tasks; the last of what it submits is its result, and nobody waits for the first."""
    add.submit(100, n)
    return [add.submit(add(n), 10), add_async.submit(n)]


@flow
def below(n: int) -> int:
    return add(n) + 1  # type: ignore[no-any-return]  # tasks answer Any


@task
def with_subflow(n: int) -> int:
    return below(n) + 1


@task
def wait_for(started: Path, release: Path) -> int:
    """Say that it has started, and end when it is told to."""
    started.write_text(str(os.getpid()))
    while not release.exists():
        time.sleep(0.01)
    return os.getpid()


@task
def die_once(place: Path, how: int = signal.SIGKILL) -> int:
    """The first attempt's process is killed; the next one says which attempt it is."""
    context = TaskRunContext.get()
    assert context is not None
    if context.task_run.run_count == 1:
        place.write_text(str(os.getpid()))
        os.kill(os.getpid(), how)
    return context.task_run.run_count


class Scale:
    """Something with a method that is a task."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @task
    def times(self, x: int) -> int:
        return self.factor * x


doubled = add.with_options(name="doubled")


@task
def total_of(future: PlayheadFuture[Any], more: dict[str, Any]) -> Any:
    """Gets results in the places of futures."""
    return future + sum(more["values"])


@task(name="by count", retries=2)
def fails_twice() -> int:
    context = TaskRunContext.get()
    assert context is not None
    if context.task_run.run_count < 3:
        raise ValueError("not yet")
    return context.task_run.run_count


@task
def variable(name: str) -> str | None:
    return os.environ.get(name)
