"""The contract has only been added to since the last release, and the checker that says so misses no other change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    OneofDescriptorProto,
    ServiceDescriptorProto,
)

from tests.contract.compatibility import BASELINE, CURRENT, breaking_changes, load

Change = Callable[[FileDescriptorSet], object]


def test_the_contract_only_adds_to_the_baseline() -> None:
    assert breaking_changes(load(BASELINE), load(CURRENT)) == []


def test_the_baseline_holds_this_package_and_nothing_else() -> None:
    whole = FileDescriptorSet.FromString(BASELINE.read_bytes())
    assert {file.package for file in whole.file} == {"playhead.v1"}
    assert {"Orchestration", "Runs", "Journal"} <= {service.name for file in whole.file for service in file.service}


def message(contract: FileDescriptorSet, name: str) -> DescriptorProto:
    return next(each for file in contract.file for each in file.message_type if each.name == name)


def field(contract: FileDescriptorSet, owner: str, name: str) -> FieldDescriptorProto:
    return next(each for each in message(contract, owner).field if each.name == name)


def enum(contract: FileDescriptorSet, name: str) -> EnumDescriptorProto:
    return next(each for file in contract.file for each in file.enum_type if each.name == name)


def service(contract: FileDescriptorSet, name: str) -> ServiceDescriptorProto:
    return next(each for file in contract.file for each in file.service if each.name == name)


def rpc(contract: FileDescriptorSet, owner: str, name: str) -> MethodDescriptorProto:
    return next(each for each in service(contract, owner).method if each.name == name)


def put(message: object, **values: object) -> None:
    """Assign fields: assignment is no expression, and the tables below are of expressions."""
    for name, value in values.items():
        setattr(message, name, value)


def move_into_oneof(contract: FileDescriptorSet) -> None:
    owner = message(contract, "State")
    owner.oneof_decl.append(OneofDescriptorProto(name="text"))
    put(field(contract, "State", "message"), oneof_index=len(owner.oneof_decl) - 1)


def remove_and_reserve(contract: FileDescriptorSet) -> None:
    owner = message(contract, "State")
    removed = field(contract, "State", "message")
    owner.reserved_name.append(removed.name)
    owner.reserved_range.add(start=removed.number, end=removed.number + 1)
    owner.field.remove(removed)


def move_to_another_file(contract: FileDescriptorSet) -> None:
    source = next(file for file in contract.file if any(each.name == "State" for each in file.message_type))
    target = next(file for file in contract.file if file.name != source.name)
    target.message_type.append(message(contract, "State"))
    source.message_type.remove(message(contract, "State"))


def remove_message(contract: FileDescriptorSet, name: str) -> None:
    for file in contract.file:
        for each in [each for each in file.message_type if each.name == name]:
            file.message_type.remove(each)


def remove_enum(contract: FileDescriptorSet, name: str) -> None:
    for file in contract.file:
        for each in [each for each in file.enum_type if each.name == name]:
            file.enum_type.remove(each)


def remove_service(contract: FileDescriptorSet, name: str) -> None:
    for file in contract.file:
        for each in [each for each in file.service if each.name == name]:
            file.service.remove(each)


BREAKING: dict[str, tuple[Change, str]] = {
    "a field is removed": (lambda c: message(c, "State").field.remove(field(c, "State", "message")), "State.message"),
    "a field is removed and reserved": (remove_and_reserve, "State.message"),
    "a field is renamed": (lambda c: put(field(c, "State", "message"), name="text"), "State.message"),
    "a field is renumbered": (lambda c: put(field(c, "State", "message"), number=99), "State.message"),
    "a field is retyped": (
        lambda c: put(field(c, "State", "message"), type=FieldDescriptorProto.TYPE_BYTES),
        "State.message",
    ),
    "a field is of another message": (
        lambda c: put(field(c, "State", "details"), type_name=".playhead.v1.Result"),
        "State.details",
    ),
    "a field becomes repeated": (
        lambda c: put(field(c, "State", "message"), label=FieldDescriptorProto.LABEL_REPEATED),
        "State.message",
    ),
    "a field has another JSON name": (lambda c: put(field(c, "State", "message"), json_name="text"), "State.message"),
    "a field loses its presence": (
        lambda c: put(field(c, "StateDetails", "retriable"), proto3_optional=False),
        "StateDetails.retriable",
    ),
    "a field gains presence": (lambda c: put(field(c, "State", "name"), proto3_optional=True), "State.name"),
    "a field moves into a oneof": (move_into_oneof, "State.message"),
    "a field moves out of its oneof": (
        lambda c: field(c, "Result", "inline").ClearField("oneof_index"),
        "Result.inline",
    ),
    "a oneof is renamed": (lambda c: put(message(c, "Result").oneof_decl[0], name="kept"), "Result.inline"),
    "the value of a map is retyped": (
        lambda c: put(message(c, "TaskRunSpec").nested_type[0].field[1], type_name=".playhead.v1.State"),
        "TaskRunSpec.InputsEntry.value",
    ),
    "a message is removed": (lambda c: remove_message(c, "ResultReference"), "message playhead.v1.ResultReference"),
    "a message is renamed": (lambda c: put(message(c, "State"), name="Status"), "message playhead.v1.State"),
    "a message moves to another file": (move_to_another_file, "message playhead.v1.State"),
    "an enum value is removed": (lambda c: enum(c, "StateType").value.pop(), "StateType.CANCELLING"),
    "an enum value is renamed": (lambda c: put(enum(c, "StateType").value[1], name="DUE"), "StateType.SCHEDULED"),
    "an enum value is renumbered": (lambda c: put(enum(c, "StateType").value[1], number=99), "StateType.SCHEDULED"),
    "an enum is removed": (lambda c: remove_enum(c, "Order"), "enum playhead.v1.Order"),
    "a service is removed": (lambda c: remove_service(c, "Runs"), "service playhead.v1.Runs"),
    "an RPC is removed": (
        lambda c: service(c, "Journal").method.remove(rpc(c, "Journal", "GetHead")),
        "rpc playhead.v1.Journal.GetHead",
    ),
    "an RPC is renamed": (
        lambda c: put(rpc(c, "Journal", "GetHead"), name="Head"),
        "rpc playhead.v1.Journal.GetHead",
    ),
    "an RPC takes another request": (
        lambda c: put(rpc(c, "Journal", "GetHead"), input_type=".playhead.v1.GetFlowRequest"),
        "rpc playhead.v1.Journal.GetHead",
    ),
    "an RPC answers another response": (
        lambda c: put(rpc(c, "Journal", "GetHead"), output_type=".playhead.v1.GetFlowResponse"),
        "rpc playhead.v1.Journal.GetHead",
    ),
    "an RPC streams its request": (
        lambda c: put(rpc(c, "Journal", "GetHead"), client_streaming=True),
        "rpc playhead.v1.Journal.GetHead",
    ),
    "an RPC no longer streams its response": (
        lambda c: put(rpc(c, "Journal", "ReadEvents"), server_streaming=False),
        "rpc playhead.v1.Journal.ReadEvents",
    ),
    "a file is renamed": (lambda c: put(c.file[0], name="playhead/v1/other.proto"), "file playhead/v1/"),
}


@pytest.mark.parametrize("change", BREAKING)
def test_the_checker_refuses_when(change: str) -> None:
    apply, culprit = BREAKING[change]
    changed = load(CURRENT)
    apply(changed)
    broken = breaking_changes(load(CURRENT), changed)
    assert [line for line in broken if culprit in line], broken


RESERVATIONS: dict[str, Change] = {
    "a number of a message": lambda c: message(c, "State").reserved_range.add(start=50, end=52),
    "a name of a message": lambda c: message(c, "State").reserved_name.append("mood"),
    "a number of an enum": lambda c: enum(c, "StateType").reserved_range.add(start=50, end=50),
    "a name of an enum": lambda c: enum(c, "StateType").reserved_name.append("MOODY"),
}


@pytest.mark.parametrize("reserved", RESERVATIONS)
def test_the_checker_refuses_to_free(reserved: str) -> None:
    with_reservation = load(CURRENT)
    RESERVATIONS[reserved](with_reservation)
    assert breaking_changes(with_reservation, load(CURRENT)) != []
    assert breaking_changes(load(CURRENT), with_reservation) == []


ADDITIONS: dict[str, Change] = {
    "a field": lambda c: message(c, "State").field.add(
        name="mood", number=99, type=FieldDescriptorProto.TYPE_STRING, json_name="mood"
    ),
    "a message": lambda c: c.file[0].message_type.append(DescriptorProto(name="Mood")),
    "an enum value": lambda c: enum(c, "StateType").value.append(EnumValueDescriptorProto(name="MOODY", number=99)),
    "an enum": lambda c: c.file[0].enum_type.append(EnumDescriptorProto(name="Mood")),
    "an RPC": lambda c: service(c, "Journal").method.append(MethodDescriptorProto(name="GetMood")),
    "a service": lambda c: c.file[0].service.append(ServiceDescriptorProto(name="Moods")),
    "a oneof": lambda c: message(c, "State").oneof_decl.append(OneofDescriptorProto(name="mood")),
}


@pytest.mark.parametrize("addition", ADDITIONS)
def test_the_checker_allows_to_add(addition: str) -> None:
    changed = load(CURRENT)
    ADDITIONS[addition](changed)
    assert breaking_changes(load(CURRENT), changed) == []
