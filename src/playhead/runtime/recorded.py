"""What the service knows of runs that the code is not in itself: asked for once, and kept."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from playhead import v1
from playhead.client.interface import GET_FLOW_RUN, GET_TASK_RUN
from playhead.context import FlowRunContext

if TYPE_CHECKING:
    from playhead.client.interface import Client
    from playhead.runs import FlowRun

RUNS_MAX = 100
"""Flow runs and families of flow runs that are kept."""


def named_by_environment() -> FlowRun | None:
    """The flow run that PLAYHEAD__FLOW_RUN_ID names. Raises `NotFound` for one that is not there."""
    flow_run_id = os.environ.get("PLAYHEAD__FLOW_RUN_ID")
    return _flow_run(flow_run_id) if flow_run_id else None


def ancestors(run: FlowRun) -> list[str]:
    """The ids of the flow runs that a subflow run was called in, nearest first."""
    return list(_ancestors(run.parent_task_run_id)) if run.parent_task_run_id else []


def deployment_of_parent(around: list[str]) -> str | None:
    """The deployment that the flow run around was started by; `around` are the flow runs around, nearest first."""
    return _flow_run(around[0]).deployment_id if around else None


@lru_cache(RUNS_MAX)
def _flow_run(flow_run_id: str) -> FlowRun:
    from playhead.engine.execution.translation import flow_run_of  # loads what running needs

    return flow_run_of(_client().unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=flow_run_id)).flow_run)


@lru_cache(RUNS_MAX)
def _ancestors(task_run_id: str) -> tuple[str, ...]:
    tracking = _client().unary(GET_TASK_RUN, v1.GetTaskRunRequest(task_run_id=task_run_id)).task_run
    parent = _flow_run(tracking.spec.flow_run_id)
    above = _ancestors(parent.parent_task_run_id) if parent.parent_task_run_id else ()
    return (parent.run_id, *above)


def _client() -> Client:
    from playhead.engine.execution.connection import get_client

    context = FlowRunContext.get()
    return (context.client if context else None) or get_client()
