"""Who this process says it is, to its own journal or to a server."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from importlib.metadata import version


def this_process() -> str:
    """The actor: "user@host pid 123"."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"  # it has no name, as in many containers
    return f"{user}@{socket.gethostname()} pid {os.getpid()}"


def this_software() -> str:
    """The client: "playhead-python/" and the version that is installed."""
    return f"playhead-python/{version('playhead')}"


def this_trace() -> str:
    """The W3C traceparent of the span that this thread or task is in; empty where nobody traces.

    OpenTelemetry is asked only if the process has loaded it: importing it is the business of those who trace.
    """
    trace = sys.modules.get("opentelemetry.trace")
    current = getattr(trace, "get_current_span", None)  # None: another thread is just importing it
    if current is None:
        return ""
    span = current().get_span_context()
    if not span.is_valid:
        return ""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
