"""Several processes on one database: what others did is taken from their events, and nothing of it is read again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from playhead import v1
from playhead.engine.orchestration.known import RESULT_BYTES_MAX, Known, Run
from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Subject
from playhead.journal.encoding import bytes_of
from playhead.journal.payload import event_of
from playhead.journal.record import Record
from playhead.replay.verify import verify_journal
from tests.orchestration.commanding import ALICE, Commanding, commanding, new_id


@contextmanager
def two(store: str) -> Iterator[tuple[Commanding, Orchestrator]]:
    """Two processes on one database."""
    with commanding(store) as command, Orchestrator.open(store, clock=command.clock, timers=False) as other:
        yield command, other


def proposed_by(other: Orchestrator, state: v1.State, **fields: object) -> v1.ProposeStateResponse:
    request = v1.ProposeStateRequest(request_id=new_id(), state=state, **fields)  # type: ignore[arg-type] # any field
    answer: v1.ProposeStateResponse = other.calls.propose_state(request, ALICE)
    return answer


def test_what_is_known_of_a_run_follows_what_others_did_to_it(store: str) -> None:
    large = v1.Result(inline=bytes(RESULT_BYTES_MAX + 1), size_bytes=RESULT_BYTES_MAX + 1)
    with two(store) as (command, other):
        run = command.task_run(v1.RUNNING, id=new_id(), task_key="t")

        def told_after(expected: v1.Decision.ValueType, state: v1.State, **fields: object) -> v1.RunStatus:
            """What a decision here is told of the run, after one that the other process has made."""
            assert proposed_by(other, state, task_run_id=run, **fields).decision == expected
            command.propose(v1.RUNNING, task_run_id=run, lease_token=7)
            record = command.orchestrator.journal.read(1, 1 << 62, stream=bytes_of(run), backwards=True, limit=1)[0]
            told = event_of(record).state_proposed.facts.status
            assert told == command.task_status(run)
            return told

        assert told_after(v1.ACCEPT, v1.State(type=v1.PENDING)).state.name == "Pending"
        assert told_after(v1.REJECT, v1.State(type=v1.FAILED), lease_token=7).state.name == "Pending"
        other.calls.update_run(v1.UpdateRunRequest(request_id=new_id(), task_run_id=run, name="renamed"), ALICE)
        assert told_after(v1.ACCEPT, v1.State(type=v1.RUNNING)).name == "renamed"
        assert told_after(v1.ACCEPT, v1.State(type=v1.COMPLETED, result=large)).state.result == large


@pytest.mark.parametrize("payload", [None, b""], ids=["is gone", "says nothing that is known here"])
def test_a_run_is_forgotten_when_an_event_of_it(payload: bytes | None) -> None:
    known, run_id = Known(), bytes_of(new_id())
    known.keep(Run(Subject.TASK_RUN, run_id, v1.TaskRunSpec(), v1.RunStatus(version=1), None))
    known.catch_up([Record(9, run_id, 2, "of_a_later_version", 0, "", None, 0, payload, None, b"")])
    assert run_id not in known._runs


def test_what_others_did_is_not_read_again(sqlite_store: str) -> None:
    with two(sqlite_store) as (command, other):
        run = command.task_run(v1.RUNNING, id=new_id(), task_key="t")
        proposed_by(other, v1.State(type=v1.PENDING), task_run_id=run)
        asked: list[str] = []
        connection = command.orchestrator._writer._connection
        connection.set_trace_callback(asked.append)
        assert command.propose(v1.RUNNING, task_run_id=run).decision == v1.ACCEPT
        connection.set_trace_callback(None)
        # The head, the others' events; and, as ids of requests are drawn by chance here, whether this one is on record.
        read = [text for text in asked if text.lstrip().startswith("SELECT") and "request_id IN" not in text]
        assert [text.split(" FROM ")[1].split(" ORDER")[0] for text in read] == [
            "events",
            "events WHERE revision >= 5 AND revision <= 5",
        ]
        assert verify_journal(command.orchestrator.journal).revision == command.orchestrator.journal.head()[0]
