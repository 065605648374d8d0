"""print() in runs as log records, where `log_prints` asks for it."""

from __future__ import annotations

import builtins
import io
import sys
from typing import Any

from playhead import settings
from playhead.context import FlowRunContext, TaskRunContext
from playhead.logging.loggers import get_run_logger

_print = builtins.print


def should_log_prints(option: bool | None, parent: FlowRunContext | None) -> bool:
    """The flow's or task's own choice, else that of the flow run around it, else the setting."""
    if option is not None:
        return option
    if parent is not None:
        return parent.log_prints
    return settings.flag("PLAYHEAD_LOGGING_LOG_PRINTS")


def patch_print() -> None:
    """Let print() look where it is called. Done once per process; runs without `log_prints` print as ever."""
    if builtins.print is not print_as_log:
        builtins.print = print_as_log


def print_as_log(*args: Any, **kwargs: Any) -> None:
    """print(), or an INFO record of the run when it logs its prints and the text is for stdout or stderr."""
    context = TaskRunContext.get() or FlowRunContext.get()
    if context is None or not context.log_prints or kwargs.get("file") not in {None, sys.stdout, sys.stderr}:
        return _print(*args, **kwargs)
    text = io.StringIO()
    _print(*args, **{**kwargs, "file": text})
    get_run_logger(context=context).info("%s", text.getvalue().rstrip("\n"))
    return None
