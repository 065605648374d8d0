"""Journals as the first release wrote them. The files under golden/ are kept for ever: they must stay readable.

They were made once by `python -m tests.journal.golden_journals`, which is here to say how.
"""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from pathlib import Path

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.journal import sql
from playhead.journal.record import Caller
from tests.clocks import ManualClock

GOLDEN = Path(__file__).parent / "golden"
WHOLE = GOLDEN / "first_release.sql"
ALTERED = GOLDEN / "altered_at_revision_8.sql"


def restore(dump: str, address: str) -> None:
    """Make a database of a dump."""
    connection = sqlite3.connect(address)
    connection.executescript(dump)
    connection.execute(f"PRAGMA application_id={sql.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={sql.JOURNAL_FORMAT}")
    connection.close()


def make() -> None:
    """Write the golden journals."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/journal.db"
        _live(address)
        connection = sqlite3.connect(address)
        for table in ("flows", "flow_runs", "flow_run_versions", "task_runs", "task_run_versions"):
            connection.execute(f"DROP TABLE {table}")
        for table in ("decisions", "cache_entries", "views", "leases"):
            connection.execute(f"DROP TABLE {table}")
        dump = "\n".join(connection.iterdump()) + "\n"
    WHOLE.write_text(dump)
    # One letter of a message, in the payload of one event alone.
    before, after = b"the disk was full".hex().upper(), b"the desk was full".hex().upper()
    ALTERED.write_text(dump.replace(before, after, 1))


def _live(address: str) -> None:
    """A short life of one flow run and one task run: accepted, refused, delayed, retried, cached, renamed."""
    clock = ManualClock()
    ids = (str(uuid.UUID(int=number)) for number in range(1, 1_000))
    ada, grace = Caller("ada", "playhead-python/0.1.0"), Caller("grace", "curl", "00-trace-span-01")
    with Orchestrator.open(address, clock=clock, timers=False) as orchestrator:
        service = orchestrator.orchestration
        flow, run = next(ids), next(ids)
        service.register_flow(v1.RegisterFlowRequest(request_id=next(ids), flow_id=flow, name="etl"), ada).result()
        spec = v1.FlowRunSpec(id=run, flow_id=flow, tags=["nightly"], parameters=b'{"year": 2015}')
        service.create_flow_run(v1.CreateFlowRunRequest(request_id=next(ids), spec=spec), ada).result()

        def propose(state: v1.State, caller: Caller = ada, **fields: object) -> None:
            clock.advance(1_500_000)
            request = v1.ProposeStateRequest(request_id=next(ids), state=state, **fields)  # type: ignore[arg-type] # named
            service.propose_state(request, caller).result()

        propose(v1.State(type=v1.PENDING), flow_run_id=run)
        propose(v1.State(type=v1.RUNNING), flow_run_id=run)
        task = v1.TaskRunSpec(
            flow_run_id=run, task_key="load", dynamic_key="0", retry=v1.RetryPolicy(retries=1, delays_s=[2])
        )
        propose(v1.State(type=v1.RUNNING), create_task_run=task)
        task_id = orchestrator.runs.list_task_runs(v1.ListTaskRunsRequest()).task_runs[0].spec.id
        propose(v1.State(type=v1.FAILED, message="the disk was full"), task_run_id=task_id)
        propose(v1.State(type=v1.RUNNING), task_run_id=task_id)
        clock.advance(5_000_000)
        propose(v1.State(type=v1.RUNNING), task_run_id=task_id)
        done = v1.State(type=v1.COMPLETED, details=v1.StateDetails(cache_key="etl/2015"))
        propose(done, task_run_id=task_id)
        propose(v1.State(type=v1.COMPLETED), grace, flow_run_id=run)
        propose(v1.State(type=v1.PENDING), grace, flow_run_id=run)
        update = v1.UpdateRunRequest(request_id=next(ids), flow_run_id=run, name="weather", tags=v1.TagList(tags=["x"]))
        service.update_run(update, grace).result()


if __name__ == "__main__":
    make()
