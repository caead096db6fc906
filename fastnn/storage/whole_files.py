"""Files that are written whole or not at all.

The content goes into a part beside the file, which then takes the file's place: a rename is atomic
within one file system. A process that is killed meanwhile leaves its part behind; the next one that
writes into the folder removes it. Whether a part still has its process is told by a lock on it,
which the system drops with the process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where parts of killed processes stay
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".fastnn-", ".part"
_swept: set[tuple[int, Path]] = set()  # processes, and folders that they have looked through


def write_whole(file: Path, content: bytes, private: bool = False, durable: bool = False) -> None:
    """Write a file such that whoever reads it has the old or the new content whole.

    Parameters and errors are those of `whole_file`.
    """
    with whole_file(file, private, durable) as stream:
        stream.write(content)


@contextlib.contextmanager
def whole_file(file: Path, private: bool = False, durable: bool = False) -> Iterator[IO[bytes]]:
    """Give a stream for the content of a file, which is there when the block has ended well.

    Whoever reads the file has the old or the new content whole; an error leaves the old one.

    Parameters
    ----------
    file
        Not a link. The permissions of an existing file stay, unless
    private
        the file is to be for this user alone.
    durable
        Return only when it would outlast a power failure.

    Raises
    ------
    OSError
        What the system says, of the part or of the file; nothing has changed.
    """
    _sweep(file.parent)
    part, descriptor = _open_part(file.parent, 0o600 if private else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
            if not private and file.exists():
                shutil.copymode(file, part)
            if fcntl is not None:  # the lock lasts until the part is none
                os.replace(part, file)
        if fcntl is None:  # Windows renames closed files only
            os.replace(part, file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    if durable and os.name != "nt":
        _sync_folder(file.parent)


def try_folder(folder: Path) -> None:
    """Make a part in a folder and remove it: what the system says to that, it says to a file.

    Raises
    ------
    OSError
        No file can be written there, whatever the rights seem to be.
    """
    part, descriptor = _open_part(folder, 0o600)
    os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):  # taken for one left behind
        part.unlink()


def _open_part(folder: Path, mode: int) -> tuple[Path, int]:
    """Return a new part in the folder and its descriptor, locked where the system has locks."""
    while True:
        part = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(part, flags, mode)
        # Before it was locked, another process may have taken it for one left behind.
        if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink > 0:
            return part, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock an open file: return whether it could be locked, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without
        return None
    return True


def _sweep(folder: Path) -> None:
    """Remove, once a process, what killed processes left in the folder."""
    key = os.getpid(), folder  # a child that was forked has a look of its own
    if key in _swept or fcntl is None:
        return
    _swept.add(key)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with contextlib.suppress(OSError):
                    _remove_abandoned(entry.path)


def _remove_abandoned(part: str) -> None:
    descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _lock(descriptor):
            os.unlink(part)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Let the new name of a file outlast a power failure, where a folder can be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
