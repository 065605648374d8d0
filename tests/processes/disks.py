"""Disks that are full or read-only when a test says so."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

BLOCK = 4_096
DISK_BYTES = 8 << 20
PAGES_LEFT = 3
PLENTY = 1 << 20


class Disk(ABC):
    """Where a journal is: `database` is its path, `options` what its server has to be started with."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "journal.db"
        self.options: tuple[str, ...] = ()

    @abstractmethod
    def fill(self) -> None:
        """Leave hardly any room."""

    @abstractmethod
    def free(self) -> None:
        """Make room again."""


class Tmpfs(Disk):
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(BLOCK))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        self._ballast.unlink()


class PageLimit(Disk):
    """A database that may not grow: SQLite itself says that it is full, where nothing can be mounted too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._room = folder / "room"
        self.options = (str(self._room),)
        self.free()

    def fill(self) -> None:
        pages = pages_of(self.database)
        self._room.write_text(str(pages + PAGES_LEFT))

    def free(self) -> None:
        self._room.write_text(str(PLENTY))


def pages_of(database: Path) -> int:
    """How many pages a database has, its log included."""
    with closing(sqlite3.connect(database)) as connection:
        pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    return pages


def kinds() -> list[str]:
    """The kinds of disk that this machine can make."""
    if not (shutil.which("unshare") and shutil.which("mount")):
        return ["limit"]
    # In a mount namespace of its own, so that nothing is left of it.
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    mounted = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    return ["limit", "tmpfs"] if mounted else ["limit"]


@contextmanager
def disk_of(kind: str, folder: Path) -> Iterator[Disk]:
    """A disk at a folder."""
    if kind == "limit":
        yield PageLimit(folder)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield Tmpfs(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def make_writable(folder: Path, writable: bool) -> None:
    """Let the owner write the files of a folder and the folder, or not."""
    folder.chmod(0o700 if writable else 0o500)
    for file in folder.iterdir():
        file.chmod(0o600 if writable else 0o400)
