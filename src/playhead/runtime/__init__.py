"""Facts about the run that the code is in: `from playhead.runtime import deployment, flow_run, task_run`."""

from playhead.runtime import deployment, flow_run, task_run

__all__ = ["deployment", "flow_run", "task_run"]
