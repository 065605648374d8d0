"""The simulated world: servers on one database, clients, the network between them, and time, in one thread.

Nothing in it is left to chance but what one `random.Random(seed)` draws, so a seed is a history. The orchestrators and
the database are the real ones. A step is whatever reaches a server: a request, a look for what is due, a fault. After
each step everything is checked.
"""

from __future__ import annotations

import heapq
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.text_format import MessageToString

from playhead import v1
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy
from playhead.exceptions import PlayheadError
from playhead.journal.encoding import SECOND_US
from playhead.journal.errors import JournalUnavailable
from playhead.journal.journal import Journal
from tests.clocks import START_US
from tests.simulation.checks import Checks, Sent
from tests.simulation.clients import CLIENTS, Client, Doing

PATIENCE_US = 5 * SECOND_US
"""How long a client waits for an answer before it sends its request again."""

STEPS = 80
LONG_STEPS = 1_000
LONG_EVERY = 100

TOLD_MAX = 60
"""Lines of a failed history that are told; the replay tells all."""

OFTEN = {"worker": 4, "operator": 2, "scheduler": 1, "keeper": 2, "meddler": 3, "family": 2, "asker": 1}
"""Kinds of clients, and how often there are some of them in a world."""

NEVER = 1 << 30
REBUILT = 0.02
"""How often the views are made anew at the end."""

REST_S = (0, 45, 400, 4_000)
"""How long everybody is away at the end, before the servers look for what has fallen due meanwhile."""

LOOKS_MAX = 20
"""Looks after which nothing more falls due by what the looks before have decided."""

BEGINS_ANEW = 0.5
"""How often the server that looks then has nothing in memory; otherwise it has what it knew before."""

AGAIN_AT_THE_END = 5
"""Answered requests that are sent once more when all is over."""

INSTRUCTIONS_MAX = 400
"""SQLite instructions within which a doomed transaction ends; most take fewer than that."""


@dataclass
class Habits:
    """How much goes wrong in a world: each has its own mixture, so that no fault hides behind the others."""

    servers: int
    lost: float
    doubled: float
    slow: float
    server_dies: float
    client_dies: float
    clock_jumps: float
    interrupted: float
    rehearsed: float
    reads_every: int
    """Steps between looks at all runs through the service; at the committed rows it is looked after each."""

    @classmethod
    def of(cls, chance: random.Random) -> Habits:
        """Those of a seed."""

        def often(*choices: float) -> float:
            return chance.choice(choices)

        return cls(
            servers=chance.choice([1, 2, 2, 3]),
            lost=often(0, 0.05, 0.2),
            doubled=often(0, 0.05, 0.2),
            slow=often(0, 0.02, 0.1),
            server_dies=often(0, 0.02, 0.05),
            client_dies=often(0, 0.02, 0.1),
            clock_jumps=often(0, 0, 0.02, 0.05),
            interrupted=often(0, 0, 0.02, 0.1),
            rehearsed=often(0, 0.1),
            reads_every=chance.choice([NEVER, NEVER, NEVER, 10]),
        )


class Server:
    """A process that has the database open, with a clock of its own, until it dies."""

    def __init__(self, number: int, open_: Callable[[Callable[[], int]], Orchestrator], now: Callable[[], int]) -> None:
        self.name = f"server {number}"
        self.skew_us = 0
        self.up: Orchestrator | None = None
        self._open = open_
        self._now = now

    def clock(self) -> int:
        """Its time: microseconds since the Unix epoch."""
        return self._now() + self.skew_us

    def start(self) -> Orchestrator:
        """Open the database, unless it is open."""
        if self.up is None:
            self.up = self._open(self.clock)
        return self.up

    def look_anew(self) -> None:
        """Look through everything that may be due, as a process does that begins, and each does now and then."""
        orchestrator = self.start()
        orchestrator.timers = orchestrator.timers.anew()

    def stop(self) -> None:
        """Let everything go that is only in memory."""
        if self.up is not None:
            self.up.drain()
            self.up = None


