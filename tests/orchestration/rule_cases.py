"""Cases of rules: facts, a proposal, and the rule's word. The test_rules_… modules list them, a table for each rule.

A row of a rule that is asked says when it fires, with which word and which answer; when it passes; and when it fizzles:
it had spoken, and a later rule took the proposal away. A row of bookkeeping says what it keeps, or that it keeps
nothing. test_rules_complete.py holds each row against the policy with the rule and without it, and finds the rules that
have no rows. A module adds its tables to its `CASES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.protobuf.message import Message

from playhead import v1
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules.rule import Rule
from tests.orchestration.given import FLOW, decided

REJECTS, REPLACES, WAITS, ABORTS = v1.RULE_REJECTED, v1.RULE_REPLACED, v1.RULE_DELAYED, v1.RULE_ABORTED
RENAMES, RECORDS, FIZZLES = v1.RULE_RENAMED, v1.RULE_RECORDED, v1.RULE_FIZZLED
TAKES_AWAY = frozenset({REJECTS, REPLACES, WAITS, ABORTS})

Word: TypeAlias = v1.RuleEffect.ValueType
Kept: TypeAlias = Mapping[str, object]
"""Fields of a status by their paths: what they are."""


@dataclass(frozen=True)
class Case:
    """One row. `word` None: the rule passes, or keeps nothing. `kept`: fields of the run's status after, by path."""

    given: v1.Facts
    proposed: v1.State
    word: Word | None
    answer: str
    kept: Kept = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    rule: str = ""
    subject: Subject = FLOW
    prefect: str = ""
    bookkeeping: bool = False

    @property
    def force(self) -> bool:
        """Whether the proposal is forced."""
        return bool(self.request.get("force"))

    def decided(self, **policy: Any) -> v1.StateProposed:
        """The decision."""
        return decided(self.subject, self.given, self.proposed, **self.request, **policy)


def row(
    given: v1.Facts,
    proposed: v1.State,
    word: Word,
    answer: str,
    kept: Kept | None = None,
    **request: Any,
) -> Case:
    """The rule has this word, and the answer, in the notation of transitions.txt, is this."""
    return Case(given, proposed, word, answer, kept or {}, request)


def passes(given: v1.Facts, proposed: v1.State, answer: str = "A", **request: Any) -> Case:
    """The rule has nothing to say."""
    return Case(given, proposed, None, answer, {}, request)


def keeps(given: v1.Facts, proposed: v1.State, kept: Kept, **request: Any) -> Case:
    """The bookkeeping changes just these fields: what they are then, None for unset."""
    return Case(given, proposed, RECORDS, "", kept, request, bookkeeping=True)


def keeps_nothing(given: v1.Facts, proposed: v1.State, **request: Any) -> Case:
    """The bookkeeping changes nothing."""
    return Case(given, proposed, None, "", {}, request, bookkeeping=True)


def table(rule: type[Rule], prefect: str, subjects: Subject | Iterable[Subject], *rows: Case) -> list[Case]:
    """The rows of a rule, for flow runs, task runs or both. `prefect` names Prefect's rules of this meaning, if any."""
    return [
        Case(
            one.given,
            one.proposed,
            one.word,
            one.answer,
            one.kept,
            one.request,
            rule.__name__,
            subject,
            prefect,
            one.bookkeeping,
        )
        for subject in ([subjects] if isinstance(subjects, Subject) else subjects)
        for one in rows
    ]


def value(status: v1.RunStatus, path: str) -> object:
    """A field by its path, "state.details.scheduled_time"; None if it is unset, a list if it is repeated."""
    found: Any = status
    for name in path.split("."):
        assert isinstance(found, Message), path
        kind = found.DESCRIPTOR.fields_by_name[name]
        if kind.has_presence and not found.HasField(name):
            return None
        found = list(getattr(found, name)) if kind.is_repeated else getattr(found, name)
    return found
