"""Where compiled kernels are kept between processes.

The folder is named after a hash of all sources that compiled code can come from, so an edit of any
makes a new one: see `sources`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

from fastnn import __version__
from fastnn.errors import TargetUnavailable
from fastnn.sanitizer import CHECKED
from fastnn.storage.cache_folders import cache_folder
from fastnn.storage.kernels.code_cache import full, load, store
from fastnn.storage.kernels.machine import own_processor, system
from fastnn.storage.kernels.machine_code import Code, at_work, file_in, unpack
from fastnn.threads.pool import uninterrupted

_NAMES = "kernels-"  # what names of folders begin with
_FOLDER = re.compile(_NAMES + "[0-9a-f]{16}(-checked)?")
_OURS = (".code", ".kernel", ".part")
_ROOT = os.path.abspath(os.path.join(__file__, *[os.pardir] * 4))
# An import at the top of a module; those in functions bring nothing into compiled code.
_IMPORT = re.compile(r"^(?:from (fastnn[\w.]*) import (\([^)]*\)|.*)|import (fastnn[\w.]*))", re.M)


def _modules() -> dict[str, str]:
    """Return the file of each module of the package by its name."""
    found = {}
    for folder, _, files in os.walk(os.path.join(_ROOT, "fastnn")):
        package = os.path.relpath(folder, _ROOT).replace(os.sep, ".")
        for file in files:
            if file.endswith(".py"):
                name = f"{package}.{file[:-3]}".removesuffix(".__init__")
                found[name] = os.path.join(folder, file)
    return found


def sources(*roots: str) -> dict[str, bytes]:
    """Return the source of modules and packages, and of all modules that these import, by name."""
    modules = _modules()
    prefixes = tuple(f"{root}." for root in roots)
    waiting = [name for name in modules if name in roots or name.startswith(prefixes)]
    found: dict[str, bytes] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        with open(modules[name], "rb") as file:
            found[name] = file.read()
        for module, names, alone in _IMPORT.findall(found[name].decode()):
            # What is imported from a package may be a module of it.
            wanted = module or alone, *(f"{module}.{each}" for each in re.findall(r"\w+", names))
            waiting += (each for each in wanted if each in modules)
    return found


def source_hash(*roots: str) -> str:
    """Return a hash of `sources`."""
    digest = hashlib.sha256(__version__.encode())
    for name, source in sorted(sources(*roots).items()):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:16]


# The modules whose functions are compiled, with all that they call.
COMPILED = (
    "fastnn.storage.kernels.compiling",
    "fastnn.targets.cpu.step.epoch",
    "fastnn.targets.cpu.step.linear",
    "fastnn.targets.cpu.step.sparse_linear",
    "fastnn.targets.cpu.shuffle",
)
# What looks over them changes what they become.
_CHECKS = ("fastnn.sanitizer",) if CHECKED else ()
# Taken now: what is imported fits these, whatever becomes of the files meanwhile.
_HASHED = (
    *COMPILED,
    "fastnn.storage.kernels.entries",
    "fastnn.targets.cpu.llvm.row_loops",  # what user-defined rules alone are compiled with
    *_CHECKS,
)


def read_packaged(file: Path) -> bytes:
    """Return the content of a file of the package, which may be in an archive."""
    loader: Any = getattr(sys.modules["fastnn"].__spec__, "loader", None)
    if hasattr(loader, "get_data"):
        return bytes(loader.get_data(str(file)))
    return file.read_bytes()


def _sources_hash() -> str:
    """Return the hash of the sources; without them that which was shipped, or else "".

    A package without sources, in an archive or frozen, is what it was when it was built.
    """
    if sources(*_HASHED):
        return source_hash(*_HASHED)
    try:
        return read_packaged(Path(_ROOT, "fastnn", "shipped", "SOURCES")).decode()
    except (OSError, ValueError):
        return ""


SOURCES = _sources_hash()
KNOWN = bool(SOURCES)  # else nothing can be kept, since an edit would not be noticed
PATIENCE_SECONDS = 3.0
_KEPT_SECONDS = 60 * 86400.0  # since it was last read
_log = logging.getLogger("fastnn")
_told = False  # whether a notice has warned in this process


@cache
def folder() -> Path:
    """Return the folder of what was compiled of these sources."""
    return cache_folder(f"{_NAMES}{SOURCES}{'-checked' * CHECKED}")


def is_folder_of_kernels(place: Path) -> bool:
    """Return whether a folder is one of compiled kernels, of these sources or of others."""
    return _FOLDER.fullmatch(place.name) is not None


def kept(name: str, made_of: str, make: Callable[[str], Code]) -> tuple[Code, bool]:
    """Return code that Numba makes in this process, and whether it was there already.

    Parameters
    ----------
    name
        What the file's name begins with.
    made_of
        All that the code follows from beside fastnn's sources and the processor.
    make
        Returns the code for an identity.

    Raises
    ------
    TargetUnavailable
        There is no Numba.
    """
    with at_work:
        return _kept(name, made_of, make)


def _kept(name: str, made_of: str, make: Callable[[str], Code]) -> tuple[Code, bool]:
    made_for = own_processor()
    flags = f"{made_for.cpu} {made_for.features} {made_for.opt}"
    text = hashlib.sha256(made_of.encode()).hexdigest()
    identity = f"{name} of {text} and sources {SOURCES} for {system()} {flags}"
    file = file_in(folder(), name, f"{identity} by {compilers()}")
    code = load(file, partial(unpack, identity=identity)) if KNOWN else None
    if code is not None:
        return code, True
    try:
        code = uninterrupted(partial(make, identity))
    except ImportError as error:
        raise TargetUnavailable(
            f"formulas and rules of your own are compiled by Numba, which cannot be imported here "
            f"({error}); install a Numba that fits this Python and NumPy"
        ) from error
    if KNOWN:
        store(file, code.pack)
        forget_old()
    return code, False


@cache
def compilers() -> str:
    """Return the versions of what compiles: another one may compile something else."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("numba", "llvmlite"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return " ".join(found)


