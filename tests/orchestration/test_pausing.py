"""Pausing, resuming and cancelling on a real database: options, keys, timeouts, input, counters."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from playhead import v1
from playhead.exceptions import BadRequest, RequestIdReused, TooLarge
from tests.orchestration.commanding import ALICE, BOB, SECOND_US, Commanding, commanding, new_id

SCHEMA = json.dumps({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}).encode()
GOOD, BAD = b'{"age": 7}', b'{"age": "x"}'


@pytest.fixture
def command(store: str) -> Iterator[Commanding]:
    with commanding(store) as ready:
        yield ready


def pause(command: Commanding, run: str, timeout_s: float | None = None, **fields: object) -> v1.ProposeStateResponse:
    """Pause a run."""
    request = v1.PauseFlowRunRequest(**{"request_id": new_id(), "flow_run_id": run, **fields})  # type: ignore[arg-type] # any field
    if timeout_s is not None:
        request.timeout.FromMicroseconds(round(timeout_s * SECOND_US))
    answer: v1.ProposeStateResponse = command.orchestration.pause_flow_run(request, ALICE).result()
    return answer


def resume(command: Commanding, run: str, run_input: bytes = b"", request_id: str = "") -> v1.ProposeStateResponse:
    """Resume a run."""
    request = v1.ResumeFlowRunRequest(request_id=request_id or new_id(), flow_run_id=run, run_input=run_input)
    answer: v1.ProposeStateResponse = command.orchestration.resume_flow_run(request, BOB).result()
    return answer


def states(command: Commanding, run: str, revision: int | None = None) -> list[v1.State]:
    """All states of a run, as of a revision."""
    read_at = v1.ReadAt() if revision is None else v1.ReadAt(revision=revision)
    request = v1.ListStatesRequest(flow_run_id=run, read_at=read_at)
    return list(command.orchestrator.runs.list_states(request).states)


def test_input_is_asked_for_refused_and_taken_all_on_record(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    paused = pause(command, run, run_input_schema=SCHEMA)
    assert (paused.decision, paused.state.details.run_input_schema) == (v1.ACCEPT, SCHEMA)
    refused = resume(command, run, BAD)
    assert (refused.decision, refused.rule) == (v1.REJECT, "ValidateRunInput")
    assert refused.reason == 'run_input.age: "x" is not of type "integer"'
    assert refused.state == paused.state
    assert resume(command, run).reason == "run_input: the pause asks for it, and there is none."
    taken = resume(command, run, GOOD)
    assert (taken.decision, taken.state.type, taken.state.details.run_input) == (v1.ACCEPT, v1.RUNNING, GOOD)
    on_record = [(record.decision, record.rule, record.actor) for record in command.decisions(run)[-3:]]
    refusal = (v1.REJECT, "ValidateRunInput", BOB.actor)
    assert on_record == [refusal, refusal, (v1.ACCEPT, "", BOB.actor)]


def test_the_facts_on_record_hold_the_schema_and_the_input(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    pause(command, run, run_input_schema=SCHEMA)
    revision = resume(command, run, BAD).meta.revision
    (record,) = command.orchestrator.journal.read(revision, revision)
    event = v1.Event.FromString(record.payload or b"").state_proposed
    assert event.facts.status.state.details.run_input_schema == SCHEMA
    assert event.command.state.details.run_input == BAD


def test_what_was_given_can_be_read_later_as_of_any_revision(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    pause(command, run, run_input_schema=SCHEMA, pause_key="1")
    first = resume(command, run, GOOD).meta.revision
    pause(command, run, run_input_schema=SCHEMA, pause_key="2")
    resume(command, run, b'{"age": 8}')
    command.propose(v1.COMPLETED, flow_run_id=run)
    given = [state.details.run_input for state in states(command, run) if state.details.run_input]
    assert given == [GOOD, b'{"age": 8}']
    assert [state.details.run_input for state in states(command, run, first)][-1] == GOOD
    assert not states(command, run, first - 1)[-1].details.run_input


def test_a_suspended_run_keeps_its_input_in_the_state_that_schedules_it(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING, deployment_id=new_id())
    pause(command, run, run_input_schema=SCHEMA, reschedule=True)
    assert resume(command, run, BAD).decision == v1.REJECT
    taken = resume(command, run, GOOD)
    assert (taken.state.name, taken.state.details.run_input) == ("Resuming", GOOD)
    command.propose(v1.PENDING, flow_run_id=run)
    assert command.propose(v1.RUNNING, flow_run_id=run).decision == v1.ACCEPT
    assert GOOD in [state.details.run_input for state in states(command, run)]


def test_a_state_proposed_directly_asks_for_input_and_brings_it(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    asking = v1.State(type=v1.PAUSED, details=v1.StateDetails(run_input_schema=SCHEMA))
    assert command.propose(asking, flow_run_id=run).decision == v1.ACCEPT
    assert command.propose(v1.RUNNING, flow_run_id=run).rule == "ValidateRunInput"
    bringing = v1.State(type=v1.RUNNING, details=v1.StateDetails(run_input=GOOD))
    assert command.propose(bringing, flow_run_id=run, validate_only=True, request_id="").decision == v1.ACCEPT
    assert command.propose(bringing, flow_run_id=run).decision == v1.ACCEPT


def test_input_for_a_pause_that_asked_for_none_is_refused(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    pause(command, run)
    assert resume(command, run, GOOD).reason == "run_input: nobody asked for it."
    assert resume(command, run).decision == v1.ACCEPT


def test_the_same_resume_has_the_same_answer_and_another_is_another_command(command: Commanding) -> None:
    run, other = command.flow_run(v1.RUNNING), command.flow_run(v1.RUNNING)
    for each in (run, other):
        pause(command, each, run_input_schema=SCHEMA)
    for run_input in (BAD, GOOD):
        request_id = new_id()
        answer, head = resume(command, run, run_input, request_id), command.head()
        assert resume(command, run, run_input, request_id) == answer
        with pytest.raises(RequestIdReused):
            resume(command, run, b'{"age": 9}', request_id)
        with pytest.raises(RequestIdReused):
            resume(command, run, b"", request_id)
        with pytest.raises(RequestIdReused):
            resume(command, other, run_input, request_id)
        assert command.head() == head


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"timeout_s": 0}, BadRequest, "timeout"),
        ({"timeout_s": -1}, BadRequest, "timeout"),
        ({"pause_key": "k" * 501}, TooLarge, "pause_key"),
        ({"pause_key": "a\nb"}, BadRequest, "pause_key"),
        ({"pause_key": "a\x00b"}, BadRequest, "pause_key"),
        ({"run_input_schema": b"{"}, BadRequest, "run_input_schema"),
        ({"run_input_schema": b'{"type": "intt"}'}, BadRequest, "run_input_schema"),
        ({"run_input_schema": b'{"$ref": "https://example.com"}'}, BadRequest, "run_input_schema"),
        ({"run_input_schema": b" " * 65_537}, TooLarge, "run_input_schema"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(
    command: Commanding, fields: dict[str, object], error: type[BadRequest], field: str
) -> None:
    run = command.flow_run(v1.RUNNING)
    head = command.head()
    with pytest.raises(error) as caught:
        pause(command, run, **fields)  # type: ignore[arg-type] # any option
    assert (type(caught.value), caught.value.field) == (error, field)
    assert command.head() == head


def test_a_pause_that_is_over_before_it_begins_is_refused(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    head, now_s = command.head(), command.clock.now_us // SECOND_US

    def until(seconds: int) -> v1.State:
        return v1.State(type=v1.PAUSED, details=v1.StateDetails(pause_timeout=Timestamp(seconds=now_s + seconds)))

    for force in (False, True):
        for seconds in (-1, 0):
            with pytest.raises(BadRequest) as caught:
                command.propose(until(seconds), flow_run_id=run, force=force)
            assert caught.value.field == "state.details.pause_timeout"
    assert command.head() == head
    request_id = new_id()
    answer = command.propose(until(1), flow_run_id=run, request_id=request_id)
    assert answer.decision == v1.ACCEPT
    command.clock.advance(5 * SECOND_US)
    assert command.propose(until(1), flow_run_id=run, request_id=request_id) == answer


def test_a_key_pauses_a_run_once_until_it_is_tried_again(command: Commanding) -> None:
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, retry=v1.RetryPolicy(retries=1))
    run = command.propose(v1.RUNNING, create_flow_run=spec).run_id
    assert pause(command, run, pause_key="k").decision == v1.ACCEPT
    resume(command, run)
    again = pause(command, run, pause_key="k")
    assert (again.decision, again.rule, again.state.type) == (v1.REJECT, "HandlePausingFlows", v1.RUNNING)
    assert pause(command, run, pause_key="other").decision == v1.ACCEPT
    resume(command, run)
    assert list(command.status(run).pause_keys) == ["k", "other"]
    command.propose(v1.State(type=v1.CRASHED), flow_run_id=run)
    command.propose(v1.RUNNING, flow_run_id=run)
    assert pause(command, run, pause_key="k").decision == v1.ACCEPT


def test_a_paused_run_can_not_be_paused_again(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    pause(command, run)
    assert (pause(command, run).decision, pause(command, run, pause_key="x").decision) == (v1.REJECT, v1.REJECT)


def test_suspending_what_nothing_would_start_again_is_refused(command: Commanding) -> None:
    alone = command.flow_run(v1.RUNNING)
    refused = pause(command, alone, reschedule=True)
    assert (refused.decision, refused.rule, refused.state.type) == (v1.ABORT, "HandlePausingFlows", v1.RUNNING)
    call = v1.TaskRunSpec(flow_run_id=alone, task_key="sub", dynamic_key="0")
    tracking = command.propose(v1.RUNNING, create_task_run=call).run_id
    subflow = command.flow_run(v1.RUNNING, parent_task_run_id=tracking, deployment_id=new_id())
    assert pause(command, subflow, reschedule=True).decision == v1.ABORT
    assert pause(command, subflow).decision == v1.ACCEPT


@pytest.mark.parametrize("run_input", [b"", GOOD, BAD], ids=["no input", "fitting", "not fitting"])
def test_a_pause_that_timed_out_fails_whatever_the_resume_brings(command: Commanding, run_input: bytes) -> None:
    run = command.flow_run(v1.RUNNING)
    pause(command, run, timeout_s=60, run_input_schema=SCHEMA)
    command.clock.advance(60 * SECOND_US)
    answer = resume(command, run, run_input)
    assert (answer.decision, answer.rule, answer.state.type) == (v1.REJECT, "HandleResumingPausedFlows", v1.FAILED)
    assert resume(command, run, run_input).rule == "ResumeNeedsPause"


def test_a_resume_is_no_further_attempt(command: Commanding) -> None:
    waiting, suspended = command.flow_run(v1.RUNNING), command.flow_run(v1.RUNNING, deployment_id=new_id())
    pause(command, waiting)
    resume(command, waiting)
    pause(command, suspended, reschedule=True)
    resume(command, suspended)
    assert (command.status(waiting).run_count, command.status(suspended).run_count) == (1, 1)
    assert command.status(suspended).resuming
    command.propose(v1.RUNNING, flow_run_id=suspended)
    assert (command.status(suspended).run_count, command.status(suspended).resuming) == (1, False)


def test_a_refused_resume_changes_nothing_that_is_kept(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    pause(command, run, run_input_schema=SCHEMA)
    before = command.status(run)
    resume(command, run, BAD)
    assert command.status(run) == before


def test_cancelling_what_is_paused(command: Commanding) -> None:
    """A process that waits is told to end the run; a suspended run has none, and is cancelled at once."""
    waiting, suspended = command.flow_run(v1.RUNNING), command.flow_run(v1.RUNNING, deployment_id=new_id())
    pause(command, waiting, run_input_schema=SCHEMA)
    pause(command, suspended, run_input_schema=SCHEMA, reschedule=True)
    answers = [
        command.orchestration.cancel_flow_run(
            v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=run), ALICE
        ).result()
        for run in (waiting, suspended)
    ]
    assert [(answer.decision, answer.state.type) for answer in answers] == [
        (v1.ACCEPT, v1.CANCELLING),
        (v1.REJECT, v1.CANCELLED),
    ]
    assert resume(command, waiting, GOOD).rule == "ResumeNeedsPause"
    assert command.propose(v1.CANCELLED, flow_run_id=waiting).decision == v1.ACCEPT


def test_a_blocking_pause_that_is_cancelled_is_still_the_process_s_to_end(command: Commanding) -> None:
    run = command.flow_run()
    token = command.propose(v1.RUNNING, flow_run_id=run, lease_ttl=Duration(seconds=60)).lease_token
    pause(command, run, timeout=Duration(seconds=1))
    command.clock.advance(2 * SECOND_US)
    assert command.propose(v1.CANCELLING, flow_run_id=run).decision == v1.ACCEPT
    assert command.status(run).lease.token == token
    assert command.propose(v1.CANCELLED, flow_run_id=run, lease_token=token).decision == v1.ACCEPT


def test_a_run_that_asks_for_input_does_not_complete_without_it(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    pause(command, run, run_input_schema=SCHEMA)
    refused = command.propose(v1.COMPLETED, flow_run_id=run)
    assert (refused.decision, refused.rule, refused.state.type) == (v1.REJECT, "ValidateRunInput", v1.PAUSED)
    resume(command, run, GOOD)
    assert command.propose(v1.COMPLETED, flow_run_id=run).decision == v1.ACCEPT
    forced = command.flow_run(v1.RUNNING)
    pause(command, forced, run_input_schema=SCHEMA)
    assert command.propose(v1.COMPLETED, flow_run_id=forced, force=True).decision == v1.ACCEPT


def test_the_longest_pause_ends_before_the_year_10000(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    with pytest.raises(BadRequest):
        pause(command, run, timeout=Duration(seconds=253_402_300_800))
    assert pause(command, run, timeout=Duration(seconds=10**9)).decision == v1.ACCEPT
