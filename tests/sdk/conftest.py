"""What the SDK's tests run on: the same suite on a journal of its own and against a server process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from playhead import v1
from playhead.client.interface import (
    GET_FLOW_RUN,
    GET_TASK_RUN,
    LIST_DECISIONS,
    LIST_FLOW_RUNS,
    LIST_STATES,
    LIST_TASK_RUNS,
    Client,
)
from playhead.engine.execution.connection import close_clients, get_client
from playhead.logging.loggers import configure
from tests.stores import made

_SERVER = """
import sys
from playhead.grpc_server import run
run("127.0.0.1", 0, None, sys.argv[1], on_ready=lambda address: print(address, flush=True))
"""


class Service:
    """The service that a test's flows talk to, and what it has recorded."""

    @property
    def client(self) -> Client:
        """The client of this process."""
        return get_client()

    def flow_runs(self, flow_name: str) -> list[v1.FlowRun]:
        """The runs of a flow, oldest first."""
        filter_ = v1.FlowRunFilter(flow_names=[flow_name])
        request = v1.ListFlowRunsRequest(filter=filter_, order=v1.OLDEST_FIRST)
        return list(self.client.unary(LIST_FLOW_RUNS, request).flow_runs)

    def flow_run(self, flow_run_id: object) -> v1.FlowRun:
        """A flow run."""
        return self.client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=str(flow_run_id))).flow_run

    def task_run(self, task_run_id: str) -> v1.TaskRun:
        """A task run."""
        return self.client.unary(GET_TASK_RUN, v1.GetTaskRunRequest(task_run_id=task_run_id)).task_run

    def task_runs(self, flow_run_id: object) -> list[v1.TaskRun]:
        """The task runs of a flow run, oldest first."""
        filter_ = v1.TaskRunFilter(flow_run_ids=[str(flow_run_id)])
        request = v1.ListTaskRunsRequest(filter=filter_, order=v1.OLDEST_FIRST, page_size=1_000)
        return list(self.client.unary(LIST_TASK_RUNS, request).task_runs)

    def state_names(self, *, flow_run: object = "", task_run: object = "") -> list[str]:
        """The names of all states that a run has been in."""
        request = v1.ListStatesRequest()
        if flow_run:
            request.flow_run_id = str(flow_run)
        else:
            request.task_run_id = str(task_run)
        return [state.name for state in self.client.unary(LIST_STATES, request).states]

    def decisions(self, flow_run_id: object) -> list[v1.DecisionRecord]:
        """How the proposals for a flow run were decided."""
        request = v1.ListDecisionsRequest(flow_run_id=str(flow_run_id))
        return list(self.client.unary(LIST_DECISIONS, request).decisions)


@pytest.fixture(scope="session", autouse=True)
def _levels() -> None:
    """Levels of logging are set before a test sets one for a while: what it sets is what comes back afterwards."""
    configure()


@pytest.fixture(scope="session")
def server_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server process for the whole session."""
    database = tmp_path_factory.mktemp("server") / "journal.db"
    command = [sys.executable, "-c", _SERVER, str(database)]
    # It starts within the first test that asks for it, whose settings are not the server's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PLAYHEAD_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the server ended before it was ready"
        yield address
        process.terminate()


@pytest.fixture(params=["embedded", "remote"])
def service(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An empty home for the test, and a service: its own journal, or the server."""
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))
    if request.param == "embedded":
        made(str(tmp_path / "home/journal.db"))
    else:
        address = request.getfixturevalue("server_address")
        monkeypatch.setenv("PLAYHEAD_API_URL", address)
    yield Service()
    close_clients()


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An empty home and a journal of its own, for what does not depend on the client."""
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))
    made(str(tmp_path / "home/journal.db"))
    yield Service()
    close_clients()
