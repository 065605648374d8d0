"""Log records of runs on their way to the service: batched, in order, never in the way of the code that logs.

    logger -> handler -> queue, bounded -> a thread of the client -> WriteLogs

A record waits for at most `INTERVAL_S`, or until there is a batch full of them. Where the service does not keep up, or
is away, records are dropped once the queue is full, and a record in their place says how many. What waits when the
process ends is sent then, for at most `CLOSE_S`.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from playhead import settings, v1
from playhead.client.interface import WRITE_LOGS, Client
from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.ids import new_id
from playhead.exceptions import BadRequest, NotOffered
from playhead.logging.loggers import FLOW_RUNS, TASK_RUNS

INTERVAL_S = 1.0
CLOSE_S = 3.0

# The service takes batches of 1,000 records, and requests of 4 MiB.
BATCH_RECORDS_MAX = 1_000
BATCH_BYTES_MAX = 1 << 20
QUEUE_RECORDS_MAX = 20_000
QUEUE_BYTES_MAX = 16 << 20

# What it takes of one record.
MESSAGE_BYTES_MAX = 65_536
EXTRA_BYTES_MAX = 16_384
NAME_BYTES_MAX = 1_000
LEVEL_MAX = 1_000

_NOT_SENT = "send_to_api"
_OF_RUNS = {"flow_run_id", "flow_run_name", "flow_name", "task_run_id", "task_run_name", "task_name", _NOT_SENT}
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", *_OF_RUNS}

logger = logging.getLogger("playhead.engine")


class RunLogHandler(logging.Handler):
    """Takes the records that belong to a run; those of others pass by. `find_client` is asked outside of contexts."""

    def __init__(self, find_client: Callable[[], Client | None]) -> None:
        super().__init__()
        self._find_client = find_client

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Called by logging."""
        try:
            _show_unheard(record)
            if not getattr(record, _NOT_SENT, True):
                return
            context = TaskRunContext.get() or FlowRunContext.get()
            client = (context.client if context else None) or self._find_client()
            shipper = shipper_of(client) if client else None
            message = record_of(record) if shipper else None
            if shipper and message:
                shipper.put(message)
        except Exception:  # what goes wrong while logging is told as logging tells it
            self.handleError(record)


class Shipper:
    """Sends the log records of one client's runs. Its thread starts with the first record."""

    def __init__(self, client: Client, interval_s: float = INTERVAL_S) -> None:
        self._client = client
        self._interval_s = interval_s
        self._writer_id = new_id()
        self._queue: deque[v1.LogRecord] = deque()
        self._bytes = 0
        self._dropped: dict[str, int] = {}
        # A batch stays as it is until it is answered: under its number, the service stores it once.
        self._batch = v1.WriteLogsRequest(writer_id=self._writer_id)
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failing = False
        self._closed = False

    def put(self, record: v1.LogRecord) -> None:
        """Queue a record, or count it as dropped. Waits for nothing."""
        size = _size_of(record)
        with self._changed:
            if len(self._queue) >= QUEUE_RECORDS_MAX or self._bytes + size > QUEUE_BYTES_MAX:
                self._dropped[record.flow_run_id] = self._dropped.get(record.flow_run_id, 0) + 1
                return
            self._queue.append(record)
            self._bytes += size
            if len(self._queue) == 1 or len(self._queue) == BATCH_RECORDS_MAX:
                self._changed.notify()
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="playhead-logs", daemon=True)
                self._thread.start()

    def flush(self, timeout_s: float = CLOSE_S) -> None:
        """Send what waits, with at most `timeout_s` seconds for each batch. What is not taken now is kept."""
        with self._sending:
            while self._filled() and self._send(timeout_s):
                pass

    def close(self) -> None:
        """Send what waits for the last time, and say how much could not be sent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        if self._thread is None or not self._thread.is_alive():
            self.flush()
        if left := len(self._batch.records) + len(self._queue) + sum(self._dropped.values()):
            logger.warning("%d log records of runs could not be stored.", left)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._queue or self._batch.records)
                self._changed.wait_for(self._is_due, self._interval_s)
                if self._closed:
                    return
            self.flush()

    def _is_due(self) -> bool:
        """Whether there is a full batch; while the service is away, that is no reason to try at once."""
        return self._closed or (len(self._queue) >= BATCH_RECORDS_MAX and not self._failing)

    def _filled(self) -> bool:
        """Whether there is a batch to send: the one that was not answered, or a new one."""
        if self._batch.records:
            return True
        with self._changed:
            for flow_run_id, count in self._dropped.items():
                self._queue.append(_notice(flow_run_id, count))
            self._dropped.clear()
            size = 0
            while self._queue and len(self._batch.records) < BATCH_RECORDS_MAX and size < BATCH_BYTES_MAX:
                record = self._queue.popleft()
                size += _size_of(record)
                self._batch.records.append(record)
            self._bytes = max(0, self._bytes - size)
        self._batch.batch += 1
        return bool(self._batch.records)

    def _send(self, timeout_s: float) -> bool:
        try:
            self._client.unary(WRITE_LOGS, self._batch, timeout_s=timeout_s)
        except (BadRequest, NotOffered) as error:
            logger.warning("%d log records of runs were not taken: %s", len(self._batch.records), error)
        except Exception as error:  # whatever it is, the runs go on and the records are kept for later
            if not self._failing:
                logger.warning("Log records of runs can not be stored, which is tried again: %s", error)
            self._failing = True
            return False
        self._failing = False
        del self._batch.records[:]
        return True


def shipper_of(client: Client) -> Shipper | None:
    """The shipper of a client; None where PLAYHEAD_LOGGING_TO_API_ENABLED says no."""
    try:
        return _shippers[client]
    except KeyError:
        pass
    with _lock:
        if client not in _shippers:
            _shippers[client] = Shipper(client) if settings.flag("PLAYHEAD_LOGGING_TO_API_ENABLED", True) else None
        return _shippers[client]


def ship_from_loggers(find_client: Callable[[], Client | None]) -> None:
    """Have the records of runs sent: those of run loggers, and of the loggers that PLAYHEAD_LOGGING_EXTRA_LOGGERS
    names, as far as they are made in runs.
    """
    settings.flag("PLAYHEAD_LOGGING_TO_API_ENABLED")  # one that can not be used is told of here, not by every record
    handler = RunLogHandler(find_client)
    # A logger comes after those above it, whose handlers have its records too.
    extra = map(logging.getLogger, sorted(settings.names("PLAYHEAD_LOGGING_EXTRA_LOGGERS")))
    for target in (FLOW_RUNS, TASK_RUNS, *extra):
        if not any(isinstance(each, RunLogHandler) for each in _handlers_of(target)):
            target.addHandler(handler)


def _show_unheard(record: logging.LogRecord) -> None:
    """Logging shows the warnings of a logger without handlers. That it has ours must not silence it."""
    last_resort = logging.lastResort
    if last_resort is None or record.levelno < last_resort.level:
        return
    if all(isinstance(each, RunLogHandler) for each in _handlers_of(logging.getLogger(record.name))):
        last_resort.handle(record)


def _handlers_of(source: logging.Logger | None) -> Iterator[logging.Handler]:
    """All that a logger's records come to."""
    while source is not None:
        yield from source.handlers
        source = source.parent if source.propagate else None


