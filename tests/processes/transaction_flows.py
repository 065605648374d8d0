"""Flows with transactions that are killed and run again. What a task does is a file, and its rollback hook removes it;
its commit hook makes another. Bodies and hooks note their runs, as in `resume_flows`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from playhead import flow, suspend_flow_run, task
from playhead.locking.filesystem import FileSystemLockManager
from playhead.results import ResultStore
from playhead.transactions import CommitMode, IsolationLevel, atransaction, get_transaction, transaction
from tests.processes.resume_flows import PAUSE_S, note

RETRIES = 3


def effect(name: str) -> Path:
    """What a task of this name has done, when it is there."""
    return Path(os.environ["BODIES"]).parent / "effects" / name


@task
def do(name: str) -> str:
    note()
    txn = get_transaction()
    assert txn is not None
    txn.set("name", name)
    effect(name).parent.mkdir(exist_ok=True)
    effect(name).touch()
    return name


@do.on_rollback
def undo(txn: Any) -> None:
    note()
    effect(txn.get("name")).unlink(missing_ok=True)


@do.on_commit
def keep(txn: Any) -> None:
    note()
    effect(f"{txn.get('name')} is kept in {txn.get('where', 'nothing')}").touch()


@task
def plain(n: int) -> int:
    note()
    return n


@task
def fail() -> None:
    note()
    raise ValueError("no")


@task
def fail_once() -> None:
    if note() == 1:
        raise ValueError("once")


@task
def calls(*names: str) -> list[str]:
    note()
    return [do(name) for name in names]


@task
async def ado(name: str) -> str:
    note()
    await asyncio.sleep(0)
    done: str = do.fn(name)
    return done


@ado.on_rollback
async def aundo(txn: Any) -> None:
    await asyncio.sleep(0)
    undo(txn)


@ado.on_commit
async def akeep(txn: Any) -> None:
    await asyncio.sleep(0)
    keep(txn)


@flow
def committed() -> Any:
    """All is well, outside of it too."""
    with transaction() as txn:
        txn.set("where", "a transaction")
        made = [do("a"), plain(1), do("b")]
    return [*made, do("after"), *calls("outside"), bool(txn.is_committed)]


def _do_more(txn: Any) -> None:
    do("more")
    plain(1)


@flow
def hooks_that_call() -> Any:
    """A hook that calls tasks, which have hooks too."""
    with transaction() as txn:
        txn.stage(1, on_commit_hooks=[_do_more])
        do("a")


@flow
def failing() -> Any:
    """The last task fails."""
    with transaction():
        do("a")
        plain(1)
        do("b")
        fail()


@flow
def caught() -> Any:
    """It fails, and the flow goes on."""
    try:
        with transaction():
            do("a")
            fail()
    except ValueError:
        return do("instead")


@flow
def unraised() -> Any:
    """A failure in it is dealt with, and it is rolled back all the same."""
    with transaction():
        do("a")
        fail(return_state=True)
    return do("after")


def _nested(error: bool) -> Any:
    with transaction() as outer:
        outer.set("where", "the outer one")
        do("a")
        with transaction() as inner:
            inner.set("where", "the inner one")
            calls("b", "c")
        with transaction(commit_mode=CommitMode.EAGER):
            do("eager")
        outer.stage("value", on_rollback_hooks=[_staged_undo], on_commit_hooks=[_staged_keep])
        if error:
            raise ValueError("no")


def _staged_undo(txn: Any) -> None:
    note()


def _staged_keep(txn: Any) -> None:
    note()
    effect(f"staged in {txn.get('where')}").touch()


@flow
def nested() -> Any:
    """Transactions, and tasks that call tasks, in a transaction."""
    _nested(False)


@flow
def nested_failing() -> Any:
    """The same, and code of the block itself fails."""
    _nested(True)


@flow
def mapped() -> Any:
    """Tasks on threads."""
    with transaction():
        made = do.map(["a", "b", "c"])
        return do.submit("d", wait_for=made).result()


@flow
def mapped_failing() -> Any:
    """The same, and one of them fails."""
    with transaction():
        made = do.map(["a", "b"])
        fail.submit(wait_for=made).result()


@flow(retries=RETRIES)
def tried_again() -> Any:
    """A flow whose first attempt is rolled back."""
    before = do("before")
    with transaction():
        calls("a")
        fail_once()
    return before


@flow
async def gathering() -> Any:
    """Async tasks and hooks."""
    async with atransaction():
        return await asyncio.gather(ado("a"), ado("b"))


@flow
async def gathering_failing() -> Any:
    """The same, and it fails."""
    async with atransaction():
        await asyncio.gather(ado("a"), ado("b"))
        fail()


@task(retries=RETRIES)
def attempts() -> str:
    note()
    do("a")
    fail_once()
    with transaction():
        do("b")
    return "done"


@flow
def in_tasks() -> Any:
    """A task that is tried again, and has a transaction in it: its own one has an outcome for each attempt."""
    return attempts()


def store() -> ResultStore:
    """A store beside the journal."""
    folder = Path(os.environ["BODIES"]).parent
    return ResultStore(str(folder / "records"), lock_manager=FileSystemLockManager(folder / "locks"))


@flow
def recording() -> Any:
    """A record, under a lock."""
    with transaction("key", store(), isolation_level=IsolationLevel.SERIALIZABLE) as txn:
        txn.stage(do("a"))
    with transaction("key", store(), isolation_level=IsolationLevel.SERIALIZABLE) as again:
        found = bool(again.is_committed)
    return [found, store().read("key").result]


@flow
def recorded_before() -> Any:
    """The second transaction finds its record: what is done in it all the same has its outcome at once."""
    with transaction("key", store()) as txn:
        txn.stage(do("a"))
    with transaction("key", store()) as again:
        return [do("b"), bool(again.is_committed), *calls("c")]


@flow
def eager_failing() -> Any:
    """Each task is committed at its own end, and nothing that comes later undoes it; but for a lazy transaction."""
    with transaction(commit_mode=CommitMode.EAGER):
        do("a")
        plain(1)
        calls("b")
        with transaction(commit_mode=CommitMode.LAZY):
            do("lazy")
        fail()


@flow(retries=RETRIES)
def eager_tried_again() -> Any:
    """What was committed stays with the next attempt of the flow, in a transaction that is rolled back too."""
    with transaction():
        do("around")
        with transaction(commit_mode=CommitMode.EAGER):
            do("a")
            calls("b")
            child("c")
            fail_once()


def _refuse(txn: Any) -> None:
    note()
    raise ValueError("no")


@flow
def uncommitted() -> Any:
    """Its commit fails."""
    with transaction() as txn:
        do("a")
        txn.stage(1, on_commit_hooks=[_refuse])


@task(on_commit=[_refuse], on_rollback=[undo])
def doubtful(name: str) -> None:
    do.fn(name)


@flow
def uncommitted_task() -> Any:
    """A task's own commit fails, and so it has failed."""
    state: Any = doubtful("a", return_state=True)
    return [state.type, do("after")]


