"""Transactions: prefect.md 2.7, what is on record of them, and that no path loses a hook or a lock."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead import engine, flow, task, v1
from playhead.client.interface import CANCEL_FLOW_RUN, PROPOSE_STATE
from playhead.context import FlowRunContext
from playhead.engine.execution.ids import new_id
from playhead.engine.execution.watching import state_wanted
from playhead.exceptions import ConfigurationError, SerializationError
from playhead.futures import PlayheadFuture
from playhead.locking.memory import MemoryLockManager
from playhead.results import ResultStore
from playhead.tasks import Task
from playhead.transactions import (
    AsyncTransaction,
    CommitFailed,
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    atransaction,
    get_transaction,
    transaction,
)
from tests.sdk.conftest import Service

heard: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    """Each test hears its own hooks only."""
    heard.clear()


def says(word: str) -> Callable[[Any], None]:
    """A hook that says a word."""

    def hook(txn: Any) -> None:
        heard.append(word)

    hook.__name__ = word
    return hook


def fails(word: str) -> Callable[[Any], None]:
    """A hook that says a word, and fails."""

    def hook(txn: Any) -> None:
        heard.append(word)
        raise RuntimeError(word)

    hook.__name__ = word
    return hook


@task
def write(n: Any) -> Any:
    heard.append(f"write {n}")
    return n


def undo(txn: Any) -> None:
    heard.append(f"undo {txn.get('name', '')}".strip())


hooked: Any = Task(write.fn, name="hooked", task_key="hooked", on_commit=[says("commit")], on_rollback=[undo])


@task
def fail() -> None:
    raise ValueError("no")


@task
def calls_hooked(n: int) -> Any:
    return hooked(n)


class TestByItself:
    """Outside of runs."""

    def test_it_is_active_then_staged_then_committed(self) -> None:
        txn = Transaction()
        assert txn.is_pending()
        with txn:
            assert txn.is_active()
            assert get_transaction() is txn
            txn.stage(1)
            assert txn.is_staged()
        assert txn.state == TransactionState.COMMITTED
        assert get_transaction() is None

    @pytest.mark.parametrize("asked", [lambda verdict: verdict, lambda verdict: verdict()], ids=["property", "method"])
    def test_what_it_is_can_be_asked_as_a_property_and_as_a_method(self, asked: Callable[[Any], Any]) -> None:
        txn = Transaction(key="k", timeout=300)
        assert txn.key == "k"
        assert not asked(txn.is_committed)
        with txn:
            pass
        assert asked(txn.is_committed)
        assert not asked(txn.is_rolled_back)
        assert repr(txn.is_committed) == "True"

    def test_values_are_copied_out_and_found_in_the_transaction_around(self) -> None:
        with transaction() as outer:
            outer.set("list", [1])
            with transaction() as inner:
                inner.get("list").append(2)
                assert inner.get("list") == [1]
                assert inner.get("none", default=None) is None
                with pytest.raises(ValueError, match="Could not retrieve value for unknown key: nothing"):
                    inner.get("nothing")

    def test_it_can_not_be_entered_twice_or_left_without_being_entered(self) -> None:
        with transaction() as txn, pytest.raises(RuntimeError, match="already entered"):
            txn.__enter__()
        with pytest.raises(RuntimeError, match="exit called without an enter"):
            Transaction().__exit__(None, None, None)

    def test_an_async_transaction_is_not_entered_by_with(self) -> None:
        with pytest.raises(NotImplementedError), AsyncTransaction():
            pass

    def test_hooks_of_children_come_before_those_of_their_parent_and_the_last_one_is_undone_first(self) -> None:
        def run(error: Exception | None) -> None:
            with transaction() as outer:
                outer.stage(0, [says("undo 0a"), says("undo 0b")], [says("commit 0")])
                for n in (1, 2):
                    with transaction() as inner:
                        inner.stage(n, [says(f"undo {n}")], [says(f"commit {n}")])
                if error:
                    raise error

        run(None)
        assert heard == ["commit 1", "commit 2", "commit 0"]
        heard.clear()
        with pytest.raises(KeyError):
            run(KeyError())
        assert heard == ["undo 0b", "undo 0a", "undo 2", "undo 1"]

    @pytest.mark.parametrize(
        ("mode", "nested", "expected"),
        [
            (CommitMode.LAZY, False, "COMMITTED"),
            (CommitMode.EAGER, False, "COMMITTED"),
            (CommitMode.OFF, False, "ROLLED_BACK"),
            (CommitMode.LAZY, True, "STAGED"),
            (CommitMode.EAGER, True, "COMMITTED"),
            (CommitMode.OFF, True, "STAGED"),
        ],
    )
    def test_the_commit_mode_says_when(self, mode: CommitMode, nested: bool, expected: str) -> None:
        def block() -> Transaction:
            with transaction(commit_mode=mode) as txn:
                txn.stage(1)
            return txn

        if not nested:
            assert block().state == expected
            return
        with transaction():
            txn = block()
            assert txn.state == expected
        assert txn.is_committed()

    def test_a_transaction_inherits_mode_and_isolation(self) -> None:
        with (
            transaction(commit_mode=CommitMode.OFF, isolation_level=IsolationLevel.SERIALIZABLE),
            transaction() as inner,
        ):
            assert inner.commit_mode == CommitMode.OFF
            assert inner.isolation_level == IsolationLevel.SERIALIZABLE

    def test_one_that_is_rolled_back_rolls_back_what_is_around_it_but_not_what_is_committed(self) -> None:
        with transaction() as outer:
            with transaction(commit_mode=CommitMode.EAGER) as kept:
                kept.stage(1, [says("undo kept")])
            with transaction() as undone:
                undone.stage(1, [says("undo undone")])
            with pytest.raises(KeyError), transaction():
                raise KeyError
        assert outer.is_rolled_back()
        assert undone.is_rolled_back()
        assert kept.is_committed()
        assert heard == ["undo undone"]

    def test_a_rollback_hook_that_fails_does_not_stop_the_others_and_is_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(KeyError) as raised, transaction() as outer:  # noqa: PT012 - the block is what raises
            outer.stage(0, [says("undo 0")])
            with transaction() as inner:
                inner.stage(1, [says("undo 1"), fails("undo 2"), says("undo 3")])
            raise KeyError
        assert heard == ["undo 0", "undo 3", "undo 2", "undo 1"]
        assert outer.is_rolled_back()
        assert [str(failure) for failure in outer.failures] == ["undo 2"]
        assert raised.value.__notes__ == ["Rollback hook 'undo 2' failed: RuntimeError: undo 2"]
        assert "An error was encountered while running rollback hook 'undo 2'" in caplog.messages

    def test_a_commit_that_fails_is_rolled_back_and_raised(self, caplog: pytest.LogCaptureFixture) -> None:
        with (  # noqa: PT012 - as above
            pytest.raises(CommitFailed, match="'k' could not be committed") as raised,
            Transaction("k") as txn,
        ):
            with transaction() as inner:
                inner.stage(1, [says("undo 1")], [says("commit 1")])
            txn.stage(2, [says("undo 2")], [fails("commit 2"), says("commit 3")])
        assert heard == ["commit 1", "commit 2", "undo 2", "undo 1"]
        assert txn.is_rolled_back()
        assert str(raised.value.__cause__) == "commit 2"
        assert "An error was encountered while committing transaction 'k'" in caplog.messages

    def test_hooks_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        with transaction() as txn:
            txn.stage(1, on_commit_hooks=[says("word")])
        assert caplog.messages[:2] == [
            "Running commit hook 'word'",
            "Commit hook 'word' finished running successfully",
        ]

    @pytest.mark.parametrize("end", ["commit", "rollback"])
    def test_it_is_ended_by_hand(self, end: str) -> None:
        txn = Transaction().__enter__()
        txn.stage(1, [says("rollback")], [says("commit")])
        assert getattr(txn, end)()
        assert heard == [end]
        assert get_transaction() is None
        assert not txn.commit()
        assert not txn.rollback()
        assert heard == [end]
        assert Transaction().rollback()

    def test_one_that_is_rolled_back_by_hand_rolls_back_what_is_around_it(self) -> None:
        with transaction() as outer:
            outer.stage(1, [says("undo outer")])
            Transaction().__enter__().rollback()
        assert outer.is_rolled_back()
        assert heard == ["undo outer"]

    def test_one_that_was_open_for_too_long_is_not_committed(self) -> None:
        with pytest.raises(CommitFailed, match="open for more than") as raised, Transaction(timeout=-1) as txn:
            txn.stage(1, [says("undo")])
        assert isinstance(raised.value.__cause__, TimeoutError)
        assert txn.is_rolled_back
        assert heard == ["undo"]

    def test_async_transactions_await_their_hooks(self) -> None:
        async def hook(txn: Any) -> None:
            await asyncio.sleep(0)
            heard.append("awaited")

        async def run() -> None:
            async with atransaction() as outer:
                async with atransaction() as inner:
                    inner.stage(1, on_commit_hooks=[hook])
                    assert get_transaction() is inner
                assert not heard
            assert outer.is_committed()
            with pytest.raises(KeyError):  # noqa: PT012 - as above
                async with atransaction() as txn:
                    txn.stage(1, on_rollback_hooks=[hook])
                    raise KeyError
            by_hand = await AsyncTransaction().__aenter__()
            assert await by_hand.commit()

        asyncio.run(run())
        assert heard == ["awaited", "awaited"]


class TestRecords:
    """A key and a store."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ResultStore:
        """A store with locks."""
        return ResultStore(str(tmp_path), lock_manager=MemoryLockManager())

    def test_committing_writes_the_record_and_the_next_one_is_committed_at_once(self, store: ResultStore) -> None:
        with transaction("a", store) as first:
            first.stage({"x": 1})
        assert store.read("a").result == {"x": 1}
        with transaction("a", store) as second:
            assert second.is_committed()
            second.stage("ignored", [says("undo")], [says("commit")])
        assert store.read("a").result == {"x": 1}
        with transaction("a", store, overwrite=True) as third:
            assert not third.is_committed()
            third.stage(3)
        assert store.read("a").result == 3
        assert not heard

    def test_no_record_is_written_when_it_is_not_asked_for_or_rolled_back(self, store: ResultStore) -> None:
        with transaction("a", store, write_on_commit=False) as txn:
            txn.stage(1)
        with pytest.raises(KeyError), transaction("a", store) as txn:  # noqa: PT012 - as above
            txn.stage(1)
            raise KeyError
        assert not store.exists("a")

    def test_a_record_that_can_not_be_written_is_told_and_rolled_back(self, store: ResultStore) -> None:
        with pytest.raises(CommitFailed) as raised, transaction("a", store) as txn:
            txn.stage(Unpicklable(), [says("undo")])
        assert isinstance(raised.value.__cause__, SerializationError)
        assert heard == ["undo"]

    def test_serializable_needs_locks(self, tmp_path: Path) -> None:
        with (
            pytest.raises(ConfigurationError, match="'a' has no lock manager"),
            transaction("a", ResultStore(str(tmp_path)), isolation_level=IsolationLevel.SERIALIZABLE),
        ):
            pass

    @pytest.mark.parametrize("aio", [False, True], ids=["sync", "async"])
    def test_serializable_transactions_hold_the_lock_until_the_outermost_has_ended(
        self, store: ResultStore, aio: bool
    ) -> None:
        def check(open_: bool) -> None:
            assert store.is_locked("a") == open_

        level = IsolationLevel.SERIALIZABLE
        if not aio:
            with transaction():
                with transaction("a", store, isolation_level=level) as txn:
                    txn.stage(1)
                check(True)
        else:

            async def run() -> None:
                async with atransaction():
                    async with atransaction("a", store, isolation_level=level) as txn:
                        txn.stage(1)
                    check(True)

            asyncio.run(run())
        check(False)
        assert store.exists("a")

    @pytest.mark.parametrize(
        ("mode", "error", "hook", "recorded"),
        [
            (mode, error, hook, recorded)
            for mode in CommitMode
            for error in (None, KeyError, KeyboardInterrupt)
            for hook in (says, fails)
            for recorded in (False, True)
        ],
    )
    def test_no_path_leaves_the_lock_held(
        self,
        store: ResultStore,
        mode: CommitMode,
        error: type[BaseException] | None,
        hook: Callable[[str], Callable[[Any], None]],
        recorded: bool,
    ) -> None:
        if recorded:
            store.write(1, "a")
        try:
            with transaction("a", store, mode, IsolationLevel.SERIALIZABLE) as txn:
                txn.stage(2, [hook("undo")], [hook("commit")])
                if error:
                    raise error
        except (KeyError, KeyboardInterrupt, CommitFailed):
            pass
        assert not store.is_locked("a")
        assert txn.has_ended

    def test_a_store_that_can_not_be_read_leaves_no_lock_either(self, store: ResultStore) -> None:
        class Away(ResultStore):
            def exists(self, key: str) -> bool:
                raise OSError("away")

        away = Away(store.result_storage, lock_manager=store.lock_manager)
        with pytest.raises(OSError, match="away"), transaction("a", away, isolation_level=IsolationLevel.SERIALIZABLE):
            pass
        assert not store.is_locked("a")

    def test_a_key_without_a_store_has_the_default_one(self, embedded: Service) -> None:
        with transaction("a") as txn:
            txn.stage(1)
        with transaction("a") as again:
            assert again.is_committed()
        with Transaction("a") as other:
            assert not other.is_committed


