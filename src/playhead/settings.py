"""Settings: what holds where the code says nothing.

From the strongest: `use_profile` and `temporary_settings` around the code; environment variables; `playhead.toml`, then
`[tool.playhead]` of `pyproject.toml`, in the working directory; the profile. In files, "[logging] level" is
PLAYHEAD_LOGGING_LEVEL. Reading settings is cheap: nothing is imported or opened before it is needed, and a file is read
once. `KNOWN` names them all.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

PREFIX = "PLAYHEAD_"

# What each one is, and what holds where nothing is said.
KNOWN = {
    "PLAYHEAD_API_URL": ("the server to use: grpc://host:port, unix:/path", "none: a journal of one's own"),
    "PLAYHEAD_DATABASE": ("that journal: a path or a postgresql:// URL", "$PLAYHEAD_HOME/journal.db"),
    "PLAYHEAD_POLICY": ("the rules: an installed name, or module:attribute", "the core policy"),
    "PLAYHEAD_HOME": ("where files are kept by default", "~/.playhead"),
    "PLAYHEAD_PROFILES_PATH": ("the file of the profiles; environment only", "$PLAYHEAD_HOME/profiles.toml"),
    "PLAYHEAD_PROFILE": ("the profile; environment only", "the one that this file has active"),
    "PLAYHEAD_RESULTS_URL": ("where large results are stored", "$PLAYHEAD_HOME/results"),
    "PLAYHEAD_RESULTS_PERSIST_BY_DEFAULT": ("persist_result of what says nothing: true or false", "None, if possible"),
    "PLAYHEAD_RESULTS_DEFAULT_SERIALIZER": ("the serializer of results, by name", "exact JSON, else a pickle"),
    "PLAYHEAD_LEASE_TTL_S": ("how long a run's lease lasts, 1 to 86,400 s", "60"),
    "PLAYHEAD_LEASE_RENEWAL_S": ("how often it is renewed, seconds", "a third of that"),
    "PLAYHEAD_TASK_RUNNER_THREADS": ("user functions that run at once, per flow", "64"),
    "PLAYHEAD_PROGRESS": ("a running flow shows its tasks in a terminal", "true"),
    "PLAYHEAD_LOGGING_LEVEL": ('level of the logger "playhead"', "INFO"),
    "PLAYHEAD_LOGGING_LOG_PRINTS": ("print() in runs becomes a log record", "false"),
    "PLAYHEAD_LOGGING_TO_API_ENABLED": ("log records of runs are stored by the service", "true"),
    "PLAYHEAD_LOGGING_EXTRA_LOGGERS": ("loggers whose records in runs are stored too, with commas between", "none"),
    "PLAYHEAD_FLOWS_DEFAULT_RETRIES": ("how often a failed flow run is tried again", "0"),
    "PLAYHEAD_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": ("seconds before it is", "0"),
    "PLAYHEAD_TASKS_DEFAULT_RETRIES": ("how often a failed task run is tried again", "0"),
    "PLAYHEAD_TASKS_DEFAULT_RETRY_DELAY_SECONDS": ("seconds before it is", "0"),
    "PLAYHEAD_TASKS_REFRESH_CACHE": ("tasks run even when their result is cached", "false"),
    "PLAYHEAD_TASKS_DEFAULT_NO_CACHE": ("tasks that name no cache policy have none", "false"),
    "PLAYHEAD_TASKS_DISABLE_CACHING": ("no task looks for a cached result", "false"),
}

ENVIRONMENT_ONLY = frozenset({"PLAYHEAD_PROFILES_PATH", "PLAYHEAD_PROFILE"})
"""Settings that say which files are read, and so are not read from files."""

PLACES_MAX = 100
"""Working directories, with what the environment says of files, whose settings are kept in memory."""

around: ContextVar[Any] = ContextVar("settings", default=None)
"""The innermost `SettingsContext`."""


def value(name: str) -> str | None:
    """What is said of a setting, as text; None when nothing is."""
    found = said(name)
    return found[0] if found else None


def said(name: str) -> tuple[str, str] | None:
    """What is said of a setting, as text, and where: "the environment", a file with its table; None: nothing is."""
    context = around.get()
    if context is not None and name in context.settings:
        chosen = context.settings[name]
        return None if chosen is None else (text_of(chosen), f"profile {context.profile.name!r}, in use")
    text = os.environ.get(name)
    return (text, "the environment") if text else _in_files(name)


def read(name: str) -> Any:
    """What is said of a setting, as a value of its kind; None when nothing is.

    Raises `ConfigurationError`, which names the setting and its place, for a text that is not of that kind.
    """
    found = said(name)
    return checked(name, found[0], _place(found[1])) if found and found[0] else None


def checked(name: str, text: str, place: str = "") -> Any:
    """The value that a text is for a setting. Raises `ConfigurationError`, with the place at the end."""
    what, value_of = _KINDS.get(name, ("text", str))
    try:
        return value_of(text)
    except ValueError:
        raise error(f"{name} must be {what}, not {without_passwords(text)!r}{place}") from None


def without_passwords(text: str) -> str:
    """A value to show: the password of an address is masked."""
    return re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1***@", text)


def home() -> Path:
    """Where files are kept when nothing else is said."""
    return Path(value("PLAYHEAD_HOME") or Path.home() / ".playhead")


def api_url() -> str | None:
    """The server to use, None when there is none."""
    url: str | None = read("PLAYHEAD_API_URL")
    return url


def database() -> str:
    """The journal to use when neither a server nor another journal is named."""
    return read("PLAYHEAD_DATABASE") or str(home() / "journal.db")


def results_url() -> str:
    """Where large results are stored: a folder or an fsspec URL."""
    return read("PLAYHEAD_RESULTS_URL") or str(home() / "results")


def lease_ttl_s() -> float:
    """How long a run may be silent before it is given up, in seconds."""
    return number("PLAYHEAD_LEASE_TTL_S", 60.0)


def lease_renewal_s() -> float:
    """How often a lease is renewed, in seconds. Raises `ConfigurationError` unless that is less than the lease."""
    ttl_s = lease_ttl_s()
    renewal_s = number("PLAYHEAD_LEASE_RENEWAL_S", ttl_s / 3)
    if not 0 < renewal_s < ttl_s:
        found = said("PLAYHEAD_LEASE_RENEWAL_S")
        place = _place(found[1]) if found else ""
        raise error(f"PLAYHEAD_LEASE_RENEWAL_S must be positive and less than {ttl_s:g}, not {renewal_s:g}{place}")
    return renewal_s


def task_runner_threads() -> int:
    """How many user functions one flow's task runner runs at once."""
    return int(number("PLAYHEAD_TASK_RUNNER_THREADS", 64))