@dataclass
class Living:
    """A client and where it is in its script; `asked` is the request that it waits for, None while it sleeps."""

    client: Client
    script: Doing
    asked: Sent | None = None
    dead: bool = False


class World:
    """A history being made. `run` makes it; `trace` tells it."""

    def __init__(self, seed: int, database: str, policy: Policy, reader: Orchestrator) -> None:
        self.chance = random.Random(seed)
        self.habits = Habits.of(self.chance)
        self.now_us = START_US
        self.steps = 0
        self._history: list[tuple[int, int, str, Any, Any]] = []
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)
        others = self.chance.choices(list(OFTEN), list(OFTEN.values()), k=self.chance.choice([1, 2, 3, 5]))
        self._kinds = ["worker", *others, *(["contender"] * 3 if "keeper" in others else [])]

        def open_(clock: Callable[[], int]) -> Orchestrator:
            return Orchestrator(Journal(reader.journal.database, clock), policy, timers=False)

        self.servers = [Server(number, open_, lambda: self.now_us) for number in range(1, self.habits.servers + 1)]
        self.servers[0].start()
        self.checks = Checks(database, reader, policy)

    def run(self, steps: int) -> None:
        """Make so many steps, then look back at all of it."""
        for kind in self._kinds:
            self._later(self._a_while(), self._born(kind))
        for server in self.servers:
            self._later(self._a_while(60), self._looking(server))
        while self.steps < steps:
            at_us, _, happens = heapq.heappop(self._agenda)
            self.now_us = max(self.now_us, at_us)
            happens()
        self._look_back()

    def close(self) -> None:
        """Let go of the database."""
        self.checks.close()
        for server in self.servers:
            server.stop()

    # Time.

    def _later(self, micros: int, happens: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now_us + micros, next(self._numbers), happens))

    def _a_while(self, most_s: float = 1.0) -> int:
        return int(self.chance.random() * most_s * SECOND_US)

    def _travel(self) -> int:
        """How long a message is on its way: so some overtake others, and some come when nobody waits any more."""
        return self._a_while(3_600 if self.chance.random() < self.habits.slow else 0.05)

    # Clients.

    def _born(self, kind: str) -> Callable[[], None]:
        def begin() -> None:
            client = Client(next(self._numbers), kind, self.chance, self.checks.model, lambda: self.now_us)
            living = Living(client, CLIENTS[kind](client))
            self._go_on(living, None)

        return begin

    def _go_on(self, living: Living, answer: Any) -> None:
        """Let a client do what it does next."""
        if living.dead:
            return
        if self.chance.random() < self.habits.client_dies:
            living.dead = True
            self._tell(living.client.name, "dies", "")
            self._later(self._a_while(60), self._born(living.client.name.split("-")[0]))
            return
        wish = living.script.send(answer)
        if isinstance(wish, int):
            self._later(wish, lambda: self._go_on(living, None))
        else:
            living.asked = Sent(wish[0], wish[1], living.client.caller)
            self._send(living, living.asked)

    def _send(self, living: Living, sent: Sent) -> None:
        """Send a request, now and again until it is answered."""
        if living.asked is not sent or living.dead:
            return
        if self.chance.random() >= self.habits.lost:
            self._later(self._travel(), lambda: self._arrive(living, sent))
        if self.chance.random() < self.habits.doubled:
            self._later(self._a_while(self.chance.choice([0.1, 600])), lambda: self._arrive(living, sent))
        self._later(PATIENCE_US, lambda: self._send(living, sent))

    # Servers.

    def _arrive(self, living: Living, sent: Sent) -> None:
        """A request reaches a server; the answer goes back, unless it is lost."""
        self._misfortune()
        server = self.chance.choice(self.servers)
        outcome = self._ask(server, living.client.name, sent)
        if outcome is None or self.chance.random() < self.habits.lost:
            return

        def answered() -> None:
            if living.asked is sent and not living.dead:
                living.asked = None
                self._go_on(living, outcome)

        self._later(self._travel(), answered)

    def _ask(self, server: Server, who: str, sent: Sent) -> Any:
        """One step: a request is answered, and checked; None when it was cut short and nothing is known."""
        orchestrator = server.start()
        said = self._rehearse(server, who, sent)
        doomed = self.chance.random() < self.habits.interrupted and interrupt(orchestrator, self.chance)
        now_us = self.checks.now(server.clock())
        outcome = perform(orchestrator, sent)
        self._step(f"{server.name} <- {who}", sent, outcome)
        since, new = self.checks.head, self.checks.new(server.clock())
        if doomed:
            settle(orchestrator)
        if not (doomed and isinstance(outcome, JournalUnavailable)):
            self.checks.answered(sent, outcome, new, now_us)
            if said is not None:
                self.checks.rehearsed(said, outcome)
        self.checks.settled(new, since)
        if self.steps % self.habits.reads_every == 0:
            self.checks.reads_now()
        return None if isinstance(outcome, JournalUnavailable) else outcome

    def _rehearse(self, server: Server, who: str, sent: Sent) -> Any:
        """Now and then, ask first what a new proposal would do."""
        request = sent.request
        new = sent.method == "propose_state" and request.request_id not in self.checks.answers
        if not new or request.validate_only or self.chance.random() >= self.habits.rehearsed:
            return None
        asking = v1.ProposeStateRequest()
        asking.CopyFrom(request)
        asking.ClearField("request_id")
        asking.validate_only = True
        return self._ask(server, who, Sent(sent.method, asking, sent.caller))

    def _looking(self, server: Server) -> Callable[[], None]:
        def look() -> None:
            self._later(self._a_while(self.chance.choice([30, 600])), look)
            if server.up is None:
                return
            self._tick(server)

        return look

    def _tick(self, server: Server) -> int:
        """A server looks for what is due; how many events that made."""
        server.start().timers.tick()
        since, new = self.checks.head, self.checks.new(server.clock())
        found = len(new)
        if new:
            self._step(server.name, f"looks for what is due: {found} events", "")
        self.checks.ticked(new, server.clock())
        self.checks.settled(new, since)
        return found

    def _rest(self, server: Server) -> None:
        """All clients are gone for a while: what falls due is decided, until nothing more does."""
        self.now_us += self.chance.choice(REST_S) * SECOND_US
        if self.chance.random() < BEGINS_ANEW:
            server.stop()
        for _ in range(LOOKS_MAX):
            server.look_anew()
            if not self._tick(server):
                break
        self.checks.at_rest(server.clock())

    def _misfortune(self) -> None:
        """A server dies, or its clock is set, as often as this world's habits say."""
        if self.chance.random() < self.habits.server_dies:
            server = self.chance.choice(self.servers)
            self._tell(server.name, "dies", "")
            server.stop()
        if self.chance.random() < self.habits.clock_jumps:
            server = self.chance.choice(self.servers)
            server.skew_us = self.chance.choice([0, 0, -300, -3, 2, 90, 4_000]) * SECOND_US
            self._tell(server.name, f"has its clock set {server.skew_us / SECOND_US:+} s off", "")

    def _look_back(self) -> None:
        """When all is over: old requests have their old answers, every moment reads as it was, the journal is whole."""
        answered = list(self.checks.answers.values())
        server = self.chance.choice(self.servers)
        for sent, _ in self.chance.sample(answered, min(AGAIN_AT_THE_END, len(answered))):
            self._ask(server, "someone who asks again", sent)
        self._rest(server)
        revision = self.chance.randint(1, self.checks.head)
        self.checks.as_of(revision)
        if self.habits.reads_every < NEVER:
            self.checks.reads_now()
            self.checks.reads_as_of(revision)
        self.checks.whole()
        if self.chance.random() < REBUILT:
            self.checks.rebuilt(revision)

    # The story.

    def _step(self, who: str, what: Any, came: Any) -> None:
        self.steps += 1
        self._tell(who, what, came)

    def _tell(self, who: str, what: Any, came: Any) -> None:
        self._history.append((self.steps, self.now_us, who, what, came))

    def trace(self, last: int | None = None) -> str:
        """What happened, a line for each thing, ids in few letters."""
        lines = []
        short = Short()
        for step, now_us, who, what, came in self._history:
            text = f"{step:4} +{(now_us - START_US) / SECOND_US:.3f}s {who}  {described(what)}"
            lines.append(short.of(f"{text}  ->  {described(came)}" if came != "" else text))
        return "\n".join(lines[-last:] if last else lines)


