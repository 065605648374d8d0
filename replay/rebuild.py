"""Rebuilding the views: made anew from the journal beside the live ones, compared with them, put in their place.

`compare_views` is promise P6 as a function: fold(events[:r]) against the views as of r, for any r. No differences means
that they are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from playhead.journal.journal import Journal
from playhead.projector.building import REBUILD_PREFIX, Progress, build, drop, fresh_prefix, swap_in
from playhead.projector.sql import made_of
from playhead.replay import sql

DIFFERENCES_MAX = 20
"""Differences that are reported of each table, unless more are asked for."""

What = Literal["missing", "surplus", "different"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of a live view that is not what the journal says.

    `missing`: the journal says there is such a row, `rebuilt` has it; `surplus`: it says there is none, `live` has it;
    `different`: `live` and `rebuilt` have the columns that differ. `revision` is that of the event that made the row; 0
    when the whole table has other columns than it should, as one that is missing or of another version has.
    """

    view: str
    what: What
    revision: int
    key: dict[str, object]
    live: dict[str, object]
    rebuilt: dict[str, object]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found: the differences as of `revision`, and whether the rebuilt views are the live ones now."""

    revision: int
    differences: list[Difference]
    swapped: bool


def rebuild_views(
    journal: Journal, progress: Progress | None = None, differences_max: int = DIFFERENCES_MAX
) -> Rebuilt:
    """Make all views anew, compare them with the live ones, and put them in their place whatever the comparison says.

    The live ones serve on meanwhile, and writers go on between batches. Raises CorruptRecord where an event can not be
    read; then, as after any failure, the live views are as they were.
    """
    return _rebuild(journal, None, progress, differences_max, swap=True)


def compare_views(
    journal: Journal, at: int | None = None, progress: Progress | None = None, differences_max: int = DIFFERENCES_MAX
) -> Rebuilt:
    """Make all views anew as of a revision (None: the head), compare them with the live ones as of it, drop them."""
    return _rebuild(journal, at, progress, differences_max, swap=False)


def unfinished(journal: Journal) -> list[str]:
    """Prefixes of the tables of rebuilds that have not ended: one is going on, or its process was killed."""
    names, first = journal.database.tables(), made_of().flows.name
    return sorted(
        name.removesuffix(first) for name in names if name.startswith(REBUILD_PREFIX) and name.endswith(first)
    )


def drop_unfinished(journal: Journal) -> list[str]:
    """Drop the tables of rebuilds that have not ended; their prefixes. One that is still going on fails."""
    prefixes = unfinished(journal)
    for prefix in prefixes:
        drop(journal, prefix)
    return prefixes


def _rebuild(
    journal: Journal, at: int | None, progress: Progress | None, differences_max: int, *, swap: bool
) -> Rebuilt:
    prefix = fresh_prefix()
    reached = build(journal, prefix, at, progress)
    try:
        differences = list(_differences(journal, prefix, reached, differences_max))
        if swap:
            swap_in(journal, prefix, reached)
    except BaseException:
        drop(journal, prefix)
        raise
    if not swap:
        drop(journal, prefix)
    return Rebuilt(reached, differences, swap)


def _differences(journal: Journal, prefix: str, at: int, limit: int) -> Iterator[Difference]:
    """What differs between the live views, as of `at`, and those under `prefix`, which end there."""
    with journal.database.reading() as connection:
        for live, rebuilt in zip(made_of().all, made_of(prefix).all, strict=True):
            unlike = _unlike(journal, live)
            if unlike is not None:
                yield unlike
                continue
            for row in connection.execute(sql.missing_in(rebuilt, live, at, limit)):
                yield _whole(live, "missing", {}, _values(rebuilt, row))
            for row in connection.execute(sql.missing_in(live, rebuilt, at, limit)):
                yield _whole(live, "surplus", _values(live, row), {})
            for row in connection.execute(sql.differing(live, rebuilt, at, limit)):
                width = len(live.columns)
                yield _different(live, _values(live, row[:width]), _values(live, row[width:]))


def _unlike(journal: Journal, table: sa.Table) -> Difference | None:
    """What to say of a live table that is missing or was made by another version: its rows can not be compared."""
    found = journal.database.columns(table.name)
    wanted = [column.name for column in table.columns]
    if found == wanted:
        return None
    return Difference(table.name, "different", 0, {}, {"columns": found}, {"columns": wanted})


def _whole(table: sa.Table, what: What, live: dict[str, object], rebuilt: dict[str, object]) -> Difference:
    return Difference(table.name, what, *_place(table, live or rebuilt), live, rebuilt)


def _different(table: sa.Table, live: dict[str, object], rebuilt: dict[str, object]) -> Difference:
    names = [name for name in live if live[name] != rebuilt[name]]
    mine, theirs = {name: live[name] for name in names}, {name: rebuilt[name] for name in names}
    return Difference(table.name, "different", *_place(table, rebuilt), mine, theirs)


def _place(table: sa.Table, values: dict[str, Any]) -> tuple[int, dict[str, object]]:
    """The revision of a row and its key."""
    revision = int(values[sql.revision_of(table).name])
    return revision, {column.name: values[column.name] for column in table.primary_key.columns}


def _values(table: sa.Table, row: Any) -> dict[str, object]:
    return {
        column.name: bytes(value) if isinstance(value, memoryview) else value
        for column, value in zip(table.columns, row, strict=True)
    }
