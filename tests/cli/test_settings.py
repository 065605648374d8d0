"""`playhead config` and `playhead profile`."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playhead import settings
from playhead.cli.app import app


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with no profiles, which is the working directory too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    settings.forget_files()
    return tmp_path


def run(*arguments: str, status: int = 0) -> str:
    """What a command prints on both streams; it must end with this exit status."""
    result = CliRunner().invoke(app, list(arguments), prog_name="playhead", catch_exceptions=False)
    assert result.exit_code == status, f"{arguments}: {result.output}"
    return " ".join(result.output.split())


def test_settings_are_set_shown_and_unset_in_the_active_profile(home: Path) -> None:
    said = run("config", "set", "PLAYHEAD_LEASE_TTL_S=30", "PLAYHEAD_DATABASE=postgresql://me:secret@host/name")
    assert "PLAYHEAD_LEASE_TTL_S is '30' in profile 'default'." in said
    assert "secret" not in said
    assert settings.lease_ttl_s() == 30
    found = {each["setting"]: (each["value"], each["from"]) for each in json.loads(run("config", "view", "--json"))}
    where = f"{home / 'profiles.toml'}, profile 'default'"
    assert found == {
        "PLAYHEAD_DATABASE": ("postgresql://me:***@host/name", where),
        "PLAYHEAD_HOME": (str(home), "the environment"),
        "PLAYHEAD_LEASE_TTL_S": ("30", where),
    }
    assert "me:secret@host" in run("config", "view", "--show-secrets")
    assert stat.S_IMODE((home / "profiles.toml").stat().st_mode) == 0o600
    run("config", "unset", "PLAYHEAD_LEASE_TTL_S")
    assert settings.lease_ttl_s() == 60
    assert all(name in run("config", "view", "--all") for name in settings.KNOWN)


def test_a_stronger_place_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "5")
    assert "Here, the environment says otherwise" in run("config", "set", "PLAYHEAD_LEASE_TTL_S=30")


def test_settings_that_are_not_there_are_refused(home: Path) -> None:
    for arguments in (("set", "PLAYHEAD_LEASE_TTLS=1"), ("unset", "PLAYHEAD_LEASE_TTLS")):
        assert "PLAYHEAD_LEASE_TTL_S?" in run("config", *arguments, status=2)
    assert "must be NAME=VALUE" in run("config", "set", "PLAYHEAD_LEASE_TTL_S", status=2)
    assert "environment only" in run("config", "set", "PLAYHEAD_PROFILE=x", status=2)
    assert os.listdir(home) == []


@pytest.mark.parametrize(
    "assignment",
    [
        "PLAYHEAD_LOGGING_LEVEL=foo",
        "PLAYHEAD_PROGRESS=perhaps",
        "PLAYHEAD_TASK_RUNNER_THREADS=0",
        "PLAYHEAD_RESULTS_URL=foo://x/y",
        "PLAYHEAD_API_URL=127.0.0.1:4200",
    ],
)
def test_values_that_can_not_be_used_are_not_set(home: Path, assignment: str) -> None:
    name = assignment.partition("=")[0]
    assert f"{name} must be" in run("config", "set", "PLAYHEAD_LEASE_TTL_S=30", assignment, status=2)
    assert os.listdir(home) == []


def test_a_value_that_can_not_be_used_is_one_line_of_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_API_URL", "http://x")
    assert run("flow-run", "ls", status=1).startswith("Error: PLAYHEAD_API_URL must be grpc://host:port")


def test_profiles_are_created_listed_used_and_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    run("config", "set", "PLAYHEAD_API_URL=grpc://one:1")
    run("profile", "create", "staging", "--from", "default")
    assert "There is a profile 'staging'" in run("profile", "create", "staging", status=2)
    run("profile", "use", "staging")
    run("config", "set", "PLAYHEAD_API_URL=grpc://two:2")
    assert json.loads(run("profile", "ls", "--json")) == [
        {"profile": "default", "active": False},
        {"profile": "staging", "active": True},
    ]
    assert run("profile", "inspect") == "profile staging PLAYHEAD_API_URL grpc://two:2"
    assert run("profile", "inspect", "default") == "profile default PLAYHEAD_API_URL grpc://one:1"
    monkeypatch.setenv("PLAYHEAD_PROFILE", "staging")
    assert "PLAYHEAD_PROFILE=staging is stronger" in run("profile", "use", "default")


def test_errors_of_files_are_one_line_that_names_them(home: Path) -> None:
    assert "no profile 'nosuch'" in run("profile", "use", "nosuch", status=1)
    (home / "profiles.toml").write_text("active = = 1")
    assert f"Error: {home / 'profiles.toml'} is not TOML" in run("profile", "ls", status=1)
