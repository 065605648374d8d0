"""Where a server writes: a process of its own, which decides and commits while the edge reads and answers the wire.

So neither waits for the other's interpreter, and what comes in while a transaction is written makes the next one. The
edge hands requests over as they came; they are read here, checked, performed together, and answered together. The
writer ends when the edge does, however that ends: a command it has by then is performed, and answered to nobody.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy
from playhead.engine.orchestration.service import OrchestrationService
from playhead.grpc_server.batches import refused
from playhead.grpc_server.frames import HEAD, RESPONSE, STATUS, Frame, Frames, caller_from, packed
from playhead.grpc_server.status import status_of
from playhead.grpc_server.unreadable import Unreadable, tolerant
from playhead.journal.jobs import Job

RECEIVED_BYTES_MAX = 256 * 1024  # at a time
OPEN = b"open"

AWAKE_S = 0.002
"""How long two processes stay awake for each other, the writer for the next command after one that came alone, the edge
for the answer to one: longer than either takes. A core that sleeps in between forgets what it had at hand, and takes a
third longer for each.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A method that is the writer's."""

    service: str
    method: str
    request: type[Any]
    perform: Callable[..., Any]

    @property
    def is_stream(self) -> bool:
        """A stream of batches, each answered."""
        return self.method == "ProposeStates"


_ORCHESTRATION: tuple[tuple[str, type[Any], Callable[..., Any]], ...] = (
    ("RegisterFlow", v1.RegisterFlowRequest, OrchestrationService.register_flow),
    ("CreateFlowRun", v1.CreateFlowRunRequest, OrchestrationService.create_flow_run),
    ("CreateTaskRun", v1.CreateTaskRunRequest, OrchestrationService.create_task_run),
    ("ProposeState", v1.ProposeStateRequest, OrchestrationService.propose_state),
    ("ProposeStates", v1.ProposeStatesRequest, OrchestrationService.propose_states),
    ("UpdateRun", v1.UpdateRunRequest, OrchestrationService.update_run),
    ("PauseFlowRun", v1.PauseFlowRunRequest, OrchestrationService.pause_flow_run),
    ("ResumeFlowRun", v1.ResumeFlowRunRequest, OrchestrationService.resume_flow_run),
    ("CancelFlowRun", v1.CancelFlowRunRequest, OrchestrationService.cancel_flow_run),
    ("SetConcurrencyLimit", v1.SetConcurrencyLimitRequest, OrchestrationService.set_concurrency_limit),
    ("RenewLease", v1.RenewLeaseRequest, OrchestrationService.renew_lease),
)

COMMANDS = (
    *(Command("playhead.v1.Orchestration", *method) for method in _ORCHESTRATION),
    Command("playhead.v1.Inputs", "SendInput", v1.SendInputRequest, OrchestrationService.send_input),
    Command("playhead.v1.Inputs", "DeleteInput", v1.DeleteInputRequest, OrchestrationService.delete_input),
)
"""What frames count by its place in here."""

_READ = tuple(tolerant(command.request.FromString) for command in COMMANDS)


@dataclass(frozen=True)
class Aside:
    """A writer that was begun: it opens its database once `OPEN` was sent to `connection`, and sends the head when it
    has. It ends when `connection` is closed; `join` waits for that. `awake_s` is for how long each end looks for the
    other's word before it sleeps.
    """

    connection: socket.socket
    join: Callable[[], None]
    awake_s: float = 0.0


def forked(database: str, policy: Policy) -> Aside:
    """A writer in a process of its own, which is this one's copy: to be called while there is but one thread."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return Aside(ours, lambda: _reap(pid), AWAKE_S)
    ours.close()
    try:
        # They are meant for the edge, which ends this process by closing the connection.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        write(theirs, database, policy, AWAKE_S)
    finally:
        # Nothing that the parent has opened is this process's to close.
        logging.shutdown()
        os._exit(0)


def threaded(database: str, policy: Policy) -> Aside:
    """A writer in a thread, for a process that has others and can not be copied."""
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=write, args=(theirs, database, policy), name="playhead-writing", daemon=True)
    thread.start()
    return Aside(ours, thread.join)


def write(connection: socket.socket, database: str, policy: Policy, awake_s: float = 0.0) -> None:
    """Perform the commands that come through `connection` until it ends; after one that came alone, look for the next
    one for `awake_s` before sleeping.
    """
    try:
        with connection:
            if connection.recv(len(OPEN)) == OPEN:
                with Orchestrator.open(database, policy=policy, status_of=status_of, serves=True) as orchestrator:
                    connection.sendall(_head(orchestrator))
                    _perform_all(connection, orchestrator, awake_s)
    except BaseException:  # whatever it is, it is the last word of this process, and has to be in its log
        logger.exception("The writer ended")


def _perform_all(connection: socket.socket, orchestrator: Orchestrator, awake_s: float) -> None:
    frames = Frames()
    received = bytearray(RECEIVED_BYTES_MAX)
    look_s = 0.0
    while size := _received(connection, received, look_s):
        commands = list(frames.of(received[:size]))
        look_s = awake_s if len(commands) == 1 else 0.0
        if answers := _performed(orchestrator, commands):
            try:
                connection.sendall(answers)
            except ConnectionError:
                return  # The edge is gone, and with it who waits for them.


def _received(connection: socket.socket, into: bytearray, look_s: float) -> int:
    """The size of what has come; 0 at the end. Sleeps for it once `look_s` have passed."""
    until = time.monotonic() + look_s
    try:
        while time.monotonic() < until:
            try:
                return connection.recv_into(into, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                os.sched_yield()  # whoever has something to do goes first
        return connection.recv_into(into)
    except ConnectionError:
        return 0  # The edge was killed: that ends the connection too.


def _performed(orchestrator: Orchestrator, frames: Sequence[Frame]) -> bytes:
    """The answers to commands, in their order, and where the journal has got to with them."""
    asked: list[tuple[Frame, Any, Job[Any] | Exception]] = []
    for frame in frames:
        request = _READ[frame.what](frame.body)
        try:
            job = COMMANDS[frame.what].perform(orchestrator.jobs, request, caller_from(frame.caller))
            asked.append((frame, request, job))
        except Exception as error:
            asked.append((frame, request, error))
    orchestrator.perform([job for _, _, job in asked if isinstance(job, Job)])
    answers = [_answer(*one) for one in asked]
    if answers:
        answers.append(_head(orchestrator))
    return b"".join(answers)


def _answer(frame: Frame, request: Any, job: Job[Any] | Exception) -> bytes:
    try:
        if isinstance(job, Exception):
            raise job
        response = job.result()
    except Exception as error:
        if not COMMANDS[frame.what].is_stream or isinstance(request, Unreadable):
            return packed(frame.number, STATUS, status_of(error).SerializeToString())
        response = refused(request, error)
    return packed(frame.number, RESPONSE, response.SerializeToString())


def _head(orchestrator: Orchestrator) -> bytes:
    return packed(0, HEAD, orchestrator.journal.hub.revision.to_bytes(8, "little"))


def _reap(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        logger.error("The writer's process ended with %d", os.waitstatus_to_exitcode(status))
