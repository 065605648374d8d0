"""Where simulated journals are: on a RAM disk if there is one, each a copy of one that is new."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.engine.orchestration.policy import Policy, core_policy
from playhead.journal.journal import Journal
from playhead.journal.sqlite import SqliteDatabase
from tests.clocks import ManualClock
from tests.simulation.world import World, run_seed

RAM_DISK = Path("/dev/shm")

OBJECTS_TO_COLLECT = 200_000
"""New objects after which the collector looks, instead of some hundreds."""


class Readable(SqliteDatabase):
    """A journal's file. All processes read through the same few connections, which know nothing that one could forget:
    that one of them begins to write is no reason to open them anew.
    """

    def reopen(self) -> None:
        """Nothing to do."""


Simulate = Callable[[int, Policy], World]


@pytest.fixture(scope="session")
def simulate() -> Iterator[Simulate]:
    """Makes the history of a seed under a policy; raises SimulationFailed if it breaks a promise.

    A new journal costs tables and fsyncs, and what is simulated is not the disk: a file is copied instead, to memory
    where possible. SQLite is told nothing of it; its settings are those of any journal.
    """
    folder = Path(
        tempfile.mkdtemp(prefix="playhead-simulation-", dir=RAM_DISK if os.access(RAM_DISK, os.W_OK) else None)
    )
    new, database = folder / "new.db", folder / "journal.db"
    Orchestrator.open(str(new), clock=ManualClock(), timers=False).close()
    shutil.copy(new, database)
    # One process has the journal of each seed open, one after another: so it compiles its queries once.
    reader = Orchestrator(Journal(Readable(str(database)), ManualClock()), core_policy(), timers=False)
    # What is there now stays, and a seed leaves little behind: no use in the collector's looking again and again.
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(OBJECTS_TO_COLLECT)

    def make(seed: int, policy: Policy) -> World:
        reader.journal.database.engine.dispose()
        for file in folder.glob(f"{database.name}*"):
            file.unlink()
        shutil.copy(new, database)
        return run_seed(seed, str(database), policy, reader)

    yield make
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    reader.close()
    shutil.rmtree(folder)
