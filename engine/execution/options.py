"""Options of flows and tasks, in the form in which they are used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from playhead import settings, v1

RetryDelay = float | Sequence[float] | Callable[[int], Sequence[float]] | None
RETRY_DELAYS_MAX = 50


def retry_policy(retries: int | None, delay: RetryDelay, jitter: float | None, kind: str) -> v1.RetryPolicy:
    """The options as the service knows them. `kind` names the settings that hold the defaults. Raises ValueError."""
    if retries is None:
        retries = int(settings.number(f"PLAYHEAD_{kind}_DEFAULT_RETRIES", 0))
    if delay is None:
        delay = settings.number(f"PLAYHEAD_{kind}_DEFAULT_RETRY_DELAY_SECONDS", 0)
    if callable(delay):
        delay = delay(retries)
    delays = [float(seconds) for seconds in ([delay] if isinstance(delay, (int, float)) else delay)]
    if len(delays) > RETRY_DELAYS_MAX:
        raise ValueError(f"Can not configure more than {RETRY_DELAYS_MAX} retry delays per task.")
    if jitter is not None and jitter < 0:
        raise ValueError("`retry_jitter_factor` must be >= 0.")
    return v1.RetryPolicy(retries=retries, delays_s=delays if any(delays) else [], jitter_factor=jitter or 0.0)


def task_key_of(fn: Callable[..., Any]) -> str:
    """Which task: the source file's name and the function's qualified name, the same in every process."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    source = Path(code.co_filename) if code else Path()
    name = getattr(fn, "__qualname__", type(fn).__qualname__)
    return f"{source.stem}.{name}" if source.suffix == ".py" else name
