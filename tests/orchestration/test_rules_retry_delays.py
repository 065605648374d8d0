"""When a retry is due: lists of delays, and jitter out of recorded chance."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from statistics import fmean

import pytest

from playhead import v1
from playhead.engine.orchestration.policy import Subject
from playhead.engine.orchestration.rules.moments import micros
from playhead.engine.orchestration.rules.retrying import jittered_s
from tests.orchestration.given import FLOW, NOW_S, TASK, at, decided, facts, state

ENTROPY_MAX = 2**64 - 1

both_subjects = pytest.mark.parametrize("subject", [FLOW, TASK])


def due_in_s(subject: Subject, run_count: int, entropy: int = 0, **policy: object) -> float:
    """Seconds until the retry of a run that failed in an attempt."""
    run = facts(state(v1.RUNNING), run_count=run_count)
    run.entropy = entropy
    run.retry.MergeFrom(v1.RetryPolicy(retries=100, **policy))  # type: ignore[arg-type]  # Checked at run time.
    answer = decided(subject, run, state(v1.FAILED))
    assert answer.status.state.name == "AwaitingRetry"
    return (micros(answer.status.next_scheduled_start_time) - micros(at(0))) / 1e6


@both_subjects
@pytest.mark.parametrize(
    ("delays_s", "run_count", "expected_s"),
    [
        ([], 1, 0),
        ([5], 1, 5),
        ([5], 9, 5),
        ([1, 2.5, 10], 1, 1),
        ([1, 2.5, 10], 2, 2.5),
        ([1, 2.5, 10], 3, 10),
        ([1, 2.5, 10], 4, 10),
        ([1, 2.5, 10], 0, 1),
        ([0], 1, 0),
    ],
)
def test_each_retry_has_its_delay_and_the_last_serves_the_rest(
    subject: Subject, delays_s: list[float], run_count: int, expected_s: float
) -> None:
    assert due_in_s(subject, run_count, delays_s=delays_s) == expected_s


@both_subjects
def test_a_delay_beyond_all_calendars_is_the_last_second_there_is(subject: Subject) -> None:
    last_s = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert due_in_s(subject, 1, delays_s=[1e300]) == last_s - NOW_S


@pytest.mark.parametrize("factor", [0.01, 0.5, 1, 3, 48.9, 60, 1e6])
@pytest.mark.parametrize("entropy", [0, 1, 2**32, 2**63, ENTROPY_MAX])
def test_jitter_stays_within_its_bounds(factor: float, entropy: int) -> None:
    spread = 1 + factor
    least = math.log2(2**spread / (2**spread - 1)) if spread < 50 else 0.0
    delay_s = jittered_s(10, factor, entropy)
    assert 10 * least - 1e-9 <= delay_s <= 10 * spread


@pytest.mark.parametrize("factor", [0.1, 0.5, 1, 3, 10])
def test_jitter_about_keeps_the_mean_and_spreads(factor: float) -> None:
    delays = [jittered_s(10, factor, (2 * step + 1) * 2**53) for step in range(1024)]
    assert fmean(delays) == pytest.approx(10, rel=0.12)
    assert len({round(delay, 6) for delay in delays}) == 1024


def test_the_same_chance_gives_the_same_delay() -> None:
    same = {due_in_s(TASK, 1, 12345, delays_s=[10], jitter_factor=0.5) for _ in range(3)}
    assert len(same) == 1
    assert same != {due_in_s(TASK, 1, 54321 << 40, delays_s=[10], jitter_factor=0.5)}


def test_without_a_delay_there_is_nothing_to_jitter() -> None:
    assert due_in_s(TASK, 1, 12345, delays_s=[0], jitter_factor=0.5) == 0
