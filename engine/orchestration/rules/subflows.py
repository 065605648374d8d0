"""Subflows: what a task run that stands for a subflow run in its parent is told of it."""

from __future__ import annotations

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, record
from playhead.engine.orchestration.rules.rule import Rule


class UpdateSubflowParentTask(Rule):
    """any -> any of a task run that tracks a subflow, under force: passes. It is the state that the subflow run came to
    by the same command.

    Differs: the mirrored state is a proposal on record like any other, with the revision of what it mirrors.
    """

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        child = proposed.details.child_flow_run_id
        return record(f"It is the state of subflow run {child}.") if child else None
