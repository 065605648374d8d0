"""Who this process says it is, to its own journal or to a server."""

from __future__ import annotations

import getpass
import os
import socket
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
