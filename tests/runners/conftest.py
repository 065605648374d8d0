"""The runners that call functions in other processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from playhead.task_runners import ProcessPoolTaskRunner
from tests.sdk.conftest import embedded, server_address, service

__all__ = ["embedded", "server_address", "service"]

MakeRunner = Callable[[], Any]


@pytest.fixture(params=["processes"])
def runner(request: pytest.FixtureRequest) -> MakeRunner:
    """A runner with two workers of one thread each."""
    return lambda: ProcessPoolTaskRunner(max_workers=2)
