"""Catch up, then follow: events after a revision, none skipped, none twice.

The position is a revision of the journal itself, and revisions are gapless in commit order, so there is nothing a
reader could miss between catching up and following.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from playhead.journal.hub import Beyond
from playhead.journal.journal import PAGE_EVENTS_MAX, Journal
from playhead.journal.record import Record

CHECKPOINT_EVERY = 1_000
"""Revisions without a match after which a follower is told how far it has come."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Nothing that matches up to `revision`; `caught_up` the first time that was the head."""

    revision: int
    caught_up: bool


def follow(
    journal: Journal, after: int, *, stream: bytes | None = None, kinds: list[str] | None = None
) -> Iterator[list[Record] | Progress | Beyond]:
    """Pages of events after a revision, then `Beyond` whenever there are none: see `hub.blocking` and
    `changes.Changes`.
    """
    position = told = after
    caught_up = False
    while True:
        head = journal.head()[0]
        if position >= head:
            if not caught_up:
                caught_up = True
                told = position
                yield Progress(position, caught_up=True)
            yield Beyond(position, stream, kinds or ())
            continue
        records = journal.read(position + 1, head, stream=stream, kinds=kinds)
        position = records[-1].revision if len(records) == PAGE_EVENTS_MAX else head
        if records:
            told = records[-1].revision
            yield records
        if position - told >= CHECKPOINT_EVERY:
            told = position
            yield Progress(position, caught_up=False)
