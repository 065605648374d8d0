"""What waits on a stream goes on after any number of restarts of the server: nothing is skipped, nothing comes twice.

A stream that breaks is opened again while nobody is at the address, refused, and opened again: many of them, so that
what goes wrong in one of fifty goes wrong here.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from playhead import v1
from playhead.client.interface import (
    CANCEL_FLOW_RUN,
    CREATE_FLOW_RUN,
    CREATE_TASK_RUN,
    PAUSE_FLOW_RUN,
    PROPOSE_STATE,
    REGISTER_FLOW,
    RESUME_FLOW_RUN,
    SEND_INPUT,
    SET_CONCURRENCY_LIMIT,
)
from playhead.client.remote import RemoteClient
from playhead.engine.execution.turns import turn_of
from playhead.engine.execution.watching import inputs_wanted, state_wanted
from tests.grpc_server.conftest import ServerProcess
from tests.grpc_server.requests import create_flow_run, new_id, propose, register_flow

RESTARTS = 5
RUNS = 20
LATER_S = 600.0  # how long runs would wait, if nothing came
WAIT_S = 60.0


class Restarted:
    """A server that is ended and started again at the same address."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.process = ServerProcess(database)
        self.address = self.process.address

    def restart(self, times: int = RESTARTS) -> None:
        """End it, by turns in order and as a power cut would, and start it."""
        for number in range(times):
            self.process.signal(SIGKILL if number % 2 else SIGTERM)
            self.process.wait()
            self.process.close()
            self.process = ServerProcess(self._database, port=self.process.port)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Restarted]:
    """A server on a fresh journal."""
    server = Restarted(tmp_path / "journal.db")
    yield server
    server.process.close()


@pytest.fixture
def client(server: Restarted) -> Iterator[RemoteClient]:
    """A client of it."""
    with closing(RemoteClient(server.address)) as client:
        yield client


def flow_runs(client: RemoteClient) -> list[str]:
    """Fresh flow runs, RUNNING."""
    flow = client.unary(REGISTER_FLOW, register_flow()).flow
    runs = [client.unary(CREATE_FLOW_RUN, create_flow_run(flow.id)).flow_run.spec.id for _ in range(RUNS)]
    for run in runs:
        assert client.unary(PROPOSE_STATE, propose(run)).decision == v1.ACCEPT
    return runs


def test_a_pause_hears_of_its_resume_and_of_its_cancellation(server: Restarted, client: RemoteClient) -> None:
    waiting: dict[str, Future[v1.State | None]] = {}
    for run in flow_runs(client):
        client.unary(PAUSE_FLOW_RUN, v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=run))
        paused = state_wanted(client, run, lambda state: state.type == v1.PAUSED, LATER_S)
        waiting[run] = state_wanted(client, run, lambda state: state.type != v1.PAUSED, LATER_S)
        assert paused.result(WAIT_S) is not None
    server.restart()
    expected = []
    for number, run in enumerate(waiting):
        if number % 2:
            client.unary(CANCEL_FLOW_RUN, v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run))
        else:
            client.unary(RESUME_FLOW_RUN, v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=run))
        expected.append(v1.CANCELLING if number % 2 else v1.RUNNING)
    heard = [future.result(WAIT_S) for future in waiting.values()]
    assert [state and state.type for state in heard] == expected


def test_a_receiver_gets_each_input_once(server: Restarted, client: RemoteClient) -> None:
    runs = flow_runs(client)
    received: dict[str, list[str]] = {run: [] for run in runs}
    requests = {run: v1.ReceiveInputsRequest(flow_run_id=run) for run in runs}
    for number in range(2):
        waiting = {run: inputs_wanted(client, requests[run], LATER_S) for run in runs}
        server.restart(RESTARTS if number else 0)
        for run, future in waiting.items():
            sent = v1.SendInputRequest(request_id=new_id(), flow_run_id=run, key=str(number), value=b"7")
            client.unary(SEND_INPUT, sent)
            response = future.result(WAIT_S)
            assert response is not None
            received[run] += [each.key for each in response.inputs]
            requests[run].after_revision = response.meta.revision
    assert received == {run: ["0", "1"] for run in runs}


def test_who_waits_in_line_hears_of_its_slot(server: Restarted, client: RemoteClient) -> None:
    """Each waits in a process of its own, as far as the server sees: a client follows the grants on one stream."""
    limit = v1.SetConcurrencyLimitRequest(request_id=new_id(), limit="name:narrow", slots=1)
    client.unary(SET_CONCURRENCY_LIMIT, limit)
    clients = [RemoteClient(server.address) for _ in range(RUNS)]
    runs, turns = [], []
    for number, each in enumerate([client, *clients]):
        spec = v1.TaskRunSpec(id=new_id(), task_key="narrow", dynamic_key=str(number), slots={"narrow": 1})
        each.unary(CREATE_TASK_RUN, v1.CreateTaskRunRequest(request_id=new_id(), spec=spec))
        runs.append(spec.id)
        answer = client.unary(PROPOSE_STATE, proposal(spec.id, v1.RUNNING))
        assert answer.decision == (v1.WAIT if number else v1.ACCEPT)
        if number:
            turns.append(turn_of(each, spec.id, answer.meta.revision, LATER_S))
    server.restart()
    for number, turn in enumerate(turns):
        client.unary(PROPOSE_STATE, proposal(runs[number], v1.COMPLETED))
        turn.result(WAIT_S)
        assert client.unary(PROPOSE_STATE, proposal(runs[number + 1], v1.RUNNING)).decision == v1.ACCEPT
    for each in clients:
        each.close()


def proposal(task_run_id: str, state: v1.StateType.ValueType) -> v1.ProposeStateRequest:
    """A state of a task run."""
    return v1.ProposeStateRequest(request_id=new_id(), task_run_id=task_run_id, state=v1.State(type=state))
