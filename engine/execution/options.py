"""Options of flows and tasks, in the form in which they are used."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from numbers import Real
from pathlib import Path
from typing import Any, cast

from playhead import settings, v1
from playhead.cache_policies import DEFAULT, NO_CACHE, CachePolicy, NoCache
from playhead.engine.execution.definitions import Hook, NameSource
from playhead.exceptions import ConfigurationError, InvalidNameError
from playhead.locking.protocol import IsolationLevel
from playhead.utilities.annotations import NotSet

RetryDelay = float | Sequence[float] | Callable[[int], Sequence[float]] | None
RETRY_DELAYS_MAX = 50
RETRIES_MAX = JITTER_MAX = 1_000_000
SECONDS_MAX = 1e9
PAUSE_SECONDS_MAX = 1e11
KEY_BYTES_MAX = 500
SLOTS_MAX = 1_000_000
SHOWN_MAX = 100
"""Characters of a value that is refused."""

logger = logging.getLogger("playhead.tasks")
FORBIDDEN_IN_NAMES = ["/", "%", "&", ">", "<"]


def check_options(given: Mapping[str, Any]) -> None:
    """Refuse options, of flows, tasks, pauses and limits, that no run could use. None and NotSet choose nothing.

    Raises TypeError for a value of another type and ValueError for any other, with the option's name.
    """
    for option, (types, what, fits) in _OPTIONS.items():
        value = given.get(option)
        if value is None or value is NotSet:
            continue
        if not isinstance(value, types) or not fits(value):
            error = ValueError if isinstance(value, types) else TypeError
            raise error(f"`{option}` must be {what}, not {repr(value)[:SHOWN_MAX]}.")


def _any(value: object) -> bool:
    return True


def _seconds(value: Any) -> bool:
    return isinstance(value, Real) and 0 <= value <= SECONDS_MAX  # type: ignore[operator]  # real numbers compare


def _is_count(value: Any) -> bool:
    return bool(0 <= value <= RETRIES_MAX and value == int(value))


def _is_name(value: Any) -> bool:
    return not isinstance(value, str) or (value != "" and value.isprintable())


def _is_key(value: str) -> bool:
    return (value == "" or value.isprintable()) and len(value.encode(errors="replace")) <= KEY_BYTES_MAX


def _is_task_key(value: str) -> bool:
    return _is_key(value) and not value.isspace()


def _delays(value: Any) -> bool:
    return callable(value) or _seconds(value) or (isinstance(value, Sequence) and all(map(_seconds, value)))


def _is_runner(value: Any) -> bool:
    return callable(getattr(value, "duplicate", None))


_Row = tuple[Any, str, Callable[[Any], bool]]
_YES_OR_NO: _Row = (bool, "True or False", _any)
_TEXT: _Row = (str, "a text", _any)
_FUNCTION: _Row = (Callable, "a function", _any)

# The types of an option, what it must be, and whether a value of these types is that. Names that are no texts, cache
# policies, places, serializers, hooks and tags are refused where they are taken in.
_OPTIONS: dict[str, _Row] = {
    "name": (object, "one line of text", _is_name),
    "version": _TEXT,
    "description": _TEXT,
    "retries": (Real, "a whole number from 0 to 1,000,000", _is_count),
    "retry_delay_seconds": (
        (Real, Sequence, Callable),
        "from 0 to 1e9 seconds, a list of these, or a function of `retries`",
        _delays,
    ),
    "retry_jitter_factor": (Real, "a number from 0 to 1,000,000", lambda factor: 0 <= factor <= JITTER_MAX),
    "retry_condition_fn": _FUNCTION,
    "retry_on_crash": _YES_OR_NO,
    "task_runner": (object, "a task runner: see playhead.task_runners", _is_runner),
    "timeout_seconds": (Real, "from 0 to 1e9 seconds", _seconds),
    "validate_parameters": _YES_OR_NO,
    "persist_result": _YES_OR_NO,
    "cache_result_in_memory": _YES_OR_NO,
    "log_prints": _YES_OR_NO,
    "refresh_cache": _YES_OR_NO,
    "cache_key_fn": _FUNCTION,
    "cache_expiration": (timedelta, "a timedelta", _any),
    "result_storage_key": _TEXT,
    "task_key": (str, f"a line of at most {KEY_BYTES_MAX} bytes, not of spaces alone", _is_task_key),
    "timeout": (Real, "more than 0 seconds, at most 1e11", lambda seconds: 0 < seconds <= PAUSE_SECONDS_MAX),
    "key": (str, "one line of text of at most 500 bytes", _is_key),
    "occupy": (int, "a whole number from 1 to 1,000,000", lambda count: 1 <= count <= SLOTS_MAX and count is not True),
}


def retry_policy(
    retries: int | None, delay: RetryDelay, jitter: float | None, kind: str, on_crash: bool = False
) -> v1.RetryPolicy:
    """The options as the service knows them. `kind` names the settings that hold the defaults. Raises ValueError."""
    if retries is None:
        retries = int(settings.number(f"PLAYHEAD_{kind}_DEFAULT_RETRIES", 0))
    if delay is None:
        delay = settings.number(f"PLAYHEAD_{kind}_DEFAULT_RETRY_DELAY_SECONDS", 0)
    if callable(delay):
        delay = delay(int(retries))
        check_options({"retry_delay_seconds": delay})
    delays = [float(delay)] if isinstance(delay, Real) else [float(each) for each in cast("Sequence[float]", delay)]
    if len(delays) > RETRY_DELAYS_MAX:
        raise ValueError(f"Can not configure more than {RETRY_DELAYS_MAX} retry delays per task.")
    if on_crash and not retries:
        raise ValueError("`retry_on_crash` counts crashes among the retries: set `retries` too.")
    delays = delays if any(delays) else []
    return v1.RetryPolicy(retries=int(retries), delays_s=delays, jitter_factor=jitter or 0.0, on_crash=on_crash)


def task_key_of(fn: Callable[..., Any]) -> str:
    """Which task: the source file's name and the function's qualified name, the same in every process."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    source = Path(code.co_filename) if code else Path()
    name = getattr(fn, "__qualname__", type(fn).__qualname__)
    return f"{source.stem}.{name}" if source.suffix == ".py" else name


