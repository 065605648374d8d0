"""Inputs of runs: sent once, read now and then, received in order with none left out: each client, each database."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from queue import SimpleQueue
from typing import Any

import pytest

from playhead import v1
from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import (
    CREATE_FLOW_RUN,
    DELETE_INPUT,
    GET_HEAD,
    LIST_INPUTS,
    PROPOSE_STATE,
    READ_INPUT,
    RECEIVE_INPUTS,
    REGISTER_FLOW,
    SEND_INPUT,
    WATCH_EVENTS,
    Client,
)
from playhead.client.remote import RemoteClient
from playhead.engine.orchestration import inputs as deciding
from playhead.exceptions import AlreadyExists, NotFound, PlayheadError, RevisionNotReached, RunEnded, TooLarge
from tests.orchestration.commanding import new_id
from tests.processes.serving import Server
from tests.stores import NewStore

WAIT_S = 30.0


class Receiver:
    """A flow run of its own, and what is sent to it through a client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        flow = v1.RegisterFlowRequest(request_id=new_id(), flow_id=new_id(), name="approvals")
        spec = v1.FlowRunSpec(id=new_id(), flow_id=client.unary(REGISTER_FLOW, flow).flow.id)
        client.unary(CREATE_FLOW_RUN, v1.CreateFlowRunRequest(request_id=new_id(), spec=spec))
        self.flow_run_id = spec.id

    def come_to(self, *states: v1.StateType.ValueType) -> None:
        """Propose these states."""
        for state in states:
            request = v1.ProposeStateRequest(
                request_id=new_id(), flow_run_id=self.flow_run_id, state=v1.State(type=state)
            )
            assert self.client.unary(PROPOSE_STATE, request).decision == v1.ACCEPT

    def request(self, key: str, value: Any = 7, **fields: str) -> v1.SendInputRequest:
        """An input to be sent."""
        return v1.SendInputRequest(
            request_id=new_id(), flow_run_id=self.flow_run_id, key=key, value=json.dumps(value).encode(), **fields
        )

    def send(self, key: str, value: Any = 7, **fields: str) -> v1.SendInputResponse:
        """Send an input."""
        return self.client.unary(SEND_INPUT, self.request(key, value, **fields))

    def delete(self, key: str) -> v1.DeleteInputResponse:
        """Delete an input."""
        request = v1.DeleteInputRequest(request_id=new_id(), flow_run_id=self.flow_run_id, key=key)
        return self.client.unary(DELETE_INPUT, request)

    def read(self, key: str, **fields: Any) -> v1.RunInput:
        """An input."""
        return self.client.unary(READ_INPUT, v1.ReadInputRequest(flow_run_id=self.flow_run_id, key=key, **fields)).input

    def page(self, **fields: Any) -> v1.ListInputsResponse:
        """A page of inputs."""
        return self.client.unary(LIST_INPUTS, v1.ListInputsRequest(flow_run_id=self.flow_run_id, **fields))

    def keys(self, **fields: Any) -> list[str]:
        """The keys of a page."""
        return [each.key for each in self.page(**fields).inputs]

    def first(self, count: int, **fields: Any) -> list[str]:
        """The keys of the first inputs that a stream brings."""
        keys: list[str] = []
        request = v1.ReceiveInputsRequest(flow_run_id=self.flow_run_id, **fields)
        with closing(self.client.stream(RECEIVE_INPUTS, request, timeout_s=WAIT_S)) as stream:
            for response in stream:
                keys += [each.key for each in response.inputs]
                if len(keys) >= count:
                    break
        return keys


@pytest.fixture
def receiver(client: Client) -> Receiver:
    """A flow run on each client and each database."""
    return Receiver(client)


def test_what_is_read_is_what_was_sent(receiver: Receiver) -> None:
    sent = receiver.send("ünïcode key", {"approved": True, "by": ["ä"]}, sender="ada@example.org").input
    assert json.loads(sent.value) == {"approved": True, "by": ["ä"]}
    assert (sent.flow_run_id, sent.key, sent.sender) == (receiver.flow_run_id, "ünïcode key", "ada@example.org")
    assert sent.sent_by
    assert sent.HasField("sent")
    assert receiver.read("ünïcode key") == sent
    assert list(receiver.page().inputs) == [sent]


def test_a_send_and_a_delete_are_one_event_each(receiver: Receiver) -> None:
    sent = receiver.send("a")
    deleted = receiver.delete("a")
    assert deleted.meta.revision == sent.meta.revision + 1
    request = v1.WatchEventsRequest(
        filter=v1.EventFilter(kinds=["input_sent", "input_deleted"]), after_revision=sent.meta.revision - 1
    )
    with closing(receiver.client.stream(WATCH_EVENTS, request, timeout_s=WAIT_S)) as stream:
        events = list(next(stream).page.events)
    assert [(event.revision, event.kind) for event in events] == [
        (sent.meta.revision, "input_sent"),
        (deleted.meta.revision, "input_deleted"),
    ]
    assert events[0].stream == events[1].stream != receiver.flow_run_id