class Unpicklable:
    """A value that can not be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("never")


class TestInFlows:
    """Tasks, and what is on record."""

    def test_hooks_of_tasks_are_called_when_the_transaction_has_its_outcome(self, service: Service) -> None:
        @flow
        def run(error: bool) -> None:
            with transaction() as txn:
                txn.set("name", "thing")
                hooked(1)
                calls_hooked(2)
                hooked.submit(3)
                if error:
                    fail()
            assert txn.is_committed

        run(False)
        assert sorted(heard[:3]) == ["write 1", "write 2", "write 3"]
        assert heard[3:] == ["commit"] * 3
        heard.clear()
        with pytest.raises(ValueError, match="no"):
            run(True)
        assert heard[3:] == ["undo thing"] * 3

    def test_a_hook_finds_what_its_task_has_set(self, service: Service) -> None:
        @task
        def note() -> None:
            txn = get_transaction()
            assert txn is not None
            txn.set("name", "mine")

        note.on_rollback(undo)

        @flow
        def run() -> None:
            with transaction() as txn:
                txn.set("name", "ours")
                note()
                fail()

        with pytest.raises(ValueError, match="no"):
            run()
        assert heard == ["undo mine"]

    def test_without_a_transaction_the_outermost_task_run_is_one(self, service: Service) -> None:
        @task(retries=1)
        def outer() -> None:
            hooked(1)
            heard.append("outer")
            if heard.count("outer") == 1:
                raise ValueError

        outer.on_commit(says("commit outer"))

        @flow
        def run() -> None:
            outer()
            hooked(2)

        run()
        first = ["write 1", "outer", "undo"]
        assert heard == [*first, "write 1", "outer", "commit", "commit outer", "write 2", "commit"]

    def test_hooks_work_outside_of_flows(self, embedded: Service) -> None:
        hooked(1)
        assert heard == ["write 1", "commit"]
        with pytest.raises(KeyError), transaction(commit_mode=CommitMode.EAGER):  # noqa: PT012 - the block is what raises
            hooked(2)
            raise KeyError
        assert heard[2:] == ["write 2", "commit"]

    def test_a_task_that_fails_rolls_its_transaction_back_even_when_the_failure_is_dealt_with(
        self, service: Service
    ) -> None:
        @flow
        def run(submit: bool) -> Any:
            with transaction() as txn:
                hooked(1)
                (fail.submit if submit else fail)(return_state=True)
            return txn.state

        for submit in (False, True):
            heard.clear()
            assert run(submit) == TransactionState.ROLLED_BACK
            assert heard == ["write 1", "undo"]

    def test_a_task_whose_commit_fails_has_failed(self, service: Service) -> None:
        doubtful: Any = Task(write.fn, name="doubtful", on_commit=[fails("commit")], on_rollback=[undo])

        @flow
        def run() -> Any:
            return doubtful(1, return_state=True)

        state = run(return_state=True)
        assert state.is_failed()
        with pytest.raises(CommitFailed):
            state.result()
        assert heard == ["write 1", "commit", "undo"]

    def test_a_task_in_a_transaction_that_has_found_its_record_is_committed_at_once(self, service: Service) -> None:
        ResultStore().write(1, "found")

        @flow
        def run() -> None:
            with transaction("found", ResultStore()) as txn:
                assert txn.is_committed
                hooked(1)
                assert heard == ["write 1", "commit"]
                raise KeyError

        with pytest.raises(KeyError):
            run()
        assert heard == ["write 1", "commit"]

    @pytest.mark.parametrize("aio", [False, True], ids=["sync", "async"])
    def test_a_task_in_an_eager_transaction_is_committed_at_its_own_end_and_nothing_undoes_it(
        self, service: Service, aio: bool
    ) -> None:
        def failing_first() -> None:
            if heard.count("failing") == 0:
                heard.append("failing")
                fail()

        @flow(retries=1)
        def eager() -> None:
            with transaction(commit_mode=CommitMode.EAGER):
                hooked(1)
                calls_hooked(2)
                write(3)
                failing_first()

        @task(on_commit=[says("commit")], on_rollback=[undo])
        async def ahooked(n: int) -> None:
            heard.append(f"write {n}")

        @flow(name="eager", retries=1)
        async def aeager() -> None:
            async with atransaction(commit_mode=CommitMode.EAGER):
                await ahooked(1)
                await ahooked(2)
                write(3)
                failing_first()

        asyncio.run(aeager()) if aio else eager()  # type: ignore[func-returns-value]
        assert heard == ["write 1", "commit", "write 2", "commit", "write 3", "failing"]
        for run in recorded(service, "eager"):
            if run.status.name.startswith(("write", "hooked", "ahooked", "calls")):
                assert service.state_names(task_run=run.spec.id) == ["Pending", "Running", "Completed"]

    def test_what_a_task_stages_in_an_eager_transaction_is_undone_with_its_own_attempt_only(
        self, service: Service
    ) -> None:
        @task(retries=1)
        def twice() -> None:
            hooked(1)
            with transaction(commit_mode=CommitMode.LAZY):
                hooked(2)
            if heard.count("write 2") == 1:
                fail()

        @flow
        def run() -> None:
            with transaction(commit_mode=CommitMode.EAGER):
                twice()

        run()
        assert heard == ["write 1", "commit", "write 2", "undo", "write 2", "commit"]

    def test_its_life_is_on_record(self, service: Service) -> None:
        @flow
        def keeps() -> None:
            with transaction("k", ResultStore()) as txn:
                txn.stage({"x": 1}, on_commit_hooks=[says("commit")])
                write(1)

        keeps()
        runs = {run.spec.task_key.rpartition(".")[2]: run for run in recorded(service, "keeps")}
        assert service.state_names(task_run=runs["transaction:k"].spec.id) == [
            "Pending",
            "Running",
            "Committing",
            "Committed",
        ]
        assert service.state_names(task_run=runs["commit-hook"].spec.id) == ["Pending", "Running", "Completed"]
        assert runs["transaction:k"].status.state.result.inline == b'{"x":1}'
        assert runs["write"].spec.dynamic_key == f"{runs['transaction:k'].spec.id}.0"
        assert runs["write"].status.name == "write-0"
        keeps()
        last = recorded(service, "keeps")
        assert [run.status.state.name for run in last if run.spec.task_key == "transaction:k"] == ["Cached"]

    def test_a_flow_that_is_tried_again_runs_again_what_was_rolled_back_and_nothing_else(
        self, service: Service
    ) -> None:
        @flow(retries=1)
        def tried_again() -> Any:
            write("before")
            with transaction():
                write("inside")
                calls_hooked(1)
                with transaction(commit_mode=CommitMode.EAGER):
                    write("kept")
                if heard.count("write inside") == 1:
                    fail()
            write("after")
            return "done"

        assert tried_again() == "done"
        body = ["write inside", "write 1"]
        assert heard == ["write before", *body, "write kept", "undo", *body, "commit", "write after"]
        runs = reversed(recorded(service, "tried_again"))
        states = {run.status.name: service.state_names(task_run=run.spec.id) for run in runs}
        first, again = ["Pending", "Running", "RollingBack", "RolledBack"], ["Retrying", "Committing", "Committed"]
        assert states["transaction-0"] == [*first, *again]
        assert states["calls_hooked-0"] == ["Pending", "Running", "Completed", "RolledBack", "Retrying", "Completed"]

    def test_a_committed_transaction_is_not_repeated_when_the_flow_is_tried_again(self, service: Service) -> None:
        @flow(retries=1)
        def committed_once() -> Any:
            with transaction() as txn:
                value = hooked("x")
            heard.append(str(txn.state))
            if heard.count("COMMITTED") == 1:
                raise ValueError
            return value

        assert committed_once() == "x"
        assert heard == ["write x", "commit", "COMMITTED", "COMMITTED"]

    def test_what_was_rolled_back_is_found_in_no_cache(self, service: Service) -> None:
        @task(cache_key_fn=lambda *_: f"{service}", refresh_cache=False)
        def cached() -> None:
            heard.append("computed")

        @flow
        def run(error: bool) -> None:
            with transaction():
                cached()
                if error:
                    fail()

        with pytest.raises(ValueError, match="no"):
            run(True)
        run(False)
        run(False)
        assert heard == ["computed", "computed"]

    def test_tasks_that_a_hook_calls_change_nothing_for_those_after_it(self, service: Service) -> None:
        @flow
        def calls_in_a_hook() -> None:
            with transaction() as txn:
                txn.stage(1, on_commit_hooks=[lambda _: hooked("from a hook")])
            write("after")

        calls_in_a_hook()
        assert heard == ["write from a hook", "commit", "write after"]
        (after,) = [run for run in recorded(service, "calls_in_a_hook") if run.spec.dynamic_key == "0"][1:]
        assert after.status.name == "write-0"

    @pytest.mark.parametrize("attempts", [1, 2], ids=["rolled back", "tried again"])
    def test_a_subflow_shares_the_outcome(self, service: Service, attempts: int) -> None:
        @flow
        def child(n: int) -> None:
            hooked(n)
            with transaction() as txn:
                txn.set("name", f"of {n}")
                hooked(n + 1)

        @flow(retries=attempts - 1)
        def has_subflow() -> None:
            child(1)
            with transaction():
                child(10)
                assert "commit" not in heard[4:]
                if heard.count("write 10") == 1:
                    fail()

        state = has_subflow(return_state=True)  # type: ignore[call-arg]  # an option of the call
        outside, inside = ["write 1", "commit", "write 2", "commit"], ["write 10", "write 11"]
        undone = ["undo of 10", "undo"]
        assert heard[:8] == [*outside, *inside, *undone]
        if attempts == 1:
            assert state.is_failed()
            assert heard[8:] == []
            assert service.flow_runs("child")[-1].status.state.name == "RolledBack"
        else:
            assert heard[8:] == [*inside, "commit", "commit"]
            assert state.is_completed()

    def test_a_subflow_whose_commit_fails_has_failed_and_runs_again(self, service: Service) -> None:
        def refuse_once(txn: Any) -> None:
            heard.append("refuse")
            if heard.count("refuse") == 1:
                raise RuntimeError

        @flow
        def refused() -> None:
            hooked(1)
            with transaction(commit_mode=CommitMode.LAZY) as txn:
                hooked(2)
                txn.stage(1, on_commit_hooks=[refuse_once])

        @flow(retries=1)
        def eager() -> str:
            with transaction(commit_mode=CommitMode.EAGER):
                state: Any = refused(return_state=True)  # type: ignore[call-arg, func-returns-value]
                if state.is_failed():
                    state.result()
            return "done"

        assert eager() == "done"
        first = ["write 1", "commit", "write 2", "commit", "refuse", "undo"]
        assert heard == [*first, "write 2", "commit", "refuse"]

    def test_a_flow_run_that_is_cancelled_rolls_back(self, service: Service) -> None:
        @flow
        def cancelled_inside() -> None:
            with transaction():
                hooked(1)
                context = FlowRunContext.get()
                assert context is not None
                request = v1.CancelFlowRunRequest(request_id=new_id(), flow_run_id=context.flow_run.run_id)
                service.client.unary(CANCEL_FLOW_RUN, request)
                write(2)

        state = cancelled_inside(return_state=True)  # type: ignore[call-arg]  # an option of the call
        assert state.is_cancelled()
        assert heard == ["write 1", "undo"]
        states = {run.status.name: run.status.state.name for run in recorded(service, "cancelled_inside")}
        assert (states["transaction-0"], states["hooked-0"]) == ("RolledBack", "RolledBack")

    def test_a_process_that_was_given_up_undoes_nothing(self, service: Service) -> None:
        @flow
        def given_up() -> None:
            with transaction():
                hooked(1)
                context = FlowRunContext.get()
                assert context is not None
                crashed = v1.State(type=v1.CRASHED)
                request = v1.ProposeStateRequest(flow_run_id=context.flow_run.run_id, state=crashed)
                request.request_id = new_id()
                service.client.unary(PROPOSE_STATE, request)
                raise KeyError

        assert given_up(return_state=True).is_crashed()  # type: ignore[call-arg]  # an option of the call
        assert heard == ["write 1"]
        states = {run.status.name: run.status.state.name for run in recorded(service, "given_up")}
        assert states["hooked-0"] == "Completed"

    def test_hooks_that_can_not_be_stored_are_called_here_and_a_warning_says_so(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        lock = threading.Lock()

        def hook(txn: Any) -> None:
            with lock:
                heard.append("undo")

        @flow
        def holds_a_lock() -> None:
            with transaction("k", ResultStore()) as txn:
                txn.stage(1, [hook])
                write(1)
                raise KeyError

        state = holds_a_lock(return_state=True)  # type: ignore[call-arg]  # an option of the call
        assert state.is_failed()
        assert heard == ["write 1", "undo"]
        (warning,) = [message for message in caplog.messages if "can not be stored" in message]
        assert warning.startswith("Hooks or values of transaction 'k' can not be stored: if this process dies")
        states = {run.status.name: run.status.state.name for run in recorded(service, "holds_a_lock")}
        assert states["write-0"] == states["transaction k-0"] == "RolledBack"

    @pytest.mark.parametrize("begin", ["map", "run", "submit"])
    @pytest.mark.parametrize("error", [False, True], ids=["committed", "rolled back"])
    def test_runs_that_functions_of_the_engine_begin_share_the_outcome(
        self, service: Service, begin: str, error: bool
    ) -> None:
        @flow
        async def begins() -> None:
            context = FlowRunContext.get()
            assert context is not None
            async with atransaction():
                if begin == "map":
                    await engine.begin_task_map(hooked, context, {"n": [1]})
                else:
                    run = await engine.create_task_run(hooked, "named", context, {"n": 1}, "key")
                    if begin == "run":
                        await engine.begin_task_run(hooked, run, {"n": 1})
                    else:
                        future: PlayheadFuture[Any] = PlayheadFuture(run.run_id, "named")
                        await engine.submit_task_run(hooked, future, context, {"n": 1}, run, None, context.task_runner)
                if error:
                    raise KeyError

        state = asyncio.run(begins(return_state=True))
        assert state.is_failed() == error
        assert heard == ["write 1", "undo" if error else "commit"]
        (run,) = [run for run in recorded(service, "begins") if run.spec.task_key == "hooked"]
        assert run.status.state.name == ("RolledBack" if error else "Completed")

    def test_async_flows_and_tasks(self, service: Service) -> None:
        @task
        async def awrite(n: int) -> None:
            await asyncio.sleep(0)
            heard.append(f"write {n}")

        @awrite.on_rollback
        async def aundo(txn: Any) -> None:
            await asyncio.sleep(0)
            heard.append("undo")

        @flow
        async def run() -> None:
            async with atransaction():
                await asyncio.gather(awrite(1), awrite(2))
                fail.submit(return_state=True)

        asyncio.run(run())
        assert heard[2:] == ["undo", "undo"]


class TestGuide:
    """The examples of a guide to Prefect 3.4, with their outcomes."""

    @pytest.mark.parametrize("broken", ["", "notification"])
    def test_transactional_workflow(self, service: Service, broken: str, capsys: pytest.CaptureFixture[str]) -> None:
        @task
        def update_database(data: str) -> str:
            print(f"Updating database with {data}")
            return f"Updated: {data}"

        @update_database.on_rollback
        def restore(txn: Any) -> None:
            heard.append("restored")

        @task
        def send_notification(message: str) -> str:
            if broken:
                raise ConnectionError("no network")
            print(f"Sending notification: {message}")
            return f"Sent: {message}"

        @task
        def log_audit(action: str) -> str:
            print(f"Audit log: {action}")
            return f"Logged: {action}"

        @flow
        def transactional_workflow(data: str) -> Any:
            try:
                with Transaction(key="data-update", timeout=300) as txn:
                    update_result = update_database(data)
                    notification_result = send_notification(f"Data updated: {data}")
                    audit_result = log_audit(f"Updated data for {data}")
                    return {
                        "update": update_result,
                        "notification": notification_result,
                        "audit": audit_result,
                        "transaction_id": txn.key,
                    }
            except Exception as e:
                return {"error": str(e), "status": "rolled_back"}

        result = transactional_workflow("x")
        states = {run.status.name: run.status.state.name for run in recorded(service, "transactional_workflow")}
        if broken:
            assert result == {"error": "no network", "status": "rolled_back"}
            assert heard == ["restored"]
            assert states["update_database-0"] == states["transaction data-update-0"] == "RolledBack"
            return
        assert result == {
            "update": "Updated: x",
            "notification": "Sent: Data updated: x",
            "audit": "Logged: Updated data for x",
            "transaction_id": "data-update",
        }
        assert states["transaction data-update-0"] == "Committed"
        printed = ["Updating database with x", "Sending notification: Data updated: x", "Audit log: Updated data for x"]
        assert capsys.readouterr().out.splitlines() == printed

    @pytest.mark.parametrize("broken", [False, True], ids=["committed", "rolled back"])
    def test_manual_transaction_example(self, service: Service, broken: bool) -> None:
        @task
        def update_database(data: str) -> str:
            if broken and data == "batch2":
                raise ConnectionError("no network")
            return f"Updated: {data}"

        ended: list[Transaction] = []

        @flow
        def manual_transaction_example() -> Any:
            txn = Transaction(key="manual-txn")
            ended.append(txn)
            try:
                txn.__enter__()
                result1 = update_database("batch1")
                result2 = update_database("batch2")
                txn.commit()
                return {"results": [result1, result2], "status": "committed"}
            except Exception as e:
                txn.rollback()
                return {"error": str(e), "status": "rolled_back"}
            finally:
                if not (txn.is_committed or txn.is_rolled_back):
                    txn.__exit__(None, None, None)

        result = manual_transaction_example()
        (txn,) = ended
        if broken:
            assert result == {"error": "no network", "status": "rolled_back"}
            assert txn.is_rolled_back
        else:
            assert result == {"results": ["Updated: batch1", "Updated: batch2"], "status": "committed"}
            assert txn.is_committed
        assert get_transaction() is None


def recorded(service: Service, name: str) -> list[Any]:
    """The task runs of the last run of a flow."""
    return service.task_runs(service.flow_runs(name.replace("_", "-"))[-1].spec.id)


BOUND_S = 60.0
"""What a test waits at most for what is to happen."""

SCRIPT = """
import os, signal, threading
from playhead import flow, task
from playhead.transactions import transaction

