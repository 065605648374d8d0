"""Why a failure or a crash that was accepted brought no other attempt."""

from __future__ import annotations

from itertools import product

import pytest

from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules.retrying import why_no_retry
from playhead.engine.orchestration.rules.rule import NO_STATE, STATES
from tests.orchestration.given import FLOW, POLICY, TASK, facts, leased, state

NOT_BY_THE_RULES = "no rule of the policy asks for one"


def command_of(
    subject: Subject, proposed: v1.State, *, force: bool = False, if_lease_expired: bool = False
) -> v1.ProposeStateRequest:
    """A proposal as it is on record: for a run that is known by its id."""
    command = v1.ProposeStateRequest(state=proposed, force=force, if_lease_expired=if_lease_expired)
    if subject is FLOW:
        command.flow_run_id = "f"
    else:
        command.task_run_id = "t"
    return command


@pytest.mark.parametrize("subject", [FLOW, TASK])
@pytest.mark.parametrize("ended", [v1.FAILED, v1.CRASHED])
def test_there_is_a_reason_when_and_only_when_no_rule_tries_again(
    subject: Subject, ended: v1.StateType.ValueType
) -> None:
    answers = set()
    for before, retries, run_count, retriable, on_crash, lapsed, force in product(
        [NO_STATE, *STATES], [0, 2], [1, 2, 3], [None, False, True], [False, True], [False, True], [False, True]
    ):
        given = facts(state(before), run_count=run_count)
        given.retry.MergeFrom(v1.RetryPolicy(retries=retries, on_crash=on_crash and subject is FLOW))
        if lapsed:
            leased(given, -1)
        proposed = state(ended) if retriable is None else state(ended, retriable=retriable)
        command = command_of(subject, proposed, force=force, if_lease_expired=lapsed)
        answer = decide(subject, given, command, POLICY)
        tried_again = answer.status.state.name == "AwaitingRetry" and answer.decision == v1.REJECT
        if tried_again or answer.decision == v1.ACCEPT:
            why = why_no_retry(given, command)
            assert (why == NOT_BY_THE_RULES) == tried_again, (given, command)
            answers.add(why)
    assert len(answers) >= 5


@pytest.mark.parametrize(
    ("subject", "before", "run_count", "proposed", "asked", "why"),
    [
        (FLOW, v1.RUNNING, 3, state(v1.FAILED), {}, "2 are set, and this was attempt 3"),
        (TASK, v1.RUNNING, 3, state(v1.FAILED), {}, "2 are set, and this was attempt 3"),
        (
            TASK,
            v1.RUNNING,
            1,
            state(v1.FAILED, retriable=False),
            {},
            "the failure says that it is not to be tried again (retriable is false)",
        ),
        (FLOW, v1.RUNNING, 1, state(v1.FAILED), {"force": True}, "force leaves none"),
        (FLOW, v1.PENDING, 0, state(v1.FAILED), {}, "one that is PENDING has none"),
        (FLOW, NO_STATE, 0, state(v1.FAILED), {}, "one without a state has none"),
        (FLOW, v1.RUNNING, 1, state(v1.CRASHED), {}, "a crash that the process itself reports has none"),
        (
            FLOW,
            v1.PAUSED,
            1,
            state(v1.CRASHED),
            {"if_lease_expired": True},
            "those that are set are not for crashes (on_crash)",
        ),
        (
            TASK,
            v1.RUNNING,
            1,
            state(v1.CRASHED),
            {},
            "a crash of a task run has one only when it asks for it (retriable)",
        ),
        (FLOW, v1.RUNNING, 1, state(v1.FAILED), {}, NOT_BY_THE_RULES),
    ],
)
def test_the_reason_is_what_the_rules_went_by(
    subject: Subject,
    before: v1.StateType.ValueType,
    run_count: int,
    proposed: v1.State,
    asked: dict[str, bool],
    why: str,
) -> None:
    given = facts(state(before), run_count=run_count)
    given.retry.retries = 2
    command = command_of(subject, proposed, **asked)
    assert why_no_retry(given, command) == why
    given.retry.retries = 0
    assert why_no_retry(given, command) == "none is set"


def test_a_single_retry_that_is_used() -> None:
    given = facts(state(v1.RUNNING), run_count=2)
    given.retry.retries = 1
    assert why_no_retry(given, command_of(TASK, state(v1.FAILED))) == "1 is set, and this was attempt 2"
