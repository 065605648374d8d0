"""The `Runs` service of the contract, without the wire: messages in, messages out. Blocking; any thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from playhead import v1
from playhead.exceptions import BadRequest, MissingField, NotFound, RevisionNotReached, TooLarge
from playhead.journal import checks
from playhead.journal.encoding import SECOND_US, text_of, timestamp
from playhead.journal.following import follow
from playhead.journal.hub import Beyond, blocking
from playhead.journal.journal import Journal
from playhead.journal.payload import event_of
from playhead.journal.record import Record, record_of
from playhead.projector.filters import flow_run_clauses, state_types, task_run_clauses
from playhead.projector.moments import Moments
from playhead.projector.paging import Page, fitting
from playhead.projector.reads import Reads
from playhead.projector.showing import (
    changes_run,
    decision_record,
    flow_of,
    flow_run_of,
    limit_of,
    slot_user_of,
    status_of,
    task_run_of,
)
from playhead.projector.sql import RunTables

BUCKETS_MAX = 10_000

TERMINAL = frozenset({v1.COMPLETED, v1.FAILED, v1.CANCELLED, v1.CRASHED})


class RunsService:
    """Runs, now or at any revision."""

    def __init__(self, journal: Journal, reads: Reads | None = None) -> None:
        self._journal = journal
        self._moments = Moments(journal)
        self._reads = reads or Reads(journal.database)

    def get_flow(self, request: v1.GetFlowRequest) -> v1.GetFlowResponse:
        """One flow, by id or name."""
        at = self._moments.at(request.read_at)
        which = request.WhichOneof("flow")
        if which is None:
            raise MissingField("flow_id or name is required", field="flow")
        checks.without_zeros(request.name, "name")
        value = checks.id_bytes(request.flow_id, "flow_id") if which == "flow_id" else request.name
        row = self._reads.flow(which, value, at)
        if row is None:
            raise NotFound(f"No flow with {which} {getattr(request, which)!r} at revision {at}.", at=at)
        return v1.GetFlowResponse(meta=self._moments.meta(at), flow=flow_of(row))

    def list_flows(self, request: v1.ListFlowsRequest) -> v1.ListFlowsResponse:
        """Flows in the order of their registration."""
        page = self._moments.page(request)
        rows = self._reads.flows(page.revision, page.key, page.size + 1)
        more = len(rows) > page.size
        token = page.next_token(rows[page.size - 1].created_revision) if more else ""
        return v1.ListFlowsResponse(
            meta=self._moments.meta(page.revision),
            flows=[flow_of(row) for row in rows[: page.size]],
            next_page_token=token,
        )

    def get_flow_run(self, request: v1.GetFlowRunRequest) -> v1.GetFlowRunResponse:
        """One flow run."""
        at = self._moments.at(request.read_at)
        run = self._flow_run(checks.id_bytes(request.flow_run_id, "flow_run_id"), at)
        return v1.GetFlowRunResponse(meta=self._moments.meta(at), flow_run=run)

    def get_task_run(self, request: v1.GetTaskRunRequest) -> v1.GetTaskRunResponse:
        """One task run."""
        at = self._moments.at(request.read_at)
        run = self._task_run(checks.id_bytes(request.task_run_id, "task_run_id"), at)
        return v1.GetTaskRunResponse(meta=self._moments.meta(at), task_run=run)

    def list_flow_runs(self, request: v1.ListFlowRunsRequest) -> v1.ListFlowRunsResponse:
        """A page of flow runs in creation order."""
        clauses = flow_run_clauses(request.filter, self._reads.tables)
        page = self._moments.page(request)
        rows, token = self._list(self._reads.tables.flow_runs, request, clauses, page)
        return v1.ListFlowRunsResponse(
            meta=self._moments.meta(page.revision), flow_runs=[flow_run_of(row) for row in rows], next_page_token=token
        )

    def list_task_runs(self, request: v1.ListTaskRunsRequest) -> v1.ListTaskRunsResponse:
        """A page of task runs in creation order."""
        clauses = task_run_clauses(request.filter, self._reads.tables)
        page = self._moments.page(request)
        rows, token = self._list(self._reads.tables.task_runs, request, clauses, page)
        return v1.ListTaskRunsResponse(
            meta=self._moments.meta(page.revision), task_runs=[task_run_of(row) for row in rows], next_page_token=token
        )

    def count_flow_runs(self, request: v1.CountFlowRunsRequest) -> v1.CountRunsResponse:
        """Flow runs by state, and by time of creation if asked."""
        clauses = flow_run_clauses(request.filter, self._reads.tables)
        return self._count(self._reads.tables.flow_runs, request, clauses)

    def count_task_runs(self, request: v1.CountTaskRunsRequest) -> v1.CountRunsResponse:
        """Task runs by state, and by time of creation if asked."""
        clauses = task_run_clauses(request.filter, self._reads.tables)
        return self._count(self._reads.tables.task_runs, request, clauses)

    def list_states(self, request: v1.ListStatesRequest) -> v1.ListStatesResponse:
        """Every state a run has been in, oldest first."""
        page = self._moments.page(request)
        run_id = self._existing(request, page.revision)
        of_task = request.WhichOneof("run") == "task_run_id"
        tables = self._reads.tables.task_runs if of_task else self._reads.tables.flow_runs
        rows, token = _page_of(self._reads.states(tables, run_id, page.revision, page.key, page.size + 1), page)
        states = [status_of(event).state for _, event in rows]
        return v1.ListStatesResponse(meta=self._moments.meta(page.revision), states=states, next_page_token=token)

    def list_decisions(self, request: v1.ListDecisionsRequest) -> v1.ListDecisionsResponse:
        """Every proposal made for a run and how it was decided, oldest first."""
        for index, value in enumerate(request.decisions):
            checks.known_enum(value, v1.Decision.values(), f"decisions[{index}]")
        page = self._moments.page(request)
        run_id = self._existing(request, page.revision)
        wanted = sorted(set(request.decisions))
        rows, token = _page_of(self._reads.proposals(run_id, page.revision, page.key, page.size + 1, wanted), page)
        decisions = [decision_record(record, event) for record, event in rows]
        return v1.ListDecisionsResponse(
            meta=self._moments.meta(page.revision), decisions=decisions, next_page_token=token
        )

    def list_concurrency_limits(self, request: v1.ListConcurrencyLimitsRequest) -> v1.ListConcurrencyLimitsResponse:
        """A page of concurrency limits in the order in which they were set."""
        page = self._moments.page(request)
        rows = self._reads.limits(page.revision, None, page.key, page.size + 1)
        token = page.next_token(rows[page.size - 1].valid_from) if len(rows) > page.size else ""
        return v1.ListConcurrencyLimitsResponse(
            meta=self._moments.meta(page.revision),
            limits=[limit_of(row) for row in rows[: page.size]],
            next_page_token=token,
        )

    def list_slot_users(self, request: v1.ListSlotUsersRequest) -> v1.ListSlotUsersResponse:
        """A page of those who hold slots of a limit, or of those who wait for them."""
        checks.limit_key(request.limit, "limit")
        page = self._moments.page(request)
        if not request.limit.startswith(checks.LOCK) and not self._reads.limits(page.revision, request.limit, None, 1):
            raise NotFound(
                f"No concurrency limit {request.limit!r} at revision {page.revision}.", field="limit", at=page.revision
            )
        rows = self._reads.slot_users(page.revision, request.limit, not request.waiting, page.key, page.size + 1)
        token = page.next_token(rows[page.size - 1].since) if len(rows) > page.size else ""
        return v1.ListSlotUsersResponse(
            meta=self._moments.meta(page.revision),
            users=[slot_user_of(row) for row in rows[: page.size]],
            next_page_token=token,
        )

    def watch_run(self, request: v1.WatchRunRequest, timeout_s: float | None = None) -> Iterator[v1.WatchRunResponse]:
        """As `watching`, blocking the caller's thread while nothing changes."""
        return blocking(self.watching(request), self._journal.hub, timeout_s)

    def watching(self, request: v1.WatchRunRequest) -> Iterator[v1.WatchRunResponse | Beyond]:
        """A run as it is, then after each change; `Beyond` where it would block."""
        head = self._journal.head()[0]
        after = request.after_revision
        if after > head:
            raise RevisionNotReached(f"The head is revision {head}.", head=head, asked=after)
        run_id = self._existing(request, head)
        is_task = request.WhichOneof("run") == "task_run_id"
        return self._watching(run_id, is_task, after, head, request.until_terminal)

    def _watching(
        self, run_id: bytes, is_task: bool, after: int, head: int, until_terminal: bool
    ) -> Iterator[v1.WatchRunResponse | Beyond]:
        read = self._watched_task_run if is_task else self._watched_flow_run
        if not after:
            response = read(run_id, head)
            yield response
            if until_terminal and _status(response).state.type in TERMINAL:
                return
        elif until_terminal and self._is_terminal(run_id, is_task, after):
            return
        for step in follow(self._journal, after or head, stream=run_id):
            if isinstance(step, Beyond):
                yield step
            elif isinstance(step, list):
                for record in step:
                    if not changes_run(record):
                        continue
                    response = read(run_id, record.revision)
                    yield response
                    if until_terminal and _status(response).state.type in TERMINAL:
                        return

    def _is_terminal(self, run_id: bytes, is_task: bool, at: int) -> bool:
        tables = self._reads.tables
        row = self._reads.run(tables.task_runs if is_task else tables.flow_runs, run_id, at)
        return row is not None and v1.RunStatus.FromString(row.status).state.type in TERMINAL

    def _watched_flow_run(self, run_id: bytes, at: int) -> v1.WatchRunResponse:
        return v1.WatchRunResponse(meta=self._moments.meta(at), flow_run=self._flow_run(run_id, at))

    def _watched_task_run(self, run_id: bytes, at: int) -> v1.WatchRunResponse:
        return v1.WatchRunResponse(meta=self._moments.meta(at), task_run=self._task_run(run_id, at))

    def _flow_run(self, run_id: bytes, at: int) -> v1.FlowRun:
        row = self._reads.run(self._reads.tables.flow_runs, run_id, at)
        if row is None:
            raise NotFound(f"No flow run {text_of(run_id)} at revision {at}.", flow_run_id=text_of(run_id), at=at)
        return flow_run_of(row)

    def _task_run(self, run_id: bytes, at: int) -> v1.TaskRun:
        row = self._reads.run(self._reads.tables.task_runs, run_id, at)
        if row is None:
            raise NotFound(f"No task run {text_of(run_id)} at revision {at}.", task_run_id=text_of(run_id), at=at)
        return task_run_of(row)

    def _existing(self, request: Any, at: int) -> bytes:
        """The id of the run a request names, which must exist."""
        which = request.WhichOneof("run")
        if which is None:
            raise MissingField("flow_run_id or task_run_id is required", field="run")
        run_id = checks.id_bytes(getattr(request, which), which)
        (self._task_run if which == "task_run_id" else self._flow_run)(run_id, at)
        return run_id

    def _list(self, tables: RunTables, request: Any, clauses: list[Any], page: Page) -> tuple[list[Any], str]:
        if request.order:
            checks.known_enum(request.order, v1.Order.values(), "order")
        rows = self._reads.runs(
            tables,
            page.revision,
            clauses,
            state_types(request.filter),
            after=page.key,
            newest_first=request.order != v1.OLDEST_FIRST,
            size=page.size + 1,
        )
        kept = fitting(rows[: page.size], lambda row: len(row.spec) + len(row.status))
        more = len(kept) < len(rows)
        return kept, page.next_token(kept[-1].created_revision) if more else ""

    def _count(self, tables: RunTables, request: Any, clauses: list[Any]) -> v1.CountRunsResponse:
        at = self._moments.at(request.read_at)
        width = checks.duration(request.bucket_width, "bucket_width") if request.HasField("bucket_width") else None
        if width is not None and width < SECOND_US:
            raise BadRequest("at least 1 s", field="bucket_width")
        rows = self._reads.counts(tables, at, clauses, width)
        totals: dict[tuple[int, str], int] = {}
        buckets: dict[int, v1.CountBucket] = {}
        for row in rows:
            key = row.state_type, row.state_name
            totals[key] = totals.get(key, 0) + row.runs
            if width is not None:
                bucket = buckets.setdefault(row.bucket, v1.CountBucket(start=timestamp(row.bucket)))
                bucket.counts.add(type=row.state_type, name=row.state_name, count=row.runs)
        if len(buckets) > BUCKETS_MAX:
            raise TooLarge(
                f"{len(buckets)} buckets, at most {BUCKETS_MAX}: widen them",
                field="bucket_width",
                limit=BUCKETS_MAX,
                actual=len(buckets),
            )
        return v1.CountRunsResponse(
            meta=self._moments.meta(at),
            total=sum(totals.values()),
            counts=[
                v1.StateCount(type=v1.StateType.ValueType(t), name=n, count=c) for (t, n), c in sorted(totals.items())
            ],
            buckets=list(buckets.values()),
        )


def _page_of(rows: list[Any], page: Page) -> tuple[list[tuple[Record, v1.Event]], str]:
    """The events of a page, one more of which were read, and the token of the next one."""
    kept = fitting([record_of(row) for row in rows[: page.size]], lambda record: len(record.payload or b""))
    token = page.next_token(kept[-1].revision) if len(kept) < len(rows) else ""
    return [(record, event_of(record)) for record in kept], token


def _status(response: v1.WatchRunResponse) -> v1.RunStatus:
    return response.task_run.status if response.WhichOneof("run") == "task_run" else response.flow_run.status
