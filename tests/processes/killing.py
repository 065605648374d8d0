"""Servers killed under load, at moments that a seed decides, and what their clients were told."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from typing import Any, get_args

import grpc

from tests.processes.load import Asked, Load
from tests.processes.serving import Server, Whom

IN_FLIGHT = 32
ANSWERS_MAX = 120
"""A server is killed after at most so many answers."""

KILLED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Clients:
    """Callers that keep many commands in flight, keep each answer, and ask again for what was not answered."""

    def __init__(self, load: Load) -> None:
        self.answers: list[tuple[Asked, bytes]] = []
        self.failures: list[str] = []
        self._unanswered: deque[Asked] = deque(load.opening())
        self._load = load.commands()

    def call_until_killed(self, server: Server, answers: int, whom: Whom) -> None:
        """Keep calling; kill the server, or one of its processes, as soon as it has given so many answers."""
        end = len(self.answers) + answers

        def after_answer() -> None:
            if len(self.answers) >= end:
                server.kill(whom)

        after_answer()
        self._call(server, self._again_then_new(), after_answer)
        server.gone()

    def call_the_rest(self, server: Server) -> None:
        """Ask for all that was not answered."""
        while self._unanswered:
            self._call(server, self._again(), lambda: None)

    def ask_again(self, server: Server) -> list[tuple[Asked, bytes]]:
        """Ask for everything once more; the answers, in the order in which they came first."""
        with grpc.insecure_channel(server.target) as channel:
            again: list[tuple[Asked, bytes]] = []
            while len(again) < len(self.answers):
                some = [asked for asked, _ in self.answers[len(again) : len(again) + IN_FLIGHT]]
                calls = [_future(channel, asked) for asked in some]
                again += [(asked, _bytes_of(call.result())) for asked, call in zip(some, calls, strict=True)]
            return again

    def _again(self) -> Iterator[Asked]:
        while self._unanswered:
            yield self._unanswered.popleft()

    def _again_then_new(self) -> Iterator[Asked]:
        yield from self._again()
        for asked in self._load:  # noqa: UP028 - `yield from` would close it together with this generator
            yield asked

    def _call(self, server: Server, commands: Iterator[Asked], after_answer: Any) -> None:
        room, broken, lock = threading.Semaphore(IN_FLIGHT), threading.Event(), threading.Lock()

        def done(asked: Asked, call: Any) -> None:
            with lock:
                if call.code() is grpc.StatusCode.OK:
                    self.answers.append((asked, _bytes_of(call.result())))
                    after_answer()
                elif call.code() in KILLED:
                    self._unanswered.append(asked)
                    broken.set()
                elif call.code() is grpc.StatusCode.NOT_FOUND:
                    self._unanswered.append(asked)  # it overtook the command that makes what it is about
                else:
                    self.failures.append(f"{asked[0].name}: {call.code()}: {call.details()}")
            room.release()

        with grpc.insecure_channel(server.target, options=[("grpc.enable_retries", 0)]) as channel:
            for asked in commands:
                room.acquire()
                if broken.is_set():
                    self._unanswered.append(asked)
                    break
                call = _future(channel, asked)
                call.add_done_callback(partial(done, asked))
            else:
                room.acquire()
            for _ in range(IN_FLIGHT - 1):
                room.acquire()


def killed_under_load(database: str, seed: int, kills: int) -> Clients:
    """Kill that many servers, one after the other, on one database, as a whole and each of their processes in turn;
    then let a last one answer what is open, and ask it for everything again.
    """
    print(f"seed {seed}")
    chance = random.Random(seed)
    clients = Clients(Load(seed))
    for whom in islice(cycle(get_args(Whom)), kills):
        clients.call_until_killed(Server(database), chance.randrange(ANSWERS_MAX), whom)
    with Server(database) as last:
        clients.call_the_rest(last)
        assert clients.ask_again(last) == clients.answers
        assert last.stop() == 0
    return clients


def _future(channel: grpc.Channel, asked: Asked) -> Any:
    method, request = asked
    call: Any = channel.unary_unary(
        f"/playhead.v1.{method.service}/{method.name}",
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )
    return call.future(request, timeout=60)


def _bytes_of(answer: Any) -> bytes:
    encoded: bytes = answer.SerializeToString(deterministic=True)
    return encoded


def first(load: Load, count: int) -> list[Asked]:
    """The opening and that many commands."""
    return [*load.opening(), *islice(load.commands(), count)]
