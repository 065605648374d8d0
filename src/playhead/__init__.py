"""Playhead: flows and tasks whose every transition is a journaled decision.

`from playhead import flow, task` is what most programs need. Nothing is loaded before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playhead.context import tags
    from playhead.flow_runs import (
        apause_flow_run,
        aresume_flow_run,
        asuspend_flow_run,
        pause_flow_run,
        resume_flow_run,
        suspend_flow_run,
    )
    from playhead.flows import Flow, flow
    from playhead.logging import get_run_logger
    from playhead.states import State
    from playhead.tasks import Task, task
    from playhead.transactions import Transaction
    from playhead.utilities.annotations import allow_failure, opaque, quote, unmapped

__all__ = [
    "Flow",
    "State",
    "Task",
    "Transaction",
    "allow_failure",
    "apause_flow_run",
    "aresume_flow_run",
    "asuspend_flow_run",
    "flow",
    "get_run_logger",
    "opaque",
    "pause_flow_run",
    "quote",
    "resume_flow_run",
    "suspend_flow_run",
    "tags",
    "task",
    "unmapped",
]

_HOMES = {
    "Flow": "flows",
    "State": "states",
    "Task": "tasks",
    "Transaction": "transactions",
    "allow_failure": "utilities.annotations",
    "apause_flow_run": "flow_runs",
    "aresume_flow_run": "flow_runs",
    "asuspend_flow_run": "flow_runs",
    "flow": "flows",
    "get_run_logger": "logging",
    "opaque": "utilities.annotations",
    "pause_flow_run": "flow_runs",
    "quote": "utilities.annotations",
    "resume_flow_run": "flow_runs",
    "suspend_flow_run": "flow_runs",
    "tags": "context",
    "task": "tasks",
    "unmapped": "utilities.annotations",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"playhead.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    if name == "__version__":
        from importlib.metadata import version

        return version("playhead")
    raise AttributeError(f"module 'playhead' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
