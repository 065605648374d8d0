"""All SQL of log records: two tables, and the statements on them, written with `?`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

# The advisory lock under which positions are given on PostgreSQL, so that they become visible in their order.
WRITE_LOCK = 0x6C6F6773

metadata = sa.MetaData()

Id = sa.LargeBinary(16)

records = sa.Table(
    "log_records",
    metadata,
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("logger", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("flow_run_id", Id),
    sa.Column("task_run_id", Id),
    sa.Column("run_name", sa.Text, nullable=False),
    sa.Column("extra", sa.LargeBinary),
    *(
        sa.Index(
            f"log_records_by_{run}",
            f"{run}_id",
            "position",
            sqlite_where=sa.text(f"{run}_id IS NOT NULL"),
        )
        for run in ("flow_run", "task_run")
    ),
)

# How far each writer has come: what it sends again is not stored again.
writers = sa.Table(
    "log_writers",
    metadata,
    sa.Column("writer", Id, primary_key=True),
    sa.Column("batch", sa.BigInteger, nullable=False),
)

SELECT_LAST = "SELECT max(position) FROM log_records"
SELECT_BATCH = "SELECT batch FROM log_writers WHERE writer = ?"
SAVE_BATCH = """
    INSERT INTO log_writers (writer, batch) VALUES (?, ?)
    ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch
"""
INSERT_RECORD = """
    INSERT INTO log_records (position, time, level, logger, message, flow_run_id, task_run_id, run_name, extra)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def select_records(
    clauses: list[sa.ColumnElement[bool]], *, after: int, last: int, newest_first: bool, limit: int
) -> sa.Select[Any]:
    """Records of positions after + 1 … last that meet all clauses."""
    position = records.c.position
    query = sa.select(records).where(position > after, position <= last, *clauses)
    return query.order_by(position.desc() if newest_first else position).limit(limit)
