"""Who waits for a run's input outlives the server: what is sent through the next one is received, once."""

from __future__ import annotations

from contextlib import closing

from playhead import v1
from playhead.client.interface import CREATE_FLOW_RUN, REGISTER_FLOW, SEND_INPUT
from playhead.client.remote import RemoteClient
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.watching import inputs_wanted
from tests.grpc_server.conftest import ThreadedServer

WAIT_S = 60


def test_a_receiver_goes_on_with_the_next_server(sqlite_store: str) -> None:
    first = ThreadedServer(sqlite_store)
    port = int(first.address.rpartition(":")[2])
    with closing(RemoteClient(first.address)) as client:
        flow = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="approvals")
        spec = v1.FlowRunSpec(id=new_id(), flow_id=client.unary(REGISTER_FLOW, flow).flow.id)
        client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
        request = v1.ReceiveInputsRequest(flow_run_id=spec.id)
        received: list[str] = []
        for number in range(3):
            waiting = inputs_wanted(client, request, None)
            if number == 1:
                first.close()
                server = ThreadedServer(sqlite_store, port=port)
            sent = v1.SendInputRequest(request_id=new_id(), flow_run_id=spec.id, key=str(number), value=b"7")
            client.unary(SEND_INPUT, sent)
            response = waiting.result(WAIT_S)
            assert response is not None
            received += [each.key for each in response.inputs]
            request.after_revision = response.meta.revision
    server.close()
    assert received == ["0", "1", "2"]
