"""Messages as JSON: stable keys, numbers as numbers, hashes in hexadecimal."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf.message import Message

from playhead import v1
from playhead.cli.documents import document_of


@pytest.mark.parametrize(
    ("message", "field", "expected"),
    [
        (v1.ResponseMeta(revision=2**53), "revision", 2**53),
        (v1.State(type=v1.RUNNING), "type", "RUNNING"),
        (v1.State(), "type", "STATE_TYPE_UNSPECIFIED"),
        (v1.State(), "timestamp", None),
        (v1.GetHeadResponse(root_hash=b"\x01\xff"), "root_hash", "01ff"),
        (v1.FlowRunSpec(parameters=b'{"day": 3}'), "parameters", {"day": 3}),
        (v1.FlowRunSpec(), "parameters", {}),
        (v1.FlowRunSpec(parameters=b"\xff"), "parameters", "/w=="),
        (
            v1.FlowRunSpec(parameters=b"[" * 66 + b"]" * 66),
            "parameters",
            base64.b64encode(b"[" * 66 + b"]" * 66).decode(),
        ),
        (v1.FlowRunSpec(parameters=b"[" * 90_000), "parameters", base64.b64encode(b"[" * 90_000).decode()),
        (v1.FlowRunSpec(tags=["a", "b"]), "tags", ["a", "b"]),
        (v1.Result(inline=b"abc"), "inline", "YWJj"),
        (v1.UpdateRunRequest(), "name", None),
        (v1.StateDetails(retriable=False), "retriable", False),
        (v1.TaskRunSpec(inputs={"x": v1.TaskInputs()}), "inputs", {"x": {"inputs": []}}),
    ],
)
def test_values(message: Message, field: str, expected: Any) -> None:
    assert document_of(message)[field] == expected


def test_every_field_has_its_key_whether_it_is_set_or_not() -> None:
    assert document_of(v1.FlowRun()).keys() == {field.name for field in v1.FlowRun.DESCRIPTOR.fields}


def test_of_a_oneof_only_what_was_chosen_is_there() -> None:
    document = document_of(v1.Event(flow_registered=v1.FlowRegistered(name="etl")))
    assert document.keys() == {"client", "traceparent", "flow_registered"}


def test_times_and_durations_are_those_of_protobuf() -> None:
    facts = v1.Lease(holder="me")
    facts.ttl.FromMilliseconds(1_500)
    assert document_of(facts)["ttl"] == "1.500s"
    state = v1.State()
    state.timestamp.FromJsonString("2026-05-04T12:00:00.000001Z")
    assert document_of(state)["timestamp"] == "2026-05-04T12:00:00.000001Z"


def test_an_enum_value_of_a_newer_server_stays_a_number() -> None:
    assert document_of(v1.State(type=77))["type"] == 77  # type: ignore[arg-type] # as a newer server sends it


def test_a_document_is_json() -> None:
    event = v1.Event(state_proposed=v1.StateProposed(facts=v1.Facts(entropy=2**64 - 1)))
    assert json.loads(json.dumps(document_of(event)))["state_proposed"]["facts"]["entropy"] == 2**64 - 1
