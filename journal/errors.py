"""What can go wrong in the journal.

JournalError
├── JournalFull         the disk refused the write: nothing was recorded; free space, send the same request again
├── JournalReadOnly     the database can not be written: make it writable, send the same request again
├── JournalUnavailable  the database did not answer in time, or another holds it: send the same request again
├── CorruptRecord       a stored record does not match its leaf, or the file is damaged: stop and look; `revision` is
│                       the first bad one, where it is known
├── NewerDatabase       made by a newer version of Playhead: upgrade this process
└── NotAJournal         the file or database is something else: check the address
"""

from __future__ import annotations

from playhead import v1
from playhead.exceptions import PlayheadError


class JournalError(PlayheadError):
    """Base of what can go wrong in the journal."""

    reason = v1.JOURNAL_UNAVAILABLE


class JournalFull(JournalError):
    """The disk refused the write. Nothing was recorded: free space, send the same request again."""

    reason = v1.JOURNAL_FULL


class JournalReadOnly(JournalError):
    """The database can not be written: make it writable, send the same request again."""

    reason = v1.JOURNAL_READ_ONLY


class JournalUnavailable(JournalError):
    """The database did not answer in time, or another process holds it: send the same request again."""

    reason = v1.JOURNAL_UNAVAILABLE


class CorruptRecord(JournalError):
    """A stored record does not match its leaf, or the file is damaged: stop and look. `facts["revision"]` is the first
    bad one, where it is known.
    """

    reason = v1.CORRUPT_RECORD


class NewerDatabase(JournalError):
    """The database was made by a newer version of Playhead: upgrade this process."""

    reason = v1.NEWER_DATABASE


class NotAJournal(JournalError):
    """The file or database is something else than a Playhead journal: check the address."""

    reason = v1.NOT_A_JOURNAL
