"""A policy for measuring: the core policy with ten more rules, all of which have an effect on every proposal."""

from __future__ import annotations

from dataclasses import replace

from playhead import v1
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.engine.orchestration.rules.effects import Effect, record
from playhead.engine.orchestration.rules.rule import Rule


class Noted(Rule):
    """any -> any: noted, under a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return record(f"Noted {self.number}: {proposed.name}.")


def policy() -> Policy:
    """See the module."""
    core = core_policy()
    more = tuple(map(Noted, range(10)))
    return replace(core, core_flow=(*core.core_flow, *more), core_task=(*core.core_task, *more))
