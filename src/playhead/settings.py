"""Settings, from environment variables. Reading them is cheap: nothing is imported or validated before it is needed.

PLAYHEAD_API_URL                 the server to use: grpc://host:port, unix:/path  none: a journal of one's own
PLAYHEAD_DATABASE                that journal: a path or a postgresql:// URL  $PLAYHEAD_HOME/journal.db
PLAYHEAD_POLICY                  the rules: an installed name, or module:attribute the core policy
PLAYHEAD_HOME                    where files are kept by default              ~/.playhead
PLAYHEAD_RESULTS_URL             where large results are stored               $PLAYHEAD_HOME/results
PLAYHEAD_LEASE_TTL_S             how long a flow run's lease lasts, seconds   60
PLAYHEAD_TASK_RUNNER_THREADS     user functions that run at once, per flow    64
PLAYHEAD_LOGGING_LEVEL           level of the logger "playhead"               INFO
PLAYHEAD_LOGGING_LOG_PRINTS      print() in runs becomes a log record         false
PLAYHEAD_FLOWS_DEFAULT_RETRIES, PLAYHEAD_FLOWS_DEFAULT_RETRY_DELAY_SECONDS    0
PLAYHEAD_TASKS_DEFAULT_RETRIES, PLAYHEAD_TASKS_DEFAULT_RETRY_DELAY_SECONDS    0
PLAYHEAD_TASKS_REFRESH_CACHE     tasks run even when their result is cached   false
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Where files are kept when nothing else is said."""
    return Path(os.environ.get("PLAYHEAD_HOME") or Path.home() / ".playhead")


def database() -> str:
    """The journal to use when neither a server nor another journal is named."""
    return os.environ.get("PLAYHEAD_DATABASE") or str(home() / "journal.db")


def results_url() -> str:
    """Where large results are stored: a folder or an fsspec URL."""
    return os.environ.get("PLAYHEAD_RESULTS_URL") or str(home() / "results")


def lease_ttl_s() -> float:
    """How long a flow run may be silent before others may take it over, in seconds."""
    return number("PLAYHEAD_LEASE_TTL_S", 60.0)


def task_runner_threads() -> int:
    """How many user functions one flow's task runner runs at once."""
    return int(number("PLAYHEAD_TASK_RUNNER_THREADS", 64))


def flag(name: str, default: bool = False) -> bool:
    """A yes-or-no variable: 1, true, yes, on in any letter case."""
    text = os.environ.get(name)
    return default if text is None else text.strip().lower() in {"1", "true", "yes", "on"}


def number(name: str, default: float) -> float:
    """A numeric variable. Raises ValueError, naming the variable, when it is not a number."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r}") from None
