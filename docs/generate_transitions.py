"""Writes docs/transitions.md from the rules: `python -m docs.generate_transitions`, or `make docs`.

Every case of tests/orchestration/circumstances.py is decided; the answers of a cell are folded into a list of
conditions that gives each of its cases the right answer. What is said about the rules comes from their docstrings.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from playhead import v1
from playhead.engine.orchestration import decide as deciding
from playhead.engine.orchestration import policy as policies
from playhead.engine.orchestration.policy import Subject, core_policy
from playhead.engine.orchestration.rules.rule import Rule
from tests.orchestration.circumstances import (
    CIRCUMSTANCES,
    COLUMNS,
    ROWS,
    Answer,
    Case,
    Choice,
    answer,
    cases,
    facts_of,
)
from tests.orchestration.test_transitions import DIFFERENCES, recorded

TARGET = Path(__file__).with_name("transitions.md")
POLICY = core_policy()
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
CONDITION_CHOICES_MAX = 4
REPEATED_CLAUSES_MIN = 3
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


def document() -> str:
    """The whole of docs/transitions.md."""
    return "\n".join([INTRODUCTION, *_of(Subject.FLOW_RUN), *_of(Subject.TASK_RUN), *_bookkeeping(), *_differences()])


INTRODUCTION = """# Transitions

<!-- Made by `make docs` from the rules. Do not edit. -->

What is answered when a state (column) is proposed for a run in a state (row). Everything here is made by asking the
rules: each cell is folded from the answers in every combination of the circumstances that matter.

| answer | meaning |
|---|---|
| A | ACCEPT: the proposed state is the run's state. `A = Name`: under another name. |
| R | REJECT: the run keeps its state. `R > Name`: it is moved to that state instead. |
| W | WAIT: the same proposal has a chance later. |
| X | ABORT: refused, and the proposer should stop working on the run. |

Conditions are read from left to right; the first that holds gives the answer. The small number is that of the rule
that decided, in the list below the table."""


# The tables of answers.


def _of(subject: Subject) -> Iterator[str]:
    """The part about flow runs or task runs."""
    core, minimal, numbers = POLICY.rules_of(subject, False), POLICY.rules_of(subject, True), numbered(subject)
    what = "flow run" if subject is Subject.FLOW_RUN else "task run"
    yield f"\n## {what.capitalize()}s\n"
    yield from _table(subject, decided(subject, False, numbers))
    yield f"\n### Under force\n\nA {what} is put in any state, but for these:\n"
    yield from _exceptions(subject, decided(subject, True, numbers))
    yield f"\n### The rules of {what}s, in order\n"
    yield from _rules(core, numbers)
    yield "\nUnder force only these are asked:\n"
    yield from _rules(minimal, numbers)


def numbered(subject: Subject) -> dict[str, int]:
    """Every rule's number, in the order in which they are asked."""
    rules = _once([*POLICY.rules_of(subject, False), *POLICY.rules_of(subject, True)])
    return {rule.name: number for number, rule in enumerate(rules, start=1)}


def decided(subject: Subject, force: bool, numbers: dict[str, int]) -> list[Decided]:
    """Every case with its answer."""
    facts: dict[object, v1.Facts] = {}
    found = []
    for case in cases(subject, force):
        key = case.run_key()
        if key not in facts:
            facts[key] = facts_of(case.run(), POLICY)
        given = answer(case, facts[key], POLICY)
        words = frozenset(choice for choice in case.choices if choice.words)
        found.append(Decided(case, _written(case, given, numbers), numbers.get(given.rule, 0), words))
    return found


def _written(case: Case, given: Answer, numbers: dict[str, int]) -> str:
    """An answer as a cell shows it, its seconds left to the condition."""
    small = _small(numbers.get(given.rule, 0))
    if given.decision == v1.ACCEPT:
        proposed = case.proposal().state
        name = proposed.name or v1.StateType.Name(proposed.type).capitalize()
        return "A" if given.name == name else f"A = {given.name}"
    if given.decision == v1.REJECT:
        return f"R{small} > {given.name}" if given.moved else f"R{small}"
    return f"W{small}" if given.decision == v1.WAIT else f"X{small}"


