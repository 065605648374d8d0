"""A transaction on record: a task run of its own stands for it in its flow run.

Running        it has begun; calls made in its block have its run's id in their dynamic keys
Staged         its block has ended, and it shares the outcome of the one around it
Committing     commit hooks are called now, then records are written
RollingBack    rollback hooks are called now, then what ran in it is marked RolledBack
Committed      COMPLETED, with the value that was staged: it does not run again
Cached         COMPLETED: the record of its key was there when it began
RolledBack     COMPLETED without a result: when the flow run is executed again, it runs again

Committing, RollingBack, and the Staged of a task run's own transaction carry all that is needed to go on: hooks,
values, what is to be written. So an execution that finds one of them unfinished finishes it, wherever it is. Each
call of a hook is a task run too; one that is COMPLETED is not called again.
"""

from __future__ import annotations

from typing import NamedTuple

from playhead import v1
from playhead.client.interface import GET_FLOW_RUN, GET_TASK_RUN, LIST_STATES, LIST_TASK_RUNS
from playhead.context import FlowRunContext
from playhead.engine.execution.calls import TaskCall, make_call, spec_of
from playhead.engine.execution.definitions import StandIn
from playhead.engine.execution.effects import Ask, Loop
from playhead.engine.execution.ids import is_id, task_run_id
from playhead.engine.execution.leases import request_under_lease
from playhead.engine.execution.proposals import propose
from playhead.engine.execution.starting import VERSION_WHEN_NEW, start
from playhead.engine.execution.transactions import BaseTransaction, CommitMode, TransactionState
from playhead.engine.execution.translation import MESSAGE_BYTES_MAX, NAME_BYTES_MAX, bounded, bounded_line
from playhead.engine.signals import Abort
from playhead.exceptions import NotFound, SerializationError
from playhead.logging.loggers import flow_run_logger
from playhead.results import ResultStore
from playhead.runs import TaskRun
from playhead.stored_results import StoredResult

KEY = "transaction"
HOOK_KEYS = {"commit": "commit-hook", "rollback": "rollback-hook"}

COMMITTING, ROLLING_BACK, STAGED = "Committing", "RollingBack", "Staged"
COMMITTED, CACHED, ROLLED_BACK = "Committed", "Cached", "RolledBack"

UNDONE = "Its transaction was rolled back."

PAGE = 200


class Plan(NamedTuple):
    """An end that was begun: of which transaction, which end, why, and the revision at which it was begun.

    `whole`: hooks and values could be stored. Without them a rollback only makes sure that what ran runs again.
    """

    txn: BaseTransaction
    name: str
    error: BaseException | None
    revision: int
    whole: bool


def begin_run(txn: BaseTransaction) -> Loop[Plan | None]:
    """Begin a transaction's run, when it is in a flow run: `txn.call` is set then.

    Answers the end that an earlier execution has begun and not finished, if there is one. A transaction that has been
    committed is `replayed`, and COMMITTED when its key had a record.
    """
    flow = FlowRunContext.get()
    if flow is None:
        return None
    name = bounded_line(f"{KEY} {txn.key}" if txn.key else KEY, NAME_BYTES_MAX)
    key = bounded_line(f"{KEY}:{txn.key}" if txn.key else KEY, NAME_BYTES_MAX)
    call = make_call(StandIn(name, key), {})
    request = request_under_lease(call, v1.State(type=v1.RUNNING))
    request.create_task_run.CopyFrom(spec_of(call, {}))
    response = yield from start(request, call.task_run, flow_run_logger(flow.flow_run))
    txn.call, txn.flow_run_id = call, call.task_run.parent_run_id
    txn.run_id = txn.scope_id = call.task_run.run_id
    if response.state.type == v1.COMPLETED:
        if response.state.name == CACHED:
            txn.state = TransactionState.COMMITTED
        txn.replayed = True
        return None
    if response.state.type != v1.RUNNING:
        raise Abort(response.reason, response.rule, txn.run_id)
    return (yield from unfinished(txn)) if response.version > VERSION_WHEN_NEW else None


def begin_own_run(txn: BaseTransaction, of: TaskCall) -> None:
    """The run of a task run's own transaction: it is on record with its first state."""
    if of.flow is None or txn.call is not None:
        return
    run = of.task_run
    txn.call = _call_below(of, f"{KEY} of {run.name}", KEY, f"{run.run_id}.{KEY}")
    txn.run_id, txn.flow_run_id = txn.call.task_run.run_id, run.parent_run_id
    txn.arguments_digest = of.arguments_digest


