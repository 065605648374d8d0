"""How rules work together, shown with rules of a user's own: order, silence, fizzling, errors, identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed

import pytest

from playhead import v1
from playhead.engine.orchestration.installed import load_policy
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.engine.orchestration.rules import effects
from playhead.engine.orchestration.rules.effects import Effect
from playhead.engine.orchestration.rules.rule import Rule
from tests.orchestration.given import FLOW, POLICY, TASK, decided, facts, short, spoke, state

Word = Callable[[v1.State], Effect | None]

LATER = state(v1.SCHEDULED, "AwaitingConcurrencySlot")


class First(Rule):
    """A rule that says what it is given, and keeps count."""

    def __init__(self, word: Word) -> None:
        self.word = word

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return self.word(proposed)

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        status.tags.append(self.name)


class Second(First):
    """Another."""


class BreaksLater(Rule):
    """A rule that fails when the state changes."""

    def after(self, facts: v1.Facts, command: v1.ProposeStateRequest, status: v1.RunStatus) -> None:
        raise RuntimeError("no room")


class Bounded(Rule):
    """A rule with a parameter."""

    def __init__(self, seconds_max: int) -> None:
        self.seconds_max = seconds_max


def of(*rules: Rule) -> Policy:
    """The core policy, but only these rules for tasks."""
    return changed(POLICY, core_task=rules)


def asked(first: Word, second: Word) -> v1.StateProposed:
    """RUNNING proposed to a task run, of two rules."""
    return decided(TASK, facts(state(v1.PENDING)), state(v1.RUNNING), policy=of(First(first), Second(second)))


@pytest.mark.parametrize(
    ("word", "short_form", "outcome"),
    [
        (lambda _: effects.reject("no"), "R", v1.RULE_REJECTED),
        (lambda _: effects.wait(7, "not yet"), "W7", v1.RULE_DELAYED),
        (lambda _: effects.abort("stop"), "X", v1.RULE_ABORTED),
        (lambda _: effects.replace(LATER, "full"), "R>AwaitingConcurrencySlot", v1.RULE_REPLACED),
    ],
)
def test_a_word_against_the_proposal_silences_later_rules_and_undoes_earlier_ones(
    word: Word, short_form: str, outcome: v1.RuleEffect.ValueType
) -> None:
    answer = asked(lambda _: effects.record("noted"), word)
    assert (short(answer), answer.rule) == (short_form, "Second")
    assert spoke(answer) == [("First", v1.RULE_FIZZLED), ("Second", outcome)]
    assert "First" not in answer.status.tags

    answer = asked(word, lambda _: effects.record("noted"))
    assert (short(answer), answer.rule) == (short_form, "First")
    assert spoke(answer) == [("First", outcome)]


def test_a_rule_that_puts_another_state_in_place_does_not_undo_itself() -> None:
    answer = asked(lambda _: None, lambda _: effects.replace(LATER, "full"))
    assert list(answer.status.tags) == ["Second"]


def test_a_name_changes_nothing_for_other_rules() -> None:
    answer = asked(lambda _: effects.record("noted"), lambda _: effects.rename("Rerunning", "again"))
    assert (short(answer), answer.rule, answer.reason) == ("A=Rerunning", "", "")
    assert spoke(answer) == [("First", v1.RULE_RECORDED), ("Second", v1.RULE_RENAMED)]
    assert list(answer.status.tags) == ["First", "Second"]


def test_a_rename_whose_state_is_replaced_fizzles() -> None:
    answer = asked(lambda _: effects.rename("Rerunning", "again"), lambda _: effects.replace(LATER, "full"))
    assert spoke(answer) == [("First", v1.RULE_FIZZLED), ("Second", v1.RULE_REPLACED)]
    assert short(answer) == "R>AwaitingConcurrencySlot"


def test_another_state_of_the_same_type_is_a_refusal_that_later_rules_look_at() -> None:
    seen: list[str] = []
    answer = asked(
        lambda _: effects.replace(state(v1.RUNNING, "Elsewhere"), "moved"), lambda proposed: seen.append(proposed.name)
    )
    assert (short(answer), answer.rule, seen) == ("R>Elsewhere", "First", ["Elsewhere"])


def test_an_amended_proposal_is_accepted() -> None:
    answer = asked(lambda _: effects.amend(state(v1.RUNNING, message="filled in"), "completed"), lambda _: None)
    assert (short(answer), answer.status.state.message) == ("A", "filled in")
    assert spoke(answer) == [("First", v1.RULE_RECORDED)]


def test_a_rule_that_raises_aborts_and_is_named() -> None:
    answer = asked(
        lambda _: effects.record("noted"), lambda proposed: effects.wait(1 // len(proposed.message), "never")
    )
    assert (short(answer), answer.rule) == ("X", "Second")
    assert answer.reason.startswith("ZeroDivisionError: ")
    assert spoke(answer) == [("First", v1.RULE_FIZZLED), ("Second", v1.RULE_ABORTED)]


def test_bookkeeping_that_raises_aborts_and_is_named() -> None:
    policy = changed(POLICY, task_bookkeeping=(*POLICY.task_bookkeeping, BreaksLater()))
    answer = decided(TASK, facts(state(v1.PENDING)), state(v1.RUNNING), policy=policy)
    assert (short(answer), answer.rule, answer.reason) == ("X", "BreaksLater", "RuntimeError: no room")
    assert not answer.HasField("status")


def test_a_long_error_is_cut() -> None:
    def fail(_: v1.State) -> Effect | None:
        raise RuntimeError("x" * 5000)

    assert len(asked(fail, lambda _: None).reason) == 1000


def test_a_run_without_a_state_can_be_refused_and_still_has_none() -> None:
    answer = decided(TASK, facts(), state(v1.RUNNING), policy=of(First(lambda _: effects.reject("no"))))
    assert short(answer) == "R"
    assert not answer.HasField("status")


def test_force_asks_only_the_minimal_rules() -> None:
    refuse = of(First(lambda _: effects.reject("no")))
    assert short(decided(TASK, facts(), state(v1.RUNNING), policy=refuse, force=True)) == "A"


def test_a_rule_is_asked_only_about_its_own_transitions() -> None:
    class OnlyEnds(First):
        to_states = frozenset({v1.COMPLETED})

    policy = of(OnlyEnds(lambda _: effects.reject("no")))
    assert short(decided(TASK, facts(state(v1.PENDING)), state(v1.RUNNING), policy=policy)) == "A"
    assert short(decided(TASK, facts(state(v1.RUNNING)), state(v1.COMPLETED), policy=policy)) == "R"
    assert short(decided(FLOW, facts(state(v1.RUNNING)), state(v1.COMPLETED), policy=policy)) == "A"


def test_equal_policies_have_equal_ids() -> None:
    assert core_policy().id == POLICY.id == decided(FLOW, facts(), state(v1.RUNNING)).policy_id
    assert len(POLICY.id) == 32


def test_rules_order_parameters_and_versions_make_the_id() -> None:
    class Renewed(Bounded):
        version = 2

    Renewed.__name__ = "Bounded"
    rest = POLICY.core_task
    ids = {
        of(*rest).id,
        of(*rest[::-1]).id,
        of(*rest[1:]).id,
        of(*rest, Bounded(1)).id,
        of(*rest, Bounded(2)).id,
        of(*rest, Renewed(1)).id,
        changed(POLICY, minimal_task=rest).id,
    }
    assert len(ids) == 7


def test_a_policy_is_found_by_name_whether_made_or_to_be_made() -> None:
    assert load_policy("playhead.engine.orchestration.policy:core_policy").id == POLICY.id
    assert load_policy("tests.orchestration.given:POLICY") is POLICY


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("core_policy", ValueError),
        (":policy", ValueError),
        ("tests.orchestration.given:NOTHING", AttributeError),
        ("tests.orchestration.nowhere:policy", ImportError),
        ("tests.orchestration.given:NOW_S", TypeError),
    ],
)
def test_a_name_that_is_no_policy_is_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        load_policy(name)


def test_every_rule_of_the_core_says_its_row_in_its_docstring() -> None:
    rules = {*POLICY.core_flow, *POLICY.core_task, *POLICY.minimal_flow, *POLICY.minimal_task}
    rules |= {*POLICY.flow_bookkeeping, *POLICY.task_bookkeeping}
    for rule in rules:
        assert " -> " in (type(rule).__doc__ or ""), rule.name
