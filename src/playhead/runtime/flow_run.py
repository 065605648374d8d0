"""Facts about the current flow run.

id, name, flow_name, flow_version, tags, parameters, run_count, scheduled_start_time, parent_flow_run_id,
root_flow_run_id, parent_deployment_id. Outside of flow runs: None, [] or {}; scheduled_start_time is then now.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from playhead.context import FlowRunContext
from playhead.runtime.overrides import attribute

if TYPE_CHECKING:
    from playhead.runs import FlowRun

id: str | None
name: str | None
flow_name: str | None
flow_version: str | None
tags: list[str]
parameters: dict[str, Any]
run_count: int
scheduled_start_time: datetime
parent_flow_run_id: str | None
root_flow_run_id: str | None
parent_deployment_id: str | None


def __getattr__(name: str) -> Any:
    return attribute("FLOW_RUN", name, _SOURCES)


def _run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None


def _of_run(read: Callable[[FlowRun], Any], default: Callable[[], Any]) -> Callable[[], Any]:
    def source() -> Any:
        run = _run()
        return default() if run is None else read(run)

    return source


def _nothing() -> None:
    return None


def _ancestors() -> list[str]:
    """The flow runs around this one, nearest first."""
    context = FlowRunContext.get()
    return context.ancestors if context else []


def _parent() -> str | None:
    return next(iter(_ancestors()), None)


def _root() -> str | None:
    run = _run()
    return [run.run_id, *_ancestors()][-1] if run else None


_SOURCES: dict[str, Callable[[], Any]] = {
    "id": _of_run(lambda run: run.run_id, _nothing),
    "name": _of_run(lambda run: run.name, _nothing),
    "flow_name": _of_run(lambda run: run.flow_name, _nothing),
    "flow_version": _of_run(lambda run: run.flow_version, _nothing),
    "tags": _of_run(lambda run: list(run.tags), list),
    "parameters": _of_run(lambda run: dict(run.parameters), dict),
    "run_count": _of_run(lambda run: run.run_count, lambda: 0),
    "scheduled_start_time": _of_run(lambda run: run.created, lambda: datetime.now(UTC)),
    "parent_flow_run_id": _parent,
    "root_flow_run_id": _root,
    "parent_deployment_id": _nothing,
}
