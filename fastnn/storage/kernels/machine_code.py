"""Machine code as files: what they say of themselves, and how they become functions.

A file holds an object file of this system (ELF, Mach-O or COFF) with one C function, after a line
that says what it was made of and a line with the functions that it needs. llvmlite's loader links
it; neither Python nor Numba is called by it or needed for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fastnn.errors import TargetUnavailable
from fastnn.sanitizer import CHECKED

SUFFIX = ".code"
# Whoever imports Numba, compiles or links has this, and no fork happens meanwhile: the child could
# do neither, for the locks of imports and of LLVM would be taken for good.
at_work = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=at_work.acquire,
        after_in_parent=at_work.release,
        after_in_child=at_work.release,
    )
_linked: list[object] = []  # for good, since plans and callers hold addresses


class Code(NamedTuple):
    """Machine code of the C function `name`.

    identity: a line that says all that it follows from; needs: names of what it calls.
    """

    name: str
    identity: str
    needs: tuple[str, ...]
    object: bytes

    def pack(self) -> bytes:
        """Return the bytes of a file."""
        head = f"{self.identity}\n{self.name} {' '.join(self.needs)}\n"
        return head.encode() + self.object


def unpack(content: bytes | memoryview, identity: str) -> Code:
    """Return the code in a file, or raise `ValueError` if it was made of something else."""
    said, names, code = bytes(content).split(b"\n", 2)
    if said.decode() != identity:
        raise ValueError(f"it was made of {said.decode()!r}")
    name, *needs = names.decode().split()
    return Code(name, identity, tuple(needs), code)


def file_in(folder: Path, name: str, identity: str) -> Path:
    """Return the file in a folder for the code that has this identity."""
    return folder / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:32]}{SUFFIX}"


def link(code: Code) -> int:
    """Return the address of the function, good as long as the process lives.

    Raises
    ------
    TargetUnavailable
        Something that it calls is not there.
    """
    with at_work:
        import llvmlite.binding as llvm

        if CHECKED:
            from fastnn.sanitizer.table import install_check

            install_check()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # LLVM ends the process where something is missing.
        missing = [name for name in code.needs if not _is_there(name)]
        if missing:
            with contextlib.suppress(ImportError):
                import numba  # noqa: F401 - it makes its own functions known to LLVM
            missing = [name for name in missing if not _is_there(name)]
        if missing:
            raise TargetUnavailable(
                f"{code.name} calls {', '.join(missing)}, which neither this system nor Numba has"
            )
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code.object))
        engine.finalize_object()
        _linked.append(engine)
        return int(engine.get_function_address(code.name))


def _is_there(name: str) -> bool:
    """Return whether LLVM's loader finds a function in this process."""
    import llvmlite.binding as llvm

    libraries = ("kernel32", "ucrtbase") if sys.platform == "win32" else (None,)
    return bool(llvm.address_of_symbol(name)) or any(
        hasattr(ctypes.CDLL(library), name) for library in libraries
    )


# What a function takes, by the names that `compiling` has for it; of numbers in a row, such as
# "float64s", it takes the address.
_KINDS: dict[str, Any] = {
    "int": ctypes.c_int64,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
}


def function_at(
    address: int, arguments: tuple[str, ...], result: str | None = None
) -> Callable[..., Any]:
    """Return the C function at an address; it takes contiguous NumPy arrays where it has pointers.

    Python's lock is free while it runs.
    """
    kinds = [_KINDS.get(each, ctypes.c_void_p) for each in arguments]
    function = ctypes.CFUNCTYPE(None if result is None else _KINDS[result], *kinds)(address)
    # Written out for these arguments: a loop over them would take as long again as the call.
    names = [f"a{number}" for number in range(len(arguments))]
    passed = [
        name if kind in _KINDS else f"{name}.__array_interface__['data'][0]"
        for name, kind in zip(names, arguments, strict=True)
    ]
    text = f"lambda {', '.join(names)}: function({', '.join(passed)})"
    call: Callable[..., Any] = eval(text, {"function": function})
    return call
