"""What a flow's process keeps: not every value that its runs have made."""

from __future__ import annotations

import gc
from typing import Any
from weakref import WeakSet

import pytest

from playhead import flow, stored_results, task
from playhead.engine.orchestration.known import RESULT_BYTES_MAX, Known
from tests.sdk.conftest import Service

RESULT_BYTES = 20_000
alive: WeakSet[Heavy] = WeakSet()


class Heavy:
    """A value that is counted while it is in memory."""

    def __init__(self, number: int) -> None:
        self.content = number.to_bytes(2, "big") * (RESULT_BYTES // 2)
        alive.add(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        alive.add(self)


@task
def make(number: int) -> Heavy:
    return Heavy(number)


@task
def measure(heavy: Heavy) -> int:
    return int.from_bytes(heavy.content[:2], "big")


def test_stored_values_make_room_for_others_and_are_read_again(
    embedded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_results, "VALUES_BYTES_MAX", 5 * RESULT_BYTES)

    @flow
    def many() -> tuple[int, list[int], list[bytes]]:
        futures = make.map(range(50))
        futures.wait()
        gc.collect()
        held = len(alive)
        contents = [future.result().content[:2] for future in futures]
        return held, measure.map(futures).result(), contents

    held, numbers, contents = many()
    assert 0 < held <= 5
    assert numbers == list(range(50))
    assert contents == [number.to_bytes(2, "big") for number in range(50)]


def test_there_is_room_for_one_value_however_large(embedded: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_results, "VALUES_BYTES_MAX", 1)

    @flow
    def one() -> bool:
        future = make.submit(1)
        return future.result() is future.result()

    assert one()


def test_runs_that_have_ended_with_large_results_are_not_kept_by_the_rules(embedded: Service) -> None:
    @task
    def text(length: int) -> str:
        return "a" * length

    @flow
    def two() -> list[str]:
        futures = [text.submit(length) for length in (10, 2 * RESULT_BYTES_MAX)]
        return [future.run_id for future in futures]

    small, large = two()
    known = [each for each in gc.get_objects() if isinstance(each, Known)]
    kept = {run.run_id.hex() for each in known for run in each._runs.values()}
    assert small.replace("-", "") in kept
    assert large.replace("-", "") not in kept
    assert len(embedded.task_run(large).status.state.result.inline) > RESULT_BYTES_MAX
