"""Serializers: what each can hold, and that bytes are read by what is stored with them."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import pathlib
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from playhead.exceptions import CorruptResult, SerializationError
from playhead.serializers import (
    CompressedJSONSerializer,
    CompressedPickleSerializer,
    CompressedSerializer,
    JSONSerializer,
    PickleSerializer,
    Serializer,
    dumps,
    loads,
    resolve_serializer,
)
from playhead.stored_results import StoredResult
from playhead.v1 import Result


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    when: dt.date


class Model(pydantic.BaseModel):
    points: list[Point]
    tags: set[str] = set()


class Reversed(Serializer):
    """A serializer of one's own."""

    type = "reversed"

    def dumps(self, obj: Any) -> bytes:
        return str(obj).encode()[::-1]

    def loads(self, blob: bytes) -> Any:
        return blob[::-1].decode()


PLAIN = {"list": [1, 2.5, None, True, "text \ud800"], "nested": {"a": [[]]}}
OBJECTS = [
    Point(1, dt.date(2024, 2, 29)),
    Model(points=[Point(2, dt.date(2024, 3, 1))], tags={"a"}),
    Colour.RED,
    {1, 2},
    frozenset({"a"}),
    dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
    dt.timedelta(seconds=1.5),
    decimal.Decimal("1.10"),
    uuid.UUID(int=1),
    pathlib.Path("/a/b"),
    b"bytes",
]
ALL = ["pickle", "json", "compressed/pickle", "compressed/json", "compressed"]


@pytest.mark.parametrize("name", ALL)
def test_every_named_serializer_gives_back_what_it_was_given(name: str) -> None:
    for value in (PLAIN, *OBJECTS):
        data, media_type = dumps(value, resolve_serializer(name))
        again = loads(data, media_type)
        assert again == value
        assert type(again) is type(value)


@pytest.mark.parametrize("library", ["lzma", "bz2", "gzip", "zlib"])
def test_the_library_that_compressed_is_found_by_the_media_type(library: str) -> None:
    serializer = CompressedSerializer(JSONSerializer(), library)
    data, media_type = dumps("x" * 10_000, serializer)
    assert len(data) < 1_000
    assert loads(data, media_type) == serializer.loads(data) == "x" * 10_000


def test_names_and_classes_are_the_same_serializers() -> None:
    assert resolve_serializer("pickle") == PickleSerializer()
    assert resolve_serializer("json") == JSONSerializer()
    assert resolve_serializer("compressed/pickle") == CompressedPickleSerializer() == CompressedSerializer("pickle")
    assert resolve_serializer("compressed/json") == CompressedJSONSerializer() != CompressedJSONSerializer("bz2")
    assert len({PickleSerializer(), PickleSerializer(), JSONSerializer()}) == 2


def test_unknown_names_are_told_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no serializer 'yaml'; there are .*compressed/json.* json.* pickle"):
        resolve_serializer("yaml")
    with pytest.raises(TypeError, match="not int"):
        resolve_serializer(1)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ValueError, match="compressionlib: 'os' is none of lzma"):
        CompressedSerializer("json", "os")


@pytest.mark.parametrize("name", ALL)
def test_what_has_no_bytes_is_named(name: str) -> None:
    with pytest.raises(SerializationError, match=r"dict.*lock"):
        dumps({"a": [threading.Lock()]}, resolve_serializer(name))


def test_json_refuses_what_it_could_not_give_back() -> None:
    @dataclass
    class Local:
        x: int

    with pytest.raises(SerializationError, match=r"Local' can not be imported by name"):
        JSONSerializer().dumps(Local(1))
    with pytest.raises(SerializationError, match="key '__class__'"):
        JSONSerializer().dumps([{"__class__": "os:system", "data": "true"}])
    with pytest.raises(SerializationError, match="invalid utf-8"):
        JSONSerializer().dumps(b"\xff")


def test_json_of_plain_values_is_json_for_everybody() -> None:
    assert json.loads(JSONSerializer().dumps({"a": (1, 2), 3: "__class__"})) == {"a": [1, 2], "3": "__class__"}


def test_exceptions_have_a_form_of_their_own_whatever_the_serializer() -> None:
    data, media_type = dumps(ValueError("no"), JSONSerializer())
    assert str(loads(data, media_type)) == "no"
    assert "Traceback" not in media_type
    assert json.loads(data)["type"] == "ValueError"


class TestASerializerOfOnesOwn:
    def test_is_known_by_its_type_and_found_again_by_what_is_stored(self) -> None:
        data, media_type = dumps("abc", resolve_serializer("reversed"))
        assert data == b"cba"
        assert loads(data, media_type) == "abc"
        data, media_type = dumps("abc", CompressedSerializer("reversed", "zlib"))
        assert loads(data, media_type) == "abc"

    def test_is_missed_by_name_where_it_was_not_imported(self) -> None:
        _, media_type = dumps("abc", Reversed())
        code = f"from playhead.serializers import loads; loads(b'cba', {media_type!r})"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "CorruptResult" in ran.stderr
        assert "reversed" in ran.stderr
        assert "import the module that defines it" in ran.stderr

    def test_its_failures_name_it(self) -> None:
        class Failing(Reversed):
            def dumps(self, obj: Any) -> bytes:
                raise KeyError("no")

        with pytest.raises(SerializationError, match=r"Failing\(\) can not serialize a value of type str: 'no'"):
            dumps("abc", Failing())


@pytest.mark.parametrize("media_type", ["application/x-other", "application/json; compression=os"])
def test_media_types_that_nobody_reads_are_refused(media_type: str) -> None:
    with pytest.raises(CorruptResult, match="which nothing here can read"):
        StoredResult(Result(inline=b"1", media_type=media_type)).get()


@pytest.mark.parametrize("name", ["pickle", "json", "compressed/json"])
def test_bytes_that_can_not_be_read_are_reported(name: str) -> None:
    with pytest.raises(CorruptResult, match=r"3 bytes can not be read"):
        loads(b"\x80ab", resolve_serializer(name).media_type)
