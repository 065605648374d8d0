"""Effects: what the orchestration loops ask of their driver, and get the outcome of, or its exception, back.

Ask         a request of the service         its response
CallUser    a call of the user's function    what it returned; RunTimedOut when it took too long, WorkerLost
Sleep       seconds to pass                  None
WaitFor     futures to be done               None
AwaitTurn   a task run's turn to get slots   None
AwaitLock   the lock of a key                None
AwaitState  a state of a flow run            that state; None when time was over before
AwaitInputs inputs sent to a flow run        a message of them; None when time was over before
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from playhead import v1
from playhead.client.interface import Unary
from playhead.locking.protocol import LockManager

Result = TypeVar("Result")


@dataclass(slots=True)
class Ask:
    """Call the service. `shielded`: see it through even when the run is being torn down. `timeout_s`: how long the
    answer is waited for; None: as long as the client waits.
    """

    method: Unary[Any, Any]
    request: Any
    shielded: bool = False
    timeout_s: float | None = None


@dataclass(slots=True)
class CallUser:
    """Call a function of the user's, awaiting it when it is a coroutine function.

    `of_run`: it is what the run is a run of, with the run's parameters as arguments; others are hooks and the like.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    timeout_s: float | None = None
    of_run: bool = False


@dataclass(slots=True)
class Sleep:
    """Let time pass."""

    seconds: float


@dataclass(slots=True)
class WaitFor:
    """Wait until all of these are done; how they ended is not looked at."""

    futures: Iterable[Any]


@dataclass(slots=True)
class AwaitTurn:
    """Wait until a task run in line is given slots, or refused, after a revision, or until the flow run it is in is
    stopped, "" for none; at most so many seconds.
    """

    run_id: str
    after: int
    seconds: float
    flow_run_id: str = ""


@dataclass(slots=True)
class AwaitState:
    """Wait until a flow run is in a state that is `wanted`; at most so many seconds, None: as long as it takes."""

    flow_run_id: str
    wanted: Callable[[v1.State], bool]
    seconds: float | None


@dataclass(slots=True)
class AwaitLock:
    """Wait until a holder has the lock of a key."""

    locks: LockManager
    key: str
    holder: str


@dataclass(slots=True)
class AwaitInputs:
    """Wait until a flow run has inputs that are asked for; at most so many seconds, None: as long as it takes.

    `ended_by` may end the wait, with a signal.
    """

    request: v1.ReceiveInputsRequest
    seconds: float | None
    ended_by: Callable[[Future[Any]], None] | None = None


Effect = Ask | CallUser | Sleep | WaitFor | AwaitTurn | AwaitState | AwaitLock | AwaitInputs
Loop = Generator[Effect, Any, Result]


class WorkerLost(BaseException):
    """What called the user's function, in another process, has ended before it answered; the message says how."""


class CalledOff(BaseException):
    """A call of the user's function in another process was called off: its flow run is over, or is to stop."""


class RunTimedOut(BaseException):
    """The user's function took longer than it may. Not an Exception, so that its own handlers do not swallow it.

    `owner` is the effect whose limit it was: a function may run inside another one that is out of time.
    """

    def __init__(self, owner: object = None) -> None:
        super().__init__()
        self.owner = owner
