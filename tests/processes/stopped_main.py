"""A process that runs a flow whose task waits for word from outside: `stopped_main ["retry on crash"]`,
with PLAYHEAD_DATABASE set."""

from __future__ import annotations

import sys

from playhead import flow, task
from playhead.context import FlowRunContext
from playhead.engine.signals import Abort


@task
def wait_for_word(flow_run_id: str) -> str:
    """Say that the work has begun, then wait."""
    print(flow_run_id, flush=True)
    return sys.stdin.readline()


@flow
def stopped() -> str:
    """One task, and that after it."""
    context = FlowRunContext.get()
    assert context is not None
    wait_for_word(context.flow_run.run_id)
    return "done by who was given up"


if __name__ == "__main__":
    try:
        again = sys.argv[1:] == ["retry on crash"]
        options = {"retries": 1, "retry_on_crash": True} if again else {}
        print(stopped.with_options(**options)(return_state=True).type.name, flush=True)
    except Abort as abort:
        print("Abort:", abort, flush=True)
