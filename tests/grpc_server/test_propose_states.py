"""ProposeStates: batches on one stream."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from playhead import v1
from playhead.client.errors import error_of
from playhead.exceptions import MalformedId
from playhead.v1.orchestration_pb2_grpc import OrchestrationStub
from tests.grpc_server.conftest import ThreadedServer
from tests.grpc_server.requests import create_flow_run, propose, register_flow


@pytest.fixture
def orchestration(server: ThreadedServer) -> Iterator[OrchestrationStub]:
    """A stub on a channel of its own."""
    with grpc.insecure_channel(server.address.removeprefix("grpc://")) as channel:
        yield OrchestrationStub(channel)


def new_flow_runs(orchestration: OrchestrationStub, count: int) -> list[str]:
    """Ids of fresh PENDING flow runs."""
    flow_id = orchestration.RegisterFlow(register_flow()).flow.id
    return [orchestration.CreateFlowRun(create_flow_run(flow_id)).flow_run.spec.id for _ in range(count)]


def batch(first: int, requests: list[v1.ProposeStateRequest]) -> v1.ProposeStatesRequest:
    """Requests with correlation ids from `first` on."""
    items = [v1.ProposeStatesItem(correlation_id=first + n, request=r) for n, r in enumerate(requests)]
    return v1.ProposeStatesRequest(items=items)


def test_batches_are_answered_in_their_order_and_items_in_theirs(orchestration: OrchestrationStub) -> None:
    run_ids = new_flow_runs(orchestration, 60)
    batches = [batch(n, [propose(run_id) for run_id in run_ids[n : n + 3]]) for n in range(0, 60, 3)]
    answers = list(orchestration.ProposeStates(iter(batches)))
    assert len(answers) == 20
    flat = [answer for answers_ in answers for answer in answers_.answers]
    assert [answer.correlation_id for answer in flat] == list(range(60))
    assert [answer.response.run_id for answer in flat] == run_ids
    revisions = [answer.response.meta.revision for answer in flat]
    assert revisions == list(range(revisions[0], revisions[0] + 60))


def test_a_bad_item_is_answered_alone(orchestration: OrchestrationStub) -> None:
    (run_id,) = new_flow_runs(orchestration, 1)
    (answers,) = orchestration.ProposeStates(iter([batch(7, [propose("no id"), propose(run_id)])]))
    refused, accepted = answers.answers
    assert (refused.correlation_id, accepted.correlation_id) == (7, 8)
    error = error_of(refused.error)
    assert type(error) is MalformedId
    assert error.field == "flow_run_id"
    assert accepted.response.decision == v1.ACCEPT


def test_a_batch_beyond_the_bound_is_refused_item_by_item_and_the_stream_goes_on(
    orchestration: OrchestrationStub,
) -> None:
    (run_id,) = new_flow_runs(orchestration, 1)
    too_many = batch(0, [propose(run_id)] * 1_001)
    large, small = orchestration.ProposeStates(iter([too_many, batch(5_000, [propose(run_id)])]))
    assert {error_of(answer.error).reason for answer in large.answers} == {v1.TOO_LARGE}
    assert [answer.correlation_id for answer in large.answers] == list(range(1_001))
    assert small.answers[0].response.decision == v1.ACCEPT


def test_a_batch_of_more_than_4_mib_ends_the_stream_and_nothing_of_it_is_decided(
    orchestration: OrchestrationStub,
) -> None:
    run_ids = new_flow_runs(orchestration, 71)
    large = [propose(run_id, message="x" * 60_000) for run_id in run_ids[1:]]
    answers = orchestration.ProposeStates(iter([batch(0, [propose(run_ids[0])]), batch(1, large)]))
    with pytest.raises(grpc.RpcError) as caught:
        list(answers)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    again = next(iter(orchestration.ProposeStates(iter([batch(1, large[:2])])))).answers
    assert [answer.response.version for answer in again] == [2, 2]


def test_a_stream_without_batches_ends_well(orchestration: OrchestrationStub) -> None:
    assert list(orchestration.ProposeStates(iter([]))) == []
