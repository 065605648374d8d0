"""Context: which run the code that asks is in.

Contexts are context variables: each thread and asyncio task has its own, and a submitted task has a copy of its
submitter's. To another process a context goes as JSON: `serialize_context`, `hydrated_context`, `with_context`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from playhead import settings
from playhead.exceptions import MissingContextError
from playhead.profiles import Profile, active_profile, load_profiles

if TYPE_CHECKING:
    from playhead.client.interface import Client
    from playhead.engine.execution.carried import hydrated_context, serialize_context, with_context
    from playhead.runs import FlowRun, TaskRun

__all__ = [
    "ContextModel",
    "EngineContext",
    "FlowRunContext",
    "RunContext",
    "SettingsContext",
    "TagsContext",
    "TaskRunContext",
    "current_tags",
    "get_run_context",
    "get_settings_context",
    "hydrated_context",
    "root_settings_context",
    "serialize_context",
    "tags",
    "temporary_settings",
    "use_profile",
    "with_context",
]

TAG_BYTES_MAX = 200
"""Of one tag."""

_CARRIED = frozenset({"hydrated_context", "serialize_context", "with_context"})


class ContextModel:
    """Base of the contexts: `with` enters one, `get()` gives the innermost that was entered, or None."""

    _current: ClassVar[ContextVar[Any]]
    _token: Token[Any] | None = None

    @classmethod
    def get(cls) -> Self | None:
        """The current context of this kind."""
        current: Self | None = cls._current.get()
        return current

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("Context already entered. Context enter calls cannot be nested.")
        self._token = self._current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is None:
            raise RuntimeError("Asymmetric use of context. Context exit called without an enter.")
        self._current.reset(self._token)
        self._token = None

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy that was not entered, with some of its attributes replaced."""
        fresh = copy(self)
        fresh._token = None
        for name, value in (update or {}).items():
            setattr(fresh, name, value)
        return fresh

    @classmethod
    def hide(cls) -> Token[Any]:
        """Leave all contexts of this kind; `show` takes the token and comes back."""
        return cls._current.set(None)

    @classmethod
    def show(cls, token: Token[Any]) -> None:
        """Come back to the context that `hide` left."""
        cls._current.reset(token)


class RunContext(ContextModel):
    """What the contexts of flow runs and task runs have in common.

    `parameters` are the run's, `client` what it asks the service with, `log_prints` whether its prints are logged,
    `start_time` when this attempt began, here. `branch` comes before the numbers of calls that are made in a context
    which was brought here from another place. `call` is the call that is executed here, of a subflow the one that
    stands for it; `transaction` the run's own transaction, once there is one.
    """

    def __init__(
        self, parameters: dict[str, Any] | Callable[[], dict[str, Any]], client: Client | None, log_prints: bool
    ) -> None:
        self._parameters = parameters
        self.client = client
        self.log_prints = log_prints
        self.start_time = datetime.now(UTC)
        self.branch = ""
        self.calls: dict[str, itertools.count[int]] = {}
        self.logs_disabled = False
        self.call: Any = None
        self.transaction: Any = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The run's parameters; of a context that was brought here, read when they are asked for."""
        if callable(self._parameters):
            self._parameters = self._parameters()
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters

    def next_call(self, key: str) -> str:
        """The number of the next call of this key from this run: "0" for the first, in a branch "b0.0".

        Threads that share the context never get the same.
        """
        counter = self.calls.get(key) or self.calls.setdefault(key, itertools.count())
        return f"{self.branch}{next(counter)}"


class FlowRunContext(RunContext):
    """The flow run that the code is in.

    `flow` is the flow, `flow_run` its run, `task_runner` what `.submit` hands tasks to, `ancestors` the ids of the flow
    runs around it, nearest first, `observed_flow_pauses` how many pauses this attempt has come to, `background_tasks`
    a set in which the flow's code can keep asyncio tasks that must not be forgotten, `detached` whether the context was
    brought here from where the flow is executed.
    """

    _current: ClassVar[ContextVar[Any]] = ContextVar("flow_run", default=None)

    def __init__(
        self,
        flow: Any,
        flow_run: FlowRun,
        parameters: dict[str, Any] | Callable[[], dict[str, Any]],
        client: Client | None = None,
        task_runner: Any = None,
        log_prints: bool = False,
    ) -> None:
        super().__init__(parameters, client, log_prints)
        self.flow = flow
        self.flow_run = flow_run
        self.task_runner = task_runner
        self.background_tasks: set[Any] = set()
        self.observed_flow_pauses: dict[str, int] = {"counter": 0}
        self.persist_result: bool | None = getattr(flow, "persist_result", None)
        self.ancestors: list[str] = []
        self.detached = False
        self.result_store: Any = None
        self.progress: Any = None
        self.tally: Any = None


EngineContext = FlowRunContext
"""The same, by another name that flows from Prefect may use."""


class TaskRunContext(RunContext):
    """The task run that the code is in. `task` is the task, `task_run` its run."""

    _current: ClassVar[ContextVar[Any]] = ContextVar("task_run", default=None)

    def __init__(
        self,
        task: Any,
        task_run: TaskRun,
        parameters: dict[str, Any] | Callable[[], dict[str, Any]],
        client: Client | None = None,
        log_prints: bool = False,
    ) -> None:
        super().__init__(parameters, client, log_prints)
        self.task = task
        self.task_run = task_run


