"""The flows that `sdk.py` times, in a process of its own: `python -m benchmarks.flows SCALE` prints figures as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from statistics import median

from playhead import flow, task
from playhead.task_runners import ProcessPoolTaskRunner

SERIAL_TASKS = 500
MAPPED_TASKS = 1_000
SUBFLOWS = 100
EMPTY_FLOWS = 50
REPEATS = 5


@task
def increment(x: int) -> int:
    """As little work as a task can do."""
    return x + 1


@flow
def serial(count: int) -> int:
    """Tasks called one after another, each waiting for the one before."""
    x = 0
    for _ in range(count):
        x = increment(x)
    return x


@flow
def mapped(count: int) -> int:
    """As many tasks at once."""
    return sum(future.result() for future in increment.map(list(range(count))))


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def in_processes(count: int) -> int:
    """As many tasks, in worker processes."""
    return sum(increment.map(range(count)).result())


@flow
def submitted(count: int) -> int:
    """Tasks submitted one after another, each with the future of the one before."""
    future = increment.submit(0)
    for _ in range(count - 1):
        future = increment.submit(future)
    result: int = future.result()
    return result


@task
async def increment_async(x: int) -> int:
    """As little work as an async task can do."""
    return x + 1


@flow
async def serial_async(count: int) -> int:
    """Async tasks, each awaited before the next."""
    x = 0
    for _ in range(count):
        x = await increment_async(x)
    return x


@flow
async def gathered(count: int) -> int:
    """Async tasks at once."""
    return sum(await asyncio.gather(*map(increment_async, range(count))))


@flow
def empty() -> None:
    """Nothing."""


@flow
def calling(count: int) -> None:
    """Subflows, one after another."""
    for _ in range(count):
        empty()


def main(scale: float) -> dict[str, float]:
    """Milliseconds for each task and each flow: medians of a few repeats after one that warms up."""
    tasks, many = int(SERIAL_TASKS * scale), int(MAPPED_TASKS * scale)
    assert serial(5) == 5
    assert mapped(5) == submitted(15) == asyncio.run(gathered(5)) == asyncio.run(serial_async(15)) == 15
    calling(2)
    subflows = max(1, int(SUBFLOWS * scale))
    return {
        "task_serial_ms": _median_ms(lambda: serial(tasks)) / tasks,
        "task_map_ms": _median_ms(lambda: mapped(many)) / many,
        "task_submit_ms": _median_ms(lambda: submitted(tasks)) / tasks,
        "task_async_ms": _median_ms(lambda: asyncio.run(serial_async(tasks))) / tasks,
        "task_gather_ms": _median_ms(lambda: asyncio.run(gathered(many))) / many,
        "task_process_ms": _per_task_ms(in_processes, many),
        "empty_flow_ms": _median_ms(empty, EMPTY_FLOWS),
        "subflow_ms": _median_ms(lambda: calling(subflows)) / subflows,
    }


def _per_task_ms(run: Callable[[int], object], count: int) -> float:
    """Without what a run of one task takes: starting the workers and ending them."""
    return (_median_ms(lambda: run(count), 3) - _median_ms(lambda: run(1), 3)) / (count - 1)


def _median_ms(run: Callable[[], object], repeats: int = REPEATS) -> float:
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return median(took) * 1e3


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    print(json.dumps(main(float(sys.argv[1]))))
