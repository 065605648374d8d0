"""Bad input gets its typed error with the field named, on both clients and both databases; nothing is recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from playhead import v1
from playhead.client.interface import GET_HEAD, LIST_FLOW_RUNS, PROPOSE_STATE, REGISTER_FLOW, Client
from playhead.exceptions import BadPageToken, MalformedId, PlayheadError, RequestIdReused, TooLarge
from playhead.projector.paging import page_of
from tests.processes.bad_requests import CASES, Case, World


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method.name}: {case.name}")
def test_it_is_refused_by_name(client: Client, world: World, case: Case) -> None:
    before = client.unary(GET_HEAD, v1.GetHeadRequest())
    with pytest.raises(PlayheadError) as caught:
        client.unary(case.method, case.request(world), timeout_s=30)
    assert type(caught.value) is case.error
    assert getattr(caught.value, "field", "") == case.field
    assert client.unary(GET_HEAD, v1.GetHeadRequest()) == before


def test_a_request_id_has_one_command(client: Client, world: World) -> None:
    request = v1.RegisterFlowRequest(request_id=world.ids.new_id(), flow_id=world.ids.new_id(), name="one")
    client.unary(REGISTER_FLOW, request)
    before = client.unary(GET_HEAD, v1.GetHeadRequest())
    request.name = "another"
    with pytest.raises(RequestIdReused):
        client.unary(REGISTER_FLOW, request)
    assert client.unary(GET_HEAD, v1.GetHeadRequest()) == before


def test_one_bad_proposal_does_not_fail_its_neighbours(client: Client, world: World) -> None:
    good = [
        v1.ProposeStateRequest(
            request_id=world.ids.new_id(), flow_run_id=world.flow_run_id, state=v1.State(type=v1.RUNNING)
        )
        for _ in range(2)
    ]
    bad = v1.ProposeStateRequest(request_id=world.ids.new_id(), flow_run_id="x", state=v1.State(type=v1.RUNNING))
    futures = [client.submit(PROPOSE_STATE, request) for request in (good[0], bad, good[1])]
    first, error, second = (future.exception() for future in futures)
    assert (first, second) == (None, None)
    assert isinstance(error, MalformedId)


def test_a_message_over_the_bound_is_refused_whole(client: Client, world: World) -> None:
    request = v1.RegisterFlowRequest(request_id=world.ids.new_id(), flow_id=world.ids.new_id(), name="x" * 5_000_000)
    with pytest.raises(TooLarge):
        client.unary(REGISTER_FLOW, request)
    assert client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision > 0


def test_a_token_does_not_reach_beyond_the_journal(client: Client, world: World) -> None:
    first = page_of(v1.ListFlowRunsRequest(), 1)
    assert first is not None
    for revision, key in ((10**30, 1), (1, 10**30), (-1, 1), (1, -1)):
        request = v1.ListFlowRunsRequest(page_token=replace(first, revision=revision).next_token(key))
        with pytest.raises(BadPageToken):
            client.unary(LIST_FLOW_RUNS, request)
