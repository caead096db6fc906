"""Where fastnn keeps what it can make again, and which of it can be trusted.

Compiled code that is read from a file runs with the rights of whoever reads it. So a file is used
only if nobody else can have written it: the file, its folder, all folders above and all links on
the way belong to this user or to root, and neither the group nor others may write to them. Above
the folder itself a sticky one such as /tmp will do, in which everybody's files are their own. All
this is looked at each time, and of the file on the open descriptor. A hash or a signature beside
the file would prove nothing: whoever can write one can write the other.

On Windows the folders are in the user's profile, which the system guards.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path

from fastnn import __started_in__
from fastnn.errors import CacheWarning
from fastnn.storage.whole_files import write_whole

_POSIX = hasattr(os, "geteuid")
_MOST_LINKS = 40  # on the way to a folder, as in Linux
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# What the system says of a place that can be read but not written: no reason for a warning.
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_warned = False


class Untrusted(Exception):
    """A file or a folder that somebody else can have written."""


def cache_folder(name: str) -> Path:
    """Return the folder `name` among fastnn's caches, made if need be, for this user alone.

    `FASTNN_CACHE_DIR` chooses another place for all of them. Where the chosen or usual place cannot
    be made or trusted, it is in a folder of this user's in the system's temporary folder, and if
    that is not to be trusted either, a new one that ends with the process.
    """
    chosen = os.environ.get("FASTNN_CACHE_DIR")
    try:
        return _trusted(_absolute(chosen) / name if chosen else _usual() / name, make=True)
    except Untrusted as error:
        problem = str(error)
    except (OSError, ValueError, RuntimeError) as error:  # no home, on Windows
        problem = _of(error) if chosen and getattr(error, "errno", 0) not in _READ_ONLY else ""
    try:
        folder = _trusted(Path(tempfile.gettempdir()).absolute() / _own_name() / name, make=True)
    except (Untrusted, OSError):
        folder = _passing() / name
    if problem:
        warn(problem, f"compiled code is kept in {folder}")
    return folder


@cache
def _absolute(chosen: str) -> Path:
    """Return the path that was meant, wherever the process goes to afterwards."""
    path = os.path.expanduser(chosen)
    if path.startswith("~"):
        raise OSError(errno.ENOENT, "there is no such home", path)
    return Path(os.path.normpath(os.path.join(__started_in__, path)))


def _usual() -> Path:
    """Return where this system keeps caches, or raise `OSError` where there is no home."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "fastnn"
    base = os.environ.get("XDG_CACHE_HOME", "")
    if sys.platform == "darwin" or not os.path.isabs(base):  # a relative one does not count
        home = os.environ.get("HOME", os.path.expanduser("~"))
        if not os.path.isabs(home):
            raise OSError(errno.ENOENT, "this user has no home", home)
        base = os.path.join(home, "Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(base) / "fastnn"


def _own_name() -> str:
    return f"fastnn-{os.geteuid() if _POSIX else os.environ.get('USERNAME', 'user')}"


@cache
def _passing() -> Path:
    """Return a new folder that is removed when the process ends."""
    try:
        folder, maker = tempfile.mkdtemp(prefix="fastnn-"), os.getpid()
    except OSError:
        return Path(os.devnull)  # in which nothing is, and can be

    def remove() -> None:
        if os.getpid() == maker:  # and not a child that was forked
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)


def _trusted(folder: Path, make: bool = False) -> Path:
    """Return the real path of a folder that nobody else can write, or raise `Untrusted`.

    `make`: what is missing is made, for this user alone.
    """
    if not _POSIX:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        return folder
    here, waiting, links = folder.anchor, list(folder.parts[:0:-1]), 0
    _check(here, os.lstat(here), above=True)
    while waiting:
        part = waiting.pop()
        if part == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, part)
        try:
            state = os.lstat(there)
        except FileNotFoundError:
            if not make:
                raise
            with contextlib.suppress(FileExistsError):
                os.mkdir(there, 0o700)
            state = os.lstat(there)
        if not stat.S_ISLNK(state.st_mode):
            _check(there, state, above=True)
            here = there
            continue
        _check_owner(there, state)
        target = Path(os.readlink(there))
        waiting += target.parts[::-1]
        if target.is_absolute():
            here = waiting.pop()
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))
    _check(here, os.lstat(here), above=False)
    return Path(here)


def _check(path: str, state: os.stat_result, above: bool) -> None:
    """Raise `Untrusted` for a folder that others can write; `above` the one that matters."""
    if not stat.S_ISDIR(state.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    _check_owner(path, state)
    if state.st_mode & _OTHERS_WRITE and not (above and state.st_mode & stat.S_ISVTX):
        raise Untrusted(_writable(path, state))


def _check_owner(path: str, state: os.stat_result) -> None:
    if state.st_uid not in (0, os.geteuid()):
        raise Untrusted(f"{path} belongs to another user (number {state.st_uid})")


def _writable(path: str, state: os.stat_result) -> str:
    mode = stat.S_IMODE(state.st_mode)
    return f"other users may write to {path} (mode {mode:o}; chmod go-w would end that)"


def read_trusted(file: Path) -> bytes | None:
    """Return the content of a file that nobody else can have written; None if there is no file.

    Raises
    ------
    Untrusted
        Somebody else can have written it.
    OSError
        It is no file, or cannot be read.
    """
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    try:
        real = _trusted(file.parent) / file.name
        descriptor = os.open(real, os.O_RDONLY | sum(flags))
    except FileNotFoundError:
        return None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a file", str(real))
        if _POSIX:
            _check_owner(str(real), state)
            if state.st_mode & _OTHERS_WRITE:
                raise Untrusted(_writable(str(real), state))
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(descriptor)


def write_trusted(file: Path, content: bytes) -> None:
    """Write a file for this user alone; a read-only place is left as it is, without a word.

    Raises
    ------
    Untrusted
        Others can write to the folder.
    OSError
        Another reason why it cannot be written, such as a full disk; nothing has changed.
    """
    try:
        write_whole(_trusted(file.parent, make=True) / file.name, content, private=True)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise


def warn(problem: str, consequence: str) -> None:
    """Warn, once a process, of a cache that cannot be used."""
    global _warned
    if not _warned:
        _warned = True
        message = f"fastnn's cache: {problem}; {consequence}. FASTNN_CACHE_DIR names another folder"
        warnings.warn(CacheWarning(message), stacklevel=2)


def _of(error: BaseException) -> str:
    """Return what went wrong in one line."""
    named = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{named}: {reason}" if named else str(reason)
