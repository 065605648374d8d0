"""Events as sentences, for people. Pure: what a sentence says is in its event.

| event                 | sentence                                                                                |
|-----------------------|-----------------------------------------------------------------------------------------|
| flow_run_created      | ada created the flow run "nightly" of the flow "etl", PENDING.                          |
| task_run_created      | ada created the task run "load-0" of the task "load", without a state.                  |
| state_proposed        | ada proposed RUNNING; WaitForScheduledTime answered WAIT, 60 s: The run is not due yet. |
| state_proposed        | ada proposed FAILED; it was accepted, without a retry: none is set.                     |
| run_updated           | ada named the run "weekly" and gave it the tags a, b.                                   |
| slots_granted         | GrantSlots granted the run 1 slot of tag:etl, which it had waited for.                  |
| slots_refused         | RefuseSlots let the run wait no more: tag:etl has 0 slots, the run needs 1: …           |
| concurrency_limit_set | ada set the limit tag:etl to 2 slots.                                                   |
| input_sent            | ada sent the flow run the input "approval-1", as ada@example.org.                       |
| input_deleted         | ada deleted the input "approval-1" of the flow run.                                     |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from playhead import v1
from playhead.engine.orchestration.rules.bookkeeping import DEFAULT_NAMES
from playhead.engine.orchestration.rules.lease import is_live
from playhead.engine.orchestration.rules.retrying import why_no_retry
from playhead.engine.orchestration.rules.slots import too_small
from playhead.journal.encoding import micros_of
from playhead.journal.record import Record
from playhead.projector.fold import UnknownEvent

MESSAGE_LENGTH_MAX = 200
"""Characters of a state's message that a sentence shows."""


def sentence_of(record: Record, event: v1.Event) -> str:
    """An event as a sentence. Raises UnknownEvent for one of a kind that this version does not know."""
    told = _TOLD.get(record.kind)
    if told is None:
        raise UnknownEvent(
            f"Revision {record.revision} is of the unknown kind {record.kind!r}: upgrade Playhead.",
            revision=record.revision,
        )
    return told(record.actor, event)


def state_text(state: v1.State) -> str:
    """A state as sentences show it: its type, its name when it has one of its own, when it is due or times out."""
    if not state.type:
        return "without a state"
    text = v1.StateType.Name(state.type)
    if state.name and state.name != DEFAULT_NAMES.get(state.type):
        text += f' "{state.name}"'
    if state.type == v1.SCHEDULED and state.details.HasField("scheduled_time"):
        text += f", due {moment_text(state.details.scheduled_time)}"
    if state.type == v1.PAUSED and state.details.HasField("pause_timeout"):
        text += f", which times out at {moment_text(state.details.pause_timeout)}"
    return text


def moment_text(time: Timestamp) -> str:
    """A time to the second: "2026-01-31 12:00:00 UTC"."""
    return time.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def counted(number: int, thing: str) -> str:
    """ "1 slot", "2 slots"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _flow_run_created(actor: str, event: v1.Event) -> str:
    created = event.flow_run_created
    what = f'the flow run "{created.status.name}" of the flow "{created.flow_name}"'
    return f"{actor} created {what}, {state_text(created.status.state)}."


def _task_run_created(actor: str, event: v1.Event) -> str:
    created = event.task_run_created
    what = f'the task run "{created.status.name}" of the task "{created.spec.task_key}"'
    return f"{actor} created {what}, {state_text(created.status.state)}."


def _state_proposed(actor: str, event: v1.Event) -> str:
    proposed = event.state_proposed
    command = proposed.command
    what = state_text(command.state) + (" by force" if command.force and not proposed.mirrors else "")
    if command.state.message:
        what += f' ("{_shortened(command.state.message)}")'
    if proposed.mirrors:
        asked = f"Its subflow run became {what}, which was proposed for it too"
    elif command.if_lease_expired:
        asked = f"{actor} proposed {what}, as its lease had lapsed"
    elif succeeds(proposed):
        lapsed = moment_text(proposed.facts.lease_expires)
        asked = (
            f"{actor} proposed {what}, to succeed {proposed.facts.status.lease.holder}, whose lease lapsed at {lapsed}"
        )
    else:
        asked = f"{actor} proposed {what}"
    return f"{asked}; {_answer(proposed)}"


def succeeds(proposed: v1.StateProposed) -> bool:
    """Whether a process took a run over from another one, whose lease had lapsed without anybody's decision."""
    facts, command = proposed.facts, proposed.command
    token = facts.status.lease.token
    taken = proposed.decision == v1.ACCEPT and command.HasField("lease_ttl") and command.lease_token != token
    return bool(token) and taken and not is_live(facts)


