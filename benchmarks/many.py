"""A flow with many mapped tasks, each with a result that is no small one: `python -m benchmarks.many COUNT`."""

from __future__ import annotations

import logging
import sys

from playhead import flow, task

RESULT_BYTES = 20 << 10


@task
def make(number: int) -> bytes:
    """A result that is a file."""
    return number.to_bytes(8, "big") * (RESULT_BYTES // 8)


@flow
def many(count: int) -> int:
    """All of them at once, and each result looked at."""
    return sum(len(future.result()) for future in make.map(range(count)))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    wanted = int(sys.argv[1])
    assert many(wanted) == wanted * RESULT_BYTES