def plain_function(fn: Any) -> Callable[..., Any]:
    """What was decorated, taken out of a `classmethod` or `staticmethod`. Raises TypeError if it can not be called."""
    fn = fn.__func__ if isinstance(fn, (classmethod, staticmethod)) else fn
    if not callable(fn):
        raise TypeError("'fn' must be callable")
    return fn  # type: ignore[no-any-return]  # callable, as found above


def bind(fn: Callable[..., Any], receiver: object) -> Callable[..., Any]:
    """A function as a method of an instance or class; an object that can be called stays what it is."""
    return fn.__get__(receiver) if hasattr(fn, "__get__") else fn


def flow_name(name: str | None, fn: Callable[..., Any]) -> str:
    """The given name, else the function's with - for _. Raises TypeError and `InvalidNameError`."""
    if name is not None and not isinstance(name, str):
        hint = " Perhaps you meant to call it? e.g. '@flow(name=get_flow_run_name())'" if callable(name) else ""
        raise TypeError(f"Expected string for flow parameter 'name'; got {type(name).__name__} instead.{hint}")
    name = name or function_name(fn).replace("_", "-").replace("<lambda>", "unknown-lambda")
    if any(character in name for character in FORBIDDEN_IN_NAMES):
        raise InvalidNameError(
            f"Name {name!r} contains an invalid character. Must not contain any of: {FORBIDDEN_IN_NAMES}."
        )
    return name


def function_name(fn: Callable[..., Any]) -> str:
    """What a function is called; an object that can be called has the name of its class."""
    return str(getattr(fn, "__name__", type(fn).__name__))


def name_source(source: NameSource, option: str) -> NameSource:
    """What names of runs are made from. Raises TypeError when it is neither a template nor a function."""
    if source is not None and not isinstance(source, str) and not callable(source):
        raise TypeError(f"Expected string or callable for '{option}'; got {type(source).__name__} instead.")
    return source


def hooks_of(given: Iterable[Hook] | None, option: str, kind: str) -> list[Hook]:
    """The hooks of an option. Raises TypeError for anything but functions."""
    advice = (
        f"Please provide a list of hooks to '{option}':\n\n@{kind}({option}=[hook1, hook2])\ndef my_{kind}():\n\tpass"
    )
    if given is not None and not isinstance(given, Iterable):
        raise TypeError(f"Expected iterable for '{option}'; got {type(given).__name__} instead. {advice}")
    hooks = list(given or ())
    for hook in hooks:
        if not callable(hook):
            raise TypeError(f"Expected callables in '{option}'; got {type(hook).__name__} instead. {advice}")
    return hooks


def changed(current: dict[str, Any], options: dict[str, Any], none_is_a_choice: frozenset[str]) -> dict[str, Any]:
    """The options with some replaced. None and NotSet leave an option as it is, None not where it is a choice."""
    kept = {name for name, value in options.items() if value is None and name not in none_is_a_choice}
    return {**current, **{name: value for name, value in options.items() if value is not NotSet and name not in kept}}


def persist_where(definition: Any, given: bool | None, storage_key: str | None = None) -> bool | None:
    """The option `persist_result`: who says where or how results are stored wants them stored."""
    says = (definition.result_storage, definition.result_serializer, storage_key)
    return True if given is None and any(option is not None for option in says) else given


def cache_policy_of(
    name: str, given: Any, cache_key_fn: Callable[..., Any] | None, storage_key: str | None, persist: bool | None
) -> CachePolicy | None:
    """The policy of a task, from what was given for it.

    Raises TypeError for what is no policy, `ConfigurationError` for one that needs a lock manager and has none.
    """
    if given is not NotSet and given is not None and not isinstance(given, CachePolicy):
        raise TypeError(f"cache_policy: expected one of playhead.cache_policies, got {type(given).__name__}.")
    says = isinstance(given, CachePolicy) and not isinstance(given, NoCache)
    if says and cache_key_fn is not None:
        logger.warning("Task %r has both a cache_policy and a cache_key_fn: the cache_key_fn is used.", name)
    if persist is False:
        if says:
            logger.warning("Task %r does not use its cache_policy, because its persist_result is False.", name)
        return NO_CACHE
    if cache_key_fn is not None:
        return CachePolicy.from_cache_key_fn(cache_key_fn)
    if given is NotSet:
        return DEFAULT if storage_key is None else None
    policy = cast("CachePolicy | None", given)
    if policy is not None and policy.isolation_level is IsolationLevel.SERIALIZABLE and policy.lock_manager is None:
        raise ConfigurationError(
            f"The cache policy of task {name!r} is SERIALIZABLE and has no lock manager: "
            "configure(isolation_level=…, lock_manager=MemoryLockManager()), or another one of playhead.locking."
        )
    return policy
