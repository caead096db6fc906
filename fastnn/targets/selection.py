"""Where to compute: the name of a target, why it was chosen, and its engine, imported when used."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_args

from fastnn.errors import InvalidInput, TargetUnavailable
from fastnn.inputs.sparse_rows import is_sparse
from fastnn.inputs.table_files import TableRows
from fastnn.rules.table import UPDATES, unknown_name, update_row
from fastnn.targets.engine import Engine, SideBySide
from fastnn.threads.pool import uninterrupted

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader
    from fastnn.inputs.problem import Precision, Problem

Kind = Literal["cpu", "numpy", "cuda", "auto"]
# For type checkers, which know no patterns; any number of a device is taken.
Device = Literal[
    "cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5", "cuda:6", "cuda:7", "cuda:8",
    "cuda:9", "cuda:10", "cuda:11", "cuda:12", "cuda:13", "cuda:14", "cuda:15",
]  # fmt: skip
Target = Kind | Device
TARGETS: tuple[Kind, ...] = get_args(Kind)


class Parsed(NamedTuple):
    """A target's name in its parts: what computes, and the number of a device where one is given.

    >>> parse("cuda:1"), parse("cuda").device
    (Parsed(kind='cuda', device=1), None)
    """

    kind: Kind
    device: int | None = None


def parse(name: Any) -> Parsed:
    """Return the parts of a target's name, or raise `InvalidInput` where nothing is called so."""
    if isinstance(name, str):
        if name in TARGETS:
            return Parsed(name)
        if found := re.fullmatch("cuda:(0|[1-9][0-9]*)", name):
            return Parsed("cuda", int(found[1]))
        if name.startswith("cuda:"):
            raise InvalidInput(
                f"unknown target {name!r}: a device is named by its number, as in 'cuda:0'"
            )
    raise unknown_name("target", name, [*TARGETS, "cuda:N"])


def is_cuda(name: str) -> bool:
    """Return whether a target of this name is a CUDA device; nothing but that is looked at."""
    return name.partition(":")[0] == "cuda"


def choose(name: Any, problem: Problem | None = None, restarts: int = 1) -> tuple[Target, str]:
    """Return the target that `name` stands for, and why where that was not the caller's choice.

    >>> choose("numpy")
    ('numpy', '')

    Parameters
    ----------
    name
        One of `TARGETS`, or "cuda:N", the device of that number; "cuda" is the one that is current
        in this thread (see `new_engine`), or where several processes train together that of each.
    problem
        What is to be computed: its precision has to be one of the target's, and "auto" takes CUDA
        only for work that is worth it. None: that is not known yet, and "auto" stays "auto".
    restarts
        How many such problems are trained side by side.

    Raises
    ------
    InvalidInput
        An unknown name, or a target that does not have the problem's precision or its layers.
    TargetUnavailable
        A target that cannot run here: what was looked for, what was found, and what to install.
    """
    kind, device = parse(name)
    precision: Precision = "float32" if problem is None else problem.precision
    if kind == "cuda" and problem and (lacking := _lacks(problem)):
        raise InvalidInput(f"target {name!r} {lacking}; use target='cpu' or 'auto'")
    if kind == "auto":
        # Without work that is worth it no driver is asked: see `_choose_for`.
        return (name, "") if problem is None else _choose_for(problem, restarts)
    if kind == "cuda":
        from fastnn.targets.cuda.host import availability

        missing = availability.unavailable(precision, device)
        if missing:
            raise TargetUnavailable(f"target {name!r} cannot run here: {missing}")
    elif kind == "cpu" and precision == "tf32":
        raise InvalidInput(
            "precision 'tf32' needs target 'cuda', or 'numpy', which is slow, not 'cpu'; use "
            "precision='float32' here"
        )
    elif kind == "cpu" and (missing := _cpu_lacks(precision)):
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


def _choose_for(problem: Problem, restarts: int) -> tuple[Target, str]:
    """Return what "auto" stands for, and why."""
    from fastnn.targets.cuda.host import availability
    from fastnn.targets.cuda.host.worthwhile import why_not

    precision = problem.precision
    if availability.simulated():
        against = "CUDA is Numba's simulator here, which is for tests"
    elif lacking := _lacks(problem):
        against = f"CUDA {lacking}"
    elif problem.network.inputs is None:
        against = "the network does not know its number of inputs yet"
    elif not _cpu_lacks(precision) and (little := why_not(problem, restarts)):
        # The driver is not asked: a process that has started it cannot use CUDA after a fork.
        against = little
    elif not availability.devices():
        against = f"no CUDA device ({availability.driver().fault})"
    else:
        device = availability.devices()[availability.current()]
        missing = availability.unavailable(precision)  # which imports Numba, so it comes last
        if not missing:
            return "cuda", f"auto chose cuda: {device}"
        against = f"CUDA device {device.name}, but {missing}"
    if lacking := _cpu_lacks(precision):
        raise TargetUnavailable(
            f"precision {precision!r} needs target 'cuda', which 'auto' did not find: {against}; "
            f"or on target 'cpu' {lacking}; use precision='float32' here"
        )
    return "cpu", f"auto chose cpu: {against}"