def announce(txn: BaseTransaction, name: str, error: BaseException | None = None) -> Loop[int]:
    """Record what is to happen, before it does, with all that is needed for it; at which revision.

    0: there is nothing on record of this transaction. What can not be stored is lost with this process, and a warning
    says so.
    """
    if txn.call is None:
        return 0
    state = v1.State(type=v1.RUNNING, name=name, message=_reason(error))
    inherited = txn.parent.values() if txn.parent else {}
    try:
        store = ResultStore()
        reason = store.store(error).SerializeToString() if error is not None else b""
        state.result.CopyFrom(store.store((txn, inherited, reason)))
    except (SerializationError, OSError) as refusal:
        txn.logger.warning(
            "Hooks or values of transaction %s can not be stored: if this process dies, nobody can go on with it: %s",
            txn.shown,
            refusal,
        )
    response = yield from record(txn.call, state, spec_of(txn.call, {}))
    return response.meta.revision


def unfinished(txn: BaseTransaction, names: tuple[str, ...] = (COMMITTING, ROLLING_BACK)) -> Loop[Plan | None]:
    """What was announced in a transaction's run, under one of these names, after it ended the last time."""
    found: v1.State | None = None
    request = v1.ListStatesRequest(task_run_id=txn.run_id, page_size=PAGE)
    while True:
        try:
            answer: v1.ListStatesResponse = yield Ask(LIST_STATES, request)
        except NotFound:
            return None
        for state in answer.states:
            if state.type == v1.COMPLETED:
                found = None
            elif state.name in names and (state.HasField("result") or state.name != COMMITTING):
                found = state
        if not answer.next_page_token:
            return _plan(txn, found) if found is not None else None
        request.page_token = answer.next_page_token


def record(call: TaskCall, state: v1.State, spec: v1.TaskRunSpec | None = None) -> Loop[v1.ProposeStateResponse]:
    """Propose a state that no rule about the flow run's own state may refuse: a flow run that is being cancelled rolls
    back. Raises `Abort` when this process has been given up: the end is another's to make.
    """
    request = request_under_lease(call, state, force=True)
    if spec is not None:
        request.create_task_run.CopyFrom(spec)
    response = yield from propose(request)
    if response.decision != v1.ACCEPT:
        raise Abort(response.reason, response.rule, call.task_run.run_id)
    return response


def record_end(txn: BaseTransaction, name: str, within: BaseTransaction, message: str = "") -> Loop[None]:
    """Record how a transaction has ended. `within`: the one whose end it shares."""
    if within.call is None or not txn.run_id:
        return
    state = v1.State(type=v1.COMPLETED, name=name, message=bounded(message, MESSAGE_BYTES_MAX))
    if name != ROLLED_BACK:
        state.result.CopyFrom(_kept(txn))
    yield from record(_call_of(within.call, txn.run_id, txn.flow_run_id), state)


def hook_run(txn: BaseTransaction, kind: str, name: str, plan: int, number: int) -> TaskCall | None:
    """The run of a call of a hook: the `number`-th of an end that was announced at the revision `plan`."""
    if txn.call is None:
        return None
    name = bounded_line(f"{kind} hook {name}", NAME_BYTES_MAX)
    return _call_below(txn.call, name, HOOK_KEYS[kind], f"{txn.run_id}.{plan}.{number}")


def has_completed(call: TaskCall) -> Loop[bool]:
    """Whether a run is on record as COMPLETED."""
    try:
        found: v1.GetTaskRunResponse = yield Ask(GET_TASK_RUN, v1.GetTaskRunRequest(task_run_id=call.task_run.run_id))
    except NotFound:
        return False
    return found.task_run.status.state.type == v1.COMPLETED


def runs_in(txn: BaseTransaction) -> Loop[list[v1.TaskRun]]:
    """The runs that are undone with a transaction: made in it or below it, and completed. Not those of transactions in
    it that have ended before, of an EAGER one's tasks, or whose result was another run's.
    """
    if txn.call is None:
        return []
    eager = txn.commit_mode == CommitMode.EAGER
    return (yield from _undone_in(txn.subflow_run_id or txn.flow_run_id, txn.scope_id, txn.run_id, eager))


def mark_rolled_back(within: TaskCall, run: v1.TaskRun) -> Loop[None]:
    """Record that what a run did was undone: it runs again when it is called again. A subflow's runs too."""
    child = run.status.state.details.child_flow_run_id
    if not child:
        details = v1.StateDetails(rolled_back=True, cache_key=run.status.state.details.cache_key)
        state = v1.State(type=v1.COMPLETED, name=ROLLED_BACK, message=UNDONE, details=details)
        yield from record(_call_of(within, run.spec.id, run.spec.flow_run_id), state)
        return
    for inner in (yield from _undone_in(child)):
        yield from mark_rolled_back(within, inner)
    yield from mark_subflow_rolled_back(child)


