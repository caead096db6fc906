"""A command that mpiexec starts several processes of: they end alike, and the first one speaks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastnn.errors import InvalidInput, MissingExtra

FAILED, INTERRUPTED = 2, 130  # what `fastnn.cli.commands.main` returns


def world() -> Any:
    """Return the communicator of all processes that mpiexec has started.

    Raises
    ------
    MissingExtra
        mpi4py, or an MPI that it can load, is not installed.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter where it finds no library of MPI
        raise MissingExtra(
            f"--mpi needs mpi4py and an MPI, which cannot be loaded here ({error}); "
            "pip install 'fastnn[mpi]', and an MPI such as the package mpich of pip, conda or the "
            "system"
        ) from error
    return MPI.COMM_WORLD


# Numbers that launchers give to each process: of it, and of all.
_LAUNCHERS = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI, Cray
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),  # MVAPICH
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # srun; a batch script has only its job's number
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
)


# "model-3.safetensors", "model3.st" and "3/model.st" have one, and no name of random letters has.
_NUMBER = re.compile(r"[0-9]+(?![0-9A-Za-z])")


def check_alone(mpi: bool, tabular: bool, out: str) -> None:
    """Refuse to be one of several processes that would all write one file, each for itself.

    A file whose path has the number of the process is its own.

    Raises
    ------
    InvalidInput
        A launcher has started several, and nothing says that they are to train together.
    """
    for number, total in _LAUNCHERS:
        rank, size = os.environ.get(number, ""), os.environ.get(total, "")
        if mpi or not (rank.isdigit() and size.isdigit()) or int(size) < 2:
            continue
        if int(rank) in map(int, re.findall(_NUMBER, os.path.abspath(out))):
            continue
        remedy = "pass --mpi to train one model with all of them"
        if tabular:
            remedy = "start it once, without the launcher, for --mpi is for one network"
        raise InvalidInput(
            f"this is one of {size} processes ({total}={size}), each of which would train a model "
            f"of its own and write it to {out}; {remedy}, or have --out name a file for each by "
            f"its {number}"
        )


class Processes:
    """Those that run a command together: one, unless `asked`.

    Attributes
    ----------
    communicator
        As a trainer takes it, or None.
    first
        Whether this process is the one that prints and saves.
    """

    def __init__(self, asked: bool) -> None:
        self.communicator: Any = None
        self._group: Any = None
        if asked:
            from fastnn.ranks.group import Group

            self.communicator = world()
            group = Group(self.communicator)
            self._group = group if group.size > 1 else None
        self.first = self._group is None or self._group.rank == 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Have all end where one fails meanwhile; the first prints why, and the others nothing."""
        group = self._group
        if group is None:
            yield
            return
        group.begin()
        try:
            with group.telling():
                yield
            group.exchange()
        except BaseException as error:
            if self.first:
                raise
            interrupted = isinstance(error, KeyboardInterrupt)
            raise SystemExit(INTERRUPTED if interrupted else FAILED) from error
