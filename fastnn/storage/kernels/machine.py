"""What machine code is made for, and how wide vectors are there; known without Numba.

Code is shipped for a few levels that processors have in common. What Numba compiles here is for
the same level, so that both are the same code. A processor that has none of the levels, and whoever
sets Numba's NUMBA_CPU_NAME, NUMBA_CPU_FEATURES or NUMBA_OPT, gets code made for that alone.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

CHOICES = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT"


def _disabled() -> bool:
    """Return Numba's own reading of NUMBA_DISABLE_JIT, which would import Numba."""
    try:
        return bool(int(os.environ.get("NUMBA_DISABLE_JIT", "0")))
    except ValueError:
        return False


DISABLE_JIT = _disabled()

_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


class Processor(NamedTuple):
    """What LLVM makes code for.

    name: of the level, "" where it is none; cpu and features as LLVM has them, and its level of
    optimisation. `needs`: what a processor has to have for a level.
    """

    name: str
    cpu: str
    features: str
    opt: str = "3"
    needs: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the settings with which Numba compiles for it."""
        return dict(zip(CHOICES, (self.cpu, self.features, self.opt), strict=True))


# The best first. LLVM's x86-64-v4 prefers half-wide vectors, which made a small network 1.2 times
# slower; the features named are those that decide on the width.
LEVELS = {
    each.name: each
    for each in (
        Processor("x86-64-v4", "x86-64-v4", "+avx512f,-prefer-256-bit", needs=_V4),
        Processor("x86-64-v3", "x86-64-v3", "+avx2", needs=_V3),
        Processor("arm64", "generic", "+neon"),
    )
}


class Shape(NamedTuple):
    """Register tile of a dtype on a processor.

    lanes: numbers in a vector; panel: columns of a full panel (two vectors); rows: rows of A that
    a full tile takes, rows_narrow for a half-wide last panel alone, and rows_odd for that and
    the one before together.
    """

    lanes: int
    panel: int
    rows: int
    rows_narrow: int
    rows_odd: int


def processor() -> Processor:
    """Return what code is made for in this process."""
    return _processor(*(os.environ.get(name) for name in CHOICES))


@cache  # LLVM takes a fifth of a millisecond, and every engine asks
def _processor(cpu: str | None, features: str | None, opt: str | None) -> Processor:
    chosen = cpu or features is not None or opt not in (None, "", "3", "max")
    if not chosen:
        for level in levels():
            if all(map(host_features().get, level.needs)):
                return level
    return own_processor()


def levels() -> list[Processor]:
    """Return the levels of this kind of processor, the best first."""
    kinds = {"arm64": "arm64", "aarch64": "arm64"}
    kind = "x86" if on_x86() else kinds.get(platform.machine().lower(), "none")
    return [level for level in LEVELS.values() if level.name.startswith(kind)]


def own_processor() -> Processor:
    """Return what Numba makes code for in this process: this very processor, if nothing is set."""
    cpu, features, opt = (os.environ.get(name) for name in CHOICES)
    if features is None:
        listed = {} if cpu == "generic" else host_features()
        features = ",".join(f"{'+' if there else '-'}{name}" for name, there in listed.items())
    return Processor("", cpu or _host_name(), features, opt or "3")


@cache
def host_features() -> Mapping[str, bool]:
    """Return what LLVM says that this processor has and has not."""
    import llvmlite.binding as llvm

    return dict(llvm.get_host_cpu_features())


def _host_name() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


def on_x86() -> bool:
    """Whether this is an x86 processor."""
    return platform.machine().lower() in ("x86_64", "amd64", "i386", "i686", "x86")


def system() -> str:
    """Return what else machine code depends on: the operating system and the kind of processor."""
    return f"{sys.platform} {platform.machine().lower()}"


def vector_bytes() -> int:
    """Return the width of a vector register in bytes."""
    there = {name[1:] for name in processor().features.split(",") if name.startswith("+")}
    if "avx512f" in there:
        return 64
    return 32 if there & {"avx", "avx2"} else 16  # SSE2 and NEON


def few_registers() -> bool:
    """Whether there are 16 vector registers: on x86 without AVX-512. Elsewhere there are 32."""
    return vector_bytes() < 64 and on_x86()


def register_shape(dtype: np.dtype) -> Shape:
    """Return the register tile for `dtype`: as many accumulators as the register file holds."""
    lanes = vector_bytes() // dtype.itemsize
    rows, narrow, odd = (6, 12, 4) if few_registers() else (8, 16, 8)
    return Shape(lanes, 2 * lanes, rows, narrow, odd)
