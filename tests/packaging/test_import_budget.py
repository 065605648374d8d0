"""`import playhead` loads what defining a flow needs, the rest when it is used. Counted in modules, not in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "sqlalchemy",
    "aiosqlite",
    "psycopg",
    "grpc",
    "fsspec",
    "rich",
    "typer",
    "cryptography",
    "opentelemetry",
    "jsonschema",
    "referencing",
}


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after `statement`."""
    program = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return {name.partition(".")[0] for name in json.loads(output.splitlines()[-1])}


@pytest.mark.parametrize("statement", ["import playhead", "from playhead import flow, task"])
def test_importing_loads_no_server_database_or_terminal_library(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


def test_a_flow_that_pauses_for_no_input_loads_no_json_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    hello = Path(__file__).parents[2] / "examples" / "hello.py"
    loaded = loaded_by(f"import runpy; runpy.run_path({str(hello)!r}, run_name='__main__')")
    assert "sqlalchemy" in loaded
    assert loaded & {"jsonschema", "referencing"} == set()


def test_a_flow_on_sqlite_loads_nothing_of_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    hello = Path(__file__).parents[2] / "examples" / "hello.py"
    program = f"import runpy, sys; runpy.run_path({str(hello)!r}, run_name='__main__'); print(sorted(sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "sqlalchemy.dialects.sqlite" in output
    assert "sqlalchemy.dialects.postgresql" not in output


@pytest.mark.parametrize("room", ["grpc_server", "journal", "projector", "logs", "replay", "engine.orchestration"])
def test_importing_the_sdk_loads_no_room_of_the_server(room: str) -> None:
    program = f"from playhead import flow, task; import sys; sys.exit('playhead.{room}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_messages_alone_load_no_grpc() -> None:
    assert loaded_by("from playhead import v1") & HEAVY == set()


def test_importing_leaves_the_configuration_of_logging_to_the_program() -> None:
    program = (
        "import logging, playhead.tasks, playhead.flows, playhead.task_runners, playhead.context\n"
        "assert not logging.getLogger('playhead').handlers"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
