"""Facts and proposals for the tests, in few words."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from playhead import v1
from playhead.engine.orchestration.decide import decide
from playhead.engine.orchestration.policy import Policy, Subject, core_policy
from playhead.engine.orchestration.rules.rule import NO_STATE, StateType

FLOW, TASK = Subject.FLOW_RUN, Subject.TASK_RUN
NOW_S = 1_800_000_000
POLICY = core_policy()
STORED = v1.Result(inline=b"42", media_type="application/json", size_bytes=2)


def at(seconds: float) -> Timestamp:
    """A moment, seconds from now."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return Timestamp(seconds=NOW_S + whole, nanos=micros * 1000)


def state(
    type: StateType, name: str = "", *, message: str = "", result: v1.Result | None = None, **details: object
) -> v1.State:
    """A state as it is proposed. Keyword arguments are its details."""
    proposed = v1.State(type=type, name=name, message=message, result=result)
    if details:
        # Names and types are those of StateDetails; a wrong one fails here, at run time.
        proposed.details.MergeFrom(v1.StateDetails(**details))  # type: ignore[arg-type]
    return proposed


def facts(before: v1.State | None = None, **status: object) -> v1.Facts:
    """A run whose state is ten seconds old, or that has none yet. Keyword arguments are its status."""
    given = v1.Facts(now=at(0), entropy=0x9E3779B97F4A7C15)
    given.status.MergeFrom(v1.RunStatus(name="swift-fox", version=7, **status))  # type: ignore[arg-type]  # As above.
    if before is not None and before.type != NO_STATE:
        given.status.state.CopyFrom(before)
        given.status.state.revision = 5
        given.status.state.timestamp.CopyFrom(at(-10))
        given.status.state.name = before.name or v1.StateType.Name(before.type).capitalize()
    return given


def inside(given: v1.Facts, flow_run: StateType, run_count: int = 1) -> v1.Facts:
    """The same, of a task run whose flow run is in a state."""
    given.flow_run.MergeFrom(v1.FlowRunFacts(state_type=flow_run, run_count=run_count))
    return given


def leased(given: v1.Facts, expires_s: float, token: int = 3) -> v1.Facts:
    """The same, of a flow run under a lease that lapses so many seconds from now."""
    given.status.lease.MergeFrom(v1.Lease(token=token, holder="somebody", ttl=Duration(seconds=60)))
    given.lease_expires.CopyFrom(at(expires_s))
    return given


def deployed(given: v1.Facts) -> v1.Facts:
    """The same, of a flow run with a deployment."""
    given.has_deployment = True
    return given


def retried(given: v1.Facts, retries: int, delays_s: Sequence[float] = ()) -> v1.Facts:
    """The same, of a run with so many retries."""
    given.retry.MergeFrom(v1.RetryPolicy(retries=retries, delays_s=delays_s))
    return given


def cached(given: v1.Facts) -> v1.Facts:
    """The same, with an entry in the cache for the key that is proposed."""
    entry = state(v1.COMPLETED, "Completed", message="done", result=STORED, cache_key="k", cache_expiration=at(60))
    entry.revision = 3
    entry.timestamp.CopyFrom(at(-1000))
    given.cache_entry.MergeFrom(v1.CacheEntry(state=entry, task_run_id="t1"))
    return given


def limited(
    given: v1.Facts, slots: int, held: int = 0, ahead: int = 0, on_full: v1.OnFull.ValueType = v1.ENQUEUE
) -> v1.Facts:
    """The same, of a run that needs one of so many slots, of which so many are held, after so many that wait."""
    given.limits.add(limit="tag:etl", slots=slots, held=held, ahead=ahead, needed=1, on_full=on_full)
    return given


def decided(
    subject: Subject,
    given: v1.Facts,
    proposed: v1.State,
    *,
    policy: Policy = POLICY,
    force: bool = False,
    lease_ttl_s: int | None = None,
    lease_token: int = 0,
    if_lease_expired: bool = False,
    release_lease: bool = False,
) -> v1.StateProposed:
    """The decision on a proposal."""
    command = v1.ProposeStateRequest(
        state=proposed,
        force=force,
        lease_ttl=None if lease_ttl_s is None else Duration(seconds=lease_ttl_s),
        lease_token=lease_token,
        if_lease_expired=if_lease_expired,
        release_lease=release_lease,
    )
    return decide(subject, given, command, policy)


def short(answer: v1.StateProposed) -> str:
    """A decision in the notation of transitions.txt."""
    state = answer.status.state
    if answer.decision == v1.ACCEPT:
        default = v1.StateType.Name(state.type).capitalize()
        return "A" if state.name == default else f"A={state.name}"
    if answer.decision == v1.REJECT:
        return f"R>{state.name}" if answer.HasField("status") else "R"
    return f"W{answer.delay.seconds}" if answer.decision == v1.WAIT else "X"


def spoke(answer: v1.StateProposed) -> list[tuple[str, v1.RuleEffect.ValueType]]:
    """Which rules had which effect."""
    return [(outcome.rule, outcome.effect) for outcome in answer.rules]
