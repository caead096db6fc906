"""Machine code of kernels, kept on disk from one process to the next.

numba-cuda's own cache looks at the file of a kernel alone, and cannot tell apart kernels that get
their device functions from a closure, as all of fastnn's do. Here a kernel is known by what it was
made from, and by a hash of all sources that its code can come from. What is stored is what
numba-cuda would store, compressed.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba

from fastnn.storage.kernels import code_cache
from fastnn.storage.kernels.kernel_cache import folder, source_hash
from fastnn.targets.cuda.host import driver
from fastnn.targets.cuda.host.installed import compilers, package, wheels

# Taken now: what is imported is compiled, whatever becomes of the files meanwhile. The source of
# user-defined rules is made by `fastnn.graph`.
_SOURCES = source_hash("fastnn.targets.cuda", "fastnn.rules", "fastnn.graph.source")


class Kept:
    """What a kernel's dispatcher asks for machine code, in the place of numba-cuda's own cache."""

    def __init__(self, made: str, options: dict[str, Any]) -> None:
        """Take what the kernel was made from, and the options of its compilation."""
        self.made = made
        self._options = repr(sorted(options.items()))
        self.cache_path = str(folder())

    def has(self, signature: Any) -> bool:
        """Return whether the compiled kernel for a signature is kept."""
        return self._file(signature).exists()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled kernel for a signature, or None where none is kept."""
        from numba.cuda.codegen import CUDACodeLibrary
        from numba.cuda.dispatcher import _Kernel

        def rebuild(code: memoryview) -> Any:
            states, library = pickle.loads(zlib.decompress(code))
            return _Kernel._rebuild(codelibrary=CUDACodeLibrary._rebuild(**library), **states)

        return code_cache.load(self._file(signature), rebuild)

    def save_overload(self, signature: Any, kernel: Any) -> None:
        """Keep a compiled kernel, if it can be written."""
        from numba.cuda.serialize import dumps

        def reduced() -> bytes:
            states = kernel._reduce_states()
            library = states.pop("codelibrary")._reduce_states()
            # LLVM's code is most of it, and needed for a second device of another kind.
            return zlib.compress(dumps((states, library | {"ptx_cache": {}})), 1)

        code_cache.store(self._file(signature), reduced)

    def flush(self) -> None:
        """Forget nothing."""

    def _file(self, signature: Any) -> Path:
        from numba import cuda

        capability = str(tuple(cuda.get_current_device().compute_capability))
        parts = self.made, str(signature), self._options, capability, _surroundings()
        text = "\n".join(parts)
        return folder() / f"cuda-{hashlib.sha256(text.encode()).hexdigest()[:32]}.kernel"


@cache
def _surroundings() -> str:
    """Return all that decides on machine code beside the kernel and the device."""
    versions = numba.__version__, package(), compilers(), wheels(), _linker()
    return f"{_SOURCES} {versions} {sys.implementation.cache_tag}"


def _linker() -> str:
    """Return the version of what makes machine code of PTX: nvJitLink, or the driver."""
    version = backend = ""
    with suppress(Exception):  # whatever says that the library is not there
        from cuda.bindings import nvjitlink
        from cuda.core import Linker

        version = f"nvJitLink {nvjitlink.version()}"
        backend = str(Linker.which_backend())
    # What nvJitLink makes is the same for every driver, also on a machine that has none.
    return version if "nvjitlink" in backend.lower() else f"{version} {driver.driver().cuda}"
