"""Events of the journal, printed: the head, the last ones, new ones as they come."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator

from rich.text import Text

from playhead import v1
from playhead.cli.documents import document_of
from playhead.cli.following import unbroken
from playhead.cli.formats import DECISION_STYLES, clock, type_name
from playhead.cli.output import json_text, one_line, print_fields, print_json, print_line
from playhead.cli.session import Session
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import GET_HEAD, READ_EVENTS, WATCH_EVENTS


def show_head(session: Session) -> None:
    """Print the head, now or as of a moment."""
    response = session.call(GET_HEAD, v1.GetHeadRequest())
    if session.read_at.WhichOneof("at") is not None:
        response = _head_at(session, response.meta.journal_id, session.revision())
    if session.as_json:
        print_json(document_of(response))
        return
    print_fields(
        [
            ("journal", response.meta.journal_id),
            ("revision", str(response.meta.revision)),
            ("recorded at", clock(response.recorded_at)),
            ("root", response.root_hash.hex()),
        ]
    )


def show_tail(session: Session, lines: int, follow: bool, kinds: list[str], stream: str) -> None:
    """Print the last events, and with `follow` each further one until the process is interrupted."""
    filter = v1.EventFilter(kinds=kinds, stream=stream)
    revision = session.revision()
    last = list(_last(session, filter, revision, lines))
    _print(session, reversed(last))
    if not last and lines and (kinds or stream):
        print(f"No such event up to revision {revision}.", file=sys.stderr)
    if follow:
        session.keeps_open()
        try:
            _print(session, _further(session, filter, revision))
        except KeyboardInterrupt:
            return  # how a person ends it


def _head_at(session: Session, journal_id: str, revision: int) -> v1.GetHeadResponse:
    head = v1.GetHeadResponse(meta=v1.ResponseMeta(journal_id=journal_id, revision=revision))
    for event in _last(session, v1.EventFilter(), revision, 1):
        head.recorded_at.CopyFrom(event.recorded_at)
    if isinstance(session.client, EmbeddedClient):
        head.root_hash = session.client.orchestrator.journal.root(revision)
    return head


def _last(session: Session, filter: v1.EventFilter, revision: int, limit: int) -> Iterator[v1.JournalEvent]:
    """The last events up to a revision, last first."""
    if not (revision and limit):
        return
    request = v1.ReadEventsRequest(filter=filter, to_revision=revision, backwards=True, limit=limit)
    for response in session.client.stream(READ_EVENTS, request):
        yield from response.events


def _further(session: Session, filter: v1.EventFilter, revision: int) -> Iterator[v1.JournalEvent]:
    """Events after a revision, each as it is recorded."""
    request = v1.WatchEventsRequest(filter=filter, after_revision=revision)
    for response in unbroken(session, WATCH_EVENTS, request, threading.Event()):
        yield from response.page.events
        request.after_revision = response.meta.revision


def _print(session: Session, events: Iterable[v1.JournalEvent]) -> None:
    for event in events:
        if session.as_json:
            print(json_text(document_of(event)), flush=True)
        else:
            print_line(event_line(event))


def event_line(event: v1.JournalEvent) -> Text:
    """An event as one line."""
    line = Text(f"{event.revision:>8}  {clock(event.recorded_at)}  {event.kind:<21}  {event.stream}  ")
    line.append_text(summary(event.event))
    return line.append(f"  by {event.actor}", style="dim")


def summary(event: v1.Event) -> Text:
    """What an event says, in a few words."""
    what = event.WhichOneof("what")
    if what == "state_proposed":
        return _proposed(event.state_proposed)
    if what in ("flow_run_created", "task_run_created"):
        return Text(getattr(event, what).status.name)
    if what == "flow_registered":
        return Text(event.flow_registered.name)
    if what == "run_updated":
        return Text(f"{event.run_updated.status.name} {' '.join(event.run_updated.status.tags)}".strip())
    if what == "concurrency_limit_set":
        limit = event.concurrency_limit_set
        slots = f"{limit.limit.slots} slots" if limit.HasField("limit") else "removed"
        return Text(f"{limit.command.limit} {slots}")
    if what in ("slots_granted", "slots_refused"):
        return Text(", ".join(f"{limit.needed} of {limit.limit}" for limit in getattr(event, what).facts.limits))
    if what in ("input_sent", "input_deleted"):
        command = getattr(event, what).command
        return Text(f"{command.key} for {command.flow_run_id}")
    return Text(event.journal_created.created_with)


def _proposed(proposed: v1.StateProposed) -> Text:
    state = proposed.command.state
    line = Text(f"{state.name or type_name(state.type)} ")
    line.append(v1.Decision.Name(proposed.decision), style=DECISION_STYLES.get(proposed.decision, ""))
    if proposed.rule:
        line.append(f" by {proposed.rule}")
    if proposed.reason:
        line.append(f": {one_line(proposed.reason)}")
    return line
