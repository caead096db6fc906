"""A command that mpiexec starts several processes of: they end alike, and the first one speaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastnn.errors import MissingExtra

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
