"""What every test runs under: no settings of the user's, a home directory of its own, long runs only when asked for."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.stores import new_store, postgres_server, postgres_store, sqlite_store, store

__all__ = ["new_store", "postgres_server", "postgres_store", "sqlite_store", "store"]

# What an example costs depends on the disk; a failure prints what repeats it; `new_store` makes a database per example.
settings.register_profile(
    "playhead", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("playhead")

_home = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` adds the tests that are marked so; `--seed N` is the history that the simulation replays and prints."""
    parser.addoption("--soak", action="store_true", help="also run the long tests")
    parser.addoption("--seed", type=int, help="simulate this seed only, and print its steps")


def pytest_configure(config: pytest.Config) -> None:
    """Give this process and the ones it starts an empty home: no test sees the user's ~/.playhead or settings."""
    for name in [name for name in os.environ if name.startswith(("PLAYHEAD_", "RAY_"))]:
        del os.environ[name]
    # A job in the background of a shell ignores it, and so would the processes that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Read when Ray is imported. So its processes listen on 127.0.0.1 alone, on Linux too.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    config.stash[_home] = Path(tempfile.mkdtemp(prefix="playhead-tests-"))
    os.environ["HOME"] = str(config.stash[_home])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the home; a process that outlives its test may still write there, and then the rest is left behind."""
    shutil.rmtree(config.stash[_home], ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was simulated, and how fast."""
    seeds = steps = cpu_s = clock_s = 0
    for report in (report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])):
        for name, noted in report.user_properties if report.when == "call" else ():
            if name == "simulated":
                seeds, steps, cpu_s = seeds + noted[0], steps + noted[1], cpu_s + noted[2]
                clock_s += report.duration
    if seeds:
        terminalreporter.write_line(
            f"simulation: {seeds:,} seeds, {steps:,} steps, each checked; "
            f"per test process {steps / clock_s:,.0f} steps/s, {steps / cpu_s:,.0f} per second of CPU time"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out unless asked for."""
    if config.getoption("--soak"):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