def _small(rule: int) -> str:
    return str(rule or "").translate(SUPERSCRIPTS)


def _table(subject: Subject, answers: Sequence[Decided]) -> Iterator[str]:
    everywhere, rest = factored(subject, answers)
    yield "Before what the cells say:\n"
    yield from _listed_first(everywhere)
    cells = _cells(rest)
    repeated = {text: f"as {small} says" for text, small in _repeated(rest)}
    if repeated:
        yield "\nIn short:\n"
        yield from (f"- {short}: {text}" for text, short in repeated.items())
    columns = list(COLUMNS[subject])
    yield f"\n| from \\ to | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row in ROWS[subject]:
        line = f"| **{row}** | {' | '.join(cells[row, column] for column in columns)} |"
        for text, short in repeated.items():
            line = line.replace(text, short)
        yield line


def _exceptions(subject: Subject, answers: Sequence[Decided]) -> Iterator[str]:
    """What is not simply accepted, the cells that are alike together."""
    everywhere, rest = factored(subject, answers)
    yield from _listed_first(everywhere)
    alike: dict[str, dict[str, list[str]]] = {}
    for (row, column), text in _cells(rest).items():
        if text != "A":
            alike.setdefault(text, {}).setdefault(column, []).append(row)
    for text, columns in alike.items():
        for column, rows in columns.items():
            yield f"- {'; '.join(rows)} → {column}: {text}"


def _listed_first(everywhere: Iterable[Everywhere]) -> Iterator[str]:
    for (column, but_rows), found in itertools.groupby(everywhere, key=lambda one: (one.column, one.but_rows)):
        rows = f"any but {'; '.join(but_rows)}" if but_rows else "any"
        yield f"- {rows} → {column or 'any'}: {_sentence([one.clause for one in found])}"


def _cells(answers: Iterable[Decided]) -> dict[tuple[str, str], str]:
    return {place: _sentence(folded(found)) for place, found in by_cell(answers).items()}


def _repeated(answers: Iterable[Decided]) -> Iterator[tuple[str, str]]:
    """What one rule adds to many cells in many words, with its small number."""
    counts: Counter[tuple[str, str]] = Counter()
    for found in by_cell(answers).values():
        for rule, clauses in itertools.groupby(folded(found), key=lambda clause: clause.rule):
            same = list(clauses)
            if rule and len(same) >= REPEATED_CLAUSES_MIN:
                counts[_sentence(same), _small(rule)] += 1
    yield from (said for said, count in counts.items() if count > 1)


def by_cell(answers: Iterable[Decided]) -> dict[tuple[str, str], list[Decided]]:
    """The cases of each row and column."""
    cells: dict[tuple[str, str], list[Decided]] = {}
    for one in answers:
        cells.setdefault((one.case.row, one.case.column), []).append(one)
    return cells


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
                everywhere = _everywhere(subject, column, condition, rest)
                if everywhere is not None:
                    found.append(everywhere)
                    rest = [one for one in rest if not applies(everywhere, one)]
    return found, rest


def _everywhere(subject: Subject, column: str, condition: Condition, rest: Sequence[Decided]) -> Everywhere | None:
    answers: dict[str, set[str]] = {}
    places = set()
    for one in rest:
        if column in ("", one.case.column) and one.choices >= set(condition):
            answers.setdefault(one.case.row, set()).add(one.answer)
            places.add((one.case.row, one.case.column))
    single = [next(iter(texts)) for texts in answers.values() if len(texts) == 1]
    refusals = Counter(text for text in single if not text.startswith("A"))
    if not refusals:
        return None
    text, count = refusals.most_common(1)[0]
    but_rows = tuple(row for row, texts in answers.items() if texts != {text})
    whole = column or len(places) == len(answers) * len(COLUMNS[subject])
    wide = count > len(ROWS[subject]) / 2 and len(but_rows) <= 1 if column else count >= 3 and not but_rows
    return Everywhere(column, but_rows, Clause(text, condition)) if whole and wide else None


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


