"""Commands on their way to the journal, and their answers on the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
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

Finish = Callable[[list[object]], object]
"""What a job is answered with, made of its commands' outcomes: each an answer or a PlayheadError. May raise one."""


def only(outcomes: list[object]) -> object:
    """The outcome of a job's one command."""
    (outcome,) = outcomes
    if isinstance(outcome, PlayheadError):
        raise outcome
    return outcome


@dataclass(slots=True)
class Job(Generic[C]):
    """Commands that came together and are answered together, through `future`."""

    commands: Sequence[C]
    finish: Finish = only
    future: Future[Any] = field(default_factory=Future)
    outcomes: list[object] = field(default_factory=list)

    def settle(self, error: BaseException | None) -> None:
        """Resolve the future: with the error, or with what came of the commands."""
        if not self.future.set_running_or_notify_cancel():
            return
        if error is not None:
            self.future.set_exception(error)
            return
        try:
            self.future.set_result(self.finish(self.outcomes))
        except PlayheadError as refusal:
            self.future.set_exception(refusal)
