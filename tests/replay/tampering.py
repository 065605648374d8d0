"""Changing what can not be changed: the triggers that keep the journal are put aside first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from playhead.journal import sql
from playhead.journal.journal import Journal
from playhead.journal.merkle import Tree
from playhead.journal.record import NO_LEAF, Record, commitment_of, leaf_hash


@dataclass
class Tampering:
    """A connection to a journal's database that may do everything."""

    journal: Journal
    connection: Any

    @classmethod
    def with_journal(cls, journal: Journal) -> Tampering:
        """Put the triggers aside, until they are put back."""
        connection = journal.database.connect_writer()
        for table in sql.APPEND_ONLY:
            if journal.database.engine.dialect.name == "sqlite":
                for verb in ("update", "delete"):
                    connection.execute(f"DROP TRIGGER {table}_no_{verb}")
            else:
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        return cls(journal, connection)

    def put_back(self) -> None:
        """Make it look as if nothing had been put aside."""
        for trigger in self.journal.database.triggers():
            self.connection.execute(trigger)
        if self.journal.database.engine.dialect.name != "sqlite":
            for table in sql.APPEND_ONLY:
                self.connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")

    def run(self, text: str, *values: object) -> None:
        """Run a statement written with `?`; it must change something."""
        changed = self.connection.execute(self.journal.database.statement(text), values).rowcount
        assert changed > 0, f"nothing changed: {text}"

    def forge(self, change: Callable[[Record], None]) -> None:
        """Change records, then make leaves and nodes fit again, as somebody would who knows the format."""
        tree, heads = Tree(), dict[bytes, bytes]()
        self.run("DELETE FROM tree_nodes")
        for record in self._records():
            change(record)
            assert record.salt is not None
            assert record.payload is not None
            before = heads.get(record.stream, NO_LEAF)
            commitment = commitment_of(record.salt, record.payload)
            record.leaf = heads[record.stream] = leaf_hash(self.journal.id, before, record, commitment)
            self.run(
                "UPDATE events SET leaf = ?, payload = ?, recorded_at = ?, stream_version = ? WHERE revision = ?",
                *(record.leaf, record.payload, record.recorded_at, record.stream_version, record.revision),
            )
            for node in tree.append(record.leaf):
                self.run(sql.INSERT_NODE, *node)

    def _records(self) -> Sequence[Record]:
        return [record for page in self.journal.pages(1, self.journal.head()[0]) for record in page]
