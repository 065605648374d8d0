"""The rule ValidateRunInput: its table, its words, where it stands, and what it does not do for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from playhead import v1
from playhead.engine.orchestration.rules.pausing import ValidateRunInput
from tests.orchestration.given import FLOW, at, decided, deployed, facts, limited, short, state
from tests.orchestration.rule_cases import REJECTS, passes, row, table

RULE = "ValidateRunInput"
SCHEMA = json.dumps(
    {"type": "object", "properties": {"age": {"type": "integer"}, "ok": {"type": "boolean"}}, "required": ["age"]}
).encode()

PLAIN = facts(state(v1.PAUSED))
ASKING = facts(state(v1.PAUSED, run_input_schema=SCHEMA))
SUSPENDED = deployed(facts(state(v1.PAUSED, "Suspended", run_input_schema=SCHEMA, pause_reschedule=True)))


CASES = table(
    ValidateRunInput,
    "the resume endpoint",
    FLOW,
    row(ASKING, state(v1.RUNNING), REJECTS, "R"),
    row(ASKING, state(v1.SCHEDULED), REJECTS, "R"),
    row(SUSPENDED, state(v1.SCHEDULED, "Resuming"), REJECTS, "R"),
    row(ASKING, state(v1.RUNNING, run_input=b'{"age": "x"}'), REJECTS, "R"),
    row(SUSPENDED, state(v1.SCHEDULED, run_input=b"{}"), REJECTS, "R"),
    row(PLAIN, state(v1.RUNNING, run_input=b"{}"), REJECTS, "R"),
    row(PLAIN, state(v1.SCHEDULED, run_input=b"{}"), REJECTS, "R"),
    row(facts(state(v1.PENDING)), state(v1.RUNNING, run_input=b"{}"), REJECTS, "R"),
    row(facts(), state(v1.SCHEDULED, run_input=b"{}"), REJECTS, "R"),
    passes(PLAIN, state(v1.RUNNING)),
    passes(ASKING, state(v1.RUNNING, run_input=b'{"age": 7}')),
    passes(ASKING, state(v1.SCHEDULED, run_input=b'{"age": 7, "more": null}')),
    passes(SUSPENDED, state(v1.SCHEDULED, "Resuming", run_input=b'{"age": 7}'), "A=Resuming"),
    passes(facts(state(v1.PAUSED, run_input_schema=b"{}")), state(v1.RUNNING, run_input=b"null")),
    row(ASKING, state(v1.COMPLETED), REJECTS, "R"),
    row(SUSPENDED, state(v1.COMPLETED), REJECTS, "R"),
    passes(PLAIN, state(v1.COMPLETED)),
    passes(ASKING, state(v1.COMPLETED), force=True),
    *(passes(ASKING, state(target)) for target in (v1.CANCELLING, v1.CANCELLED, v1.FAILED, v1.CRASHED)),
    passes(ASKING, state(v1.RUNNING), force=True),
    passes(ASKING, state(v1.RUNNING, run_input=b"3"), force=True),
)


@pytest.mark.parametrize(
    ("run", "run_input", "reason"),
    [
        (ASKING, b"", "run_input: the pause asks for it, and there is none."),
        (ASKING, b'{"age": "x"}', 'run_input.age: "x" is not of type "integer"'),
        (ASKING, b"{}", 'run_input: "age" is a required property'),
        (ASKING, b"3", 'run_input: 3 is not of type "object"'),
        (
            ASKING,
            b'{"age": 1.5, "ok": 0}',
            'run_input.age: 1.5 is not of type "integer"; run_input.ok: 0 is not of type "boolean"',
        ),
        (PLAIN, b"{}", "run_input: nobody asked for it."),
    ],
)
def test_a_refusal_names_the_place_and_what_is_wrong_there(run: v1.Facts, run_input: bytes, reason: str) -> None:
    assert decided(FLOW, run, state(v1.RUNNING, run_input=run_input)).reason == reason


def test_input_that_fits_is_kept_in_the_state_in_place_of_its_schema() -> None:
    details = decided(FLOW, ASKING, state(v1.RUNNING, run_input=b'{"age": 7}')).status.state.details
    assert (details.run_input, details.run_input_schema) == (b'{"age": 7}', b"")


@pytest.mark.parametrize(
    ("details", "expected"),
    [({"pause_timeout": at(0)}, "R>Failed"), ({"pause_reschedule": True}, "R")],
    ids=["timed out", "nothing would start it"],
)
def test_a_pause_that_can_not_be_resumed_asks_for_no_input(details: dict[str, object], expected: str) -> None:
    run = facts(state(v1.PAUSED, run_input_schema=SCHEMA, **details))
    answer = decided(FLOW, run, state(v1.RUNNING, run_input=b"3"))
    assert (short(answer), answer.rule) == (expected, "HandleResumingPausedFlows")


def test_bad_input_is_refused_before_anything_is_waited_for() -> None:
    run = limited(facts(state(v1.PAUSED, run_input_schema=SCHEMA)), 1, held=1)
    assert decided(FLOW, run, state(v1.RUNNING, run_input=b"3")).rule == RULE
    in_line = decided(FLOW, run, state(v1.RUNNING, run_input=b'{"age": 1}'))
    assert short(in_line) == "R>AwaitingConcurrencySlot"


def test_each_failure_is_told_up_to_a_bound() -> None:
    schema = json.dumps({"items": {"type": "integer"}}).encode()
    given = json.dumps(["x"] * 17).encode()
    run = facts(state(v1.PAUSED, run_input_schema=schema))
    told = decided(FLOW, run, state(v1.RUNNING, run_input=given)).reason.split("; ")
    assert told == [*(f'run_input[{index}]: "x" is not of type "integer"' for index in range(10)), "and 7 more"]


def endless() -> Iterator[tuple[str, object, object]]:
    """Schemas made to be checked for ever, with what they would be checked against."""
    yield "refers to itself", {"$ref": "#"}, 1
    doubling: dict[str, object] = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    yield "doubles forty times", {"$ref": "#/$defs/a0", "$defs": {**doubling, "a40": {}}}, 1
    yield "many keywords on many items", {"items": {"allOf": [{"type": "integer"}] * 500}}, [0] * 20_000
    yield "many large constants", {"anyOf": [{"const": [0] * 999}] * 20}, [[0] * 999 + [1]] * 15
    pattern = "[ab]*a[ab]{1000}c"
    yield "many states on a long text", {"pattern": pattern}, "ab" * 30_000


@pytest.mark.parametrize(("schema", "given"), [row[1:] for row in endless()], ids=[row[0] for row in endless()])
def test_a_check_that_would_take_too_long_is_given_up_and_refused(schema: object, given: object) -> None:
    run = facts(state(v1.PAUSED, run_input_schema=json.dumps(schema).encode()))
    answer = decided(FLOW, run, state(v1.RUNNING, run_input=json.dumps(given).encode()))
    assert (short(answer), answer.rule) == ("R", RULE)
    assert answer.reason == "run_input: it takes too much work to check against its schema"
