"""The command as it is installed, in processes of its own, with a server between them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from playhead.journal.journal import Journal
from playhead.journal.opening import open_database
from tests.cli.conftest import Shell
from tests.grpc_server.conftest import ServerProcess
from tests.processes.disks import make_writable
from tests.replay.history import History
from tests.replay.tampering import Tampering

PLAYHEAD = str(Path(sys.executable).with_name("playhead"))


def playhead(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends."""
    return subprocess.run([PLAYHEAD, *arguments], capture_output=True, text=True, env={**os.environ, **environment})


def document(*arguments: str, **environment: str) -> Any:
    """The JSON document that a command prints."""
    done = playhead(*arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Server:
    """`playhead server start` on a shell's journal."""

    def __init__(self, database: str, *options: str) -> None:
        command = [PLAYHEAD, "server", "start", "--database", database, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().strip()

    def close(self) -> int:
        """Ask it to end, wait for that, and give its exit status."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait()


@pytest.fixture
def server(shell: Shell) -> Iterator[Server]:
    """A running server."""
    running = Server(shell.database, "--port", "0")
    yield running
    running.close()


@pytest.fixture
def api_url(server: Server) -> str:
    """Its address, as scripts take it from what it prints."""
    said, address = server.line.rsplit(" ", 1)
    assert said == "Listening on"
    return address


def test_a_server_says_where_it_listens_and_ends_in_order(shell: Shell) -> None:
    server = Server(shell.database, "--port", "0", "--json")
    assert json.loads(server.line)["address"].startswith("grpc://127.0.0.1:")
    assert server.close() == 0


def test_a_server_on_a_socket(shell: Shell, tmp_path: Path) -> None:
    server = Server(shell.database, "--uds", str(tmp_path / "s"))
    assert server.line == f"Listening on unix:{tmp_path / 's'}"
    assert len(document("flow-run", "ls", PLAYHEAD_API_URL=f"unix:{tmp_path / 's'}")["flow_runs"]) == 2
    assert server.close() == 0


def test_a_taken_port_is_one_line(server: Server, api_url: str, shell: Shell) -> None:
    second = playhead("server", "start", "--port", api_url.rpartition(":")[2], "--database", shell.database)
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert line.startswith(f"Error: {api_url.removeprefix('grpc://')}: the port is taken: ")
    assert "--port" in line


@pytest.mark.parametrize(
    "command",
    [
        ("flow-run", "ls"),
        ("flow-run", "inspect", "renamed"),
        ("flow-run", "history", "renamed"),
        ("flow-run", "decisions", "renamed"),
        ("task-run", "ls", "--flow-run", "renamed", "--as-of", "13"),
        ("task-run", "inspect", "load-0", "--as-of", "6"),
        ("task-run", "history", "clean-0"),
        ("task-run", "decisions", "clean-0"),
        ("flow-run", "explain", "renamed"),
        ("task-run", "explain", "clean-0", "--as-of", "10", "--changes-only"),
        ("audit", "decisions", "--flow", "etl", "--only", "reject"),
        ("flow", "ls"),
        ("journal", "head"),
        ("journal", "verify"),
        ("flow-run", "diff", "renamed", "--from", "1", "--to", "14"),
    ],
)
def test_through_a_server_everything_reads_as_on_its_database(
    api_url: str, shell: Shell, command: tuple[str, ...]
) -> None:
    assert document("--api-url", api_url, *command) == shell.document(*command)


def test_a_server_whose_journal_was_changed_fails_verification(shell: Shell, server: Server, api_url: str) -> None:
    journal = Journal(open_database(shell.database))
    Tampering.with_journal(journal).run("UPDATE events SET actor = 'nobody' WHERE revision = 9")
    journal.close()
    done = playhead("journal", "verify", "--json", PLAYHEAD_API_URL=api_url)
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"]["facts"]["revision"] == "9"


@pytest.mark.parametrize("where", ["server", "database"])
def test_following_shows_each_event_as_it_is_recorded(shell: Shell, api_url: str, where: str) -> None:
    connection = ["--api-url", api_url] if where == "server" else ["--database", shell.database]
    command = [PLAYHEAD, "journal", "tail", "-n", "1", "--follow", "--json", *connection]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["revision"] == 19
        history = History(shell.database)
        history.flow_run("third")
        history.close()
        assert [json.loads(tail.stdout.readline())["revision"] for _ in range(2)] == [20, 21]
        tail.send_signal(signal.SIGINT)
        assert tail.wait() == 0


def test_following_events_outlives_the_server_and_skips_and_repeats_nothing(shell: Shell) -> None:
    server = ServerProcess(Path(shell.database))
    command = [PLAYHEAD, "journal", "tail", "-n", "1", "--follow", "--json", "--api-url", server.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["revision"] == 19
        for number in range(4):
            server.close()
            history = History(shell.database)
            history.flow_run(f"while away {number}")
            history.close()
            server = ServerProcess(Path(shell.database), port=server.port)
            seen = [json.loads(tail.stdout.readline())["revision"] for _ in range(2)]
            assert seen == [20 + 2 * number, 21 + 2 * number]
        tail.send_signal(signal.SIGINT)
        assert tail.wait() == 0
    server.close()


def test_the_environment_names_the_journal(shell: Shell, tmp_path: Path) -> None:
    assert len(document("flow-run", "ls", PLAYHEAD_DATABASE=shell.database)["flow_runs"]) == 2
    home = tmp_path / "home"
    home.mkdir()
    Path(shell.database).rename(home / "journal.db")
    assert len(document("flow-run", "ls", PLAYHEAD_HOME=str(home))["flow_runs"]) == 2


def test_options_of_the_connection_may_come_first_and_the_nearest_counts(shell: Shell) -> None:
    assert len(document("--database", shell.database, "flow-run", "ls")["flow_runs"]) == 2
    assert len(document("--database", "nowhere.db", "flow-run", "ls", "--database", shell.database)["flow_runs"]) == 2
    assert len(json.loads(playhead("--json", "--database", shell.database, "flow", "ls").stdout)["flows"]) == 2


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    command = f"{PLAYHEAD} journal tail -n 100 --database {shell.database} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert "journal_created" in done.stdout
    assert done.stderr == ""


def test_a_copy_that_can_not_be_written_can_be_looked_at(tmp_path: Path, shell: Shell) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    with closing(sqlite3.connect(shell.database)) as journal:
        journal.execute("VACUUM INTO ?", [str(folder / "journal.db")])
    make_writable(folder, False)
    command = [sys.executable, "-m", "tests.processes.unprivileged", "playhead", "--database", folder / "journal.db"]
    for look in (["journal", "verify"], ["journal", "head"], ["flow-run", "ls"], ["audit", "decisions"]):
        done = subprocess.run([*command, *look, "--json"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout.splitlines()[0])
    refused = subprocess.run([*command, "flow-run", "cancel", shell.completed], capture_output=True, text=True)
    assert (refused.returncode, "can not be written" in refused.stderr) == (1, True), refused.stderr
