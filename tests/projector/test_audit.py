"""FindDecisions: what it finds is what a plain search over all events finds, page by page, at bounded cost."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead import v1
from playhead.exceptions import BadPageToken, BadRequest, RevisionNotReached
from playhead.journal.encoding import text_of, timestamp
from playhead.projector import reads
from playhead.projector.audit import AuditService
from tests.clocks import START_US
from tests.histories import CALLERS, EXAMPLES, FLOW_RUN_IDS, FLOWS, TASK_RUN_IDS, Life, Step, an_id, stories
from tests.plain_decisions import PlainDecision, decisions_of, passes
from tests.promises.test_p5_any_moment import all_pages, keep_one, long_story, some, tag_filters, times
from tests.stores import NewStore

RULES = (
    "",
    "HandleTaskTerminalStateTransitions",
    "HandleFlowTerminalStateTransitions",
    "RetryFailedTasks",
    "CopyScheduledTime",
)
types = [value for value in v1.StateType.values() if value]
revisions = st.sampled_from([0, 0, 0, 1, 5, 12, 20, 2**64 - 1])


def _in_order(filter: v1.DecisionFilter) -> v1.DecisionFilter:
    if filter.last_revision:
        filter.first_revision = min(filter.first_revision, filter.last_revision)
    return filter


filters = st.builds(
    v1.DecisionFilter,
    run_ids=some(*FLOW_RUN_IDS, *TASK_RUN_IDS, an_id(999)),
    within_flow_run_ids=some(*FLOW_RUN_IDS, TASK_RUN_IDS[3]),
    flow_ids=some(*FLOWS.values(), an_id(999)),
    flow_names=some(*FLOWS, "none"),
    tags=st.none() | tag_filters,
    actors=some("ada", "grace", "nobody"),
    decisions=some(v1.ACCEPT, v1.REJECT, v1.WAIT, v1.ABORT),
    rules=some(*RULES),
    from_types=some(v1.STATE_TYPE_UNSPECIFIED, *types),
    to_types=some(*types),
    recorded=times,
    first_revision=revisions,
    last_revision=revisions,
    force=st.sampled_from([None, None, True, False]),
).map(_in_order)
orders = st.sampled_from([v1.ORDER_UNSPECIFIED, v1.NEWEST_FIRST, v1.OLDEST_FIRST])
bounds = st.sampled_from([1, 2, 7, 5_000])
searches = st.tuples(filters, orders, bounds, st.integers(1, 3))


def varied_story() -> list[Step]:
    """One long history, always the same, of both callers, with force and without."""
    chance = random.Random(11)
    return [replace(step, force=chance.random() < 0.2, caller=chance.randrange(2)) for step in long_story()]


def found(life: Life, request: v1.FindDecisionsRequest) -> list[int]:
    """The revisions of the decisions of all pages."""
    return [record.revision for record in all_pages(life.orchestrator.audit.find_decisions, request, "decisions")]


def expected(decisions: list[PlainDecision], wanted: v1.DecisionFilter, order: Any) -> list[int]:
    """The revisions that a plain search finds."""
    listed = [decision.record.revision for decision in decisions if passes(decision, wanted)]
    return listed if order == v1.OLDEST_FIRST else listed[::-1]


def test_any_filter_finds_what_a_plain_search_finds(new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(max_examples=EXAMPLES[new_store.kind])
    @given(stories, st.lists(searches, min_size=6, max_size=6), st.randoms())
    def check(story: Any, drawn: Any, chance: random.Random) -> None:
        with Life(new_store()) as life:
            life.live(story)
            decisions = decisions_of(life.records())
            for wanted, order, bound, size in drawn:
                monkeypatch.setattr(reads, "LOOKED_THROUGH_MAX", bound)
                at = chance.randrange(life.head() + 1)
                request = v1.FindDecisionsRequest(
                    filter=wanted, order=order, page_size=size, read_at=v1.ReadAt(revision=at)
                )
                then = [decision for decision in decisions if decision.record.revision <= at]
                assert found(life, request) == expected(then, wanted, order)

    check()


def test_each_condition_alone_finds_what_it_says(new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conditions drawn all together seldom let anything through; here they come one by one."""
    with Life(new_store()) as life:
        life.live(varied_story())
        selective: set[str] = set()
        decisions = decisions_of(life.records())

        @settings(max_examples=8 * EXAMPLES[new_store.kind], derandomize=True)
        @given(filters, orders, bounds, st.randoms())
        def check(wanted: v1.DecisionFilter, order: Any, bound: int, chance: random.Random) -> None:
            monkeypatch.setattr(reads, "LOOKED_THROUGH_MAX", bound)
            one = keep_one(wanted, chance)
            plain = expected(decisions, one, order)
            assert found(life, v1.FindDecisionsRequest(filter=one, order=order, page_size=1 + bound % 7)) == plain
            if 0 < len(plain) < len(decisions):
                selective.update(field.name for field, _ in one.ListFields())

        check()
        if new_store.kind == "sqlite":
            assert selective == {field.name for field in v1.DecisionFilter.DESCRIPTOR.fields}


