"""Many seeds, each a history of servers, clients and faults; after each step every promise is checked."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from playhead.engine.orchestration.policy import core_policy
from tests.simulation.conftest import Simulate

SEEDS = 2_000
SOAK_SEEDS = 50_000
BLOCK = 50
"""Seeds in a test: enough tests for all workers, not too many to read."""

POLICY = core_policy()

Record = Callable[[str, object], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The seeds, in blocks; with --seed, that one."""
    if "first_seed" in metafunc.fixturenames:
        only = metafunc.config.getoption("--seed")
        soak = "soaked" in metafunc.function.__name__
        seeds = range(SEEDS, SOAK_SEEDS, BLOCK) if soak else range(0, SEEDS, BLOCK)
        metafunc.parametrize("first_seed", seeds if only is None else [only])


def test_no_seed_breaks_a_promise(
    simulate: Simulate,
    first_seed: int,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
    record_property: Record,
) -> None:
    if pytestconfig.getoption("--seed") is None:
        a_block(simulate, first_seed, record_property)
    else:
        world = simulate(first_seed, POLICY)
        with capsys.disabled():
            print(f"\n{world.trace()}")


@pytest.mark.soak
def test_no_seed_of_many_more_breaks_a_promise_soaked(
    simulate: Simulate, first_seed: int, record_property: Record
) -> None:
    a_block(simulate, first_seed, record_property)


def a_block(simulate: Simulate, first_seed: int, record_property: Record) -> None:
    """Make the histories of a block of seeds, and note how many steps they had, for the summary at the end."""
    began_s = time.process_time()
    steps = sum(simulate(seed, POLICY).steps for seed in range(first_seed, first_seed + BLOCK))
    record_property("simulated", [BLOCK, steps, time.process_time() - began_s])


def test_a_seed_is_one_history(simulate: Simulate) -> None:
    """What a failure prints can be replayed: two histories of a seed differ in nothing but the journal's own id."""
    assert simulate(23, POLICY).trace() == simulate(23, POLICY).trace()
