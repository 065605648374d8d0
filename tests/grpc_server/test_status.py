"""Errors travel: reason -> status code on the way out, status -> exception on the way back, nothing lost between."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import grpc
import pytest

from playhead import exceptions, v1
from playhead.client.errors import EXCEPTION_OF, error_of, error_of_call
from playhead.exceptions import BadRequest, PlayheadError
from playhead.grpc_server import status_of
from playhead.grpc_server.status import CODE_OF, refuse
from playhead.journal.errors import JournalError
from tests.grpc_server.conftest import serving_loop

META_PROTO = Path(__file__).parents[2] / "proto" / "playhead" / "v1" / "meta.proto"

REASONS = [reason for reason in v1.Reason.values() if reason != v1.REASON_UNSPECIFIED]


def family(root: type[PlayheadError]) -> list[type[PlayheadError]]:
    """A class and all below it."""
    return [root, *(cls for below in root.__subclasses__() for cls in family(below))]


def example(cls: type[PlayheadError]) -> PlayheadError:
    """An error of a class, with facts, one of which has an awkward name."""
    error = cls("what happened", field="spec.name") if issubclass(cls, BadRequest) else cls("what happened")
    error.facts = {"limit": "500", "actual": "501", "field": "0", "message": "ä"}
    return error


def test_every_reason_has_a_status_code() -> None:
    assert sorted(CODE_OF) == sorted(REASONS)


def test_every_reason_has_an_exception() -> None:
    assert sorted(EXCEPTION_OF) == sorted(REASONS)


def test_the_codes_are_those_that_the_contract_names() -> None:
    named = re.findall(r"// ([A-Z_]+)\. [^\n]*\n(?:  //[^\n]*\n)*  ([A-Z_]+) = \d+;", META_PROTO.read_text())
    assert {name: code for code, name in named} == {v1.Reason.Name(r): CODE_OF[r].name for r in REASONS}


@pytest.mark.parametrize("cls", [cls for cls in family(PlayheadError) if cls not in (PlayheadError, JournalError)])
def test_an_error_comes_back_as_it_left(cls: type[PlayheadError]) -> None:
    sent = example(cls)
    received = error_of(status_of(sent))
    # A kind of error that a room has for itself shares its reason with the one it is a kind of, and comes back as that.
    assert type(received) is (cls if "reason" in vars(cls) else cls.__base__)
    assert str(received) == str(sent)
    assert received.facts == sent.facts
    if isinstance(sent, BadRequest):
        assert isinstance(received, BadRequest)
        assert (received.field, received.description) == (sent.field, sent.description)


def test_a_reason_of_a_newer_server_is_told_as_it_is() -> None:
    status = status_of(exceptions.NotFound("gone"))
    status.details[0].value = status.details[0].value.replace(b"NOT_FOUND", b"NOT_BEGUN")
    received = error_of(status)
    assert type(received) is exceptions.InternalDefect
    assert received.facts["reason"] == "NOT_BEGUN"


def test_a_defect_is_logged_whole_and_answered_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        status = status_of(ZeroDivisionError("secret"))
    received = error_of(status)
    assert type(received) is exceptions.InternalDefect
    assert "secret" not in status.SerializeToString().decode(errors="ignore")
    assert received.facts["incident"] in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


class Refusing(grpc.GenericRpcHandler):
    """Answers every call with one error, through the same function as the servicers."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def answer(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            await refuse(context, self.error)

        return grpc.unary_unary_rpc_method_handler(answer)


async def refused(error: Exception) -> grpc.aio.AioRpcError:
    """What a client with default options gets when a call is answered with this error."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Refusing(error),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/any/Thing", bytes, bytes)(b"")
            return caught.value
    finally:
        await server.stop(None)


def test_the_longest_errors_fit_into_the_trailing_metadata() -> None:
    long = "ä" * 100_000
    error = BadRequest(long, field=long, **{f"fact_{n}": long for n in range(100)})
    failed = asyncio.run_coroutine_threadsafe(refused(error), serving_loop()).result()
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
    received = error_of_call(failed, "Thing", "grpc://127.0.0.1:4200")
    assert isinstance(received, BadRequest)
    assert received.field.startswith("ää")
    assert received.field.endswith("…")
    assert len(received.facts) > 1


@pytest.mark.parametrize("cls", EXCEPTION_OF.values())
def test_every_error_arrives_with_its_code_and_details(cls: type[PlayheadError]) -> None:
    sent = example(cls)
    failed = asyncio.run_coroutine_threadsafe(refused(sent), serving_loop()).result()
    assert failed.code() is CODE_OF[cls.reason]
    assert failed.details() == str(sent)
    received = error_of_call(failed, "Thing", "grpc://127.0.0.1:4200")
    assert (type(received), str(received), received.facts) == (cls, str(sent), sent.facts)
