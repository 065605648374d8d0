"""Leaving and overwriting terminal states."""

from __future__ import annotations

from hashlib import sha256

from playhead import v1
from playhead.engine.orchestration.rules.effects import Effect, abort, record, reject
from playhead.engine.orchestration.rules.rule import TERMINAL, Rule

UNREACHABLE = frozenset({v1.CANCELLING, v1.PAUSED, v1.CRASHED})
"""States that something which has ended cannot go to."""


class HandleFlowTerminalStateTransitions(Rule):
    """terminal -> CANCELLING, PAUSED, CRASHED: ABORT. COMPLETED with a stored result -> not terminal: REJECT; ->
    COMPLETED without a stored result: REJECT. terminal -> SCHEDULED without a deployment: ABORT.

    Differs: the run starts again when the proposal says that the stored result is damaged.
    """

    from_states = TERMINAL

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if proposed.type in UNREACHABLE:
            return abort("The run has ended already.")
        if proposed.type not in TERMINAL and has_stored_result(facts.status.state, proposed.details.damaged_result):
            return reject("The run is already COMPLETED and its result is stored.")
        if loses_result(facts.status.state, proposed):
            return reject("The stored result of the run would be lost.")
        if proposed.type == v1.SCHEDULED and not facts.has_deployment:
            return abort("A run without a deployment cannot be scheduled again: nothing would start it.")
        return None


class HandleTaskTerminalStateTransitions(Rule):
    """terminal -> CANCELLING, PAUSED, CRASHED: ABORT. COMPLETED with a stored result -> any other: REJECT. terminal ->
    not terminal: passes and run_count starts again from 0, so the run has all its retries.

    Differs: a run whose stored result is damaged, as the proposal says, or is one of other arguments, starts again too.
    """

    from_states = TERMINAL
    version = 2

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if proposed.type in UNREACHABLE:
            return abort("The run has ended already.")
        other = is_of_other_arguments(facts.status.state, proposed)
        if has_stored_result(facts.status.state, proposed.details.damaged_result) and not other:
            return reject("The run is already COMPLETED and its result is stored.")
        if proposed.type in TERMINAL:
            return None
        if other:
            return record("The stored result is one of other arguments, so the run starts again: run_count from 0.")
        if has_stored_result(facts.status.state):
            return record("The stored result is damaged, so the run starts again: run_count from 0.")
        return record("The run starts again: run_count from 0.")

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.run_count = 0


class PreventResultDataLoss(Rule):
    """COMPLETED with a stored result -> COMPLETED without one: REJECT. What force keeps of the terminal rules."""

    from_states = frozenset({v1.COMPLETED})
    to_states = frozenset({v1.COMPLETED})

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        if loses_result(facts.status.state, proposed):
            return reject("The stored result of the run would be lost.")
        return None


def has_stored_result(state: v1.State, damaged: bytes = b"") -> bool:
    """Whether the run is COMPLETED and others can read its result: one whose SHA-256 is `damaged` they can not."""
    if state.type != v1.COMPLETED or state.result.WhichOneof("stored") is None:
        return False
    return not damaged or digest_of(state.result) != damaged


def is_of_other_arguments(state: v1.State, proposed: v1.State) -> bool:
    """Whether a run that is to run again completed with other arguments than it would have now, as far as is known."""
    before, now = state.details.arguments_digest, proposed.details.arguments_digest
    return proposed.type == v1.RUNNING and bool(before and now) and before != now


def digest_of(result: v1.Result) -> bytes:
    """The SHA-256 of a stored result's bytes."""
    return result.reference.sha256 if result.HasField("reference") else sha256(result.inline).digest()


def loses_result(state: v1.State, proposed: v1.State) -> bool:
    """Whether a stored result would be overwritten by a COMPLETED that has none."""
    return proposed.type == v1.COMPLETED and has_stored_result(state) and not has_stored_result(proposed)
