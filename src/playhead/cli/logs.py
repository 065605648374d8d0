"""Log records of runs, printed: those there are, and new ones as they come."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from queue import Empty, SimpleQueue

import typer
from rich.text import Text

from playhead import v1
from playhead.cli.documents import document_of
from playhead.cli.following import unbroken
from playhead.cli.formats import clock
from playhead.cli.output import json_text, print_line
from playhead.cli.session import Session
from playhead.client.interface import FOLLOW_LOGS, READ_LOGS, WATCH_RUN
from playhead.exceptions import PlayheadError
from playhead.replay.diff import Kind

PAGE_SIZE = 1_000

SILENCE_S = 3.0
"""How long after the end of a run its last records may take to arrive: they are sent every second."""

STYLES = ((logging.ERROR, "red"), (logging.WARNING, "yellow"), (logging.INFO, ""), (0, "dim"))


def show_logs(session: Session, kind: Kind, run: str, level: str, lines: int, follow: bool) -> None:
    """Print the records of a run; `lines` 0: all of them. With `follow`, go on until the run has ended."""
    run_id = session.find_run(kind, run)
    filter = v1.LogFilter(level_min=level_of(level))
    setattr(filter, f"{kind}_id", run_id)
    records, position = _last(session, filter, lines) if lines else _all(session, filter)
    if not _print(session, records) and not follow:
        print("Nothing is on record that it logged at this level.", file=sys.stderr)
    if follow:
        session.keeps_open()
        watch = v1.WatchRunRequest(until_terminal=True)
        setattr(watch, f"{kind}_id", run_id)
        try:
            _print(session, _further(session, v1.FollowLogsRequest(filter=filter, after_position=position), watch))
        except KeyboardInterrupt:
            return  # how a person ends it


def level_of(text: str) -> int:
    """The number of a level, of any letter case; 0 of none. Raises BadParameter for what is none."""
    known = logging.getLevelNamesMapping()
    number = int(text) if text.isdecimal() else known.get(text.upper() or "NOTSET")
    if number is None:
        raise typer.BadParameter(f"{text!r} is not one of: {', '.join(known).lower()}.", param_hint="--level")
    return number


def _all(session: Session, filter: v1.LogFilter) -> tuple[Iterator[v1.LogRecord], int]:
    """All records there are, and the position up to which that is."""
    request = v1.ReadLogsRequest(filter=filter, page_size=PAGE_SIZE)
    first = session.call(READ_LOGS, request)

    def pages() -> Iterator[v1.LogRecord]:
        page = first
        yield from page.records
        while page.next_page_token:
            request.page_token = page.next_page_token
            page = session.call(READ_LOGS, request)
            yield from page.records

    return pages(), first.position


def _last(session: Session, filter: v1.LogFilter, lines: int) -> tuple[Iterable[v1.LogRecord], int]:
    request = v1.ReadLogsRequest(filter=filter, page_size=min(lines, PAGE_SIZE), order=v1.NEWEST_FIRST)
    page = session.call(READ_LOGS, request)
    position, found = page.position, list(page.records)
    while page.next_page_token and len(found) < lines:
        request.page_token = page.next_page_token
        page = session.call(READ_LOGS, request)
        found += page.records
    return reversed(list(islice(found, lines))), position


def _further(session: Session, request: v1.FollowLogsRequest, watch: v1.WatchRunRequest) -> Iterator[v1.LogRecord]:
    """Records as they come, until the run has ended and nothing has come for a while."""
    come: SimpleQueue[list[v1.LogRecord] | PlayheadError] = SimpleQueue()
    ended, away = threading.Event(), threading.Event()

    def follow() -> None:
        for response in unbroken(session, FOLLOW_LOGS, request, away):
            come.put(list(response.records))
            request.after_position = response.position

    def wait_for_the_end() -> None:
        for _ in unbroken(session, WATCH_RUN, watch, threading.Event()):
            pass
        ended.set()
        come.put([])

    def telling_of_errors(work: Callable[[], None]) -> None:
        try:
            work()
        except PlayheadError as error:
            come.put(error)

    for task in (follow, wait_for_the_end):
        threading.Thread(target=telling_of_errors, args=(task,), daemon=True).start()
    while True:
        try:
            records = come.get(timeout=SILENCE_S if ended.is_set() else None)
        except Empty:
            if away.is_set():
                continue
            return
        if isinstance(records, PlayheadError):
            raise records
        yield from records


def _print(session: Session, records: Iterable[v1.LogRecord]) -> int:
    """Print records as they come; how many there were."""
    printed = 0
    for record in records:
        printed += 1
        if session.as_json:
            print(json_text(document_of(record)), flush=True)
        else:
            print_line(_line(record))
    return printed


def _line(record: v1.LogRecord) -> Text:
    style = next(style for level, style in STYLES if record.level >= level)
    kind = "Task run" if record.task_run_id else "Flow run"
    line = Text(f"{clock(record.time)} | ")
    line.append(f"{logging.getLevelName(record.level):<7}", style=style)
    return line.append(f" | {kind} {record.run_name!r} - {record.message}")
