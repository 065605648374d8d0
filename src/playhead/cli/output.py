"""Printing: tables for people, JSON for programs, both to standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 240
"""Columns of a table that is not for a terminal, so that ids can be cut and searched."""

Cell = str | Text


def console() -> Console:
    """Standard output as it is now."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPED_WIDTH)


def print_json(document: object) -> None:
    """One JSON document; indented for a terminal."""
    print(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], note: str = "") -> None:
    """A table with one header line, and a note below it. The first column is never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    out = console()
    if table.row_count:
        out.print(table)
    if note:
        out.print(Text(note, style="dim"))


def print_fields(fields: Iterable[tuple[str, Cell | None]]) -> None:
    """Names and values below each other; those without a value are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields:
        if value:
            grid.add_row(name, Text(value) if isinstance(value, str) else value)
    console().print(grid)


def shortened(value: Any, width: int = 80) -> str:
    """A value as one line of bounded width."""
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"
