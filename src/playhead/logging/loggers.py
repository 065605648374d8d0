"""Loggers of runs, and the console handler that shows their records."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from playhead import settings
from playhead.context import FlowRunContext, TaskRunContext
from playhead.exceptions import MissingContextError

if TYPE_CHECKING:
    from playhead.runs import FlowRun, TaskRun

ROOT = logging.getLogger("playhead")
FLOW_RUNS = logging.getLogger("playhead.flow_runs")
TASK_RUNS = logging.getLogger("playhead.task_runs")

_disabled: ContextVar[bool] = ContextVar("run_logger_disabled_outside_runs", default=False)
_configured = False


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the facts of a run to its records, beside the caller's `extra`."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Merge the caller's extra fields with the run's."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs

    def isEnabledFor(self, level: int) -> bool:
        """Not while `disable_run_logger` is in force."""
        return self.logger.isEnabledFor(level) and not _is_disabled()

    def getChild(self, suffix: str, extra: dict[str, Any] | None = None) -> RunLogger:
        """A logger below this one, with the same facts."""
        return RunLogger(self.logger.getChild(suffix), {**(self.extra or {}), **(extra or {})})


class disable_run_logger:
    """Silence the run logger: for the rest of the run when called, for a block as `with disable_run_logger():`.

    What a flow run silences is silent in its task runs too.

    Outside of runs, `get_run_logger` then gives a silent logger, so that a task's function can be called by itself.
    """

    def __init__(self) -> None:
        self._context = TaskRunContext.get() or FlowRunContext.get()
        if self._context is None:
            self._token = _disabled.set(True)
        else:
            self._before, self._context.logs_disabled = self._context.logs_disabled, True

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        if self._context is None:
            _disabled.reset(self._token)
        else:
            self._context.logs_disabled = self._before


def get_logger(name: str | None = None) -> logging.Logger:
    """The logger of this name below "playhead"; without a name, the logger "playhead" itself."""
    configure()
    if name is None or name == "playhead":
        return ROOT
    return logging.getLogger(name if name.startswith("playhead.") else f"playhead.{name}")


def get_run_logger(name: Any = None, context: Any = None, **extra: Any) -> RunLogger:
    """The logger of the run that the code is in; of the task run, if there is one.

    `name` asks for a logger of that name below the run's own; `context` for that of another run's context; `extra`
    fields are added to all records. Raises `MissingContextError` outside of runs.
    """
    if isinstance(name, (FlowRunContext, TaskRunContext)):
        name, context = None, name
    task = context if isinstance(context, TaskRunContext) else None if context else TaskRunContext.get()
    flow = context if isinstance(context, FlowRunContext) else FlowRunContext.get()
    if task is not None:
        logger = task_run_logger(task.task_run, flow.flow_run if flow else None, **extra)
    elif flow is not None:
        logger = flow_run_logger(flow.flow_run, **extra)
    elif _disabled.get():
        return RunLogger(FLOW_RUNS, extra)
    else:
        raise MissingContextError("There is no active flow or task run context.")
    return logger.getChild(name) if name else logger


def flow_run_logger(flow_run: FlowRun, flow: Any = None, **extra: Any) -> RunLogger:
    """The logger of a flow run."""
    configure()
    fields = {"flow_run_name": flow_run.name, "flow_run_id": flow_run.run_id, "flow_name": flow_run.flow_name}
    return RunLogger(FLOW_RUNS, {**fields, **extra})


def task_run_logger(task_run: TaskRun, flow_run: FlowRun | None = None, **extra: Any) -> RunLogger:
    """The logger of a task run."""
    configure()
    fields = {
        "task_run_id": task_run.run_id,
        "task_run_name": task_run.name,
        "task_name": task_run.task_name,
        "flow_run_id": task_run.parent_run_id or None,
        "flow_run_name": flow_run.name if flow_run else None,
        "flow_name": flow_run.flow_name if flow_run else None,
    }
    return RunLogger(TASK_RUNS, {**fields, **extra})


def configure() -> None:
    """Show records on stderr, unless the program has handlers of its own.

    The level is PLAYHEAD_LOGGING_LEVEL, else INFO.
    """
    global _configured
    if _configured:
        return
    if ROOT.level == logging.NOTSET:
        ROOT.setLevel(settings.logging_level())
    _configured = True
    if not ROOT.hasHandlers():
        handler = _StderrHandler()
        handler.setFormatter(ConsoleFormatter())
        ROOT.addHandler(handler)


def _is_disabled() -> bool:
    around = [context for context in (TaskRunContext.get(), FlowRunContext.get()) if context is not None]
    return any(context.logs_disabled for context in around) if around else _disabled.get()


class ConsoleFormatter(logging.Formatter):
    """ "13:48:40.570 | INFO    | Flow run 'red-orca' - Finished in state Completed()"."""

    default_time_format = "%H:%M:%S"
    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the exception's lines below."""
        fields = record.__dict__
        if fields.get("task_run_name"):
            source = f"Task run {fields['task_run_name']!r}"
        elif fields.get("flow_run_name"):
            source = f"Flow run {fields['flow_run_name']!r}"
        else:
            source = record.name
        line = f"{self.formatTime(record)} | {record.levelname:<7} | {source} - {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to what sys.stderr is at the moment, so that redirection is followed."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr
