"""Settings: where they come from, which place is stronger, and what is said of those that can not be used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from playhead import flow, settings, task
from playhead.context import temporary_settings, use_profile
from playhead.engine.execution.connection import get_client
from playhead.exceptions import ConfigurationError
from playhead.logging.prints import should_log_prints
from playhead.profiles import Profile
from playhead.results import persist_result_of

LEVEL = "PLAYHEAD_LOGGING_LEVEL"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is also the home of Playhead, with no files yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path))
    settings.forget_files()
    return tmp_path


def write(path: Path, text: str) -> str:
    """Write a file of settings; the path as messages name it."""
    path.write_text(text)
    settings.forget_files()
    return str(path)


def test_each_place_is_stronger_than_the_one_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.said(LEVEL) is None
    profiles = write(folder / "profiles.toml", f'active = "mine"\n[profiles.mine]\n{LEVEL} = "1"\n')
    assert settings.said(LEVEL) == ("1", f"{profiles}, profile 'mine'")
    pyproject = write(folder / "pyproject.toml", '[tool.playhead.logging]\nlevel = "2"\n')
    assert settings.said(LEVEL) == ("2", f"{pyproject}, [tool.playhead]")
    own = write(folder / "playhead.toml", 'logging = { level = "3" }\n')
    assert settings.said(LEVEL) == ("3", own)
    monkeypatch.setenv(LEVEL, "4")
    assert settings.said(LEVEL) == ("4", "the environment")
    with use_profile(Profile("other", {LEVEL: "5"}), override_environment_variables=True):
        assert settings.value(LEVEL) == "5"
        with temporary_settings({LEVEL: 6}) as around:
            assert (settings.value(LEVEL), around.logging.level) == ("6", 6)
        with temporary_settings(restore_defaults=[LEVEL]):
            assert settings.value(LEVEL) is None
    assert settings.value(LEVEL) == "4"


def test_values_in_files_have_the_types_of_toml(folder: Path) -> None:
    write(
        folder / "playhead.toml",
        "lease_ttl_s = 7.5\nprogress = false\n[logging]\nextra_loggers = ['a', 'b']\nlog_prints = true\n"
        "[tasks.default]\nretries = 3\n",
    )
    assert settings.lease_ttl_s() == 7.5
    assert not settings.flag("PLAYHEAD_PROGRESS", True)
    assert settings.names("PLAYHEAD_LOGGING_EXTRA_LOGGERS") == ["a", "b"]
    assert settings.flag("PLAYHEAD_LOGGING_LOG_PRINTS")
    assert settings.number("PLAYHEAD_TASKS_DEFAULT_RETRIES", 0) == 3


def test_the_environment_names_another_profile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "profiles.toml", f'[profiles.a]\n{LEVEL} = "a"\n[profiles.b]\nlogging.level = "b"\n')
    monkeypatch.setenv("PLAYHEAD_PROFILE", "b")
    assert settings.value(LEVEL) == "b"
    monkeypatch.setenv("PLAYHEAD_PROFILE", "c")
    with pytest.raises(ConfigurationError, match=r"no profile 'c' in .*profiles.toml, only: a, b, default"):
        settings.value(LEVEL)


@pytest.mark.parametrize("file", ["playhead.toml", "pyproject.toml", "profiles.toml"])
def test_a_file_that_is_not_toml_is_named(folder: Path, file: str) -> None:
    path = write(folder / file, "level = = 3\n")
    with pytest.raises(ConfigurationError, match=rf"{path} is not TOML: .*line 1"):
        settings.value(LEVEL)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("pyproject.toml", "[tool]\nplayhead = 3\n", r"pyproject.toml, \[tool.playhead\]: must be a table"),
        ("profiles.toml", "profiles = 3\n", r"profiles.toml: \[profiles.<name>\] must be tables"),
        ("playhead.toml", "profile = 'x'\n", "playhead.toml: profile is read from the environment only"),
        (
            "profiles.toml",
            "[profiles.default]\nPLAYHEAD_PROFILES_PATH = 'x'\n",
            "profile 'default': PLAYHEAD_PROFILES_P",
        ),
    ],
)
def test_what_can_not_be_understood_is_refused_by_file_and_key(
    folder: Path, file: str, text: str, message: str
) -> None:
    write(folder / file, text)
    with pytest.raises(ConfigurationError, match=message):
        settings.value(LEVEL)


def test_a_value_that_can_not_be_used_is_refused_by_name_and_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder / "playhead.toml", "[lease]\nttl_s = 'soon'\n")
    with pytest.raises(ConfigurationError, match=f"PLAYHEAD_LEASE_TTL_S must be .*, not 'soon': see {path}"):
        settings.lease_ttl_s()
    path = write(folder / "playhead.toml", "[lease]\nttl_s = 0.5\n")
    with pytest.raises(ConfigurationError, match=f"must be from 1 to 86,400 seconds, not '0.5': see {path}"):
        settings.lease_ttl_s()
    monkeypatch.setenv("PLAYHEAD_LEASE_TTL_S", "soon")
    with pytest.raises(ConfigurationError, match=r"must be from 1 to 86,400 seconds, not 'soon'$"):
        settings.lease_ttl_s()


@pytest.mark.parametrize(
    ("name", "text", "first_use"),
    [
        ("PLAYHEAD_LOGGING_LEVEL", "LOUD", settings.logging_level),
        ("PLAYHEAD_LOGGING_LOG_PRINTS", "maybe", lambda: should_log_prints(None, None)),
        ("PLAYHEAD_PROGRESS", "perhaps", lambda: settings.flag("PLAYHEAD_PROGRESS", True)),
        ("PLAYHEAD_RESULTS_PERSIST_BY_DEFAULT", "2", lambda: persist_result_of(None, None)),
        ("PLAYHEAD_TASK_RUNNER_THREADS", "-4", settings.task_runner_threads),
        ("PLAYHEAD_TASK_RUNNER_THREADS", "1.5", settings.task_runner_threads),
        ("PLAYHEAD_TASKS_DEFAULT_RETRIES", "-1", lambda: task(print)),
        ("PLAYHEAD_FLOWS_DEFAULT_RETRY_DELAY_SECONDS", "nan", lambda: flow(lambda: None)),
        ("PLAYHEAD_RESULTS_URL", "foo://x/y", settings.results_url),
        ("PLAYHEAD_API_URL", "http://127.0.0.1:4200", get_client),
        ("PLAYHEAD_API_URL", "grpc://127.0.0.1:99999", get_client),
        ("PLAYHEAD_DATABASE", "mysql://127.0.0.1/x", settings.database),
    ],
)
def test_a_value_of_another_kind_is_refused_at_its_first_use(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, first_use: Callable[[], object]
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError, match=f"{name} must be .*, not {text!r}"):
        first_use()


def test_a_level_that_can_not_be_used_is_told_of_by_every_run(folder: Path) -> None:
    path = write(folder / "playhead.toml", "logging.level = 'LOUD'\n")
    program = "from playhead.logging import get_logger\nfor _ in '12':\n  try: get_logger()"
    program += "\n  except ValueError as error: print(error)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=folder)
    assert (
        said.stdout.splitlines()
        == [f"{LEVEL} must be the name of a level, as INFO, or its number, not 'LOUD': see {path}"] * 2
    )


def test_levels_are_names_or_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, level in (("debug", 10), ("INFO", 20), ("35", 35)):
        monkeypatch.setenv(LEVEL, text)
        assert settings.logging_level() == level


def test_a_name_that_no_setting_has_is_warned_of(folder: Path) -> None:
    write(folder / "playhead.toml", "[logging]\nlevle = 'DEBUG'\n")
    with pytest.warns(UserWarning, match=r"playhead.toml: there is no setting PLAYHEAD_LOGGING_LEVLE"):
        assert settings.value(LEVEL) is None
    with pytest.raises(KeyError, match="PLAYHEAD_LOGGING_LEVLE"), temporary_settings({"PLAYHEAD_LOGGING_LEVLE": 1}):
        pass
