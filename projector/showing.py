"""Rows of the views and events of the journal, as the contract shows them."""

from __future__ import annotations

from typing import Any

from playhead import v1
from playhead.journal.encoding import text_of, timestamp
from playhead.journal.payload import event_of
from playhead.journal.record import Record

_STATUS_KINDS = frozenset(
    {"flow_run_created", "task_run_created", "state_proposed", "run_updated", "slots_granted", "slots_refused"}
)


def changes_run(record: Record) -> bool:
    """Whether an event changed its run: a refusal that kept the state does not."""
    if record.kind != "state_proposed" or record.payload is None:
        return True
    return event_of(record).state_proposed.HasField("status")


def status_of(event: v1.Event) -> v1.RunStatus:
    """The status an event gave its run. Events that say nothing of a run give an empty one."""
    what = event.WhichOneof("what")
    return getattr(event, what).status if what in _STATUS_KINDS else v1.RunStatus()


def decision_record(record: Record, event: v1.Event) -> v1.DecisionRecord:
    """A proposal and its answer as the contract shows them."""
    proposed = event.state_proposed
    before = proposed.facts.status
    after = proposed.status if proposed.HasField("status") else before
    shown = v1.DecisionRecord(
        revision=record.revision,
        recorded_at=timestamp(record.recorded_at),
        actor=record.actor,
        client=event.client,
        request_id=text_of(record.request_id) if record.request_id else "",
        proposed=proposed.command.state,
        force=proposed.command.force,
        decision=proposed.decision,
        rule=proposed.rule,
        rules=proposed.rules,
        policy_id=proposed.policy_id,
        reason=proposed.reason,
        run_id=text_of(record.stream),
        facts=proposed.facts,
        traceparent=event.traceparent,
        task_run=proposed.command.WhichOneof("run") == "task_run_id",
        version=proposed.status.version,
    )
    if proposed.HasField("delay"):
        shown.delay.CopyFrom(proposed.delay)
    if before.HasField("state"):
        shown.before.CopyFrom(before.state)
    if after.HasField("state"):
        shown.after.CopyFrom(after.state)
    return shown


def flow_of(row: Any) -> v1.Flow:
    """A flow of its row."""
    return v1.Flow(
        id=text_of(row.flow_id),
        name=row.name,
        created=timestamp(row.created_at),
        created_revision=row.created_revision,
    )


def flow_run_of(row: Any) -> v1.FlowRun:
    """A flow run of its row and its version's."""
    return v1.FlowRun(
        spec=v1.FlowRunSpec.FromString(row.spec),
        status=v1.RunStatus.FromString(row.status),
        flow_name=row.flow_name,
        created=timestamp(row.created_at),
        created_revision=row.created_revision,
        created_by=row.created_by,
    )


def task_run_of(row: Any) -> v1.TaskRun:
    """A task run of its row and its version's."""
    return v1.TaskRun(
        spec=v1.TaskRunSpec.FromString(row.spec),
        status=v1.RunStatus.FromString(row.status),
        created=timestamp(row.created_at),
        created_revision=row.created_revision,
        created_by=row.created_by,
    )


def input_of(record: Record) -> v1.RunInput:
    """An input of the event by which it was sent."""
    sent = event_of(record).input_sent.command
    return v1.RunInput(
        flow_run_id=sent.flow_run_id,
        key=sent.key,
        value=sent.value,
        sender=sent.sender,
        sent=timestamp(record.recorded_at),
        sent_revision=record.revision,
        sent_by=record.actor,
    )


def limit_of(row: Any) -> v1.ConcurrencyLimitUse:
    """A concurrency limit and what of it is used, from its row."""
    return v1.ConcurrencyLimitUse(
        limit=v1.ConcurrencyLimit(limit=row.limit_key, slots=row.slots, on_full=row.on_full),
        held=int(row.held),  # PostgreSQL sums up to a decimal
        waiting=row.waiting,
        set_revision=row.valid_from,
    )


def slot_user_of(row: Any) -> v1.SlotUser:
    """Who holds slots or waits for them, from the row."""
    status = v1.RunStatus.FromString(bytes(row.status))
    user = v1.SlotUser(
        count=row.count,
        holds=row.holds,
        since=row.since,
        since_time=timestamp(row.recorded_at),
        run_name=status.name,
        state_type=status.state.type,
        state_name=status.state.name,
        place=row.place,
    )
    if row.is_task:
        user.task_run_id = text_of(bytes(row.run_id))
    else:
        user.flow_run_id = text_of(bytes(row.run_id))
    if row.around is not None:
        user.parent_flow_run_id = text_of(bytes(row.flow_run_id))
        user.parent_flow_run_name = v1.RunStatus.FromString(bytes(row.around)).name
    return user
