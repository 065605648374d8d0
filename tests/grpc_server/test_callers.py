"""Who proposed is on record: seen and said of themselves, with their software and their trace, over both clients."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from playhead import v1
from playhead.client.connect import connect
from playhead.client.interface import CREATE_FLOW_RUN, LIST_DECISIONS, PROPOSE_STATE, REGISTER_FLOW, Client
from playhead.v1.orchestration_pb2_grpc import OrchestrationStub
from tests.cli.test_processes import document
from tests.grpc_server.conftest import ThreadedServer
from tests.grpc_server.requests import create_flow_run, propose, register_flow

ME = f"{getpass.getuser()}@{socket.gethostname()} pid {os.getpid()}"
SOFTWARE = f"playhead-python/{version('playhead')}"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPAN = SpanContext(
    trace_id=0x0AF7651916CD43DD8448EB211C80319C, span_id=0xB7AD6B7169203331, is_remote=False, trace_flags=TraceFlags(1)
)


@pytest.fixture(params=["embedded", "tcp", "unix"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of each kind, with what it works on."""
    database = str(tmp_path / "journal.db")
    if request.param == "embedded":
        embedded = connect(database=database)
        yield embedded
        embedded.close()
        return
    server = ThreadedServer(database, uds=str(tmp_path / "s") if request.param == "unix" else None)
    remote = connect(server.address)
    yield remote
    remote.close()
    server.close()


def new_flow_run(client: Client) -> str:
    """The id of a fresh PENDING flow run."""
    flow = client.unary(REGISTER_FLOW, register_flow()).flow
    return client.unary(CREATE_FLOW_RUN, create_flow_run(flow.id)).flow_run.spec.id


def decisions(client: Client, run_id: str) -> list[v1.DecisionRecord]:
    """The decisions about a run."""
    return list(client.unary(LIST_DECISIONS, v1.ListDecisionsRequest(flow_run_id=run_id)).decisions)


def test_who_proposed_and_with_what_is_on_record(client: Client, request: pytest.FixtureRequest) -> None:
    run_id = new_flow_run(client)
    client.unary(PROPOSE_STATE, propose(run_id))
    (record,) = decisions(client, run_id)
    kind = request.node.callspec.params["client"]
    assert record.actor == {"embedded": ME, "tcp": f"ipv4:127.0.0.1 ({ME})", "unix": f"unix ({ME})"}[kind]
    assert (record.client, record.traceparent) == (SOFTWARE, "")


def test_a_proposal_made_inside_a_span_tells_its_trace(client: Client) -> None:
    run_id = new_flow_run(client)
    with trace.use_span(NonRecordingSpan(SPAN)):
        client.unary(PROPOSE_STATE, propose(run_id, message="waited for"))
        client.submit(PROPOSE_STATE, propose(run_id, message="promised")).result()
    client.unary(PROPOSE_STATE, propose(run_id, message="after it"))
    client.unary(PROPOSE_STATE, propose(run_id, message="with a deadline"), timeout_s=60)
    said = [(record.proposed.message, record.traceparent) for record in decisions(client, run_id)]
    assert said == [("waited for", TRACEPARENT), ("promised", TRACEPARENT), ("after it", ""), ("with a deadline", "")]


def test_a_span_that_nobody_could_find_is_not_told(client: Client) -> None:
    run_id = new_flow_run(client)
    with trace.use_span(NonRecordingSpan(SpanContext(trace_id=0, span_id=1, is_remote=False))):
        client.unary(PROPOSE_STATE, propose(run_id))
    assert [record.traceparent for record in decisions(client, run_id)] == [""]


WELL_FORMED = [TRACEPARENT, TRACEPARENT.replace("-01", "-00"), "0a" + TRACEPARENT[2:]]
MALFORMED = [
    TRACEPARENT.upper(),
    TRACEPARENT[:-1],
    TRACEPARENT + " x",
    TRACEPARENT + "-00",
    "ff" + TRACEPARENT[2:],
    "00-" + "0" * 32 + TRACEPARENT[35:],
    TRACEPARENT[:36] + "0" * 16 + "-01",
    "hello",
    "",
]


def test_of_any_grpc_client_a_well_formed_traceparent_is_noted(server: ThreadedServer) -> None:
    client = connect(server.address)
    run_id = new_flow_run(client)
    sent = WELL_FORMED + MALFORMED
    with grpc.insecure_channel(server.address.removeprefix("grpc://")) as channel:
        for traceparent in sent:
            request = propose(run_id, message=traceparent)
            OrchestrationStub(channel).ProposeState(request, metadata=[("traceparent", traceparent)])
    records = decisions(client, run_id)
    client.close()
    noted = {record.proposed.message: record.traceparent for record in records}
    assert noted == {traceparent: traceparent if traceparent in WELL_FORMED else "" for traceparent in sent}
    assert {record.actor for record in records} == {"ipv4:127.0.0.1"}
    assert all(record.client.startswith("grpc-python/") for record in records)


@pytest.mark.parametrize(
    ("said", "noted"),
    [
        ("01" + TRACEPARENT[2:] + "-what-comes", "01" + TRACEPARENT[2:]),
        ("01" + TRACEPARENT[2:] + "x", ""),
        (TRACEPARENT + "-what-comes", ""),
    ],
)
def test_of_a_later_version_of_traceparent_the_first_four_fields_are_noted(
    server: ThreadedServer, said: str, noted: str
) -> None:
    client = connect(server.address)
    run_id = new_flow_run(client)
    with grpc.insecure_channel(server.address.removeprefix("grpc://")) as channel:
        OrchestrationStub(channel).ProposeState(propose(run_id), metadata=[("traceparent", said)])
    (record,) = decisions(client, run_id)
    client.close()
    assert record.traceparent == noted


def test_the_command_line_shows_it_with_json(tmp_path: Path) -> None:
    database = str(tmp_path / "journal.db")
    client = connect(database=database)
    run_id = new_flow_run(client)
    with trace.use_span(NonRecordingSpan(SPAN)):
        client.unary(PROPOSE_STATE, propose(run_id))
    client.close()
    (shown,) = document("flow-run", "decisions", run_id, "--database", database)["decisions"]
    assert (shown["actor"], shown["client"], shown["traceparent"]) == (ME, SOFTWARE, TRACEPARENT)


def test_tracing_is_not_loaded_for_those_who_do_not_trace(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from playhead.client.connect import connect\n"
        "from playhead.client.interface import REGISTER_FLOW\n"
        "from tests.grpc_server.requests import register_flow\n"
        "connect(database=sys.argv[1]).unary(REGISTER_FLOW, register_flow())\n"
        "print(json.dumps([name for name in sys.modules if name.startswith('opentelemetry')]))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "journal.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert json.loads(done.stdout) == []
