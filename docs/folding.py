"""Folds the answers of many cases into few conditions, and says them in words.

factored(subject, answers)   what goes before all cells, or a column of them, and the cases that are left
folded(cell)                 the conditions of a cell, in an order in which the first that holds gives the answer
sentence(clauses)            what a cell shows
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from playhead.engine.orchestration.policy import Subject
from tests.orchestration.circumstances import CIRCUMSTANCES, COLUMNS, ROWS, Choice
from tests.orchestration.transition_cases import Case

CONDITION_CHOICES_MAX = 4
CHOICES = [choice for table in CIRCUMSTANCES.values() for one in table for choice in one.choices]
ORDER = {choice: number for number, choice in enumerate(CHOICES)}

Condition = tuple[Choice, ...]
"""Choices that all hold."""


@dataclass(frozen=True)
class Clause:
    """An answer, and when it is given. No condition: always."""

    answer: str
    condition: Condition
    rule: int = 0
    """The number of the rule that gives it; 0 if the proposal is accepted."""


@dataclass(frozen=True)
class Decided:
    """A case, its answer as it is written, by which rule, and those of its choices that can be said in words."""

    case: Case
    answer: str
    rule: int
    """Its number; 0 if the proposal was accepted."""
    choices: frozenset[Choice]


@dataclass(frozen=True)
class Everywhere:
    """A clause that goes before the cells of a column, or of all, but for some rows."""

    column: str
    but_rows: tuple[str, ...]
    clause: Clause


def factored(subject: Subject, answers: Sequence[Decided]) -> tuple[list[Everywhere], list[Decided]]:
    """The conditions that refuse alike in every cell where they can hold, or in a column but for one row, and the cases
    that are left. A condition that holds in two rows, or in less than half of a column, is left to their cells.
    """
    found: list[Everywhere] = []
    rest = list(answers)
    for column, size in (("", 1), ("", 2), *((column, 1) for column in COLUMNS[subject])):
        before = -1
        while len(found) > before:  # What is taken away can make another condition clear.
            before = len(found)
            for condition in _conditions([one for one in rest if column in ("", one.case.column)], size):
                everywhere = (_in_column if column else _in_all)(subject, column, condition, rest)
                if everywhere is not None:
                    found.append(everywhere)
                    rest = [one for one in rest if not applies(everywhere, one)]
    return found, rest


def _in_all(subject: Subject, column: str, condition: Condition, rest: Iterable[Decided]) -> Everywhere | None:
    text, places = "", set()
    for one in rest:
        if one.choices.issuperset(condition):
            if one.answer.startswith("A") or one.answer != (text or one.answer):
                return None
            text = one.answer
            places.add((one.case.row, one.case.column))
    rows = {row for row, _ in places}
    wide = len(rows) >= 3 and len(places) == len(rows) * len(COLUMNS[subject])
    return Everywhere("", (), Clause(text, condition)) if wide else None


def _in_column(subject: Subject, column: str, condition: Condition, rest: Iterable[Decided]) -> Everywhere | None:
    answers: dict[str, set[str]] = {}
    for one in rest:
        if one.case.column == column and one.choices.issuperset(condition):
            answers.setdefault(one.case.row, set()).add(one.answer)
    single = [next(iter(texts)) for texts in answers.values() if len(texts) == 1]
    refusals = Counter(text for text in single if not text.startswith("A"))
    if not refusals:
        return None
    text, count = refusals.most_common(1)[0]
    but_rows = tuple(row for row, texts in answers.items() if texts != {text})
    wide = count > len(ROWS[subject]) / 2 and len(but_rows) <= 1
    return Everywhere(column, but_rows, Clause(text, condition)) if wide else None


def applies(everywhere: Everywhere, one: Decided) -> bool:
    """Whether what goes before the cells gives a case its answer."""
    here = everywhere.column in ("", one.case.column) and one.case.row not in everywhere.but_rows
    return here and one.choices >= set(everywhere.clause.condition)


def folded(cell: Sequence[Decided]) -> list[Clause]:
    """Conditions in an order in which the first that holds gives every case of a cell its answer.

    The rules are gone through as they are asked: what one decides depends on no later one. The last clause has the
    answer of what is left.
    """
    clauses: list[Clause] = []
    rest = list(cell)
    for rule in sorted({one.rule for one in cell}, key=lambda rule: rule or math.inf):
        while len({one.answer for one in rest}) > 1 and any(one.rule == rule for one in rest):
            clause = _next_clause(rest, rule)
            clauses.append(clause)
            rest = [one for one in rest if not one.choices >= set(clause.condition)]
    return _needed([*clauses, Clause(rest[0].answer, ())], cell)


def _next_clause(rest: Sequence[Decided], rule: int) -> Clause:
    """The condition of the fewest choices under which the rule has one answer; of several the one that covers most."""
    usual = rest[0].answer
    for size in range(1, CONDITION_CHOICES_MAX + 1):
        found: list[tuple[tuple[bool, int], Clause]] = []
        for condition in _conditions(rest, size):
            holds = [one for one in rest if one.choices >= set(condition)]
            if holds[0].rule == rule and len({one.answer for one in holds}) == 1:
                found.append(((holds[0].answer == usual, -len(holds)), Clause(holds[0].answer, condition, rule)))
        if found:
            return min(found, key=lambda candidate: candidate[0])[1]
    raise ValueError(f"No words tell the cases of a cell apart: {rest[0].case.row} → {rest[0].case.column}")


def _needed(clauses: list[Clause], cell: Sequence[Decided]) -> list[Clause]:
    """The same without clauses that no case needs."""
    for clause in clauses[:-1]:
        shorter = [one for one in clauses if one is not clause]
        if all(read(shorter, one) == one.answer for one in cell):
            clauses = shorter
    return clauses


def read(clauses: Iterable[Clause], one: Decided) -> str:
    """What the first clause whose condition holds says."""
    return next(clause.answer for clause in clauses if one.choices.issuperset(clause.condition))


def _conditions(answers: Iterable[Decided], size: int) -> list[Condition]:
    """All combinations of so many choices that occur together, in the order of their table."""
    kinds = dict.fromkeys(one.choices for one in answers)
    together = {
        condition
        for choices in kinds
        for condition in itertools.combinations(sorted(choices, key=ORDER.__getitem__), size)
    }
    return sorted(together, key=lambda condition: [ORDER[choice] for choice in condition])


def by_cell(answers: Iterable[Decided]) -> dict[tuple[str, str], list[Decided]]:
    """The cases of each row and column."""
    cells: dict[tuple[str, str], list[Decided]] = {}
    for one in answers:
        cells.setdefault((one.case.row, one.case.column), []).append(one)
    return cells


def sentence(clauses: Sequence[Clause]) -> str:
    """Clauses as a cell shows them: neighbours with the same answer together, what they share said once."""
    said = []
    for text, group in itertools.groupby(clauses, key=lambda clause: clause.answer):
        conditions = [clause.condition for clause in group]
        said.append(f"{text} {_words(conditions, text)}".rstrip() if all(conditions) else text)
    if len(said) > 1 and not clauses[-1].condition:
        waits = all(clause.answer.startswith("W") for clause in clauses[:-1])
        said[-1] = f"{'then' if waits else 'else'} {said[-1]}"
    return ", ".join(said)


def _words(conditions: Sequence[Condition], text: str) -> str:
    """Conditions of which one must hold. What one waits for is said last."""
    shared = [choice for choice in conditions[0] if all(choice in condition for condition in conditions)]
    rests = [[choice for choice in condition if choice not in shared] for condition in conditions]
    if not all(rests):
        shared, rests = [], [list(conditions[0])]
    ordered = [sorted(rest, key=lambda choice: bool(choice.until)) for rest in (shared, *rests)]
    first, *others = [" ".join(_say(choice, text) for choice in rest) for rest in ordered]
    return " ".join(filter(None, [first, " or ".join(others)]))


def _say(choice: Choice, text: str) -> str:
    return choice.until if text.startswith("W") and choice.until else choice.words
