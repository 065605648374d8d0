"""What clients ask for under load: commands that meet each other on few runs, made from a seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Any

from playhead import v1
from playhead.client.interface import CREATE_FLOW_RUN, PROPOSE_STATE, REGISTER_FLOW, UPDATE_RUN, Unary

Asked = tuple[Unary[Any, Any], Any]
"""A command: the method and its request."""

FLOW_RUNS = 5
TASK_KEYS = 40

STATES = (v1.PENDING, v1.RUNNING, v1.RUNNING, v1.COMPLETED, v1.FAILED, v1.CANCELLING, v1.PAUSED, v1.SCHEDULED)


class Load:
    """An endless supply of commands about the runs of one flow, the same for the same seed.

    They are about the newest `runs` runs; `growth` of them make a new one.
    """

    def __init__(self, seed: int, runs: int = FLOW_RUNS, growth: float = 0.03) -> None:
        self._runs = runs
        self._growth = growth
        self._random = random.Random(seed)
        self.flow_id = self.new_id()
        self.flow_runs: list[str] = []

    def new_id(self) -> str:
        """A UUID that follows from the seed."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def opening(self) -> list[Asked]:
        """What has to be there before the rest makes sense."""
        flow = v1.RegisterFlowRequest(request_id=self.new_id(), flow_id=self.flow_id, name=f"flow {self.flow_id[:8]}")
        return [(REGISTER_FLOW, flow), *(self._flow_run() for _ in range(self._runs))]

    def commands(self) -> Iterator[Asked]:
        """Commands without end."""
        kinds = (self._propose, self._task, self._task, self._rename)
        while True:
            yield self._random.choice(kinds)() if self._random.random() >= self._growth else self._flow_run()

    def _flow_run(self) -> Asked:
        spec = v1.FlowRunSpec(
            id=self.new_id(),
            flow_id=self.flow_id,
            state=v1.State(type=v1.PENDING),
            retry=v1.RetryPolicy(retries=2),
            tags=["load"],
        )
        self.flow_runs = [*self.flow_runs, spec.id][-self._runs :]
        return CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=self.new_id(), spec=spec)

    def _propose(self) -> Asked:
        request = v1.ProposeStateRequest(
            request_id=self.new_id(),
            flow_run_id=self._random.choice(self.flow_runs),
            state=v1.State(type=self._random.choice(STATES), message="x" * self._random.randrange(300)),
            force=self._random.random() < 0.2,
        )
        return PROPOSE_STATE, request

    def _task(self) -> Asked:
        key = str(self._random.randrange(TASK_KEYS))
        spec = v1.TaskRunSpec(flow_run_id=self._random.choice(self.flow_runs), task_key="task", dynamic_key=key)
        state = v1.State(type=self._random.choice((v1.RUNNING, v1.COMPLETED, v1.FAILED)))
        if state.type == v1.COMPLETED:
            state.result.inline = b"r" * self._random.randrange(2_000)
            if self._random.random() < 0.5:
                state.details.cache_key = f"key {key}"
        return PROPOSE_STATE, v1.ProposeStateRequest(request_id=self.new_id(), create_task_run=spec, state=state)

    def _rename(self) -> Asked:
        request = v1.UpdateRunRequest(
            request_id=self.new_id(),
            flow_run_id=self._random.choice(self.flow_runs),
            tags=v1.TagList(tags=["load", f"tag {self._random.randrange(5)}"]),
        )
        return UPDATE_RUN, request
