"""Where fastnn keeps what it can make again: compiled kernels and generated sources."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def writable_folder(name: str) -> Path:
    """Return the folder `name` among fastnn's caches, made if need be.

    `FASTNN_CACHE_DIR` chooses another place for all of them. Where the usual one cannot be written,
    it is a folder in the system's temporary folder that belongs to this user.
    """
    for base in (_base(), Path(tempfile.gettempdir()) / f"fastnn-{_user()}"):
        folder = base / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="fastnn-"))


def _base() -> Path:
    chosen = os.environ.get("FASTNN_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "fastnn"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastnn"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastnn"


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
