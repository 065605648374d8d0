"""P5: every Get, List and Count can be read as of any revision or time, and pages of one list never tear."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead import v1
from playhead.exceptions import DeadlinePassed, NotFound, RevisionNotReached
from playhead.journal.encoding import micros_of, timestamp
from playhead.projector import moments
from playhead.projector.service import RunsService
from tests.clocks import START_US
from tests.histories import EXAMPLES, FLOW_RUN_IDS, FLOWS, NAMES, TASK_KEYS, TASK_RUN_IDS, Life, Step, an_id, stories
from tests.plain_runs import PlainRuns, counts_of
from tests.stores import NewStore

UNKNOWN = an_id(999)

some_times = st.builds(
    lambda start, length: v1.TimeRange(
        **{"from": timestamp(START_US + start), "until": timestamp(START_US + start + length)}
    ),
    st.sampled_from([-5_000_000, 0, 1, 700_000, 3_000_000]),
    st.sampled_from([0, 1, 700_000, 10_000_000]),
)
half_times = st.sampled_from(
    [None, v1.TimeRange(until=timestamp(START_US + 1)), v1.TimeRange(**{"from": timestamp(START_US + 1)})]
)
times = st.none() | some_times | half_times


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    """A condition: unset half of the time, else a few of the values, one of them twice perhaps."""
    return st.just([]) | st.lists(st.sampled_from(values), max_size=3)


state_filters = st.builds(
    v1.StateFilter,
    types=some(*[value for value in v1.StateType.values() if value]),
    names=some("Running", "Completed", "ni", "Retrying", "Failed", "none"),
)
tag_filters = st.builds(v1.TagFilter, all=some("a", "b"), any=some("a", "A", "a b"), none=some("b", "A"))
both_filters: dict[str, Any] = {
    "state": st.none() | state_filters,
    "tags": st.none() | tag_filters,
    "name_like": st.sampled_from(["", "", "", "NIGHT", "über", "ÜBER", "50%_", "%", "_", "/", "a", "\\"]),
    "created": times,
    "started": times,
}
flow_run_filters = st.builds(
    v1.FlowRunFilter,
    ids=some(*FLOW_RUN_IDS, UNKNOWN),
    flow_ids=some(*FLOWS.values(), UNKNOWN),
    flow_names=some(*FLOWS, "none"),
    parent_task_run_ids=some(*TASK_RUN_IDS),
    deployment_ids=some(an_id(31), UNKNOWN),
    backfill_ids=some(an_id(41), UNKNOWN),
    forked_from_run_ids=some(an_id(11)),
    top_level_only=st.booleans(),
    expected_start=times,
    **both_filters,
)
task_run_filters = st.builds(
    v1.TaskRunFilter,
    ids=some(*TASK_RUN_IDS, UNKNOWN),
    flow_run_ids=some(*FLOW_RUN_IDS),
    task_keys=some(*TASK_KEYS),
    **both_filters,
)


def test_p5_reads_as_of_any_revision_equal_a_plain_model(new_store: NewStore) -> None:
    @settings(max_examples=EXAMPLES[new_store.kind] * 2 // 3)
    @given(
        stories, st.lists(flow_run_filters, min_size=4, max_size=4), st.lists(task_run_filters, min_size=4, max_size=4)
    )
    def check(story: Any, flow_filters: list[v1.FlowRunFilter], task_filters: list[v1.TaskRunFilter]) -> None:
        with Life(new_store()) as life:
            life.live(story)
            records = life.records()
            chosen = sorted(random.Random(len(records)).sample(range(len(records) + 1), k=min(4, len(records))))
            for revision, of_flows, of_tasks in zip(chosen, flow_filters, task_filters, strict=False):
                reads = Reading(life.orchestrator.runs, v1.ReadAt(revision=revision))
                plain = PlainRuns.of(records[:revision])
                reads.compare(plain, v1.FlowRunFilter(), v1.TaskRunFilter())
                reads.compare(plain, of_flows, of_tasks)
                reads.compare_single_runs(plain)

    check()


def test_p5_each_condition_alone_selects_what_it_says(new_store: NewStore) -> None:
    """Conditions drawn all together seldom let anything through; here they come one by one."""
    with Life(new_store()) as life:
        life.live(long_story())
        plain = PlainRuns.of(life.records())
        reads = Reading(life.orchestrator.runs, v1.ReadAt())
        selected = 0

        @settings(max_examples=20 * EXAMPLES[new_store.kind] // 3)
        @given(flow_run_filters, task_run_filters, st.randoms())
        def check(of_flows: v1.FlowRunFilter, of_tasks: v1.TaskRunFilter, chance: random.Random) -> None:
            nonlocal selected
            one, other = keep_one(of_flows, chance), keep_one(of_tasks, chance)
            reads.compare(plain, one, other)
            selected += bool(plain.listed_flow_runs(one)) and bool(plain.listed_task_runs(other))

        check()
        assert selected


def keep_one(filter: Any, chance: random.Random) -> Any:
    """The filter with one of its conditions."""
    kept = type(filter)()
    fields = filter.ListFields()
    if fields:
        name = chance.choice(fields)[0].name
        for field in {field.name for field, _ in fields} - {name}:
            filter.ClearField(field)
        kept.CopyFrom(filter)
    return kept


def long_story() -> list[Step]:
    """One long history, always the same."""
    chance = random.Random(5)
    return [
        Step(
            what=chance.choice(["propose"] * 6 + ["update"]),
            run=chance.randrange(7),
            type=chance.choice([v1.RUNNING, v1.RUNNING, v1.COMPLETED, v1.FAILED, v1.PENDING, v1.SCHEDULED]),
            name=chance.choice(NAMES),
            tags=tuple(chance.sample(["a", "b", "A", "a b"], k=chance.randrange(3))),
            cache_key="",
            expires_s=None,
            force=False,
            validate_only=False,
            expected_version=None,
            leased=False,
            passed_us=chance.choice([0, 1, 700_000]),
            together=False,
            caller=0,
            back=1,
        )
        for _ in range(60)
    ]


class Reading:
    """Reads of one moment, compared with a plain model of it."""

    def __init__(self, runs: RunsService, at: v1.ReadAt) -> None:
        self._runs = runs
        self._at = at

    def compare(self, plain: PlainRuns, of_flows: v1.FlowRunFilter, of_tasks: v1.TaskRunFilter) -> None:
        """Lists, in both orders and in pages of two, and counts."""
        for order in (v1.NEWEST_FIRST, v1.OLDEST_FIRST):
            newest = order == v1.NEWEST_FIRST
            flow_runs = v1.ListFlowRunsRequest(filter=of_flows, read_at=self._at, order=order, page_size=2)
            assert all_pages(self._runs.list_flow_runs, flow_runs, "flow_runs") == plain.listed_flow_runs(
                of_flows, newest
            )
            task_runs = v1.ListTaskRunsRequest(filter=of_tasks, read_at=self._at, order=order, page_size=2)
            assert all_pages(self._runs.list_task_runs, task_runs, "task_runs") == plain.listed_task_runs(
                of_tasks, newest
            )
        counted_flows = v1.CountFlowRunsRequest(filter=of_flows, read_at=self._at)
        compare_counts(self._runs.count_flow_runs, counted_flows, plain.listed_flow_runs(of_flows))
        counted_tasks = v1.CountTaskRunsRequest(filter=of_tasks, read_at=self._at)
        compare_counts(self._runs.count_task_runs, counted_tasks, plain.listed_task_runs(of_tasks))

    def compare_single_runs(self, plain: PlainRuns) -> None:
        """Gets, the histories of runs, and flows."""
        for run_id in FLOW_RUN_IDS:
            flow_run = v1.GetFlowRunRequest(flow_run_id=run_id, read_at=self._at)
            assert self._got(self._runs.get_flow_run, flow_run, "flow_run") == plain.flow_runs.get(run_id)
        for run_id in TASK_RUN_IDS:
            task_run = v1.GetTaskRunRequest(task_run_id=run_id, read_at=self._at)
            assert self._got(self._runs.get_task_run, task_run, "task_run") == plain.task_runs.get(run_id)
        for run_id, kind in [(id, "flow_run_id") for id in plain.flow_runs] + [
            (id, "task_run_id") for id in plain.task_runs
        ]:
            named = {kind: run_id, "read_at": self._at, "page_size": 2}
            states = all_pages(self._runs.list_states, v1.ListStatesRequest(**named), "states")  # type: ignore[arg-type] # one of two ids
            assert states == plain.states.get(run_id, [])
            decisions = all_pages(self._runs.list_decisions, v1.ListDecisionsRequest(**named), "decisions")  # type: ignore[arg-type] # as above
            assert [decision.revision for decision in decisions] == plain.decisions.get(run_id, [])
        flows = all_pages(self._runs.list_flows, v1.ListFlowsRequest(read_at=self._at, page_size=1), "flows")
        assert flows == list(plain.flows.values())
        for name, flow_id in FLOWS.items():
            by_name = self._got(self._runs.get_flow, v1.GetFlowRequest(name=name, read_at=self._at), "flow")
            by_id = self._got(self._runs.get_flow, v1.GetFlowRequest(flow_id=flow_id, read_at=self._at), "flow")
            assert by_name == by_id == plain.flows.get(flow_id)

    def _got(self, method: Any, request: Any, field: str) -> Any:
        try:
            response = method(request)
        except NotFound:
            return None
        assert response.meta.revision == self._at.revision
        return getattr(response, field)


def compare_counts(method: Any, request: Any, expected: list[Any]) -> None:
    """Counts by state, and by state and second of creation."""
    request.bucket_width.CopyFrom(Duration(seconds=1))
    response = method(request)
    assert response.total == len(expected)
    assert {(count.type, count.name): count.count for count in response.counts} == counts_of(expected)
    seconds = sorted({run.created.seconds for run in expected})
    assert [bucket.start.seconds for bucket in response.buckets] == seconds
    for bucket in response.buckets:
        inside = [run for run in expected if run.created.seconds == bucket.start.seconds]
        assert {(count.type, count.name): count.count for count in bucket.counts} == counts_of(inside)
    request.ClearField("bucket_width")
    bare = method(request)
    assert (bare.total, list(bare.counts), list(bare.buckets)) == (response.total, list(response.counts), [])


def all_pages(method: Any, request: Any, field: str) -> list[Any]:
    """The items of all pages of a list."""
    items: list[Any] = []
    while True:
        response = method(request)
        assert len(getattr(response, field)) <= request.page_size
        items += getattr(response, field)
        request.page_token = response.next_page_token
        if not request.page_token:
            return items


def test_p5_a_time_reads_as_the_last_revision_recorded_by_then(store: str) -> None:
    with Life(store) as life:
        life.live(long_story())
        records = life.records()
        moments = {record.recorded_at + offset for record in records for offset in (-1, 0, 1)}
        for moment in sorted(moments):
            revision = max((record.revision for record in records if record.recorded_at <= moment), default=0)
            request = v1.ListTaskRunsRequest(read_at=v1.ReadAt(time=timestamp(moment)))
            by_time = life.orchestrator.runs.list_task_runs(request)
            request.read_at.revision = revision
            assert by_time == life.orchestrator.runs.list_task_runs(request)
            assert by_time.meta.revision == revision


def test_p5_the_moment_before_everything_is_empty_and_beyond_the_head_is_an_error(store: str) -> None:
    with Life(store) as life:
        runs = life.orchestrator.runs
        nothing = v1.ListFlowRunsRequest(read_at=v1.ReadAt(revision=0))
        nothing.read_at.revision = 0
        assert list(runs.list_flow_runs(nothing).flow_runs) == []
        before = v1.ListFlowRunsRequest(read_at=v1.ReadAt(time=timestamp(START_US - 1)))
        assert (list(runs.list_flow_runs(before).flow_runs), runs.list_flow_runs(before).meta.revision) == ([], 0)
        for beyond in (life.head() + 1, 2**63, 2**64 - 1):
            with pytest.raises(RevisionNotReached) as refused:
                runs.list_flow_runs(v1.ListFlowRunsRequest(read_at=v1.ReadAt(revision=beyond)))
            assert refused.value.facts == {"head": str(life.head()), "asked": str(beyond)}


def test_p5_a_read_waits_for_the_revision_it_must_show(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Life(store) as life, Life(store) as elsewhere, ThreadPoolExecutor(1) as pool:
        awaited = elsewhere.head() + 1
        request = v1.CountFlowRunsRequest(read_at=v1.ReadAt(min_revision=awaited))
        waiting = pool.submit(life.orchestrator.runs.count_flow_runs, request)
        elsewhere.send("cancel_flow_run", v1.CancelFlowRunRequest(flow_run_id=FLOW_RUN_IDS[0]), elsewhere.sent[0][2])
        elsewhere.settle()
        assert waiting.result(60).meta.revision >= awaited
        monkeypatch.setattr(moments, "MIN_REVISION_WAIT_S", 0.0)
        with pytest.raises(DeadlinePassed):
            life.orchestrator.runs.count_flow_runs(v1.CountFlowRunsRequest(read_at=v1.ReadAt(min_revision=10_000)))


def test_p5_pages_show_the_moment_of_the_first_one_whatever_is_appended_meanwhile(new_store: NewStore) -> None:
    @settings(max_examples=EXAMPLES[new_store.kind] // 2)
    @given(stories, stories, st.booleans())
    def check(before: Any, between: Any, newest_first: bool) -> None:
        with Life(new_store()) as life:
            life.live(before)
            plain = PlainRuns.of(life.records())
            head, steps = life.head(), iter(between)
            order = v1.NEWEST_FIRST if newest_first else v1.OLDEST_FIRST
            request = v1.ListTaskRunsRequest(order=order, page_size=1)
            seen: list[v1.TaskRun] = []
            while True:
                response = life.orchestrator.runs.list_task_runs(request)
                seen += response.task_runs
                assert response.meta.revision == head
                request.page_token = response.next_page_token
                if not request.page_token:
                    break
                life.live([step for step, _ in zip(steps, range(8), strict=False)])
            assert seen == plain.listed_task_runs(v1.TaskRunFilter(), newest_first)

    check()


def test_p5_every_recorded_state_has_the_time_of_its_revision(store: str) -> None:
    with Life(store) as life:
        life.live(long_story())
        times = {record.revision: record.recorded_at for record in life.records()}
        for run_id in TASK_RUN_IDS:
            for state in life.orchestrator.runs.list_states(v1.ListStatesRequest(task_run_id=run_id)).states:
                assert micros_of(state.timestamp) == times[state.revision]
