"""Result stores: values under keys, in folders and elsewhere, with locks."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from playhead.exceptions import ConfigurationError, CorruptResult, MissingResult, SerializationError
from playhead.locking.filesystem import FileSystemLockManager
from playhead.locking.memory import MemoryLockManager
from playhead.locking.protocol import IsolationLevel
from playhead.records import KEY_SEGMENT_BYTES_MAX
from playhead.results import (
    INLINE_BYTES_MAX,
    ResultStore,
    get_default_result_serializer,
    get_default_result_storage,
    get_result_store,
    should_persist_result,
)
from playhead.serializers import JSONSerializer
from playhead.storage import local_folder

LARGE = "x" * (INLINE_BYTES_MAX + 1)
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(params=["folder", "path", "file URL", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Somewhere to store results."""
    folder = tmp_path / "a folder%20"
    return {
        "folder": str(folder),
        "path": folder,
        "file URL": folder.as_uri(),
        "memory": f"memory://{tmp_path.name}",
    }[request.param]


def files_in(place: Any) -> list[str]:
    """The names of all files that are stored there, below the place."""
    folder = local_folder(str(place))
    system, root = fsspec.core.url_to_fs(str(folder or place))
    return [name.removeprefix(root).lstrip("/") for name in system.find(root)]


class TestReadingAndWriting:
    def test_what_is_written_under_a_key_is_read_under_it(self, place: Any) -> None:
        store = ResultStore(place)
        assert not store.exists("key")
        for value in ("small", LARGE, {1, 2}):
            store.write(value, "key")
            assert store.exists("key")
            assert ResultStore(place).read("key").result == value

    def test_the_same_without_blocking_an_event_loop(self, place: Any) -> None:
        async def trying() -> None:
            store = ResultStore(place)
            assert not await store.aexists("key")
            await store.awrite(LARGE, "key")
            assert await store.aexists("key")
            assert (await store.aread("key")).result == LARGE
            await store.apersist_result_record(store.create_result_record(1, "other"))
            assert (await store.aread("other")).result == 1

        asyncio.run(trying())

    def test_nothing_under_a_key_is_said_so(self, place: Any) -> None:
        with pytest.raises(MissingResult, match="no result under the key 'key'"):
            ResultStore(place).read("key")

    def test_values_are_stored_once_and_never_changed(self, place: Any) -> None:
        store = ResultStore(place)
        state = store.store(LARGE)
        store.write(LARGE, "one")
        store.write(LARGE, "two")
        assert len(files_in(place)) == 3
        store.write("other", "one")
        assert store.store(LARGE) == state
        assert store.read("two").result == LARGE

    def test_keys_may_be_paths_but_lead_nowhere_else(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path / "in")
        store.write(1, "a/b.json")
        assert (tmp_path / "in" / "a" / "b.json").is_file()
        for key in ("", "/", "/etc/x", "a/../../x", "..", "a//b", "s3://b/x", "line\nbreak"):
            for act in (store.exists, store.read, lambda key: store.write(1, key or "/")):
                with pytest.raises(ValueError, match="not a relative path"):
                    act(key)

    def test_a_long_key_is_a_key_too(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path)
        keys = ["ü" * 150, "ü" * 149 + "u", "folder/" + "x" * 2_000]
        for key in keys:
            store.write(key, key)
        assert [store.read(key).result for key in keys] == keys
        assert all(len(part) <= KEY_SEGMENT_BYTES_MAX for name in files_in(tmp_path) for part in name.split("/"))

    def test_keys_that_are_not_given_are_made(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path)
        one, other = store.create_result_record(1), store.create_result_record(1)
        assert one.metadata.storage_key != other.metadata.storage_key
        assert ResultStore(storage_key_fn=lambda: "mine").create_result_record(1).metadata.storage_key == "mine"

    def test_what_expires_is_not_there_any_more(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path)
        store.write(1, "over", NOW - dt.timedelta(seconds=1))
        store.write(2, "valid", NOW + dt.timedelta(days=1))
        assert (store.exists("over"), store.exists("valid")) == (False, True)
        assert store.read("over").result == 1
        assert store.read("valid").expiration == NOW + dt.timedelta(days=1)

    def test_records_can_be_kept_elsewhere(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path / "values", metadata_storage=tmp_path / "records")
        store.write(LARGE, "key")
        assert files_in(tmp_path / "records") == ["key"]
        assert len(files_in(tmp_path / "values")) == 1
        assert store.read("key").result == LARGE

    def test_a_record_is_read_by_what_it_says_whatever_the_stores_serializer(self, place: Any) -> None:
        for serializer in ("pickle", "json", "compressed/pickle", "compressed/json", JSONSerializer(), None):
            ResultStore(place, serializer=serializer).write({"a": [1]}, "key")  # type: ignore[arg-type]  # names too
            assert ResultStore(place).read("key").result == {"a": [1]}

    def test_a_value_that_can_not_be_stored_leaves_what_is_there(self, place: Any) -> None:
        store = ResultStore(place)
        store.write(1, "key")
        with pytest.raises(SerializationError, match="lock"):
            store.write(threading.Lock(), "key")
        assert store.read("key").result == 1

    def test_what_is_no_place_is_refused(self) -> None:
        with pytest.raises(TypeError, match="result_storage: expected a folder or an fsspec URL, got int"):
            ResultStore(1)  # type: ignore[arg-type]  # what is refused


