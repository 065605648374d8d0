"""P2: one order. Revisions are gapless from 1 in commit order, and every response carries the one it reflects."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given, settings

from playhead import v1
from playhead.exceptions import PlayheadError
from tests.histories import Life, over_histories, stories
from tests.stores import NewStore


def test_p2_revisions_are_gapless_and_times_never_decrease(new_store: NewStore) -> None:
    over_histories(new_store, check_order)


def check_order(life: Life) -> None:
    """The journal is one gapless order, each stream inside it too, and answers point into it."""
    records = life.records()
    assert [record.revision for record in records] == list(range(1, len(records) + 1))
    times = [record.recorded_at for record in records]
    assert times == sorted(times)
    versions: dict[bytes, int] = defaultdict(int)
    for record in records:
        versions[record.stream] += 1
        assert record.stream_version == versions[record.stream]
    by_request: dict[str, list[int]] = defaultdict(list)
    for record in records:
        if record.request_id is not None:
            by_request[record.request_id.hex()].append(record.request_seq)
    assert all(sequence == list(range(len(sequence))) for sequence in by_request.values())
    for _, request, _, outcome in life.sent:
        if not isinstance(outcome, PlayheadError):
            check_meta(life, request, outcome)


def check_meta(life: Life, request: Any, outcome: Any) -> None:
    """The answer names the journal, and a revision that shows what it says."""
    assert outcome.meta.journal_id == life.orchestrator.journal_id
    assert 1 <= outcome.meta.revision <= life.head()
    recorded = [
        r
        for r in life.records()
        if r.request_id is not None and r.request_id.hex() == request.request_id.replace("-", "")
    ]
    if recorded:
        # What the command did to another run, the one that tracks a subflow, comes after.
        assert outcome.meta.revision == [r for r in recorded if r.stream == recorded[0].stream][-1].revision


def test_p2_answers_come_in_the_order_of_their_revisions_and_are_visible_at_once(store: str) -> None:
    with Life(store) as life:
        for _ in range(20):
            request = v1.ProposeStateRequest(flow_run_id=life.sent[-1][3].run_id, state=v1.State(type=v1.RUNNING))  # type: ignore[attr-defined] # a proposal's answer
            life.send("propose_state", request, life.sent[0][2])
            life.settle()
            answer: Any = life.sent[-1][3]
            assert answer.meta.revision == life.head()
            shown = life.orchestrator.runs.get_flow_run(v1.GetFlowRunRequest(flow_run_id=answer.run_id))
            assert (shown.meta.revision, shown.flow_run.status.state) == (answer.meta.revision, answer.state)


def test_p2_processes_that_share_a_store_share_the_order(new_store: NewStore) -> None:
    @settings(max_examples=5 if new_store.kind == "sqlite" else 2)
    @given(stories, stories)
    def check(one: Any, two: Any) -> None:
        store = new_store()
        with Life(store) as first, Life(store) as second:
            second._numbers = iter(range(2_000_000, 3_000_000))
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda life, story: life.live(story), (first, second), (one, two)))
            check_order(first)
            check_order(second)
            assert first.records() == second.records()

    check()
