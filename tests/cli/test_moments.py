"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import typer

from playhead import v1
from playhead.cli.moments import moment

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s ago", "2026-05-04T11:58:30Z"),
        ("10m ago", "2026-05-04T11:50:00Z"),
        ("10 minutes ago", "2026-05-04T11:50:00Z"),
        ("1.5h ago", "2026-05-04T10:30:00Z"),
        ("2 days ago", "2026-05-02T12:00:00Z"),
        ("1W AGO", "2026-04-27T12:00:00Z"),
        ("2026-05-01T08:00:00Z", "2026-05-01T08:00:00Z"),
        ("2026-05-01T08:00+02:00", "2026-05-01T06:00:00Z"),
        ("2026-05-01 08:00:00.25+00:00", "2026-05-01T08:00:00.250Z"),
        ("09:14Z", "2026-05-04T09:14:00Z"),
        ("12:00:00Z", "2026-05-04T12:00:00Z"),
        ("12:01+00:00", "2026-05-03T12:01:00Z"),
        ("01:30+02:00", "2026-05-03T23:30:00Z"),
        ("23:30-11:00", "2026-05-04T10:30:00Z"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert moment(text, "--as-of", NOW).time.ToJsonString() == expected


def test_a_time_without_an_offset_is_of_this_machine() -> None:
    local = datetime(2026, 5, 1, 8, 0).astimezone()
    assert moment("2026-05-01T08:00", "--as-of").time.ToDatetime(UTC) == local


def test_a_time_of_day_is_the_last_one_of_this_machine() -> None:
    for text in ("09:14", "23:59:30"):
        found = moment(text, "--as-of", NOW).time.ToDatetime(UTC)
        assert found.astimezone().strftime("%H:%M:%S").startswith(text)
        assert 0 <= (NOW - found).total_seconds() < 25 * 3600


def test_a_number_is_a_revision() -> None:
    assert moment("120", "--as-of") == v1.ReadAt(revision=120)


@pytest.mark.parametrize("text", [None, "now", " NOW "])
def test_nothing_is_now(text: str | None) -> None:
    assert moment(text, "--as-of") == v1.ReadAt()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "10m",
        "-5",
        "2 fortnights ago",
        "2026-13-01",
        "25:00",
        "09:1",
        "12:00 ago",
        "1e9d ago",
        "9" * 23,
    ],
)
def test_anything_else_names_the_option(text: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        moment(text, "--from")
    assert refused.value.param_hint == "--from"