def test_a_decision_is_told_with_everything_that_is_on_record(store: str) -> None:
    with Life(store) as life:
        life.live(varied_story())
        request = v1.FindDecisionsRequest(order=v1.OLDEST_FIRST, page_size=7)
        told = all_pages(life.orchestrator.audit.find_decisions, request, "decisions")
        plain = decisions_of(life.records())
        of_runs: list[Any] = []
        for run_id in sorted({text_of(decision.record.stream) for decision in plain}):
            kind = "flow_run_id" if run_id in FLOW_RUN_IDS else "task_run_id"
            listing = v1.ListDecisionsRequest(**{kind: run_id}, page_size=1_000)  # type: ignore[arg-type] # one of two ids
            of_runs += life.orchestrator.runs.list_decisions(listing).decisions
        assert told == sorted(of_runs, key=lambda record: record.revision)
        for record, decision in zip(told, plain, strict=True):
            assert record.actor == decision.record.actor
            assert record.traceparent == ("00-trace-span-01" if record.actor == "grace" else "")
            assert record.task_run == (record.run_id in TASK_RUN_IDS)
            assert record.version == decision.proposed.status.version
            assert (record.version != 0) == decision.proposed.HasField("status")
            assert record.facts == decision.proposed.facts


def test_pages_show_the_moment_of_the_first_one_whatever_is_appended_meanwhile(new_store: NewStore) -> None:
    @settings(max_examples=EXAMPLES[new_store.kind] // 2)
    @given(stories, stories, filters, orders, st.randoms())
    def check(before: Any, between: Any, wanted: v1.DecisionFilter, order: Any, chance: random.Random) -> None:
        with Life(new_store()) as life:
            life.live(before)
            one, steps, head = keep_one(wanted, chance), iter(between), life.head()
            plain = expected(decisions_of(life.records()), one, order)
            request = v1.FindDecisionsRequest(filter=one, order=order, page_size=1)
            seen: list[int] = []
            while True:
                response = life.orchestrator.audit.find_decisions(request)
                seen += [record.revision for record in response.decisions]
                assert response.meta.revision == head
                request.page_token = response.next_page_token
                if not request.page_token:
                    break
                life.live([step for step, _ in zip(steps, range(8), strict=False)])
            assert seen == plain

    check()


def test_a_page_looks_through_a_bounded_number_of_decisions(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "LOOKED_THROUGH_MAX", 5)
    with Life(store) as life:
        life.live(varied_story())
        decided = len(decisions_of(life.records()))
        request = v1.FindDecisionsRequest(filter=v1.DecisionFilter(actors=["nobody"]))
        pages = 0
        while True:
            response = life.orchestrator.audit.find_decisions(request)
            assert list(response.decisions) == []
            pages += 1
            request.page_token = response.next_page_token
            if not request.page_token:
                break
        # At most so many in each of the three places where decisions are.
        assert decided // 15 < pages <= decided // 5 + 1


@pytest.mark.parametrize(
    "wanted",
    [
        v1.DecisionFilter(run_ids=[FLOW_RUN_IDS[0]]),
        v1.DecisionFilter(within_flow_run_ids=[FLOW_RUN_IDS[0]]),
        v1.DecisionFilter(decisions=[v1.ABORT]),
    ],
)
def test_what_an_index_finds_is_there_on_the_first_page(
    store: str, monkeypatch: pytest.MonkeyPatch, wanted: v1.DecisionFilter
) -> None:
    """However many decisions of other runs, or accepted ones, have come since."""
    with Life(store) as life:
        for state_type in (v1.COMPLETED, v1.CANCELLING):
            proposal = v1.ProposeStateRequest(flow_run_id=FLOW_RUN_IDS[0], state=v1.State(type=state_type))
            life.send("propose_state", proposal, CALLERS[0])
        life.settle()
        for number in range(20):
            spec = v1.FlowRunSpec(id=an_id(500 + number), flow_id=FLOWS["etl"])
            life.send(
                "propose_state",
                v1.ProposeStateRequest(create_flow_run=spec, state=v1.State(type=v1.RUNNING)),
                CALLERS[0],
            )
        life.settle()
        monkeypatch.setattr(reads, "LOOKED_THROUGH_MAX", 10)
        first = life.orchestrator.audit.find_decisions(v1.FindDecisionsRequest(filter=wanted))
        plain = expected(decisions_of(life.records()), wanted, v1.NEWEST_FIRST)
        assert plain
        assert [record.revision for record in first.decisions] == plain
        assert first.next_page_token == ""


def test_a_range_that_is_empty_finds_nothing(store: str) -> None:
    with Life(store) as life:
        before = v1.TimeRange(until=timestamp(START_US))
        for wanted in (v1.DecisionFilter(recorded=before), v1.DecisionFilter(first_revision=2**64 - 1)):
            response = life.orchestrator.audit.find_decisions(v1.FindDecisionsRequest(filter=wanted))
            assert (list(response.decisions), response.next_page_token) == ([], "")
            assert response.meta.revision == life.head()


def test_a_moment_beyond_the_head_and_a_token_of_another_search_are_refused(store: str) -> None:
    with Life(store) as life:
        life.live(varied_story())
        find = life.orchestrator.audit.find_decisions
        with pytest.raises(RevisionNotReached):
            find(v1.FindDecisionsRequest(read_at=v1.ReadAt(revision=life.head() + 1)))
        token = find(v1.FindDecisionsRequest(page_size=1)).next_page_token
        for other in (
            v1.FindDecisionsRequest(filter=v1.DecisionFilter(force=False), page_token=token),
            v1.FindDecisionsRequest(order=v1.OLDEST_FIRST, page_token=token),
        ):
            with pytest.raises(BadPageToken, match="repeat"):
                find(other)


def test_the_name_of_no_rule_is_refused_with_those_that_are_like_it(store: str) -> None:
    with Life(store) as life:
        life.live(varied_story())
        request = v1.FindDecisionsRequest(filter=v1.DecisionFilter(rules=["", "retryfailedtask"]))
        with pytest.raises(BadRequest, match="did you mean RetryFailedTasks") as refused:
            life.orchestrator.audit.find_decisions(request)
        assert refused.value.field == "filter.rules[1]"


def test_a_rule_that_once_decided_is_known_under_a_policy_without_it(store: str) -> None:
    with Life(store) as life:
        life.live(varied_story())
        audit, wanted = AuditService(life.orchestrator.journal), v1.DecisionFilter(rules=[RULES[1]])
        plain = expected(decisions_of(life.records()), wanted, v1.NEWEST_FIRST)
        assert plain
        request = v1.FindDecisionsRequest(filter=wanted, page_size=1_000)
        assert [record.revision for record in audit.find_decisions(request).decisions] == plain
        with pytest.raises(BadRequest, match="none on record"):
            audit.find_decisions(v1.FindDecisionsRequest(filter=v1.DecisionFilter(rules=["BeQuiet"])))
