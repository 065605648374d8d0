"""Facts about the deployment that started the current flow run: id, flow_run_id, name, version, parameters.

Outside of flow runs, and for one that no deployment started: None, and {} for its parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playhead.runtime import flow_run
from playhead.runtime.overrides import attribute

id: str | None
flow_run_id: str | None
name: str | None
version: str | None
parameters: dict[str, Any]


def __getattr__(name: str) -> Any:
    return attribute("DEPLOYMENT", name, _SOURCES)


def __dir__() -> list[str]:
    return sorted(_SOURCES)


def _id() -> str | None:
    run = flow_run.current()
    return run.deployment_id if run else None


_SOURCES: dict[str, Callable[[], Any]] = {
    "id": _id,
    "flow_run_id": lambda: flow_run.id,
    "name": lambda: None,
    "version": lambda: None,
    "parameters": dict,
}
