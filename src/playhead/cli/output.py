"""Printing: tables for people, JSON for programs, both to standard output."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 240
"""Columns of what is not for a terminal, but for tables: each of their rows is one line then, however long, to be cut
and searched.
"""

ROW_WIDTH_MAX = 1_000_000

UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it, but for newline and tab: control characters, and those that turn the
direction of what follows. What a run says must not rewrite, on the screen, what is on record about it.
"""

Cell = str | Text


def console() -> Console:
    """Standard output as it is now."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPED_WIDTH)


def print_json(document: object) -> None:
    """One JSON document; indented for a terminal."""
    print(json_text(document, indent=2 if sys.stdout.isatty() else None), flush=True)


def json_text(document: object, indent: int | None = None) -> str:
    """A document as JSON that can be printed: half a surrogate pair stays the escape that it is on record, and what a
    terminal would obey is an escape of JSON's.
    """
    text = json.dumps(document, ensure_ascii=False, indent=indent).encode(errors="backslashreplace").decode()
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], note: str = "") -> None:
    """A table with one header line, and a note below it. The first column is never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(_shown, row))
    out = console()
    if table.row_count and sys.stdout.isatty():
        out.print(table)
    elif table.row_count:
        whole = Console(highlight=False, width=ROW_WIDTH_MAX)
        with whole.capture() as written:
            whole.print(table)
        print("\n".join(map(str.rstrip, written.get().splitlines())), flush=True)
    if note:
        out.print(_shown(Text(note, style="dim")))


def print_fields(fields: Iterable[tuple[str, Cell | None]]) -> None:
    """Names and values below each other; those without a value are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields:
        if value:
            grid.add_row(name, _shown(value))
    console().print(grid)


def print_line(line: Cell) -> None:
    """A line, however long, which a terminal wraps."""
    console().print(_shown(line), soft_wrap=True)


def printable(text: str) -> str:
    """A text in which everything can be seen: what is unprintable is written as its escape."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(value: Any, width: int = 80) -> str:
    """A value as one line of bounded width."""
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def one_line(text: str) -> str:
    """A text as one line: shortened in a terminal, whole for a program that reads it."""
    return shortened(text) if sys.stdout.isatty() else " ".join(text.split())


def _shown(cell: Cell) -> Text:
    """A cell to print. One that needs escapes is of one style."""
    if isinstance(cell, str):
        return Text(printable(cell))
    return Text(printable(cell.plain), style=cell.style) if UNPRINTABLE.search(cell.plain) else cell
