"""Functions of the benchmarks' own, compiled as the package's kernels are, and kept beside them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from fastnn.storage.kernels.compiling import machine_code
from fastnn.storage.kernels.kernel_cache import kept
from fastnn.storage.kernels.machine_code import function_at, link


def compiled(
    function: Callable[..., Any], arguments: tuple[str, ...], result: str | None = None
) -> Callable[..., Any]:
    """Return a function of pointers and numbers compiled; see `compiling.machine_code`.

    Its code is known by the source of its module.
    """
    source = inspect.getsource(sys.modules[function.__module__])
    made_of = f"{source} {function.__name__}"

    def make(identity: str) -> Any:
        return machine_code(function, arguments, "fastnn_benchmark", identity, result)

    code, _ = kept(f"benchmark_{function.__name__}", made_of, make)
    return function_at(link(code), arguments, result)
