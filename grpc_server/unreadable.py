"""Bytes that are no message: answered INVALID_ARGUMENT like any other bad request, where gRPC would say UNKNOWN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from google.protobuf.message import DecodeError

from playhead.exceptions import BadRequest


class Unreadable:
    """Stands for a request that could not be read. Whoever looks into it raises BadRequest, and so answers the call."""

    def __getattr__(self, name: str) -> NoReturn:
        raise BadRequest("its bytes are no message of this method's request type", field="request")


def tolerant(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A deserializer that gives `Unreadable` for what it can not read."""

    def tolerantly(message: bytes) -> Any:
        try:
            return read(message)
        except DecodeError:
            return Unreadable()

    return tolerantly
