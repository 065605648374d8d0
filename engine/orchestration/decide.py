"""The decision: one proposal, its facts and a policy in; what is recorded of it out.

A rule is asked if it speaks about the transition as proposed. What it says:

    passes, RENAMED, RECORDED    the next rule is asked
    REPLACED, same type          REJECT, and the next rule is asked about the new proposal
    REPLACED, another type       REJECT, and no later rule is asked: they speak about another transition
    REJECTED, DELAYED, ABORTED   nothing changes about the run, and no later rule is asked
    DELAYED, queueing            the rule's `after` completes the status, whose state stays, and no later rule is asked
    raises                       ABORTED, with the error as its reason; so is what `guard` refuses of a user's rule

Rules that had an effect on a proposal which a later one took away are marked FIZZLED, and what they meant to keep about
the run is not kept. If the run's state changes, the standing rules' `after` and then all bookkeeping complete its
status.

Differs: what a rule raises is an answer on record, not an error of the server, and a run without a state can be
refused one.
"""

from __future__ import annotations

from collections.abc import Sequence

from playhead import v1
from playhead.engine.orchestration.guard import without_addresses
from playhead.engine.orchestration.policy import After, Asked, Policy, Subject
from playhead.engine.orchestration.rules.bookkeeping import DEFAULT_NAMES
from playhead.engine.orchestration.rules.effects import Effect, abort
from playhead.engine.orchestration.rules.rule import Rule

__all__ = ["Policy", "Subject", "decide"]

ERROR_LENGTH_MAX = 1000
"""Characters of a rule's error that are recorded."""

DECISIONS = {
    v1.RULE_REJECTED: v1.REJECT,
    v1.RULE_REPLACED: v1.REJECT,
    v1.RULE_DELAYED: v1.WAIT,
    v1.RULE_ABORTED: v1.ABORT,
}


def decide(
    subject: Subject,
    facts: v1.Facts,
    command: v1.ProposeStateRequest,
    policy: Policy,
    into: v1.StateProposed | None = None,
) -> v1.StateProposed:
    """Answer one proposal. Pure: what there is to know is in `facts`, the time and the chance included.

    The answer has everything but the command and the facts, which are the caller's to fill in. Its `status` is set
    when, and only when, the run changed: its state, or under WAIT its place in line alone. Then the caller stamps its
    version, its new state's revision, the revision of a new place in line, and the token and holder of a lease whose
    token is 0. Neither facts nor command are changed. The proposed state must have
    one of the nine types. `into` is an empty message to write the answer to, which may be the one that holds the facts.
    """
    answer = v1.StateProposed() if into is None else into
    answer.decision, answer.policy_id = v1.ACCEPT, policy.id
    status = answer.status
    status.CopyFrom(facts.status)
    status.state.CopyFrom(command.state)
    from_type, to_type = facts.status.state.type, command.state.type
    if not status.state.name:
        status.state.name = DEFAULT_NAMES[to_type]
    standing = _ask(policy.rules_for(subject, command.force, from_type, to_type), facts, command, answer)
    if answer.decision == v1.WAIT and answer.HasField("status"):
        status.CopyFrom(facts.status)
        _keep(standing, facts, command, answer)
    elif answer.HasField("status"):
        kept = policy.bookkeeping_for(subject, from_type, status.state.type)
        _keep([*standing, *kept] if standing else kept, facts, command, answer)
    return answer


def _ask(
    rules: Sequence[Asked], facts: v1.Facts, command: v1.ProposeStateRequest, answer: v1.StateProposed
) -> list[tuple[Rule, After]]:
    """Ask the rules, in order, until one takes the proposal away. Returns those that had an effect and stand."""
    proposed = answer.status.state
    standing: list[tuple[Rule, After]] = []
    for rule, before, after in rules:
        try:
            effect = before(facts, command, proposed)
        except Exception as error:  # A rule is anybody's code: what it raises is a decision, on record under its name.
            effect = abort(_described(error))
        if effect is None:
            continue
        if _apply(rule, effect, answer):
            return [(rule, after)]
        standing.append((rule, after))
    return standing


def _keep(
    rules: Sequence[tuple[Rule, After]], facts: v1.Facts, command: v1.ProposeStateRequest, answer: v1.StateProposed
) -> None:
    """Let the rules, in order, complete the status of a run whose state changes."""
    status = answer.status
    for rule, after in rules:
        try:
            after(facts, command, status)
        except Exception as error:  # As above.
            _apply(rule, abort(_described(error)), answer)
            return


def _apply(rule: Rule, effect: Effect, answer: v1.StateProposed) -> bool:
    """Give a rule's word its effect. True when it took the proposal away, so that no later rule has a say."""
    decision = DECISIONS.get(effect.kind)
    taken_away = decision is not None and (effect.state is None or effect.state.type != answer.status.state.type)
    if taken_away:
        # Undo what earlier rules had said about a proposal that is no more.
        for outcome in answer.rules:
            outcome.effect = v1.RULE_FIZZLED
    if decision is not None:
        answer.decision, answer.rule, answer.reason = decision, rule.name, effect.reason
    if effect.kind == v1.RULE_DELAYED:
        answer.delay.seconds = effect.delay_s
    if effect.state is not None:
        answer.status.state.CopyFrom(effect.state)
    elif effect.name:
        answer.status.state.name = effect.name
    elif taken_away and not effect.queues:
        answer.ClearField("status")
    answer.rules.add(rule=rule.name, effect=effect.kind, reason=effect.reason)
    return taken_away


def _described(error: Exception) -> str:
    """An error as a reason that can be recorded, whatever it says of itself."""
    try:
        text = without_addresses(f"{type(error).__name__}: {error}")
    except Exception:  # What a rule raises may be as broken as the rule.
        text = type(error).__name__
    return text[:ERROR_LENGTH_MAX].encode(errors="replace").decode()
