"""What goes wrong is one line, a next step, and an exit status: 1 for an answer, 2 for the command line itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from playhead import v1
from playhead.cli.app import app
from playhead.cli.errors import next_step
from tests.cli.conftest import Shell
from tests.stores import NewStore


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("flow-run", "inspect", "x" * 5_000), f"Error: No flow run is named '{'x' * 99}…', and no id"),
        (("flow-run", "inspect", "nobody"), "Error: No flow run is named 'nobody'"),
        (("flow-run", "inspect", "00000000-0000-7000-8000-000000000000"), "Error: No flow run 00000000-"),
        (("flow-run", "inspect", "00000000-0000-7000-8000-00000000000x"), "is not a canonical lower-case UUID"),
        (("flow-run", "explain", "nobody", "--as-of", "3"), "Error: No flow run is named 'nobody' at revision 3"),
        (("flow-run", "explain", "nobody", "--as-of", "0s ago"), "Error: No flow run is named 'nobody' at 2"),
        (("flow-run", "ls", "--as-of", "999"), "Error: The head is revision 19."),
        (("journal", "head", "--as-of", "999"), "Error: The head is revision 19."),
        (("journal", "tail", "--stream", "x"), "filter.stream: "),
        (("flow-run", "diff", "renamed", "--from", "14", "--to", "13"), "to: 13 is before 14"),
        (("flow-run", "ls", "--api-url", "grpc://127.0.0.1:1"), "give one of the two"),
    ],
)
def test_an_error_is_one_line(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    error = shell.error(*arguments)
    assert said in error
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("flow-run", "ls", "--as-of", "the day before"),
        ("flow-run", "ls", "--as-of", "1000000000000d ago"),
        ("flow-run", "ls", "--state", "failed", "--state", "AwaitingRetry"),
        ("flow-run", "ls", "--limit", "0"),
        ("flow-run", "ls", "--state", "faild"),
        ("task-run", "ls", "--state", "faild"),
        ("flow-run", "decisions", "renamed", "--only", "perhaps"),
        ("audit", "decisions", "--decision", "perhaps"),
        ("audit", "decisions", "--from-state", "nowhere"),
        ("audit", "decisions", "--to-state", "none"),
        ("audit", "decisions", "--since", "never"),
        ("audit", "decisions", "--since", ""),
        ("audit", "decisions", "--until", " "),
        ("audit", "decisions", "--until", "0"),
        ("audit", "decisions", "--rule", "RetryFailedTasks", "--rule", ""),
        ("audit", "decisions", "--actor", ""),
        ("flow-run", "explain", "renamed", "--steps", "0"),
        ("flow-run", "logs", "renamed", "--lines", str(2**64)),
        ("journal", "tail", "--lines", str(2**64)),
        ("concurrency-limit", "set", "tag:a", "1000001"),
        ("concurrency-limit", "set", "tag:a", str(2**32)),
        ("journal", "tail", "--kind", "state_propsed"),
        ("flow-run", "diff", "renamed", "--from", "never"),
        ("server", "start", "--port", "99999"),
        ("server", "start", "--port", "0", "--uds", "x"),
        ("server", "start", "--log-level", "loud"),
        ("nothing",),
    ],
)
def test_a_command_line_that_can_not_be_understood_is_status_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert "Traceback" not in shell.error(*arguments, status=2)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("flow-run", "ls", "--api-url", ""), "--api-url"),
        (("--database", "", "flow-run", "ls"), "--database"),
        (("server", "start", "--policy", " "), "--policy"),
        (("server", "start", "--uds", ""), "--uds"),
        (("server", "start", "--host", ""), "--host"),
        (("policy", "show", ""), "name"),
    ],
)
def test_an_option_that_is_empty_is_not_taken_for_its_default(arguments: tuple[str, ...], option: str) -> None:
    result = CliRunner().invoke(app, list(arguments), prog_name="playhead", catch_exceptions=False)
    assert result.exit_code == 2
    assert option in result.stderr
    assert "it is empty" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (("flow-run", "ls", "--state", "faild"), ("failed", "AwaitingRetry")),
        (("audit", "decisions", "--from-state", "nowhere"), ("none", "failed")),
        (("audit", "decisions", "--only", "perhaps"), ("accept", "abort")),
        (("journal", "tail", "--kind", "state_propsed"), ("state_proposed", "run_updated")),
        (("flow-run", "ls", "--flow", "Etl"), ("did you mean etl", "playhead flow ls")),
        (("audit", "decisions", "--flow", "reports"), ("did you mean report",)),
    ],
)
def test_what_is_mistyped_is_answered_with_what_there_is(
    shell: Shell, arguments: tuple[str, ...], listed: tuple[str, ...]
) -> None:
    error = shell.error(*arguments, status=2)
    assert [word for word in listed if word not in error] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("audit", "decisions", "--actor", "bob"), "--actor 'bob': there is none on record"),
        (("audit", "decisions", "--tag", "nigthly"), "--tag 'nigthly': there is none on record"),
        (("flow-run", "ls", "--tag", "nigthly"), "--tag 'nigthly': there is none on record"),
        (("task-run", "ls", "--tag", "nightly", "--task", "lod"), "--task 'lod': there is none on record"),
        (("journal", "tail", "--stream", "00000000-0000-7000-8000-000000000000"), "No such event up to revision 19."),
        (("flow-run", "logs", "renamed"), "Nothing is on record that it logged"),
    ],
)
def test_an_empty_list_says_what_of_it_nothing_on_record_has(
    shell: Shell, arguments: tuple[str, ...], said: str
) -> None:
    assert said in shell.error(*arguments, status=0)


def test_an_empty_list_says_nothing_of_what_is_on_record(shell: Shell) -> None:
    actor = shell.document("audit", "decisions")["decisions"][0]["actor"]
    assert shell.error("audit", "decisions", "--actor", actor, "--only", "wait", status=0) == ""
    assert shell.error("flow-run", "ls", "--tag", "nightly", "--state", "late", status=0) == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--rule", "RetryFaildTasks"),
            ("--rule", "did you mean RetryFailedTasks", "? Those of the core policy: playhead policy show"),
        ),
        (("--since", "15", "--until", "5"), ("--since", "15 is after --until 5")),
        (("--since", "1d ago", "--until", "2d ago"), ("--since/--until", "ends before it begins")),
        (("--tag", "a\nb"), ("--tag",)),
        (("--actor", "a\x00b"), ("--actor",)),
        (("--rule", "GrantSlots"), ("--rule", "playhead journal tail --kind slots_granted")),
    ],
)
def test_what_is_wrong_with_a_filter_is_told_by_its_option(
    shell: Shell, options: tuple[str, ...], said: tuple[str, ...]
) -> None:
    error = " ".join(shell.error("audit", "decisions", *options, status=2).replace("│", "").split())
    assert not [part for part in said if part not in error], error
    assert "filter." not in error


def test_a_rule_that_answers_before_the_policy_is_asked_is_known(shell: Shell) -> None:
    assert shell.document("audit", "decisions", "--rule", "ResumeNeedsPause")["decisions"] == []


def test_with_json_an_error_is_json_too(shell: Shell) -> None:
    document = json.loads(shell.error("flow-run", "inspect", "nobody", "--json"))
    assert document["error"].keys() == {"reason", "message", "facts", "next_step"}
    assert document["error"]["reason"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "command", [("flow-run", "ls"), ("journal", "verify"), ("views", "rebuild"), ("journal", "tail")]
)
def test_looking_makes_no_journal(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "none.db"
    result = CliRunner().invoke(app, [*command, "--database", str(path)])
    assert result.exit_code == 1
    assert f"Error: There is no journal at {path}" in result.stderr
    assert not path.exists()


@pytest.mark.parametrize("command", [("flow-run", "ls"), ("journal", "verify"), ("views", "rebuild", "--check")])
def test_looking_makes_no_journal_of_an_empty_database(new_store: NewStore, command: tuple[str, ...]) -> None:
    address = new_store()
    if new_store.kind == "sqlite":
        Path(address).touch()
    result = CliRunner().invoke(app, [*command, "--database", address])
    assert result.exit_code == 1
    assert "Error: There is no journal at " in result.stderr
    assert "playhead server start --database " in result.stderr
    url = f"sqlite:///{address}" if new_store.kind == "sqlite" else address
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()


def test_postgresql_without_its_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    result = CliRunner().invoke(app, ["flow-run", "ls", "--database", "postgresql://localhost/shop"])
    assert result.exit_code == 1
    assert "pip install 'playhead[postgres]'; in a clone: pip install -e '.[postgres]'" in result.stderr


def test_an_address_of_another_database_is_refused() -> None:
    result = CliRunner().invoke(app, ["flow-run", "ls", "--database", "mysql://a/b"])
    assert result.exit_code == 1
    assert "Error: 'mysql://a/b' is neither a path, nor sqlite:///path, nor postgresql://" in result.stderr


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"dear diary, " * 200)
    result = CliRunner().invoke(app, ["flow-run", "ls", "--database", str(path)])
    assert result.exit_code == 1
    assert f"Error: {path} is not an SQLite database" in result.stderr


def test_what_needs_the_database_is_not_done_through_a_server() -> None:
    result = CliRunner().invoke(app, ["views", "rebuild", "--api-url", "grpc://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "--database" in result.stderr


def test_next_steps_are_of_reasons_that_exist() -> None:
    assert next_step(v1.NOT_FOUND)
    assert next_step(v1.REASON_UNSPECIFIED) == ""
