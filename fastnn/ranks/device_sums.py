"""Whether MPI adds up arrays where they lie, on CUDA devices: what it says of itself."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

KINDS = "mpi_memory_alloc_kinds"  # of MPI 4.1, section 12.4.3


def adds_on_devices(communicator: Any) -> bool:
    """Return whether the MPI of a communicator says that it takes CUDA arrays.

    By the info of the communicator (MPI 4.1), where the launcher was asked for it; or by
    MPIX_Query_cuda_support, which Open MPI and MPICH have. One that says neither takes none.
    """
    with suppress(Exception):  # a communicator without info, as others than mpi4py's are
        kinds = communicator.Get_info().Get(KINDS) or ""
        if any(kind.strip().partition(":")[0] == "cuda" for kind in kinds.split(",")):
            return True
    with suppress(AttributeError, OSError, TypeError):  # no such function; no list of all libraries
        return bool(ctypes.CDLL(None).MPIX_Query_cuda_support())
    return False
