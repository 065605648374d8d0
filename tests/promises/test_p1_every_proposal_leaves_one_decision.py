"""P1: every proposal leaves exactly one decision record: rule, rules, policy, actor, the state before and after."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.journal.encoding import bytes_of
from tests.histories import FLOW_RUN_IDS, FLOW_RUNS, TASK_RUN_IDS, Life, over_histories
from tests.stores import NewStore

PROPOSING = {"propose_state", "pause_flow_run", "resume_flow_run", "cancel_flow_run"}


def test_p1_every_proposal_leaves_one_decision(new_store: NewStore) -> None:
    over_histories(new_store, check_every_answer)


def check_every_answer(life: Life) -> None:
    """What was answered is on record once, as it was answered; what was an error is not on record."""
    everything = all_decisions(life.orchestrator)
    decisions = [decision for decision in everything if not mirrors(decision)]
    by_request: dict[str, list[v1.DecisionRecord]] = {}
    for decision in decisions:
        by_request.setdefault(decision.request_id, []).append(decision)
    assert len({decision.revision for decision in everything}) == len(everything)
    answered = set()
    for method, request, caller, outcome in life.sent:
        on_record = by_request.get(request.request_id, [])
        if method not in PROPOSING or getattr(request, "validate_only", False):
            assert on_record == [] or method in PROPOSING
            continue
        if isinstance(outcome, v1.ProposeStateResponse):
            answered.add(request.request_id)
            assert len(on_record) == 1
            compare(on_record[0], outcome)
            assert (on_record[0].actor, on_record[0].client) == (caller.actor, caller.client)
    assert set(by_request) == answered
    for decision in filter(mirrors, everything):
        assert decision.policy_id
        assert (decision.run_id, decision.decision) == (FLOW_RUNS[2].parent_task_run_id, v1.ACCEPT)


def mirrors(decision: v1.DecisionRecord) -> bool:
    """Whether it gives a subflow's state to the task run that tracks it, by the same command."""
    return "UpdateSubflowParentTask" in [outcome.rule for outcome in decision.rules]


def compare(record: v1.DecisionRecord, answer: v1.ProposeStateResponse) -> None:
    """The record says all that the answer said, and what was there before."""
    assert record.revision == answer.meta.revision
    assert (record.decision, record.rule, record.reason) == (answer.decision, answer.rule, answer.reason)
    assert (record.rules, record.delay, record.policy_id) == (answer.rules, answer.delay, answer.policy_id)
    assert (record.run_id, record.after) == (answer.run_id, answer.state)
    assert record.before == record.facts.status.state
    assert record.policy_id
    assert record.proposed.type
    if record.decision == v1.ACCEPT:
        assert record.after.type == record.proposed.type
        assert record.after.revision == record.revision
    else:
        assert record.rule
        assert record.reason
        assert record.rule in [outcome.rule for outcome in record.rules]
    if record.decision in (v1.WAIT, v1.ABORT):
        assert record.after == record.before
    assert (record.decision == v1.WAIT) == record.HasField("delay")


def all_decisions(orchestrator: Orchestrator) -> list[v1.DecisionRecord]:
    """The decisions of every run, in the order of their revisions."""
    with orchestrator.journal.database.reading() as connection:
        proposed = connection.exec_driver_sql("SELECT DISTINCT stream FROM events WHERE kind = 'state_proposed'")
        recorded = {bytes(row[0]) for row in proposed}
    assert recorded <= {bytes_of(run_id) for run_id in FLOW_RUN_IDS + TASK_RUN_IDS}
    requests = [
        v1.ListDecisionsRequest(flow_run_id=id, page_size=1_000) for id in FLOW_RUN_IDS if bytes_of(id) in recorded
    ]
    requests += [
        v1.ListDecisionsRequest(task_run_id=id, page_size=1_000) for id in TASK_RUN_IDS if bytes_of(id) in recorded
    ]
    decisions = [decision for request in requests for decision in orchestrator.runs.list_decisions(request).decisions]
    return sorted(decisions, key=lambda decision: decision.revision)