def runs_on_cuda(name: Any, problem: Problem | None = None, restarts: int = 1) -> bool:
    """Return whether CUDA is what `choose` chooses for these."""
    return is_cuda(choose(name, problem, restarts)[0])


def reader_of(name: str) -> Reader | None:
    """Return what the target called `name` reads arrays on a device with; None: it does not.

    `name` is one that `choose` returned. With a number it reads those on that device, without one
    each where it is: an engine refuses what is on another device than its own.
    """
    kind, device = parse(name)
    if kind != "cuda":
        return None
    from fastnn.targets.cuda.host.reader import DeviceReader

    return DeviceReader(device)


def numbered(name: str) -> Target:
    """Return a name that means in every thread what `name`, of `choose`, means in this one."""
    device = _device_of(name)
    return cast(Target, name if device is None else f"cuda:{device}")


def _device_of(name: str) -> int | None:
    """Return the number of the device that a name means here; None: of none, or of the first.

    Where each of several processes takes a device of its own, None leaves that to them.
    """
    kind, device = parse(name)
    if kind != "cuda" or device is not None:
        return device
    from fastnn.targets.cuda.host import availability

    return availability.current() or None


def check_reads(name: Any, problem: Problem, *values: Any, restarts: int = 1) -> None:
    """Raise `InvalidInput` where one of these is sparse, or a table, and nothing reads it so.

    `name` and `restarts` are as for `choose`.
    """
    if any(isinstance(value, TableRows) for value in values):
        if runs_on_cuda(name, problem, restarts):
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
    if runs_on_cuda(name, problem, restarts):
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


def engine_class(name: str) -> Callable[..., Engine]:
    """Return the Engine of the target called `name`, one that `choose` returned.

    Raises
    ------
    TargetUnavailable
        What the target is written with cannot be imported.
    """
    modules, find = _IMPORTS[parse(name).kind]
    # Numba, which is behind 'cuda', cannot be imported again after an interruption.
    return find() if all(map(_imported, modules)) else uninterrupted(find)


def new_engine(name: str, problem: Problem, threads: int | None = None, **others: Any) -> Engine:
    """Return an engine of the target called `name`, on the device that it may give the number of.

    "cuda" without a number is the device that is current in this thread, as it is for PyTorch,
    CuPy and Numba, whose `set_device`, `use` or `select_device` says so; the engine stays there.
    `others` are arguments of all engines, and errors as of `engine_class`.
    """
    device = _device_of(name)
    if device is not None:
        others["device"] = device
    return engine_class(name)(problem, threads, **others)


def side_by_side_class(name: str) -> type[SideBySide]:
    """Return what adds up predictions of engines of the target called `name`, which are there."""
    if parse(name).kind != "cpu":
        return SideBySide
    from fastnn.targets.cpu import side_by_side

    return side_by_side.SideBySide


def _imported(module: str) -> bool:
    """Return whether a module has been imported, all of it."""
    there = sys.modules.get(module)
    spec = getattr(there, "__spec__", None)
    return there is not None and not getattr(spec, "_initializing", False)


def _import_numpy() -> Callable[..., Engine]:
    from fastnn.targets import numpy as reference

    return reference.Engine


def _import_cuda() -> Callable[..., Engine]:
    try:
        from fastnn.targets.cuda.engine import Engine as CudaEngine
    except ImportError as error:
        raise TargetUnavailable(
            f"target 'cuda' cannot be imported here ({error}); "
            "`pip install 'fastnn[cuda]'`, or use target='cpu'"
        ) from error
    return CudaEngine


def _import_cpu() -> Callable[..., Engine]:
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
_IMPORTS: dict[Kind, Any] = {
    "numpy": (("fastnn.targets.numpy",), _import_numpy),
    "cuda": (("fastnn.targets.cuda.engine",), _import_cuda),
    "cpu": (("fastnn.targets.cpu.engine", "fastnn.targets.numpy.losses"), _import_cpu),
}
