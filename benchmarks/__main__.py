"""Measure the performance budget and print it as a table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import edge, history, inputs, orchestration, process, sdk
from benchmarks.budget import LINES, table
from benchmarks.progress import Steps

GROUPS = (edge, orchestration, inputs, sdk, process, history)
REPORT_COLUMNS = 140  # in a file


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else REPORT_COLUMNS)
    wanted = set(options.only) or {line.key for line in LINES}
    figures: dict[str, float] = {}
    with Steps(console) as steps:
        for group in GROUPS:
            if wanted & set(group.KEYS):
                figures |= group.measure(steps, quick=options.quick)
    console.print(table(figures))
    if options.json:
        options.json.write_text(json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=2) + "\n")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--only", nargs="+", default=[], metavar="KEY", choices=[line.key for line in LINES])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a journal of 100,000 events: to try it out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