def _sentence(clauses: Sequence[Clause]) -> str:
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


# The lists of rules.


def _rules(rules: Sequence[Rule], numbers: dict[str, int]) -> Iterator[str]:
    yield "| # | rule | from → to | outcome |\n|---|---|---|---|"
    for rule in rules:
        yield f"| {numbers[rule.name]} | `{_called(rule)}` | {' | '.join(said(rule))} |"


def _bookkeeping() -> Iterator[str]:
    """What is kept about runs, with the kinds of run that it is kept about."""
    yield "\n## Bookkeeping\n"
    yield "Applied in this order whenever a run's state changes, under force too. It refuses nothing.\n"
    yield "| rule | of | from → to | what is kept |\n|---|---|---|---|"
    of_flow, of_task = POLICY.flow_bookkeeping, POLICY.task_bookkeeping
    for rule in _once([*of_flow, *of_task]):
        kinds = [kind for kind, rules in (("flow", of_flow), ("task", of_task)) if rule.name in _names(rules)]
        yield f"| `{_called(rule)}` | {' and '.join(kinds)} runs | {' | '.join(said(rule))} |"


def said(rule: Rule) -> tuple[str, str]:
    """From which states to which, and what then: a rule's docstring, but for where it differs from Prefect."""
    text = _text(type(rule).__doc__).partition(" Differs")[0].replace("->", "→").replace("|", "\\|")
    transition, _, outcome = text.partition(": ")
    return transition, outcome


def _called(rule: Rule) -> str:
    parameters = ", ".join(f"{name}={value!r}" for name, value in sorted(vars(rule).items()))
    return f"{rule.name}({parameters})" if parameters else rule.name


def _once(rules: Iterable[Rule]) -> list[Rule]:
    return list({rule.name: rule for rule in rules}.values())


def _names(rules: Iterable[Rule]) -> set[str]:
    return {rule.name for rule in rules}


# Where Playhead differs.


def _differences() -> Iterator[str]:
    """What docstrings say after "Differs", and the recorded transitions that are answered otherwise."""
    yield "\n## Where Playhead differs from Prefect 3.7.2 on purpose\n"
    count = sum(len(answers) for _, _, answers in recorded())
    otherwise = f"{len(DIFFERENCES)} are answered otherwise" if DIFFERENCES else "none is answered otherwise"
    yield f"Of {count:,} single transitions recorded from a Prefect 3.7.2 server {otherwise}. What differs:\n"
    for (section, row, column), (given, reason) in DIFFERENCES.items():
        yield f"- {section}, {row} → {column}: {given}. {reason}"
    every = [*POLICY.core_flow, *POLICY.core_task, *POLICY.minimal_flow, *POLICY.minimal_task]
    every += [*POLICY.flow_bookkeeping, *POLICY.task_bookkeeping]
    modules = dict.fromkeys([deciding, policies, *(inspect.getmodule(type(rule)) for rule in every)])
    for module in filter(None, modules):
        for text in differences(module.__doc__):
            yield f"- {text}"
    for rule in _once(every):
        for text in differences(type(rule).__doc__):
            yield f"- `{rule.name}`: {text}"


def differences(docstring: str | None) -> list[str]:
    """What a docstring says after "Differs:", to the end of the paragraph."""
    paragraphs = [_text(paragraph) for paragraph in (docstring or "").split("\n\n")]
    parts = [part for paragraph in paragraphs for part in re.split(r"\bDiffers: ", paragraph)[1:]]
    return [part[:1].upper() + part[1:].rstrip() for part in parts]


def _text(docstring: str | None) -> str:
    return " ".join((docstring or "").split())


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
