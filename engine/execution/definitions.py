"""What the loops need to know of a flow and of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from playhead import v1
from playhead.engine.execution.parameters import Signature

Hook = Callable[..., Any]
NameSource = str | Callable[..., str] | None


class Recorded(Protocol):
    """What is recorded of a task, also of one that only stands for a subflow."""

    name: str
    task_key: str
    version: str | None
    tags: frozenset[str]
    retry: v1.RetryPolicy


@dataclass
class StandIn:
    """What a task run is a run of that has no function: it stands for something else in the record of its flow run."""

    name: str
    task_key: str
    version: str | None = None
    tags: frozenset[str] = frozenset()
    retry: v1.RetryPolicy = field(default_factory=v1.RetryPolicy)


class Definition(Protocol):
    """What flows and tasks have in common."""

    name: str
    fn: Callable[..., Any]
    isasync: bool
    signature: Signature
    version: str | None
    retry: v1.RetryPolicy
    timeout_seconds: float | None
    persist_result: bool | None
    result_storage: str | None
    result_serializer: Any
    cache_result_in_memory: bool
    log_prints: bool | None
    on_running_hooks: list[Hook]
    on_completion_hooks: list[Hook]
    on_failure_hooks: list[Hook]
    on_crashed_hooks: list[Hook]
    on_cancellation_hooks: list[Hook]


class FlowDefinition(Definition, Protocol):
    """A flow."""

    flow_run_name: NameSource
    task_runner: Any
    should_validate_parameters: bool
    entrypoint: str
    tracking: Recorded

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Coerce the arguments. Raises `ParameterTypeError`."""


class TaskDefinition(Definition, Protocol):
    """A task."""

    task_key: str
    tags: frozenset[str]
    task_run_name: NameSource
    cache_policy: Any
    names_policy: bool
    result_storage_key: str | None
    cache_expiration: timedelta | None
    refresh_cache: bool | None
    retry_condition_fn: Callable[..., Any] | None
    on_commit_hooks: list[Hook]
    on_rollback_hooks: list[Hook]
