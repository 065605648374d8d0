"""Finding decisions and explaining runs: the same through each client, on each database, as the events say."""

from __future__ import annotations

from typing import Any

import pytest

from playhead import v1
from playhead.client.interface import (
    EXPLAIN_RUN,
    FIND_DECISIONS,
    GET_HEAD,
    LIST_DECISIONS,
    PROPOSE_STATE,
    READ_EVENTS,
    Client,
)
from playhead.exceptions import NotFound, RevisionNotReached
from tests.processes.bad_requests import World

LATER_S = 4_000_000_000


@pytest.fixture(scope="module")
def first(client: Client, world: World) -> int:
    """The first of seven revisions at which decisions were made about the task run and the flow run, of most kinds."""
    before = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision
    flow_run, task_run = {"flow_run_id": world.flow_run_id}, {"task_run_id": world.task_run_id}
    propose(client, world, flow_run, v1.State(type=v1.RUNNING), force=True)
    for state_type in (v1.SCHEDULED, v1.RUNNING, v1.COMPLETED, v1.CANCELLING):
        state = v1.State(type=state_type)
        if state_type == v1.SCHEDULED:
            state.details.scheduled_time.seconds = LATER_S
        propose(client, world, task_run, state)
    propose(client, world, flow_run, v1.State(type=v1.COMPLETED))
    propose(client, world, flow_run, v1.State(type=v1.CANCELLING))
    return before + 1


def propose(client: Client, world: World, run: dict[str, Any], state: v1.State, force: bool = False) -> None:
    """Propose a state, whatever comes of it."""
    request = v1.ProposeStateRequest(request_id=world.ids.new_id(), state=state, force=force, **run)
    client.unary(PROPOSE_STATE, request)


def proposals(client: Client, first: int) -> list[v1.JournalEvent]:
    """All proposals from a revision on, newest first."""
    filter = v1.EventFilter(kinds=["state_proposed"])
    request = v1.ReadEventsRequest(filter=filter, from_revision=first, backwards=True)
    return [event for page in client.stream(READ_EVENTS, request) for event in page.events]


def search(client: Client, first: int, **conditions: Any) -> list[int]:
    """The revisions of the decisions found from a revision on, in pages of two."""
    filter = v1.DecisionFilter(first_revision=first, **conditions)
    request = v1.FindDecisionsRequest(filter=filter, page_size=2)
    found: list[int] = []
    while True:
        response = client.unary(FIND_DECISIONS, request)
        found += [record.revision for record in response.decisions]
        request.page_token = response.next_page_token
        if not request.page_token:
            return found


def test_decisions_are_found_by_what_they_say(client: Client, world: World, first: int) -> None:
    events = proposals(client, first)
    everything = [event.revision for event in events]
    assert everything == list(range(first + 6, first - 1, -1))
    assert search(client, first) == everything
    made = {event.event.state_proposed.decision for event in events}
    assert made >= {v1.ACCEPT, v1.WAIT, v1.ABORT}
    for decision in (v1.ACCEPT, v1.REJECT, v1.WAIT, v1.ABORT):
        wanted = [event.revision for event in events if event.event.state_proposed.decision == decision]
        assert search(client, first, decisions=[decision]) == wanted
    assert search(client, first, force=True) == [first]
    assert search(client, first, run_ids=[world.task_run_id]) == everything[2:6]
    assert search(client, first, within_flow_run_ids=[world.flow_run_id]) == everything
    assert search(client, first, flow_ids=[world.flow_id], actors=[events[0].actor]) == everything
    assert search(client, first, actors=["nobody"]) == []
    assert search(client, first, to_types=[v1.CANCELLING]) == [first + 6, first + 4]


def test_what_is_found_is_what_is_listed_of_each_run(client: Client, world: World, first: int) -> None:
    filter = v1.DecisionFilter(first_revision=first)
    found = client.unary(FIND_DECISIONS, v1.FindDecisionsRequest(filter=filter, order=v1.OLDEST_FIRST)).decisions
    listed = [
        *client.unary(LIST_DECISIONS, v1.ListDecisionsRequest(task_run_id=world.task_run_id)).decisions,
        *client.unary(LIST_DECISIONS, v1.ListDecisionsRequest(flow_run_id=world.flow_run_id)).decisions,
    ]
    assert list(found) == sorted(listed, key=lambda record: record.revision)
    assert [record.task_run for record in found] == [False, True, True, True, True, False, False]


def test_a_run_is_explained_as_its_events_say(client: Client, world: World, first: int) -> None:
    explained = client.unary(EXPLAIN_RUN, v1.ExplainRunRequest(task_run_id=world.task_run_id))
    request = v1.ReadEventsRequest(filter=v1.EventFilter(stream=world.task_run_id))
    events = [event for page in client.stream(READ_EVENTS, request) for event in page.events]
    assert [(step.revision, step.kind, step.actor) for step in explained.steps] == [
        (event.revision, event.kind, event.actor) for event in events
    ]
    assert explained.summary.startswith(f"As of revision {explained.meta.revision} the task run")
    at = v1.ReadAt(revision=first + 1)
    then = client.unary(EXPLAIN_RUN, v1.ExplainRunRequest(task_run_id=world.task_run_id, read_at=at))
    assert list(then.steps) == [step for step in explained.steps if step.revision <= first + 1]
    assert then.task_run.status.state.type == v1.SCHEDULED


def test_moments_before_and_beyond_are_errors(client: Client, world: World, first: int) -> None:
    head = client.unary(GET_HEAD, v1.GetHeadRequest()).meta.revision
    assert head >= first
    beyond = v1.ReadAt(revision=head + 1)
    with pytest.raises(RevisionNotReached):
        client.unary(FIND_DECISIONS, v1.FindDecisionsRequest(read_at=beyond))
    with pytest.raises(RevisionNotReached):
        client.unary(EXPLAIN_RUN, v1.ExplainRunRequest(flow_run_id=world.flow_run_id, read_at=beyond))
    before = v1.ReadAt(revision=1)
    with pytest.raises(NotFound):
        client.unary(EXPLAIN_RUN, v1.ExplainRunRequest(flow_run_id=world.flow_run_id, read_at=before))
