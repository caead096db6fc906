"""Every error that fastnn raises on purpose."""

from __future__ import annotations


class FastnnError(Exception):
    """Base of the family: ``except FastnnError`` catches whatever fastnn reports."""


class InvalidInput(FastnnError, ValueError):
    """A setting or an array that cannot be used; nothing has been changed by the call."""


class TargetUnavailable(FastnnError, RuntimeError):
    """The target that was asked for cannot run on this machine."""


class DeviceFailure(FastnnError, RuntimeError):
    """A CUDA device has too little memory, failed in a kernel, or was lost.

    The trainer holds the parameters of the last good epoch.
    """


class MissingExtra(FastnnError, ImportError):
    """A library that this needs is not installed; the message names the extra that brings it."""


class Diverged(FastnnError, ArithmeticError):
    """Training met a loss or a parameter that is NaN or infinite, or `minimize` such a value.

    Attributes
    ----------
    epoch, step
        Where it happened, both counted from 0; ``step`` counts minibatches within the epoch.
        The trainer holds the parameters of the last good epoch. In `fastnn.graph.minimize`,
        ``epoch`` is the restart and ``step`` the steps taken in it.
    """

    def __init__(self, message: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step


class StrayAccess(FastnnError, RuntimeError):
    """Compiled code touched memory that it must not, which ``FASTNN_CHECK=1`` finds.

    It is a fault of fastnn, not of the caller; the message says which function touched what.
    """


class MissingFile(FastnnError, FileNotFoundError):
    """A file or a folder that is not there; `filename` names it."""


class CorruptFile(FastnnError, ValueError):
    """A file that is damaged, truncated, or not one that fastnn wrote."""
