"""The server's two processes: what each does without the other, and what is said when one of them ends."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead import v1
from playhead.client import interface
from playhead.client.errors import error_of_call
from playhead.client.interface import CREATE_FLOW_RUN, GET_FLOW_RUN, PROPOSE_STATE, REGISTER_FLOW
from playhead.client.remote import RemoteClient
from playhead.engine.orchestration.reader import READS_MAX
from playhead.exceptions import BadRequest, QueueFull
from playhead.grpc_server.commanding import WAITING_MAX
from playhead.grpc_server.frames import Frame, Frames, packed
from playhead.grpc_server.writing import COMMANDS
from playhead.journal.errors import JournalUnavailable
from playhead.v1 import orchestration_pb2
from playhead.v1.orchestration_pb2_grpc import OrchestrationStub
from playhead.v1.runs_pb2_grpc import RunsStub
from tests.grpc_server.conftest import ServerProcess
from tests.grpc_server.requests import create_flow_run, propose, register_flow
from tests.processes.serving import children_of


def writer_of(server: ServerProcess) -> int:
    """The process that writes."""
    (writer,) = children_of(server.process.pid)
    return writer


@contextmanager
def held(process: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.fixture
def client(server_process: ServerProcess) -> Iterator[RemoteClient]:
    """A client of `server_process`."""
    remote = RemoteClient(server_process.address)
    yield remote
    remote.close()


@pytest.fixture
def run_id(client: RemoteClient) -> str:
    """A fresh PENDING flow run."""
    flow = client.unary(REGISTER_FLOW, register_flow()).flow
    return client.unary(CREATE_FLOW_RUN, create_flow_run(flow.id)).flow_run.spec.id


def channel_to(server: ServerProcess, **options: int) -> grpc.Channel:
    """A connection of its own, without retries."""
    # Channels with the same options would share a connection.
    return grpc.insecure_channel(server.address.removeprefix("grpc://"), options=list(options.items()))


def test_every_command_is_the_writers() -> None:
    commands = {value for value in vars(interface).values() if isinstance(value, interface.Command)}
    streams = {"ProposeStates"}  # which the Python client does not use
    assert {command.method for command in COMMANDS} == {command.name for command in commands} | streams
    assert {command.method for command in COMMANDS} >= {
        method.name for method in orchestration_pb2.DESCRIPTOR.services_by_name["Orchestration"].methods
    }


def test_what_is_read_does_not_wait_for_what_is_written(
    server_process: ServerProcess, client: RemoteClient, run_id: str
) -> None:
    with held(writer_of(server_process)):
        asked = client.submit(PROPOSE_STATE, propose(run_id))
        found = client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run_id))
        assert found.flow_run.status.state.type == v1.PENDING
        assert not asked.done()
    assert asked.result(60).decision == v1.ACCEPT


def test_commands_that_wait_are_bounded_and_refused_beyond(server_process: ServerProcess, run_id: str) -> None:
    excess = 100
    with channel_to(server_process) as channel, held(writer_of(server_process)):
        ask = OrchestrationStub(channel).ProposeState.future
        calls = [ask(propose(run_id, message=str(number))) for number in range(WAITING_MAX + excess)]
        # Only what is over the bound is answered while the writer stands still.
        refused = [call.exception() for call in _first_done(calls, excess)]
        assert {type(error_of_call(error, "ProposeState", server_process.address)) for error in refused} == {QueueFull}
        os.kill(writer_of(server_process), signal.SIGCONT)
        answered = [call.exception() is None for call in calls]
    assert (answered.count(True), answered.count(False)) == (WAITING_MAX, excess)


def test_reads_that_wait_are_bounded_and_refused_beyond(server_process: ServerProcess) -> None:
    excess = 100
    later = v1.ListFlowsRequest(read_at=v1.ReadAt(min_revision=3))
    with channel_to(server_process) as channel:
        ask = RunsStub(channel).ListFlows.future
        calls = [ask(later) for _ in range(READS_MAX + excess)]
        refused = [call.exception() for call in _first_done(calls, excess)]
        assert {type(error_of_call(error, "ListFlows", server_process.address)) for error in refused} == {QueueFull}
        register = OrchestrationStub(channel).RegisterFlow
        assert [register(register_flow(name)).meta.revision for name in ("one", "two")] == [2, 3]
        answered = [call.exception() is None for call in calls]
    assert (answered.count(True), answered.count(False)) == (READS_MAX, excess)


def _first_done(calls: list[grpc.Future[v1.ProposeStateResponse]], count: int) -> list[grpc.Future[object]]:
    done, wake = os.pipe()
    for call in calls:
        call.add_done_callback(lambda _: os.write(wake, b"."))
    for _ in range(count):
        assert select.select([done], [], [], 60)[0]
        os.read(done, 1)
    return [call for call in calls if call.done()]


def test_when_the_writer_dies_those_who_wait_are_told_and_the_server_ends(
    server_process: ServerProcess, tmp_path: Path, client: RemoteClient, run_id: str
) -> None:
    before, writer = propose(run_id), writer_of(server_process)
    answer = client.unary(PROPOSE_STATE, before)
    waiting = propose(run_id, v1.COMPLETED)
    with channel_to(server_process) as channel:
        with held(writer):
            call = OrchestrationStub(channel).ProposeState.future(waiting)
            client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run_id))
            os.kill(writer, signal.SIGKILL)
        error = error_of_call(call.exception(), "ProposeState", server_process.address)
    assert isinstance(error, JournalUnavailable)
    assert "same request id" in str(error)
    assert server_process.wait() == 1

    again = ServerProcess(tmp_path / "journal.db")
    with again_at(again) as successor:
        assert successor.unary(PROPOSE_STATE, before) == answer
        assert successor.unary(PROPOSE_STATE, waiting).decision == v1.ACCEPT


@contextmanager
def again_at(server: ServerProcess) -> Iterator[RemoteClient]:
    """A client of a server that is ended afterwards."""
    client = RemoteClient(server.address)
    try:
        yield client
    finally:
        client.close()
        server.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_writer_ends_with_the_edge(server_process: ServerProcess, run_id: str, number: signal.Signals) -> None:
    writer = os.pidfd_open(writer_of(server_process))
    try:
        server_process.signal(number)
        server_process.wait()
        assert select.select([writer], [], [], 60)[0], "the writer outlived the edge"
    finally:
        os.close(writer)


def test_bytes_that_are_no_message_are_refused_by_the_writer_too(server_process: ServerProcess) -> None:
    with channel_to(server_process) as channel:
        unary = channel.unary_unary("/playhead.v1.Orchestration/ProposeState")
        stream = channel.stream_stream("/playhead.v1.Orchestration/ProposeStates")
        with pytest.raises(grpc.RpcError) as refused:
            unary(b"\xff\xff")
        assert isinstance(error_of_call(refused.value, "ProposeState", server_process.address), BadRequest)
        with pytest.raises(grpc.RpcError) as ended:
            list(stream(iter([b"\xff\xff"])))
        assert isinstance(error_of_call(ended.value, "ProposeStates", server_process.address), BadRequest)


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=90))),
    st.lists(st.integers(1, 60)),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[int, int, bytes, bytes]], cuts: list[int]
) -> None:
    data = b"".join(packed(number, what, body, caller) for number, what, caller, body in frames)
    reading = Frames()
    came: list[Frame] = []
    for size in [*cuts, len(data)]:
        came += reading.of(data[:size])
        data = data[size:]
    assert [tuple(frame) for frame in came] == frames
