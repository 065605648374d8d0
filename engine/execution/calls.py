"""Calls of tasks and flows, as they stand when they are made: which call, in which flow run, with which arguments."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from playhead import v1
from playhead.client.interface import Client
from playhead.context import FlowRunContext, RunContext, TaskRunContext, current_tags
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.definitions import FlowDefinition, Recorded
from playhead.engine.execution.depth import check_depth
from playhead.engine.execution.ids import new_id, task_run_id
from playhead.engine.execution.live.tally import Mark
from playhead.engine.execution.transactions import BaseTransaction, place_of
from playhead.engine.execution.translation import NAME_BYTES_MAX, bounded
from playhead.runs import FlowRun, TaskRun

INPUTS_MAX = 1_000

logger = logging.getLogger("playhead.engine")

Lineage = Mapping[str, list[v1.TaskInput]]


@dataclass(slots=True)
class TaskCall:
    """One call of a task. Made in the thread that calls, so that calls are counted in the order they are written.

    `task` is a TaskDefinition, or, for a subflow, only Recorded. `lease_token`: the lease it is made under, its flow
    run's or, outside of flow runs, its own. `place`: the transaction, else the run, in which it is made.
    `arguments_digest`: of its arguments, once they are known; empty: they have none, or no flow run makes it again.
    """

    task: Any
    task_run: TaskRun
    parameters: dict[str, Any]
    client: Client
    flow: FlowRunContext | None
    wait_for: Iterable[Any] | None = None
    inputs: Lineage | None = None
    lease_token: int = 0
    place: BaseTransaction | RunContext | None = None
    mark: Mark | None = None
    arguments_digest: bytes = b""


@dataclass(slots=True)
class FlowCall:
    """One call of a flow. `tracking`: the task run that stands for a subflow in its parent.

    `existing`: a run to go on with. `begun`: a run of this call is on record, and will hear what becomes of it.
    """

    flow: FlowDefinition
    parameters: dict[str, Any]
    client: Client
    parent: FlowRunContext | None = None
    tracking: TaskCall | None = None
    wait_for: Iterable[Any] | None = None
    existing: FlowRun | None = None
    begun: bool = False


def make_call(
    task: Recorded,
    parameters: dict[str, Any],
    wait_for: Iterable[Any] | None = None,
    inputs: Lineage | None = None,
) -> TaskCall:
    """The next call of a task from the run that the code is in.

    Raises `Abort` when that flow run is to stop, RecursionError when calls are too deep inside each other.
    """
    check_depth(task.name)
    flow = FlowRunContext.get()
    place = place_of(TaskRunContext.get(), flow)
    if flow is None:
        task_run = TaskRun(
            new_id(), _numbered(task.name, new_id()[-4:]), tags_of(task), task.name, task.task_key, "", ""
        )
        return TaskCall(task, task_run, parameters, get_client(), None, wait_for, inputs, 0, place)
    if flow.progress is not None:
        flow.progress.check()
    key = _dynamic_key(task, flow, place)
    flow_run_id = flow.flow_run.run_id
    run_id = task_run_id(flow_run_id, task.task_key, key)
    number = key.rpartition(".")[2] if isinstance(place, BaseTransaction) else key
    task_run = TaskRun(run_id, _numbered(task.name, number), tags_of(task), task.name, task.task_key, key, flow_run_id)
    client = flow.client or get_client()
    call = TaskCall(task, task_run, parameters, client, flow, wait_for, inputs, flow.flow_run.lease_token, place)
    if flow.tally is not None and hasattr(task, "fn"):
        call.mark = flow.tally.called(task.task_key, task.name)
    return call


def _numbered(name: str, number: str) -> str:
    """The name of a call: its task's, cut where there would be no room for the number."""
    if len(name) > NAME_BYTES_MAX // 8:
        name = bounded(name, max(NAME_BYTES_MAX - 1 - len(number.encode()), 0))
    return f"{name}-{number}"


def spec_of(call: TaskCall, lineage: Lineage) -> v1.TaskRunSpec:
    """What is recorded of the call."""
    run = call.task_run
    spec = v1.TaskRunSpec(
        id=run.run_id,
        flow_run_id=run.parent_run_id,
        task_key=run.task_key,
        dynamic_key=run.dynamic_key,
        name=run.name,
        tags=run.tags,
        task_version=call.task.version or "",
        state=_PENDING,
    )
    if call.task.retry.retries:
        spec.retry.CopyFrom(call.task.retry)
    left = INPUTS_MAX
    for name, inputs in lineage.items():
        if left > 0:
            spec.inputs[name].inputs.extend(inputs[:left])
        left -= len(inputs)
    if left < 0:
        logger.debug("Task run %r has %d inputs more than are recorded.", run.name, -left)
    return spec


def _dynamic_key(task: Recorded, flow: FlowRunContext, place: BaseTransaction | RunContext | None) -> str:
    """The call's number among those of the same task from the same run; a task's own calls are counted by its run.

    Those in a transaction are counted by the transaction's, so that numbers after it do not depend on how far it came.
    """
    if isinstance(place, BaseTransaction) and place.run_id:
        return f"{place.run_id}.{place.counter.next_call(task.task_key)}"
    parent = TaskRunContext.get()
    if parent is None or parent.task_run.parent_run_id != flow.flow_run.run_id:
        return flow.next_call(task.task_key)
    return f"{parent.task_run.run_id}.{parent.next_call(task.task_key)}"


def tags_of(task: Recorded) -> list[str]:
    """The tags of a run of a task that is called here."""
    around = current_tags()
    if not around:
        return sorted(task.tags) if task.tags else []
    return sorted(task.tags | around)


_PENDING = v1.State(type=v1.PENDING)
