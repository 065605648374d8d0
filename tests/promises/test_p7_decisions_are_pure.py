"""P7: decisions are pure. Every decision on record, made again of its facts and its command alone, is the same."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.handler import RESUME_NEEDS_PAUSE
from playhead.engine.orchestration.policy import Subject, core_policy
from playhead.journal.record import Record
from tests.histories import Life, over_histories
from tests.stores import NewStore


def test_p7_every_recorded_decision_is_made_again_the_same(new_store: NewStore) -> None:
    over_histories(new_store, check_every_decision)


def check_every_decision(life: Life) -> None:
    """Decide again, under a policy made anew, with nothing but what is in the event."""
    policy = core_policy()
    for record in life.records():
        event = v1.Event.FromString(record.payload or b"")
        if event.HasField("state_proposed"):
            assert event.state_proposed.policy_id == policy.id
            if event.state_proposed.rule != RESUME_NEEDS_PAUSE:
                compare(record, event.state_proposed, decided_again(event.state_proposed))


def decided_again(on_record: v1.StateProposed) -> v1.StateProposed:
    """The decision of the facts and the command on record."""
    is_task = on_record.command.WhichOneof("run") == "task_run_id"
    subject = Subject.TASK_RUN if is_task else Subject.FLOW_RUN
    return decide(subject, on_record.facts, on_record.command, core_policy())


def compare(record: Record, on_record: v1.StateProposed, again: v1.StateProposed) -> None:
    """The same but for what only the journal can know: its revision, and what follows from it."""
    if again.HasField("status"):
        again.status.version = record.stream_version
        again.status.state.revision = record.revision
        if again.status.HasField("lease") and not again.status.lease.token:
            again.status.lease.token, again.status.lease.holder = record.revision, record.actor
    again.command.CopyFrom(on_record.command)
    again.facts.CopyFrom(on_record.facts)
    assert again == on_record


def test_p7_validating_a_proposal_says_what_proposing_it_then_does(new_store: NewStore) -> None:
    def check(life: Life) -> None:
        requests = [
            request
            for method, request, _, _ in life.sent
            if method == "propose_state" and not request.HasField("expected_version")
        ]
        for request in requests[-8:]:
            head = life.head()
            request.request_id, request.validate_only = "", True
            life.send("propose_state", request, life.sent[0][2])
            life.settle()
            said = life.sent[-1][3]
            assert life.head() == head
            real = v1.ProposeStateRequest()
            real.CopyFrom(request)
            real.request_id, real.validate_only = "", False
            life.send("propose_state", real, life.sent[0][2])
            life.settle()
            done = life.sent[-1][3]
            if isinstance(done, v1.ProposeStateResponse):
                assert isinstance(said, v1.ProposeStateResponse)
                assert (said.decision, said.rule, said.reason) == (done.decision, done.rule, done.reason)
                assert (said.rules, said.run_id, said.policy_id) == (done.rules, done.run_id, done.policy_id)
                assert (said.state.type, said.state.name) == (done.state.type, done.state.name)
            else:
                assert type(said) is type(done)

    over_histories(new_store, check, examples=10 if new_store.kind == "sqlite" else 3)
