"""P9: nothing is overwritten. Whatever comes next, what was there is there, to the byte, and reads as it did."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from playhead import v1
from playhead.projector.building import build, fresh_prefix, swap_in
from tests.histories import FLOW_RUN_IDS, TASK_RUN_IDS, Life, stories
from tests.stores import NewStore


def test_p9_what_was_recorded_and_how_it_reads_never_change(new_store: NewStore) -> None:
    @settings(max_examples=10 if new_store.kind == "sqlite" else 3)
    @given(stories, stories)
    def check(before: Any, after: Any) -> None:
        with Life(new_store()) as life:
            life.live(before)
            head, records = life.head(), life.records()
            shown = everything(life, head)
            life.live(after)
            life.reopen()
            journal, prefix = life.orchestrator.journal, fresh_prefix()
            swap_in(journal, prefix, build(journal, prefix))
            assert life.records()[:head] == records
            assert everything(life, head) == shown

    check()


def everything(life: Life, revision: int) -> list[Any]:
    """All that reads show as of a revision, but for the journal's own id."""
    runs, at = life.orchestrator.runs, v1.ReadAt(revision=revision)
    shown: list[Any] = [
        runs.list_flows(v1.ListFlowsRequest(read_at=at)),
        runs.list_flow_runs(v1.ListFlowRunsRequest(read_at=at)),
        runs.list_task_runs(v1.ListTaskRunsRequest(read_at=at)),
        runs.count_flow_runs(v1.CountFlowRunsRequest(read_at=at)),
        runs.count_task_runs(v1.CountTaskRunsRequest(read_at=at)),
    ]
    existing = {run.spec.id for run in [*shown[1].flow_runs, *shown[2].task_runs]}
    for run_id in existing & set(FLOW_RUN_IDS):
        shown.append(runs.list_states(v1.ListStatesRequest(flow_run_id=run_id, read_at=at)))
        shown.append(runs.list_decisions(v1.ListDecisionsRequest(flow_run_id=run_id, read_at=at)))
    for run_id in existing & set(TASK_RUN_IDS):
        shown.append(runs.list_states(v1.ListStatesRequest(task_run_id=run_id, read_at=at)))
        shown.append(runs.list_decisions(v1.ListDecisionsRequest(task_run_id=run_id, read_at=at)))
    return shown