def forget_old() -> None:
    """Delete what was compiled of other sources and has not been read for a while."""
    now = time.time()
    for other in folder().parent.glob(f"{_NAMES}*"):
        if other == folder() or not _FOLDER.fullmatch(other.name):
            continue
        with contextlib.suppress(OSError):
            files = list(other.iterdir())
            read = [max(file.stat().st_atime, file.stat().st_mtime) for file in files]
            if now - max([other.stat().st_mtime, *read]) > _KEPT_SECONDS:
                for file in files:
                    if file.suffix in _OURS:
                        file.unlink()
                other.rmdir()


class CompileNotice:
    """Logs what takes so long, if it is not ready after a moment.

    The first in a process is logged as a warning, which is seen, and later ones as information.
    """

    def __init__(self, what: str, why: str = "for this device") -> None:
        self._what, self._why, self._level = what, why, logging.INFO
        self.kept = True  # unless whoever compiles knows better
        self._timer = threading.Timer(PATIENCE_SECONDS, self._tell)
        self._timer.daemon = True
        self._begun = time.monotonic()

    def _tell(self) -> None:
        global _told
        self._level = logging.INFO if _told else logging.WARNING
        _told = True
        text = "fastnn: compiling %s %s: half a minute or more ..."
        _log.log(self._level, text, self._what, self._why)

    def __enter__(self) -> Self:
        """Start to wait; without a word where no thread can be started for that."""
        with contextlib.suppress(RuntimeError, MemoryError):
            self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Say how long it took, if that it began was said."""
        self._timer.cancel()
        seconds = time.monotonic() - self._begun
        if seconds > PATIENCE_SECONDS and exception[0] is None:
            kept = self.kept and folder() not in full and os.access(folder(), os.W_OK)
            where = f", kept in {folder()}" if kept else ""
            _log.log(self._level, "fastnn: compiled in %.0f s%s", seconds, where)
        forget_old()
