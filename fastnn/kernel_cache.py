"""Where compiled kernels are kept between processes.

The folder is named after a hash of all sources that compiled code can come from, so an edit of any
makes a new one: see `sources`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import config, njit

from fastnn import __version__
from fastnn.code_cache import CodeCache, full
from fastnn.folders import cache_folder
from fastnn.sanitizer import CHECKED

_ROOT = os.path.dirname(os.path.dirname(__file__))
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
    """Return a hash of `sources`, and of the versions that read them."""
    digest = hashlib.sha256(f"{__version__} {numba.__version__}".encode())
    for name, source in sorted(sources(*roots).items()):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:16]


# The modules whose functions are compiled, with all that they call.
COMPILED = "fastnn.cpu.custom", "fastnn.cpu.epoch", "fastnn.cpu.linear", "fastnn.shuffling"
# What looks over them changes what they become.
_CHECKS = ("fastnn.sanitizer",) if CHECKED else ()
FOLDER = cache_folder(f"kernels-{source_hash(*COMPILED, *_CHECKS)}{'-checked' * CHECKED}")
PATIENCE_SECONDS = 3.0

if CHECKED and not config.DISABLE_JIT:
    from fastnn.sanitizer.instrument import install

    install()


class CompileNotice:
    """Says on stderr what takes so long, if the kernels are not ready after a moment."""

    def __init__(self, what: str) -> None:
        text = f"fastnn: compiling {what} for this machine, once (about half a minute) ..."
        self._timer = threading.Timer(PATIENCE_SECONDS, lambda: print(text, file=sys.stderr))
        self._timer.daemon = True
        self._begun = time.monotonic()

    def __enter__(self) -> None:
        """Start to wait; without a word where no thread can be started for that."""
        with contextlib.suppress(RuntimeError, MemoryError):
            self._timer.start()

    def __exit__(self, *exception: object) -> None:
        """Say how long it took, if that it began was said."""
        self._timer.cancel()
        seconds = time.monotonic() - self._begun
        if seconds > PATIENCE_SECONDS and exception[0] is None:
            kept = os.access(FOLDER, os.W_OK) and FOLDER not in full
            where = f", kept in {FOLDER}" if kept else ""
            print(f"fastnn: compiled in {seconds:.0f} s{where}", file=sys.stderr)


def cached(function: Callable[..., Any]) -> Any:
    """Compile an entry point without the GIL and keep the result in `FOLDER`."""
    if config.DISABLE_JIT:
        # Random numbers wrap around and logits overflow on purpose, of which NumPy's scalars warn.
        return np.errstate(all="ignore")(function)
    compiled = njit(nogil=True, error_model="numpy", _nrt=False)(function)
    compiled._cache = CodeCache(FOLDER, compiled.py_func)
    return compiled
