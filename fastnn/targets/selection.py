"""Where to compute: the name of a target, why it was chosen, and its engine, imported when used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

from fastnn.errors import InvalidInput, TargetUnavailable
from fastnn.inputs.sparse_rows import is_sparse
from fastnn.inputs.table_files import TableRows
from fastnn.rules.table import UPDATES, unknown_name, update_row
from fastnn.targets.engine import Engine, SideBySide
from fastnn.threads.pool import uninterrupted

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader
    from fastnn.inputs.problem import Precision, Problem

Target = Literal["cpu", "numpy", "cuda", "auto"]
TARGETS: tuple[Target, ...] = get_args(Target)


def choose(name: Any, problem: Problem | None = None, restarts: int = 1) -> tuple[Target, str]:
    """Return the target that `name` stands for, and why where that was not the caller's choice.

    >>> choose("numpy")
    ('numpy', '')

    Parameters
    ----------
    name
        One of `TARGETS`.
    problem
        What is to be computed, if that is known: its precision has to be one of the target's, and
        "auto" takes CUDA only for work that is worth it.
    restarts
        How many such problems are trained side by side.

    Raises
    ------
    InvalidInput
        An unknown name, or a target that does not have the problem's precision or its layers.
    TargetUnavailable
        A target that cannot run here: what was looked for, what was found, and what to install.
    """
    if not isinstance(name, str) or name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    precision: Precision = "float32" if problem is None else problem.precision
    if name == "cuda" and problem and (lacking := _lacks(problem)):
        raise InvalidInput(f"target 'cuda' {lacking}; use target='cpu' or 'auto'")
    if name == "auto":
        return _choose_for(problem, precision, restarts)
    if name == "cuda":
        from fastnn.targets.cuda.host import availability

        missing = availability.unavailable(precision)
        if missing:
            raise TargetUnavailable(f"target 'cuda' cannot run here: {missing}")
    elif name == "cpu" and precision == "tf32":
        raise InvalidInput(
            "precision 'tf32' needs target 'cuda', or 'numpy', which is slow, not 'cpu'; use "
            "precision='float32' here"
        )
    elif name == "cpu" and (missing := _cpu_lacks(precision)):
        raise TargetUnavailable(
            f"precision {precision!r} on target 'cpu' needs {missing}; use precision='float32', "
            "target='cuda', or target='numpy', which is slow"
        )
    return name, ""


def _cpu_lacks(precision: Precision) -> str:
    """Return what the CPU target lacks here for a precision, or ""."""
    if precision == "float32":
        return ""
    if precision == "tf32":
        return "tensor cores, which no CPU has"
    from fastnn.targets.cpu.bfloat16 import missing

    return missing()


def _lacks(problem: Problem) -> str:
    """Return what of a problem CUDA cannot compute, or ""."""
    if kinds := problem.network.other_kinds:
        return f"does not have {' and '.join(kinds)} yet"
    optimizer = problem.optimizer
    if update_row(optimizer).slots > UPDATES[optimizer.rule].slots:
        kind = type(optimizer).__name__
        return f"does not have the ema of {kind} yet, but for SGD without momentum"
    return ""


def _choose_for(problem: Problem | None, precision: Precision, restarts: int) -> tuple[Target, str]:
    """Return what "auto" stands for, and why."""
    from fastnn.targets.cuda.host import availability
    from fastnn.targets.cuda.host.worthwhile import why_not

    if availability.simulated():
        against = "CUDA is Numba's simulator here, which is for tests"
    elif problem and (lacking := _lacks(problem)):
        against = f"CUDA {lacking}"
    elif problem and problem.network.inputs is None:
        against = "the network does not know its number of inputs yet"
    elif problem and not _cpu_lacks(precision) and (little := why_not(problem, restarts)):
        # The driver is not asked: a process that has started it cannot use CUDA after a fork.
        against = little
    elif not availability.devices():
        against = f"no CUDA device ({availability.driver().fault})"
    elif missing := availability.unavailable(precision):  # which imports Numba, so it comes last
        against = f"CUDA device {availability.devices()[0].name}, but {missing}"
    else:
        return "cuda", f"auto chose cuda: {availability.devices()[0]}"
    if lacking := _cpu_lacks(precision):
        raise TargetUnavailable(
            f"precision {precision!r} needs target 'cuda', which 'auto' did not find: {against}; "
            f"or on target 'cpu' {lacking}; use precision='float32' here"
        )
    return "cpu", f"auto chose cpu: {against}"


def reader_of(name: str) -> Reader | None:
    """Return what the target called `name` reads arrays on a device with; None: it does not.

    `name` is one that `choose` returned.
    """
    if name != "cuda":
        return None
    from fastnn.targets.cuda.host.reader import DeviceReader

    return DeviceReader()


def check_reads(name: Any, problem: Problem, *values: Any, restarts: int = 1) -> None:
    """Raise `InvalidInput` where one of these is sparse, or a table, and nothing reads it so.

    `name` is one of `TARGETS`, and `restarts` as for `choose`.
    """
    if any(isinstance(value, TableRows) for value in values):
        if choose(name, problem, restarts)[0] == "cuda":
            raise InvalidInput(
                "X is in the files of a table, which target 'cuda' does not read"
                + (", and 'auto' chose it" if name == "auto" else "")
                + "; use target='cpu', or write X as a .npy file"
            )
    kinds = [type(value).__name__ for value in values if is_sparse(value)]
    if not kinds:
        return
    if problem.precision != "float32":
        raise InvalidInput(
            f"X is sparse ({kinds[0]}), and products with sparse rows are not rounded to "
            f"{problem.precision}; use precision='float32', or pass X.toarray()"
        )
    first = problem.network.parametric[0]
    if first.kind != "Dense":
        raise InvalidInput(
            f"X is sparse ({kinds[0]}), but the first layer is a {first.kind}, which leaves no "
            "number 0; begin the network with a Dense, or pass X.toarray()"
        )
    if choose(name, problem, restarts)[0] == "cuda":
        raise InvalidInput(
            f"X is sparse ({kinds[0]}), which target 'cuda' does not read"
            + (", and 'auto' chose it" if name == "auto" else "")
            + "; use target='cpu', or pass X.toarray()"
        )


def describe(reason: str, engine: Any) -> str:
    """Return what a history says of a target that `choose` took: why, and how it goes about it.

    Of one that was asked for by name it says nothing.
    """
    return f"{reason}; {engine.description}" if reason and engine.description else reason


def engine_class(name: str) -> Callable[[Problem, int | None], Engine]:
    """Return the Engine of the target called `name`, one that `choose` returned.

    Raises
    ------
    TargetUnavailable
        What the target is written with cannot be imported.
    """
    modules, find = _IMPORTS[name]
    # Numba, which is behind 'cuda', cannot be imported again after an interruption.
    return find() if all(map(_imported, modules)) else uninterrupted(find)


def side_by_side_class(name: str) -> type[SideBySide]:
    """Return what adds up predictions of engines of the target called `name`, which are there."""
    if name != "cpu":
        return SideBySide
    from fastnn.targets.cpu import side_by_side

    return side_by_side.SideBySide


def _imported(module: str) -> bool:
    """Return whether a module has been imported, all of it."""
    there = sys.modules.get(module)
    spec = getattr(there, "__spec__", None)
    return there is not None and not getattr(spec, "_initializing", False)


def _import_numpy() -> Callable[[Problem, int | None], Engine]:
    from fastnn.targets import numpy as reference

    return reference.Engine


def _import_cuda() -> Callable[[Problem, int | None], Engine]:
    try:
        from fastnn.targets.cuda.engine import Engine as CudaEngine
    except ImportError as error:
        raise TargetUnavailable(
            f"target 'cuda' cannot be imported here ({error}); "
            "`pip install 'fastnn[cuda]'`, or use target='cpu'"
        ) from error
    return CudaEngine


def _import_cpu() -> Callable[[Problem, int | None], Engine]:
    try:
        from fastnn.targets.cpu.engine import Engine as CpuEngine
        from fastnn.targets.numpy import activations, losses  # noqa: F401 - what scores need
    except ImportError as error:
        raise TargetUnavailable(
            f"target 'cpu' needs llvmlite, which comes with Numba and cannot be imported here "
            f"({error}); install a Numba that fits this Python and NumPy, or use target='numpy'"
        ) from error
    return CpuEngine


# What is imported for a target, and what does it.
_IMPORTS = {
    "numpy": (("fastnn.targets.numpy",), _import_numpy),
    "cuda": (("fastnn.targets.cuda.engine",), _import_cuda),
    "cpu": (("fastnn.targets.cpu.engine", "fastnn.targets.numpy.losses"), _import_cpu),
}
