"""docs/policies.md does what it says: its program runs, its package metadata is what Playhead reads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from playhead.engine.orchestration.guard import SLOW_MS, WARN_EVERY_S
from playhead.engine.orchestration.installed import GROUP

DOCUMENT = Path(__file__).parents[2] / "docs" / "policies.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> str:
    """All blocks of a language, each on the lines where the document has it."""
    text = DOCUMENT.read_text()
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        if block[1] == language:
            first = text.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def test_its_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = blocks("python")
    assert program.count("\nassert ") > 5
    exec(compile(program, DOCUMENT.name, "exec"), {"__name__": "policies_document"})


def test_its_entry_point_is_the_one_that_is_read() -> None:
    assert tomllib.loads(blocks("toml"))["project"]["entry-points"] == {GROUP: {"owned": "acme.policies:owned"}}


def test_its_numbers_are_those_of_the_guard() -> None:
    assert f"longer than {SLOW_MS} ms is named in the log, once a minute" in DOCUMENT.read_text()
    assert WARN_EVERY_S == 60
