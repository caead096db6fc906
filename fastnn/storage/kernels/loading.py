"""How the functions of the table in `fastnn.storage.kernels.entries` come to be.

An entry is a C function of pointers and integers. Its code is that which was shipped with the
package, if it was made of these very sources and for a level that this processor has; else that
which an earlier process has made and kept; else it is compiled now, in a process of its own, which
leaves this one without Numba, with its memory, and with Ctrl-C.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.errors import TargetUnavailable
from fastnn.sanitizer import CHECKED
from fastnn.storage.kernels import code_cache
from fastnn.storage.kernels.entries import ENTRIES, Entry
from fastnn.storage.kernels.kernel_cache import SOURCES, CompileNotice, folder
from fastnn.storage.kernels.machine import DISABLE_JIT, Processor, processor, system
from fastnn.storage.kernels.machine_code import SUFFIX, Code, file_in, function_at, link, unpack
from fastnn.threads.atomic import new_lock
from fastnn.threads.pool import uninterrupted

SHIPPED = Path(__file__).parents[2] / "shipped"
_ROOT = Path(__file__).parents[3]


_ready: dict[str, Callable[..., None]] = {}
_preparing = new_lock()


def entry(name: str) -> Callable[..., None]:
    """Return an entry of the table, which takes NumPy arrays where it has pointers."""
    if name not in _ready:
        prepare([name])
    return _ready[name]


def prepare(names: Iterable[str]) -> None:
    """Have entries ready; those that have to be compiled are compiled side by side.

    Raises
    ------
    TargetUnavailable
        Nothing was shipped for this processor, and Numba cannot compile it either.
    """
    missing = [name for name in names if name not in _ready]
    if not missing:
        return
    with _preparing:
        missing = [name for name in missing if name not in _ready]
        if DISABLE_JIT:
            _ready.update((name, _plain(ENTRIES[name])) for name in missing)
            return
        if CHECKED:
            from fastnn.sanitizer.table import install_check

            install_check()
        for name, code in codes(missing, processor()).items():
            _ready[name] = function_at(link(code), ENTRIES[name].arguments)


def codes(names: Iterable[str], made_for: Processor) -> dict[str, Code]:
    """Return the code of entries for a processor: shipped, kept, or compiled now, and then kept."""
    found: dict[str, Code] = {}
    compile_now = []
    for name in names:
        code = _shipped(name, made_for) or _kept(name, made_for)
        if code is None:
            compile_now.append(name)
        else:
            found[name] = code
    if compile_now:
        with CompileNotice(", ".join(compile_now)):
            for name, code in _compile_apart(compile_now, made_for).items():
                found[name] = code
                code_cache.store(_kept_file(name, made_for), code.pack)
            for name in compile_now:
                if name not in found:
                    found[name] = uninterrupted(partial(_compile_here, name, made_for))
    return found


def is_ready(name: str, made_for: Processor) -> bool:
    """Return whether the code of an entry is there, shipped or kept."""
    return bool(_shipped(name, made_for) or _kept(name, made_for))


def identity_of(name: str, made_for: Processor | None = None) -> str:
    """Return all that the code of an entry follows from, in one line."""
    made_for = made_for or processor()
    flags = f"{made_for.cpu} {made_for.features} {made_for.opt}"
    return f"{name} of sources {SOURCES} for {system()} {flags}"


def shipped_file(name: str, made_for: Processor, folder: Path = SHIPPED) -> Path:
    """Return the file that is shipped for a level."""
    return folder / made_for.name / f"{name}{SUFFIX}"


def _shipped(name: str, made_for: Processor) -> Code | None:
    if CHECKED or not made_for.name:
        return None
    try:
        content = shipped_file(name, made_for).read_bytes()
        return unpack(code_cache.unseal(content), identity_of(name, made_for))
    except (OSError, ValueError):  # not shipped, or of other sources than these
        return None


def _kept_file(name: str, made_for: Processor) -> Path:
    return file_in(folder(), name, identity_of(name, made_for))


def _kept(name: str, made_for: Processor) -> Code | None:
    identity = identity_of(name, made_for)
    return code_cache.load(_kept_file(name, made_for), partial(unpack, identity=identity))


# What a new process does: it looks for modules where this one does.
_CHILD = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from fastnn.storage.kernels.loading import write_code
write_code(sys.argv[2])
"""


def _compile_apart(names: list[str], made_for: Processor) -> dict[str, Code]:
    """Compile entries, each in a process of its own; those that could not be are left out."""
    paths = json.dumps([str(_ROOT), *sys.path])
    environment = os.environ | made_for.environment()
    environment |= {"PYTHONHASHSEED": "0", "NUMBA_DISABLE_INTEL_SVML": "1"}
    children: dict[str, subprocess.Popen[bytes]] = {}
    found: dict[str, Code] = {}
    try:
        for name in names if sys.executable and not getattr(sys, "frozen", False) else ():
            children[name] = subprocess.Popen(
                [sys.executable, "-c", _CHILD, paths, name],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        for name, child in children.items():
            content, said = child.communicate()
            if child.returncode == 0:
                found[name] = unpack(content, identity_of(name, made_for))
            else:
                logging.getLogger("fastnn").info("compiling %s: %s", name, said.decode())
    except OSError as error:
        logging.getLogger("fastnn").info("no process can be started to compile: %s", error)
    except ValueError as error:
        raise TargetUnavailable(
            "fastnn's sources have been changed since this process imported them, so nothing more "
            f"can be compiled for it ({error}); start it again"
        ) from None
    finally:
        for child in children.values():
            child.kill()
            child.communicate()
    return found


def write_code(name: str) -> None:
    """Write the code of an entry, for what Numba compiles for in this process, to the output."""
    output = os.dup(1)
    os.dup2(2, 1)  # whatever is printed meanwhile is no code
    code = _entry_code(name, identity_of(name))
    with os.fdopen(output, "wb") as stream:
        stream.write(code.pack())


def _entry_code(name: str, identity: str) -> Code:
    from fastnn.storage.kernels.compiling import machine_code

    entry = ENTRIES[name]
    function = getattr(import_module(entry.module), entry.function)
    return machine_code(function, entry.arguments, f"fastnn_{name}", identity)


def _compile_here(name: str, made_for: Processor) -> Code:
    """Compile in this process, by its Numba as it is set, and therefore not to be kept."""
    try:
        from fastnn.storage.kernels.compiling import numba_for
    except ImportError as error:
        raise TargetUnavailable(
            f"no code is shipped for this processor, and Numba, which compiles it, cannot be "
            f"imported here ({error}); install a Numba that fits this Python and NumPy, or use "
            "target='numpy'"
        ) from error
    with numba_for(made_for):
        return _entry_code(name, identity_of(name, made_for))


def _plain(entry: Entry) -> Callable[..., None]:
    """Return an entry as the Python that it is written in."""
    function = getattr(import_module(entry.module), entry.function)

    # Random numbers wrap around and logits overflow on purpose, of which NumPy's scalars warn.
    def call(*arguments: Any) -> None:
        with np.errstate(all="ignore"):
            function(
                *[each.ravel() if isinstance(each, np.ndarray) else each for each in arguments]
            )

    return call
