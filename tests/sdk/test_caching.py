"""Caching by policy: who finds whose result, in which run, and what switches it off. Sync and async, both services."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task
from playhead.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CachePolicy,
    CompoundCachePolicy,
)
from playhead.results import ResultStore
from playhead.tasks import task_input_hash
from playhead.transactions import CommitMode, transaction
from tests.sdk.conftest import Service


class Calls:
    """Tasks that note each call of their function, sync or async, and flows of the same kind."""

    def __init__(self, isasync: bool, place: Path) -> None:
        self.isasync = isasync
        self.seen: list[Any] = []
        self.name = f"counted-{place.name}"

    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """A task that gives its first argument; the name of its key is this test's own."""

        def counted(x: Any = None, y: Any = None) -> Any:
            self.seen.append(x)
            return x if function is None else function(x)

        async def counted_async(x: Any = None, y: Any = None) -> Any:
            return counted(x, y)

        made: Any = counted_async if self.isasync else counted
        made.__qualname__ = f"{self.name}-{options.pop('key', '')}"
        return task(**options)(made)

    def states(self, *calls: tuple[Any, ...], parameter: Any = None, **options: Any) -> list[str]:
        """The names of the states that calls, (task, arguments…), end in, in one flow run."""

        @flow(name=self.name, **options)
        def calling(parameter: Any) -> list[str]:
            return [called(*args, return_state=True).name for called, *args in calls]

        @flow(name=self.name, **options)
        async def calling_async(parameter: Any) -> list[str]:
            return [(await called(*args, return_state=True)).name for called, *args in calls]

        names: list[str] = asyncio.run(calling_async(parameter)) if self.isasync else calling(parameter)
        return names


@pytest.fixture(params=["sync", "async"])
def calls(request: pytest.FixtureRequest, service: Service, tmp_path: Path) -> Calls:
    """Tasks and flows of one kind, with a service of each kind."""
    return Calls(request.param == "async", tmp_path)


class TestPolicies:
    def test_inputs(self, calls: Calls) -> None:
        one = calls.task(cache_policy=INPUTS)
        assert calls.states((one, 1), (one, 1), (one, 2)) == ["Completed", "Cached", "Completed"]
        assert calls.states((one, 1), (one, 1, 3)) == ["Cached", "Completed"]
        assert calls.seen == [1, 2, 1]

    def test_inputs_but_for_one(self, calls: Calls) -> None:
        one = calls.task(cache_policy=INPUTS - "y")
        assert calls.states((one, 1, "a"), (one, 1, "b"), (one, 2, "a")) == ["Completed", "Cached", "Completed"]

    def test_two_tasks_never_share_by_inputs(self, calls: Calls) -> None:
        one, other = calls.task(cache_policy=INPUTS, key="one"), calls.task(cache_policy=INPUTS, key="other")
        assert calls.states((one, 1), (other, 1), (one, 1)) == ["Completed", "Completed", "Cached"]

    @pytest.mark.parametrize("policy", [RUN_ID, TASK_SOURCE, TASK_SOURCE + RUN_ID], ids=["run", "source", "both"])
    def test_nor_by_other_conditions(self, calls: Calls, policy: CachePolicy) -> None:
        one, other = calls.task(cache_policy=policy, key="one"), calls.task(cache_policy=policy, key="other")
        assert calls.states((one, 1), (other, 1), (one, 2)) == ["Completed", "Completed", "Cached"]

    def test_run_id(self, calls: Calls) -> None:
        one = calls.task(cache_policy=INPUTS + RUN_ID)
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Cached"]
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Cached"]

    def test_flow_parameters(self, calls: Calls) -> None:
        one = calls.task(cache_policy=FLOW_PARAMETERS)
        assert calls.states((one, 1), (one, 2), parameter={"p": 1}) == ["Completed", "Cached"]
        assert calls.states((one, 3), parameter={"p": 1}) == ["Cached"]
        assert calls.states((one, 4), parameter={"p": 2}) == ["Completed"]

    def test_a_key_function_is_shared_by_tasks(self, calls: Calls) -> None:
        policy = CachePolicy.from_cache_key_fn(lambda context, parameters: f"{calls.name}-{parameters['x']}")
        one, other = calls.task(cache_policy=policy, key="one"), calls.task(cache_policy=policy, key="other")
        assert calls.states((one, 1), (other, 1), (other, 2)) == ["Completed", "Cached", "Completed"]

    def test_a_key_function_within_one_run(self, calls: Calls) -> None:
        policy = CachePolicy.from_cache_key_fn(lambda context, parameters: calls.name) + RUN_ID
        one, other = calls.task(cache_policy=policy, key="one"), calls.task(cache_policy=policy, key="other")
        assert calls.states((one, 1), (other, 1)) == ["Completed", "Cached"]
        assert calls.states((other, 1)) == ["Completed"]

    def test_a_policy_of_ones_own(self, calls: Calls) -> None:
        class Monthly(CachePolicy):
            def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kwargs: Any) -> str:
                return f"{calls.name}-{inputs['x'][:7]}"

        one = calls.task(cache_policy=Monthly())
        days = [(one, "2024-02-28"), (one, "2024-02-29"), (one, "2024-03-01")]
        assert calls.states(*days) == ["Completed", "Cached", "Completed"]

    def test_submitted_and_mapped(self, calls: Calls) -> None:
        one = calls.task(cache_policy=INPUTS)

        @flow
        def submitting() -> list[str]:
            first = one.submit(1)
            first.wait()
            return [future.wait().name for future in (one.submit(1), *one.map([1, 2]))]

        assert submitting() == ["Cached", "Cached", "Completed"]


