"""Writes docs/transitions.md from the rules: `python -m docs.generate_transitions`, or `make docs`.

Every case of tests/orchestration/circumstances.py is decided, and `folding` makes conditions of the answers. What is
said about the rules comes from their docstrings.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from docs.folding import Decided, Everywhere, by_cell, factored, folded, sentence
from playhead import v1
from playhead.engine.orchestration import decide as deciding
from playhead.engine.orchestration import policy as policies
from playhead.engine.orchestration.policy import Subject, core_policy
from playhead.engine.orchestration.rules.rule import Rule
from tests.orchestration.circumstances import COLUMNS, ROWS
from tests.orchestration.test_transitions import DIFFERENCES, PROPOSED, recorded
from tests.orchestration.transition_cases import Answer, Case, answer, cases, facts_of

TARGET = Path(__file__).with_name("transitions.md")
POLICY = core_policy()
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
REPEATED_CLAUSES_MIN = 3


def document() -> str:
    """The whole of docs/transitions.md."""
    parts = [INTRODUCTION, *_of(Subject.FLOW_RUN), *_of(Subject.TASK_RUN), *_bookkeeping(), *_differences()]
    return "\n".join(parts) + "\n"


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

Conditions are read from left to right; the first that holds gives the answer. Where a cell does not say otherwise, a
flow run has a deployment, a task run is in a flow run that is RUNNING, and either is due, ran at most once, has no
retries and no lease, and needs no slots. The SCHEDULED or PENDING that a run is created with is no proposal, as in
Prefect: no rule is asked about it. The small number is that of the rule that decided, in the list below the
table."""


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
        yield f"- {rows} → {column or 'any'}: {sentence([one.clause for one in found])}"


def _cells(answers: Iterable[Decided]) -> dict[tuple[str, str], str]:
    return {place: sentence(folded(found)) for place, found in by_cell(answers).items()}


def _repeated(answers: Iterable[Decided]) -> Iterator[tuple[str, str]]:
    """What one rule adds to many cells in many words, with its small number."""
    counts: Counter[tuple[str, str]] = Counter()
    for found in by_cell(answers).values():
        for rule, clauses in itertools.groupby(folded(found), key=lambda clause: clause.rule):
            same = list(clauses)
            if rule and len(same) >= REPEATED_CLAUSES_MIN:
                counts[sentence(same), _small(rule)] += 1
    yield from (said for said, count in counts.items() if count > 1)


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
        yield f"- {section}, {row} → {v1.StateType.Name(PROPOSED[column].type)}: {given}, since {reason}."
    every = [*POLICY.core_flow, *POLICY.core_task, *POLICY.minimal_flow, *POLICY.minimal_task]
    every += [*POLICY.flow_bookkeeping, *POLICY.task_bookkeeping]
    modules = dict.fromkeys([deciding, policies, *(inspect.getmodule(type(rule)) for rule in every)])
    for module in filter(None, modules):
        for text in differences(module.__doc__):
            yield f"- {module.__name__.removeprefix('playhead.engine.orchestration.')}: {text}"
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
