"""Commands on a real database: what each appends, answers, and answers again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.call_ids import call_id
from playhead.engine.orchestration.installed import chosen_policy
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.exceptions import (
    AlreadyExists,
    BadRequest,
    NotFound,
    RequestIdReused,
    TooLarge,
    VersionMismatch,
)
from playhead.journal.encoding import bytes_of, text_of
from tests.orchestration.commanding import ALICE, BOB, SECOND_US, Commanding, commanding, new_id


@pytest.fixture
def command(store: str) -> Iterator[Commanding]:
    with commanding(store) as ready:
        yield ready


def test_a_flow_is_registered_once_however_often_it_is_asked_for(command: Commanding) -> None:
    head = command.head()
    again = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="etl")
    answer = command.orchestration.register_flow(again, BOB).result()
    assert answer.flow.id == command.flow_id
    assert command.head() == head


def test_a_run_created_and_proposed_for_in_one_command_has_two_events_of_one_request(command: Commanding) -> None:
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, state=v1.State(type=v1.PENDING))
    answer = command.propose(v1.RUNNING, create_flow_run=spec)
    events = command.orchestrator.journal.read(1, answer.meta.revision, stream=bytes_of(spec.id))
    assert [(e.kind, e.request_seq) for e in events] == [("flow_run_created", 0), ("state_proposed", 1)]
    assert len({e.request_id for e in events}) == 1
    states = command.orchestrator.runs.list_states(v1.ListStatesRequest(flow_run_id=spec.id)).states
    assert [state.name for state in states] == ["Pending", "Running"]


def test_a_task_run_in_a_flow_run_has_the_id_that_follows_from_its_keys(command: Commanding) -> None:
    flow_run = command.flow_run(v1.RUNNING)
    spec = v1.TaskRunSpec(flow_run_id=flow_run, task_key="extract", dynamic_key="0")
    first = command.propose(v1.RUNNING, create_task_run=spec)
    assert first.run_id == text_of(call_id(bytes_of(flow_run), "extract", "0"))
    done = v1.State(type=v1.COMPLETED, result=v1.Result(inline=b"1", media_type="application/json"))
    command.propose(done, task_run_id=first.run_id)
    again = command.propose(v1.RUNNING, create_task_run=spec)
    assert (again.decision, again.run_id) == (v1.REJECT, first.run_id)
    assert again.state.result.inline == b"1"


def test_the_id_of_a_call_is_made_of_its_flow_runs_id_its_number_and_a_digest() -> None:
    flow_run = bytes_of("019a0000-1111-7222-8333-444444444444")
    ids = [text_of(call_id(flow_run, "extract", key)) for key in ("0", "42", "1042", "a.7", "x", "٣")]
    assert ids == [
        "019a0000-1111-8000-b978-457bf8b6a48b",
        "019a0000-1111-8042-a15c-6ba8a1e7f2eb",
        "019a0000-1111-8042-8073-5176f7ef1925",
        "019a0000-1111-8007-9bc5-2c5ef249b557",
        "019a0000-1111-8000-aa23-2798b63f84b7",
        "019a0000-1111-8000-81ee-602ac4130780",
    ]


def test_another_id_for_a_task_run_in_a_flow_run_is_refused(command: Commanding) -> None:
    spec = v1.TaskRunSpec(id=new_id(), flow_run_id=command.flow_run(), task_key="extract", dynamic_key="0")
    with pytest.raises(BadRequest, match=r"create_task_run\.id"):
        command.propose(v1.RUNNING, create_task_run=spec)


def test_an_idempotency_key_finds_the_first_run(command: Commanding) -> None:
    first = command.flow_run(idempotency_key="today")
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, idempotency_key="today")
    created = command.orchestration.create_flow_run(v1.CreateFlowRunRequest(request_id=new_id(), spec=spec), BOB)
    assert (created.result().created, created.result().flow_run.spec.id) == (False, first)
    request_id = new_id()
    proposed = command.propose(v1.RUNNING, request_id=request_id, create_flow_run=spec)
    assert (proposed.decision, proposed.run_id) == (v1.ACCEPT, first)
    assert command.propose(v1.RUNNING, request_id=request_id, create_flow_run=spec) == proposed


def test_two_runs_of_one_key_in_one_batch_are_one_run(command: Commanding) -> None:
    items = [
        v1.ProposeStatesItem(
            correlation_id=number,
            request=v1.ProposeStateRequest(
                request_id=new_id(),
                create_flow_run=v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, idempotency_key="k"),
                state=v1.State(type=v1.RUNNING),
            ),
        )
        for number in range(2)
    ]
    answers = command.orchestration.propose_states(v1.ProposeStatesRequest(items=items), ALICE).result().answers
    assert answers[0].response.run_id == answers[1].response.run_id
    assert [answer.correlation_id for answer in answers] == [0, 1]


def test_an_id_that_is_taken_is_refused(command: Commanding) -> None:
    run = command.flow_run()
    spec = v1.FlowRunSpec(id=run, flow_id=command.flow_id)
    with pytest.raises(AlreadyExists):
        command.orchestration.create_flow_run(v1.CreateFlowRunRequest(request_id=new_id(), spec=spec), ALICE).result()
    with pytest.raises(AlreadyExists):
        command.propose(v1.RUNNING, create_flow_run=v1.FlowRunSpec(id=command.flow_id, flow_id=command.flow_id))
    with pytest.raises(NotFound):
        command.propose(v1.RUNNING, task_run_id=run)


def test_a_proposal_for_a_run_to_be_created_moves_no_run_of_another_spec(command: Commanding) -> None:
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, name="one", parameters=b'{"a":1}')
    assert command.propose(v1.RUNNING, create_flow_run=spec).decision == v1.ACCEPT
    other, head = v1.FlowRunSpec(id=spec.id, flow_id=command.flow_id, name="other"), command.head()
    with pytest.raises(AlreadyExists, match="another spec"):
        command.propose(v1.COMPLETED, create_flow_run=other)
    assert (command.status(spec.id).state.type, command.head()) == (v1.RUNNING, head)
    assert command.propose(v1.COMPLETED, create_flow_run=spec).decision == v1.ACCEPT


def test_a_task_runs_next_attempt_may_have_another_spec_but_not_another_task(command: Commanding) -> None:
    spec = v1.TaskRunSpec(id=new_id(), task_key="load", task_version="1")
    assert command.propose(v1.RUNNING, create_task_run=spec).decision == v1.ACCEPT
    with pytest.raises(AlreadyExists, match="another spec"):
        command.propose(v1.COMPLETED, create_task_run=v1.TaskRunSpec(id=spec.id, task_key="drop"))
    again = v1.TaskRunSpec(id=spec.id, task_key="load", task_version="2", tags=["new"])
    assert command.propose(v1.COMPLETED, create_task_run=again).decision == v1.ACCEPT


@pytest.mark.parametrize("field", ["flow_id", "parent_task_run_id", "forked_from_run_id"])
def test_a_run_needs_what_it_refers_to(command: Commanding, field: str) -> None:
    task_run = command.task_run(id=new_id(), task_key="t")
    for other in (new_id(), command.flow_run() if field == "parent_task_run_id" else task_run):
        head = command.head()
        with pytest.raises(NotFound) as raised:
            command.flow_run(None, **{field: other})
        assert (raised.value.facts["field"], raised.value.facts["id"]) == (f"spec.{field}", other)
        spec = v1.FlowRunSpec(**{"id": new_id(), "flow_id": command.flow_id, field: other})
        with pytest.raises(NotFound) as raised:
            command.propose(v1.RUNNING, create_flow_run=spec)
        assert raised.value.facts["field"] == f"create_flow_run.{field}"
        assert command.head() == head


@pytest.mark.parametrize("nested", [64, 100_000])
def test_parameters_that_are_too_deep_to_be_shown_are_refused(command: Commanding, nested: int) -> None:
    assert command.flow_run(parameters=b'{"x":' + b"[" * 63 + b"]" * 63 + b"}")
    with pytest.raises(BadRequest, match="nested more than 64 deep") as raised:
        command.flow_run(parameters=b'{"x":' + b"[" * nested + b"]" * nested + b"}")
    assert raised.value.field == "spec.parameters"


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        (b"{", "not JSON"),
        (b"\x00", "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":NaN}', "NaN is no number of JSON"),
        (b'{"a":-Infinity}', "no number of JSON"),
        (b'{"a":1e999}', "no number of JSON"),
        (b'{"a":' + b"1" * 5_000 + b"}", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
    ],
)
def test_parameters_are_a_json_object(command: Commanding, parameters: bytes, why: str) -> None:
    head = command.head()
    with pytest.raises(BadRequest, match=why) as raised:
        command.flow_run(parameters=parameters)
    assert (raised.value.field, command.head()) == ("spec.parameters", head)


@pytest.mark.parametrize("name", ["Late", "AwaitingConcurrencySlot"])
def test_no_run_begins_under_a_name_that_only_rules_and_timers_give(command: Commanding, name: str) -> None:
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, state=v1.State(type=v1.SCHEDULED, name=name))
    with pytest.raises(BadRequest) as raised:
        command.orchestration.create_flow_run(v1.CreateFlowRunRequest(request_id=new_id(), spec=spec), ALICE).result()
    assert raised.value.field == "spec.state.name"


def test_no_run_comes_from_itself(command: Commanding) -> None:
    """What a run is in, and comes from, is there before it, so there are no circles."""
    run_id, head = new_id(), command.head()
    with pytest.raises(BadRequest) as raised:
        command.flow_run(id=run_id, forked_from_run_id=run_id)
    assert raised.value.field == "spec.forked_from_run_id"
    inside = v1.TaskRunSpec(flow_run_id=run_id, task_key="flow:etl", dynamic_key="0")
    with pytest.raises(NotFound, match="flow_run_id"):
        command.propose(v1.RUNNING, create_task_run=inside)
    own = text_of(call_id(bytes_of(run_id), "flow:etl", "0"))
    with pytest.raises(NotFound, match="parent_task_run_id"):
        command.flow_run(id=run_id, parent_task_run_id=own)
    assert command.head() == head


def test_a_task_run_needs_its_flow_run(command: Commanding) -> None:
    spec = v1.TaskRunSpec(flow_run_id=new_id(), task_key="t", dynamic_key="0")
    with pytest.raises(NotFound, match="flow_run_id"):
        command.propose(v1.RUNNING, create_task_run=spec)


def test_a_version_that_moved_on_is_refused_and_nothing_recorded(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    version = command.status(run).version
    command.propose(v1.COMPLETED, flow_run_id=run, expected_version=version)
    head = command.head()
    with pytest.raises(VersionMismatch) as refused:
        command.propose(v1.RUNNING, flow_run_id=run, expected_version=version)
    assert refused.value.facts == {"expected": str(version), "actual": str(version + 1)}
    assert command.head() == head


def test_a_run_that_is_to_be_made_is_at_version_0(command: Commanding) -> None:
    spec = v1.TaskRunSpec(id=new_id(), task_key="t")
    with pytest.raises(VersionMismatch, match=f"Task run {spec.id} does not exist yet, which is version 0, not 3"):
        command.propose(v1.RUNNING, create_task_run=spec, expected_version=3)
    assert command.propose(v1.RUNNING, create_task_run=spec, expected_version=0).decision == v1.ACCEPT


def test_a_refusal_does_not_change_the_version(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    version = command.status(run).version
    refused = command.propose(v1.PENDING, flow_run_id=run)
    assert (refused.decision, refused.version) == (v1.ABORT, version)
    assert command.propose(v1.COMPLETED, flow_run_id=run, expected_version=version).decision == v1.ACCEPT


def test_validate_only_says_what_would_happen_and_records_nothing(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    head = command.head()
    imagined = command.propose(v1.PENDING, flow_run_id=run, validate_only=True, request_id="")
    assert (imagined.decision, imagined.rule) == (v1.ABORT, "PreventPendingTransitions")
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id)
    assert command.propose(v1.RUNNING, create_flow_run=spec, validate_only=True).decision == v1.ACCEPT
    assert command.head() == head
    with pytest.raises(NotFound):
        command.status(spec.id)


def test_a_request_id_answers_one_command_only(command: Commanding) -> None:
    run, request_id = command.flow_run(), new_id()
    command.propose(v1.RUNNING, flow_run_id=run, request_id=request_id)
    with pytest.raises(RequestIdReused):
        command.propose(v1.COMPLETED, flow_run_id=run, request_id=request_id)
    rename = v1.UpdateRunRequest(request_id=request_id, flow_run_id=run, name="x")
    with pytest.raises(RequestIdReused):
        command.orchestration.update_run(rename, ALICE).result()


def test_a_request_id_answers_one_run_and_one_kind_of_command_only(command: Commanding) -> None:
    request_id = new_id()
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id)
    answer = command.propose(v1.RUNNING, request_id=request_id, create_flow_run=spec)
    assert command.propose(v1.RUNNING, request_id=request_id, create_flow_run=spec) == answer
    tagged = v1.FlowRunSpec(id=spec.id, flow_id=spec.flow_id, tags=["another"])
    with pytest.raises(RequestIdReused):
        command.propose(v1.RUNNING, request_id=request_id, create_flow_run=tagged)
    resume = v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=spec.id)
    command.propose(v1.COMPLETED, request_id=resume.request_id, flow_run_id=spec.id)
    with pytest.raises(RequestIdReused):
        command.orchestration.resume_flow_run(resume, ALICE).result()


def test_a_result_is_found_in_the_cache_within_the_batch_that_stored_it(command: Commanding) -> None:
    flow_run = command.flow_run(v1.RUNNING)
    first = command.propose(
        v1.RUNNING, create_task_run=v1.TaskRunSpec(flow_run_id=flow_run, task_key="t", dynamic_key="0")
    )
    done = v1.State(type=v1.COMPLETED, result=v1.Result(inline=b"1"), details=v1.StateDetails(cache_key="k"))
    second = v1.TaskRunSpec(flow_run_id=flow_run, task_key="t", dynamic_key="1")
    looking = v1.State(type=v1.RUNNING, details=v1.StateDetails(cache_key="k"))
    items = [
        v1.ProposeStatesItem(request=v1.ProposeStateRequest(request_id=new_id(), task_run_id=first.run_id, state=done)),
        v1.ProposeStatesItem(
            request=v1.ProposeStateRequest(request_id=new_id(), create_task_run=second, state=looking)
        ),
    ]
    answers = command.orchestration.propose_states(v1.ProposeStatesRequest(items=items), ALICE).result().answers
    assert (answers[1].response.state.name, answers[1].response.state.result.inline) == ("Cached", b"1")


def test_the_newest_cached_result_is_found_whoever_stored_it(store: str) -> None:
    def state(type: v1.StateType.ValueType, result: bytes = b"") -> v1.State:
        state = v1.State(type=type, details=v1.StateDetails(cache_key="k"))
        if result:
            state.result.inline = result
        return state

    with commanding(store) as one, commanding(store) as other:
        for result, command in ((b"1", one), (b"2", other), (b"3", one), (b"4", other)):
            spec = v1.TaskRunSpec(id=new_id(), task_key="t")
            assert command.propose(state(v1.COMPLETED, result), create_task_run=spec).decision == v1.ACCEPT
            for looking in (one, other):
                spec = v1.TaskRunSpec(id=new_id(), task_key="t")
                assert looking.propose(state(v1.RUNNING), create_task_run=spec).state.result.inline == result


def test_what_a_flow_run_completed_under_a_cache_key_is_no_result_of_a_task(command: Commanding) -> None:
    stored = v1.State(type=v1.COMPLETED, result=v1.Result(inline=b"1"), details=v1.StateDetails(cache_key="k"))
    flow_run = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id)
    task_run = v1.TaskRunSpec(id=new_id(), task_key="load")
    running = v1.State(type=v1.RUNNING, details=v1.StateDetails(cache_key="k"))
    requests = [
        v1.ProposeStateRequest(request_id=new_id(), create_flow_run=flow_run, state=stored),
        v1.ProposeStateRequest(request_id=new_id(), create_task_run=task_run, state=running),
    ]
    items = [v1.ProposeStatesItem(request=request) for request in requests]
    answers = command.orchestration.propose_states(v1.ProposeStatesRequest(items=items), ALICE).result().answers
    assert [answer.response.decision for answer in answers] == [v1.ACCEPT, v1.ACCEPT]


def test_what_is_known_of_a_run_does_not_change_with_the_message_that_created_it(command: Commanding) -> None:
    spec = v1.FlowRunSpec(id=new_id(), flow_id=command.flow_id, deployment_id=new_id())
    request = v1.ProposeStateRequest(request_id=new_id(), create_flow_run=spec, state=v1.State(type=v1.RUNNING))
    command.orchestration.propose_state(request, ALICE).result()
    request.create_flow_run.Clear()
    suspended = v1.State(type=v1.PAUSED, details=v1.StateDetails(pause_reschedule=True))
    assert command.propose(suspended, flow_run_id=spec.id).decision == v1.ACCEPT


def test_a_run_is_renamed_and_tagged(command: Commanding) -> None:
    run = command.flow_run()
    request = v1.UpdateRunRequest(request_id=new_id(), flow_run_id=run, name="blue", tags=v1.TagList(tags=["a", "b"]))
    answer = command.orchestration.update_run(request, ALICE).result()
    assert (answer.status.name, list(answer.status.tags)) == ("blue", ["a", "b"])
    assert command.status(run) == answer.status
    assert command.orchestration.update_run(request, ALICE).result() == answer


def test_pause_and_resume(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    pause = v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=run, timeout=Duration(seconds=60), pause_key="1")
    paused = command.orchestration.pause_flow_run(pause, ALICE).result()
    assert (paused.decision, paused.state.name) == (v1.ACCEPT, "Paused")
    assert paused.state.details.pause_timeout.seconds == command.clock.now_us // SECOND_US + 60
    resume = v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=run)
    resumed = command.orchestration.resume_flow_run(resume, BOB).result()
    assert (resumed.decision, resumed.state.type) == (v1.ACCEPT, v1.RUNNING)
    assert command.orchestration.resume_flow_run(resume, BOB).result() == resumed


def test_a_suspended_run_resumes_by_being_scheduled(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING, deployment_id=new_id())
    pause = v1.PauseFlowRunRequest(request_id=new_id(), flow_run_id=run, reschedule=True)
    assert command.orchestration.pause_flow_run(pause, ALICE).result().state.name == "Suspended"
    resume = v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=run)
    assert command.orchestration.resume_flow_run(resume, BOB).result().state.name == "Resuming"


def test_resuming_what_is_not_paused_is_refused_on_record(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    resume = v1.ResumeFlowRunRequest(request_id=new_id(), flow_run_id=run)
    assert command.orchestration.resume_flow_run(resume, BOB).result().decision == v1.ABORT
    record = command.decisions(run)[-1]
    assert (record.rule, record.actor) == ("ResumeNeedsPause", BOB.actor)


def test_a_run_that_nobody_works_on_is_cancelled_at_once(command: Commanding) -> None:
    scheduled = command.flow_run(v1.SCHEDULED)
    cancel = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=scheduled)
    assert command.orchestration.cancel_flow_run(cancel, ALICE).result().state.type == v1.CANCELLED
    running = command.flow_run(v1.RUNNING)
    cancel = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=running)
    assert command.orchestration.cancel_flow_run(cancel, ALICE).result().state.type == v1.CANCELLING


def test_a_batch_over_its_bound_is_refused_whole(command: Commanding) -> None:
    request = v1.ProposeStatesRequest(items=[v1.ProposeStatesItem()] * 1_001)
    with pytest.raises(TooLarge, match="items"):
        command.orchestration.propose_states(request, ALICE)


def test_items_of_a_batch_fail_alone(command: Commanding) -> None:
    run = command.flow_run()
    good = v1.ProposeStateRequest(request_id=new_id(), flow_run_id=run, state=v1.State(type=v1.RUNNING))
    malformed = v1.ProposeStateRequest(request_id=new_id(), flow_run_id="?", state=v1.State(type=v1.RUNNING))
    unknown = v1.ProposeStateRequest(request_id=new_id(), flow_run_id=new_id(), state=v1.State(type=v1.RUNNING))
    items = [v1.ProposeStatesItem(correlation_id=i, request=r) for i, r in enumerate((malformed, good, unknown))]
    answers = command.orchestration.propose_states(v1.ProposeStatesRequest(items=items), ALICE).result().answers
    assert [answer.WhichOneof("answer") for answer in answers] == ["error", "response", "error"]
    assert [answer.error.code for answer in answers] == [v1.MALFORMED_ID, 0, v1.NOT_FOUND]


def test_who_asked_is_recorded(command: Commanding) -> None:
    run = command.flow_run(v1.RUNNING)
    record = command.decisions(run)[-1]
    assert (record.actor, record.client) == (ALICE.actor, ALICE.client)
    event = v1.Event.FromString(command.orchestrator.journal.read(record.revision, record.revision)[0].payload or b"")
    assert event.traceparent == ALICE.traceparent


def fleeting_policy() -> Policy:
    """A policy for PLAYHEAD_POLICY to name."""
    core = core_policy()
    return Policy(
        core_flow=core.core_flow[:1],
        core_task=core.core_task,
        minimal_flow=core.minimal_flow,
        minimal_task=core.minimal_task,
        flow_bookkeeping=core.flow_bookkeeping,
        task_bookkeeping=core.task_bookkeeping,
    )


def test_the_policy_is_the_one_that_the_environment_names(sqlite_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_POLICY", f"{__name__}:fleeting_policy")
    with Orchestrator.open(sqlite_store, timers=False) as orchestrator:
        request = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="etl")
        flow_id = orchestrator.orchestration.register_flow(request, ALICE).result().flow.id
        answer = orchestrator.orchestration.propose_state(
            v1.ProposeStateRequest(
                request_id=new_id(),
                create_flow_run=v1.FlowRunSpec(id=new_id(), flow_id=flow_id),
                state=v1.State(type=v1.RUNNING),
            ),
            ALICE,
        ).result()
    assert answer.policy_id == fleeting_policy().id != core_policy().id


@pytest.mark.parametrize("name", ["nowhere:policy", "playhead.settings:nothing", "nocolon", "os:path"])
def test_a_policy_that_can_not_be_loaded_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_POLICY", name)
    with pytest.raises(BadRequest, match="PLAYHEAD_POLICY"):
        chosen_policy()
