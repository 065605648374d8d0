"""Commands on their way to the journal, and their answers on the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress
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


class Awaited(Protocol):
    """A future, as whoever has the answer sees it."""

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


@dataclass(slots=True)
class Job(Generic[C]):
    """Commands that came together and are answered together: by `answer` or `error`, and through `future` where
    somebody waits for it.
    """

    commands: Sequence[C]
    finish: Finish = only
    future: Awaited | None = None
    outcomes: list[object] = field(default_factory=list)
    answer: Any = None
    error: BaseException | None = None

    def settle(self, error: BaseException | None) -> None:
        """Answer: with the error, or with what came of the commands."""
        if error is None:
            try:
                self.answer = self.finish(self.outcomes)
            except PlayheadError as refusal:
                error = refusal
        self.error = error
        if self.future is None:
            return
        with suppress(InvalidStateError):  # it was cancelled: nobody asks for the answer
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(self.answer)

    def result(self) -> Any:
        """The answer, or the error raised, once it is settled."""
        if self.error is not None:
            raise self.error
        return self.answer
