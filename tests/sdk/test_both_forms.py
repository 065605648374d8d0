"""Names that a guide to Prefect 3.4 shows in another form than Prefect has them: both forms work, and mean the same."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any
from uuid import UUID

import pytest

from playhead import exceptions, flow, get_run_logger, tags, task
from playhead.context import FlowRunContext, SettingsContext, TagsContext, hydrated_context, serialize_context
from playhead.engine import signals
from playhead.input import Keyset, RunInputMetadata, create_flow_run_input, read_flow_run_input, receive_input
from playhead.input import send_input as send
from playhead.logging import LogEavesdropper, disable_run_logger, get_logger
from playhead.profiles import Profile
from playhead.runtime import flow_run
from playhead.transactions import Transaction, transaction
from tests.sdk.conftest import Service


@task
def says(text: str) -> None:
    get_run_logger().warning(text)


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The records that the tests' own code has made."""
    return [record for record in caplog.records if record.levelno == logging.WARNING]


class TestTransactions:
    def test_a_transaction_is_made_by_its_class_or_by_a_function(self) -> None:
        with Transaction(key="made", timeout=300) as made:
            assert (made.key, bool(made.is_committed), made.is_committed()) == ("made", False, False)
        with transaction(key="opened") as opened:
            assert opened.key == "opened"
        for ended in (made, opened):
            assert ended.is_committed
            assert ended.is_committed()
            assert not ended.is_rolled_back
            assert not ended.is_rolled_back()


class TestLogging:
    def test_a_run_logger_is_asked_for_by_a_name_or_by_a_context(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        @task
        def inside() -> None:
            around = FlowRunContext.get()
            get_run_logger("steps").warning("of the task, named")
            get_run_logger(name="steps").warning("of the task, named")
            get_run_logger(around).warning("of the flow")
            get_run_logger(context=around).warning("of the flow")
            get_run_logger(batch=7).warning("of the task, with a field")

        @flow
        def outside() -> None:
            inside()

        outside()
        told = [
            (record.name, record.getMessage(), vars(record).get("task_run_name"), vars(record).get("batch"))
            for record in warnings(caplog)
        ]
        assert told == [
            *[("playhead.task_runs.steps", "of the task, named", "inside-0", None)] * 2,
            *[("playhead.flow_runs", "of the flow", None, None)] * 2,
            ("playhead.task_runs", "of the task, with a field", "inside-0", 7),
        ]

    def test_a_run_is_silenced_for_a_while_or_for_good(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        @flow
        def speaking() -> None:
            with disable_run_logger():
                says("silenced for a while")
            says("heard")
            disable_run_logger()
            says("silenced for good")

        speaking()
        says("heard outside")
        assert [record.getMessage() for record in warnings(caplog)] == ["heard", "heard outside"]

    def test_a_logger_is_listened_to_by_itself_or_by_its_name(self) -> None:
        logger = get_logger("both_forms")
        with LogEavesdropper(logger) as one, LogEavesdropper("playhead.both_forms", logging.ERROR) as other:
            logger.warning("a warning")
            logger.error("an error")
        assert ([record.getMessage() for record in one.get_logs()], one.text()) == (
            ["a warning", "an error"],
            "a warning\nan error",
        )
        assert ([record.levelname for record in other.get_logs()], other.text()) == (["ERROR"], "an error")


class TestContext:
    def test_tags_may_have_names(self) -> None:
        with tags("production", team="data") as around:
            assert around == TagsContext.get().current_tags == {"production", "team:data"}

    def test_tags_are_added_and_removed(self, service: Service) -> None:
        @task
        def tagged() -> None: ...

        @flow
        def tagging() -> None:
            with tags("outer"):
                context = TagsContext.get()
                context.add_tags("more", "most")
                context.remove_tags("outer", "unknown")
                tagged()
            tagged()

        tagging()
        runs = service.task_runs(service.flow_runs("tagging")[-1].spec.id)
        assert [sorted(run.spec.tags) for run in runs] == [["more", "most"], []]

    def test_settings_are_a_dictionary(self) -> None:
        with SettingsContext(profile=Profile("mine"), settings={"PLAYHEAD_LOGGING_LEVEL": "ERROR"}):
            context = SettingsContext.get()
            assert context is not None
            assert (context.profile.name, context.settings["PLAYHEAD_LOGGING_LEVEL"]) == ("mine", "ERROR")

    def test_a_serialized_context_is_given_by_place_or_by_name(self, service: Service) -> None:
        @flow
        def carrying() -> list[Any]:
            found = []
            for restore in (hydrated_context, lambda told: hydrated_context(serialized_context=told)):
                with restore(json.loads(json.dumps(serialize_context(), default=str))):
                    found.append(flow_run.id)
            return [each == flow_run.id for each in found]

        assert carrying() == [True, True]


class TestRunInput:
    def test_an_input_is_sent_with_and_without_await(self, service: Service) -> None:
        @flow
        def sending(run_id: UUID) -> None:
            send({"n": 1}, run_id, sender="ann", key_prefix="p")

        @flow
        async def receiving() -> list[Any]:
            run_id = UUID(flow_run.id)
            sending(run_id)
            await send(run_input={"n": 2}, flow_run_id=run_id, sender="ann", key_prefix="p")
            return [each async for each in receive_input(dict, timeout=0, key_prefix="p")]

        assert asyncio.run(receiving()) == [{"n": 1}, {"n": 2}]

    def test_what_is_received_is_iterated_or_read_by_key(self, service: Service) -> None:
        @flow
        def receiving() -> list[Any]:
            send({"decision": "approved"}, flow_run.id, key_prefix="p")
            by_key, in_turn = (receive_input(dict, timeout=0, key_prefix="p") for _ in range(2))
            return [by_key.get("decision"), by_key["decision"], by_key.keys(), by_key.get("no", 0), in_turn.next()]

        assert receiving() == ["approved", "approved", {"decision"}, 0, {"decision": "approved"}]

    def test_an_input_is_created_for_a_run_first_or_under_a_key_first(self, service: Service) -> None:
        @flow
        def creating() -> list[Any]:
            run_id = UUID(flow_run.id)
            create_flow_run_input(run_id, "one", {"a": 1}, "ann")
            create_flow_run_input("two", {"a": 2}, run_id, "ann")
            record = create_flow_run_input(flow_run_id=run_id, key="three", value={"a": 3})
            read = [read_flow_run_input(key) for key in ("one", "two", "three")]
            return [read, record.flow_run_id == run_id, record.key, record.value, record.sender]

        assert creating() == [[{"a": 1}, {"a": 2}, {"a": 3}], True, "three", {"a": 3}, None]

    def test_keysets_are_of_parts_or_of_keys(self) -> None:
        assert "a" in Keyset({"a", "b"})
        assert "c" not in Keyset({"a", "b"})
        assert Keyset(response="r")["response"] == "r"

    def test_metadata_may_name_a_receiver(self) -> None:
        assert RunInputMetadata(key="k", sender=None, receiver=UUID(int=1)).receiver == UUID(int=1)
        assert RunInputMetadata(key="k", sender="ann").sender == "ann"


def test_signals_are_found_with_the_exceptions_and_are_none() -> None:
    for name in ("Abort", "Pause", "ExternalSignal", "TerminationSignal"):
        signal = getattr(exceptions, name)
        assert signal is getattr(signals, name)
        assert not issubclass(signal, Exception)
