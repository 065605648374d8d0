"""The `Orchestration` service of the contract, and the commands of `Inputs`, without the wire: messages in, futures of
messages out.

Every method checks its request, then hands a command on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.rpc.status_pb2 import Status

from playhead import v1
from playhead.engine.orchestration import commands, inputs
from playhead.engine.orchestration.commands import BATCH_ITEMS_MAX, AnyCommand
from playhead.exceptions import PlayheadError, TooLarge
from playhead.journal.jobs import only
from playhead.journal.journal import Clock
from playhead.journal.record import Caller

StatusOf = Callable[[PlayheadError], Status]


class OrchestrationService:
    """Commands. `perform` is the writer's `submit`, or its `call`: then answers are returned, not futures of them.

    `status_of` says how the error of one item of a batch looks on the wire. `on_cancel` is called when a flow run was
    cancelled.
    """

    def __init__(
        self,
        perform: Callable[..., Any],
        clock: Clock,
        status_of: StatusOf,
        on_cancel: Callable[[], None] = lambda: None,
    ) -> None:
        self._perform = perform
        self._clock = clock
        self._status_of = status_of
        self._on_cancel = on_cancel

    def register_flow(self, request: v1.RegisterFlowRequest, caller: Caller) -> Any:
        """Make sure that a flow of this name exists."""
        return self._perform((commands.register_flow(request, caller),))

    def create_flow_run(self, request: v1.CreateFlowRunRequest, caller: Caller) -> Any:
        """Create a flow run."""
        return self._perform((commands.create_flow_run(request, caller),))

    def create_task_run(self, request: v1.CreateTaskRunRequest, caller: Caller) -> Any:
        """Create a task run."""
        return self._perform((commands.create_task_run(request, caller),))

    def propose_state(self, request: v1.ProposeStateRequest, caller: Caller) -> Any:
        """Propose a state for a run."""
        return self._perform((commands.propose(request, caller),))

    def propose_states(self, request: v1.ProposeStatesRequest, caller: Caller) -> Any:
        """Propose states for many runs, decided in order and made durable together."""
        items = request.items
        if len(items) > BATCH_ITEMS_MAX:
            raise TooLarge(
                f"{len(items)} items, at most {BATCH_ITEMS_MAX}",
                field="items",
                limit=BATCH_ITEMS_MAX,
                actual=len(items),
            )
        checked: list[AnyCommand] = []
        response = v1.ProposeStatesResponse()
        waiting: list[v1.ProposeStatesAnswer] = []
        for item in items:
            answer = response.answers.add(correlation_id=item.correlation_id)
            try:
                checked.append(commands.propose(item.request, caller))
                waiting.append(answer)
            except PlayheadError as error:
                answer.error.CopyFrom(self._status_of(error))

        def finish(outcomes: list[object]) -> v1.ProposeStatesResponse:
            for answer, outcome in zip(waiting, outcomes, strict=True):
                if isinstance(outcome, PlayheadError):
                    answer.error.CopyFrom(self._status_of(outcome))
                else:
                    assert isinstance(outcome, v1.ProposeStateResponse)
                    answer.response.CopyFrom(outcome)
            return response

        return self._perform(checked, finish)

    def update_run(self, request: v1.UpdateRunRequest, caller: Caller) -> Any:
        """Rename a run or replace its tags."""
        return self._perform((commands.update_run(request, caller),))

    def pause_flow_run(self, request: v1.PauseFlowRunRequest, caller: Caller) -> Any:
        """Propose PAUSED."""
        return self._perform((commands.pause(request, caller, self._clock()),))

    def resume_flow_run(self, request: v1.ResumeFlowRunRequest, caller: Caller) -> Any:
        """Propose what makes a paused flow run go on."""
        return self._perform((commands.resume(request, caller),))

    def cancel_flow_run(self, request: v1.CancelFlowRunRequest, caller: Caller) -> Any:
        """Propose CANCELLING."""

        def finish(outcomes: list[object]) -> object:
            self._on_cancel()
            return only(outcomes)

        return self._perform((commands.cancel(request, caller),), finish)

    def set_concurrency_limit(self, request: v1.SetConcurrencyLimitRequest, caller: Caller) -> Any:
        """Set or remove a concurrency limit."""
        return self._perform((commands.set_limit(request, caller),))

    def send_input(self, request: v1.SendInputRequest, caller: Caller) -> Any:
        """Send an input to a flow run."""
        return self._perform((inputs.change_of(request, caller),))

    def delete_input(self, request: v1.DeleteInputRequest, caller: Caller) -> Any:
        """Delete an input of a flow run."""
        return self._perform((inputs.change_of(request, caller),))

    def renew_lease(self, request: v1.RenewLeaseRequest, caller: Caller) -> Any:
        """Say that the holder of a lease is alive."""
        return self._perform((commands.renew_lease(request, caller),))
