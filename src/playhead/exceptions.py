"""What can go wrong, as Python exceptions.

PlayheadError
├── BadRequest           a field of a request is at fault: `field` names it
├── NotFound             no run, flow or lease of this id at the moment that was asked for
├── AlreadyExists        the id is taken, or the request id was used for another command
├── VersionMismatch      the run has moved on: read it, decide again
├── RunEnded             the flow run has ended and receives no more input
├── RevisionNotReached   the journal has not got to the revision that was asked for
├── QueueFull            too many commands wait: back off, send the same request again
├── ShuttingDown         this process is draining: send the same request elsewhere or later
├── DeadlinePassed       no answer in time: send the same request again, its request id finds out what happened
│   └── ConnectionLost       … because the connection to the server broke
├── NotOffered           the server does not offer this
├── InternalDefect       a defect of the server
└── JournalError         the database: see playhead.journal.errors

Each has a `reason` (a value of `playhead.v1.Reason`), which is what travels over gRPC, and `facts`, the dynamic parts
of the message as text. The same exception is raised by the embedded client and by the remote one.
"""

from __future__ import annotations

from typing import ClassVar

from playhead import v1
from playhead.engine.signals import Abort as Abort  # signals are no errors, but Prefect has them here
from playhead.engine.signals import ExternalSignal as ExternalSignal
from playhead.engine.signals import Pause as Pause
from playhead.engine.signals import TerminationSignal as TerminationSignal


class PlayheadError(Exception):
    """Base of all errors of this package. `reason` says which, `facts` what about."""

    reason: ClassVar[v1.Reason.ValueType] = v1.INTERNAL_DEFECT

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = {name: str(value) for name, value in facts.items()}


class BadRequest(PlayheadError):
    """A field of a request is at fault; `field` is its path, "state.details.scheduled_time". Mend it; do not repeat as
    is.
    """

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


class RunEnded(PlayheadError):
    """The flow run has ended and receives no more input. Nothing was recorded: send it to a run that works."""

    reason = v1.RUN_ENDED


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


class ConnectionLost(DeadlinePassed):
    """The connection to the server broke before the answer came. Send the same request again."""


def is_unanswered(error: object) -> bool:
    """Whether an error says that a request was sent again, and its answer waited for, until its time was over."""
    return isinstance(error, PlayheadError) and error.reason in _UNANSWERED


_UNANSWERED = {v1.DEADLINE_PASSED, v1.SHUTTING_DOWN, v1.JOURNAL_UNAVAILABLE}


class SubscriberTooSlow(PlayheadError):
    """A stream fell behind further than is held for it: resume from the last revision seen."""

    reason = v1.SUBSCRIBER_TOO_SLOW


class NotOffered(PlayheadError):
    """The server does not offer this."""

    reason = v1.NOT_OFFERED


class InternalDefect(PlayheadError):
    """A defect of the server. Nothing was recorded for the request."""

    reason = v1.INTERNAL_DEFECT


class ExecutionError(Exception):
    """Base of what flows and tasks raise in the process that runs them.

    ExecutionError
    ├── FailedRun, CrashedRun, CancelledRun   a run ended badly, and its own exception is not to be had
    ├── PausedRun, UnfinishedRun              a run that has no result yet was asked for one
    ├── MissingResult                         the run completed, but its result was not stored
    ├── CorruptResult                         a stored result is missing, cut short or altered: run the task again
    ├── SerializationError                    a value can not be serialized, and that was asked for
    │   └── NotSendable                           a call, or its result, can not be sent to another process
    ├── HashError                             a value has no digest that is the same in every process
    ├── UpstreamTaskError                     an input comes from a task run that did not complete
    ├── ParameterBindError                    the arguments do not fit the function's signature
    ├── ParameterTypeError                    the arguments do not fit the function's annotations
    ├── ReservedArgumentError                 a function has a parameter of a name that calls need themselves
    ├── InvalidNameError                      a name has characters that names can not have
    ├── MappingMissingIterable                `.map` was given nothing to map over
    ├── MappingLengthMismatch                 `.map` was given iterables of different lengths
    ├── MissingContextError                   something that needs a run was used outside of one
    ├── ConfigurationError                    settings or options that can not be understood, or not together
    ├── MissingFlowError                      no flow is found where a run's entrypoint points
    ├── NotPausedError                        a flow run that is to be resumed is not paused
    ├── FlowPauseTimeout                      a pause was over before the flow run was resumed
    ├── FlowRunWaitTimeout                    a flow run that was waited for did not end in time
    ├── CommitFailed                          a transaction could not be committed: it was rolled back
    ├── RunRefused                            a rule refused to let a run go on
    ├── ConcurrencySlotAcquisitionError       a concurrency limit can not give the slots that were asked for
    │   └── AcquireConcurrencySlotTimeoutError    … or did not in time
    └── UnreadableException                   the exception of a stored state can not be made again: its text is here
    """


