"""Every error that fastnn raises on purpose, and the checks of settings that raise one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator
from functools import cache
from numbers import Integral, Real
from typing import Any, Self


class FastnnError(Exception):
    """Base of the family: ``except FastnnError`` catches whatever fastnn reports."""


class InvalidInput(FastnnError, ValueError):
    """A setting or an array that cannot be used; nothing has been changed by the call."""


class NotAssignable(InvalidInput, AttributeError):
    """An attribute, or a list in one, that cannot be changed so.

    The message says what changes it, if anything does.
    """


class UnknownArgument(InvalidInput, TypeError):
    """A call with an argument that it does not take, or without one that it needs.

    The message says what it is called here, where it belongs, or what the call takes.
    """


class TargetUnavailable(FastnnError, RuntimeError):
    """The target that was asked for cannot run on this machine."""


class DeviceFailure(FastnnError, RuntimeError):
    """A CUDA device has too little memory, failed in a kernel, or was lost.

    The trainer holds the parameters of the last good epoch.
    """


class MissingExtra(FastnnError, ImportError):
    """A library that this needs is not installed; the message names the extra that brings it."""


@contextlib.contextmanager
def importing(subject: str, command: str) -> Iterator[None]:
    """Turn the `ImportError` of an import into a `MissingExtra`.

    `subject` begins the message: what needs which library; `command` installs it.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(
            f"{subject} cannot be imported here ({error}); install it with: {command}"
        ) from error


class Diverged(FastnnError, ArithmeticError):
    """Training met a loss or a parameter that is NaN or infinite, or `minimize` such a value.

    Attributes
    ----------
    epoch, step
        Where it happened, both counted from 0; ``step`` counts minibatches within the epoch.
        The trainer holds the parameters of the last good epoch. In `fastnn.graph.minimize`,
        ``epoch`` is the restart and ``step`` the steps taken in it.
    cause
        Which of X and y is large, its column and row, and what to do about it; "" where none is.
    """

    def __init__(self, message: str, epoch: int, step: int, cause: str = "") -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.cause = cause

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place too: a worker's error travels to the process that waits for it."""
        return type(self), (str(self), self.epoch, self.step, self.cause)


class RankFailed(FastnnError, RuntimeError):
    """Another process of the communicator failed, so that this one has stopped, too.

    Attributes
    ----------
    rank
        Which one; the message has its error. The trainer is as the last whole epoch left it.
    """

    def __init__(self, message: str, rank: int = 0) -> None:
        super().__init__(message)
        self.rank = rank

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rank, too."""
        return type(self), (str(self), self.rank)


class StrayAccess(FastnnError, RuntimeError):
    """Compiled code touched memory that it must not, which ``FASTNN_CHECK=1`` finds.

    It is a fault of fastnn, not of the caller; the message says which function touched what.
    """


class TrainerBusy(FastnnError, RuntimeError):
    """A trainer was asked to `fit` while it does so already; nothing has been changed."""


class WorkerFailed(FastnnError, RuntimeError):
    """An executor's workers could not train: they ended, or could not take what they were given."""


class MissingFile(FastnnError, FileNotFoundError):
    """A file or a folder that is not there; `filename` names it."""


class UnusableFile(FastnnError, OSError):
    """A path that cannot be read or written: no file but a folder, a pipe or a device; no rights.

    It is of the system's own class too, where there is one: for a folder, say, `except
    IsADirectoryError` catches it. `errno` and `filename` are those of any `OSError`.
    """

    def __new__(cls, number: int | None, *rest: Any) -> Self:
        """Return the error, of the class that the system has for this number."""
        if cls is UnusableFile:
            cls = _of_both(number)
        return super().__new__(cls, number, *rest)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the error says; its class follows from the number."""
        return UnusableFile, (self.errno, self.strerror, self.filename)


@cache
def _of_both(number: int | None) -> Any:
    """Return a class that is also the one that the system's error of this number is of."""
    kind = type(OSError(number, ""))
    bases = (UnusableFile,) if kind is OSError else (UnusableFile, kind)
    return type("UnusableFile", bases, {"__module__": __name__})


class CorruptFile(FastnnError, ValueError):
    """A file that is damaged, truncated, or not one that fastnn wrote."""


