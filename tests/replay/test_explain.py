"""A run explains itself: each event up to a moment is a step, as data and as a sentence, with what it followed from."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from playhead import v1
from playhead.exceptions import NotFound
from playhead.journal.encoding import bytes_of, text_of, timestamp
from playhead.journal.journal import Journal
from playhead.journal.payload import event_of
from playhead.journal.record import Record
from playhead.projector.fold import FOLDINGS, UnknownEvent
from playhead.projector.showing import changes_run, decision_record, status_of
from playhead.replay.explain import step_of
from playhead.replay.sentences import sentence_of
from playhead.replay.service import ReplayService
from tests.histories import CALLERS, FLOW_RUN_IDS, FLOWS, Life, an_id, over_histories
from tests.plain_runs import PlainRuns
from tests.stores import NewStore


def explained(life: Life, **asked: Any) -> v1.ExplainRunResponse:
    """The explanation of a run."""
    orchestrator = life.orchestrator
    return ReplayService(orchestrator.journal, orchestrator.runs).explain_run(v1.ExplainRunRequest(**asked))


def propose(life: Life, run: dict[str, Any], state_type: v1.StateType.ValueType, **more: Any) -> None:
    """Propose a state and wait for the answer."""
    request = v1.ProposeStateRequest(**run, state=v1.State(type=state_type), **more)
    life.send("propose_state", request, CALLERS[0])
    life.settle()


def test_the_steps_are_the_runs_events_as_of_every_revision(new_store: NewStore) -> None:
    over_histories(new_store, check_steps, examples=12 if new_store.kind == "sqlite" else 3)


def check_steps(life: Life) -> None:
    """Compare explanations, whole and cut, with the events themselves."""
    records = life.records()
    chance = random.Random(len(records))
    for at in {len(records), *chance.sample(range(1, len(records) + 1), k=min(3, len(records)))}:
        plain = PlainRuns.of(records[:at])
        for kind, runs in (("flow_run", plain.flow_runs), ("task_run", plain.task_runs)):
            for run_id, run in runs.items():
                events = [record for record in records[:at] if text_of(record.stream) == run_id]
                asked = {f"{kind}_id": run_id, "read_at": v1.ReadAt(revision=at)}
                whole = explained(life, **asked)
                assert (getattr(whole, kind), whole.meta.revision, whole.left_out) == (run, at, 0)
                compare(whole.steps, events)
                size = chance.randrange(1, 5)
                cut = explained(life, **asked, steps_max=size)
                assert list(cut.steps) == list(whole.steps)[-size:]
                assert cut.left_out == len(events) - len(cut.steps)
                assert cut.summary == whole.summary
                check_changes(explained(life, **asked, changes_only=True, steps_max=size), events, size)


def compare(steps: Any, events: list[Record]) -> None:
    """Each step says what its event says."""
    assert [step.revision for step in steps] == [record.revision for record in events]
    for step, record in zip(steps, events, strict=True):
        event = event_of(record)
        assert (step.kind, step.actor, step.recorded_at) == (record.kind, record.actor, timestamp(record.recorded_at))
        assert step.sentence == sentence_of(record, event)
        new = status_of(event).state
        assert step.HasField("state") == (new.revision == record.revision)
        if step.HasField("state"):
            assert step.state == new
        assert step.HasField("decision") == (record.kind == "state_proposed")
        if step.HasField("decision"):
            assert step.decision == decision_record(record, event)


def check_changes(cut: v1.ExplainRunResponse, events: list[Record], size: int) -> None:
    """Only changes are steps, and each counts the refusals between it and the change before."""
    changes = [record for record in events if changes_run(record)]
    assert [step.revision for step in cut.steps] == [record.revision for record in changes[-size:]]
    assert cut.left_out == max(0, len(changes) - size)
    before = {record.revision: index for index, record in enumerate(events)}
    for step in cut.steps:
        earlier = [record.revision for record in changes if record.revision < step.revision]
        refused = before[step.revision] - (before[earlier[-1]] + 1 if earlier else 0)
        assert step.sentence.startswith(f"After {refused} refusal") == bool(refused)


def test_a_run_is_explained_in_sentences(store: str) -> None:
    with Life(store) as life:
        run = {"flow_run_id": FLOW_RUN_IDS[0]}
        propose(life, run, v1.COMPLETED)
        propose(life, run, v1.CANCELLING)
        propose(life, run, v1.PAUSED)
        update = v1.UpdateRunRequest(name="weekly", tags=v1.TagList(tags=["x", "y"]), flow_run_id=FLOW_RUN_IDS[0])
        life.send("update_run", update, CALLERS[1])
        life.settle()
        whole = explained(life, **run)
        assert [step.sentence for step in whole.steps] == [
            'ada created the flow run "nightly" of the flow "etl", without a state.',
            "ada proposed RUNNING; it was accepted.",
            "ada proposed COMPLETED; it was accepted.",
            "ada proposed CANCELLING; HandleFlowTerminalStateTransitions answered ABORT: The run has ended already.",
            "ada proposed PAUSED; HandleFlowTerminalStateTransitions answered ABORT: The run has ended already.",
            'grace named the run "weekly" and gave it the tags x, y.',
        ]
        assert whole.summary == (
            'As of revision 9 the flow run "weekly" is COMPLETED, since revision 6: ada proposed COMPLETED; it was '
            "accepted."
        )
        changes = explained(life, **run, changes_only=True)
        assert [step.revision for step in changes.steps] == [4, 5, 6, 9]
        assert changes.steps[-1].sentence.startswith("After 2 refusals: grace named")
        then = explained(life, **run, read_at=v1.ReadAt(revision=8), changes_only=True)
        assert then.summary == (
            'As of revision 8 the flow run "nightly" is COMPLETED, since revision 6: ada proposed COMPLETED; it was '
            "accepted. Since then 2 proposals were refused, the last one so: ada proposed PAUSED; "
            "HandleFlowTerminalStateTransitions answered ABORT: The run has ended already."
        )
        first = explained(life, **run, read_at=v1.ReadAt(revision=4))
        assert first.summary == 'As of revision 4 the flow run "nightly" is without a state.'


def test_a_run_that_was_not_there_yet_is_not_explained(store: str) -> None:
    with Life(store) as life, pytest.raises(NotFound):
        explained(life, flow_run_id=FLOW_RUN_IDS[0], read_at=v1.ReadAt(revision=3))


def test_a_lease_that_lapsed_is_the_cause_of_the_crash(store: str) -> None:
    with Life(store) as life:
        spec = v1.FlowRunSpec(id=an_id(600), flow_id=FLOWS["etl"], name="leased")
        request = v1.ProposeStateRequest(
            create_flow_run=spec, state=v1.State(type=v1.RUNNING), lease_ttl=Duration(seconds=2)
        )
        life.send("propose_state", request, CALLERS[0])
        life.settle()
        granted = life.head()
        life.clock.advance(5_000_000)
        life.orchestrator.timers.tick()
        step = explained(life, flow_run_id=spec.id).steps[-1]
        assert step.actor == "playhead/timers"
        assert step.sentence.startswith("playhead/timers proposed CRASHED (")
        assert "as its lease had lapsed; it was accepted" in step.sentence
        assert step.cause == v1.Cause(
            revision=granted,
            flow_run_id=spec.id,
            sentence=f"ada held the lease granted at revision {granted} and let it lapse at 2023-11-14 22:13:22 UTC.",
        )


def test_who_takes_a_run_over_succeeds_the_process_whose_lease_has_lapsed(store: str) -> None:
    with Life(store) as life:
        run = v1.FlowRunSpec(id=an_id(600), flow_id=FLOWS["etl"])
        running: dict[str, Any] = {"state": v1.State(type=v1.RUNNING), "lease_ttl": Duration(seconds=2)}
        life.send("propose_state", v1.ProposeStateRequest(create_flow_run=run, **running), CALLERS[0])
        life.settle()
        granted = life.head()
        life.clock.advance(5_000_000)
        life.send("propose_state", v1.ProposeStateRequest(flow_run_id=run.id, **running), CALLERS[1])
        life.settle()
        step = explained(life, flow_run_id=run.id).steps[-1]
        lapsed = "2023-11-14 22:13:22 UTC"
        assert step.sentence == (
            f"{CALLERS[1].actor} proposed RUNNING, to succeed ada, whose lease lapsed at {lapsed}; it was accepted."
        )
        assert step.cause == v1.Cause(
            revision=granted,
            flow_run_id=run.id,
            sentence=f"ada held the lease granted at revision {granted} and let it lapse at {lapsed}.",
        )


def test_a_lease_that_lives_is_the_cause_of_nothing(store: str) -> None:
    with Life(store) as life:
        spec = v1.FlowRunSpec(id=an_id(600), flow_id=FLOWS["etl"])
        request = v1.ProposeStateRequest(
            create_flow_run=spec, state=v1.State(type=v1.RUNNING), lease_ttl=Duration(seconds=2)
        )
        life.send("propose_state", request, CALLERS[0])
        life.settle()
        propose(life, {"flow_run_id": spec.id}, v1.CRASHED, if_lease_expired=True, lease_token=life.head())
        step = explained(life, flow_run_id=spec.id).steps[-1]
        assert step.decision.rule == "OnlyLapsedLeases"
        assert not step.HasField("cause")


def two_for_one_slot(life: Life) -> tuple[v1.TaskRunSpec, v1.TaskRunSpec]:
    """Two task runs that ask for the one slot of a limit: the first has it, the second waits."""
    life.send("set_concurrency_limit", v1.SetConcurrencyLimitRequest(limit="tag:slow", slots=1), CALLERS[1])
    first, second = (
        v1.TaskRunSpec(id=an_id(700 + number), task_key="load", tags=["slow"], name=f"load-{number}")
        for number in range(2)
    )
    for spec in (first, second):
        propose(life, {"create_task_run": spec}, v1.RUNNING)
    return first, second


def test_slots_that_were_granted_name_what_freed_them(store: str) -> None:
    with Life(store) as life:
        first, second = two_for_one_slot(life)
        propose(life, {"task_run_id": first.id}, v1.COMPLETED)
        freed = life.head() - 1
        waited, granted = list(explained(life, task_run_id=second.id).steps)[-2:]
        assert "answered WAIT, 30 s, and the run stands in line for slots: " in waited.sentence
        assert not waited.HasField("state")
        assert granted.kind == "slots_granted"
        assert granted.sentence == (
            "GrantSlots granted the run 1 slot of tag:slow, which it had waited for; it has to go on by "
            "2023-11-14 22:13:50 UTC."
        )
        assert granted.cause == v1.Cause(
            revision=freed,
            task_run_id=first.id,
            sentence='Task run "load-0": ada proposed COMPLETED; it was accepted.',
        )


def test_slots_that_were_not_claimed_in_time_are_said_to_be_given_up(store: str) -> None:
    with Life(store) as life:
        first, second = two_for_one_slot(life)
        propose(life, {"task_run_id": first.id}, v1.COMPLETED)
        life.clock.advance(60_000_000)
        life.orchestrator.timers.tick()
        assert (
            explained(life, task_run_id=second.id)
            .steps[-1]
            .sentence.endswith(
                "it was accepted; the run gave up 1 slot of tag:slow, with which it had not gone on in time."
            )
        )


def test_who_waits_in_vain_is_told_by_which_limit(store: str) -> None:
    with Life(store) as life:
        _, second = two_for_one_slot(life)
        life.send("set_concurrency_limit", v1.SetConcurrencyLimitRequest(limit="tag:slow", slots=0), CALLERS[1])
        life.settle()
        told = explained(life, task_run_id=second.id).steps[-1]
        assert told.kind == "slots_refused"
        assert told.sentence == (
            "RefuseSlots let the run wait no more: tag:slow has 0 slots, the run needs 1: it would never run."
        )
        assert told.cause.revision == life.head() - 1
        assert told.cause.sentence.endswith("set the limit tag:slow to 0 slots.")


def test_slots_of_a_larger_limit_name_the_limit(store: str) -> None:
    with Life(store) as life:
        spec = v1.FlowRunSpec(id=an_id(600), flow_id=FLOWS["etl"], name="queued")
        spec.slots["db"] = 1
        limit = v1.SetConcurrencyLimitRequest(limit="name:db", slots=1)
        life.send("set_concurrency_limit", limit, CALLERS[1])
        other = v1.FlowRunSpec(id=an_id(601), flow_id=FLOWS["etl"], slots={"db": 1})
        for run in (other, spec):
            propose(life, {"create_flow_run": run}, v1.PENDING)
        life.send("set_concurrency_limit", v1.SetConcurrencyLimitRequest(limit="name:db", slots=2), CALLERS[1])
        life.settle()
        granted = explained(life, flow_run_id=spec.id).steps[-1]
        assert 'and it became SCHEDULED "AwaitingConcurrencySlot", due ' in granted.sentence
        third = v1.FlowRunSpec(id=an_id(602), flow_id=FLOWS["etl"], slots={"db": 1})
        propose(life, {"create_flow_run": third}, v1.PENDING)
        life.send("set_concurrency_limit", v1.SetConcurrencyLimitRequest(limit="name:db", slots=0), CALLERS[1])
        life.settle()
        assert explained(life, flow_run_id=third.id).steps[-1].sentence == (
            "RefuseSlots let the run wait no more, and it became SCHEDULED, due 2023-11-14 22:13:20 UTC: "
            "name:db has 0 slots, the run needs 1: it would never run."
        )
        assert granted.state.revision == granted.revision
        assert granted.cause == v1.Cause(
            revision=granted.revision - 1, sentence="grace set the limit name:db to 2 slots."
        )


def test_a_mirrored_state_names_the_subflow_run(store: str) -> None:
    with Life(store) as life:
        journal = life.orchestrator.journal
        propose(life, {"flow_run_id": FLOW_RUN_IDS[0]}, v1.COMPLETED)
        mirrored = life.head()
        proposed = v1.StateProposed(
            command=v1.ProposeStateRequest(task_run_id=an_id(700), state=v1.State(type=v1.COMPLETED), force=True),
            decision=v1.ACCEPT,
            rules=[v1.RuleOutcome(rule="UpdateSubflowParentTask", effect=v1.RULE_RECORDED)],
            status=v1.RunStatus(name="etl-0", state=v1.State(type=v1.COMPLETED, name="Completed", revision=99)),
            mirrors=mirrored,
        )
        step = step_of_event(journal, "state_proposed", v1.Event(state_proposed=proposed))
        assert step.sentence == (
            "Its subflow run became COMPLETED, which was proposed for it too; it was accepted "
            "(UpdateSubflowParentTask)."
        )
        assert step.cause == v1.Cause(
            revision=mirrored,
            flow_run_id=FLOW_RUN_IDS[0],
            sentence='Flow run "nightly": ada proposed COMPLETED; it was accepted.',
        )


def step_of_event(journal: Journal, kind: str, event: v1.Event) -> v1.ExplainStep:
    """The step of an event as if it were on record."""
    payload = event.SerializeToString()
    record = Record(99, bytes_of(an_id(700)), 1, kind, 0, "ada", None, 0, payload, b"", b"")
    return step_of(journal, record, None)


def test_large_events_make_fewer_steps_and_are_counted(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playhead.projector.paging.PAGE_BYTES_MAX", 1_000)
    with Life(store) as life:
        for message in ("x", "x" * 900, "y" * 900):
            state = v1.State(type=v1.RUNNING, message=message)
            life.send("propose_state", v1.ProposeStateRequest(flow_run_id=FLOW_RUN_IDS[0], state=state), CALLERS[0])
        life.settle()
        cut = explained(life, flow_run_id=FLOW_RUN_IDS[0])
        assert [step.revision for step in cut.steps] == [life.head()]
        assert cut.left_out == 4


@pytest.mark.parametrize("kind", sorted(set(FOLDINGS) - {"journal_created", "flow_registered"}))
def test_every_kind_of_event_about_runs_has_its_sentence(kind: str) -> None:
    event = v1.Event()
    getattr(event, kind).SetInParent()
    assert sentence_of(Record(7, b"", 1, kind, 0, "ada", None, 0, b"", b"", b""), event).endswith(".")


def test_an_event_of_an_unknown_kind_is_not_guessed_at() -> None:
    record = Record(7, b"", 1, "teleported", 0, "ada", None, 0, b"", b"", b"")
    with pytest.raises(UnknownEvent, match="Revision 7 is of the unknown kind 'teleported'"):
        sentence_of(record, v1.Event())


PROPOSED = v1.StateProposed(
    command=v1.ProposeStateRequest(state=v1.State(type=v1.RUNNING)),
    decision=v1.ACCEPT,
    status=v1.RunStatus(state=v1.State(type=v1.RUNNING, name="Running")),
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "ada proposed RUNNING; it was accepted."),
        (
            {"status": v1.RunStatus(state=v1.State(type=v1.RUNNING, name="Retrying"))},
            'ada proposed RUNNING; it was accepted as "Retrying".',
        ),
        (
            {"rules": [v1.RuleOutcome(rule="A", effect=v1.RULE_RENAMED),
                       v1.RuleOutcome(rule="B", effect=v1.RULE_FIZZLED)]},
            "ada proposed RUNNING; it was accepted (A).",
        ),
        (
            {"command": v1.ProposeStateRequest(state=v1.State(type=v1.FAILED, message="no\n space"), force=True),
             "status": v1.RunStatus(state=v1.State(type=v1.FAILED, name="Failed"))},
            'ada proposed FAILED by force ("no space"); it was accepted, without a retry: none is set.',
        ),
        (
            {"command": v1.ProposeStateRequest(flow_run_id=FLOW_RUN_IDS[0], state=v1.State(type=v1.FAILED)),
             "facts": v1.Facts(retry=v1.RetryPolicy(retries=2),
                               status=v1.RunStatus(state=v1.State(type=v1.RUNNING), run_count=3)),
             "rules": [v1.RuleOutcome(rule="A", effect=v1.RULE_RENAMED)],
             "status": v1.RunStatus(state=v1.State(type=v1.FAILED, name="TimedOut"))},
            'ada proposed FAILED; it was accepted as "TimedOut" (A), without a retry: 2 are set, and this was attempt '
            "3.",
        ),
        (
            {"decision": v1.WAIT, "status": None, "rule": "WaitForScheduledTime", "reason": "Not due",
             "delay": Duration(seconds=60)},
            "ada proposed RUNNING; WaitForScheduledTime answered WAIT, 60 s: Not due.",
        ),
        (
            {"decision": v1.REJECT, "rule": "RetryFailedFlows", "reason": "Retry 1 of 3.",
             "status": v1.RunStatus(state=v1.State(type=v1.SCHEDULED, name="AwaitingRetry", details=v1.StateDetails(
                 scheduled_time=timestamp(1_700_000_000_000_000))))},
            'ada proposed RUNNING; RetryFailedFlows answered REJECT, and the run became SCHEDULED "AwaitingRetry", due '
            "2023-11-14 22:13:20 UTC instead: Retry 1 of 3.",
        ),
        ({"decision": v1.ABORT, "status": None, "rule": "Mine"}, "ada proposed RUNNING; Mine answered ABORT."),
    ],
)  # fmt: skip
def test_a_proposal_as_a_sentence(changes: dict[str, Any], said: str) -> None:
    proposed = v1.StateProposed()
    proposed.CopyFrom(PROPOSED)
    for name, value in changes.items():
        proposed.ClearField(name)  # type: ignore[arg-type] # the name of one of its fields
        if value is not None:
            proposed.MergeFrom(v1.StateProposed(**{name: value}))
    record = Record(7, b"", 1, "state_proposed", 0, "ada", None, 0, b"", b"", b"")
    assert sentence_of(record, v1.Event(state_proposed=proposed)) == said


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            v1.Event(run_updated=v1.RunUpdated(command=v1.UpdateRunRequest(tags=v1.TagList()))),
            "ada took its tags away.",
        ),
        (
            v1.Event(run_updated=v1.RunUpdated(command=v1.UpdateRunRequest(tags=v1.TagList()),
                                               waited_for=[v1.HeldSlots(limit="tag:x", count=1)])),
            "ada took its tags away; instead of for 1 slot of tag:x it waits for no slots now.",
        ),
        (
            v1.Event(slots_granted=v1.SlotsGranted(rule="GrantSlots")),
            "GrantSlots let the run go on: it waits for no slots any more.",
        ),
        (
            v1.Event(concurrency_limit_set=v1.ConcurrencyLimitSet(
                command=v1.SetConcurrencyLimitRequest(limit="tag:x"))),
            "ada removed the limit tag:x.",
        ),
        (
            v1.Event(input_sent=v1.InputSent(command=v1.SendInputRequest(key="approval-1", sender="ann"))),
            'ada sent the flow run the input "approval-1", as ann.',
        ),
        (
            v1.Event(input_deleted=v1.InputDeleted(command=v1.DeleteInputRequest(key="approval-1"))),
            'ada deleted the input "approval-1" of the flow run.',
        ),
        (
            v1.Event(task_run_created=v1.TaskRunCreated(
                spec=v1.TaskRunSpec(task_key="load"),
                status=v1.RunStatus(name="load-0", state=v1.State(type=v1.PENDING, name="Pending")))),
            'ada created the task run "load-0" of the task "load", PENDING.',
        ),
    ],
)  # fmt: skip
def test_other_events_as_sentences(event: v1.Event, said: str) -> None:
    record = Record(7, b"", 1, str(event.WhichOneof("what")), 0, "ada", None, 0, b"", b"", b"")
    assert sentence_of(record, event) == said
