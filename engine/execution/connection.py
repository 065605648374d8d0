"""The client of this process: made when the first run needs it, kept for all that follow."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from playhead import settings, v1
from playhead.client.interface import REGISTER_FLOW
from playhead.context import FlowRunContext
from playhead.engine.execution.effects import Ask, Loop
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.log_shipping import ship_from_loggers, stop_shipping

if TYPE_CHECKING:
    from playhead.client.interface import Client

_FLOWS_MAX = 10_000

_clients: dict[tuple[object, ...], Client] = {}
_flow_ids: WeakKeyDictionary[Client, dict[str, str]] = WeakKeyDictionary()
_lock = threading.Lock()


def get_client() -> Client:
    """The client that the settings select now. A forked process gets one of its own."""
    key = _key()
    client = _clients.get(key)
    if client is None:
        with _lock:
            client = _clients.get(key) or _connect(key)
    return client


def client_here() -> Client:
    """The client that the flow run works with which the code is in; outside of flow runs, that of the process."""
    context = FlowRunContext.get()
    return context.client if context is not None and context.client is not None else get_client()


def use_client(client: Client) -> None:
    """Use this client, which stays the caller's to configure, in the place of the one that the settings select."""
    with _lock:
        _keep(_key(), client)


def close_clients() -> None:
    """Close the clients of this process; the next run connects anew."""
    with _lock:
        mine = [key for key in _clients if key[0] == os.getpid()]
        closed = [_clients.pop(key) for key in mine]
    for client in closed:
        stop_shipping(client)
        client.close()


def register_flow(client: Client, name: str) -> Loop[str]:
    """The id of the flow of this name, asked for once per client."""
    known = _flow_ids.setdefault(client, {})
    flow_id = known.get(name)
    if flow_id is None:
        request = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name=name)
        response: v1.RegisterFlowResponse = yield Ask(REGISTER_FLOW, request)
        flow_id = response.flow.id
        if len(known) < _FLOWS_MAX:
            known[name] = flow_id
    return flow_id


def _key() -> tuple[object, ...]:
    return (os.getpid(), settings.api_url(), settings.database())


def _connect(key: tuple[object, ...]) -> Client:
    from playhead.client.connect import connect  # the client loads with the first run

    return _keep(key, connect())


def _keep(key: tuple[object, ...], client: Client) -> Client:
    if not _clients:
        _at_exit(close_clients)
        ship_from_loggers(lambda: _clients.get(_key()))
    _clients[key] = client
    return client


def _at_exit(function: Callable[[], None]) -> None:
    """Call it when this process ends; one that multiprocessing has started calls no functions of atexit."""
    atexit.register(function)
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, function, exitpriority=0)