class FailedRun(ExecutionError):
    """A run failed, and the exception it failed with is not known."""


class CrashedRun(ExecutionError):
    """A run crashed: its infrastructure failed, not its code."""


class CancelledRun(ExecutionError):
    """A run was cancelled."""


class PausedRun(ExecutionError):
    """A paused run was asked for its result. `state` is the run's state."""

    def __init__(self, message: str, state: object = None) -> None:
        super().__init__(message)
        self.state = state


class UnfinishedRun(ExecutionError):
    """A run that is not final was asked for its result: wait for it."""


class MissingResult(ExecutionError):
    """The run completed, but its result was kept only in the memory of the process that made it."""


class CorruptResult(ExecutionError):
    """A stored result is missing, cut short or altered; it is never returned. Run the task again to make a new one."""


class SerializationError(ExecutionError):
    """A value has no bytes: the message says what in it can not be serialized. Return something else, or choose another
    `result_serializer`; without `persist_result=True` the run keeps it in memory.
    """


class NotSendable(SerializationError):
    """A call of a task can not be sent to another process, or its result back: the message says what of it, and what
    to do. Such a run is not retried.
    """


class HashError(ExecutionError, ValueError):
    """A value has no digest: it holds something that can not be told, such as a lock or an open file."""


class UpstreamTaskError(ExecutionError):
    """An input comes from a task run that did not complete. Wrap it in `allow_failure` to go on all the same."""


class ParameterBindError(ExecutionError, TypeError):
    """The arguments of a call do not fit the function's signature."""


class ParameterTypeError(ExecutionError):
    """The arguments of a call do not fit the function's annotations; the message lists every parameter at fault."""


class ReservedArgumentError(ExecutionError, TypeError):
    """A flow or task function has a parameter whose name calls need themselves: rename the parameter."""


class InvalidNameError(ExecutionError, ValueError):
    """A name has characters that names can not have."""


class MappingMissingIterable(ExecutionError):
    """`.map` needs at least one iterable argument that is not wrapped in `unmapped`."""


class MappingLengthMismatch(ExecutionError):
    """The iterables given to `.map` must have the same length."""


class MissingContextError(ExecutionError, RuntimeError):
    """Something that needs a flow or task run was used outside of one."""


class ConfigurationError(ExecutionError, ValueError):
    """Settings or options can not be understood or do not fit together: the message says which, and what would."""


class MissingFlowError(ExecutionError):
    """No flow is found where a run's entrypoint points, or the run has no entrypoint."""


class NotPausedError(ExecutionError):
    """The flow run that is to be resumed is not paused."""


class FlowPauseTimeout(ExecutionError):
    """The time of a pause was over before the flow run was resumed: the run fails, and can not be resumed any more."""


class FlowRunWaitTimeout(ExecutionError, TimeoutError):
    """The flow run that was waited for did not end in time. It goes on."""


class ConcurrencySlotAcquisitionError(ExecutionError):
    """A concurrency limit can not give the slots that were asked for; the message says which and why."""


class AcquireConcurrencySlotTimeoutError(ConcurrencySlotAcquisitionError, TimeoutError):
    """The slots that were asked for did not become free in time."""


class CommitFailed(ExecutionError):
    """A transaction could not be committed, and was rolled back instead; `__cause__` is why."""


class RunRefused(ExecutionError):
    """A rule refused to let a run go on: the message has the rule's name and its reason."""


class UnreadableException(ExecutionError):
    """The exception of a stored state can not be made again in this process.

    `type_name` and `traceback_text` say what it was; the message is its own.
    """

    def __init__(self, message: str, type_name: str = "", traceback_text: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.traceback_text = traceback_text
