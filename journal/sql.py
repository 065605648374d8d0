"""All SQL of the journal: tables, triggers, named statements, then the two databases that run them.

The statements are written with `?`; PostgreSQL gets them with `%s`. What is read and written for each proposal goes
straight to the driver; SQLAlchemy makes the tables, holds the connections and builds the reads that have filters.
"""

from __future__ import annotations

import sqlalchemy as sa

from playhead.journal.merkle import node_number

APPLICATION_ID = 0x504C4159
"""SQLite's application_id of a Playhead journal: "PLAY"."""

JOURNAL_FORMAT = 1
"""Version of the tables below. Only these are for ever; a database with a higher number is refused."""

# The advisory lock under which events are appended on PostgreSQL, and the channel that tells of it.
APPEND_LOCK = 0x706C6179686561
CHANNEL = "playhead_journal"

metadata = sa.MetaData()

Id = sa.LargeBinary(16)
Hash = sa.LargeBinary(32)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("format", sa.Integer, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("revision", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("stream", Id, nullable=False),
    sa.Column("stream_version", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("request_id", Id),
    sa.Column("request_seq", sa.Integer, nullable=False),
    sa.Column("payload", sa.LargeBinary),
    sa.Column("salt", Id),
    sa.Column("leaf", Hash, nullable=False),
    sa.UniqueConstraint("stream", "stream_version"),
    sa.Index(
        "events_by_request",
        "request_id",
        "request_seq",
        unique=True,
        sqlite_where=sa.text("request_id IS NOT NULL"),
    ),
)

tree_nodes = sa.Table(
    "tree_nodes",
    metadata,
    # See `node_number`: nodes are written at the end of the table.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("level", sa.SmallInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("hash", Hash, nullable=False),
)

APPEND_ONLY = ("events", "tree_nodes", "journal")

# INSERT OR REPLACE deletes rows without asking the triggers of DELETE.
_TAKEN = {
    "events": "EXISTS (SELECT 1 FROM events WHERE revision = NEW.revision) OR EXISTS (SELECT 1 FROM events "
    "WHERE stream = NEW.stream AND stream_version = NEW.stream_version) OR EXISTS (SELECT 1 FROM events "
    "WHERE request_id = NEW.request_id AND request_seq = NEW.request_seq)",
    "tree_nodes": "EXISTS (SELECT 1 FROM tree_nodes WHERE number = NEW.number)",
    "journal": "EXISTS (SELECT 1 FROM journal)",
}

SQLITE_TRIGGERS = [
    f"CREATE TRIGGER IF NOT EXISTS {table}_no_{name} BEFORE {when} "
    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    for table in APPEND_ONLY
    for name, when in (
        ("update", f"UPDATE ON {table}"),
        ("delete", f"DELETE ON {table}"),
        ("replace", f"INSERT ON {table} WHEN {_TAKEN[table]}"),
    )
]

POSTGRES_TRIGGERS = [
    """
    CREATE OR REPLACE FUNCTION playhead_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$
    """,
    *(
        f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION playhead_append_only()"
        for table in APPEND_ONLY
    ),
]

COLUMNS = "revision, stream, stream_version, kind, recorded_at, actor, request_id, request_seq, payload, salt, leaf"

INSERT_EVENT = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_NODE = "INSERT INTO tree_nodes (number, level, position, hash) VALUES (?, ?, ?, ?)"
SELECT_JOURNAL = "SELECT id, format FROM journal"
INSERT_JOURNAL = "INSERT INTO journal (id, format) VALUES (?, ?)"
SELECT_HEAD = "SELECT revision, recorded_at FROM events ORDER BY revision DESC LIMIT 1"
SELECT_LEAF = "SELECT leaf FROM events WHERE revision = ?"
SELECT_NODE = "SELECT hash FROM tree_nodes WHERE number = ?"
SELECT_RANGE = f"SELECT {COLUMNS} FROM events WHERE revision >= ? AND revision <= ? ORDER BY revision LIMIT ?"
SELECT_NODES = "SELECT hash FROM tree_nodes WHERE number >= ? AND number <= ? AND level = ? ORDER BY number"
# The last event of each of several streams.
SELECT_STREAM_HEADS = """
    SELECT stream, stream_version, leaf FROM events AS e
    WHERE stream IN ({ids}) AND NOT EXISTS
      (SELECT 1 FROM events AS later WHERE later.stream = e.stream AND later.stream_version = e.stream_version + 1)
"""
SELECT_REQUESTS = f"SELECT {COLUMNS} FROM events WHERE request_id IN ({{ids}}) ORDER BY revision"
# Request ids that clients made lately are the highest: their first bytes are the time (RFC 9562, UUIDv7).
SELECT_NEWEST_REQUEST = "SELECT request_id FROM events WHERE request_id IS NOT NULL ORDER BY request_id DESC LIMIT 1"
SELECT_CHANGED = "SELECT DISTINCT stream, kind FROM events WHERE revision > ? AND revision <= ?"
SELECT_RECORDED_AT = "SELECT recorded_at FROM events WHERE revision = ?"


def select_node(level: int, position: int) -> tuple[str, int]:
    """The statement that reads a node of the tree or, at level 0, a leaf, and the number that it asks for."""
    return (SELECT_NODE, node_number(level, position)) if level else (SELECT_LEAF, position + 1)


def select_events(
    *, first: int, last: int, stream: bytes | None, kinds: list[str], backwards: bool, limit: int
) -> sa.Select[tuple[object, ...]]:
    """Events of revisions first … last, both included, that are of `stream` (None: any) and one of `kinds` (empty:
    any).
    """
    query = sa.select(*events.columns).where(events.c.revision >= first, events.c.revision <= last)
    if stream is not None:
        query = query.where(events.c.stream == stream)
    if kinds:
        query = query.where(events.c.kind.in_(kinds))
    return query.order_by(events.c.revision.desc() if backwards else events.c.revision).limit(limit)
