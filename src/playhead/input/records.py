"""What is known of an input."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pydantic_core
from pydantic import BaseModel

from playhead import v1


class RunInputMetadata(BaseModel):
    """Of a received input: its key, who sent it and when, and the flow run that received it.

    `sender` is None when it was not said, and `created` when the input was brought by a resume.
    """

    key: str
    sender: str | None = None
    receiver: UUID | None = None
    created: datetime | None = None


class FlowRunInput(BaseModel):
    """An input as it is stored. `value` is what its JSON says."""

    flow_run_id: UUID
    key: str
    value: Any
    sender: str | None
    created: datetime

    @classmethod
    def of(cls, message: v1.RunInput) -> FlowRunInput:
        """The input of the contract's message."""
        return cls(
            flow_run_id=UUID(message.flow_run_id),
            key=message.key,
            value=pydantic_core.from_json(message.value),
            sender=message.sender or None,
            created=message.sent.ToDatetime(UTC),
        )

    @property
    def metadata(self) -> RunInputMetadata:
        """What the receiver is told beside the value."""
        return RunInputMetadata(key=self.key, sender=self.sender, receiver=self.flow_run_id, created=self.created)


def json_of(value: Any) -> bytes:
    """A value as JSON: models, dataclasses, times, UUIDs and what else pydantic knows. Raises ValueError for others."""
    return pydantic_core.to_json(value, inf_nan_mode="constants")
