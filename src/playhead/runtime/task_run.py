"""Facts about the current task run.

id, name, task_name, tags, parameters, run_count, api_url (the server that has it; None without one), ui_url (None:
there is no UI). Outside of task runs: None, 0, [] or {}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playhead import settings
from playhead.context import TaskRunContext
from playhead.runtime.overrides import attribute

id: str | None
name: str | None
task_name: str | None
tags: list[str]
parameters: dict[str, Any]
run_count: int
api_url: str | None
ui_url: str | None


def __getattr__(name: str) -> Any:
    return attribute("TASK_RUN", name, _SOURCES)


def __dir__() -> list[str]:
    return sorted(_SOURCES)


def _of_context(read: Callable[[TaskRunContext], Any], default: Callable[[], Any] = lambda: None) -> Callable[[], Any]:
    def source() -> Any:
        context = TaskRunContext.get()
        return default() if context is None else read(context)

    return source


_SOURCES: dict[str, Callable[[], Any]] = {
    "id": _of_context(lambda context: context.task_run.run_id),
    "name": _of_context(lambda context: context.task_run.name),
    "task_name": _of_context(lambda context: context.task_run.task_name),
    "tags": _of_context(lambda context: list(context.task_run.tags), list),
    "parameters": _of_context(lambda context: dict(context.parameters), dict),
    "run_count": _of_context(lambda context: context.task_run.run_count, lambda: 0),
    "api_url": _of_context(lambda _: settings.api_url()),
    "ui_url": lambda: None,
}