def test_the_same_request_has_the_same_answer_and_appends_nothing(receiver: Receiver) -> None:
    request = receiver.request("a")
    answer = receiver.client.unary(SEND_INPUT, request)
    delete = v1.DeleteInputRequest(request_id=new_id(), flow_run_id=receiver.flow_run_id, key="a")
    deleted = receiver.client.unary(DELETE_INPUT, delete)
    receiver.come_to(v1.RUNNING, v1.COMPLETED)
    head = receiver.client.unary(GET_HEAD, v1.GetHeadRequest())
    assert receiver.client.unary(SEND_INPUT, request) == answer
    assert receiver.client.unary(DELETE_INPUT, delete) == deleted
    assert receiver.client.unary(GET_HEAD, v1.GetHeadRequest()) == head


def test_a_key_is_there_once_and_free_again_when_it_is_deleted(receiver: Receiver) -> None:
    first = receiver.send("a", 1)
    with pytest.raises(AlreadyExists, match=r"key: .*'a'") as caught:
        receiver.send("a", 2)
    assert caught.value.facts["field"] == "key"
    deleted = receiver.delete("a")
    with pytest.raises(NotFound, match=r"key: .*'a'"):
        receiver.delete("a")
    with pytest.raises(NotFound, match=r"key: .*'a'"):
        receiver.read("a")
    receiver.send("a", 3)
    assert receiver.read("a").value == b"3"
    assert receiver.read("a", read_at=v1.ReadAt(revision=first.meta.revision)).value == b"1"
    with pytest.raises(NotFound):
        receiver.read("a", read_at=v1.ReadAt(revision=deleted.meta.revision))


def test_sending_and_deleting_at_once_are_decided_one_after_the_other(receiver: Receiver) -> None:
    requests = [receiver.request("a", number) for number in range(20)]
    answers = [receiver.client.submit(SEND_INPUT, request).exception() for request in requests]
    assert [type(answer) for answer in answers if answer] == [AlreadyExists] * 19
    assert receiver.keys() == ["a"]


@pytest.mark.parametrize("end", [v1.COMPLETED, v1.FAILED, v1.CANCELLED])
def test_a_run_that_has_ended_receives_nothing_more_but_can_be_tidied(
    receiver: Receiver, end: v1.StateType.ValueType
) -> None:
    receiver.send("before")
    receiver.come_to(v1.RUNNING, end)
    with pytest.raises(RunEnded, match="flow_run_id: the flow run has ended") as caught:
        receiver.send("after")
    assert caught.value.facts == {"field": "flow_run_id", "state": v1.StateType.Name(end)}
    assert receiver.keys() == ["before"]
    receiver.delete("before")
    assert receiver.keys() == []


def test_a_run_that_crashed_receives_on_for_when_it_is_executed_again(receiver: Receiver) -> None:
    receiver.come_to(v1.RUNNING, v1.CRASHED)
    receiver.send("after")
    receiver.come_to(v1.RUNNING)
    assert receiver.first(1) == ["after"]


def test_lists_are_by_prefix_without_excluded_keys_and_as_of_any_moment(receiver: Receiver) -> None:
    revisions = [receiver.send(key).meta.revision for key in ("a-1", "b-1", "a-2", "A-3", "a%", "ä-1")]
    assert receiver.keys(key_prefix="a") == ["a-1", "a-2", "a%"]
    assert receiver.keys(key_prefix="a%") == ["a%"]
    assert receiver.keys(key_prefix="ä") == ["ä-1"]
    assert receiver.keys(exclude_keys=["a-1", "nobody's", "A-3"]) == ["b-1", "a-2", "a%", "ä-1"]
    receiver.delete("a-1")
    assert receiver.keys(key_prefix="a-") == ["a-2"]
    assert receiver.keys(read_at=v1.ReadAt(revision=revisions[1])) == ["a-1", "b-1"]
    assert Receiver(receiver.client).keys() == []


def test_pages_do_not_tear(receiver: Receiver) -> None:
    for number in range(7):
        receiver.send(f"key-{number}")
    seen: list[str] = []
    token = ""
    while True:
        page = receiver.page(page_size=3, page_token=token)
        seen += [each.key for each in page.inputs]
        receiver.send(f"later-{len(seen)}")
        if len(seen) == 3:
            receiver.delete("key-5")
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"key-{number}" for number in range(7)]


