"""Whatever comes in, the answer is one of the documented ones, and the journal stays whole."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playhead import exceptions, v1
from playhead.client import interface
from playhead.client.interface import GET_HEAD, Client, Streaming, Unary
from playhead.journal.errors import JournalError
from tests.processes.any_message import messages
from tests.processes.bad_requests import UNKNOWN_ID, World
from tests.processes.checking import check_journal
from tests.processes.killing import first
from tests.processes.load import Load
from tests.processes.serving import Server

METHODS = [method for method in vars(interface).values() if isinstance(method, (Unary, Streaming))]
UNARY = [method for method in METHODS if isinstance(method, Unary)]

FOLLOWING_S = 3
"""A stream that follows may have nothing to say: it was listened to, then."""

NEVER = (exceptions.InternalDefect, exceptions.DeadlinePassed, JournalError)
ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
}


@settings(max_examples=150)
@given(data=st.data())
def test_any_request_has_a_documented_answer(client: Client, world: World, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(UNARY))
    ids = [world.flow_id, world.flow_run_id, world.task_run_id, UNKNOWN_ID]
    request = data.draw(messages(method.request.DESCRIPTOR, ids))
    before = client.unary(GET_HEAD, v1.GetHeadRequest())
    try:
        client.unary(method, request, timeout_s=30)
    except NEVER:
        raise
    except exceptions.PlayheadError:
        assert client.unary(GET_HEAD, v1.GetHeadRequest()) == before


@settings(max_examples=100)
@given(data=st.data())
def test_any_proposal_has_a_documented_answer(client: Client, world: World, data: st.DataObject) -> None:
    ids = [world.flow_id, world.flow_run_id, world.task_run_id, UNKNOWN_ID]
    request = v1.ProposeStateRequest(
        request_id=world.ids.new_id(),
        flow_run_id=world.flow_run_id,
        state=data.draw(messages(v1.State.DESCRIPTOR, ids)),
        force=data.draw(st.booleans()),
    )
    if data.draw(st.booleans()):
        request.create_task_run.CopyFrom(data.draw(messages(v1.TaskRunSpec.DESCRIPTOR, ids)))
        request.create_task_run.id = ""
    try:
        answer = client.unary(interface.PROPOSE_STATE, request, timeout_s=30)
    except NEVER:
        raise
    except exceptions.PlayheadError:
        return
    assert client.unary(interface.PROPOSE_STATE, request, timeout_s=30) == answer


@pytest.fixture
def noise() -> Iterator[bytes]:
    """Messages of bytes: random ones, and real ones with a byte changed or an end cut off."""
    chance = random.Random(17)
    real = [request.SerializeToString() for _, request in first(Load(17), 40)]

    def made() -> Iterator[bytes]:
        while True:
            yield chance.randbytes(chance.randrange(60))
            some = bytearray(chance.choice(real))
            some[chance.randrange(len(some))] = chance.randrange(256)
            yield bytes(some)
            yield bytes(some[: chance.randrange(len(some))])

    return made()


def test_any_bytes_have_a_documented_answer(tmp_path: Path, noise: Iterator[bytes]) -> None:
    database, log = str(tmp_path / "journal.db"), tmp_path / "log"
    with Server(database, log=log) as server:
        with grpc.insecure_channel(server.target) as channel:
            for method in METHODS:
                for _ in range(60):
                    sent = next(noise)
                    assert _answered(channel, method, sent) in ANSWERS, (method.name, sent)
        assert server.stop() == 0
    assert "Traceback" not in log.read_text()
    check_journal(database)


def _answered(channel: grpc.Channel, method: Any, sent: bytes) -> grpc.StatusCode:
    """How a call with these bytes is answered; of a stream, its first message."""
    name = f"/playhead.v1.{method.service}/{method.name}"
    call: Any
    if isinstance(method, Unary):
        call = channel.unary_unary(name).future(sent, timeout=30)  # type: ignore[arg-type] # bytes, as there is no serializer
        return cast(grpc.StatusCode, call.code())
    call = channel.unary_stream(name)(sent, timeout=FOLLOWING_S)  # type: ignore[arg-type] # as above
    try:
        next(call, None)
    except grpc.RpcError:
        code = cast(grpc.StatusCode, call.code())
        return grpc.StatusCode.OK if code is grpc.StatusCode.DEADLINE_EXCEEDED else code
    call.cancel()
    return grpc.StatusCode.OK
