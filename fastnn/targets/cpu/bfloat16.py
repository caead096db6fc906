"""With which instructions this processor multiplies numbers rounded to bfloat16, if it has any."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

from fastnn.storage.kernels.machine import DISABLE_JIT, host_features, on_x86, vector_bytes
from fastnn.targets.cpu.plan import PAIRS, TILES

# Linux's arch_prctl, its request for a part of the processor's state, and that of AMX's tiles.
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18


def missing() -> str:
    """Return why the CPU target cannot have ``precision="bfloat16"`` here, or ""."""
    if DISABLE_JIT:
        return "compiled code, and NUMBA_DISABLE_JIT is set"
    if not on_x86() or not host_features().get("avx512bf16"):
        return "a processor with AVX512_BF16 or AMX, and this one has neither"
    if vector_bytes() < 64:
        return "code for AVX-512, and NUMBA_CPU_FEATURES or NUMBA_CPU_NAME asks for less"
    return ""


@cache
def instructions() -> int:
    """Return PAIRS or TILES, where nothing is missing.

    The kernel is asked for tiles, which a process and all its children then may use.
    """
    features = host_features()
    if not (features.get("amx-tile") and features.get("amx-bf16") and sys.platform == "linux"):
        return PAIRS
    asked = ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA)
    return TILES if asked == 0 else PAIRS


def described() -> str:
    """Return by what numbers of bfloat16 are multiplied here, or what is missing."""
    if lacking := missing():
        return f"cannot run: needs {lacking}"
    return "by AMX" if instructions() == TILES else "by AVX512_BF16"
