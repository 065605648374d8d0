"""Where and how the results of flows and tasks are stored, by their options and those of the flows around."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from playhead import flow, task, v1
from playhead.cache_policies import INPUTS, NO_CACHE
from playhead.exceptions import ConfigurationError, SerializationError
from playhead.results import ResultStore, get_result_store, should_persist_result
from playhead.serialization import JSON, PICKLE
from playhead.serializers import OBJECTS, CompressedSerializer, JSONSerializer, PickleSerializer
from playhead.stored_results import StoredResult
from tests.sdk.conftest import Service

VALUE = {"a": [1, 2]}


def results(service: Service, name: str) -> tuple[v1.State, list[v1.State]]:
    """The last run's state of a flow, and those of its task runs."""
    run = service.flow_runs(name)[-1]
    return run.status.state, [each.status.state for each in service.task_runs(run.spec.id)]


class TestResultStorage:
    @pytest.mark.parametrize("kind", ["folder", "path", "file URL", "memory"])
    def test_is_a_folder_or_a_url(self, service: Service, tmp_path: Path, kind: str) -> None:
        folder = tmp_path / "some results"
        url = f"memory://{tmp_path.name}-{service.__class__.__name__}"
        place = {"folder": str(folder), "path": folder, "file URL": folder.as_uri(), "memory": url}[kind]

        @task(result_storage=place)
        def made() -> dict[str, list[int]]:
            return VALUE

        @flow(name=f"making-{kind}".replace(" ", "-"))
        def making() -> Any:
            return made()

        assert making() == VALUE
        whole, (of_task,) = results(service, making.name)
        assert whole.result.HasField("inline")
        assert of_task.result.reference.url.startswith(url if kind == "memory" else folder.as_uri())
        assert StoredResult(of_task.result).get() == VALUE

    def test_of_a_flow_holds_for_what_it_calls(self, service: Service, tmp_path: Path) -> None:
        @task
        def made() -> int:
            return 1

        @flow
        def inner() -> Any:
            return made()

        @flow(result_storage=tmp_path / "outer")
        def outer() -> Any:
            return inner() + made.with_options(result_storage=tmp_path / "own")()

        assert outer() == 2
        whole, states = results(service, "outer")
        below, (of_task,) = results(service, "inner")
        urls = [state.result.reference.url for state in (whole, *states, below, of_task)]
        expected = ["outer", "outer", "own", "outer", "outer"]
        assert [url.startswith((tmp_path / place).as_uri()) for url, place in zip(urls, expected, strict=True)]
        assert all(urls)

    def test_a_relative_folder_stays_the_same_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert task(result_storage="here")(lambda: 1).result_storage == str(tmp_path / "here")
        assert flow(result_storage=Path("here"))(lambda: 1).result_storage == str(tmp_path / "here")

    def test_a_place_that_can_not_be_reached_fails_the_run(self, service: Service) -> None:
        ran: list[int] = []

        @task(result_storage="nowhere://bucket")
        def made() -> None:
            ran.append(1)

        with pytest.raises(ConfigurationError, match=r"No results can be stored at .*nowhere://bucket/.*not known"):
            made()
        assert ran == [1]

    @pytest.mark.parametrize("decorator", [flow, task])
    def test_what_is_no_place_is_refused(self, decorator: Callable[..., Any]) -> None:
        with pytest.raises(TypeError, match="result_storage: expected a folder or an fsspec URL, got int"):
            decorator(result_storage=1)(lambda: 1)


