"""The end of a server: what is in flight finishes, streams are told, nothing acknowledged is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from playhead import v1
from playhead.client.errors import error_of_call
from playhead.client.interface import CREATE_FLOW_RUN, PROPOSE_STATE, REGISTER_FLOW, WATCH_EVENTS, WATCH_RUN
from playhead.client.remote import RemoteClient
from playhead.exceptions import ShuttingDown
from playhead.v1.orchestration_pb2_grpc import OrchestrationStub
from tests.grpc_server.conftest import ServerProcess
from tests.grpc_server.requests import create_flow_run, propose, register_flow


def new_flow_run(client: RemoteClient) -> str:
    """The id of a fresh PENDING flow run."""
    flow = client.unary(REGISTER_FLOW, register_flow()).flow
    return client.unary(CREATE_FLOW_RUN, create_flow_run(flow.id)).flow_run.spec.id


def answered(stub: OrchestrationStub, request: v1.ProposeStateRequest) -> grpc.Future[v1.ProposeStateResponse]:
    """A call without retries, in flight."""
    return stub.ProposeState.future(request)


def to_its_end(stream: Iterator[v1.ProposeStatesResponse]) -> tuple[list[int], grpc.RpcError]:
    """The correlation ids of the answers that a stream still has, and the error that ends it."""
    correlation_ids: list[int] = []
    try:
        for answers in stream:
            correlation_ids += [answer.correlation_id for answer in answers.answers]
    except grpc.RpcError as failed:
        return correlation_ids, failed
    raise AssertionError("the stream ended without an error")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_proposals_in_flight_are_answered_and_kept(
    server_process: ServerProcess, tmp_path: Path, number: signal.Signals
) -> None:
    client = RemoteClient(server_process.address)
    run_id = new_flow_run(client)
    requests = [propose(run_id, message=str(n)) for n in range(300)]
    acknowledged: dict[str, v1.ProposeStateResponse] = {}
    with grpc.insecure_channel(server_process.address.removeprefix("grpc://")) as channel:
        calls = [answered(OrchestrationStub(channel), request) for request in requests]
        calls[0].result()
        server_process.signal(number)
        for request, call in zip(requests, calls, strict=True):
            failure = call.exception()
            if failure is None:
                acknowledged[request.request_id] = call.result()
            else:
                assert isinstance(failure, grpc.Call)
                assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert server_process.wait() == 0
    client.close()
    assert acknowledged

    again = ServerProcess(tmp_path / "journal.db")
    client = RemoteClient(again.address)
    try:
        for request in requests:
            answer = client.unary(PROPOSE_STATE, request)
            assert answer == acknowledged.get(request.request_id, answer)
    finally:
        client.close()
        again.close()


def test_watchers_are_told(server_process: ServerProcess) -> None:
    client = RemoteClient(server_process.address)
    run_id = new_flow_run(client)
    events = client.stream(WATCH_EVENTS, v1.WatchEventsRequest())
    run = client.stream(WATCH_RUN, v1.WatchRunRequest(flow_run_id=run_id))
    assert next(run).flow_run.spec.id == run_id
    assert next(events).meta.revision >= 1
    server_process.signal(signal.SIGTERM)
    for stream in (events, run):
        with pytest.raises(ShuttingDown):
            for _ in stream:
                pass
    assert server_process.wait() == 0
    client.close()


def test_a_stream_of_batches_is_told_after_its_answers(server_process: ServerProcess) -> None:
    client = RemoteClient(server_process.address)
    run_id = new_flow_run(client)

    def batches() -> Iterator[v1.ProposeStatesRequest]:
        for n in range(1_000_000):
            item = v1.ProposeStatesItem(correlation_id=n, request=propose(run_id, message=str(n)))
            yield v1.ProposeStatesRequest(items=[item])

    with grpc.insecure_channel(server_process.address.removeprefix("grpc://")) as channel:
        stream = OrchestrationStub(channel).ProposeStates(batches())
        assert next(stream).answers[0].correlation_id == 0
        server_process.signal(signal.SIGTERM)
        correlation_ids, failed = to_its_end(stream)
        assert correlation_ids == list(range(1, len(correlation_ids) + 1))
        assert isinstance(error_of_call(failed, "ProposeStates", server_process.address), ShuttingDown)
    assert server_process.wait() == 0
    client.close()
