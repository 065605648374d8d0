"""Times, states and decisions as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from playhead import v1

STATE_STYLES: dict[int, str] = {
    v1.SCHEDULED: "yellow",
    v1.PENDING: "bright_black",
    v1.RUNNING: "blue",
    v1.COMPLETED: "green",
    v1.FAILED: "red",
    v1.CRASHED: "bold red",
    v1.CANCELLED: "bright_black",
    v1.CANCELLING: "bright_black",
    v1.PAUSED: "magenta",
}
DECISION_STYLES: dict[int, str] = {v1.ACCEPT: "green", v1.REJECT: "red", v1.WAIT: "yellow", v1.ABORT: "bold red"}

_AGES = ((86_400 * 7, "w"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def state_text(state: v1.State) -> Text:
    """The name of a state, in the colour of its type."""
    return Text(state.name or type_name(state.type), style=STATE_STYLES.get(state.type, ""))


def type_name(state_type: int) -> str:
    """ "Running" of a state type; nothing of none."""
    return v1.StateType.Name(v1.StateType.ValueType(state_type)).capitalize() if state_type else ""


def decision_text(decision: v1.Decision.ValueType) -> Text:
    """The name of a decision, coloured."""
    return Text(v1.Decision.Name(decision), style=DECISION_STYLES.get(decision, ""))


def clock(time: Timestamp) -> str:
    """A time in this machine's zone, to the millisecond; nothing for one that is unset."""
    if not time.ByteSize():
        return ""
    return time.ToDatetime(UTC).astimezone().isoformat(sep=" ", timespec="milliseconds")


def age(time: Timestamp, now: datetime | None = None) -> str:
    """How long ago a time was: "3m ago"."""
    seconds = ((now or datetime.now(UTC)) - time.ToDatetime(UTC)).total_seconds()
    for length, unit in _AGES:
        if abs(seconds) >= length:
            return f"{int(seconds // length)}{unit} ago" if seconds > 0 else f"in {int(-seconds // length)}{unit}"
    return "now"


def seconds(duration: Duration) -> str:
    """A duration: "1.234 s"."""
    return f"{duration.ToMicroseconds() / 1e6:.3f} s"
