"""Settings, from environment variables. Reading them is cheap: nothing is imported or validated before it is needed.

PLAYHEAD_API_URL                 the server to use: grpc://host:port, unix:/path  none: a journal of one's own
PLAYHEAD_DATABASE                that journal: a path or a postgresql:// URL  $PLAYHEAD_HOME/journal.db
PLAYHEAD_POLICY                  the rules: an installed name, or module:attribute the core policy
PLAYHEAD_HOME                    where files are kept by default              ~/.playhead
PLAYHEAD_RESULTS_URL             where large results are stored               $PLAYHEAD_HOME/results
PLAYHEAD_LEASE_TTL_S             how long a run's lease lasts, 1 to 86,400 s  60
PLAYHEAD_LEASE_RENEWAL_S         how often it is renewed, seconds             a third of that
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
    """How long a run may be silent before it is given up, in seconds. Raises ValueError unless it is 1 to 86,400."""
    ttl_s = number("PLAYHEAD_LEASE_TTL_S", 60.0)
    if not 1 <= ttl_s <= 86_400:
        raise ValueError(f"PLAYHEAD_LEASE_TTL_S must be from 1 to 86,400 seconds, not {ttl_s:g}")
    return ttl_s


def lease_renewal_s() -> float:
    """How often a lease is renewed, in seconds. Raises ValueError unless that is positive and less than the lease."""
    ttl_s = lease_ttl_s()
    renewal_s = number("PLAYHEAD_LEASE_RENEWAL_S", ttl_s / 3)
    if not 0 < renewal_s < ttl_s:
        raise ValueError(f"PLAYHEAD_LEASE_RENEWAL_S must be positive and less than {ttl_s:g}, not {renewal_s:g}")
    return renewal_s


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
