"""The difference of a run between two revisions: what became of its status, and by which states and decisions.

A run's spec never changes, so there is nothing to compare in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from google.protobuf.json_format import MessageToDict

from playhead import v1
from playhead.exceptions import BadRequest, NotFound

Kind = Literal["flow_run", "task_run"]

PAGE_SIZE = 1_000


class Runs(Protocol):
    """The `Runs` service as far as it is needed here: this process's own, or one behind a client."""

    def get_flow_run(self, request: v1.GetFlowRunRequest) -> v1.GetFlowRunResponse:
        """One flow run."""

    def get_task_run(self, request: v1.GetTaskRunRequest) -> v1.GetTaskRunResponse:
        """One task run."""

    def list_task_runs(self, request: v1.ListTaskRunsRequest) -> v1.ListTaskRunsResponse:
        """A page of task runs."""

    def list_states(self, request: v1.ListStatesRequest) -> v1.ListStatesResponse:
        """States of a run."""

    def list_decisions(self, request: v1.ListDecisionsRequest) -> v1.ListDecisionsResponse:
        """Decisions about a run."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of the status, "state.name", with both values as protobuf's JSON has them; None where it was unset."""

    field: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class RunDiff:
    """What happened to a run after revision `earlier`, up to and including `later`.

    `created`: the run did not exist at `earlier`. `states` are those it entered, `decisions` those made about it,
    refusals included, both oldest first. `task_runs` are those of a flow run that were created or changed.
    """

    kind: Kind
    run_id: str
    name: str
    earlier: int
    later: int
    created: bool
    fields: list[FieldChange]
    states: list[v1.State]
    decisions: list[v1.DecisionRecord] = field(default_factory=list)
    task_runs: list[RunDiff] = field(default_factory=list)


def diff_run(runs: Runs, kind: Kind, run_id: str, earlier: int, later: int) -> RunDiff:
    """The difference of a run between two revisions.

    Raises NotFound when there is no such run at `later`, BadRequest when the revisions are not in order.
    """
    if later < earlier:
        raise BadRequest(f"{later} is before {earlier}: exchange the two", field="to")
    after = _status(runs, kind, run_id, later)
    try:
        before = _status(runs, kind, run_id, earlier) if earlier else None
    except NotFound:
        before = None  # created in between
    request = v1.ListDecisionsRequest(**_of(kind, run_id), read_at=v1.ReadAt(revision=later))
    decisions = [d for d in _all(runs.list_decisions, request, "decisions") if d.revision > earlier]
    return RunDiff(
        kind,
        run_id,
        after.name,
        earlier,
        later,
        before is None,
        field_changes(before or v1.RunStatus(), after),
        _states(runs, kind, run_id, earlier, later),
        decisions,
        _task_run_diffs(runs, run_id, earlier, later) if kind == "flow_run" else [],
    )


def field_changes(before: v1.RunStatus, after: v1.RunStatus) -> list[FieldChange]:
    """The fields that differ, in the order in which the contract has them."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    names = dict.fromkeys([*new, *old])
    return [FieldChange(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _task_run_diffs(runs: Runs, flow_run_id: str, earlier: int, later: int) -> list[RunDiff]:
    """Differences of the task runs of a flow run that were created or changed, in the order of their creation."""
    before = {run.spec.id: run.status for run in _task_runs(runs, flow_run_id, earlier)} if earlier else {}
    nothing = v1.RunStatus()
    return [
        RunDiff(
            "task_run",
            run.spec.id,
            run.status.name,
            earlier,
            later,
            run.spec.id not in before,
            field_changes(before.get(run.spec.id, nothing), run.status),
            _states(runs, "task_run", run.spec.id, earlier, later),
        )
        for run in _task_runs(runs, flow_run_id, later)
        if run.spec.id not in before or before[run.spec.id].version != run.status.version
    ]


def _task_runs(runs: Runs, flow_run_id: str, at: int) -> Iterator[v1.TaskRun]:
    request = v1.ListTaskRunsRequest(
        filter=v1.TaskRunFilter(flow_run_ids=[flow_run_id]), read_at=v1.ReadAt(revision=at), order=v1.OLDEST_FIRST
    )
    return _all(runs.list_task_runs, request, "task_runs")


def _states(runs: Runs, kind: Kind, run_id: str, earlier: int, later: int) -> list[v1.State]:
    """The states that a run entered in between."""
    request = v1.ListStatesRequest(**_of(kind, run_id), read_at=v1.ReadAt(revision=later))
    return [state for state in _all(runs.list_states, request, "states") if state.revision > earlier]


def _status(runs: Runs, kind: Kind, run_id: str, at: int) -> v1.RunStatus:
    read_at = v1.ReadAt(revision=at)
    if kind == "flow_run":
        return runs.get_flow_run(v1.GetFlowRunRequest(flow_run_id=run_id, read_at=read_at)).flow_run.status
    return runs.get_task_run(v1.GetTaskRunRequest(task_run_id=run_id, read_at=read_at)).task_run.status


def _of(kind: Kind, run_id: str) -> Any:
    return {f"{kind}_id": run_id}


def _all(method: Callable[[Any], Any], request: Any, items: str) -> Iterator[Any]:
    """All pages of a list."""
    request.page_size = PAGE_SIZE
    while True:
        response = method(request)
        yield from getattr(response, items)
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token


def _leaves(status: v1.RunStatus) -> Iterator[tuple[str, object]]:
    """("state.name", value) of every field that is set."""
    yield from _flat("", MessageToDict(status, preserving_proto_field_name=True))


def _flat(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    else:
        yield prefix, value
