"""What should be known of runs: a plain Python copy of the orchestration, kept from the events as they come.

It decides nothing. From what it holds it says which facts a decision should have been made of, which requests are in
error, and what bookkeeping makes of a run that changes state; a decision's word is taken, and held to `laws`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playhead import v1
from playhead.call_ids import call_id
from playhead.journal.encoding import bytes_of, micros_of, text_of, timestamp
from playhead.journal.record import Record
from tests.simulation.broken import same

TERMINAL = frozenset({v1.COMPLETED, v1.FAILED, v1.CANCELLED, v1.CRASHED})


@dataclass
class Run:
    """A run as it is now."""

    id: str
    spec: v1.FlowRunSpec | v1.TaskRunSpec
    history: list[tuple[int, v1.RunStatus]]
    """Each status and the revision that gave it."""
    lease_expires_us: int = 0
    is_task: bool = field(init=False)
    """Whether it is a task run."""
    status: v1.RunStatus = field(init=False)
    """The status now."""

    def __post_init__(self) -> None:
        self.is_task = isinstance(self.spec, v1.TaskRunSpec)
        self.status = self.history[-1][1]

    def change(self, revision: int, status: v1.RunStatus) -> None:
        """From a revision on the status is this."""
        self.history.append((revision, status))
        self.status = status

    def as_of(self, revision: int) -> tuple[int, v1.RunStatus] | None:
        """The status as of a revision, and the one that gave it; None before the run was created."""
        return next((change for change in reversed(self.history) if change[0] <= revision), None)

    @property
    def uses_slots(self) -> bool:
        """Whether it holds slots or waits for some."""
        return bool(self.status.slots) or self.status.HasField("slot_wait")

    @property
    def parent_id(self) -> str:
        """Of a task run in a flow run: that flow run."""
        return self.spec.flow_run_id if isinstance(self.spec, v1.TaskRunSpec) else ""


@dataclass
class Model:
    """Everything that the commands so far have made."""

    runs: dict[str, Run] = field(default_factory=dict)
    flows: dict[str, str] = field(default_factory=dict)
    """Ids by name."""
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    """Flow runs by flow and idempotency key."""
    cache: dict[str, list[tuple[int | None, v1.CacheEntry]]] = field(default_factory=dict)
    """What completed under a cache key, oldest first, and until when it counts."""
    limits: dict[str, v1.ConcurrencyLimit] = field(default_factory=dict)
    """Concurrency limits that are set."""
    users: dict[str, Run] = field(default_factory=dict)
    """The runs that hold slots of a limit, or wait for some."""

    def flow_runs(self) -> list[Run]:
        """The flow runs in the order of their creation."""
        return [run for run in self.runs.values() if not run.is_task]

    def task_runs(self) -> list[Run]:
        """The task runs in the order of their creation."""
        return [run for run in self.runs.values() if run.is_task]

    # What is asked for.

    def refusal(self, method: str, request: Any, now_us: int) -> v1.Reason.ValueType | None:
        """The error that a request is in, which records nothing; None when it is to be answered."""
        if method == "register_flow":
            taken = request.name not in self.flows and self._taken(request.flow_id)
            return v1.ALREADY_EXISTS if taken else None
        if method == "set_concurrency_limit":
            return None if request.HasField("slots") or request.limit in self.limits else v1.NOT_FOUND
        if method == "renew_lease":
            run = self._existing(request.flow_run_id or request.task_run_id, task=not request.flow_run_id)
            held = run is not None and run.status.lease.token == request.lease_token
            return None if held else v1.NOT_FOUND
        if method in ("create_flow_run", "create_task_run"):
            if method == "create_flow_run" and self._existing(request.spec.id, task=False):
                return v1.ALREADY_EXISTS
            return None if self.found(request.spec) else self._uncreatable(request.spec)
        return self._unchangeable(request, now_us)

    def _unchangeable(self, request: Any, now_us: int) -> v1.Reason.ValueType | None:
        """Of a request about a run that exists, or that is made on the way."""
        spec = spec_of(request)
        if spec is not None:
            run = self.found(spec)
            refused = self._uncreatable(spec) if run is None else None
        else:
            run = self._existing(request.flow_run_id or request.task_run_id, task=not request.flow_run_id)
            refused = v1.NOT_FOUND if run is None else None
        if refused is not None:
            return refused
        inside = run.parent_id if run else isinstance(spec, v1.TaskRunSpec) and spec.flow_run_id
        if inside and names(request, "lease_ttl"):
            return v1.INVALID_VALUE
        version = run.status.version if run else 0
        expected = request.expected_version if names(request, "expected_version") else version
        if expected != version:
            return v1.VERSION_MISMATCH
        return v1.INVALID_VALUE if names(request, "state") and is_over(request.state.details, now_us) else None

    def found(self, spec: v1.FlowRunSpec | v1.TaskRunSpec) -> Run | None:
        """The run that a spec describes, if it exists."""
        if isinstance(spec, v1.TaskRunSpec):
            return self._existing(id_of(spec), task=True)
        by_key = self.keys.get((spec.flow_id, spec.idempotency_key)) if spec.idempotency_key else None
        return self._existing(spec.id, task=False) or (self.runs[by_key] if by_key else None)

    def _uncreatable(self, spec: v1.FlowRunSpec | v1.TaskRunSpec) -> v1.Reason.ValueType | None:
        if self._taken(id_of(spec)):
            return v1.ALREADY_EXISTS
        if isinstance(spec, v1.TaskRunSpec):
            lacks = bool(spec.flow_run_id) and not self._existing(spec.flow_run_id, task=False)
        else:
            lacks = spec.flow_id not in self.flows.values() or (
                bool(spec.parent_task_run_id) and not self._existing(spec.parent_task_run_id, task=True)
            )
            lacks |= bool(spec.forked_from_run_id) and not self._existing(spec.forked_from_run_id, task=False)
        return v1.NOT_FOUND if lacks else None

    def _existing(self, run_id: str, *, task: bool) -> Run | None:
        run = self.runs.get(run_id)
        return run if run is not None and run.is_task is task else None

    def _taken(self, an_id: str) -> bool:
        return an_id in self.runs or an_id in self.flows.values()

    # What a decision should have been told.

    def check_facts(self, record: Record, proposed: v1.StateProposed) -> None:
        """The facts of a decision are what the events before it say."""
        run, command, facts = self.runs[text_of(record.stream)], proposed.command, proposed.facts
        same(facts.status, run.status, "P7: the run before, as the decision was told")
        same(micros_of(facts.now), record.recorded_at, "P7: the time, as the decision was told")
        same(facts.retry, run.spec.retry, "P7: the retry policy, as the decision was told")
        if run.is_task:
            self._check_parent(run, facts)
            looked_up = command.state.type == v1.RUNNING and not command.state.details.refresh_cache
            entry = self.cached(command.state.details.cache_key, record.recorded_at) if looked_up else None
            same(facts.cache_entry, entry or v1.CacheEntry(), "P7: the cache, as the decision was told")
        else:
            assert isinstance(run.spec, v1.FlowRunSpec)
            same(facts.has_deployment, bool(run.spec.deployment_id), "P7: whether there is a deployment")
            same(facts.is_subflow, bool(run.spec.parent_task_run_id), "P7: whether it is a subflow")
        if facts.HasField("lease_expires"):
            same(micros_of(facts.lease_expires), run.lease_expires_us, "P7: when the lease lapses")

    def _check_parent(self, run: Run, facts: v1.Facts) -> None:
        if not run.parent_id:
            same(facts.HasField("flow_run"), False, "P7: the flow run of a task run outside one")
            return
        parent = self.runs[run.parent_id].status
        details = parent.state.details if parent.state.type == v1.PAUSED else v1.StateDetails()
        told = facts.flow_run
        same(
            (told.state_type, told.run_count, told.pause_timeout, told.pause_reschedule, told.lease_token),
            (
                parent.state.type,
                parent.run_count,
                details.pause_timeout,
                details.pause_reschedule,
                parent.lease.token,
            ),
            "P7: the flow run, as the decision was told",
        )

    def cached(self, key: str, now_us: int) -> v1.CacheEntry | None:
        """The newest entry of a cache key that has not expired."""
        entries = (entry for expires, entry in reversed(self.cache.get(key, [])) if expires is None or expires > now_us)
        return next(entries, None)

    # What becomes of it.

    def add(self, record: Record, event: v1.Event) -> None:
        """Take one more event into account, the status it says included."""
        run_id = text_of(record.stream)
        if record.kind == "flow_registered":
            self.flows[event.flow_registered.name] = event.flow_registered.flow_id
        elif record.kind == "flow_run_created":
            flow_run = event.flow_run_created.spec
            self.runs[run_id] = Run(run_id, flow_run, [(record.revision, event.flow_run_created.status)])
            if flow_run.idempotency_key:
                self.keys[flow_run.flow_id, flow_run.idempotency_key] = run_id
        elif record.kind == "task_run_created":
            first = (record.revision, event.task_run_created.status)
            self.runs[run_id] = Run(run_id, event.task_run_created.spec, [first])
        elif record.kind == "concurrency_limit_set":
            self._set_limit(event.concurrency_limit_set)
        elif record.kind in ("slots_granted", "slots_refused"):
            self._change(self.runs[run_id], record.revision, getattr(event, record.kind).status)
        elif record.kind == "run_updated":
            self._change(self.runs[run_id], record.revision, event.run_updated.status)
        elif record.kind == "state_proposed" and event.state_proposed.HasField("status"):
            self._add_state(self.runs[run_id], record, event.state_proposed)

    def _change(self, run: Run, revision: int, status: v1.RunStatus) -> None:
        run.change(revision, status)
        if run.uses_slots:
            self.users[run.id] = run
        else:
            self.users.pop(run.id, None)

    def _set_limit(self, changed: v1.ConcurrencyLimitSet) -> None:
        self.limits.pop(changed.command.limit, None)
        if changed.HasField("limit"):
            self.limits[changed.limit.limit] = changed.limit

    def _add_state(self, run: Run, record: Record, proposed: v1.StateProposed) -> None:
        self._change(run, record.revision, proposed.status)
        state, details = proposed.status.state, proposed.status.state.details
        if proposed.status.lease.token == record.revision:
            run.lease_expires_us = record.recorded_at + micros_of(proposed.status.lease.ttl)
        completed = run.is_task and proposed.decision == v1.ACCEPT and state.type == v1.COMPLETED
        if completed and details.cache_key:
            expires = micros_of(details.cache_expiration) if details.HasField("cache_expiration") else None
            entry = v1.CacheEntry(task_run_id=run.id, state=state)
            self.cache.setdefault(details.cache_key, []).append((expires, entry))

    def renewed(self, run_id: str, now_us: int) -> None:
        """A lease was renewed."""
        run = self.runs[run_id]
        run.lease_expires_us = now_us + micros_of(run.status.lease.ttl)


def status_after(run: Run, record: Record, proposed: v1.StateProposed, parent: Run | None) -> v1.RunStatus:
    """What bookkeeping makes of a run whose state changes: its whole status, as it should be recorded."""
    before, command, state = run.status, proposed.command, proposed.status.state
    now = timestamp(record.recorded_at)
    status = v1.RunStatus()
    status.CopyFrom(before)
    status.version = record.stream_version
    _keep_slots(status, record, proposed)
    if proposed.decision == v1.WAIT:
        return status
    status.state.CopyFrom(state)
    status.state.revision = record.revision
    status.state.timestamp.CopyFrom(now)
    was, to = before.state.type, state.type
    _keep_times(status, before, now)
    starts_again = was in TERMINAL and to not in TERMINAL
    retried = (was, command.state.type, to) == (v1.RUNNING, v1.FAILED, v1.SCHEDULED)
    _keep_lease(status, record, command, retried)
    if run.is_task:
        if starts_again and not command.force and to == command.state.type:
            status.run_count = 0
        if to == v1.RUNNING:
            # The start of a subflow that the run stands for is not another start of it, nor is the end of its pause.
            same = was in (v1.RUNNING, v1.PAUSED) and command.state.details.child_flow_run_id
            status.run_count += not (same and status.run_count)
            status.flow_run_run_count = parent.status.run_count if parent else 0
        return status
    taken_over = command.HasField("lease_ttl")
    resumed = was == v1.PAUSED and command.state.type in (v1.RUNNING, v1.SCHEDULED) and not taken_over
    if to == v1.RUNNING and not (status.run_count and (before.resuming or resumed)):
        status.run_count += 1
    if to == v1.SCHEDULED and resumed:
        status.resuming = True
    if to in TERMINAL | {v1.RUNNING}:
        status.resuming = False
    if starts_again or retried:
        del status.pause_keys[:]
    key = state.details.pause_key
    if to == v1.PAUSED and key and key not in status.pause_keys:
        status.pause_keys.append(key)
    return status


def _keep_slots(status: v1.RunStatus, record: Record, proposed: v1.StateProposed) -> None:
    """Slots are as they are said to be, within their own laws; a place in line is had since it was taken."""
    waited_since = status.slot_wait.since
    del status.slots[:]
    status.slots.extend(proposed.status.slots)
    status.ClearField("slot_wait")
    if proposed.status.HasField("slot_wait"):
        status.slot_wait.CopyFrom(proposed.status.slot_wait)
        status.slot_wait.since = waited_since or record.revision


def _keep_times(status: v1.RunStatus, before: v1.RunStatus, now: Any) -> None:
    was, to = before.state.type, status.state.type
    if to in TERMINAL | {v1.RUNNING} and not before.HasField("start_time"):
        status.start_time.CopyFrom(now)
    if to not in TERMINAL:
        status.ClearField("end_time")
    elif not before.HasField("end_time"):
        status.end_time.CopyFrom(now)
    if was == v1.RUNNING:
        total_us = micros_of(before.total_run_time) + micros_of(now) - micros_of(before.state.timestamp)
        status.total_run_time.seconds, rest_us = divmod(total_us, 1_000_000)
        status.total_run_time.nanos = rest_us * 1_000
    due = status.state.details.scheduled_time
    if not before.HasField("expected_start_time"):
        status.expected_start_time.CopyFrom(due if to == v1.SCHEDULED else now)
    status.ClearField("next_scheduled_start_time")
    if to == v1.SCHEDULED:
        status.next_scheduled_start_time.CopyFrom(due)


def _keep_lease(status: v1.RunStatus, record: Record, command: v1.ProposeStateRequest, retried: bool) -> None:
    to = status.state.type
    if to == v1.RUNNING and command.HasField("lease_ttl"):
        status.lease.token, status.lease.holder = record.revision, record.actor
        status.lease.ttl.CopyFrom(command.lease_ttl)
    in_process = to == v1.PAUSED and not status.state.details.pause_reschedule
    goes_on = (to == v1.CANCELLING or in_process or retried) and not command.release_lease
    if not (to == v1.RUNNING or goes_on):
        status.ClearField("lease")


def spec_of(request: Any) -> v1.FlowRunSpec | v1.TaskRunSpec | None:
    """The spec of the run that a proposal makes on the way."""
    which = request.WhichOneof("run") if isinstance(request, v1.ProposeStateRequest) else None
    return getattr(request, which) if which in ("create_flow_run", "create_task_run") else None


def id_of(spec: v1.FlowRunSpec | v1.TaskRunSpec) -> str:
    """The id of the run that a spec describes."""
    if isinstance(spec, v1.TaskRunSpec) and spec.flow_run_id:
        return text_of(call_id(bytes_of(spec.flow_run_id), spec.task_key, spec.dynamic_key))
    return spec.id


def is_over(details: v1.StateDetails, now_us: int) -> bool:
    """Whether a pause is over before it begins."""
    return details.HasField("pause_timeout") and micros_of(details.pause_timeout) <= now_us


def names(request: Any, name: str) -> bool:
    """Whether a request has a field of this name, and it is set."""
    return name in request.DESCRIPTOR.fields_by_name and request.HasField(name)
