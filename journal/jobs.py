"""Commands on their way to the write thread, and their answers on the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from playhead.exceptions import PlayheadError

BATCH_COMMANDS_MAX = 1_000
"""Commands decided in one transaction, unless a single job has more."""


class Command(Protocol):
    """What is asked for. `request_id` is 16 bytes, or None when it needs no recorded answer."""

    @property
    def request_id(self) -> bytes | None: ...


C = TypeVar("C", bound=Command)


@dataclass(slots=True)
class Job(Generic[C]):
    """Commands that came together and are answered together.

    `finish` makes the future's result of the outcomes, each an answer or a PlayheadError; None: there is one command,
    and its outcome is the result.
    """

    commands: Sequence[C]
    future: Any
    loop: asyncio.AbstractEventLoop | None
    finish: Callable[[list[object]], object] | None = None
    outcomes: list[object] = field(default_factory=list)

    def settle(self, error: BaseException | None) -> None:
        """Resolve the future: with the error, or with what came of the commands."""
        if error is not None:
            self.future.set_exception(error)
        elif self.finish is not None:
            self.future.set_result(self.finish(self.outcomes))
        elif isinstance(self.outcomes[0], PlayheadError):
            self.future.set_exception(self.outcomes[0])
        else:
            self.future.set_result(self.outcomes[0])


@dataclass(slots=True)
class Gathered(Generic[C]):
    """Jobs of one event loop that wait to be handed over together.

    One batch of a loop is with the writer at a time; what comes meanwhile is gathered. So the loop and the writer take
    turns rather than fight over the interpreter for each command, and the batches are larger.
    """

    jobs: list[Job[C]] = field(default_factory=list)
    handed_over: bool = False

    def take(self) -> list[Job[C]]:
        """Remove the first jobs, as many as one transaction takes."""
        count = 0
        for index, job in enumerate(self.jobs):
            count += len(job.commands)
            if count >= BATCH_COMMANDS_MAX:
                taken, self.jobs = self.jobs[: index + 1], self.jobs[index + 1 :]
                return taken
        taken, self.jobs = self.jobs, []
        return taken
