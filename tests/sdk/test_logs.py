"""What runs log is stored by the service: all of it, in order, and never at the cost of the flow."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, get_run_logger, task, v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import FOLLOW_LOGS, LIST_FLOW_RUNS, READ_LOGS, Client
from playhead.client.remote import RemoteClient
from playhead.engine.execution import log_shipping
from playhead.engine.execution.connection import close_clients, get_client
from playhead.engine.execution.log_shipping import Shipper, record_of
from playhead.exceptions import DeadlinePassed
from playhead.logging import disable_run_logger, get_logger
from tests.sdk.conftest import Service


def logs_of(flow_run_id: str, client: Client | None = None) -> list[v1.LogRecord]:
    """What is stored of a flow run's records, once all that waited was sent."""
    if client is None:
        close_clients()
    request = v1.ReadLogsRequest(filter=v1.LogFilter(flow_run_id=flow_run_id), page_size=1_000)
    records: list[v1.LogRecord] = []
    while True:
        page = (client or get_client()).unary(READ_LOGS, request)
        records += page.records
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return records


def test_records_of_flows_and_tasks_are_stored_in_order_with_their_runs(service: Service) -> None:
    @task(task_run_name="clean-{day}")
    def clean(day: int) -> None:
        get_run_logger().debug("not at this level")
        get_run_logger().warning("day %d", day, extra={"rows": day * 10, "path": Path("/data")})

    @flow(flow_run_name="red-orca")
    def logging_flow() -> None:
        get_run_logger().info("begin")
        clean(1)
        clean(2)
        try:
            raise ValueError("bad day")
        except ValueError:
            get_run_logger().exception("no more")

    logging_flow()
    run = service.flow_runs("logging-flow")[-1]
    records = logs_of(run.spec.id)
    assert [(record.run_name, record.level, record.message.splitlines()[0]) for record in records] == [
        ("red-orca", logging.INFO, "Beginning flow run 'red-orca' for flow 'logging-flow'"),
        ("red-orca", logging.INFO, "begin"),
        ("clean-1", logging.WARNING, "day 1"),
        ("clean-1", logging.INFO, "Finished in state Completed()"),
        ("clean-2", logging.WARNING, "day 2"),
        ("clean-2", logging.INFO, "Finished in state Completed()"),
        ("red-orca", logging.ERROR, "no more"),
        ("red-orca", logging.INFO, "Finished in state Completed('All states completed.')"),
    ]
    assert json.loads(records[2].extra) == {"rows": 10, "path": "/data"}
    assert records[2].task_run_id == service.task_runs(run.spec.id)[0].spec.id
    assert records[6].message.endswith("ValueError: bad day")
    assert [record.time.ToNanoseconds() for record in records] == sorted(r.time.ToNanoseconds() for r in records)


def test_records_of_submitted_tasks_and_subflows_are_with_their_own_runs(service: Service) -> None:
    @task
    def counted(number: int) -> None:
        get_run_logger().info("number %d", number)

    @flow
    def inner_logging() -> None:
        get_run_logger().info("inside")

    @flow
    def outer_logging() -> None:
        counted.map(range(30))
        inner_logging()

    outer_logging()
    outer, inner = (service.flow_runs(name)[-1].spec.id for name in ("outer-logging", "inner-logging"))
    messages = [record.message for record in logs_of(outer)]
    assert sorted(m for m in messages if m.startswith("number")) == sorted(f"number {n}" for n in range(30))
    assert "inside" not in messages
    assert "inside" in [record.message for record in logs_of(inner)]


