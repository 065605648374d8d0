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
from playhead.engine.orchestration.policy import Policy
from tests.clocks import ManualClock
from tests.simulation.world import World, run_seed

RAM_DISK = Path("/dev/shm")

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
    new = folder / "new.db"
    Orchestrator.open(str(new), clock=ManualClock(), timers=False).close()
    # What is there now stays: no use in the collector's looking through all of it again and again.
    gc.collect()
    gc.freeze()

    def make(seed: int, policy: Policy) -> World:
        database = folder / f"{seed}.db"
        shutil.copy(new, database)
        try:
            return run_seed(seed, str(database), policy)
        finally:
            for file in folder.glob(f"{seed}.db*"):
                file.unlink()

    yield make
    gc.unfreeze()
    shutil.rmtree(folder)
