"""`flow-run logs` and `task-run logs`: what runs have said, and what they say now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from playhead.engine.execution.connection import close_clients
from tests.cli.conftest import Shell
from tests.grpc_server.conftest import ServerProcess

CLI = "from playhead.cli import main; main()"

PROGRAM = """
import sys
from playhead import flow, get_run_logger, task

@task
def clean():
    get_run_logger().warning("two rows are odd")

@flow(name="etl", flow_run_name="red-orca")
def etl():
    get_run_logger().info("begin [bold]")
    clean()
    if sys.argv[1:] == ["wait"]:
        print("running", flush=True)
        sys.stdin.readline()
    get_run_logger().error("end")

etl()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A flow in a script."""
    path = tmp_path / "etl.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def logs(tmp_path: Path, program: Path) -> Shell:
    """A shell on the journal in which the flow has run."""
    database = str(tmp_path / "logs.db")
    environment = {**os.environ, "PLAYHEAD_DATABASE": database}
    subprocess.run([sys.executable, program], env=environment, check=True, capture_output=True)
    close_clients()
    return Shell(database, "", "")


def test_records_are_shown_oldest_first_with_their_run(logs: Shell) -> None:
    lines = [line.partition(" | ")[2] for line in logs.run("flow-run", "logs", "red-orca").splitlines()]
    assert lines == [
        "INFO    | Flow run 'red-orca' - Beginning flow run 'red-orca' for flow 'etl'",
        "INFO    | Flow run 'red-orca' - begin [bold]",
        "WARNING | Task run 'clean-0' - two rows are odd",
        "INFO    | Task run 'clean-0' - Finished in state Completed()",
        "ERROR   | Flow run 'red-orca' - end",
        "INFO    | Flow run 'red-orca' - Finished in state Completed('All states completed.')",
    ]
    assert logs.run("task-run", "logs", "clean-0", "--level", "warning").count("\n") == 1


def test_the_last_records_and_those_of_a_level(logs: Shell) -> None:
    last = logs.run("flow-run", "logs", "red-orca", "--lines", "2").splitlines()
    assert [line.split(" - ")[1].split(" ")[0] for line in last] == ["end", "Finished"]
    (error,) = logs.run("flow-run", "logs", "red-orca", "--level", "error", "--json").splitlines()
    assert json.loads(error)["message"] == "end"
    assert json.loads(error)["extra"] is None
    assert "not one of: critical" in logs.error("flow-run", "logs", "red-orca", "--level", "loud", status=2)


FOLLOWED = [
    "begin [bold]",
    "two rows are odd",
    "Finished in state Completed()",
    "end",
    "Finished in state Completed('All states completed.')",
]


@contextmanager
def followed(program: Path, where: dict[str, str]) -> Iterator[tuple[IO[str], subprocess.Popen[str]]]:
    """What lets the flow go on, and a process that follows its log, which has shown the first line."""
    environment, pipe = {**os.environ, **where}, subprocess.PIPE
    command = [sys.executable, program, "wait"]
    follow = [sys.executable, "-c", CLI, "flow-run", "logs", "red-orca", "--follow"]
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as flow:
        assert flow.stdout is not None
        assert flow.stdin is not None
        assert flow.stdout.readline() == "running\n"
        with subprocess.Popen(follow, env=environment, stdout=pipe, text=True) as following:
            assert following.stdout is not None
            assert "Beginning" in following.stdout.readline()
            yield flow.stdin, following
        flow.communicate()


def rest_of(following: subprocess.Popen[str]) -> list[str]:
    """What is shown until the run has ended."""
    assert following.stdout is not None
    rest = following.stdout.read()
    assert following.wait() == 0
    return [line.split(" - ")[1] for line in rest.splitlines()]


def test_following_ends_with_the_run(tmp_path: Path, program: Path) -> None:
    with followed(program, {"PLAYHEAD_DATABASE": str(tmp_path / "logs.db")}) as (flow, following):
        flow.write("\n")
        flow.flush()
        assert rest_of(following) == FOLLOWED


def test_following_outlives_the_server_and_skips_and_repeats_nothing(tmp_path: Path, program: Path) -> None:
    server = ServerProcess(tmp_path / "logs.db")
    with followed(program, {"PLAYHEAD_API_URL": server.address}) as (flow, following):
        server.close()
        flow.write("\n")
        flow.flush()
        server = ServerProcess(tmp_path / "logs.db", server.port)
        try:
            assert rest_of(following) == FOLLOWED
        finally:
            server.close()
