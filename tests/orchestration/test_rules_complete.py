"""Every rule has its cases, and every case is right: the tables of the test_rules_… modules against the policy."""

from __future__ import annotations

import importlib
from dataclasses import replace as changed
from itertools import groupby
from pathlib import Path

import pytest

from playhead import v1
from playhead.engine.orchestration.policy import Policy, Subject
from playhead.engine.orchestration.rules import effects
from playhead.engine.orchestration.rules.effects import Effect
from playhead.engine.orchestration.rules.rule import Rule
from tests.orchestration.given import FLOW, POLICY, TASK, short, spoke
from tests.orchestration.rule_cases import FIZZLES, TAKES_AWAY, Case, value

LISTS = tuple(POLICY.lists())


def all_cases() -> list[Case]:
    """The tables of all modules."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("test_rules_*.py"))
    found = [importlib.import_module(f"tests.orchestration.{name}") for name in modules if name != Path(__file__).stem]
    return [case for module in found for case in getattr(module, "CASES", [])]


CASES = all_cases()
NUMBERED = [
    pytest.param(case, id=f"{rule}-{number}")
    for rule, cases in groupby(sorted(CASES, key=lambda case: case.rule), key=lambda case: case.rule)
    for number, case in enumerate(cases, start=1)
]
ASKED = [one for one in NUMBERED if not one.values[0].bookkeeping]  # type: ignore[union-attr]  # a Case, as above
KEPT = [one for one in NUMBERED if one.values[0].bookkeeping]  # type: ignore[union-attr]  # as above


@pytest.mark.parametrize("case", ASKED)
def test_a_rule_says_what_its_row_says(case: Case) -> None:
    answer = case.decided()
    assert (dict(spoke(answer)).get(case.rule), short(answer)) == (case.word, case.answer)
    assert {path: value(answer.status, path) for path in case.kept} == case.kept
    if case.word in TAKES_AWAY:
        assert answer.rule == case.rule


@pytest.mark.parametrize("case", ASKED)
def test_a_rule_matters_where_it_fires_and_only_there(case: Case) -> None:
    """The same asked of the policy without the rule: another answer if it fired, the same if it passed, and of a rule
    that fizzled nothing but its name is left.
    """
    answer, without = case.decided(), case.decided(policy=policy_without(case.rule))
    answer.policy_id = without.policy_id = ""
    if case.word == FIZZLES:
        (own,) = (outcome for outcome in answer.rules if outcome.rule == case.rule)
        answer.rules.remove(own)
    assert (answer == without) == (case.word in (None, FIZZLES))


@pytest.mark.parametrize("case", KEPT)
def test_bookkeeping_changes_what_its_row_says_and_nothing_else(case: Case) -> None:
    answer, without = case.decided(), case.decided(policy=policy_without(case.rule))
    assert answer.HasField("status")
    assert {path: value(answer.status, path) for path in case.kept} == case.kept
    assert changed_fields(without.status, answer.status) == {path.split(".")[0] for path in case.kept}
    assert all(value(without.status, path) != kept for path, kept in case.kept.items())


@pytest.mark.parametrize("case", KEPT)
def test_bookkeeping_keeps_nothing_of_what_is_refused(case: Case) -> None:
    """It can not fizzle: it is applied to what has been decided, and not at all if the run's state does not change."""
    refuse = (Refuse(),)
    refusing = changed(POLICY, core_flow=refuse, core_task=refuse, minimal_flow=refuse, minimal_task=refuse)
    assert not case.decided(policy=refusing).HasField("status")


@pytest.mark.parametrize("name", LISTS)
def test_every_rule_of_the_policy_has_rows_in_which_it_speaks_and_in_which_it_does_not(name: str) -> None:
    lacking = [
        f"{rule.name} of {name}: {what}"
        for rule in getattr(POLICY, name)
        for what, speaks in (("no row in which it fires", True), ("no row in which it passes", False))
        if not [case for case in rows_of(rule, name) if (case.word is not None) == speaks]
    ]
    assert lacking == []


@pytest.mark.parametrize("name", LISTS[:4])
def test_every_rule_that_can_fizzle_has_a_row_in_which_it_does_and_the_others_can_not(name: str) -> None:
    """A rule can fizzle when it speaks and lets the proposal go on, on a transition on which a rule behind it can take
    the proposal away. The others can not by the policy's order: they take it away themselves, or nothing behind them
    does.
    """
    fizzling = {rule.name for rule in getattr(POLICY, name) if any(c.word == FIZZLES for c in rows_of(rule, name))}
    assert fizzling == {rule.name for rule in getattr(POLICY, name) if can_fizzle(rule, name)}


def test_every_row_is_about_a_rule_of_the_policy() -> None:
    names = {rule.name for name in LISTS for rule in getattr(POLICY, name)}
    assert {case.rule for case in CASES} <= names


def test_a_rule_without_rows_is_found_by_name() -> None:
    """The tests above can fail."""
    assert not rows_of(Refuse(), "core_flow")
    grown = changed(POLICY, core_task=(*POLICY.core_task, Refuse()))
    assert can_fizzle(POLICY.core_task[-1], "core_task", grown, [*CASES, refused_case()])


def rows_of(rule: Rule, name: str, cases: list[Case] = CASES) -> list[Case]:
    """The rows about a rule, as one of a list."""
    subject = FLOW if "flow" in name else TASK
    about = [case for case in cases if case.rule == rule.name and case.subject is subject]
    return about if "bookkeeping" in name else [case for case in about if case.force == name.startswith("minimal")]


def can_fizzle(rule: Rule, name: str, policy: Policy = POLICY, cases: list[Case] = CASES) -> bool:
    """Whether the rule lets a proposal go on that a rule behind it in the list can take away."""
    rules: tuple[Rule, ...] = getattr(policy, name)
    behind = rules[rules.index(rule) + 1 :]
    taking = [one for one in behind if any(case.word in TAKES_AWAY for case in rows_of(one, name, cases))]
    return any(
        case.word not in TAKES_AWAY and case.word is not None and applies(one, case)
        for case in rows_of(rule, name, cases)
        for one in taking
    )


def applies(rule: Rule, case: Case) -> bool:
    """Whether a rule is asked about what a row proposes."""
    return case.given.status.state.type in rule.from_states and case.proposed.type in rule.to_states


def policy_without(rule: str) -> Policy:
    """The core policy but for one rule."""
    lists = [tuple(one for one in getattr(POLICY, name) if one.name != rule) for name in LISTS]
    return Policy(*lists)


def changed_fields(before: v1.RunStatus, after: v1.RunStatus) -> set[str]:
    """The fields in which two statuses differ."""
    names = [descriptor.name for descriptor in v1.RunStatus.DESCRIPTOR.fields]
    return {name for name in names if value(before, name) != value(after, name)}


def refused_case() -> Case:
    """A row about `Refuse`."""
    rename = next(case for case in CASES if case.rule == "RenameReruns" and case.word is not None)
    return changed(rename, rule="Refuse", word=v1.RULE_REJECTED, subject=Subject.TASK_RUN)


class Refuse(Rule):
    """any -> any: REJECT."""

    def before(self, facts: v1.Facts, command: v1.ProposeStateRequest, proposed: v1.State) -> Effect | None:
        return effects.reject("no")
