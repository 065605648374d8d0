"""Facts about the current task run.

id, name, task_name, tags, parameters, run_count. Outside of task runs: None, [] or {}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playhead.context import TaskRunContext
from playhead.runtime.overrides import attribute

id: str | None
name: str | None
task_name: str | None
tags: list[str]
parameters: dict[str, Any]
run_count: int


def __getattr__(name: str) -> Any:
    return attribute("TASK_RUN", name, _SOURCES)


def _of_context(read: Callable[[TaskRunContext], Any], default: Callable[[], Any]) -> Callable[[], Any]:
    def source() -> Any:
        context = TaskRunContext.get()
        return default() if context is None else read(context)

    return source


def _nothing() -> None:
    return None


_SOURCES: dict[str, Callable[[], Any]] = {
    "id": _of_context(lambda context: context.task_run.run_id, _nothing),
    "name": _of_context(lambda context: context.task_run.name, _nothing),
    "task_name": _of_context(lambda context: context.task_run.task_name, _nothing),
    "tags": _of_context(lambda context: list(context.task_run.tags), list),
    "parameters": _of_context(lambda context: dict(context.parameters), dict),
    "run_count": _of_context(lambda context: context.task_run.run_count, lambda: 0),
}
