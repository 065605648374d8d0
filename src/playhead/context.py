"""Context: which run the code that asks is in.

Contexts are context variables: each thread and asyncio task has its own, and a submitted task has a copy of its
submitter's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from playhead.exceptions import MissingContextError

if TYPE_CHECKING:
    from playhead.client.interface import Client
    from playhead.runs import FlowRun, TaskRun


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


class RunContext(ContextModel):
    """What the contexts of flow runs and task runs have in common."""

    def __init__(self, parameters: dict[str, Any], client: Client | None, log_prints: bool) -> None:
        self.parameters = parameters
        self.client = client
        self.log_prints = log_prints
        self.start_time = datetime.now(UTC)
        self.calls: dict[str, int] = {}
        self.logs_disabled = False

    def next_call(self, key: str) -> int:
        """How many calls of this key were made from this run before: 0 for the first."""
        count = self.calls.get(key, 0)
        self.calls[key] = count + 1
        return count


class FlowRunContext(RunContext):
    """The flow run that the code is in.

    `flow` is the flow, `flow_run` its run, `task_runner` what `.submit` hands tasks to, `observed_flow_pauses` how many
    pauses this attempt has come to.
    """

    _current: ClassVar[ContextVar[Any]] = ContextVar("flow_run", default=None)

    def __init__(
        self,
        flow: Any,
        flow_run: FlowRun,
        parameters: dict[str, Any],
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
        self.parent: FlowRunContext | None = None
        self.progress: Any = None


class TaskRunContext(RunContext):
    """The task run that the code is in. `task` is the task, `task_run` its run."""

    _current: ClassVar[ContextVar[Any]] = ContextVar("task_run", default=None)

    def __init__(
        self,
        task: Any,
        task_run: TaskRun,
        parameters: dict[str, Any],
        client: Client | None = None,
        log_prints: bool = False,
    ) -> None:
        super().__init__(parameters, client, log_prints)
        self.task = task
        self.task_run = task_run

    @classmethod
    def hide(cls) -> Token[Any]:
        """Leave the task run, for a flow that is called inside it; `show` takes the token and comes back."""
        return cls._current.set(None)

    @classmethod
    def show(cls, token: Token[Any]) -> None:
        """Come back to the task run that `hide` left."""
        cls._current.reset(token)


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


@contextmanager
def tags(*new_tags: str, **named: str) -> Iterator[set[str]]:
    """Give the runs made inside these tags, beside those around; `named` ones become "name:value".

    Yields all of them.
    """
    added = {*new_tags, *(f"{name}:{value}" for name, value in named.items())}
    with TagsContext(TagsContext.get().current_tags | added) as context:
        yield context.current_tags


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
