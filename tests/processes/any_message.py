"""Any message of a type: mostly sensible, absurd in a field here and there, with ids that exist."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

DEPTH_MAX = 4
REPEATED_MAX = 3

# A read may wait for a revision as long as it was told to: that is no hang.
LEFT_OUT = {"min_revision"}

NEEDED = {
    "id",
    "request_id",
    "flow_id",
    "flow_run_id",
    "task_key",
    "dynamic_key",
    "type",
    "state",
    "spec",
    "name",
    "key",
    "value",
}

# What is JSON or a JSON Schema, where it is looked for.
JSON_FIELDS = {"run_input", "run_input_schema", "value"}
JSONS = [
    b"{}",
    b"7",
    b"null",
    b'{"type": "integer"}',
    b'{"type": "nope"}',
    b'{"$ref": "#"}',
    b'{"a": [{}]}',
    b"{",
    b"[" * 99,
]

INTEGERS = [0, 1, 100, 1_000, 1_001, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]
TEXTS = ["", "x", "a\nb", "a\x00b", "'; --", "ß" * 300, "x" * 3_000, "{", "\u202e", "%s", "?"]

chances = st.integers(0, 11)


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, ids: list[str], depth: int = 0) -> Any:
    """A message with some of its fields set, and mostly those that it needs."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.name not in LEFT_OUT and draw(chances) < (11 if field.name in NEEDED else 4):
            _set(draw, message, field, ids, depth)
    return message


def _set(draw: st.DrawFn, message: Any, field: FieldDescriptor, ids: list[str], depth: int) -> None:
    if field.message_type is None:
        values = _absurd(field) if draw(chances) == 0 else _sensible(field, ids)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, min_size=1, max_size=REPEATED_MAX)))
        else:
            setattr(message, field.name, draw(values))
    elif depth < DEPTH_MAX and not field.message_type.GetOptions().map_entry:
        made = draw(messages(field.message_type, ids, depth + 1))
        if field.is_repeated:
            getattr(message, field.name).append(made)
        else:
            getattr(message, field.name).CopyFrom(made)


def _sensible(field: FieldDescriptor, ids: list[str]) -> st.SearchStrategy[Any]:
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        if field.name in ("request_id", "id"):
            return st.uuids(version=4).map(str)
        return st.sampled_from(ids) if "id" in field.name.removesuffix("s").split("_") else st.sampled_from("ab")
    if kind == FieldDescriptor.TYPE_BYTES:
        return st.sampled_from(JSONS) if field.name in JSON_FIELDS else st.binary(min_size=32, max_size=32)
    if kind == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.TYPE_ENUM:
        return st.integers(1, 9)
    if kind == FieldDescriptor.TYPE_DOUBLE:
        return st.floats(0, 100)
    return st.integers(0, 9)


def _absurd(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        return st.sampled_from(TEXTS) | st.text(max_size=20)
    if kind == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40) | st.just(bytes(70_000))
    if kind == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.TYPE_ENUM:
        return st.integers(-1, 12)
    if kind == FieldDescriptor.TYPE_DOUBLE:
        return st.sampled_from([-1.0, 1e300, math.inf, math.nan])
    return st.sampled_from(_range(kind))


def _range(kind: int) -> list[int]:
    signed = kind in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64)
    bits = 32 if kind in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32) else 64
    most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    values = [value for value in INTEGERS if value <= most]
    return [*values, *(-value for value in values), -most - 1] if signed else values
