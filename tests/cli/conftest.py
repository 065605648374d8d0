"""A journal with a history, and the command line on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from playhead.cli.app import app
from tests.replay.history import History


@dataclass
class Shell:
    """Runs commands in this process, on one database."""

    database: str
    completed: str
    failed: str

    def run(self, *arguments: str, status: int = 0) -> str:
        """Standard output of a command, which must end with this exit status."""
        result = self.invoke(*arguments, "--database", self.database)
        assert result.exit_code == status, f"{arguments}: {result.exit_code}\n{result.output}"
        return result.stdout

    def document(self, *arguments: str, status: int = 0) -> Any:
        """The JSON document that a command prints."""
        return json.loads(self.run(*arguments, "--json", status=status))

    def error(self, *arguments: str, status: int = 1) -> str:
        """Standard error of a command that fails."""
        result = self.invoke(*arguments, "--database", self.database)
        assert result.exit_code == status, f"{arguments}: {result.exit_code}\n{result.output}"
        return result.stderr

    def invoke(self, *arguments: str) -> Result:
        """Run a command."""
        return CliRunner().invoke(app, list(arguments), prog_name="playhead", catch_exceptions=False)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell on a journal with something of everything in it, which nobody else has open."""
    database = str(tmp_path / "journal.db")
    history = History(database)
    completed, failed = history.write()
    history.close()
    return Shell(database, completed, failed)
