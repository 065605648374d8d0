"""Settings in files: `playhead.toml`, `[tool.playhead]` of `pyproject.toml`, and profiles.

A profile is a set of settings with a name. The file of the profiles, $PLAYHEAD_HOME/profiles.toml, says which one is
active, unless PLAYHEAD_PROFILE names another:

    active = "staging"

    [profiles.staging]
    PLAYHEAD_API_URL = "grpc://staging:4200"

In all of these files, a setting is written by its whole name, or as "[logging] level" for PLAYHEAD_LOGGING_LEVEL.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playhead import settings

DEFAULT = "default"


@dataclass
class Profile:
    """A set of settings with a name."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Profiles:
    """What the file of the profiles holds. The profile `default` is always there."""

    active: str
    profiles: dict[str, Profile]

    def __getitem__(self, name: str) -> Profile:
        if name not in self.profiles:
            names = ", ".join(sorted(self.profiles))
            raise settings.error(f"There is no profile {name!r} in {profiles_path()}, only: {names}.")
        return self.profiles[name]


def profiles_path() -> Path:
    """Where the file of the profiles is, or would be."""
    given = os.environ.get("PLAYHEAD_PROFILES_PATH")
    home = os.environ.get("PLAYHEAD_HOME") or Path.home() / ".playhead"
    return Path(given) if given else Path(home) / "profiles.toml"


def load_profiles() -> Profiles:
    """The profiles. Raises `ConfigurationError` when the file can not be understood."""
    path = profiles_path()
    document = _read(path)
    tables = document.get("profiles", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise settings.error(f"{path}: [profiles.<name>] must be tables.")
    profiles = {name: Profile(name, _flat(table, f"{path}, profile {name!r}")) for name, table in tables.items()}
    profiles.setdefault(DEFAULT, Profile(DEFAULT))
    return Profiles(str(document.get("active", DEFAULT)), profiles)


def save_profiles(profiles: Profiles) -> None:
    """Write the file of the profiles, as a whole; comments in it are lost."""
    lines = [f"active = {_quoted(profiles.active)}"]
    for profile in profiles.profiles.values():
        lines += ["", f"[profiles.{_quoted(profile.name)}]"]
        lines += [f"{name} = {_quoted(value)}" for name, value in profile.settings.items()]
    path = profiles_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)  # an address may hold a password
    fresh.write_text("\n".join(lines) + "\n")
    fresh.replace(path)


def change_profile(chosen: Mapping[str, str], removed: Iterable[str]) -> Profile:
    """Set and remove settings of the active profile, and write the file. Raises `ConfigurationError`."""
    profiles = load_profiles()
    profile = profiles[os.environ.get("PLAYHEAD_PROFILE") or profiles.active]
    gone = set(removed)
    profile.settings = {name: value for name, value in profile.settings.items() if name not in gone} | dict(chosen)
    save_profiles(profiles)
    settings.forget_files()
    return profile


def active_profile() -> Profile:
    """The profile that PLAYHEAD_PROFILE names, else the one that is active. Raises `ConfigurationError`."""
    profiles = load_profiles()
    return profiles[os.environ.get("PLAYHEAD_PROFILE") or profiles.active]


def settings_of_files(folder: str) -> dict[str, tuple[str, str]]:
    """What files say in a working directory ("": in none), and where.

    The stronger ones have overwritten the weaker ones.
    """
    profile = active_profile()
    found = _said_at(f"{profiles_path()}, profile {profile.name!r}", profile.settings)
    if folder:
        pyproject = Path(folder, "pyproject.toml")
        where = f"{pyproject}, [tool.playhead]"
        found |= _said_at(where, _flat(_read(pyproject).get("tool", {}).get("playhead", {}), where))
        own = Path(folder, "playhead.toml")
        found |= _said_at(str(own), _flat(_read(own), str(own)))
    return found


def _said_at(where: str, found: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (value, where) for name, value in found.items()}


def _read(path: Path) -> dict[str, Any]:
    """A TOML file; nothing when there is none."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except ValueError as error:
        raise settings.error(f"{path} is not TOML: {error}") from error


def _flat(table: Any, where: str, prefix: str = settings.PREFIX) -> dict[str, str]:
    """The settings of a table by their whole names. Warns of names that no setting has."""
    if not isinstance(table, dict):
        raise settings.error(f"{where}: must be a table.")
    found: dict[str, str] = {}
    for key, value in table.items():
        name = key if key.startswith(settings.PREFIX) else f"{prefix}{key.upper()}"
        if isinstance(value, dict):
            found |= _flat(value, where, f"{name}_")
        elif name in settings.ENVIRONMENT_ONLY:
            raise settings.error(f"{where}: {key} is read from the environment only, as {name}.")
        elif name in settings.KNOWN:
            found[name] = settings.text_of(value)
        else:
            warnings.warn(f"{where}: there is no setting {name}, it is left out.", stacklevel=2)
    return found


def _quoted(text: str) -> str:
    """A text as TOML's basic string, which JSON's strings are but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
