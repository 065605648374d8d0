"""Ids of calls: which task run a call in a flow run is. Clients and the service follow the same rule, which is that of
TaskRunSpec.id.
"""

from __future__ import annotations

import re
from hashlib import sha256

_LAST_DIGITS = re.compile(r"[0-9]{0,3}\Z")


def call_id(flow_run_id: bytes, task_key: str, dynamic_key: str) -> bytes:
    """16 bytes of the id of a task run inside a flow run: the same call has the same id in every attempt.

    Ids of a flow run's calls stand beside one another in the order of the calls, so that indexes are written in few
    places.
    """
    called = f"8{_LAST_DIGITS.search(dynamic_key)[0]:0>3}"  # type: ignore[index] # the pattern fits any text
    digest = sha256(b"\x00".join((flow_run_id, task_key.encode(), dynamic_key.encode()))).digest()
    return flow_run_id[:6] + bytes.fromhex(called) + bytes((0x80 | digest[0] & 0x3F,)) + digest[1:8]
