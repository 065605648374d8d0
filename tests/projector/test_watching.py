"""Watching a run: as it is, then after each change, none left out; refusals change nothing and are not told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from playhead import v1
from playhead.exceptions import MissingField, NotFound, RevisionNotReached
from playhead.journal.hub import Beyond
from tests.histories import CALLERS, FLOW_RUN_IDS, TASK_RUN_IDS, TASK_RUNS, Life, over_histories
from tests.plain_runs import PlainRuns, Run
from tests.stores import NewStore


def told(steps: Any) -> list[v1.WatchRunResponse]:
    """What a watch says until it would block."""
    responses = []
    for step in steps:
        if isinstance(step, Beyond):
            break
        responses.append(step)
    return responses


def test_a_watch_tells_every_change_once_from_any_revision(new_store: NewStore) -> None:
    over_histories(new_store, check_watches, examples=10 if new_store.kind == "sqlite" else 3)


def check_watches(life: Life) -> None:
    """For each run, and from a few revisions on: exactly the statuses it came to have."""
    records = life.records()
    histories: dict[str, list[tuple[int, v1.RunStatus]]] = {}
    plain = PlainRuns()
    for record in records:
        plain.add(record)
        runs: list[Run] = [*plain.flow_runs.values(), *plain.task_runs.values()]
        for run in runs:
            history = histories.setdefault(run.spec.id, [])
            if not history or history[-1][1] != run.status:
                status = v1.RunStatus()
                status.CopyFrom(run.status)
                history.append((record.revision, status))
    for run_id, history in histories.items():
        kind = "flow_run" if run_id in plain.flow_runs else "task_run"
        for after in (0, 1, history[0][0], len(records) // 2, len(records)):
            request = v1.WatchRunRequest(**{f"{kind}_id": run_id}, after_revision=after)  # type: ignore[arg-type] # one of two ids
            responses = told(life.orchestrator.runs.watching(request))
            seen = [(response.meta.revision, getattr(response, kind).status) for response in responses]
            if after:
                assert seen == [(revision, status) for revision, status in history if revision > after]
            else:
                assert seen == [(life.head(), history[-1][1])]


@pytest.mark.parametrize("after", [0, 1])
def test_a_watch_ends_with_the_run(store: str, after: int) -> None:
    with Life(store) as life, ThreadPoolExecutor(1) as pool:
        request = v1.WatchRunRequest(flow_run_id=FLOW_RUN_IDS[0], until_terminal=True, after_revision=after)
        steps = life.orchestrator.runs.watch_run(request)
        states = [next(steps).flow_run.status.state.type]
        rest = pool.submit(lambda: [response.flow_run.status.state.type for response in steps])
        for state in (v1.PENDING, v1.FAILED):
            proposal = v1.ProposeStateRequest(flow_run_id=FLOW_RUN_IDS[0], state=v1.State(type=state), force=True)
            life.send("propose_state", proposal, CALLERS[0])
            life.settle()
        states += rest.result(60)
        assert states[-1] == v1.FAILED
        assert v1.PENDING in states
        request.after_revision = life.head()
        assert list(life.orchestrator.runs.watch_run(request)) == []


def test_a_run_can_be_watched_from_before_it_was(store: str) -> None:
    with Life(store) as life:
        before = life.head()
        life.send("create_task_run", v1.CreateTaskRunRequest(spec=TASK_RUNS[0]), CALLERS[0])
        life.settle()
        request = v1.WatchRunRequest(task_run_id=TASK_RUN_IDS[0], after_revision=before, until_terminal=True)
        responses = told(life.orchestrator.runs.watching(request))
        assert [response.meta.revision for response in responses] == [before + 1]


def test_what_a_watch_asks_for_is_checked(store: str) -> None:
    with Life(store) as life:
        with pytest.raises(NotFound):
            life.orchestrator.runs.watching(v1.WatchRunRequest(task_run_id=TASK_RUN_IDS[0]))
        with pytest.raises(MissingField):
            life.orchestrator.runs.watching(v1.WatchRunRequest())
        with pytest.raises(RevisionNotReached):
            life.orchestrator.runs.watching(v1.WatchRunRequest(flow_run_id=FLOW_RUN_IDS[0], after_revision=99))
