"""The flows that `sdk.py` times, in a process of its own: `python -m benchmarks.flows SCALE` prints figures as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from statistics import median

from playhead import flow, task

SERIAL_TASKS = 500
MAPPED_TASKS = 1_000
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


@flow
def empty() -> None:
    """Nothing."""


def main(scale: float) -> dict[str, float]:
    """Milliseconds for each task and each flow: medians of a few repeats after one that warms up."""
    tasks, many = int(SERIAL_TASKS * scale), int(MAPPED_TASKS * scale)
    assert serial(5) == 5
    assert mapped(5) == 15
    return {
        "task_serial_ms": _median_ms(lambda: serial(tasks)) / tasks,
        "task_map_ms": _median_ms(lambda: mapped(many)) / many,
        "empty_flow_ms": _median_ms(empty, EMPTY_FLOWS),
    }


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
