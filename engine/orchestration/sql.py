"""The SQL of leases, until when each holder has said it is alive, and of what falls due.

Grants and expiries are events; renewals are not, so the table of leases is the one thing beside the journal that is not
a fold of it. Were it lost, each lease would lapse its length after it was granted. What falls due is found in the views
of the runs as they are now.
"""

from __future__ import annotations

import sqlalchemy as sa

from playhead import v1
from playhead.engine.orchestration.rules.rule import TERMINAL
from playhead.journal.sql import COLUMNS
from playhead.projector.sql import OPEN

metadata = sa.MetaData()

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("run_id", sa.LargeBinary(16), primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Index("leases_by_expiry", "expires_at"),
)

SAVE_LEASE = """
    INSERT INTO leases (run_id, token, expires_at) VALUES (?, ?, ?)
    ON CONFLICT (run_id) DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at
"""
END_LEASE = "DELETE FROM leases WHERE run_id = ?"
SELECT_LEASE = "SELECT token, expires_at FROM leases WHERE run_id = ?"

# Each page begins after the last row of the one before.
# A run is a flow run or a task run: the other has no row.
SELECT_LAPSED = f"""
    SELECT l.expires_at, l.run_id, l.token, f.run_id IS NULL, coalesce(f.status, t.status) FROM leases AS l
    LEFT JOIN flow_run_versions AS f ON f.run_id = l.run_id AND f.valid_to = {OPEN}
    LEFT JOIN task_run_versions AS t ON t.run_id = l.run_id AND t.valid_to = {OPEN}
    WHERE l.expires_at <= ? AND (l.expires_at, l.run_id) > (?, ?) ORDER BY l.expires_at, l.run_id LIMIT ?
"""
# Due now, or, where something is due only some time after, that long ago: what is late, what nobody has ended.
SELECT_DUE_FLOW_RUNS = f"""
    SELECT due_at, valid_from, run_id, status FROM flow_run_versions
    WHERE due_at <= ? AND valid_to = {OPEN} AND (due_at, valid_from) > (?, ?)
    AND (state_type <> {v1.SCHEDULED} OR state_name <> 'Scheduled' OR due_at <= ?)
    AND (state_type <> {v1.CANCELLING} OR due_at <= ?)
    ORDER BY due_at, valid_from LIMIT ?
"""
SELECT_DUE_TASK_RUNS = f"""
    SELECT due_at, valid_from, run_id, status FROM task_run_versions
    WHERE due_at <= ? AND valid_to = {OPEN} AND (due_at, valid_from) > (?, ?) ORDER BY due_at, valid_from LIMIT ?
"""

STOPPED = f"({v1.CANCELLING}, {v1.CANCELLED}, {v1.CRASHED})"
UNFINISHED = ", ".join(str(value) for value in v1.StateType.values() if value not in TERMINAL)

# Flow runs that were stopped after a revision.
SELECT_STOPPED = f"""
    SELECT valid_from, run_id, state_type FROM flow_run_versions
    WHERE state_type IN {STOPPED} AND valid_to = {OPEN} AND valid_from > ? ORDER BY valid_from LIMIT ?
"""
# Flow runs that are stopped, whenever that was, and have task runs that are not finished; or subflow runs that are not,
# whatever has become of the task runs that track them.
SELECT_STOPPED_WITH_UNFINISHED = f"""
    SELECT DISTINCT p.valid_from, p.run_id, p.state_type FROM task_run_versions AS v
    JOIN task_runs AS t ON t.run_id = v.run_id
    JOIN flow_run_versions AS p ON p.run_id = t.flow_run_id AND p.valid_to = {OPEN}
    WHERE v.state_type IN ({UNFINISHED}) AND v.valid_to = {OPEN} AND p.state_type IN {STOPPED} AND p.valid_from > ?
    ORDER BY p.valid_from LIMIT ?
"""
SELECT_STOPPED_WITH_UNFINISHED_SUBFLOWS = f"""
    SELECT DISTINCT p.valid_from, p.run_id, p.state_type FROM flow_run_versions AS v
    JOIN flow_runs AS c ON c.run_id = v.run_id
    JOIN task_runs AS t ON t.run_id = c.parent_task_run_id
    JOIN flow_run_versions AS p ON p.run_id = t.flow_run_id AND p.valid_to = {OPEN}
    WHERE v.state_type IN ({UNFINISHED}) AND v.valid_to = {OPEN} AND p.state_type IN {STOPPED} AND p.valid_from > ?
    ORDER BY p.valid_from LIMIT ?
"""
# The unfinished subflow runs of a flow run, and its unfinished task runs but for those that track one of these: they
# are told what becomes of it.
SELECT_SUBFLOW_RUNS = f"""
    SELECT c.created_revision, c.run_id, v.status FROM task_runs AS t
    JOIN flow_runs AS c ON c.parent_task_run_id = t.run_id
    JOIN flow_run_versions AS v ON v.run_id = c.run_id AND v.valid_to = {OPEN}
    WHERE t.flow_run_id = ? AND c.created_revision > ? AND v.state_type IN ({UNFINISHED})
    ORDER BY c.created_revision LIMIT ?
"""
SELECT_TASK_RUNS = f"""
    SELECT t.created_revision, t.run_id, v.status FROM task_runs AS t
    JOIN task_run_versions AS v ON v.run_id = t.run_id AND v.valid_to = {OPEN}
    WHERE t.flow_run_id = ? AND t.created_revision > ? AND v.state_type IN ({UNFINISHED})
    AND NOT EXISTS (
        SELECT 1 FROM flow_runs AS c JOIN flow_run_versions AS cv ON cv.run_id = c.run_id AND cv.valid_to = {OPEN}
        WHERE c.parent_task_run_id = t.run_id AND cv.state_type IN ({UNFINISHED})
    )
    ORDER BY t.created_revision LIMIT ?
"""


def select_asked(runs: int) -> str:
    """The last proposals of an actor about so many runs, the last one first: values are each run's id and the version
    from which on, then the actor, then how many of each run.
    """
    return f"""
        SELECT {COLUMNS} FROM (
            SELECT e.*, row_number() OVER (PARTITION BY e.stream ORDER BY e.stream_version DESC) AS place
            FROM (VALUES {", ".join(["(?, ?)"] * runs)}) AS run CROSS JOIN events AS e
            WHERE e.stream = run.column1 AND e.stream_version >= run.column2
            AND e.actor = ? AND e.kind = 'state_proposed'
        ) AS asked WHERE place <= ? ORDER BY revision DESC
    """
