"""What a client relies on, as a flat list of facts, and which of them another version of the contract breaks.

A contract is compatible with an older one when each fact of the older one still holds, word for word. So adding is
free, and every other change (remove, rename, renumber, retype, move in or out of a oneof) shows as a fact that is gone
or differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

ROOT = Path(__file__).parents[2]
CURRENT = ROOT / "src/playhead/v1/descriptors.binpb"
BASELINE = Path(__file__).parent / "baseline.binpb"
PACKAGE = "playhead.v1"

# A reservation "to max" is told apart by its first numbers.
RESERVED_NUMBERS_MAX = 1000


def breaking_changes(old: FileDescriptorSet, new: FileDescriptorSet) -> list[str]:
    """Each promise of `old` that `new` does not keep, as a line for people. Empty: `new` only adds."""
    promised, kept = dict(facts(old)), dict(facts(new))
    return [
        f"{what}: was {fact or 'there'}, is {kept.get(what, 'gone')}"
        for what, fact in promised.items()
        if kept.get(what) != fact
    ]


def load(path: Path) -> FileDescriptorSet:
    """The files of this package in a serialized FileDescriptorSet; what they import is left out."""
    everything = FileDescriptorSet.FromString(path.read_bytes())
    return FileDescriptorSet(file=[file for file in everything.file if file.package == PACKAGE])


def facts(contract: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    """Everything that a client may have built on: (what, what is said of it)."""
    for file in contract.file:
        yield f"file {file.name}", f"{file.syntax} {file.package}"
        for message in file.message_type:
            yield from _message_facts(f"{file.package}.{message.name}", file, message)
        for enum in file.enum_type:
            yield from _enum_facts(f"{file.package}.{enum.name}", file, enum)
        for service in file.service:
            yield f"service {file.package}.{service.name}", f"in {file.name}"
            for method in service.method:
                yield f"rpc {file.package}.{service.name}.{method.name}", _signature(method)


def _message_facts(name: str, file: FileDescriptorProto, message: DescriptorProto) -> Iterator[tuple[str, str]]:
    yield f"message {name}", f"in {file.name}{' (map entry)' if message.options.map_entry else ''}"
    for field in message.field:
        yield f"field {name}.{field.name}", _field_fact(message, field)
    yield from _reserved_facts(name, message.reserved_name, [(r.start, r.end) for r in message.reserved_range])
    for nested in message.nested_type:
        yield from _message_facts(f"{name}.{nested.name}", file, nested)
    for enum in message.enum_type:
        yield from _enum_facts(f"{name}.{enum.name}", file, enum)


def _field_fact(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
    kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    fact = f"{field.number} {label} {kind} json {field.json_name}"
    if field.proto3_optional:
        return f"{fact} with presence"
    return f"{fact} in oneof {message.oneof_decl[field.oneof_index].name}" if field.HasField("oneof_index") else fact


def _enum_facts(name: str, file: FileDescriptorProto, enum: EnumDescriptorProto) -> Iterator[tuple[str, str]]:
    yield f"enum {name}", f"in {file.name}"
    for value in enum.value:
        yield f"enum value {name}.{value.name}", str(value.number)
    # The end of an enum's range is part of it; that of a message's is not.
    yield from _reserved_facts(name, enum.reserved_name, [(r.start, r.end + 1) for r in enum.reserved_range])


def _reserved_facts(owner: str, names: Sequence[str], ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    for name in names:
        yield f"reserved name {owner} {name}", ""
    for start, end in ranges:
        for number in range(start, min(end, start + RESERVED_NUMBERS_MAX)):
            yield f"reserved number {owner} {number}", ""


def _signature(method: MethodDescriptorProto) -> str:
    request = ("stream " if method.client_streaming else "") + method.input_type
    response = ("stream " if method.server_streaming else "") + method.output_type
    return f"{request} -> {response}"
