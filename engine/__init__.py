"""Running the user's code and deciding what may happen to it.

`playhead.engine.execution` runs flows and tasks through a client; `playhead.engine.orchestration` decides, inside the
journal's append transaction. A process that should run an existing flow run calls
`enter_flow_run_engine_from_subprocess`, which is also `python -m playhead.engine FLOW_RUN_ID`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from playhead.states import State


def enter_flow_run_engine_from_subprocess(flow_run_id: UUID | str) -> State[object]:
    """Execute an existing flow run in this process, under its own id, and return its final state.

    The flow is loaded from the entrypoint recorded with the run and called with the recorded parameters. Task runs that
    have completed with a stored result are not repeated. Raises `MissingFlowError` when the flow is not found.
    """
    from playhead.flows import run_existing_flow_run  # the SDK loads when a run is executed, not with the rules

    return run_existing_flow_run(str(flow_run_id))