def perform(orchestrator: Orchestrator, sent: Sent) -> Any:
    """Call a service; the errors of the contract are outcomes. The message is the client's, who may use it for
    something else afterwards: nobody else may rely on it.
    """
    request = type(sent.request)()
    request.CopyFrom(sent.request)
    try:
        return getattr(orchestrator.calls, sent.method)(request, sent.caller)
    except PlayheadError as error:
        return error
    finally:
        for field, value in request.ListFields():
            if field.message_type is not None and not field.is_repeated:
                value.Clear()


def interrupt(orchestrator: Orchestrator, chance: random.Random) -> bool:
    """Have SQLite break off the next transaction after some instructions. False when nothing is connected yet."""
    connection = orchestrator._writer._connection
    if connection is not None:
        connection.set_progress_handler(lambda: 1, chance.randrange(1, INSTRUCTIONS_MAX))
    return connection is not None


def settle(orchestrator: Orchestrator) -> None:
    """Let transactions end as they will again."""
    if orchestrator._writer._connection is not None:
        orchestrator._writer._connection.set_progress_handler(None, 0)


class Short:
    """Ids in few letters, numbered as they appear."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def of(self, text: str) -> str:
        """The text with its ids, and what is very long, shortened."""
        text = re.sub(r"(.)\1{20,}", r"\1…", text)
        return re.sub(r'"?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"?', self._of, text)

    def _of(self, found: re.Match[str]) -> str:
        return self._ids.setdefault(found[1], f"#{len(self._ids) + 1}")


def described(what: Any) -> str:
    """A request or an outcome in a line."""
    if isinstance(what, Sent):
        return f"{what.method} {MessageToString(what.request, as_one_line=True, as_utf8=True)}"
    if isinstance(what, PlayheadError):
        return f"{type(what).__name__}: {what}"
    if isinstance(what, v1.ProposeStateResponse):
        state = f"{v1.StateType.Name(what.state.type)} {what.state.name!r}"
        rule = f" by {what.rule}" if what.rule else ""
        return f"{v1.Decision.Name(what.decision)}{rule}, {state} @{what.meta.revision}"
    return str(what) if isinstance(what, str) else MessageToString(what, as_one_line=True, as_utf8=True)


def steps_of(seed: int) -> int:
    """How long the history of a seed is: each hundredth is a long one."""
    return LONG_STEPS if seed % LONG_EVERY == LONG_EVERY - 1 else STEPS


def run_seed(seed: int, database: str, policy: Policy, reader: Orchestrator) -> World:
    """Make the history of a seed on a new journal, which `reader` has open too. Raises SimulationFailed, with all there
    is to know about it.
    """
    world = World(seed, database, policy, reader)
    try:
        world.run(steps_of(seed))
    except Exception as error:
        raise SimulationFailed(seed, world, error) from error
    finally:
        world.close()
    return world


class SimulationFailed(AssertionError):
    """A seed whose history breaks a promise: the seed, the step, what is wrong, how to replay it, and what happened."""

    def __init__(self, seed: int, world: World, error: Exception) -> None:
        self.error = error
        super().__init__(
            f"seed {seed}, step {world.steps}: {type(error).__name__}: {error}\n"
            f"replay it: pytest -n 0 tests/simulation/test_simulation.py --seed {seed}\n"
            f"what came before, at most {TOLD_MAX} lines:\n{world.trace(TOLD_MAX)}"
        )