@flow
def child(*names: str) -> Any:
    """A subflow: it shares the outcome of the transaction that it is called in."""
    made = [do(name) for name in names]
    with transaction():
        do("nested in the subflow")
    return made


@flow
def refusing_child() -> None:
    """A subflow whose commit fails."""
    do("b")
    with transaction(commit_mode=CommitMode.LAZY) as txn:
        do("c")
        txn.stage(1, on_commit_hooks=[_refuse])


@flow
def uncommitted_subflow() -> Any:
    """A subflow in an EAGER transaction is committed at its own end: that fails, and so it has failed."""
    with transaction(commit_mode=CommitMode.EAGER):
        do("a")
        state: Any = refusing_child(return_state=True)  # type: ignore[call-arg, func-returns-value]
    return state.type


@flow
def with_subflow() -> Any:
    """A subflow in a transaction."""
    with transaction() as txn:
        txn.set("where", "a transaction")
        do("a")
        return child("b", "c")


@flow
def with_subflow_failing() -> Any:
    """The same, and it fails."""
    with transaction():
        child("b", "c")
        fail()


@flow
def suspended() -> Any:
    """It stays open while its flow run is suspended."""
    with transaction():
        do("a")
        suspend_flow_run(timeout=PAUSE_S, key="once")
        do("b")


CORPUS = {
    each.name: each
    for each in (
        committed,
        hooks_that_call,
        failing,
        caught,
        unraised,
        nested,
        nested_failing,
        mapped,
        mapped_failing,
        tried_again,
        gathering,
        gathering_failing,
        in_tasks,
        recording,
        recorded_before,
        eager_failing,
        eager_tried_again,
        uncommitted,
        uncommitted_task,
        uncommitted_subflow,
        with_subflow,
        with_subflow_failing,
        suspended,
    )
}

OF_DEPLOYMENTS = {"suspended"}
"""Only runs of deployments can be suspended."""
