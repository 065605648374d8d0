"""Caching, results and how they are stored."""

from __future__ import annotations

import datetime as dt
import math
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.exceptions import CorruptResult, MissingResult, SerializationError, UnreadableException
from playhead.results import INLINE_BYTES_MAX, ResultStore
from playhead.serialization import JSON, PICKLE, is_json_exact
from playhead.serializers import dumps, loads
from playhead.states import Completed, State, Unstored
from playhead.stored_results import StoredResult, read_bytes
from playhead.tasks import task_input_hash
from tests.sdk.conftest import Service


class Awkward(Exception):
    """An exception that can be pickled, but not made again from its pickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")

    def __reduce__(self) -> Any:
        # As by default; but Dask, once it is loaded, has exceptions made again without their constructor.
        return Awkward, self.args


class TestCaching:
    def test_a_result_is_shared_across_flow_runs(self, service: Service) -> None:
        said = []

        @task(cache_key_fn=task_input_hash, cache_expiration=dt.timedelta(minutes=1))
        def hello(name: str) -> str:
            said.append(name)
            return "hello " + name

        @flow
        def greeting(name: str) -> Any:
            return hello(name, return_state=True)

        names = [greeting(name).__str__() for name in ("Marvin", "Marvin", "Trillian")]
        assert said == ["Marvin", "Trillian"]
        assert names == ["hello Marvin", "hello Marvin", "hello Trillian"]
        runs = [service.task_runs(run.spec.id)[0].status for run in service.flow_runs("greeting")]
        assert [run.state.name for run in runs] == ["Completed", "Cached", "Completed"]

    def test_the_users_own_key_decides(self, service: Service) -> None:
        seen = []

        @task(cache_key_fn=lambda context, parameters: f"{context.task.name}-{sum(parameters['nums'])}")
        def expensive(nums: list[int]) -> int:
            seen.append(nums)
            return sum(nums)

        @flow
        def caching() -> list[int]:
            return [expensive([2, 2]), expensive([1, 3]), expensive.submit([4]).result(), expensive([2, 3])]

        assert caching() == [4, 4, 4, 5]
        assert seen == [[2, 2], [2, 3]]

    def test_no_key_means_no_caching(self, service: Service) -> None:
        seen = []

        @task(cache_key_fn=lambda context, parameters: None)
        def uncached() -> None:
            seen.append(1)

        @flow
        def calling() -> None:
            uncached()
            uncached()

        calling()
        assert len(seen) == 2

    def test_a_refreshed_result_replaces_the_shared_one(self, service: Service) -> None:
        counter = iter(range(10))

        @task(cache_key_fn=lambda context, parameters: "refreshed-key")
        def counting() -> int:
            return next(counter)

        @flow
        def refreshing() -> list[int]:
            return [counting(), counting(), counting.with_options(refresh_cache=True)(), counting()]

        assert refreshing() == [0, 0, 1, 1]

    def test_an_expired_result_is_not_shared(self, service: Service) -> None:
        counter = iter(range(10))

        @task(cache_key_fn=lambda context, parameters: "expired-key", cache_expiration=dt.timedelta(seconds=-1))
        def counting() -> int:
            return next(counter)

        @flow
        def expiring() -> list[int]:
            return [counting(), counting()]

        assert expiring() == [0, 1]

    def test_the_input_hash_tells_tasks_and_arguments_apart(self) -> None:
        class Context:
            def __init__(self, task: Any) -> None:
                self.task = task

        @task
        def one(x: Any) -> Any:
            return x

        @task
        def two(x: Any) -> Any:
            return [x]

        keys = [
            task_input_hash(Context(which), {"x": value})
            for which in (one, two)
            for value in (1, "1", {"a": 1}, (1,), [1])
        ]
        assert len(set(keys)) == len(keys)
        assert task_input_hash(Context(one), {"x": {"a": 1, "b": 2}}) == task_input_hash(
            Context(one), {"x": {"b": 2, "a": 1}}
        )
        assert task_input_hash(Context(one), {"x": threading.Lock()}) is None


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**70), 1.5, "text \ud800 \0", [], [1, [2]], {}, {"a": {"b": [None]}}],
    ids=repr,
)
def test_json_exact_values_travel_as_json(value: Any) -> None:
    data, media_type = dumps(value)
    assert media_type == JSON
    again = loads(data, media_type)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("value", [(1,), {1: 2}, {1}, b"x", math.inf, dt.date(2024, 2, 29), {"a": (1,)}], ids=repr)
def test_other_values_are_pickled(value: Any) -> None:
    data, media_type = dumps(value)
    assert media_type == PICKLE
    assert loads(data, media_type) == value


def test_nan_bool_like_ints_and_self_reference_are_not_json() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert not is_json_exact(math.nan)
    assert not is_json_exact(endless)
    assert loads(*dumps(endless))[0] is not None


class TestStorage:
    def test_where_no_storage_is_named_small_values_are_inline(self, tmp_path: Path) -> None:
        assert ResultStore().store("x" * 100).HasField("inline")
        assert ResultStore(tmp_path).store("x" * 100).HasField("reference")

    def test_values_are_stored_under_their_digest(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path)
        large = "x" * INLINE_BYTES_MAX
        first, second = store.store(large), store.store(large)
        assert first.reference.url == second.reference.url
        assert StoredResult(first).get() == large
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1

    @pytest.mark.parametrize("damage", ["alter", "truncate", "remove"])
    def test_a_damaged_file_is_reported_and_never_returned(self, tmp_path: Path, damage: str) -> None:
        result = ResultStore(str(tmp_path)).store("x" * INLINE_BYTES_MAX)
        (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
        data = path.read_bytes()
        if damage == "alter":
            path.write_bytes(b"Y" + data[1:])
        elif damage == "truncate":
            path.write_bytes(data[:-1])
        else:
            path.unlink()
        with pytest.raises(CorruptResult):
            StoredResult(result).get()

    def test_a_url_of_another_kind_goes_through_fsspec(self) -> None:
        result = ResultStore("memory://results").store("x" * INLINE_BYTES_MAX)
        assert result.reference.url.startswith("memory://results/")
        assert len(read_bytes(result)) == INLINE_BYTES_MAX + 2

    def test_a_folder_with_a_space_and_a_percent_sign(self, tmp_path: Path) -> None:
        result = ResultStore(str(tmp_path / "a b%20c")).store("x" * INLINE_BYTES_MAX)
        assert StoredResult(result).get() == "x" * INLINE_BYTES_MAX

    def test_unknown_media_types_are_refused(self) -> None:
        with pytest.raises(CorruptResult, match="media type"):
            StoredResult(v1.Result(inline=b"1", media_type="application/x-other")).get()

    def test_large_results_of_flows_and_tasks(self, service: Service) -> None:
        @task
        def large() -> bytes:
            return b"x" * 100_000

        @flow
        def passing() -> int:
            return len(large.submit().result())

        assert passing() == 100_000
        state = service.task_runs(service.flow_runs("passing")[-1].spec.id)[0].status.state
        assert state.result.reference.url.startswith("file://")
        assert len(StoredResult(state.result).get()) == 100_000


class TestWhatCanNotBeStored:
    def test_it_stays_in_memory_with_a_warning(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        @task
        def lock() -> Any:
            return threading.Lock()

        @flow
        def locking() -> bool:
            return lock.submit().result().acquire() and lock().acquire()

        assert locking() is True
        assert "kept in memory only" in caplog.text
        run = service.task_runs(service.flow_runs("locking")[-1].spec.id)[0]
        assert run.status.state.name == "Completed"
        assert not run.status.state.HasField("result")

    def test_it_fails_where_persistence_was_asked_for(self, service: Service) -> None:
        @task(persist_result=True)
        def lock() -> Any:
            return threading.Lock()

        @flow
        def locking() -> None:
            with pytest.raises(SerializationError):
                lock()

        locking()

    def test_nothing_is_stored_where_that_was_asked_for(self, service: Service) -> None:
        @task(persist_result=False)
        def secret() -> str:
            return "s3cret"

        @flow(persist_result=False)
        def hiding() -> str:
            return str(secret())

        assert hiding() == "s3cret"
        run = service.flow_runs("hiding")[-1]
        assert not run.status.state.HasField("result")
        assert not service.task_runs(run.spec.id)[0].status.state.HasField("result")

    def test_taken_to_another_process_it_is_missing(self) -> None:
        state: State[Any] = pickle.loads(pickle.dumps(Completed(data=Unstored(1))))
        with pytest.raises(MissingResult):
            state.result()


class TestExceptions:
    def test_they_are_stored_with_their_type_message_and_traceback(self, service: Service) -> None:
        @flow
        def failing() -> None:
            raise KeyError("gone")

        failing(return_state=True)
        stored = StoredResult(service.flow_runs("failing")[-1].status.state.result)
        assert isinstance(stored.get(), KeyError)
        assert b'"type": "KeyError"' in read_bytes(stored.message)
        assert b"Traceback" in read_bytes(stored.message)

    def test_one_that_can_not_be_made_again_is_told_as_text(self) -> None:
        data, media_type = dumps(Awkward("one", "two"))
        error = loads(data, media_type)
        assert isinstance(error, UnreadableException)
        assert (str(error), error.type_name) == ("Awkward: one two", "Awkward")
        assert "Awkward" in error.traceback_text

    def test_one_that_can_not_be_pickled_is_told_as_text(self) -> None:
        error = loads(*dumps(ValueError(threading.Lock())))
        assert isinstance(error, UnreadableException)
