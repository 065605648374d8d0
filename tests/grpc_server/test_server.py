"""The edge as any gRPC client meets it, through generated stubs and default options."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from playhead import v1
from playhead.grpc_server.server import SERVICES
from playhead.v1.journal_pb2_grpc import JournalStub
from playhead.v1.orchestration_pb2_grpc import OrchestrationStub
from playhead.v1.runs_pb2_grpc import RunsStub
from tests.grpc_server.conftest import ThreadedServer
from tests.grpc_server.requests import create_flow_run, new_id, propose, register_flow

ALL_SERVICES = {
    f"playhead.v1.{name}" for name in ("Orchestration", "Runs", "Journal", "Audit", "Replay", "Logs", "Inputs")
}


@pytest.fixture
def channel(server: ThreadedServer) -> Iterator[grpc.Channel]:
    """A channel as any client makes it."""
    with grpc.insecure_channel(server.address.removeprefix("grpc://")) as channel:
        yield channel


def new_flow_run(channel: grpc.Channel) -> str:
    """The id of a fresh PENDING flow run."""
    orchestration = OrchestrationStub(channel)
    flow = orchestration.RegisterFlow(register_flow()).flow
    return orchestration.CreateFlowRun(create_flow_run(flow.id)).flow_run.spec.id


def details(failed: grpc.RpcError) -> tuple[ErrorInfo, BadRequest]:
    """The ErrorInfo and the BadRequest of an error; empty where there is none."""
    assert isinstance(failed, grpc.Call)
    trailers = dict(failed.trailing_metadata() or ())
    status = Status.FromString(trailers["grpc-status-details-bin"])
    info, at_fault = ErrorInfo(), BadRequest()
    for packed in status.details:
        packed.Unpack(info)
        packed.Unpack(at_fault)
    return info, at_fault


def test_a_run_is_driven_and_read_with_plain_stubs(channel: grpc.Channel) -> None:
    run_id = new_flow_run(channel)
    answer = OrchestrationStub(channel).ProposeState(propose(run_id))
    assert answer.decision == v1.ACCEPT
    assert answer.meta.journal_id
    run = RunsStub(channel).GetFlowRun(v1.GetFlowRunRequest(flow_run_id=run_id)).flow_run
    assert run.status.state == answer.state
    head = JournalStub(channel).GetHead(v1.GetHeadRequest())
    assert head.meta.revision == answer.meta.revision


def test_an_error_names_its_reason_and_the_field(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        OrchestrationStub(channel).ProposeState(propose("no id at all"))
    info, at_fault = details(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.domain, info.reason) == ("playhead", "MALFORMED_ID")
    assert [violation.field for violation in at_fault.field_violations] == ["flow_run_id"]


def test_an_unknown_run_is_not_found(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        RunsStub(channel).GetFlowRun(v1.GetFlowRunRequest(flow_run_id=new_id()))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert details(caught.value)[0].reason == "NOT_FOUND"


def test_health_is_told_for_each_service_and_for_all(channel: grpc.Channel) -> None:
    health = HealthStub(channel)
    for service in ("", *ALL_SERVICES):
        assert health.Check(HealthCheckRequest(service=service)).status == HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(HealthCheckRequest(service="playhead.v1.Weather"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_who_watches_health_is_told_of_the_end(server: ThreadedServer, channel: grpc.Channel) -> None:
    watch = HealthStub(channel).Watch(HealthCheckRequest())
    assert next(watch).status == HealthCheckResponse.SERVING
    server.stop()
    assert [answer.status for answer in watch] == [HealthCheckResponse.NOT_SERVING]


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    asked = iter([ServerReflectionRequest(list_services="")])
    (answer,) = ServerReflectionStub(channel).ServerReflectionInfo(asked)
    listed = {service.name for service in answer.list_services_response.service}
    assert listed >= ALL_SERVICES | {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert set(SERVICES) == ALL_SERVICES


def test_reflection_describes_a_service_of_ours(channel: grpc.Channel) -> None:
    asked = iter([ServerReflectionRequest(file_containing_symbol="playhead.v1.Orchestration")])
    (answer,) = ServerReflectionStub(channel).ServerReflectionInfo(asked)
    assert answer.file_descriptor_response.file_descriptor_proto


def test_a_read_that_waits_ends_with_its_deadline(channel: grpc.Channel) -> None:
    request = v1.GetFlowRunRequest(flow_run_id=new_id(), read_at=v1.ReadAt(min_revision=1_000_000))
    with pytest.raises(grpc.RpcError) as caught:
        RunsStub(channel).GetFlowRun(request, timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert JournalStub(channel).GetHead(v1.GetHeadRequest()).meta.revision >= 1


def test_a_read_waits_for_the_revision_it_asked_for(channel: grpc.Channel) -> None:
    run_id = new_flow_run(channel)
    head = JournalStub(channel).GetHead(v1.GetHeadRequest()).meta.revision
    request = v1.GetFlowRunRequest(flow_run_id=run_id, read_at=v1.ReadAt(min_revision=head + 1))
    reading = RunsStub(channel).GetFlowRun.future(request, timeout=60)
    OrchestrationStub(channel).ProposeState(propose(run_id))
    assert reading.result().flow_run.status.state.type == v1.RUNNING


def test_an_oversized_message_is_refused_and_the_server_goes_on(channel: grpc.Channel) -> None:
    run_id = new_flow_run(channel)
    with pytest.raises(grpc.RpcError) as caught:
        OrchestrationStub(channel).ProposeState(propose(run_id, message="x" * 5_000_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert OrchestrationStub(channel).ProposeState(propose(run_id)).decision == v1.ACCEPT


def test_a_call_that_is_given_up_is_recorded_once_or_not_at_all(channel: grpc.Channel) -> None:
    run_id = new_flow_run(channel)
    head = JournalStub(channel).GetHead(v1.GetHeadRequest()).meta.revision
    requests = [propose(run_id, v1.RUNNING, f"attempt {n}") for n in range(50)]
    calls = [OrchestrationStub(channel).ProposeState.future(request) for request in requests]
    for call in calls:
        call.cancel()
    answers = [OrchestrationStub(channel).ProposeState(request) for request in requests]
    assert sorted(answer.meta.revision for answer in answers) == list(range(head + 1, head + 51))


def test_two_servers_do_not_share_a_port(server: ThreadedServer, tmp_path: Path) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(OSError, match=f"the port is taken.*:{port}") as refused:
        ThreadedServer(str(tmp_path / "other.db"), port=port)
    assert refused.value.errno == errno.EADDRINUSE


def test_a_unix_socket_serves_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "playhead.sock"
    running = ThreadedServer(str(tmp_path / "journal.db"), uds=str(path))
    try:
        assert running.address == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        with grpc.insecure_channel(running.address) as channel:
            assert OrchestrationStub(channel).RegisterFlow(register_flow()).flow.name == "hello"
        with pytest.raises(OSError, match="another server"):
            ThreadedServer(str(tmp_path / "other.db"), uds=str(path))
    finally:
        running.close()
    assert not path.exists()
