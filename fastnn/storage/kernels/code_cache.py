"""Compiled code on disk.

Each compilation is one file, named after all that it follows from, with a hash of its content
against accidents. Code runs when it is loaded: see `fastnn.storage.cache_folders` for which files
are read. Whatever cannot be used is compiled anew, and replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from fastnn.storage.cache_folders import Untrusted, read_trusted, warn, write_trusted

_MAGIC = b"fastnn compiled code 1\n"
_HASH_BYTES = hashlib.sha256().digest_size


def seal(code: bytes) -> bytes:
    """Return the content of a file that holds `code`."""
    return _MAGIC + hashlib.sha256(code).digest() + code


def unseal(content: bytes) -> memoryview:
    """Return what `seal` was given, or raise `ValueError` if it is not whole."""
    start = len(_MAGIC) + _HASH_BYTES
    code = memoryview(content)[start:]
    if content[:start] != _MAGIC + hashlib.sha256(code).digest():
        raise ValueError("it is damaged")
    return code


def load(file: Path, rebuild: Callable[[memoryview], Any]) -> Any:
    """Return what `rebuild` makes of the code that `store` wrote, None if it cannot be had."""
    try:
        content = read_trusted(file)
        if content is None:
            return None
        code = rebuild(unseal(content))
        _note_use(file)
        return code
    except Untrusted as error:
        warn(str(error), "what lies there is not used, but compiled anew")
    except Exception as error:  # whatever the system and a loader make of a file
        warn(f"{file} cannot be used ({error})", "it is compiled anew")
    return None


def _note_use(file: Path) -> None:
    """Let the file say, once a day, that it is in use; not every system notes when it is read."""
    with contextlib.suppress(OSError):
        if time.time() - file.stat().st_mtime > 86400:
            os.utime(file)


def store(file: Path, reduced: Callable[[], bytes]) -> None:
    """Keep for `load` the code that `reduced` returns, if it can be written."""
    try:
        write_trusted(file, seal(reduced()))
    except Exception as error:  # a full disk, say: what was compiled works without
        full.add(file.parent)
        warn(f"{file} cannot be written ({error})", "later processes compile it again")


full: set[Path] = set()  # folders in which something could not be kept


def generated_module(prefix: str, text: str) -> ModuleType:
    """Return a module of generated source, named `prefix` and a hash of it."""
    name = f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    module = ModuleType(name)
    sys.modules[name] = module  # where Numba looks for it when it loads compiled code
    exec(compile(text, f"<{name}>", "exec"), vars(module))
    return module
