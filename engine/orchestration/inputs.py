"""Inputs of flow runs: requests into commands, and commands into events.

| command | refused                                                                                                  |
|---------|----------------------------------------------------------------------------------------------------------|
| send    | no such run; it has COMPLETED, FAILED or was CANCELLED; it has an input of this key, or as many as it can |
| delete  | no such run; no such input                                                                               |

A run that CRASHED receives on: when it is executed again it finds what was sent meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from playhead import v1
from playhead.engine.orchestration.run_input import check_json
from playhead.exceptions import AlreadyExists, MissingField, NotFound, RunEnded, TooLarge
from playhead.journal.append import Append
from playhead.journal.checks import bounded_line, id_bytes, input_key
from playhead.journal.encoding import id_from
from playhead.journal.record import Caller
from playhead.projector.sql import COUNT_INPUTS, SELECT_INPUT

if TYPE_CHECKING:
    from playhead.engine.orchestration.known import Run

INPUTS_MAX = 10_000
"""Inputs that a flow run has at the same time."""

SENDER_BYTES_MAX = 500

RECEIVES_NO_MORE = frozenset({v1.COMPLETED, v1.FAILED, v1.CANCELLED})


@dataclass(slots=True)
class ChangeInput:
    """An input to be sent or deleted. `stream` is that of the run's inputs."""

    request_id: bytes | None
    caller: Caller
    request: v1.SendInputRequest | v1.DeleteInputRequest
    run_id: bytes
    stream: bytes

    def event(self) -> v1.Event:
        """What happens when nothing speaks against it."""
        event = v1.Event()
        changed = event.input_sent if isinstance(self.request, v1.SendInputRequest) else event.input_deleted
        changed.command.MergeFrom(self.request)  # type: ignore[arg-type] # each is of its own request's type
        changed.command.ClearField("request_id")
        return event


def change_of(request: v1.SendInputRequest | v1.DeleteInputRequest, caller: Caller) -> ChangeInput:
    """The command of a request."""
    request_id = id_bytes(request.request_id, "request_id")
    run_id = id_bytes(request.flow_run_id, "flow_run_id")
    input_key(request.key, "key")
    if isinstance(request, v1.SendInputRequest):
        if not request.value:
            raise MissingField("JSON is required", field="value")
        check_json(request.value, "value")
        bounded_line(request.sender, "sender", SENDER_BYTES_MAX)
    return ChangeInput(request_id, caller, request, run_id, id_from(b"run inputs", run_id))


class Inputs:
    """Which inputs there are, as of the append transaction."""

    def __init__(self) -> None:
        # What this transaction has sent, True, or deleted, and how many there are then: not in the tables yet.
        self._changed: dict[tuple[bytes, str], bool] = {}
        self._counts: dict[bytes, int] = {}

    def event(self, append: Append, command: ChangeInput, run: Run) -> v1.Event:
        """The event of a command. Raises NotFound, AlreadyExists, RunEnded, TooLarge."""
        key, exists = command.request.key, self._exists(append, run.run_id, command.request.key)
        sends = isinstance(command.request, v1.SendInputRequest)
        count = self._count(append, run.run_id)
        if sends:
            _check_receives(run)
            if exists:
                raise AlreadyExists(f"key: the flow run has an input {key!r}: use another key.", field="key", key=key)
            if count >= INPUTS_MAX:
                raise TooLarge(
                    f"the flow run has {count} inputs, at most {INPUTS_MAX}: delete some",
                    field="flow_run_id",
                    limit=INPUTS_MAX,
                    actual=count,
                )
        elif not exists:
            raise NotFound(f"key: the flow run has no input {key!r}.", field="key", key=key)
        self._changed[run.run_id, key] = sends
        self._counts[run.run_id] = count + 1 if sends else count - 1
        return command.event()

    def written(self) -> None:
        """What this transaction changed is in the tables now, or was given up."""
        self._changed.clear()
        self._counts.clear()

    def _exists(self, append: Append, run_id: bytes, key: str) -> bool:
        changed = self._changed.get((run_id, key))
        return bool(append.rows(SELECT_INPUT, (run_id, key))) if changed is None else changed

    def _count(self, append: Append, run_id: bytes) -> int:
        count = self._counts.get(run_id)
        return int(append.rows(COUNT_INPUTS, (run_id,))[0][0]) if count is None else count


def _check_receives(run: Run) -> None:
    state = run.status.state
    if state.type in RECEIVES_NO_MORE:
        raise RunEnded(
            f"flow_run_id: the flow run has ended, {state.name}, and receives no more input.",
            field="flow_run_id",
            state=v1.StateType.Name(state.type),
        )
