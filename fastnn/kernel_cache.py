"""Where compiled code is kept between processes.

Numba notices edits in the file of a cached function, not in the files that it calls. So the
folder is named after a hash of all sources that compiled code comes from: an edit anywhere makes
a new one. Numba itself adds processor and versions to the key.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import config, njit

from fastnn.folders import writable_folder
from fastnn.sanitizer import CHECKED


def source_hash(*patterns: str) -> str:
    """Return a hash of the package's files that patterns name, and of Numba's version."""
    package = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(file for pattern in patterns for file in package.glob(pattern)):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


_SOURCES = "cpu/*.py", "sanitizer/*.py", "rules/*.py", "shuffling.py", "layout.py", "plan.py"
FOLDER = writable_folder(f"kernels-{source_hash(*_SOURCES)}{'-checked' * CHECKED}")
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
        """Start to wait."""
        self._timer.start()

    def __exit__(self, *exception: object) -> None:
        """Say how long it took, if that it began was said."""
        self._timer.cancel()
        seconds = time.monotonic() - self._begun
        if seconds > PATIENCE_SECONDS and exception[0] is None:
            print(f"fastnn: compiled in {seconds:.0f} s, kept in {FOLDER}", file=sys.stderr)


def cached(function: Callable[..., Any]) -> Any:
    """Compile an entry point without the GIL and keep the result in `FOLDER`."""
    if config.DISABLE_JIT:
        # Random numbers wrap around and logits overflow on purpose, of which NumPy's scalars warn.
        return np.errstate(all="ignore")(function)
    previous = config.CACHE_DIR
    # Numba reads the setting once, when the decorator runs.
    config.CACHE_DIR = str(FOLDER)
    try:
        return njit(nogil=True, cache=True, error_model="numpy", _nrt=False)(function)
    finally:
        config.CACHE_DIR = previous
