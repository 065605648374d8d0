"""`python -m playhead.engine RUN`: execute an existing flow run in this process. RUN is its id or its name.

Exit status: 0 when the run completed or is paused, 1 when it ended otherwise, 2 when it could not be executed.
"""

from __future__ import annotations

import sys

from playhead import v1
from playhead.client.finding import find_run
from playhead.client.interface import GET_FLOW_RUN
from playhead.engine import enter_flow_run_engine_from_subprocess
from playhead.engine.execution.connection import get_client
from playhead.engine.signals import Abort, Pause
from playhead.exceptions import ExecutionError, NotFound, PlayheadError


def main(arguments: list[str]) -> int:
    """Execute the run that is meant; the exit status is the answer."""
    if len(arguments) != 1:
        print("usage: python -m playhead.engine RUN, its id or its name: playhead flow-run ls", file=sys.stderr)
        return 2
    try:
        run_id = find_run(get_client(), "flow_run", arguments[0])
        _say_if_cancelled(run_id)
        state = enter_flow_run_engine_from_subprocess(run_id)
    except Abort as abort:
        print(f"{abort.rule}: {abort}" if abort.rule else abort, file=sys.stderr)
        return 1
    except Pause as pause:
        print(f"The flow run is paused: {pause}", file=sys.stderr)
        print(f"Resume it first: playhead flow-run resume {run_id}", file=sys.stderr)
        print(f"What input it asks for, if any: playhead flow-run inspect {run_id}", file=sys.stderr)
        return 2
    except (ExecutionError, PlayheadError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        if isinstance(error, NotFound):
            print("See which runs there are: playhead flow-run ls", file=sys.stderr)
        return 2
    return 0 if state.is_completed() or state.is_paused() else 1


def _say_if_cancelled(run_id: str) -> None:
    run = get_client().unary(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=run_id)).flow_run
    if run.status.state.type == v1.CANCELLED:
        print(f"The flow run {run.status.name!r} was cancelled (revision {run.status.state.revision}); it runs again.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
