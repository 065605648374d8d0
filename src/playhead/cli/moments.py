"""Moments as people write them: a revision, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

import typer

from playhead import v1

REVISION_DIGITS_MAX = 19
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_OF_DAY = re.compile(r"\d\d:\d\d")
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])[a-z]*\s+ago", re.IGNORECASE)


def moment(text: str | None, option: str, now: datetime | None = None) -> v1.ReadAt:
    """The moment that a text names; none, or "now", is now. Raises BadParameter, naming `option`.

    "120" is a revision; "2026-01-31", "2026-01-31T12:00" or "…+01:00" a time, local unless it has an offset; "09:14"
    the last time that it was that late; "90s ago", "10 minutes ago", "2h ago", "1.5d ago" a time before `now`, by
    default this machine's.
    """
    if text is None or text.strip().lower() == "now":
        return v1.ReadAt()
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < REVISION_DIGITS_MAX:
        return v1.ReadAt(revision=int(text))
    found = _time(text, now or datetime.now(UTC))
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no moment: write a revision (120), a time (2026-01-31T12:00 or 09:14) or '10m ago'.",
            param_hint=option,
        )
    read_at = v1.ReadAt()
    read_at.time.FromDatetime(found.astimezone(UTC))
    return read_at


def _time(text: str, now: datetime) -> datetime | None:
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(seconds=float(ago[1]) * UNITS_S[ago[2].lower()])
        return _last(time.fromisoformat(text), now) if _OF_DAY.match(text) else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None


def _last(clock: time, now: datetime) -> datetime:
    """When it was so late for the last time, by this machine's clock unless the time has an offset."""
    today = datetime.combine(now.astimezone(clock.tzinfo).date(), clock)
    return today if today.astimezone(UTC) <= now else today - timedelta(days=1)
