"""Where fastnn keeps what it can make again: compiled kernels and generated sources."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType


def writable_folder(name: str) -> Path:
    """Return the folder `name` among fastnn's caches, made if need be.

    `FASTNN_CACHE_DIR` chooses another place for all of them. Where the usual one cannot be written,
    it is a folder in the system's temporary folder that belongs to this user.
    """
    shared = Path(tempfile.gettempdir()) / f"fastnn-{_user()}"
    for base in (_base(), shared):
        folder = base / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Whoever else may have made that one: compiled code is not taken from strangers.
            if base == shared and hasattr(os, "getuid") and shared.stat().st_uid != os.getuid():
                continue
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


def generated_module(folder: Path, prefix: str, text: str) -> ModuleType:
    """Return a module of generated source, kept in `folder` under `prefix` and a hash of it.

    Numba keeps compiled code with the file that a function is from. The module runs `text`,
    whatever the file has.
    """
    name = f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    file = folder / f"{name}.py"
    _keep(file, text)
    module = ModuleType(name)
    sys.modules[name] = module  # where Numba looks for it when it loads from its cache
    exec(compile(text, str(file), "exec"), vars(module))
    return module


def _keep(file: Path, text: str) -> None:
    """Write the file unless it is there: Numba drops what it compiled from an older one."""
    if file.is_file() and file.read_text("utf-8") == text:
        return
    write_whole(file, text.encode())


def write_whole(file: Path, content: bytes) -> None:
    """Write a file at once, so that a process that reads it now has all of it."""
    handle, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(content)
        os.replace(name, file)
    except OSError:
        os.unlink(name)
        raise