def stop_shipping(client: Client) -> None:
    """Send what waits for a client, which is about to be closed."""
    with _lock:
        shipper = _shippers.pop(client, None)
    if shipper is not None:
        shipper.close()


def record_of(record: logging.LogRecord) -> v1.LogRecord | None:
    """A record as the service stores it; None when it belongs to no run."""
    fields = record.__dict__
    flow_run_id, task_run_id = fields.get("flow_run_id"), fields.get("task_run_id")
    name = fields.get("task_run_name") or fields.get("flow_run_name")
    if not flow_run_id and not task_run_id:
        task, flow = TaskRunContext.get(), FlowRunContext.get()
        if task is not None:
            task_run_id, flow_run_id, name = task.task_run.run_id, task.task_run.parent_run_id, task.task_run.name
        elif flow is not None:
            flow_run_id, name = flow.flow_run.run_id, flow.flow_run.name
        else:
            return None
    text = record.getMessage()
    if record.exc_info:
        text = f"{text}\n{_formatter.formatException(record.exc_info)}"
    message = v1.LogRecord(
        level=min(max(record.levelno, 0), LEVEL_MAX),
        logger=_fitting(record.name, NAME_BYTES_MAX),
        message=_fitting(text, MESSAGE_BYTES_MAX),
        flow_run_id=str(flow_run_id or ""),
        task_run_id=str(task_run_id or ""),
        run_name=_fitting(str(name or ""), NAME_BYTES_MAX),
    )
    message.time.FromNanoseconds(int(record.created * 1e6) * 1_000)
    # What begins with "_" was added to all records by a library, such as Ray.
    if extra := {name: value for name, value in fields.items() if name not in _STANDARD and not name.startswith("_")}:
        message.extra = _json_of(extra)
    return message


def _json_of(extra: dict[str, Any]) -> bytes:
    data = json.dumps(extra, default=str).encode()
    if len(data) > EXTRA_BYTES_MAX:
        return json.dumps({"left_out": f"{len(data)} bytes in {len(extra)} fields"}).encode()
    return data


def _fitting(text: str, limit: int) -> str:
    """As much of a text as the service takes, in characters that every database can hold."""
    data = text.encode(errors="replace")
    if len(data) <= limit and "\x00" not in text and len(data) == len(text):
        return text
    text = data.decode().replace("\x00", "\\x00")
    data = text.encode()
    if len(data) <= limit:
        return text
    end = f"… ({len(data)} bytes)"
    return data[: limit - len(end.encode())].decode(errors="ignore") + end


def _notice(flow_run_id: str, count: int) -> v1.LogRecord:
    text = f"{count} log records were dropped here: they came faster than they could be stored."
    notice = v1.LogRecord(level=logging.WARNING, logger=logger.name, message=text, flow_run_id=flow_run_id)
    notice.time.GetCurrentTime()
    return notice


def _size_of(record: v1.LogRecord) -> int:
    return len(record.message) + len(record.extra)


_formatter = logging.Formatter()
_shippers: dict[Client, Shipper | None] = {}
_lock = threading.Lock()
