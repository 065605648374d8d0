"""A line for each measurement, with a bar while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[..., None]


class Steps:
    """Shows what is being measured. Redraws rarely: what it draws on is also what is measured on."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TimeElapsedColumn(),
            console=console,
            refresh_per_second=1,
        )

    def __enter__(self) -> Steps:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    @contextmanager
    def step(self, what: str, total: int) -> Iterator[Advance]:
        """A line that says `what` and fills as `advance(n=1)` is called."""
        if not self._progress.console.is_terminal:
            self._progress.console.print(f"{what} …")
        bar = self._progress.add_task(what, total=total)
        yield lambda n=1: self._progress.advance(bar, n)
        self._progress.update(bar, completed=total)
