"""Asking again: when something that has fallen due, and was not granted, is proposed once more.

A proposal of the timers that changes nothing leaves what it is about due. It is asked again, as a new request,

    after WAIT              after the delay
    after another answer    after ASK_AGAIN_S, then after twice as long each time, up to ASK_AGAIN_MAX_S
    under another policy    at once

The request id of an asking follows from what fell due and from the last asking on record, so that all processes that
look make the same request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from playhead import v1
from playhead.engine.orchestration import sql
from playhead.journal.database import Database
from playhead.journal.encoding import SECOND_US, bytes_of, id_from, micros_of, text_of
from playhead.journal.payload import event_of
from playhead.journal.record import Caller, Record, record_of

TIMERS = Caller("playhead/timers")

ASK_AGAIN_S = 60.0
ASK_AGAIN_MAX_S = 3_600.0

WAIT_MIN_US = SECOND_US
"""What a WAIT without a delay comes to."""

READ_MAX = 10
"""Askings that are read of each run, the last ones."""


@dataclass(frozen=True)
class Asked:
    """The last time that what is due was proposed under the policy in force, and from when on it is to be again, in
    microseconds since the Unix epoch.
    """

    record: Record
    again_at: int


@dataclass(frozen=True)
class Due:
    """What has fallen due about a run: why, in a few words, and what is proposed for it.

    `version` is that of the run as it was seen. `asked`: it was proposed for this version of the run, or brought it
    about, and is due none the less.
    """

    why: str
    request: v1.ProposeStateRequest
    version: int
    asked: Asked | None = None

    @property
    def run_id(self) -> str:
        """The run."""
        return self.request.flow_run_id or self.request.task_run_id


def with_askings(database: Database, dues: Sequence[Due], policy_id: str) -> list[Due]:
    """What is due, with what is on record of having proposed it, and with the request id of the next time."""
    if not dues:
        return []
    versions = {bytes_of(due.run_id): due.version for due in dues}
    values = *chain.from_iterable(versions.items()), TIMERS.actor, READ_MAX
    found: dict[bytes, list[Record]] = defaultdict(list)
    for record in map(record_of, database.rows(sql.select_asked(len(versions)), values)):
        found[bytes(record.stream)].append(record)
    return [_with(due, found.get(bytes_of(due.run_id), []), policy_id) for due in dues]


def _with(due: Due, records: list[Record], policy_id: str) -> Due:
    """`records` are the askings about its run, the last one first, whatever they proposed."""
    if not records:
        return due
    request = v1.ProposeStateRequest()
    request.CopyFrom(due.request)
    last = records[0].revision.to_bytes(8, "big")
    request.request_id = text_of(id_from(bytes_of(due.request.request_id), last))
    same = _comparable(due.request)
    answers = [(record, event_of(record).state_proposed) for record in records]
    answers = [
        (record, proposed)
        for record, proposed in answers
        if proposed.policy_id == policy_id and _comparable(proposed.command) == same
    ]
    if not answers:
        return replace(due, request=request)
    record, proposed = answers[0]
    return replace(due, request=request, asked=Asked(record, record.recorded_at + _pause_us(proposed, len(answers))))


def _pause_us(proposed: v1.StateProposed, times: int) -> int:
    """How long to leave it at the answer to something that was asked so many times."""
    if proposed.decision == v1.WAIT:
        return max(micros_of(proposed.delay), WAIT_MIN_US)
    return round(min(ASK_AGAIN_S * (1 << times - 1), ASK_AGAIN_MAX_S) * SECOND_US)


def _comparable(request: v1.ProposeStateRequest) -> v1.ProposeStateRequest:
    """What is proposed, whenever it is."""
    same = v1.ProposeStateRequest()
    same.CopyFrom(request)
    same.ClearField("request_id")
    same.ClearField("expected_version")
    return same