class TestResultSerializer:
    @pytest.mark.parametrize(
        ("serializer", "media_type"),
        [
            ("pickle", PICKLE),
            ("json", OBJECTS),
            (JSONSerializer(), OBJECTS),
            ("compressed/json", f"{OBJECTS}; compression=lzma"),
            (CompressedSerializer(PickleSerializer(), "bz2"), f"{PICKLE}; compression=bz2"),
            (None, JSON),
        ],
        ids=str,
    )
    def test_of_flows_and_tasks(self, embedded: Service, serializer: Any, media_type: str) -> None:
        @task(result_serializer=serializer)
        def made() -> dict[str, list[int]]:
            return VALUE

        @flow(result_serializer=serializer)
        def making() -> Any:
            return made()

        assert making() == VALUE
        whole, states = results(embedded, "making")
        assert {state.result.media_type for state in (whole, *states)} == {media_type}
        assert StoredResult(whole.result).get() == VALUE

    def test_of_a_flow_holds_for_what_it_calls(self, service: Service) -> None:
        @task(cache_policy=NO_CACHE)
        def made() -> int:
            return 1

        @flow
        def below() -> Any:
            return made()

        @flow(result_serializer="pickle")
        def above() -> Any:
            return below() + made() + made.with_options(result_serializer="json")()

        above()
        whole, states = results(service, "above")
        inner, (of_task,) = results(service, "below")
        found = [state.result.media_type for state in (whole, *states, inner, of_task)]
        assert found == [PICKLE, PICKLE, PICKLE, OBJECTS, PICKLE, PICKLE]

    def test_the_setting_holds_where_nothing_is_said(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLAYHEAD_RESULTS_DEFAULT_SERIALIZER", "compressed/pickle")

        @task
        def made() -> int:
            return 1

        @flow(name="by-setting")
        def by_setting() -> Any:
            return made()

        by_setting()
        whole, states = results(service, "by-setting")
        assert {state.result.media_type for state in (whole, *states)} == {f"{PICKLE}; compression=lzma"}

    def test_a_value_that_it_has_no_form_for_fails_the_run(self, service: Service) -> None:
        @task(result_serializer="json")
        def made() -> Any:
            return threading.Lock()

        with pytest.raises(SerializationError, match=r"A value of type lock has no JSON form"):
            made()

    def test_errors_keep_their_form(self, service: Service) -> None:
        @flow(name="failing-json", result_serializer="json")
        def failing() -> None:
            raise KeyError("gone")

        failing(return_state=True)
        whole, _ = results(service, "failing-json")
        assert isinstance(StoredResult(whole.result).get(), KeyError)

    @pytest.mark.parametrize("decorator", [flow, task])
    def test_unknown_names_are_refused(self, decorator: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="no serializer 'yaml'"):
            decorator(result_serializer="yaml")(lambda: 1)


class TestPersistResult:
    @pytest.mark.parametrize("of_flow", [None, True, False])
    @pytest.mark.parametrize("of_task", [None, True, False])
    def test_a_task_does_as_its_flow_unless_it_says_otherwise(
        self, embedded: Service, of_flow: bool | None, of_task: bool | None
    ) -> None:
        seen: list[bool] = []

        @task(persist_result=of_task)
        def made() -> int:
            seen.append(should_persist_result())
            return 1

        @flow
        def below() -> Any:
            seen.append(should_persist_result())
            return made()

        @flow(persist_result=of_flow)
        def above() -> Any:
            seen.append(should_persist_result())
            return below()

        above()
        whole, _ = results(embedded, "above")
        inner, (of_run,) = results(embedded, "below")
        flows_do = of_flow is not False
        tasks_do = flows_do if of_task is None else of_task
        assert seen == [flows_do, flows_do, tasks_do]
        assert [state.HasField("result") for state in (whole, inner, of_run)] == seen

    def test_true_of_a_flow_holds_its_tasks_to_it(self, service: Service) -> None:
        @task
        def lock() -> Any:
            return threading.Lock()

        @flow(persist_result=True)
        def strict() -> None:
            lock()

        with pytest.raises(SerializationError):
            strict()


class TestCacheResultInMemory:
    @pytest.mark.parametrize("of_flow", [True, False])
    @pytest.mark.parametrize("of_task", [True, False])
    def test_without_it_values_are_read_each_time(
        self, service: Service, tmp_path: Path, of_flow: bool, of_task: bool
    ) -> None:
        @task(cache_result_in_memory=of_task)
        def made() -> list[int]:
            return [1]

        @flow(cache_result_in_memory=of_flow, result_storage=tmp_path)
        def making() -> Any:
            state = made(return_state=True)
            one, two = state.result(), state.result()
            return one == two == [1], one is two

        assert making() == (True, of_flow and of_task)

    def test_a_value_that_is_not_stored_is_in_memory_all_the_same(self, service: Service) -> None:
        @task(cache_result_in_memory=False, persist_result=False)
        def made() -> list[int]:
            return [1]

        assert made() == [1]


class TestResultStorageKey:
    def test_is_a_template_over_the_run_and_its_parameters(self, service: Service, tmp_path: Path) -> None:
        key = "{flow_run.flow_name}/{flow_run.parameters[day]}/{parameters[n]:03}-{task_run.task_name}.json"

        @task(result_storage=tmp_path, result_storage_key=key)
        def made(n: int) -> int:
            return n * 2

        @flow(name="templated")
        def templated(day: str) -> list[int]:
            return [made(1), made.submit(2).result()]

        assert templated("monday") == [2, 4]
        store = ResultStore(tmp_path)
        assert store.read("templated/monday/001-made.json").result == 2
        assert store.read("templated/monday/002-made.json").result == 4

    def test_a_result_that_is_there_already_is_found(self, service: Service, tmp_path: Path) -> None:
        ran: list[int] = []

        @task(result_storage=tmp_path, result_storage_key="{parameters[n]}")
        def made(n: int) -> int:
            ran.append(n)
            return n

        @flow
        def finding() -> list[str]:
            return [made(n, return_state=True).name for n in (1, 1, 2)]

        assert finding() == ["Completed", "Cached", "Completed"]
        assert made(1, return_state=True).name == "Cached"
        ResultStore(tmp_path).write("by hand", "3")
        assert made(3) == "by hand"
        assert ran == [1, 2]

    def test_a_damaged_one_is_made_again(
        self, service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        @task(result_storage=tmp_path, result_storage_key="key")
        def made() -> int:
            return 1

        made()
        (tmp_path / "key").write_text("{}")
        assert made(return_state=True).name == "Completed"
        assert "altered or cut short" in caplog.text
        assert made(return_state=True).name == "Cached"

    def test_a_later_result_leaves_the_earlier_states_whole(self, service: Service, tmp_path: Path) -> None:
        results_ = iter(range(10))

        @task(result_storage=tmp_path, result_storage_key="key", refresh_cache=True)
        def made() -> int:
            return next(results_)

        first, second = made(return_state=True), made(return_state=True)
        recorded = service.task_run(str(first.state_details.task_run_id)).status.state
        assert (StoredResult(recorded.result).get(), second.result()) == (0, 1)
        assert ResultStore(tmp_path).read("key").result == 1

    def test_is_the_key_of_the_tasks_own_store(self, service: Service, tmp_path: Path) -> None:
        @task(result_storage=tmp_path, result_storage_key="{task_run.task_name}-{parameters[n]}")
        def made(n: int) -> str:
            record = get_result_store().create_result_record(n)
            return record.metadata.storage_key

        assert made(1) == "made-1"

    def test_beside_a_policy_it_only_names_the_result(self, service: Service, tmp_path: Path) -> None:
        name = f"named-{tmp_path.name}-{service.client.__class__.__name__}"

        @task(result_storage=tmp_path, result_storage_key="latest", cache_policy=INPUTS)
        def made(n: int, name: str) -> int:
            return n

        names = [made(n, name, return_state=True).name for n in (1, 2, 1)]
        assert names == ["Completed", "Completed", "Cached"]
        assert ResultStore(tmp_path).read("latest").result == 2

    @pytest.mark.parametrize("key", ["{nothing}", "{parameters[m]}", "../{parameters[n]}", "/etc/{parameters[n]}"])
    def test_one_that_can_not_be_filled_in_fails_the_run_before_it_runs(
        self, service: Service, tmp_path: Path, key: str
    ) -> None:
        ran: list[int] = []

        @task(result_storage=tmp_path, result_storage_key=key, retries=2)
        def made(n: int) -> None:
            ran.append(n)

        state = made(1, return_state=True)
        with pytest.raises(ValueError, match=r"result_storage_key .* can not be filled in"):
            state.result()
        assert service.state_names(task_run=state.state_details.task_run_id) == ["Pending", "Failed"]
        assert not ran
