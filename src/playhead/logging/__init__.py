"""Logging: standard loggers whose records say which run they come from.

`get_run_logger()` inside a flow or task; `get_logger(name)` elsewhere. Records of run loggers have the attributes
flow_run_id, flow_run_name, flow_name and, in tasks, task_run_id, task_run_name, task_name.
"""

from playhead.logging.eavesdropper import LogEavesdropper
from playhead.logging.loggers import disable_run_logger, get_logger, get_run_logger

__all__ = ["LogEavesdropper", "disable_run_logger", "get_logger", "get_run_logger"]
