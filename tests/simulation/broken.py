"""How a check says that a promise is broken."""

from __future__ import annotations

import difflib


class Broken(AssertionError):
    """A promise or a law is broken: which, and by what."""


def hold(condition: object, law: str, *about: object) -> None:
    """Raise Broken unless the condition is true. `about` is shown when it is not."""
    if not condition:
        raise Broken("\n".join((law, *(str(one).rstrip() for one in about))))


def same(found: object, expected: object, what: str) -> None:
    """Raise Broken unless both are equal."""
    if found != expected:
        should, is_ = str(expected).splitlines(), str(found).splitlines()
        raise Broken("\n".join((what, *difflib.unified_diff(should, is_, "should be", "is", n=100, lineterm=""))))
