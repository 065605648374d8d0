"""What a rule can say about a proposal: eight effects, made by the functions below."""

from __future__ import annotations

from dataclasses import dataclass

from playhead import v1


@dataclass(frozen=True, slots=True)
class Effect:
    """A rule's word. `state` goes with REPLACED and amendments, `name` with RENAMED, the last two with DELAYED."""

    kind: v1.RuleEffect.ValueType
    reason: str
    state: v1.State | None = None
    name: str = ""
    delay_s: int = 0
    queues: bool = False


def reject(reason: str) -> Effect:
    """REJECT: the run keeps the state it has, even if that is none."""
    return Effect(v1.RULE_REJECTED, reason)


def replace(state: v1.State, reason: str) -> Effect:
    """REJECT, and the run moves to `state` instead. Another type than the proposed one silences all later rules."""
    return Effect(v1.RULE_REPLACED, reason, state=state)


def wait(delay_s: int, reason: str) -> Effect:
    """WAIT: the same proposal, as a new request, has a chance after so many whole seconds."""
    return Effect(v1.RULE_DELAYED, reason, delay_s=delay_s)


def queue(delay_s: int, reason: str) -> Effect:
    """WAIT, as above, and the rule's `after` records the run's place in line. Its state stays."""
    return Effect(v1.RULE_DELAYED, reason, delay_s=delay_s, queues=True)


def abort(reason: str) -> Effect:
    """ABORT: refused, and the caller should stop working on the run."""
    return Effect(v1.RULE_ABORTED, reason)


def rename(name: str, reason: str) -> Effect:
    """The proposal goes on under another name. Names are display only, so no other rule is affected."""
    return Effect(v1.RULE_RENAMED, reason, name=name)


def record(reason: str) -> Effect:
    """The proposal goes on; if it stands at the end, the rule's `after` changes what is kept about the run."""
    return Effect(v1.RULE_RECORDED, reason)


def amend(state: v1.State, reason: str) -> Effect:
    """The proposal goes on as `state`, of the same type: details were filled in, nothing was refused."""
    return Effect(v1.RULE_RECORDED, reason, state=state)
