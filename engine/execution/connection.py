"""The client of this process: made when the first run needs it, kept for all that follow."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from playhead import v1
from playhead.client.interface import REGISTER_FLOW
from playhead.engine.execution.effects import Ask, Loop
from playhead.engine.execution.ids import new_id

if TYPE_CHECKING:
    from playhead.client.interface import Client

_SELECTORS = ("PLAYHEAD_API_URL", "PLAYHEAD_DATABASE", "PLAYHEAD_HOME", "HOME")
_FLOWS_MAX = 10_000

_clients: dict[tuple[object, ...], Client] = {}
_flow_ids: dict[tuple[int, str], str] = {}
_lock = threading.Lock()


def get_client() -> Client:
    """The client that the environment selects now. A forked process gets one of its own."""
    key = (os.getpid(), *map(os.environ.get, _SELECTORS))
    client = _clients.get(key)
    if client is None:
        with _lock:
            client = _clients.get(key) or _connect(key)
    return client


def close_clients() -> None:
    """Close the clients of this process; the next run connects anew."""
    with _lock:
        mine = [key for key in _clients if key[0] == os.getpid()]
        for key in mine:
            client = _clients.pop(key)
            for registered in [pair for pair in _flow_ids if pair[0] == id(client)]:
                del _flow_ids[registered]
            client.close()


def register_flow(client: Client, name: str) -> Loop[str]:
    """The id of the flow of this name, asked for once per client."""
    key = (id(client), name)
    flow_id = _flow_ids.get(key)
    if flow_id is None:
        request = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name=name)
        response: v1.RegisterFlowResponse = yield Ask(REGISTER_FLOW, request)
        flow_id = response.flow.id
        if len(_flow_ids) < _FLOWS_MAX:
            _flow_ids[key] = flow_id
    return flow_id


def _connect(key: tuple[object, ...]) -> Client:
    from playhead.client.connect import connect  # the client loads with the first run

    client = _clients[key] = connect()
    if len(_clients) == 1:
        atexit.register(close_clients)
    return client