class TrainingWarning(UserWarning):
    """A training that ended with nothing learnt, or of several some that an error ended; and why.

    Said once, at the end of the call.
    """


class RoundingWarning(RuntimeWarning):
    """What is off only because numbers are rounded, and how not.

    A formula that is infinite or NaN for it, or parameters that take in a `Scaling`.
    """


class CacheWarning(RuntimeWarning):
    """Compiled code cannot be kept, or what is kept not be used; said once a process."""


class EnvironmentWarning(RuntimeWarning):
    """A variable of the environment is ignored for what it says; told once for each such value."""


# What a process runs out of. They say nothing of what was given, and keep their names: handlers of
# any other error that raise one of fastnn's let these out first.
EXHAUSTED = MemoryError, RecursionError

MOST = 2**53  # of a count: float64 has every whole number up to there


def whole(value: Any, what: str, minimum: int, maximum: float = MOST) -> int:
    """Return `value` as an int from `minimum` to `maximum`, or raise `InvalidInput`."""
    if type(value) is int and minimum <= value <= maximum:  # which asks no abstract class
        return value
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise InvalidInput(
            f"{what} must be a whole number of at least {minimum}, not {shown(value)}"
        )
    if int(value) > maximum:
        raise InvalidInput(f"{what} must be at most {maximum}, not {shown(value)}")
    return int(value)


def shown(value: Any) -> str:
    """Return how messages show what was given: its `repr`, if it has one that is not too long."""
    try:
        text = repr(value)
    except Exception:  # Python writes no whole numbers of thousands of digits
        kind = "whole number" if isinstance(value, Integral) else type(value).__name__
        return f"a {kind} too long to be shown"
    return text if len(text) <= 200 else f"{text[:200]}..."


def true_or_false(value: Any, what: str) -> bool:
    """Return `value`, one of Python's booleans or NumPy's, as a bool, or raise `InvalidInput`."""
    if not isinstance(value, bool):
        import numpy as np  # which errors alone do not need

        if not isinstance(value, np.bool_):
            raise InvalidInput(f"{what} must be True or False, not {shown(value)}")
    return bool(value)


def check_own(value: Any, kinds: Collection[type], what: str) -> None:
    """Raise `InvalidInput` where the class of `value` is derived from one of `kinds`, and is none.

    What runs is compiled for fastnn's own classes, and files have their names: what a class that is
    derived from one overrides would count in one place, not in another, and be lost in a file.
    """
    kind = type(value)
    if kind in kinds:
        return
    for base in kind.__mro__:
        if base in kinds:
            raise InvalidInput(
                f"{what} is of the class {kind.__name__}, which is derived from {base.__name__}; "
                "what runs is compiled for fastnn's own classes, and a file has settings and no "
                f"code, so nothing would be left of what {kind.__name__} adds: pass "
                f"{base.__name__}(...) itself; a function can return it with the settings you want"
            )


def check_takes(function: Any, arguments: str, what: str) -> None:
    """Raise `InvalidInput` for a function that cannot be called with `arguments`, by their places.

    They are names, such as "trainer, history". What does not say what it takes, as some functions
    that are not written in Python, passes.
    """
    import inspect  # which is slow to import, and errors alone do not need

    try:
        taken = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        taken.bind(*arguments.split(", "))
    except TypeError as error:
        raise InvalidInput(
            f"{what} is called with ({arguments}), but {shown(function):.80} takes {taken}: {error}"
        ) from None


def number(
    value: Any,
    what: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return `value` as a finite float in the range, or raise `InvalidInput` naming the range."""
    found = math.nan  # which lies in no range
    if type(value) is float:
        found = value
    elif isinstance(value, Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # a whole number or a fraction beyond any float
            found = float(value)
    inside = (
        math.isfinite(found)
        and (low < found if open_low else low <= found)
        and (found < high if open_high else found <= high)
    )
    if inside:
        return found
    left = "(" if open_low or low == -math.inf else "["
    right = ")" if open_high or high == math.inf else "]"
    raise InvalidInput(
        f"{what} must be a finite number in {left}{low:g}, {high:g}{right}, not {shown(value)}"
    )
