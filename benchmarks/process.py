"""Processes from their first instruction to their last: importing, and a whole flow run in a new home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.progress import Steps

KEYS = ("import_s", "cold_start_s", "cold_rss_mb")
ROUNDS = 9
HELLO = Path(__file__).parents[1] / "examples/hello.py"
IMPORT = "import time; t = time.perf_counter(); from playhead import flow, task; print(time.perf_counter() - t)"
# Measures a process from a parent as small as Python can be: a child's peak memory counts from its fork.
LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, usage = os.wait4(child, 0)
print(json.dumps([time.perf_counter() - started, usage.ru_maxrss / 1024]))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measure(steps: Steps, *, quick: bool) -> dict[str, float]:
    """The figures of `KEYS`. Takes about ten seconds."""
    rounds = 3 if quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder, steps.step("new processes", 2 * rounds) as advance:
        imports, starts = [], []
        for _ in range(rounds):
            imports.append(float(output([sys.executable, "-c", IMPORT], folder)))
            advance()
        for number in range(rounds):
            starts.append(whole(f"{folder}/{number}", str(HELLO)))
            advance()
    seconds, megabytes = zip(*starts, strict=True)
    return {"import_s": median(imports), "cold_start_s": median(seconds), "cold_rss_mb": median(megabytes)}


def home(folder: str) -> dict[str, str]:
    """The environment of a process that keeps everything in `folder` and has no other settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLAYHEAD_")}
    return {**kept, "PLAYHEAD_HOME": folder}


def output(command: list[str], folder: str) -> str:
    """What a process with its home in `folder` printed. Raises with its log lines when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=home(folder))
    if done.returncode:
        raise RuntimeError(f"{command!r} failed:\n{done.stderr}")
    return done.stdout


def whole(folder: str, *arguments: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a whole `python …`, its journal created on the way."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, sys.executable, *arguments]
    seconds, megabytes = json.loads(output(command, folder))
    return seconds, megabytes