def _answer(proposed: v1.StateProposed) -> str:
    """What came of a proposal."""
    if proposed.decision == v1.ACCEPT:
        return _accepted(proposed)
    answer = f"{proposed.rule} answered {v1.Decision.Name(proposed.decision)}"
    if proposed.HasField("delay"):
        answer += f", {proposed.delay.ToTimedelta().total_seconds():g} s"
    before, after = proposed.facts.status, proposed.status
    if after.HasField("state") and after.state != before.state:
        answer += f", and the run became {state_text(after.state)} instead"
    if after.HasField("slot_wait") and not before.HasField("slot_wait"):
        answer += ", and the run stands in line for slots"
    return _ended(f"{answer}: {proposed.reason}" if proposed.reason else answer)


def _accepted(proposed: v1.StateProposed) -> str:
    asked, given = proposed.command.state, proposed.status.state
    name = asked.name or DEFAULT_NAMES.get(asked.type)
    answer = "it was accepted" if given.name == name else f'it was accepted as "{given.name}"'
    rules = [outcome.rule for outcome in proposed.rules if outcome.effect != v1.RULE_FIZZLED]
    answer += f" ({', '.join(rules)})" if rules else ""
    if asked.type in (v1.FAILED, v1.CRASHED) and not proposed.mirrors:
        answer += f", without a retry: {why_no_retry(proposed.facts, proposed.command)}"
    if unclaimed := _unclaimed(proposed):
        answer += f"; the run gave up {_slots(unclaimed)}, with which it had not gone on in time"
    return f"{answer}."


def _unclaimed(proposed: v1.StateProposed) -> list[v1.HeldSlots]:
    """Slots that a run had been given and lost by this, since it had not claimed them in time."""
    kept = {held.limit for held in proposed.status.slots}
    now = micros_of(proposed.facts.now)
    given = (held for held in proposed.facts.status.slots if held.HasField("claim_by"))
    return [held for held in given if held.limit not in kept and micros_of(held.claim_by) <= now]


def _run_updated(actor: str, event: v1.Event) -> str:
    command = event.run_updated.command
    changes = []
    if command.HasField("name"):
        changes.append(f'named the run "{command.name}"')
    if command.HasField("tags"):
        tags = ", ".join(command.tags.tags)
        changes.append(f"gave it the tags {tags}" if tags else "took its tags away")
    told = f"{actor} {' and '.join(changes)}"
    if not event.run_updated.waited_for:
        return f"{told}."
    waits = _slots(event.run_updated.status.slot_wait.slots) or "no slots"
    return f"{told}; instead of for {_slots(event.run_updated.waited_for)} it waits for {waits} now."


def _slots_granted(actor: str, event: v1.Event) -> str:
    granted = event.slots_granted
    before, after = granted.facts.status, granted.status
    had = {slots.limit for slots in before.slots}
    given = [slots for slots in after.slots if slots.limit not in had]
    if not given:
        return f"{granted.rule} let the run go on: it waits for no slots any more."
    sentence = f"{granted.rule} granted the run {_slots(given)}, which it had waited for"
    if after.state != before.state:
        sentence += f", and it became {state_text(after.state)}"
    until = next((slots.claim_by for slots in given if slots.HasField("claim_by")), None)
    return f"{sentence}; it has to go on by {moment_text(until)}." if until is not None else f"{sentence}."


def _slots_refused(actor: str, event: v1.Event) -> str:
    refused = event.slots_refused
    after = refused.status.state
    became = f", and it became {state_text(after)}" if after != refused.facts.status.state else ""
    return _ended(f"{refused.rule} let the run wait no more{became}: {too_small(refused.facts.limits)}")


def _limit_set(actor: str, event: v1.Event) -> str:
    limit_set = event.concurrency_limit_set
    if not limit_set.HasField("limit"):
        return f"{actor} removed the limit {limit_set.command.limit}."
    return f"{actor} set the limit {limit_set.limit.limit} to {counted(limit_set.limit.slots, 'slot')}."


def _input_sent(actor: str, event: v1.Event) -> str:
    sent = event.input_sent.command
    sender = f", as {sent.sender}" if sent.sender else ""
    return f'{actor} sent the flow run the input "{sent.key}"{sender}.'


def _input_deleted(actor: str, event: v1.Event) -> str:
    return f'{actor} deleted the input "{event.input_deleted.command.key}" of the flow run.'


_TOLD: dict[str, Callable[[str, v1.Event], str]] = {
    "flow_run_created": _flow_run_created,
    "task_run_created": _task_run_created,
    "state_proposed": _state_proposed,
    "run_updated": _run_updated,
    "slots_granted": _slots_granted,
    "slots_refused": _slots_refused,
    "concurrency_limit_set": _limit_set,
    "input_sent": _input_sent,
    "input_deleted": _input_deleted,
}


def _slots(slots: Iterable[v1.HeldSlots]) -> str:
    return " and ".join(f"{counted(held.count, 'slot')} of {held.limit}" for held in slots)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LENGTH_MAX else line[: MESSAGE_LENGTH_MAX - 1] + "…"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
