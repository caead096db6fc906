"""Compile the kernels for arm64 Linux elsewhere: ``arm64_kernels.py OUT [ENTRY ...]``.

It writes what `python -m fastnn.build --out OUT` would write there. Numba and LLVM are told that
this is such a machine, before anything of fastnn is imported.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import llvmlite.binding as llvm
import llvmlite.binding.targets as targets

from fastnn.storage.kernels.machine import LEVELS

TRIPLE = "aarch64-unknown-linux-gnu"
LEVEL = LEVELS["arm64"]


def pretend() -> None:
    """Have this process compile for arm64, whatever it runs on."""
    os.environ |= LEVEL.environment() | {"NUMBA_DISABLE_INTEL_SVML": "1"}
    platform.machine = lambda: "aarch64"
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for module in (llvm, targets):
        module.get_default_triple = module.get_process_triple = lambda: TRIPLE
    llvm.Target.from_default_triple = classmethod(lambda cls: cls.from_triple(TRIPLE))


def write(out: str, names: list[str]) -> str:
    """Write the code of entries, and return what it took."""
    pretend()
    from fastnn.storage.kernels import code_cache, loading

    for name in names:
        code = loading._entry_code(name, loading.identity_of(name, LEVEL))
        file = loading.shipped_file(name, LEVEL, Path(out))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(code_cache.seal(code.pack()))
    return f"{', '.join(names)} for {LEVEL.name}: {time.process_time():.0f} s"


def main(out: str, *names: str) -> None:
    """Write entries, all of them if none are named, a dtype a process."""
    from fastnn.storage.kernels.entries import ENTRIES, groups
    from fastnn.storage.kernels.kernel_cache import SOURCES

    work = groups(names or ENTRIES)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for said in pool.map(write, [out] * len(work), work):
            print(said, flush=True)
    Path(out, "SOURCES").write_text(SOURCES)


if __name__ == "__main__":
    main(*sys.argv[1:])
