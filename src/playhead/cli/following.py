"""Streams that a command follows until it ends or is interrupted, however often the server is away meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

from playhead import v1
from playhead.cli.session import Session
from playhead.client.interface import GET_HEAD, Request, Response, Streaming
from playhead.engine.execution.watching import BROKEN_PAUSE_S, GOES_ON, LISTEN_S
from playhead.exceptions import PlayheadError


def unbroken(
    session: Session, method: Streaming[Request, Response], request: Request, away: threading.Event
) -> Iterator[Response]:
    """The messages of a stream, which is taken up again where it breaks; `away` is set until the service answers then.

    The caller notes in the request how far it has come. Raises what is no interruption: NotFound.
    """
    while True:
        try:
            with closing(session.client.stream(method, request, timeout_s=LISTEN_S)) as stream:
                yield from stream
            return
        except PlayheadError as error:
            if session.over:
                return
            if error.reason not in GOES_ON:
                raise
        away.set()
        while not (session.over or _answers(session)):
            time.sleep(BROKEN_PAUSE_S)
        away.clear()


def _answers(session: Session) -> bool:
    try:
        session.call(GET_HEAD, v1.GetHeadRequest())
    except PlayheadError as error:
        if error.reason not in GOES_ON:
            raise
        print(f"{error} Following goes on when it answers; Ctrl-C ends it.", file=sys.stderr)
        return False
    return True
