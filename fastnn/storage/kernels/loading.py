"""How the functions of the table in `fastnn.storage.kernels.entries` come to be.

An entry is a C function of pointers and integers. Its code is that which was shipped with the
package, if it was made of these very sources and for a level that this processor has; else that
which an earlier process has made and kept; else it is compiled now, in a process of its own, which
leaves this one without Numba, with its memory, and with Ctrl-C.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.errors import TargetUnavailable
from fastnn.sanitizer import CHECKED
from fastnn.storage.cache_folders import warn
from fastnn.storage.kernels import code_cache
from fastnn.storage.kernels.compile_apart import begin_to_write, compile_apart, write
from fastnn.storage.kernels.entries import ENTRIES, Entry
from fastnn.storage.kernels.kernel_cache import (
    KNOWN,
    SOURCES,
    CompileNotice,
    compilers,
    folder,
    read_packaged,
)
from fastnn.storage.kernels.machine import DISABLE_JIT, Processor, processor, system
from fastnn.storage.kernels.machine_code import SUFFIX, Code, file_in, function_at, link, unpack
from fastnn.threads.atomic import new_lock
from fastnn.threads.pool import uninterrupted

SHIPPED = Path(__file__).parents[2] / "shipped"
_log = logging.getLogger("fastnn")
_ready: dict[str, Callable[..., None]] = {}
_preparing = new_lock()


def entry(name: str) -> Callable[..., None]:
    """Return an entry of the table, which takes NumPy arrays where it has pointers."""
    if name not in _ready:
        prepare([name])
    return _ready[name]


def prepare(names: Iterable[str]) -> None:
    """Have entries ready; those that have to be compiled are compiled in other processes.

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
        with CompileNotice(f"kernels ({', '.join(compile_now)})", _why(made_for)) as notice:
            made, notice.kept = _compile(compile_now, made_for)
            found |= made
    return found


def _why(made_for: Processor) -> str:
    """Return why nothing that is shipped is taken."""
    if CHECKED:
        return "with the checks of FASTNN_CHECK"
    if not made_for.name:
        return f"for {made_for.cpu}, for which none are shipped"
    return f"for {made_for.name}, since none of these sources are shipped"


def _compile(names: list[str], made_for: Processor) -> tuple[dict[str, Code], bool]:
    """Compile entries; return their code, and whether later processes may have all of it."""
    identities = {name: identity_of(name, made_for) for name in names}
    found: dict[str, Code] = {}
    reasons = dict.fromkeys(names, "its sources are not there to be compared")
    if KNOWN:
        found, reasons = compile_apart(names, made_for, identities)
    for name, code in found.items():
        code_cache.store(_kept_file(name, made_for), code.pack)
    for name, reason in reasons.items():
        if made_for != processor():  # whose vectors are others
            aim = made_for.name or made_for.cpu
            raise TargetUnavailable(f"{name} cannot be compiled for {aim}: {reason}")
        _log.warning(
            "fastnn: %s cannot be compiled in a process of its own (%s); it is compiled in this "
            "one, and not kept for later ones",
            name,
            reason,
        )
        found[name] = uninterrupted(partial(_compile_here, name, made_for))
    return found, not reasons


def state_of(name: str, made_for: Processor) -> str:
    """Return where the code of an entry is: "shipped", "compiled" and kept, or "missing"."""
    if _shipped(name, made_for):
        return "shipped"
    return "compiled" if _kept(name, made_for) else "missing"


def identity_of(name: str, made_for: Processor | None = None) -> str:
    """Return all that the code of an entry follows from, in one line."""
    made_for = made_for or processor()
    flags = f"{made_for.cpu} {made_for.features} {made_for.opt}"
    return f"{name} of sources {SOURCES} for {system()} {flags}"


def shipped_file(name: str, made_for: Processor, folder: Path | None = None) -> Path:
    """Return the file that is shipped for a level, in the package or in another folder."""
    return (folder or SHIPPED) / made_for.name / f"{name}{SUFFIX}"


def _shipped(name: str, made_for: Processor) -> Code | None:
    if CHECKED or not made_for.name:
        return None
    file = shipped_file(name, made_for)
    try:
        content = code_cache.unseal(read_packaged(file))
    except (OSError, ValueError) as error:
        # An archive that lacks a file says no number of the system's.
        if isinstance(error, OSError) and error.errno in (None, 0, errno.ENOENT):
            return None
        warn(f"{file}, which was installed, cannot be used ({error})", "it is compiled anew")
        return None
    try:
        return unpack(content, identity_of(name, made_for))
    except ValueError:  # of other sources than these
        return None


def _kept_file(name: str, made_for: Processor) -> Path:
    return file_in(folder(), name, f"{identity_of(name, made_for)} by {compilers()}")


def _kept(name: str, made_for: Processor) -> Code | None:
    if not KNOWN:
        return None
    identity = identity_of(name, made_for)
    return code_cache.load(_kept_file(name, made_for), partial(unpack, identity=identity))


def write_codes(names: Iterable[str]) -> None:
    """Write the code of entries, for what Numba compiles for in this process, to the output."""
    output = begin_to_write()
    for name in names:
        write(output, _entry_code(name, identity_of(name)))


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
