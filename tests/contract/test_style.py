"""The .proto files need no other document: RPCs say what they do, enums start unspecified, requests are not shared."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import google.rpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.contract.compatibility import PACKAGE, ROOT

# Field numbers in descriptor.proto, which is how SourceCodeInfo names places.
SERVICE, METHOD = 6, 2
GOOGLE_PROTOS = Path(next(iter(google.rpc.__path__))).parents[1]


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    """The contract with its comments, which the committed descriptors leave out."""
    out = tmp_path_factory.mktemp("descriptors") / "commented.binpb"
    protos = sorted((ROOT / "proto/playhead/v1").glob("*.proto"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "--include_source_info",
            f"--descriptor_set_out={out}",
            f"-I{ROOT / 'proto'}",
            f"-I{GOOGLE_PROTOS}",
            *map(str, protos),
        ],
        check=True,
    )
    return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def test_every_rpc_says_what_it_does(contract: list[FileDescriptorProto]) -> None:
    silent = [
        f"{service.name}.{method.name}"
        for file in contract
        for s, service in enumerate(file.service)
        for m, method in enumerate(service.method)
        if (SERVICE, s, METHOD, m) not in commented_places(file)
    ]
    assert silent == []


def test_every_service_says_what_it_is_for(contract: list[FileDescriptorProto]) -> None:
    for file in contract:
        services = enumerate(file.service)
        assert [each.name for s, each in services if (SERVICE, s) not in commented_places(file)] == []


def test_zero_of_every_enum_is_unspecified_and_named_after_it(contract: list[FileDescriptorProto]) -> None:
    for enum in [enum for file in contract for enum in file.enum_type]:
        expected = "".join(f"_{c}" if c.isupper() else c.upper() for c in enum.name).lstrip("_") + "_UNSPECIFIED"
        assert (enum.value[0].number, enum.value[0].name) == (0, expected)


def test_every_rpc_has_a_request_of_its_own_named_after_it(contract: list[FileDescriptorProto]) -> None:
    methods = [method for file in contract for service in file.service for method in service.method]
    assert {method.name: method.input_type for method in methods} == {
        method.name: f".{PACKAGE}.{method.name}Request" for method in methods
    }
    assert max(Counter(method.input_type for method in methods).values()) == 1


def test_every_response_says_which_revision_it_reflects(contract: list[FileDescriptorProto]) -> None:
    """A batch does not: each of its answers does."""
    messages = {f".{PACKAGE}.{message.name}": message for file in contract for message in file.message_type}
    responses = {method.output_type for file in contract for service in file.service for method in service.method}
    responses.remove(f".{PACKAGE}.ProposeStatesResponse")
    for response in responses:
        first = messages[response].field[0]
        assert (response, first.name, first.type_name, first.number) == (
            response,
            "meta",
            f".{PACKAGE}.ResponseMeta",
            1,
        )


def test_files_share_one_package(contract: list[FileDescriptorProto]) -> None:
    assert {file.package for file in contract} == {PACKAGE}


def commented_places(file: FileDescriptorProto) -> set[tuple[int, ...]]:
    return {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}
