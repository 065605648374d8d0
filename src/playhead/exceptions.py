"""What can go wrong, as Python exceptions.

PlayheadError
├── BadRequest           a field of a request is at fault: `field` names it
├── NotFound             no run, flow or lease of this id at the moment that was asked for
├── AlreadyExists        the id is taken, or the request id was used for another command
├── VersionMismatch      the run has moved on: read it, decide again
├── RevisionNotReached   the journal has not got to the revision that was asked for
├── QueueFull            too many commands wait: back off, send the same request again
├── ShuttingDown         this process is draining: send the same request elsewhere or later
├── DeadlinePassed       no answer in time: send the same request again, its request id finds out what happened
├── NotOffered           the server does not offer this
├── InternalDefect       a defect of the server
└── JournalError         the database: see playhead.journal.errors

Each has a `reason` (a value of `playhead.v1.Reason`), which is what travels over gRPC, and `facts`, the dynamic parts of the
message as text. The same exception is raised by the embedded client and by the remote one.
"""

from __future__ import annotations

from typing import ClassVar

from playhead import v1


class PlayheadError(Exception):
    """Base of all errors of this package. `reason` says which, `facts` what about."""

    reason: ClassVar[v1.Reason] = v1.INTERNAL_DEFECT

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = {name: str(value) for name, value in facts.items()}


class BadRequest(PlayheadError):
    """A field of a request is at fault; `field` is its path, "state.details.scheduled_time". Mend it; do not repeat as is."""

    reason = v1.INVALID_VALUE

    def __init__(self, message: str, *, field: str, **facts: object) -> None:
        super().__init__(f"{field}: {message}", **facts)
        self.field = field
        self.description = message


class MalformedId(BadRequest):
    """An id is not a canonical UUID string."""

    reason = v1.MALFORMED_ID


class MissingField(BadRequest):
    """A required field is unset."""

    reason = v1.MISSING_FIELD


class UnknownEnumValue(BadRequest):
    """An enum value nobody knows, or UNSPECIFIED where a choice is required."""

    reason = v1.UNKNOWN_ENUM_VALUE


class TooLarge(BadRequest):
    """Over a documented bound; `facts` has "limit" and "actual"."""

    reason = v1.TOO_LARGE


class BadPageToken(BadRequest):
    """A page token of another method, or the request changed between pages."""

    reason = v1.BAD_PAGE_TOKEN


class NotFound(PlayheadError):
    """No such run, flow or lease at the moment that was asked for."""

    reason = v1.NOT_FOUND


class AlreadyExists(PlayheadError):
    """The id is taken by something else: make a new one."""

    reason = v1.ALREADY_EXISTS


class RequestIdReused(AlreadyExists):
    """The request id was used for another command: make a new one."""

    reason = v1.REQUEST_ID_REUSED


class VersionMismatch(PlayheadError):
    """expected_version is not the run's version. Nothing was recorded: read the run, decide again."""

    reason = v1.VERSION_MISMATCH


class RevisionNotReached(PlayheadError):
    """A revision beyond the head was asked for: wait for it with min_revision, or ask for less."""

    reason = v1.REVISION_NOT_REACHED


class QueueFull(PlayheadError):
    """Too many commands wait for the writer: back off, send the same request again."""

    reason = v1.QUEUE_FULL


class ShuttingDown(PlayheadError):
    """This process is draining. Nothing was recorded: send the same request elsewhere or later."""

    reason = v1.SHUTTING_DOWN


class DeadlinePassed(PlayheadError):
    """No answer in time. Send the same request again: its request id finds out what happened."""

    reason = v1.DEADLINE_PASSED


class SubscriberTooSlow(PlayheadError):
    """A stream fell behind further than is held for it: resume from the last revision seen."""

    reason = v1.SUBSCRIBER_TOO_SLOW


class NotOffered(PlayheadError):
    """The server does not offer this."""

    reason = v1.NOT_OFFERED


class InternalDefect(PlayheadError):
    """A defect of the server. Nothing was recorded for the request."""

    reason = v1.INTERNAL_DEFECT
