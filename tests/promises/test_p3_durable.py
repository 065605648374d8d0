"""P3: durable before acknowledged. A server is killed at random moments under load; what it has answered is there.

Each time, three databases see twelve kills of a server, twelve of its edge and twelve of its writer.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from playhead.engine.orchestration.timers import TIMERS
from tests.processes.checking import check_journal
from tests.processes.killing import Clients, killed_under_load


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_answered_survives_15_kills_of_the_server(tmp_path: Path, seed: int) -> None:
    database = str(tmp_path / "journal.db")
    check_answers(database, killed_under_load(database, seed, kills=15))


def test_what_was_answered_survives_6_kills_of_a_server_on_postgresql(postgres_store: str) -> None:
    check_answers(postgres_store, killed_under_load(postgres_store, seed=3, kills=6))


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_what_was_answered_survives_1000_kills_from_a_new_seed(tmp_path: Path) -> None:
    database = str(tmp_path / "journal.db")
    check_answers(database, killed_under_load(database, seed=random.randrange(1 << 32), kills=1_000))


def check_answers(database: str, clients: Clients) -> None:
    """No call failed otherwise than by the kill; the journal is whole, and has what was asked for once, and no more."""
    assert clients.failures == []
    requests = [asked[1].request_id.replace("-", "") for asked, _ in clients.answers]
    assert len(set(requests)) == len(requests)
    records = check_journal(database)
    asked = [record for record in records if record.request_id and record.actor != TIMERS.actor]
    assert {record.request_id.hex() for record in asked if record.request_id} == set(requests)