class Multiplier:
    """Tasks that are methods."""

    def __init__(self, by: int) -> None:
        self.by = by

    @task(cache_policy=INPUTS + RUN_ID)
    def times(self, n: int) -> int:
        return self.by * n

    @task(cache_policy=INPUTS - "self" + RUN_ID)
    def by_arguments(self, n: int) -> int:
        return self.by * n

    @task(cache_key_fn=task_input_hash)
    def hashed(self, n: int) -> int:
        return self.by * n


def test_a_method_is_a_call_of_its_object(service: Service) -> None:
    @flow
    def multiplying(which: str) -> list[int]:
        return [getattr(Multiplier(by), which)(n) for by, n in ((2, 1), (3, 1), (2, 1), (2, 2))]

    assert multiplying("times") == multiplying("hashed") == [2, 3, 2, 4]
    assert multiplying("by_arguments") == [2, 2, 2, 4]
    names = [run.status.state.name for run in service.task_runs(service.flow_runs("multiplying")[0].spec.id)]
    assert names == ["Completed", "Completed", "Cached", "Completed"]


class TestNoPolicy:
    def test_equal_calls_of_a_plain_task_are_calls(self, calls: Calls) -> None:
        one = calls.task()
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Completed"]

    def test_where_results_are_persisted_by_request_it_is_default(self, calls: Calls) -> None:
        one, other = calls.task(persist_result=True), calls.task(key="other")
        assert one.cache_policy is other.cache_policy is DEFAULT
        assert calls.states((one, 1), (one, 1), (one, 2), (other, 1)) == ["Completed", "Cached", *["Completed"] * 2]
        assert calls.states((one, 1), (other, 1), (other, 1), persist_result=True) == ["Completed"] * 2 + ["Cached"]

    def test_the_setting_asks_for_it_too(self, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLAYHEAD_RESULTS_PERSIST_BY_DEFAULT", "true")
        one = calls.task()
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Cached"]
        assert calls.states((one, 1), (one, 1), persist_result=False) == ["Completed", "Completed"]

    def test_a_plain_task_computes_no_key(self, embedded: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever it would cost, it would be in vain."""
        computed: list[str | None] = []
        compute_key = CompoundCachePolicy.compute_key

        def counting(self: CompoundCachePolicy, *args: Any, **kwargs: Any) -> str | None:
            computed.append(compute_key(self, *args, **kwargs))
            return computed[-1]

        monkeypatch.setattr(CompoundCachePolicy, "compute_key", counting)
        plain = task(lambda x: x, name="plain")
        flow(lambda: plain(1), name="calling")()
        plain.with_options(persist_result=True)(1)
        assert not computed, "outside of flow runs, DEFAULT is about nobody else"
        flow(lambda: plain(1), name="calling", persist_result=True)()
        assert len(computed) == 1

    @pytest.mark.parametrize("option", [{"cache_policy": None}, {"cache_policy": NO_CACHE}], ids=str)
    def test_a_task_can_refuse_it(self, calls: Calls, option: Any) -> None:
        one = calls.task(persist_result=True, **option)
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Completed"]


class TestSwitches:
    def test_default_no_cache(self, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLAYHEAD_TASKS_DEFAULT_NO_CACHE", "true")
        by_default, named = calls.task(persist_result=True), calls.task(cache_policy=INPUTS, key="named")
        assert calls.states((by_default, 1), (by_default, 1)) == ["Completed", "Completed"]
        assert calls.states((named, 1), (named, 1)) == ["Completed", "Cached"]

    def test_disable_caching(self, calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        named = calls.task(cache_policy=INPUTS)
        by_record = calls.task(key="record", result_storage=tmp_path / "r", result_storage_key="key")
        assert calls.states((named, 1), (by_record, 1)) == ["Completed", "Completed"]
        monkeypatch.setenv("PLAYHEAD_TASKS_DISABLE_CACHING", "true")
        assert calls.states((named, 1), (by_record, 1)) == ["Completed", "Completed"]
        monkeypatch.delenv("PLAYHEAD_TASKS_DISABLE_CACHING")
        assert calls.states((named, 1), (by_record, 1)) == ["Cached", "Cached"]

    @pytest.mark.parametrize("storage", [False, True], ids=["service", "key storage"])
    def test_refresh(self, calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, storage: bool) -> None:
        results = iter(range(10))
        policy = INPUTS.configure(key_storage=tmp_path / "keys") if storage else INPUTS
        one = calls.task(lambda _: next(results), cache_policy=policy)
        assert calls.states((one, 1), (one.with_options(refresh_cache=True), 1), (one, 1)) == [
            "Completed",
            "Completed",
            "Cached",
        ]
        monkeypatch.setenv("PLAYHEAD_TASKS_REFRESH_CACHE", "true")
        assert calls.states((one, 1), (one.with_options(refresh_cache=False), 1)) == ["Completed", "Cached"]

    @pytest.mark.parametrize("storage", [False, True], ids=["service", "key storage"])
    def test_expiration(self, calls: Calls, tmp_path: Path, storage: bool) -> None:
        policy = INPUTS.configure(key_storage=tmp_path / "keys") if storage else INPUTS
        for lifetime, second in ((dt.timedelta(seconds=-1), "Completed"), (dt.timedelta(days=1), "Cached")):
            one = calls.task(cache_policy=policy, cache_expiration=lifetime, key=second)
            assert calls.states((one, 1), (one, 1)) == ["Completed", second]


class TestWhatCanNotBeCached:
    def test_an_input_without_a_digest(self, calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
        one = calls.task(lambda _: 1, cache_policy=INPUTS)
        assert calls.states((one, threading.Lock()), (one, threading.Lock())) == ["Completed", "Completed"]
        assert "The run is not cached: 'x' can not be part of a cache key" in caplog.text

    def test_a_key_function_that_fails(self, calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
        one = calls.task(cache_key_fn=lambda context, parameters: parameters["unknown"])
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Completed"]
        assert "The cache key could not be computed, the run is not cached" in caplog.text
        assert "KeyError: 'unknown'" in caplog.text

    def test_a_result_that_can_not_be_stored(self, calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
        one = calls.task(lambda _: threading.Lock(), cache_policy=INPUTS)
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Completed"]
        assert "kept in memory only" in caplog.text

    def test_a_failure(self, calls: Calls) -> None:
        one = calls.task(lambda _: 1 // 0, cache_policy=INPUTS)

        assert calls.states((one, 1), (one, 1)) == ["Failed", "Failed"]

    def test_a_task_with_a_policy_is_stored_also_where_its_flow_stores_nothing(self, calls: Calls) -> None:
        one = calls.task(cache_policy=INPUTS)
        assert calls.states((one, 1), (one, 1), persist_result=False) == ["Completed", "Cached"]


class TestKeyStorage:
    """Keys in a place of their own, that several services can share."""

    @pytest.fixture
    def policy(self, tmp_path: Path) -> CachePolicy:
        """A policy with keys in a folder."""
        return INPUTS.configure(key_storage=tmp_path / "keys")

    def test_is_looked_in_by_the_runs_themselves(self, calls: Calls, policy: CachePolicy, tmp_path: Path) -> None:
        one = calls.task(cache_policy=policy, result_storage=tmp_path / "results")
        assert calls.states((one, 1), (one, 1), (one, 2)) == ["Completed", "Cached", "Completed"]
        records = [path for path in (tmp_path / "keys").rglob("*") if path.is_file()]
        assert len(records) == 2
        assert all(ResultStore(tmp_path / "keys").exists(path.name) for path in records)

    def test_is_shared_by_services(
        self, calls: Calls, policy: CachePolicy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        one = calls.task(cache_policy=policy)
        assert calls.states((one, 1)) == ["Completed"]
        monkeypatch.delenv("PLAYHEAD_API_URL", raising=False)
        monkeypatch.setenv("PLAYHEAD_DATABASE", str(tmp_path / "another.db"))
        assert calls.states((one, 1)) == ["Cached"]

    def test_damage_is_told_and_mended(
        self, calls: Calls, policy: CachePolicy, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        one = calls.task(cache_policy=policy, result_storage=tmp_path / "results")
        for place in ("keys", "results"):
            calls.states((one, 1))
            (path,) = (path for path in (tmp_path / place).rglob("*") if path.is_file())
            path.write_bytes(path.read_bytes()[:-1])
            caplog.clear()
            assert calls.states((one, 1), (one, 1)) == ["Completed", "Cached"]
            assert "altered or cut short" in caplog.text

    def test_a_place_that_can_not_be_reached_is_told(self, calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
        one = calls.task(cache_policy=INPUTS.configure(key_storage="nowhere://"))
        assert calls.states((one, 1), (one, 1)) == ["Completed", "Completed"]
        assert "can not be read: No results can be stored at or read from nowhere://" in caplog.text
        assert "is not shared under the key" in caplog.text
        assert "in memory only" not in caplog.text

    def test_a_resumed_run_keeps_its_own_result(self, service: Service, policy: CachePolicy) -> None:
        results = iter(range(10))
        made = task(lambda: next(results), name="made", cache_policy=policy + RUN_ID)

        @flow(retries=1)
        def retried() -> list[int]:
            found = [made(), made()]
            if service.flow_runs("retried")[-1].status.run_count == 1:
                raise ValueError("again")
            return found

        assert retried() == [0, 0]
        run = service.flow_runs("retried")[-1]
        names = [service.state_names(task_run=task_run.spec.id) for task_run in service.task_runs(run.spec.id)]
        assert names == [["Pending", "Running", "Completed"], ["Pending", "Cached"]]


class TestInTransactions:
    """A result that is rolled back is shared with nobody, wherever its key is."""

    @pytest.fixture(params=["service", "key storage", "storage key"])
    def options(self, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
        """Options of a task that shares its results."""
        choices: dict[str, dict[str, Any]] = {
            "service": {"cache_policy": INPUTS},
            "key storage": {"cache_policy": INPUTS.configure(key_storage=tmp_path / "keys")},
            "storage key": {"result_storage": tmp_path / "results", "result_storage_key": "key-{parameters[x]}"},
        }
        return choices[request.param]

    def test_it_is_shared_once_it_is_committed(self, service: Service, tmp_path: Path, options: Any) -> None:
        made = Calls(False, tmp_path).task(**options)

        @flow
        def writing(rolled_back: bool) -> None:
            with transaction(commit_mode=CommitMode.OFF if rolled_back else None):
                assert made(tmp_path.name, return_state=True).name == "Completed"

        for rolled_back in (True, False):
            writing(rolled_back)
        assert made(tmp_path.name, return_state=True).name == "Cached"

    def test_a_run_that_calls_it_and_fails_takes_it_back(self, service: Service, tmp_path: Path, options: Any) -> None:
        made = Calls(False, tmp_path).task(**options)

        @task
        def around(fails: bool) -> None:
            with transaction():
                assert made(tmp_path.name, return_state=True).name == "Completed"
                assert not fails

        @flow
        def calling() -> list[str]:
            return [around(fails, return_state=True).name for fails in (True, False)]

        assert calling() == ["Failed", "Completed"]
        assert made(tmp_path.name, return_state=True).name == "Cached"