def flag(name: str, default: bool = False) -> bool:
    """A yes-or-no setting."""
    chosen: bool | None = read(name)
    return default if chosen is None else chosen


def number(name: str, default: float) -> float:
    """A numeric setting."""
    chosen: float | None = read(name)
    return default if chosen is None else chosen


def logging_level() -> int:
    """The level of the logger "playhead"."""
    level: int | None = read("PLAYHEAD_LOGGING_LEVEL")
    return logging.INFO if level is None else level


def names(name: str) -> list[str]:
    """A setting that is a list, with commas between."""
    return [each.strip() for each in (value(name) or "").split(",") if each.strip()]


def text_of(value: Any) -> str:
    """A value as an environment variable would hold it: true, 1.5, a,b."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


class Settings(dict[str, Any]):
    """Settings by name: `settings["PLAYHEAD_API_URL"]`, or `settings.api.url`. None: not set."""

    def __getattr__(self, name: str) -> Any:
        path = f"{PREFIX}{name.upper()}"
        if path in self:
            return self[path]
        below = {PREFIX + key[len(path) + 1 :]: value for key, value in self.items() if key.startswith(f"{path}_")}
        if not below:
            raise AttributeError(f"There is no setting {path}.")
        return Settings(below)


def current_settings() -> Settings:
    """All settings as they are now, as text; None for those that nothing is said of, which have their defaults."""
    return Settings({name: value(name) for name in KNOWN})


def settings_of_environment() -> dict[str, Any]:
    """The settings that environment variables say, by name."""
    return {name: os.environ[name] for name in KNOWN if os.environ.get(name)}


def forget_files() -> None:
    """Read the files again when the next setting is asked for."""
    _of_files.clear()


def _place(where: str) -> str:
    """For the end of a message: where a setting was found, unless it is where everybody looks first."""
    return f": see {where}" if where != "the environment" else ""


def error(message: str) -> Exception:
    """The `ConfigurationError` that says this."""
    from playhead.exceptions import ConfigurationError  # loads the contract, which reading settings does not need

    return ConfigurationError(message)


def _flag(text: str) -> bool:
    text = text.strip().lower()
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


def _from(least: float, most: float, number: Callable[[str], float] = float) -> Callable[[str], float]:
    def between(text: str) -> float:
        value = number(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return between


def _level(text: str) -> int:
    known = logging.getLevelNamesMapping()
    return known[text.upper()] if text.upper() in known else int(text)


def _address(text: str) -> str:
    from playhead.addresses import target_of

    target_of(text)
    return text


def _database(text: str) -> str:
    if "://" in text and not text.startswith(("postgresql://", "postgres://", "postgresql+psycopg://", "sqlite:///")):
        raise ValueError
    return text


def _folder_or_url(text: str) -> str:
    schemes, separator, _ = text.partition("://")
    if separator and schemes != "file":
        import fsspec  # only for a place that is no folder

        if not {*schemes.split("::")} <= {*fsspec.available_protocols()}:
            raise ValueError
    return text


_TRUE, _FALSE = {"1", "true", "yes", "on", "t", "y"}, {"0", "false", "no", "off", "f", "n"}
_RETRIES = ("a whole number from 0 to 1,000,000", _from(0, 1_000_000, int))
_DELAY = ("from 0 to 1e9 seconds", _from(0, 1e9))
_YES_OR_NO = ("true or false", _flag)

# What a value must be, and what makes it of the text or raises ValueError. The others take any text.
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "PLAYHEAD_API_URL": ("grpc://host:port or unix:/path", _address),
    "PLAYHEAD_DATABASE": ("a path, sqlite:///path or postgresql://user@host/name", _database),
    "PLAYHEAD_RESULTS_URL": ("a folder, or a URL of a kind that fsspec knows", _folder_or_url),
    "PLAYHEAD_RESULTS_PERSIST_BY_DEFAULT": _YES_OR_NO,
    "PLAYHEAD_LEASE_TTL_S": ("from 1 to 86,400 seconds", _from(1, 86_400)),
    "PLAYHEAD_LEASE_RENEWAL_S": ("from 0 to 86,400 seconds", _from(0, 86_400)),
    "PLAYHEAD_TASK_RUNNER_THREADS": ("a whole number from 1 to 10,000", _from(1, 10_000, int)),
    "PLAYHEAD_PROGRESS": _YES_OR_NO,
    "PLAYHEAD_LOGGING_LEVEL": ("the name of a level, as INFO, or its number", _level),
    "PLAYHEAD_LOGGING_LOG_PRINTS": _YES_OR_NO,
    "PLAYHEAD_LOGGING_TO_API_ENABLED": _YES_OR_NO,
    "PLAYHEAD_FLOWS_DEFAULT_RETRIES": _RETRIES,
    "PLAYHEAD_FLOWS_DEFAULT_RETRY_DELAY_SECONDS": _DELAY,
    "PLAYHEAD_TASKS_DEFAULT_RETRIES": _RETRIES,
    "PLAYHEAD_TASKS_DEFAULT_RETRY_DELAY_SECONDS": _DELAY,
    "PLAYHEAD_TASKS_REFRESH_CACHE": _YES_OR_NO,
    "PLAYHEAD_TASKS_DEFAULT_NO_CACHE": _YES_OR_NO,
    "PLAYHEAD_TASKS_DISABLE_CACHING": _YES_OR_NO,
}


def _in_files(name: str) -> tuple[str, str] | None:
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # it was removed, and its files with it
        folder = ""
    key = (folder, *map(os.environ.get, _WHERE_FILES_ARE))
    found = _of_files.get(key)
    if found is None:
        from playhead.profiles import settings_of_files  # only where a file may be there

        found = settings_of_files(folder)
        if len(_of_files) >= PLACES_MAX:
            _of_files.clear()
        _of_files[key] = found
    return found.get(name)


_WHERE_FILES_ARE = ("HOME", "PLAYHEAD_HOME", "PLAYHEAD_PROFILES_PATH", "PLAYHEAD_PROFILE")
_of_files: dict[tuple[str | None, ...], dict[str, tuple[str, str]]] = {}
