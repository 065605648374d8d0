"""A watch that is cut off goes on where it was: over all its connections nothing is skipped, twice or out of order.

A random history is appended through a database that the server has open too, as another process has. Meanwhile watchers
lose their connections again and again: the call is cancelled, or the whole channel closed, before a message was looked
at, in the middle of a page, or while nothing happens. Each resumes from the last revision that it has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from playhead import v1
from playhead.client.interface import WATCH_EVENTS, WATCH_RUN
from playhead.client.remote import RemoteClient
from playhead.journal.encoding import text_of
from playhead.journal.record import Record
from playhead.journal.service import journal_event
from playhead.projector.showing import changes_run, status_of
from tests.grpc_server.conftest import ServerProcess, ThreadedServer
from tests.histories import CALLERS, FLOW_RUN_IDS, TASK_RUN_IDS, TASK_RUNS, Life, Step, stories
from tests.stores import NewStore

WAIT_S = 60
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # what hangs would be shrunk for hours
THE_END = "the end"
FLOW_RUN, TASK_RUN = FLOW_RUN_IDS[0], TASK_RUN_IDS[0]
EVENT_KINDS = ["flow_run_created", "run_updated", "state_proposed"]

Seen = tuple[int, Any]
Server = ThreadedServer | ServerProcess

cuts = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=3, max_size=12)


class Watcher:
    """Watches to the end. After each of `cuts` (so many things seen, then cancel the call or close the channel) it
    connects again.
    """

    def __init__(self, address: str, method: Any, request: Any, cuts: list[tuple[int, bool]]) -> None:
        self._address = address
        self._method = method
        self._request = request
        self._cuts: Iterator[tuple[int | None, bool]] = chain(cuts, repeat((None, True)))
        self.seen: list[Seen] = []

    def watch(self) -> list[Seen]:
        """What was seen, over all connections."""
        client = RemoteClient(self._address)
        try:
            for left, close in self._cuts:
                stream = client.stream(self._method, self._request)
                ended = self._watch(stream, left)
                stream.close()  # type: ignore[attr-defined] # a generator, as the interface says
                if ended:
                    break
                if close:
                    client.close()
                    client = RemoteClient(self._address)
        finally:
            client.close()
        return self.seen

    def _watch(self, stream: Iterator[Any], left: int | None) -> bool:
        """See so many things, or all; whether that was the end."""
        for response in stream:
            for revision, what in things(response):
                if left == 0:
                    return False
                left = None if left is None else left - 1
                self._request.after_revision = revision
                if what is not None:
                    self.seen.append((revision, what))
                    if ends(what):
                        return True
        raise AssertionError("the stream ended by itself")


def things(response: Any) -> Iterator[Seen]:
    """What a message tells, each with its revision; None of those that only say how far the stream has come."""
    if isinstance(response, v1.WatchRunResponse):
        run = response.task_run if response.WhichOneof("run") == "task_run" else response.flow_run
        yield response.meta.revision, run.status
    elif response.HasField("page"):
        for event in response.page.events:
            yield event.revision, event
    else:
        yield response.meta.revision, None


def ends(what: Any) -> bool:
    """Whether a run has the name, or was given it, that ends a watch."""
    if isinstance(what, v1.RunStatus):
        return what.name == THE_END
    return bool(what.event.run_updated.command.name == THE_END)


def all_watchers(address: str, after: int, drawn: list[list[tuple[int, bool]]]) -> list[Watcher]:
    """One watcher of each kind, each with its cuts."""
    asked: list[tuple[Any, Any]] = [
        (WATCH_EVENTS, v1.WatchEventsRequest(after_revision=after)),
        (WATCH_EVENTS, v1.WatchEventsRequest(after_revision=after, filter=v1.EventFilter(stream=FLOW_RUN))),
        (WATCH_EVENTS, v1.WatchEventsRequest(after_revision=after, filter=v1.EventFilter(kinds=EVENT_KINDS))),
        (WATCH_RUN, v1.WatchRunRequest(after_revision=after, flow_run_id=FLOW_RUN)),
        (WATCH_RUN, v1.WatchRunRequest(after_revision=after, task_run_id=TASK_RUN)),
    ]
    return [Watcher(address, method, request, cut) for (method, request), cut in zip(asked, drawn, strict=True)]


def expected(records: list[Record]) -> list[list[Seen]]:
    """What the watchers are to see of these events, each up to its end."""
    events = [(record.revision, journal_event(record)) for record in records]
    return [
        up_to_the_end(events),
        up_to_the_end([(revision, event) for revision, event in events if event.stream == FLOW_RUN]),
        up_to_the_end([(revision, event) for revision, event in events if event.kind in EVENT_KINDS]),
        *(
            up_to_the_end(
                [
                    (record.revision, status_of(v1.Event.FromString(record.payload or b"")))
                    for record in records
                    if text_of(record.stream) == run_id and changes_run(record)
                ]
            )
            for run_id in (FLOW_RUN, TASK_RUN)
        ),
    ]


def up_to_the_end(seen: list[Seen]) -> list[Seen]:
    """Leave out what comes after the end."""
    last = next(index for index, (_, what) in enumerate(seen) if ends(what))
    return seen[: last + 1]


def check(server: Callable[[str], Server], store: str, story: list[Step], drawn: Any, from_the_start: bool) -> None:
    """Append a story while all watchers watch, and compare what they have seen with what there is."""
    with Life(store) as life, ThreadPoolExecutor(5) as pool:
        life.send("create_task_run", v1.CreateTaskRunRequest(spec=TASK_RUNS[0]), CALLERS[0])
        life.settle()
        after = 1 if from_the_start else life.head()
        running = server(store)
        try:
            watching = [pool.submit(watcher.watch) for watcher in all_watchers(running.address, after, drawn)]
            life.live(story)
            for run in ({"task_run_id": TASK_RUN}, {"flow_run_id": FLOW_RUN}):
                life.send("update_run", v1.UpdateRunRequest(**run, name=THE_END), CALLERS[0])  # type: ignore[arg-type] # one of two ids
            life.settle()
            seen = [future.result(WAIT_S) for future in watching]
        finally:
            running.close()
        assert seen == expected([record for record in life.records() if record.revision > after])


def test_watches_that_are_cut_off_miss_nothing(new_store: NewStore) -> None:
    @settings(max_examples=12 if new_store.kind == "sqlite" else 4, phases=PHASES)
    @given(stories, st.lists(cuts, min_size=5, max_size=5), st.booleans())
    def live_and_watch(story: list[Step], drawn: Any, from_the_start: bool) -> None:
        check(ThreadedServer, new_store(), story, drawn, from_the_start)

    live_and_watch()


def test_watches_of_another_process_that_are_cut_off_miss_nothing(tmp_path: Path) -> None:
    numbers = iter(range(100))

    @settings(max_examples=3, phases=PHASES)
    @given(stories, st.lists(cuts, min_size=5, max_size=5))
    def live_and_watch(story: list[Step], drawn: Any) -> None:
        store = str(tmp_path / f"journal_{next(numbers)}.db")
        check(lambda address: ServerProcess(Path(address)), store, story, drawn, from_the_start=False)

    live_and_watch()