LOCK = threading.Lock()  # by value, it could not be pickled

@task
def work():
    pass

@work.on_rollback
def undo(txn):
    with LOCK, open("undone", "a") as file:
        file.write("undo\\n")
    if not os.environ.get("AGAIN"):
        os.kill(os.getpid(), signal.SIGKILL)

@flow
def killed_in_a_hook():
    with transaction():
        work()
        raise KeyError("oops")

if __name__ == "__main__":
    killed_in_a_hook()
"""


def test_a_hook_of_a_script_is_called_by_the_process_that_goes_on(service: Service, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PLAYHEAD_LEASE_TTL_S": "1"}
    first = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, check=False)
    assert first.returncode == -signal.SIGKILL
    run_id = service.flow_runs("killed-in-a-hook")[-1].spec.id
    # Its lease lapses, and with it all its task runs have crashed.
    assert state_wanted(service.client, run_id, lambda state: state.type == v1.CRASHED, BOUND_S).result()
    command = [sys.executable, "-m", "playhead.engine", run_id]
    subprocess.run(command, cwd=tmp_path, env={**environment, "AGAIN": "1"}, check=False)
    assert (tmp_path / "undone").read_text() == "undo\nundo\n"
    assert service.flow_run(run_id).status.state.message == "Flow run encountered an exception. KeyError: 'oops'"
    states = {run.status.name: run.status.state.name for run in recorded(service, "killed_in_a_hook")}
    assert states["work-0"] == states["transaction-0"] == "RolledBack"
