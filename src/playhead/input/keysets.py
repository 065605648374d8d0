"""Keysets: the keys under which the parts of one typed input are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Keyset(dict[str, str]):
    """Keys by what is stored under them: "description", "response", "schema".

    Made of a set of keys, each stands for itself: `"a" in Keyset({"a", "b"})`.
    """

    def __init__(self, keys: Mapping[str, str] | Iterable[str] = (), /, **named: str) -> None:
        super().__init__(keys if isinstance(keys, Mapping) else {key: key for key in keys}, **named)


def keyset_from_base_key(base_key: str) -> Keyset:
    """The keyset whose keys begin with this one."""
    return Keyset({part: f"{base_key}-{part}" for part in ("description", "response", "schema")})


def keyset_from_paused_state(state: Any) -> Keyset:
    """The keyset of the input that a pause asks for: `state` is PAUSED. Raises RuntimeError for another one."""
    if not state.is_paused():
        raise RuntimeError(f"A keyset is of a paused state, not of {state.type.value}.")
    return keyset_from_base_key(base_key_of_pause(state.name, state.state_details.pause_key))


def base_key_of_pause(state_name: str, pause_key: str | None) -> str:
    """The base of a pause's keyset."""
    return f"{state_name.lower()}-{pause_key}"
