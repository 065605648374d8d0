"""From gRPC statuses back to the exceptions of `playhead.exceptions`.

An answer of the service says its reason in a google.rpc.ErrorInfo. What gRPC answers by itself has none:

    UNAVAILABLE, CANCELLED   ConnectionLost: nobody is there any more; a server that stops at once cancels its calls
    DEADLINE_EXCEEDED        DeadlinePassed: nobody answered in time
    RESOURCE_EXHAUSTED       TooLarge: the message is over the size that one side takes
    UNIMPLEMENTED            NotOffered: an older server, or something else at the address
    any other                InternalDefect, with the code in `facts["code"]`
"""

from __future__ import annotations

import re
from typing import TypeVar

import grpc
from google.rpc.error_details_pb2 import BadRequest as BadRequestDetail
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from playhead import exceptions, v1
from playhead.journal import errors as journal_errors

DOMAIN = "playhead"
STATUS_METADATA_KEY = "grpc-status-details-bin"

# Every reason but UNSPECIFIED, and what it is raised as. Where several classes share one, the most specific.
EXCEPTION_OF: dict[v1.Reason.ValueType, type[exceptions.PlayheadError]] = {
    cls.reason: cls
    for cls in (
        exceptions.MalformedId,
        exceptions.MissingField,
        exceptions.UnknownEnumValue,
        exceptions.BadRequest,
        exceptions.TooLarge,
        exceptions.BadPageToken,
        exceptions.NotFound,
        exceptions.AlreadyExists,
        exceptions.RequestIdReused,
        exceptions.VersionMismatch,
        exceptions.RunEnded,
        exceptions.RevisionNotReached,
        exceptions.QueueFull,
        exceptions.ShuttingDown,
        exceptions.DeadlinePassed,
        exceptions.SubscriberTooSlow,
        exceptions.NotOffered,
        exceptions.InternalDefect,
        journal_errors.JournalFull,
        journal_errors.JournalReadOnly,
        journal_errors.JournalUnavailable,
        journal_errors.CorruptRecord,
        journal_errors.NewerDatabase,
        journal_errors.NotAJournal,
    )
}

Detail = TypeVar("Detail", ErrorInfo, BadRequestDetail)

_NOBODY_THERE = (
    "Is the server running, and is this its address? To start one: playhead server start. PLAYHEAD_API_URL names it; "
    "unset, flows run without a server."
)
_SIZES = re.compile(r"\((\d+) vs\. (\d+)\)")


def error_of(status: Status) -> exceptions.PlayheadError:
    """The exception that a google.rpc.Status of the service says.

    A reason that this client does not know, from a newer server, becomes InternalDefect with it in `facts["reason"]`.
    """
    info = _detail(status, ErrorInfo()) or ErrorInfo()
    facts: dict[str, str] = dict(info.metadata)
    known = info.domain == DOMAIN and info.reason in v1.Reason.keys()  # noqa: SIM118 - an enum wrapper is no mapping
    cls = EXCEPTION_OF.get(v1.Reason.Value(info.reason)) if known else None
    if cls is None:
        return _with_facts(exceptions.InternalDefect(status.message), facts | {"reason": info.reason})
    if issubclass(cls, exceptions.BadRequest):
        at_fault = _detail(status, BadRequestDetail()) or BadRequestDetail()
        violation = next(iter(at_fault.field_violations), None)
        if violation is not None:
            return _with_facts(cls(violation.description, field=violation.field), facts)
        return _with_facts(cls(status.message, field="request"), facts)
    return _with_facts(cls(status.message), facts)


def error_of_call(failed: grpc.RpcError, method: str, api_url: str) -> exceptions.PlayheadError:
    """The exception for a failed gRPC call of a method, by name, of the server at an address."""
    assert isinstance(failed, grpc.Call | grpc.aio.AioRpcError)  # all that stubs raise, blocking and asyncio
    for key, value in failed.trailing_metadata() or ():
        if key == STATUS_METADATA_KEY:
            assert isinstance(value, bytes)  # as all values of -bin keys
            return error_of(Status.FromString(value))
    said = "not answered in time" if failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED else failed.details()
    return _error_of_code(failed.code(), f"{method} at {api_url}: {said}")


def _error_of_code(code: grpc.StatusCode, message: str) -> exceptions.PlayheadError:
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return exceptions.ConnectionLost(f"{message}. {_NOBODY_THERE}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return exceptions.DeadlinePassed(f"{message}. {_NOBODY_THERE}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        sizes = _SIZES.search(message)
        facts = {"actual": sizes[1], "limit": sizes[2]} if sizes else {}
        return exceptions.TooLarge(message, field="request", **facts)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return exceptions.NotOffered(message)
    return exceptions.InternalDefect(message, code=code.name)


def _with_facts(error: exceptions.PlayheadError, facts: dict[str, str]) -> exceptions.PlayheadError:
    error.facts = facts  # not through the constructor: a fact may be named like one of its parameters
    return error


def _detail(status: Status, into: Detail) -> Detail | None:
    """The first detail of this type, or None."""
    return next((into for packed in status.details if packed.Unpack(into)), None)
