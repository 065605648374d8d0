"""Runs a Python module as somebody whom file permissions bind: `python -m tests.processes.unprivileged MODULE ...`.

That is anybody but root, so root gives up its right to pass over them.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2

if __name__ == "__main__":
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "root can not give up a right")
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
