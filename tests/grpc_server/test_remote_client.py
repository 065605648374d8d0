"""RemoteClient: addresses, errors, lost answers, forks; and which client `connect` selects."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from playhead import flow, v1
from playhead.client import interface
from playhead.client.connect import connect
from playhead.client.interface import CREATE_FLOW_RUN, GET_FLOW_RUN, GET_HEAD, PROPOSE_STATE, READ_EVENTS, REGISTER_FLOW
from playhead.client.remote import RemoteClient
from playhead.engine.execution.connection import close_clients, use_client
from playhead.exceptions import BadRequest, DeadlinePassed, MalformedId, NotFound, ShuttingDown, TooLarge
from tests.grpc_server.conftest import ServerProcess, ThreadedServer
from tests.grpc_server.requests import create_flow_run, new_id, propose, register_flow
from tests.heard import Heard


def new_flow_run(client: RemoteClient) -> str:
    """The id of a fresh PENDING flow run."""
    flow = client.unary(REGISTER_FLOW, register_flow()).flow
    return client.unary(CREATE_FLOW_RUN, create_flow_run(flow.id)).flow_run.spec.id


def test_it_is_a_client(client: RemoteClient) -> None:
    as_protocol: interface.Client = client
    assert as_protocol.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision >= 1


def test_a_future_has_the_answer(client: RemoteClient) -> None:
    run_id = new_flow_run(client)
    futures = [client.submit(PROPOSE_STATE, propose(run_id, message=str(n))) for n in range(20)]
    assert len({future.result().meta.revision for future in futures}) == 20


def test_who_waits_and_is_cancelled_drops_the_answer_and_not_the_command(client: RemoteClient) -> None:
    request = propose(new_flow_run(client))

    async def cancelled() -> None:
        waiting = asyncio.ensure_future(client.submit(PROPOSE_STATE, request))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cancelled())
    head = client.unary(PROPOSE_STATE, request).meta.revision
    assert client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision == head


def test_a_stream_ends_and_can_be_ended_early(client: RemoteClient) -> None:
    new_flow_run(client)
    request = v1.ReadEventsRequest()
    events = [event for page in client.stream(READ_EVENTS, request) for event in page.events]
    assert [event.revision for event in events] == list(range(1, len(events) + 1))
    watch = client.stream(interface.WATCH_EVENTS, v1.WatchEventsRequest())
    assert next(watch).meta.journal_id
    watch.close()  # type: ignore[attr-defined] # a generator, as the interface says
    assert client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision == len(events)


def test_errors_are_those_of_the_package(client: RemoteClient) -> None:
    with pytest.raises(MalformedId) as caught:
        client.unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id="17"))
    assert caught.value.field == "flow_run_id"
    with pytest.raises(NotFound):
        client.submit(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=new_id())).result()
    with pytest.raises(NotFound):
        next(client.stream(interface.WATCH_RUN, v1.WatchRunRequest(flow_run_id=new_id())))


def test_a_message_over_the_servers_bound_is_too_large(client: RemoteClient) -> None:
    with pytest.raises(TooLarge) as caught:
        client.unary(PROPOSE_STATE, propose(new_id(), message="x" * 5_000_000))
    assert caught.value.facts["limit"] == "4194304"


def test_nobody_at_the_address_is_told_with_the_address() -> None:
    client = RemoteClient("grpc://127.0.0.1:1", timeout_s=0.3)
    with pytest.raises(DeadlinePassed, match=r"GetHead at grpc://127\.0\.0\.1:1"):
        client.unary(GET_HEAD, v1.GetHeadRequest())
    client.close()
    client.close()


def test_a_closed_client_says_so(server: ThreadedServer) -> None:
    client = RemoteClient(server.address)
    client.unary(GET_HEAD, v1.GetHeadRequest())
    client.close()
    with pytest.raises(ShuttingDown, match="The client is closed"):
        client.unary(GET_HEAD, v1.GetHeadRequest())
    with pytest.raises(ShuttingDown, match="The client is closed"):
        client.submit(GET_HEAD, v1.GetHeadRequest()).result()
    with pytest.raises(ShuttingDown, match="The client is closed"):
        next(client.stream(READ_EVENTS, v1.ReadEventsRequest()))


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What clients say."""
    handler, logger = Heard(), logging.getLogger("playhead.client")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_server_that_is_not_there_is_told_of_at_once_and_waited_for(tmp_path: Path, heard: Heard) -> None:
    gone = ServerProcess(tmp_path / "journal.db")
    gone.close()
    client = RemoteClient(gone.address)
    answer = client.submit(GET_HEAD, v1.GetHeadRequest())
    assert heard.said.get() == f"No answer from a server at {gone.address} yet, trying again for 60 s."
    back = ServerProcess(tmp_path / "journal.db", port=gone.port)
    try:
        assert answer.result().meta.revision == 1
    finally:
        client.close()
        back.close()


