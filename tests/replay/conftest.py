"""Journals with a history."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.replay.history import History


@pytest.fixture
def history(store: str) -> Iterator[History]:
    """An open journal with something of everything in it, on both databases."""
    opened = History(store)
    opened.write()
    yield opened
    opened.close()