class TagsContext(ContextModel):
    """The tags that `tags(...)` gives to the runs made inside it."""

    _current: ClassVar[ContextVar[Any]] = ContextVar("tags", default=None)

    def __init__(self, current_tags: set[str] | None = None) -> None:
        self.current_tags = current_tags or set()

    @classmethod
    def get(cls) -> TagsContext:
        """The current tags; no tags outside of `tags(...)`, never None."""
        return cls._current.get() or cls()

    def add_tags(self, *tags: str) -> None:
        """Add tags for the runs that follow."""
        self.current_tags |= set(tags)

    def remove_tags(self, *tags: str) -> None:
        """Remove tags for the runs that follow."""
        self.current_tags -= set(tags)


class SettingsContext(ContextModel):
    """Settings that hold around the code, by their names, and the profile they are of.

    `settings` may be any dict: {"PLAYHEAD_LOGGING_LEVEL": "DEBUG"}. What it says stands above the environment, None
    being "not set"; for names that it lacks, the environment and the files hold.
    """

    _current: ClassVar[ContextVar[Any]] = settings.around

    def __init__(self, profile: Profile, settings: dict[str, Any]) -> None:
        self.profile = profile
        self.settings = settings


@contextmanager
def use_profile(
    profile: Profile | str, override_environment_variables: bool = False, include_current_context: bool = True
) -> Iterator[SettingsContext]:
    """Let a profile's settings hold around the code. Environment variables stand above them, unless overridden.

    `include_current_context=False` forgets what `use_profile` around this, the files and the active profile say. Raises
    `ConfigurationError` for a name that no profile has.
    """
    chosen = load_profiles()[profile] if isinstance(profile, str) else profile
    before = settings.current_settings() if include_current_context else settings.settings_of_environment()
    fixed = () if override_environment_variables else settings.settings_of_environment()
    profiles_own = {name: value for name, value in chosen.settings.items() if name not in fixed}
    complete = settings.Settings(dict.fromkeys(settings.KNOWN) | before | profiles_own)
    with SettingsContext(chosen, complete) as context:
        yield context


@contextmanager
def temporary_settings(
    updates: Mapping[str, Any] | None = None, restore_defaults: Iterable[str] = ()
) -> Iterator[settings.Settings]:
    """Let some settings have other values around the code, by their names; None and `restore_defaults`: not set.

    Raises KeyError for a name that no setting has.
    """
    changed = {**(updates or {}), **dict.fromkeys(restore_defaults)}
    for name in changed:
        if name not in settings.KNOWN:
            raise KeyError(f"There is no setting {name}.")
    complete = settings.Settings(settings.current_settings() | changed)
    with SettingsContext(get_settings_context().profile, complete):
        yield complete


def get_settings_context() -> SettingsContext:
    """The settings around the code; outside of `use_profile`, those of the process."""
    return SettingsContext.get() or root_settings_context()


def root_settings_context() -> SettingsContext:
    """The settings of the process: of its environment, its files and the active profile."""
    token = SettingsContext.hide()
    try:
        return SettingsContext(active_profile(), settings.current_settings())
    finally:
        SettingsContext.show(token)


@contextmanager
def tags(*new_tags: str, **named: str) -> Iterator[set[str]]:
    """Give the runs made inside these tags, beside those around; `named` ones become "name:value".

    Yields all of them. Raises as `tags_of` does.
    """
    added = tags_of([*new_tags, *(f"{name}:{value}" for name, value in named.items())])
    with TagsContext(TagsContext.get().current_tags | added) as context:
        yield context.current_tags


def tags_of(given: Iterable[str] | str) -> frozenset[str]:
    """Tags that runs can have. Raises TypeError and ValueError for those that they can not have."""
    if not isinstance(given, Iterable):
        raise TypeError(f"`tags` must be texts, not {given!r}.")
    found = [given] if isinstance(given, str) else list(given)
    for tag in found:
        if not isinstance(tag, str):
            raise TypeError(f"`tags` must be texts, not {tag!r}.")
        if not tag or not tag.isprintable() or len(tag.encode()) > TAG_BYTES_MAX:
            raise ValueError(f"`tags` must be one line of 1 to {TAG_BYTES_MAX} bytes, not {tag[:TAG_BYTES_MAX]!r}.")
    return frozenset(found)


def current_tags() -> set[str] | None:
    """The tags around, None when there are none: the cheap form of `TagsContext.get().current_tags`."""
    context: TagsContext | None = TagsContext._current.get()
    return context.current_tags if context else None


def get_run_context() -> FlowRunContext | TaskRunContext:
    """The context of the task run, else of the flow run. Raises `MissingContextError` outside of runs."""
    context = TaskRunContext.get() or FlowRunContext.get()
    if context is None:
        raise MissingContextError("No run context available. You are not in a flow or task run context.")
    return context


def __getattr__(name: str) -> Any:
    if name in _CARRIED:
        from playhead.engine.execution import carried  # what carries contexts knows clients, which are loaded late

        return getattr(carried, name)
    raise AttributeError(f"module 'playhead.context' has no attribute {name!r}")