class TestDamage:
    @pytest.mark.parametrize("which", ["record", "value"])
    @pytest.mark.parametrize("damage", ["alter", "cut short", "empty"])
    def test_it_is_reported_and_what_is_damaged_never_returned(self, tmp_path: Path, which: str, damage: str) -> None:
        store = ResultStore(tmp_path)
        store.write(LARGE, "key")
        record, value = tmp_path / "key", next(path for path in tmp_path.glob("*/*") if path.is_file())
        path = record if which == "record" else value
        data = path.read_bytes()
        middle = len(data) // 2
        path.write_bytes(
            {"alter": data[:middle] + b"0" + data[middle + 1 :], "cut short": data[:-1], "empty": b""}[damage]
        )
        with pytest.raises(CorruptResult, match="altered or cut short") as error:
            store.read("key")
        assert path.as_uri() in str(error.value)

    def test_a_damaged_record_counts_as_none(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        store = ResultStore(tmp_path)
        store.write(1, "key")
        (tmp_path / "key").write_text("{}")
        assert not store.exists("key")
        assert "was altered or cut short" in caplog.text
        store.write(1, "key")
        assert store.exists("key")

    def test_every_altered_field_of_a_record_is_noticed(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path)
        store.write(1, "key", NOW)
        whole = json.loads((tmp_path / "key").read_text())
        for name in whole["record"]:
            altered = {**whole, "record": {**whole["record"], name: None}}
            (tmp_path / "key").write_text(json.dumps(altered))
            with pytest.raises(CorruptResult):
                store.read("key")

    def test_the_record_of_another_key_is_noticed(self, tmp_path: Path) -> None:
        store = ResultStore(tmp_path)
        store.write(1, "one")
        (tmp_path / "one").rename(tmp_path / "two")
        with pytest.raises(CorruptResult, match="'two'"):
            store.read("two")


@pytest.fixture(params=["memory", "folder"])
def locking(request: pytest.FixtureRequest, tmp_path: Path) -> ResultStore:
    """A store with a lock manager."""
    manager = MemoryLockManager() if request.param == "memory" else FileSystemLockManager(tmp_path / "locks")
    return ResultStore(tmp_path / "results", lock_manager=manager)


class TestLocks:
    def test_the_store_hands_on_to_its_lock_manager(self, locking: ResultStore) -> None:
        assert locking.acquire_lock("key", "me")
        assert locking.is_locked("key")
        assert locking.is_lock_holder("key", "me")
        assert not locking.is_lock_holder("key", "you")
        assert not locking.acquire_lock("key", "you", timeout=0)
        assert not locking.wait_for_lock("key", timeout=0)
        with pytest.raises(ValueError, match="you"):
            locking.release_lock("key", "you")
        locking.release_lock("key", "me")
        assert locking.wait_for_lock("key", timeout=0)

    def test_and_in_event_loops(self, locking: ResultStore) -> None:
        async def trying() -> None:
            assert await locking.aacquire_lock("key", "me")
            assert not await locking.aacquire_lock("key", "you", timeout=0)
            assert not await locking.await_for_lock("key", timeout=0)
            locking.release_lock("key", "me")
            assert await locking.await_for_lock("key", timeout=0)

        asyncio.run(trying())

    def test_unless_named_the_holder_is_the_thread(self, locking: ResultStore) -> None:
        assert locking.acquire_lock("key")
        assert locking.is_lock_holder("key")
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(locking.is_lock_holder, "key").result()
        locking.release_lock("key")

    def test_nobody_writes_what_another_one_has_locked(self, locking: ResultStore) -> None:
        locking.acquire_lock("key", "me")
        with pytest.raises(RuntimeError, match="'key' is locked by another holder"):
            locking.write(1, "key", holder="you")
        locking.write(2, "key", holder="me")
        assert locking.read("key", "me").result == 2
        locking.release_lock("key", "me")
        locking.write(3, "key", holder="you")

    def test_who_reads_waits_for_who_writes(self, locking: ResultStore) -> None:
        locking.acquire_lock("key", "writer")
        locking.write("before", "key", holder="writer")
        with ThreadPoolExecutor(2) as pool:
            readings = [
                pool.submit(locking.read, "key"),
                pool.submit(lambda: asyncio.run(locking.aread("key"))),
            ]
            locking.write("after", "key", holder="writer")
            locking.release_lock("key", "writer")
            assert [reading.result().result for reading in readings] == ["after", "after"]

    def test_without_a_lock_manager_there_are_no_locks(self) -> None:
        store = ResultStore()
        assert store.supports_isolation_level(IsolationLevel.READ_COMMITTED)
        assert not store.supports_isolation_level(IsolationLevel.SERIALIZABLE)
        for act in (store.acquire_lock, store.release_lock, store.is_locked, store.is_lock_holder, store.wait_for_lock):
            with pytest.raises(ConfigurationError, match="no lock manager"):
                act("key")

    def test_with_one_it_can_be_serializable(self, locking: ResultStore) -> None:
        assert all(locking.supports_isolation_level(level) for level in IsolationLevel)


class TestWhichStore:
    def test_outside_of_runs_it_is_that_of_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLAYHEAD_RESULTS_URL", "memory://everywhere")
        assert get_default_result_storage() == get_result_store().url == "memory://everywhere"
        assert get_default_result_serializer() is get_result_store().serializer is None
        assert should_persist_result() is True
        monkeypatch.setenv("PLAYHEAD_RESULTS_DEFAULT_SERIALIZER", "json")
        monkeypatch.setenv("PLAYHEAD_RESULTS_PERSIST_BY_DEFAULT", "false")
        assert get_default_result_serializer() == get_result_store().serializer == JSONSerializer()
        assert should_persist_result() is False

    def test_a_setting_that_names_no_serializer_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLAYHEAD_RESULTS_DEFAULT_SERIALIZER", "yaml")
        with pytest.raises(ConfigurationError, match="PLAYHEAD_RESULTS_DEFAULT_SERIALIZER: There is no serializer"):
            get_result_store()
