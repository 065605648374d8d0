"""Flows and tasks with no server: every state durable in a SQLite file of a new home."""

from __future__ import annotations

import json
import sys
import tempfile

from benchmarks.process import output, whole
from benchmarks.progress import Steps

MANY = 10_000
KEYS = (
    "task_serial_ms",
    "task_map_ms",
    "task_submit_ms",
    "task_async_ms",
    "task_gather_ms",
    "task_process_ms",
    "many_rss_mb",
    "empty_flow_ms",
    "subflow_ms",
)


def measure(steps: Steps, *, quick: bool) -> dict[str, float]:
    """The figures of `KEYS`. Takes about a minute."""
    with tempfile.TemporaryDirectory() as folder, steps.step("embedded flows", 2) as advance:
        printed = output([sys.executable, "-m", "benchmarks.flows", "0.2" if quick else "1"], folder)
        advance()
        megabytes = whole(folder, "-m", "benchmarks.many", str(MANY))[1]
        advance()
    figures: dict[str, float] = json.loads(printed)
    return {**figures, "many_rss_mb": megabytes}