def mark_subflow_rolled_back(flow_run_id: str) -> Loop[None]:
    """Record that what a subflow run completed with was undone. The task run that stands for it gets the same state."""
    found: v1.GetFlowRunResponse = yield Ask(GET_FLOW_RUN, v1.GetFlowRunRequest(flow_run_id=flow_run_id))
    if found.flow_run.status.state.type != v1.COMPLETED:
        return
    failed = v1.State(type=v1.FAILED, name=ROLLED_BACK, message=UNDONE)
    yield from propose(v1.ProposeStateRequest(flow_run_id=flow_run_id, state=failed, force=True))


def _undone_in(flow_run_id: str, scope_id: str = "", but: str = "", eager: bool = False) -> Loop[list[v1.TaskRun]]:
    """Runs of a flow run, below one of its runs or all of them, that are undone, what was called before its caller.
    `eager`: of what was called there, only transactions were open still.
    """
    below, undone = {scope_id}, []
    filter_ = v1.TaskRunFilter(flow_run_ids=[flow_run_id])
    request = v1.ListTaskRunsRequest(filter=filter_, order=v1.OLDEST_FIRST, page_size=PAGE)
    while True:
        answer: v1.ListTaskRunsResponse = yield Ask(LIST_TASK_RUNS, request)
        for run in answer.task_runs:
            caller = _caller(run.spec.dynamic_key)
            inside = caller in below and run.spec.task_key not in HOOK_KEYS.values()
            committed = eager and caller == scope_id and not _is_transaction(run)
            if inside and not committed and not _has_outcome(run):
                below.add(run.spec.id)
            if run.spec.id in below and run.spec.id != but and _is_undone(run):
                undone.append(run)
        if not answer.next_page_token:
            return undone[::-1]
        request.page_token = answer.next_page_token


def _caller(dynamic_key: str) -> str:
    """The run that a call was made from; empty when that is the flow run."""
    first = dynamic_key.partition(".")[0]
    return first if is_id(first) else ""


def _is_transaction(run: v1.TaskRun) -> bool:
    return run.spec.task_key.partition(":")[0] == KEY


def _has_outcome(run: v1.TaskRun) -> bool:
    """Whether what is below a run had its outcome before: it is a transaction that has ended, or was never called."""
    state = run.status.state
    return state.name == CACHED or (_is_transaction(run) and state.type == v1.COMPLETED)


def _is_undone(run: v1.TaskRun) -> bool:
    state = run.status.state
    if _is_transaction(run):
        return state.type != v1.COMPLETED
    return state.type == v1.COMPLETED and state.name not in (CACHED, ROLLED_BACK)


def _call_of(within: TaskCall, run_id: str, flow_run_id: str) -> TaskCall:
    """A call whose run is on record, for proposals about it. One of a subflow is made when that has ended: no lease."""
    run = TaskRun(run_id, "", [], KEY, KEY, "", flow_run_id)
    token = within.lease_token if flow_run_id == within.task_run.parent_run_id else 0
    return TaskCall(within.task, run, {}, within.client, within.flow, lease_token=token)


def _call_below(of: TaskCall, name: str, key: str, dynamic_key: str) -> TaskCall:
    """A call that is not the user's code's, beside another one in its flow run."""
    flow_run_id = of.task_run.parent_run_id
    run = TaskRun(task_run_id(flow_run_id, key, dynamic_key), name, [], name, key, dynamic_key, flow_run_id)
    return TaskCall(StandIn(name, key), run, {}, of.client, of.flow, lease_token=of.lease_token)


def _plan(txn: BaseTransaction, state: v1.State) -> Plan:
    if not state.HasField("result"):
        empty = BaseTransaction(logger=txn.logger)
        empty.call, empty.run_id, empty.scope_id = txn.call, txn.run_id, txn.scope_id
        empty.flow_run_id, empty.subflow_run_id = txn.flow_run_id, txn.subflow_run_id
        empty.commit_mode = txn.commit_mode
        return Plan(empty, state.name, None, state.revision, False)
    tree, inherited, reason = StoredResult(state.result).get()
    tree._values = {**inherited, **tree._values}
    tree.call, tree.logger = txn.call, txn.logger
    error = StoredResult(v1.Result.FromString(reason)).get() if reason else None
    return Plan(tree, state.name, error, state.revision, True)


def _kept(txn: BaseTransaction) -> v1.Result:
    """The staged value as it is stored; what can not be stored is None on record."""
    try:
        return ResultStore().store(txn._staged_value)
    except (SerializationError, OSError) as refusal:
        txn.logger.debug("The staged value of transaction %s is not on record: %s", txn.shown, refusal)
        return ResultStore().store(None)


def _reason(error: BaseException | None) -> str:
    return "" if error is None else bounded(f"{type(error).__name__}: {error}", MESSAGE_BYTES_MAX)
