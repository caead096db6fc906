"""Compiled code on disk, in the place of Numba's own cache.

Numba trusts whatever lies in its folder, keeps an index beside the data, and lets every error of
either through to the caller. Here each compilation is one file, named after all that it follows
from, with a hash of its content against accidents. It is a pickle, which runs what it holds: see
`fastnn.folders` for which files are read. Whatever cannot be used is compiled anew, and replaced.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from fastnn.folders import Untrusted, read_trusted, warn, write_trusted

_MAGIC = b"fastnn compiled code 1\n"
_HASH_BYTES = hashlib.sha256().digest_size


def load(file: Path, rebuild: Callable[[memoryview], Any]) -> Any:
    """Return what `rebuild` makes of the code that `store` wrote, None if it cannot be had."""
    try:
        content = read_trusted(file)
        if content is None:
            return None
        start = len(_MAGIC) + _HASH_BYTES
        code = memoryview(content)[start:]
        if content[:start] != _MAGIC + hashlib.sha256(code).digest():
            raise ValueError("it is damaged")
        return rebuild(code)
    except Untrusted as error:
        warn(str(error), "what lies there is not used, but compiled anew")
    except Exception as error:  # whatever the system, pickle and Numba make of a file
        warn(f"{file} cannot be used ({error})", "it is compiled anew")
    return None


def store(file: Path, reduced: Callable[[], bytes]) -> None:
    """Keep for `load` the code that `reduced` returns, if it can be written."""
    try:
        code = reduced()
        write_trusted(file, _MAGIC + hashlib.sha256(code).digest() + code)
    except Exception as error:  # a full disk, say: what was compiled works without
        full.add(file.parent)
        warn(f"{file} cannot be written ({error})", "later processes compile it again")


full: set[Path] = set()  # folders in which something could not be kept


class CodeCache:
    """What a Numba dispatcher, or a C callback, asks for compiled code of one function.

    Parameters
    ----------
    folder
        Its name must follow from all sources that the code comes from.
    function
        What is compiled.
    """

    def __init__(self, folder: Path, function: FunctionType) -> None:
        self.cache_path = str(folder)
        self._folder = folder
        self._name = f"{function.__module__}.{function.__qualname__}"

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the compilation for a signature, or None if none is kept."""
        from numba.core.compiler import CompileResult

        context.refresh()  # which imports what unpickled code refers to

        def rebuild(code: memoryview) -> Any:
            return CompileResult._rebuild(context, *pickle.loads(code))

        return load(self._file(signature, context.codegen()), rebuild)

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compilation, if it can be written."""
        from numba.core.serialize import dumps

        if not result.library.has_dynamic_globals:  # addresses, which are of this process
            store(self._file(signature, result.codegen), lambda: dumps(result._reduce()))

    def flush(self) -> None:
        """Forget nothing."""

    def _file(self, signature: Any, codegen: Any) -> Path:
        import llvmlite
        import numba

        # The processor and its features; what was compiled for another one would not run.
        machine = codegen.magic_tuple()
        versions = numba.__version__, llvmlite.__version__, sys.version_info[:2], sys.abiflags
        made = "\n".join((self._name, str(signature), repr(machine), repr(versions)))
        return self._folder / f"{self._name}-{hashlib.sha256(made.encode()).hexdigest()[:32]}.code"


def generated_module(prefix: str, text: str) -> ModuleType:
    """Return a module of generated source, named `prefix` and a hash of it."""
    name = f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    module = ModuleType(name)
    sys.modules[name] = module  # where Numba looks for it when it loads compiled code
    exec(compile(text, f"<{name}>", "exec"), vars(module))
    return module