def test_a_flow_without_its_server_ends_in_one_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", "grpc://127.0.0.1:1")
    use_client(RemoteClient("grpc://127.0.0.1:1", timeout_s=0.3))
    try:
        with pytest.raises(DeadlinePassed, match="To start one: playhead server start") as caught:
            flow(lambda: None, name="nowhere")()
    finally:
        close_clients()
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][1:] == [
        "__call__",
        "call_flow",
        "drive_sync",
    ]


def test_the_journal_notes_the_peer_and_what_it_says_of_itself(client: RemoteClient) -> None:
    new_flow_run(client)
    (page,) = client.stream(READ_EVENTS, v1.ReadEventsRequest(backwards=True, limit=1))
    (event,) = page.events
    assert event.actor == "ipv4:127.0.0.1 (ann@build-7)"
    assert event.event.client.startswith("playhead-python/")


def test_a_claim_can_not_pass_for_evidence(tmp_path: Path) -> None:
    running = ThreadedServer(str(tmp_path / "journal.db"), uds=str(tmp_path / "playhead.sock"))
    client = RemoteClient(running.address, actor="unix\n(root) é" + "x" * 500)
    try:
        client.unary(REGISTER_FLOW, register_flow())
        (page,) = client.stream(READ_EVENTS, v1.ReadEventsRequest(backwards=True, limit=1))
        (event,) = page.events
        assert event.actor.startswith("unix (unix(root) éxxx")
        assert len(event.actor) < 250
    finally:
        client.close()
        running.close()


def test_a_call_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "journal.db")
    client = RemoteClient(first.address)
    run_id = new_flow_run(client)
    requests = [propose(run_id, message=str(n)) for n in range(100)]
    futures = [client.submit(PROPOSE_STATE, request) for request in requests]
    futures[0].result()
    first.close()
    second = ServerProcess(tmp_path / "journal.db", port=first.port)
    try:
        answers = [future.result() for future in futures]
        assert len({answer.meta.revision for answer in answers}) == 100
        assert [client.unary(PROPOSE_STATE, request) for request in requests] == answers
    finally:
        client.close()
        second.close()


def test_a_client_is_usable_in_a_forked_child(server_process: ServerProcess) -> None:
    client = RemoteClient(server_process.address)
    head = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision
    child = os.fork()
    if child == 0:
        try:
            same = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision == head
        except BaseException:
            same = False
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision == head
    client.close()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:4200", "grpc://", "grpc://host", "grpc://:80", "unix:", "host:1"]
)
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(BadRequest) as caught:
        RemoteClient(address)
    assert caught.value.field == "api_url"


def test_the_environment_selects_the_server(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", server.address)
    client = connect()
    assert isinstance(client, RemoteClient)
    assert client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision >= 1
    client.close()


def test_the_environment_selects_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_DATABASE", str(tmp_path / "mine.db"))
    connect().close()
    assert (tmp_path / "mine.db").exists()


def test_a_server_and_a_database_are_one_too_many() -> None:
    with pytest.raises(BadRequest, match="api_url"):
        connect("grpc://127.0.0.1:4200", database="journal.db")


def test_grpc_is_loaded_for_a_server_alone(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from playhead.client.connect import connect\n"
        f"connect(database={str(tmp_path / 'journal.db')!r}).close()\n"
        "assert 'grpc' not in sys.modules\n"
        "connect('grpc://127.0.0.1:1').close()\n"
        "assert 'grpc' in sys.modules\n"
        "assert 'playhead.grpc_server' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
