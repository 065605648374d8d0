"""Facts about the current flow run.

id, name, flow_name, flow_version, tags, parameters, run_count, scheduled_start_time (when it was to start),
parent_flow_run_id, root_flow_run_id, parent_deployment_id, job_variables, api_url (the server that has it; None without
one), ui_url (None: there is no UI). Outside of flow runs: None, 0, [] or {}; scheduled_start_time is then now.

A process that is in no flow run, but has PLAYHEAD__FLOW_RUN_ID in its environment, is told of that run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from playhead import settings
from playhead.context import FlowRunContext
from playhead.runtime import recorded
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
job_variables: dict[str, Any]
api_url: str | None
ui_url: str | None


def __getattr__(name: str) -> Any:
    return attribute("FLOW_RUN", name, _SOURCES)


def __dir__() -> list[str]:
    return sorted(_SOURCES)


def current() -> FlowRun | None:
    """The run that the code is in, or that the environment names."""
    context = FlowRunContext.get()
    return context.flow_run if context else recorded.named_by_environment()


def _of_run(read: Callable[[FlowRun], Any], default: Callable[[], Any] = lambda: None) -> Callable[[], Any]:
    def source() -> Any:
        run = current()
        return default() if run is None else read(run)

    return source


def _ancestors(run: FlowRun) -> list[str]:
    """The flow runs around this one, nearest first."""
    context = FlowRunContext.get()
    if context is None:
        return recorded.ancestors(run)
    if not context.ancestors and run.parent_task_run_id:
        context.ancestors = recorded.ancestors(run)  # a subflow run that a process of its own executes
    return context.ancestors


_SOURCES: dict[str, Callable[[], Any]] = {
    "id": _of_run(lambda run: run.run_id),
    "name": _of_run(lambda run: run.name),
    "flow_name": _of_run(lambda run: run.flow_name),
    "flow_version": _of_run(lambda run: run.flow_version),
    "tags": _of_run(lambda run: list(run.tags), list),
    "parameters": _of_run(lambda run: dict(run.parameters), dict),
    "run_count": _of_run(lambda run: run.run_count, lambda: 0),
    "scheduled_start_time": _of_run(lambda run: run.expected_start_time, lambda: datetime.now(UTC)),
    "parent_flow_run_id": _of_run(lambda run: next(iter(_ancestors(run)), None)),
    "root_flow_run_id": _of_run(lambda run: [run.run_id, *_ancestors(run)][-1]),
    "parent_deployment_id": _of_run(lambda run: recorded.deployment_of_parent(_ancestors(run))),
    "job_variables": dict,
    "api_url": _of_run(lambda _: settings.api_url()),
    "ui_url": lambda: None,
}
