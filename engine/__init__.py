"""Running the user's code and deciding what may happen to it.

`playhead.engine.execution` runs flows and tasks through a client; `playhead.engine.orchestration` decides, inside the
journal's append transaction. A process that should run an existing flow run calls
`enter_flow_run_engine_from_subprocess`, which is also `python -m playhead.engine RUN`. The functions of Prefect
2's engine are here too, from `playhead.engine.functions`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from playhead.states import State

_HOMES = {
    "execution.crashes": ("capture_sigterm",),
    "functions.flows": (
        "begin_flow_run",
        "create_and_begin_subflow_run",
        "create_then_begin_flow_run",
        "enter_flow_run_engine_from_flow_call",
        "orchestrate_flow_run",
        "retrieve_flow_then_begin_flow_run",
    ),
    "functions.inputs": (
        "TaskRunResult",
        "collect_task_run_inputs",
        "get_state_for_result",
        "link_state_to_result",
        "resolve_inputs",
    ),
    "functions.states": (
        "check_api_reachable",
        "propose_state",
        "report_flow_run_crashes",
        "report_task_run_crashes",
        "resolve_custom_flow_run_name",
        "resolve_custom_task_run_name",
        "should_log_prints",
    ),
    "functions.tasks": (
        "begin_task_map",
        "begin_task_run",
        "create_task_run",
        "create_task_run_future",
        "create_task_run_then_submit",
        "enter_task_run_engine",
        "get_task_call_return_value",
        "orchestrate_task_run",
        "submit_task_run",
        "wait_for_task_runs_and_report_crashes",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'playhead.engine' has no attribute {name!r}")
    return getattr(import_module(f"playhead.engine.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])


def enter_flow_run_engine_from_subprocess(flow_run_id: UUID | str) -> State[object]:
    """Execute an existing flow run in this process, under its own id, and return its final state.

    The flow is loaded from the entrypoint recorded with the run and called with the recorded parameters. Task runs that
    have completed with a stored result are not repeated. Raises `MissingFlowError` when the flow is not found.
    """
    from playhead.flows import run_existing_flow_run  # the SDK loads when a run is executed, not with the rules

    return run_existing_flow_run(str(flow_run_id))


def pause_flow_run(
    flow_run_id: UUID | str | None = None,
    timeout: float | None = 300,
    poll_interval: float = 10,
    reschedule: bool = False,
    key: str | None = None,
) -> Any:
    """As `playhead.flow_runs.pause_flow_run`, in the order of arguments and with the timeout of Prefect 2."""
    from playhead import flow_runs

    return flow_runs.pause_flow_run(timeout=timeout, key=key, flow_run_id=flow_run_id, reschedule=reschedule)


def suspend_flow_run(flow_run_id: UUID | str | None = None, timeout: float | None = 300, key: str | None = None) -> Any:
    """As `playhead.flow_runs.suspend_flow_run`, with the timeout of Prefect 2."""
    from playhead import flow_runs

    return flow_runs.suspend_flow_run(flow_run_id=flow_run_id, timeout=timeout, key=key)


def resume_flow_run(flow_run_id: UUID | str, run_input: Any = None) -> Any:
    """As `playhead.flow_runs.resume_flow_run`."""
    from playhead import flow_runs

    return flow_runs.resume_flow_run(flow_run_id, run_input)
