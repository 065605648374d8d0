"""The `Logs` service of the contract, without the wire: messages in, messages out. Blocking; any thread."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from playhead import v1
from playhead.exceptions import BadPageToken, BadRequest
from playhead.journal import checks
from playhead.journal.encoding import text_of, timestamp
from playhead.journal.hub import Beyond, Hub, blocking
from playhead.journal.journal import Journal
from playhead.logs import sql
from playhead.projector.filters import time_clauses
from playhead.projector.moments import Moments
from playhead.projector.paging import fitting, page_of

RECORDS_MAX = 1_000
"""Records in one batch, and in one message of a stream."""

MESSAGE_BYTES_MAX = 65_536
EXTRA_BYTES_MAX = 16_384
NAME_BYTES_MAX = 1_000
LEVEL_MAX = 1_000
BATCH_MAX = 2**63 - 1

logger = logging.getLogger("playhead.logs")


class LogsService:
    """Log records: stored in batches, read in pages, followed. Close it before its journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._database = journal.database
        self._moments = Moments(journal)
        self._database.create_tables(sql.metadata)
        self._writing = threading.Lock()
        self._connection: Any = None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self.hub = Hub(0, self._watch)

    def write_logs(self, request: v1.WriteLogsRequest) -> v1.WriteLogsResponse:
        """Store a batch, unless it is stored. Other writers wait meanwhile."""
        writer, rows = checks.id_bytes(request.writer_id, "writer_id"), _rows_of(request)
        with self._writing:
            try:
                position = self._write(writer, request.batch, rows)
            except Exception as error:
                self._disconnect()
                raise self._database.translated(error) from error
        self.hub.publish(position)
        return v1.WriteLogsResponse(meta=self._meta(), position=position)

    def read_logs(self, request: v1.ReadLogsRequest) -> v1.ReadLogsResponse:
        """A page of records."""
        if request.order:
            checks.known_enum(request.order, v1.Order.values(), "order")
        clauses = _clauses(request.filter)
        position = self._last()
        page = page_of(request, None) or page_of(request, position)
        assert page is not None
        if page.revision > position:
            raise BadPageToken("of a position that has not been reached", field="page_token")
        newest_first = request.order == v1.NEWEST_FIRST
        after = 0 if page.key is None or newest_first else page.key
        last = page.key - 1 if page.key is not None and newest_first else page.revision
        rows = self._select(clauses, after, last, page.size + 1, newest_first)
        kept = fitting(rows[: page.size], _size_of)
        return v1.ReadLogsResponse(
            meta=self._meta(),
            records=[_record_of(row) for row in kept],
            next_page_token=page.next_token(kept[-1].position) if len(kept) < len(rows) else "",
            position=page.revision,
        )

    def follow_logs(
        self, request: v1.FollowLogsRequest, timeout_s: float | None = None
    ) -> Iterator[v1.FollowLogsResponse]:
        """As `following`, blocking the caller's thread while there is nothing new. Raises DeadlinePassed after
        `timeout_s`.
        """
        return blocking(self.following(request), self.hub, timeout_s)

    def following(self, request: v1.FollowLogsRequest) -> Iterator[v1.FollowLogsResponse | Beyond]:
        """Records after a position; `Beyond` where it would block."""
        clauses = _clauses(request.filter)
        if request.after_position > BATCH_MAX:
            raise BadRequest("no position is so high", field="after_position")
        return self._following(clauses, request.after_position)

    def _following(self, clauses: list[Any], position: int) -> Iterator[v1.FollowLogsResponse | Beyond]:
        while True:
            last = self._last()
            rows = self._select(clauses, position, last, RECORDS_MAX) if last > position else []
            kept = fitting(rows, _size_of)
            position = kept[-1].position if len(kept) < len(rows) or len(rows) == RECORDS_MAX else max(position, last)
            if kept:
                records = [_record_of(row) for row in kept]
                yield v1.FollowLogsResponse(meta=self._meta(), records=records, position=position)
            elif position >= last:
                yield Beyond(position)

    def close(self) -> None:
        """End the streams and give the connection back. Safe to call twice."""
        self._stop.set()
        self.hub.close()
        if self._watcher is not None:
            self._watcher.join()
        with self._writing:
            self._disconnect()

    def _write(self, writer: bytes, batch: int, rows: list[tuple[Any, ...]]) -> int:
        """Store the rows in one transaction; the last position then."""
        statement = self._database.statement
        if self._connection is None:
            self._connection = self._database.connect_writer()
            self._database.relax(self._connection)
        cursor = self._connection.cursor()
        try:
            self._database.begin_locked(cursor, sql.WRITE_LOCK)
            last: int = cursor.execute(sql.SELECT_LAST).fetchone()[0] or 0
            stored = cursor.execute(statement(sql.SELECT_BATCH), (writer,)).fetchone()
            if rows and (stored is None or stored[0] < batch):
                numbered = [(last + index, *row) for index, row in enumerate(rows, 1)]
                cursor.executemany(statement(sql.INSERT_RECORD), numbered)
                cursor.execute(statement(sql.SAVE_BATCH), (writer, batch))
                self._database.notify(cursor)
                last += len(rows)
            cursor.execute("COMMIT")
            return last
        finally:
            cursor.close()

    def _disconnect(self) -> None:
        """Close the connection, and with it what is under way; the next batch opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _select(
        self, clauses: list[Any], after: int, last: int, limit: int, newest_first: bool = False
    ) -> list[sa.Row[Any]]:
        query = sql.select_records(clauses, after=after, last=last, newest_first=newest_first, limit=limit)
        with self._database.reading() as connection:
            return list(connection.execute(query))

    def _last(self) -> int:
        return self._database.rows(sql.SELECT_LAST)[0][0] or 0

    def _meta(self) -> v1.ResponseMeta:
        return self._moments.meta(self._journal.head()[0])

    def _watch(self) -> None:
        self._watcher = threading.Thread(target=self._tell, name="playhead-logs-watcher", daemon=True)
        self._watcher.start()

    def _tell(self) -> None:
        """Tell those who follow of what other processes write."""
        while not self._stop.is_set():
            try:
                for _ in self._database.watch(self._stop):
                    self.hub.publish(self._last())
            except Exception as error:
                # The database went away: those who follow wait on, and are told when it is back.
                logger.warning("Watching the database failed, trying again: %s", self._database.translated(error))
                self._stop.wait(1.0)


def _rows_of(request: v1.WriteLogsRequest) -> list[tuple[Any, ...]]:
    """The columns of the records but their positions, all checked."""
    if not 1 <= request.batch <= BATCH_MAX:
        raise BadRequest("1, 2, … are batches", field="batch")
    checks.bounded_list(request.records, "records", RECORDS_MAX)
    return [_row_of(record, f"records[{index}]") for index, record in enumerate(request.records)]


def _row_of(record: v1.LogRecord, field: str) -> tuple[Any, ...]:
    if not 0 <= record.level <= LEVEL_MAX:
        raise BadRequest(f"from 0 to {LEVEL_MAX}", field=f"{field}.level")
    for name, limit in (("logger", NAME_BYTES_MAX), ("run_name", NAME_BYTES_MAX), ("message", MESSAGE_BYTES_MAX)):
        text = getattr(record, name)
        checks.bounded_text(text, f"{field}.{name}", limit)
        checks.without_zeros(text, f"{field}.{name}")
    checks.bounded_bytes(record.extra, f"{field}.extra", EXTRA_BYTES_MAX)
    if record.extra and not _is_object(record.extra):
        raise BadRequest("must be a JSON object, or empty", field=f"{field}.extra")
    return (
        checks.micros(record.time, f"{field}.time"),
        record.level,
        record.logger,
        record.message,
        checks.optional_id(record.flow_run_id, f"{field}.flow_run_id"),
        checks.optional_id(record.task_run_id, f"{field}.task_run_id"),
        record.run_name,
        record.extra or None,
    )


def _record_of(row: Any) -> v1.LogRecord:
    return v1.LogRecord(
        position=row.position,
        time=timestamp(row.time),
        level=row.level,
        logger=row.logger,
        message=row.message,
        flow_run_id=text_of(row.flow_run_id) if row.flow_run_id else "",
        task_run_id=text_of(row.task_run_id) if row.task_run_id else "",
        run_name=row.run_name,
        extra=row.extra or b"",
    )


def _size_of(row: Any) -> int:
    return len(row.message) + len(row.extra or b"")


def _clauses(filter: v1.LogFilter) -> list[Any]:
    columns = sql.records.c
    clauses: list[Any] = []
    if filter.flow_run_id:
        clauses.append(columns.flow_run_id == checks.id_bytes(filter.flow_run_id, "filter.flow_run_id"))
    if filter.task_run_id:
        clauses.append(columns.task_run_id == checks.id_bytes(filter.task_run_id, "filter.task_run_id"))
    if filter.level_min:
        clauses.append(columns.level >= filter.level_min)
    return [*clauses, *time_clauses(columns.time, filter.time, "filter.time")]


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
