"""`python -m playhead.engine FLOW_RUN_ID`: execute an existing flow run in this process.

Exit status: 0 when the run completed or is paused, 1 when it ended otherwise, 2 when it could not be executed.
"""

from __future__ import annotations

import sys

from playhead.engine import enter_flow_run_engine_from_subprocess
from playhead.exceptions import ExecutionError, PlayheadError


def main(arguments: list[str]) -> int:
    """Execute the run of the given id; the exit status is the answer."""
    if len(arguments) != 1:
        print("usage: python -m playhead.engine FLOW_RUN_ID", file=sys.stderr)
        return 2
    try:
        state = enter_flow_run_engine_from_subprocess(arguments[0])
    except (ExecutionError, PlayheadError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0 if state.is_completed() or state.is_paused() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
