"""Flows that are killed and run again. Each body notes its task run in the file that BODIES names.

None depends on how often it was begun, or on time: an interrupted run must end as one that was left in peace. A crash
counts as an attempt, so what is tried again here has attempts to spare.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from playhead import flow, pause_flow_run, resume_flow_run, suspend_flow_run, task, v1
from playhead.context import FlowRunContext, TaskRunContext
from playhead.engine.execution.connection import get_client
from playhead.engine.execution.watching import state_wanted
from playhead.input import (
    create_flow_run_input,
    delete_flow_run_input,
    filter_flow_run_input,
    read_flow_run_input,
    receive_input,
    send_input,
)

RETRIES = 3
PAUSE_S = 600
LARGE = 20_000
"""Bytes of a result that is a file of its own."""


def note() -> int:
    """Note that the body of the current task run has begun, in one write. How often the flow's bodies had before."""
    context = TaskRunContext.get()
    assert context is not None
    with open(os.environ["BODIES"], "a+", encoding="ascii") as file:
        file.write(f"{context.task_run.run_id} {context.task.name}\n")
        file.flush()
        file.seek(0)
        return sum(line.endswith(f" {context.task.name}\n") for line in file)


@task
def double(n: int) -> int:
    note()
    return n * 2


@task
def large(n: int) -> bytes:
    note()
    return bytes([n]) * LARGE


@task(retries=RETRIES)
def fails_once(n: int) -> int:
    if note() == 1:
        raise ValueError("once")
    return n + 1


@task
def outer(n: int) -> int:
    note()
    inner: int = double(n) + double(n + 1)
    return inner


@task
async def adouble(n: int) -> int:
    note()
    await asyncio.sleep(0)
    return n * 2


@flow
def serial() -> Any:
    """Tasks one after the other: retried, with a large result, with another's result."""
    return [double(1), fails_once(double(2)), len(large(3))]


@flow
def mapped() -> Any:
    """Tasks on threads, and what is made of their results."""
    doubled = double.map([1, 2, 3])
    return double.submit(sum(double.map(doubled).result()), wait_for=doubled).result()


@flow
def nested() -> Any:
    """A task that calls tasks."""
    return outer(1) + outer.submit(10).result()


@flow
def child(n: int) -> int:
    """A subflow."""
    doubled: int = double(n) + fails_once(n)
    return doubled


@flow
def parent() -> Any:
    """Subflows."""
    return child(1) + child(10)


@flow(retries=RETRIES)
def retried() -> Any:
    """A flow that fails the first time."""
    kept = double(1)
    context = FlowRunContext.get()
    assert context is not None
    if fails_once.with_options(retries=0, name="fails-its-flow")(1, return_state=True).is_failed():
        raise RuntimeError("again")
    return kept


@flow
async def gathering() -> Any:
    """Async tasks at the same time."""
    first = await asyncio.gather(adouble(1), adouble(2), adouble(3))
    return [*first, await adouble(sum(first))]


@flow
def paused() -> Any:
    """A pause that this process waits for, and somebody ends."""
    first = double(1)
    context = FlowRunContext.get()
    assert context is not None
    threading.Thread(target=_resume, args=(context.flow_run.run_id,), daemon=True).start()
    pause_flow_run(timeout=PAUSE_S, key="once")
    return first + double(2)


def _resume(flow_run_id: str) -> None:
    found = state_wanted(get_client(), flow_run_id, lambda state: state.type == v1.PAUSED, PAUSE_S).result()
    if found is not None:
        resume_flow_run(flow_run_id)


@flow
def suspended() -> Any:
    """A pause that the process does not wait for."""
    first = double(1)
    suspend_flow_run(timeout=PAUSE_S, key="once")
    return first + double(2)


@flow
def talking() -> Any:
    """Inputs that are sent, to itself, received, stored and deleted between tasks."""
    context = FlowRunContext.get()
    assert context is not None
    for number in (1, 2):
        send_input(double(number), context.flow_run.id)
    received = [double(number) for number in receive_input(int, timeout=0)]
    create_flow_run_input("note", received)
    noted = read_flow_run_input("note") or received
    delete_flow_run_input("note")
    send_input("the last", context.flow_run.id)
    sent = [each.value for each in filter_flow_run_input("", limit=100)]
    return [received, noted, receive_input(str, timeout=0).next(), sent]


CORPUS = {each.name: each for each in (serial, mapped, nested, parent, retried, gathering, paused, suspended, talking)}

OF_DEPLOYMENTS = {"suspended"}
"""Only runs of deployments can be suspended."""
