"""Errors as gRPC tells them: one table, Reason -> status code.

An error is answered as a google.rpc.Status with one ErrorInfo (domain "playhead", the name of the reason, the error's
facts) and, where a field is at fault, a BadRequest that names it. Texts are cut so that all of it fits the 8 KiB which
gRPC clients take as trailing metadata.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

import grpc
from google.rpc.error_details_pb2 import BadRequest as BadRequestDetail
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from playhead import v1
from playhead.exceptions import BadRequest, InternalDefect, PlayheadError

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

DOMAIN = "playhead"
STATUS_METADATA_KEY = "grpc-status-details-bin"

TEXT_BYTES_MAX = 500  # of a message, a field path or one fact
FACTS_BYTES_MAX = 2_000

CODE_OF: dict[v1.Reason.ValueType, grpc.StatusCode] = {
    v1.MALFORMED_ID: grpc.StatusCode.INVALID_ARGUMENT,
    v1.MISSING_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    v1.UNKNOWN_ENUM_VALUE: grpc.StatusCode.INVALID_ARGUMENT,
    v1.INVALID_VALUE: grpc.StatusCode.INVALID_ARGUMENT,
    v1.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    v1.BAD_PAGE_TOKEN: grpc.StatusCode.INVALID_ARGUMENT,
    v1.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    v1.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    v1.REQUEST_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    v1.VERSION_MISMATCH: grpc.StatusCode.ABORTED,
    v1.REVISION_NOT_REACHED: grpc.StatusCode.OUT_OF_RANGE,
    v1.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    v1.JOURNAL_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    v1.JOURNAL_READ_ONLY: grpc.StatusCode.FAILED_PRECONDITION,
    v1.JOURNAL_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    v1.CORRUPT_RECORD: grpc.StatusCode.DATA_LOSS,
    v1.NEWER_DATABASE: grpc.StatusCode.FAILED_PRECONDITION,
    v1.NOT_A_JOURNAL: grpc.StatusCode.FAILED_PRECONDITION,
    v1.SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
    v1.NOT_OFFERED: grpc.StatusCode.UNIMPLEMENTED,
    v1.DEADLINE_PASSED: grpc.StatusCode.DEADLINE_EXCEEDED,
    v1.INTERNAL_DEFECT: grpc.StatusCode.INTERNAL,
    v1.SUBSCRIBER_TOO_SLOW: grpc.StatusCode.RESOURCE_EXHAUSTED,
    v1.RUN_ENDED: grpc.StatusCode.FAILED_PRECONDITION,
}

logger = logging.getLogger(__name__)


def status_of(error: BaseException) -> Status:
    """The google.rpc.Status of an error. One that is none of ours is a defect: logged whole, answered by its number."""
    known = error if isinstance(error, PlayheadError) else _defect(error)
    message = _cut(str(known))
    status = Status(code=CODE_OF[known.reason].value[0], message=message)
    info = ErrorInfo(domain=DOMAIN, reason=v1.Reason.Name(known.reason), metadata=_cut_facts(known.facts))
    status.details.add().Pack(info)
    if isinstance(known, BadRequest):
        at_fault = BadRequestDetail()
        at_fault.field_violations.add(field=_cut(known.field), description=_cut(known.description), reason=info.reason)
        status.details.add().Pack(at_fault)
    return status


async def refuse(context: ServicerContext[Any, Any], error: Exception) -> NoReturn:
    """End a call with an error, its details in the trailing metadata. Always raises, as gRPC's abort does."""
    await refuse_with(context, status_of(error).SerializeToString())


async def refuse_with(context: ServicerContext[Any, Any], details: bytes) -> NoReturn:
    """End a call with the bytes of a google.rpc.Status. Always raises."""
    status = Status.FromString(details)
    await context.abort(_CODES[status.code], status.message, ((STATUS_METADATA_KEY, details),))
    raise AssertionError("abort has returned")


_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _defect(error: BaseException) -> InternalDefect:
    incident = uuid4().hex[:12]
    logger.error("Incident %s: a defect answered a call", incident, exc_info=error)
    return InternalDefect(f"a defect of the server; its log has more under incident {incident}", incident=incident)


def _cut_facts(facts: dict[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = FACTS_BYTES_MAX
    for name, text in facts.items():
        kept[name] = _cut(text)
        room -= len(name) + len(kept[name].encode())
        if room < 0:
            del kept[name]
            break
    return kept


def _cut(text: str) -> str:
    """The text, or as much of it as fits; never half a character."""
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= TEXT_BYTES_MAX else encoded[: TEXT_BYTES_MAX - 3].decode(errors="ignore") + "…"
