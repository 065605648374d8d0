"""What a rule is: the transitions it speaks about, its word before them, what it keeps about the run after them."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, TypeAlias

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect

StateType: TypeAlias = v1.StateType.ValueType

NO_STATE = v1.STATE_TYPE_UNSPECIFIED
STATES: frozenset[StateType] = frozenset(v1.StateType.values()) - {NO_STATE}
TERMINAL: frozenset[StateType] = frozenset({v1.COMPLETED, v1.FAILED, v1.CANCELLED, v1.CRASHED})
ANY: frozenset[StateType] = STATES | {NO_STATE}


class Subject(IntEnum):
    """What a proposal is about."""

    FLOW_RUN = 1
    TASK_RUN = 2


class Rule:
    """One row of a policy's table. Subclass it, say from which states to which, and override `before`, `after` or both.

    A rule is pure: no clock (`facts.now`), no randomness (`facts.entropy`), no I/O, and it changes nothing it is given
    but the status in `after`. So a decision can be made again from the facts recorded with it. A rule from outside
    Playhead is held to that: see `guard`. Parameters are plain instance attributes; the policy's id covers their
    `repr`, which should be the same on every machine.
    """

    from_states: ClassVar[frozenset[StateType]] = ANY
    to_states: ClassVar[frozenset[StateType]] = STATES
    version: ClassVar[int] = 1
    """Part of the policy's id: count it up when the rule's code decides otherwise than before."""

    @property
    def name(self) -> str:
        """How decisions name the rule: its class."""
        return type(self).__name__

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        """Say what happens to the proposal; None lets it pass.

        `proposed` is the state as earlier rules left it, its name filled in; `command.state` is it as it was sent.
        """

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        """Change what is kept about the run. `status` is the run after, its new state included; `facts.status` before.

        Called for a rule that had an effect and still stands when the run's state changes; for bookkeeping whenever it
        does.
        """
