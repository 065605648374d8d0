"""Why revisions are numbered under the append lock: with a sequence, the order of numbers is not the order of commits.

The trap is set twice: a BEFORE INSERT trigger holds one transaction back between taking its number and its commit. A
reader that follows a BIGSERIAL column passes the number by and never comes back for it. A reader of the journal, under
the same trigger, gets every event.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from playhead.journal.following import follow
from playhead.journal.hub import blocking
from tests.journal.notes import Note, OpenNotes, new_id, text_of

LATE = "late"

# The late one waits inside its insert, up to five seconds, for somebody else's commit to become visible.
TRAP = """
    CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF {is_late} THEN
            PERFORM pg_advisory_xact_lock(1);
            FOR attempt IN 1..50 LOOP
                EXIT WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} > NEW.{key});
                PERFORM pg_sleep(0.1);
            END LOOP;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER trap BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION trap()
"""
SERIAL_TRAP = TRAP.replace("{table}", "log").replace("{key}", "id").replace("{is_late}", "NEW.text = 'late'")
JOURNAL_TRAP = (
    TRAP.replace("{table}", "events")
    .replace("{key}", "revision")
    .replace("{is_late}", "position('late'::bytea in NEW.payload) > 0")
    .replace("1..50", "1..3")
)
IS_TRAPPED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted"


def test_a_reader_that_follows_a_bigserial_skips_an_event(postgres_store: str) -> None:
    with psycopg.connect(postgres_store, autocommit=True) as reader:
        reader.execute("CREATE TABLE log (id BIGSERIAL PRIMARY KEY, text TEXT NOT NULL)")
        reader.execute(SERIAL_TRAP.encode())

        def insert(text: str) -> None:
            with psycopg.connect(postgres_store, autocommit=True) as connection:
                connection.execute("INSERT INTO log (text) VALUES (%s)", [text])

        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(insert, LATE)
            until_trapped(reader)
            insert("early")
            position, seen = read_after(reader, 0)
            late.result(60)
        position, more = read_after(reader, position)
        everything = reader.execute("SELECT text FROM log ORDER BY id").fetchall()
    assert everything == [(LATE,), ("early",)]
    assert seen + more == ["early"], "the late event is never read"


def test_a_follower_of_the_journal_does_not(postgres_store: str) -> None:
    with OpenNotes(postgres_store) as one, OpenNotes(postgres_store) as two, OpenNotes(postgres_store) as reader:
        steps = blocking(follow(reader.journal, 1), reader.journal.hub)
        next(steps)
        with psycopg.connect(postgres_store, autocommit=True) as connection:
            connection.execute(JOURNAL_TRAP.encode())
            late = one.submit(Note(LATE, new_id()))[0]
            until_trapped(connection)
            early = two.submit(Note("early", new_id()))[0]
            seen: list[str] = []
            while len(seen) < 2:
                page = next(steps)
                assert isinstance(page, list)
                seen += [text_of(record) for record in page]
        assert (late.result(60), early.result(60)) == (2, 3)
        assert seen == [LATE, "early"]


def until_trapped(connection: psycopg.Connection[Any]) -> None:
    """Return once the late transaction has its number and waits."""
    while connection.execute(IS_TRAPPED).fetchone() == (0,):
        pass


def read_after(connection: psycopg.Connection[Any], position: int) -> tuple[int, list[str]]:
    """What a catch-up subscription over a serial column does."""
    rows = connection.execute("SELECT id, text FROM log WHERE id > %s ORDER BY id", [position]).fetchall()
    return (rows[-1][0] if rows else position), [str(row[1]) for row in rows]
