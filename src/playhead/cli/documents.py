"""Messages as JSON documents: protobuf's JSON with the contract's field names, and what makes it pleasant in a shell.

Keys are stable: a field that is unset is null, only the members of a oneof that were not chosen are left out. Numbers
are numbers, even of 64 bits. Hashes and salts are hexadecimal, a run's parameters and input are the JSON that they are,
unless it is nested too deep; other bytes base64. Times are RFC 3339, durations seconds with an "s", enums their names.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from playhead.serialization import nested_deeper

Field = Any
"""A field's descriptor, of whichever implementation protobuf has."""

HEX_FIELDS = frozenset({"leaf_hash", "root_hash", "salt", "sha256"})
JSON_FIELDS = frozenset({"parameters", "run_input_schema", "run_input", "extra", "value"})
NESTING_MAX = 64
"""Lists and objects inside each other that are shown as JSON; no more are taken today."""

EMPTY: dict[str, Any] = {"parameters": {}}
"""What no bytes stand for, where it is not null: a run has parameters always, input only when it was asked for."""


def document_of(message: Message) -> dict[str, Any]:
    """A message as what `json.dumps` takes."""
    return {
        field.name: _field(message, field) for field in message.DESCRIPTOR.fields if not _not_chosen(message, field)
    }


def json_of(data: bytes) -> Any:
    """The value of JSON that is on record. Raises ValueError for what is none, or nested too deep to be shown."""
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if nested_deeper(value, NESTING_MAX):
        raise ValueError("nested too deep")
    return value


def _not_chosen(message: Message, field: Field) -> bool:
    oneof = field.containing_oneof
    # An `optional` field stands in a oneof of its own.
    return oneof is not None and len(oneof.fields) > 1 and not message.HasField(field.name)


def _field(message: Message, field: Field) -> Any:
    value = getattr(message, field.name)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return {str(key): _value(entry.fields_by_name["value"], item) for key, item in sorted(value.items())}
    if field.is_repeated:
        return [_value(field, item) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(field, value)


def _value(field: Field, value: Any) -> Any:
    if isinstance(value, Timestamp | Duration):
        return value.ToJsonString()
    if isinstance(value, Message):
        return document_of(value)
    if isinstance(value, bytes):
        return _bytes(field.name, value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value


def _bytes(name: str, value: bytes) -> Any:
    if name in HEX_FIELDS:
        return value.hex()
    if name in JSON_FIELDS:
        try:
            return json_of(value) if value else EMPTY.get(name)
        except ValueError:
            pass  # a client of another kind may put anything there
    return base64.b64encode(value).decode()