def test_a_run_has_a_bounded_number_of_inputs(sqlite_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "INPUTS_MAX", 3)
    with closing(EmbeddedClient(sqlite_store)) as client:
        receiver = Receiver(client)
        answers = [client.submit(SEND_INPUT, receiver.request(f"key-{number}")) for number in range(5)]
        errors = [answer.exception() for answer in answers]
        assert [type(error) for error in errors] == [type(None)] * 3 + [TooLarge] * 2
        assert isinstance(errors[3], TooLarge)
        assert errors[3].field == "flow_run_id"
        receiver.delete("key-0")
        receiver.send("key-3")
        with pytest.raises(TooLarge):
            receiver.send("key-4")
        Receiver(client).send("key-4")


def test_what_is_received_is_what_is_there_then_what_comes(receiver: Receiver) -> None:
    receiver.send("a-1")
    receiver.send("a-gone")
    receiver.send("b-1")
    receiver.delete("a-gone")
    revision = receiver.send("a-2").meta.revision
    receiver.send("a-3")
    assert receiver.first(3, key_prefix="a") == ["a-1", "a-2", "a-3"]
    assert receiver.first(2, key_prefix="a", exclude_keys=["a-2"]) == ["a-1", "a-3"]
    assert receiver.first(1, key_prefix="a", after_revision=revision) == ["a-3"]


def test_a_stream_of_nothing_says_so(receiver: Receiver) -> None:
    with pytest.raises(NotFound, match="flow_run_id"):
        next(receiver.client.stream(RECEIVE_INPUTS, v1.ReceiveInputsRequest(flow_run_id=new_id()), timeout_s=WAIT_S))
    late = v1.ReceiveInputsRequest(flow_run_id=receiver.flow_run_id, after_revision=10**9)
    with pytest.raises(RevisionNotReached):
        next(receiver.client.stream(RECEIVE_INPUTS, late, timeout_s=WAIT_S))


def test_more_than_a_message_holds_is_received_in_parts(receiver: Receiver) -> None:
    large = "x" * 65_000
    for number in range(40):
        receiver.send(f"key-{number}", large)
    assert receiver.first(40) == [f"key-{number}" for number in range(40)]
    page = receiver.page(page_size=1_000)
    assert 1 < len(page.inputs) < 40
    assert page.next_page_token


@pytest.mark.parametrize("reader", ["remote", "embedded"])
def test_who_receives_gets_inputs_from_wherever_they_are_sent(new_store: NewStore, reader: str) -> None:
    database = new_store()
    with (
        Server(database) as server,
        closing(RemoteClient(server.address)) as remote,
        closing(EmbeddedClient(database)) as embedded,
    ):
        through_server, beside_it = Receiver(remote), Receiver(embedded)
        beside_it.flow_run_id = through_server.flow_run_id
        receiving = Receiving(remote if reader == "remote" else embedded, through_server.flow_run_id)
        through_server.send("through the server")
        assert receiving.next() == "through the server"
        Receiver(remote).send("to another run")
        beside_it.send("beside it")
        assert receiving.next() == "beside it"


def test_a_receiver_that_is_cut_off_goes_on_with_nothing_skipped_and_nothing_twice(new_store: NewStore) -> None:
    database = new_store()
    with closing(EmbeddedClient(database)) as sender:
        receiver = Receiver(sender)
        sent = [f"key-{number}" for number in range(12)]
        received: list[str] = []
        after = 0
        for start in range(0, 12, 4):
            with Server(database) as server, closing(RemoteClient(server.address)) as client:
                receiving = Receiving(client, receiver.flow_run_id, after)
                for key in sent[start : start + 3]:
                    receiver.send(key)
                received += [receiving.next() for _ in range(3)]
                after = receiving.revision
                server.kill()
                receiving.ended.wait(WAIT_S)
            received += receiving.rest()
            after = receiving.revision
            receiver.send(sent[start + 3])
        received += receiver.first(1, after_revision=after)
        assert received == sent


class Receiving:
    """A stream of inputs, read by a thread of its own."""

    def __init__(self, client: Client, flow_run_id: str, after: int = 0) -> None:
        request = v1.ReceiveInputsRequest(flow_run_id=flow_run_id, after_revision=after)
        self._stream = client.stream(RECEIVE_INPUTS, request)
        self._come: SimpleQueue[v1.RunInput] = SimpleQueue()
        self.revision = after
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> str:
        """The next input's key. Raises Empty when none comes."""
        received = self._come.get(timeout=WAIT_S)
        self.revision = received.sent_revision
        return received.key

    def rest(self) -> list[str]:
        """What has come and was not asked for."""
        return [self.next() for _ in range(self._come.qsize())]

    def _read(self) -> None:
        try:
            for each in self._inputs():
                self._come.put(each)
        except PlayheadError:
            self.ended.set()  # the client was closed, or the server

    def _inputs(self) -> Iterator[v1.RunInput]:
        for response in self._stream:
            yield from response.inputs
