"""What flow and task code sees of its own run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from playhead.states import Pending, State


class Run:
    """What flow runs and task runs have in common. `id` is a UUID; `run_count` counts attempts, this one included."""

    __slots__ = ("created", "name", "run_count", "run_id", "state", "tags")

    def __init__(self, run_id: str, name: str, tags: list[str]) -> None:
        self.run_id = run_id
        self.name = name
        self.tags = tags
        self.run_count = 0
        self.state: State[Any] = _PENDING
        self.created = datetime.now(UTC)

    @property
    def id(self) -> UUID:
        """The run's id."""
        return UUID(self.run_id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.run_id!r}, name={self.name!r}, state={self.state!s})"


class FlowRun(Run):
    """A run of a flow. `expected_start_time` is when it was to start, `deployment_id` what it was started by."""

    __slots__ = (
        "_parameters",
        "deployment_id",
        "expected_start_time",
        "flow_id",
        "flow_name",
        "flow_version",
        "lease_token",
        "parent_task_run_id",
    )

    def __init__(
        self,
        run_id: str,
        name: str,
        tags: list[str],
        flow_name: str,
        parameters: dict[str, Any] | Callable[[], dict[str, Any]],
    ) -> None:
        super().__init__(run_id, name, tags)
        self.flow_id = ""
        self.deployment_id: str | None = None
        self.expected_start_time = self.created
        self.flow_name = flow_name
        self.flow_version: str | None = None
        self._parameters = parameters
        self.parent_task_run_id: str | None = None
        self.lease_token = 0

    @property
    def parameters(self) -> dict[str, Any]:
        """The validated arguments; in another process than that of the run, read when they are asked for."""
        if callable(self._parameters):
            self._parameters = self._parameters()
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters


class TaskRun(Run):
    """A run of a task.

    `flow_run_id` is a UUID, None outside a flow run; the keys say which call of which task it is.
    """

    __slots__ = ("dynamic_key", "parent_run_id", "task_key", "task_name")

    def __init__(
        self, run_id: str, name: str, tags: list[str], task_name: str, task_key: str, dynamic_key: str, flow_run: str
    ) -> None:
        super().__init__(run_id, name, tags)
        self.task_name = task_name
        self.task_key = task_key
        self.dynamic_key = dynamic_key
        self.parent_run_id = flow_run

    @property
    def flow_run_id(self) -> UUID | None:
        """The flow run it belongs to."""
        return _uuid(self.parent_run_id) if self.parent_run_id else None


@lru_cache(maxsize=128)
def _uuid(text: str) -> UUID:
    """One object for what many runs hold."""
    return UUID(text)


_PENDING: State[Any] = Pending()
