"""Flows and tasks with no server: every state durable in a SQLite file of a new home."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from benchmarks.process import home
from benchmarks.progress import Steps

KEYS = ("task_serial_ms", "task_map_ms", "empty_flow_ms")


def measure(steps: Steps, *, quick: bool) -> dict[str, float]:
    """The figures of `KEYS`. Takes about ten seconds."""
    with tempfile.TemporaryDirectory() as folder, steps.step("embedded flows", 1):
        command = [sys.executable, "-m", "benchmarks.flows", "0.2" if quick else "1"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=home(folder))
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