def test_what_is_not_to_be_stored_is_not(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    @flow
    def secretive() -> None:
        get_run_logger().info("for the console", extra={"send_to_api": False})
        with disable_run_logger():
            get_run_logger().info("for nobody")
        get_logger("mine").info("not of the run")
        get_run_logger().info("for all")

    secretive()
    run_id = service.flow_runs("secretive")[-1].spec.id
    messages = [record.message for record in logs_of(run_id)]
    assert messages[1:-1] == ["for all"]
    close_clients()
    monkeypatch.setenv("PLAYHEAD_LOGGING_TO_API_ENABLED", "false")
    secretive()
    assert logs_of(service.flow_runs("secretive")[-1].spec.id) == []


def test_following_for_a_time_ends_when_it_is_over(service: Service) -> None:
    request = v1.FollowLogsRequest(after_position=1 << 40)
    with pytest.raises(DeadlinePassed):
        next(service.client.stream(FOLLOW_LOGS, request, timeout_s=0.05))


def test_what_a_library_adds_to_all_records_is_not_stored(service: Service) -> None:
    def stamped(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(*args, **kwargs)
        vars(record)["_stamp"] = 7
        return record

    @flow
    def stamping() -> None:
        get_run_logger().info("stamped", extra={"batch": 1})

    made = logging.getLogRecordFactory()
    logging.setLogRecordFactory(stamped)
    try:
        stamping()
    finally:
        logging.setLogRecordFactory(made)
    (record,) = [each for each in logs_of(service.flow_runs("stamping")[-1].spec.id) if each.message == "stamped"]
    assert json.loads(record.extra) == {"batch": 1}


def test_loggers_of_libraries_are_stored_where_that_is_asked_for(
    embedded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_LOGGING_EXTRA_LOGGERS", "acme.db, acme.web")
    library = logging.getLogger("acme.db")

    @task
    def with_library() -> None:
        library.warning("slow query")

    @flow
    def using_a_library() -> None:
        with_library()

    library.warning("before any run")
    using_a_library()
    run = embedded.flow_runs("using-a-library")[-1]
    found = [record for record in logs_of(run.spec.id) if record.logger == "acme.db"]
    assert [(record.message, record.run_name) for record in found] == [("slow query", "with_library-0")]
    assert found[0].task_run_id == embedded.task_runs(run.spec.id)[0].spec.id


def test_a_warning_of_a_library_shows_as_before_when_it_is_stored_too(tmp_path: Path) -> None:
    script = tmp_path / "warns.py"
    script.write_text(
        "import logging, sys\n"
        "from playhead import flow, task\n"
        "@task\ndef using():\n  logging.getLogger('acme.db').warning('slow query')\n"
        "@flow\ndef warns():\n  using()\n"
        "if sys.argv[1:]: logging.basicConfig()\n"
        "warns()\n"
    )
    environment = {
        **os.environ,
        "PLAYHEAD_DATABASE": str(tmp_path / "warns.db"),
        "PLAYHEAD_LOGGING_EXTRA_LOGGERS": "acme, acme.db",
    }
    for arguments, shown in (([], 1), (["configured"], 1)):
        command = [sys.executable, script, *arguments]
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr
        assert said.count("slow query") == shown


def record(text: object, **extra: str) -> v1.LogRecord:
    """A record of a run."""
    fields = {"flow_run_id": "00000000-0000-7000-8000-000000000001", "flow_run_name": "busy", **extra}
    made = record_of(logging.makeLogRecord({"msg": str(text), "levelno": logging.INFO, "name": "test", **fields}))
    assert made is not None
    return made


def test_a_record_is_cut_to_what_the_service_takes(tmp_path: Path) -> None:
    client = EmbeddedClient(str(tmp_path / "journal.db"))
    shipper = Shipper(client)
    shipper.put(record("ü" * 40_000))
    shipper.put(record("zero \x00 and half \ud800 characters", much="x" * 20_000))
    shipper.close()
    long, odd = logs_of(record("").flow_run_id, client)
    client.close()
    assert long.message.endswith("ü… (80000 bytes)")
    assert 65_000 < len(long.message.encode()) <= 65_536
    assert odd.message == "zero \\x00 and half ? characters"
    assert json.loads(odd.extra) == {"left_out": "20012 bytes in 1 fields"}


def test_a_service_that_is_busy_holds_nobody_up_and_what_is_dropped_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_shipping, "QUEUE_RECORDS_MAX", 2_500)
    database = tmp_path / "journal.db"
    client = EmbeddedClient(str(database))
    blocker = sqlite3.connect(database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    shipper = Shipper(client, interval_s=3_600)
    for number in range(6_000):
        shipper.put(record(number))
    blocker.execute("COMMIT")
    shipper.close()
    stored = [each.message for each in logs_of(record(0).flow_run_id, client)]
    *kept, notice = stored
    assert kept == [str(number) for number in range(len(kept))]
    # One batch may have been taken off the queue while it was blocked.
    assert len(kept) in (2_500, 3_500)
    assert notice == f"{6_000 - len(kept)} log records were dropped here: they came faster than they could be stored."
    blocker.close()
    client.close()


def test_a_batch_whose_answer_was_lost_is_stored_once(tmp_path: Path) -> None:
    client = EmbeddedClient(str(tmp_path / "journal.db"))
    shipper = Shipper(client, interval_s=3_600)
    shipper.put(record(1))
    with sqlite3.connect(tmp_path / "journal.db") as other:
        shipper.flush()
        shipper._batch.records.append(record(1))  # as if no answer had come
        shipper._batch.batch = 1
        shipper.put(record(2))
        shipper.close()
        assert other.execute("SELECT message FROM log_records ORDER BY position").fetchall() == [("1",), ("2",)]
    client.close()


def test_records_wait_while_the_service_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_shipping, "CLOSE_S", 0.2)
    away = RemoteClient(f"unix:{tmp_path}/nobody")
    shipper = Shipper(away, interval_s=3_600)
    for number in range(3):
        shipper.put(record(number))
    shipper.flush(0.1)
    shipper.flush(0.1)
    shipper.close()
    away.close()
    told = [each.message for each in caplog.records]
    assert sum("which is tried again" in message for message in told) == 1
    assert told[-1] == "3 log records of runs could not be stored."


def test_what_was_logged_last_is_stored_when_the_process_ends(tmp_path: Path) -> None:
    program = """
from playhead import flow, get_run_logger
@flow
def ending():
    for number in range(2_500):
        get_run_logger().info("%d", number)
ending()
raise SystemExit(3)
"""
    script = tmp_path / "script.py"
    script.write_text(program)
    database = tmp_path / "journal.db"
    process = subprocess.run([sys.executable, script], env={**os.environ, "PLAYHEAD_DATABASE": str(database)})
    assert process.returncode == 3
    client = EmbeddedClient(str(database))
    (run,) = client.unary(LIST_FLOW_RUNS, v1.ListFlowRunsRequest()).flow_runs
    messages = [each.message for each in logs_of(run.spec.id, client)]
    client.close()
    assert messages[1:-1] == [str(number) for number in range(2_500)]
