"""Pages that can not tear: a token pins the revision of the first page and where the last one ended."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

from playhead.exceptions import BadPageToken, TooLarge
from playhead.projector.sql import OPEN

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1_000

Row = TypeVar("Row")

PAGE_BYTES_MAX = 2 << 20
"""A page ends early rather than be larger than this, and one more row."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page begins: as of `revision`, after the row of `key` (None: at the first row), `size` rows at most."""

    revision: int
    key: int | None
    size: int
    digest: str

    def next_token(self, key: int) -> str:
        """The token for the page after the row of `key`."""
        return base64.urlsafe_b64encode(json.dumps([self.digest, self.revision, key]).encode()).decode().rstrip("=")


def page_of(request: Any, moment: int | None) -> Page | None:
    """The page a List request asks for: at `moment` for a first page; None asks for what the token pins."""
    if request.page_size > PAGE_SIZE_MAX:
        raise TooLarge(
            f"{request.page_size}, at most {PAGE_SIZE_MAX}",
            field="page_size",
            limit=PAGE_SIZE_MAX,
            actual=request.page_size,
        )
    size = request.page_size or PAGE_SIZE_DEFAULT
    if not request.page_token:
        return None if moment is None else Page(moment, None, size, _digest(request))
    digest = _digest(request)
    try:
        token = request.page_token
        made_for, revision, key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if not (type(revision) is type(key) is int and 0 <= key <= revision < OPEN):
            raise ValueError(token)
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise BadPageToken("not a token that this method gave", field="page_token") from error
    if made_for != digest:
        raise BadPageToken("given for a request with other fields: repeat them", field="page_token")
    return Page(revision, key, size, digest)


def fitting(rows: list[Row], size_of: Callable[[Row], int]) -> list[Row]:
    """As many rows as fit a page, and at least one."""
    size = 0
    for index, row in enumerate(rows):
        size += size_of(row)
        if size > PAGE_BYTES_MAX:
            return rows[: index + 1]
    return rows


def _digest(request: Any) -> str:
    """What must stay the same from page to page: the method and every field but token, size and moment."""
    same = type(request)()
    same.CopyFrom(request)
    for field in {"page_token", "page_size", "read_at"}.intersection(type(request).DESCRIPTOR.fields_by_name):
        same.ClearField(field)
    name = type(request).DESCRIPTOR.name
    return sha256(name.encode() + same.SerializeToString(deterministic=True)).hexdigest()[:16]
