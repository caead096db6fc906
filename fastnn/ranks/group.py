"""What the processes that train one model say to each other, so that all do the same or all stop.

MPI's collective calls must be made by all processes in the same order. There are two kinds here:
sums of an array in place, of which a step makes one for each part of the gradient, and exchanges of
small objects, of which an epoch makes a few. Each exchange says how many sums come before the next
one. So a process that fails knows in which call the others wait for it: it takes part in that, and
says in the first part of a step that it failed. They leave at the same call, and raise what it
raised.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from fastnn.errors import EXHAUSTED, FastnnError, InvalidInput, RankFailed, shown, whole
from fastnn.threads.atomic import new_lock
from fastnn.threads.processors import available_threads

if TYPE_CHECKING:
    from fastnn.ranks.shares import Shares

GO_ON, NOT_FINITE, STOPPED = range(3)  # what a sum answers
SHOWN, BEFORE = 200, 60  # letters of what differs, and those before the first that does
_CALLS = "Get_rank", "Get_size", "allgather", "Allreduce"
Value = TypeVar("Value")


class Failed(NamedTuple):
    """What a process says of its error.

    A pickle of it, if others may raise it; in words; and what of its own rows caused it, if known.
    """

    pickled: bytes | None
    words: str
    cause: str = ""


class Group:
    """The processes of a communicator, and what they have agreed on.

    Parameters
    ----------
    communicator
        One of mpi4py, or of whatever has these calls of it: Get_rank, Get_size, allgather and
        Allreduce. Its processes train together; all of them make the same calls.
    synchronise
        "step": gradients are added up in every step. A whole number: each process makes steps of
        its own, after so many of which parameters and optimizer state become the mean of all.

    Attributes
    ----------
    rank, size
        The number of this process, and how many there are.
    shares
        What this process takes of each batch, while they are in `fit`.
    neighbours, local_rank
        How many of the processes share this one's processors, with itself, and its number among
        those of its machine; `fit` finds out.
    on_devices
        Whether MPI adds up arrays on CUDA devices; `fit` finds out.

    Raises
    ------
    InvalidInput
        No communicator, one between two groups, or an MPI that only one thread may call.
    """

    def __init__(self, communicator: Any, synchronise: Any = "step") -> None:
        self._module = _check(communicator)
        self.communicator, self.synchronise = communicator, check_synchronise(synchronise)
        self.rank, self.size = int(communicator.Get_rank()), int(communicator.Get_size())
        self.shares: Shares | None = None
        self.neighbours, self.local_rank = 1, 0
        self.on_devices = False
        self._calls = new_lock()  # one sum at a time
        self._due = 0  # sums before the next exchange
        self._like: Sequence[Any] = [np.zeros(0)]
        self._stop = False
        self._told: BaseException | None = None

    @property
    def every(self) -> int | None:
        """After how many steps parameters are averaged; None: gradients are, in every step."""
        return None if self.synchronise == "step" else self.synchronise

    def begin(self) -> None:
        """Have no error: all processes are at the beginning of the same call."""
        self._due, self._stop, self._told = 0, False, None

    def has_spare_processor(self, threads: int) -> bool:
        """Return whether another thread may call MPI while so many compute, and has where to run.

        MPI waits by looking again and again: on the processor of another thread, both take turns.
        """
        level = getattr(self._module, "Query_thread", None)
        if level is not None and level() < self._module.THREAD_MULTIPLE:
            return False
        return available_threads() >= self.neighbours * (threads + 1)

    def exchange(
        self, value: Any = None, sums: int = 0, like: Sequence[Any] | None = None
    ) -> list[Any]:
        """Return what every process gave, in their order.

        Parameters
        ----------
        value
            Of this process: anything that pickles.
        sums
            How many calls of `add_up` come before the next exchange.
        like
            Arrays as these take them, in turn; one on a device is that which they take.

        Raises
        ------
        BaseException
            What another process failed with.
        """
        if like is not None:
            self._like = like
        found: list[Any] = []
        self._gather(False, value, sums, found)
        return self._answered(found, False, value)

    def of_first(self, compute: Callable[[], Value]) -> Value:
        """Return on all processes what `compute` returns, which the first of them calls."""
        return self.exchange(compute() if self.rank == 0 else None)[0]

    def stop(self) -> None:
        """Have all processes leave their sums at the next one: this one is about to fail."""
        self._stop = True

    def add_up(self, buffer: Any, part: int = 0) -> int:
        """Replace an array by the sum of those of all processes, in place.

        It is one of the parts that the last exchange has told of, of which all but part 0 may lie
        on a device, if MPI takes such. The last two numbers of part 0
        are no part of the sum: before, 1 or 0 for a loss that is not finite here; and what this
        writes there. Return GO_ON; or NOT_FINITE or STOPPED, after which there are no more sums
        before the next exchange.
        """
        with self._calls:
            if self._due == 0 or part != self._next:
                return STOPPED  # after a step's first part that said so, or `fail` has been here
            if part == 0:
                buffer[-1] = self._stop
            done: list[Any] = []
            try:
                done.extend(map(self.communicator.Allreduce, [self._module.IN_PLACE], [buffer]))
            finally:
                if done:
                    self._due -= 1
            code = GO_ON
            if part == 0 and buffer[-2:].any():
                code = STOPPED if buffer[-1] > 0 else NOT_FINITE
                self._due = 0
            return code

    @property
    def _next(self) -> int:
        """The part that is added up next."""
        return -self._due % len(self._like)

    def cancel(self) -> None:
        """Make no sum before the next exchange; all processes do so."""
        self._due = 0

    def fail(self, error: BaseException) -> None:
        """Tell the other processes of an error, unless they know of it.

        Raises
        ------
        BaseException
            What all of them raise: the error of the first process that has one.
        """
        if self._told is not None:
            return  # they have left, and so does this one, whatever has been raised since
        found: list[Any] = []
        # Another Ctrl-C meanwhile changes nothing: the others wait for this.
        while not found:
            with suppress(KeyboardInterrupt):
                while self._due > 0:
                    self._stop, part = True, self._next
                    like = self._like[part]  # what is on a device, others have there as well
                    self.add_up(np.zeros_like(like) if isinstance(like, np.ndarray) else like, part)
                self._gather(True, error, 0, found)
        self._answered(found, True, error)

    @contextmanager
    def telling(self, then: Callable[[BaseException], object] | None = None) -> Iterator[None]:
        """Have what is raised in this raised on all processes, of the first that has an error.

        Before, `then` is called with it on each of them.
        """
        try:
            yield
        except BaseException as error:
            told = error
            try:
                self.fail(error)
            except BaseException as first:
                told = first
            if then is not None:
                then(told)
            if told is error:
                raise
            raise told from error

    def lowest(self, number: int) -> int:
        """Return the smallest number that any process gives here, where all have failed."""
        found: list[Any] = []
        while not found:
            with suppress(KeyboardInterrupt):
                found.extend(map(self.communicator.allgather, [number]))
        return int(min(found[0]))

    def agree(self, described: dict[str, Any], remedies: dict[str, str]) -> None:
        """Raise `InvalidInput` on every process where they differ in what is described.

        `remedies` has what to do about some of it; about all else, it is to start all with the
        same.
        """
        texts = {name: str(value) for name, value in described.items()}
        every = self.exchange(texts)
        for name in every[0]:
            values = [each.get(name, "nothing") for each in every]
            other = next((rank for rank, value in enumerate(values) if value != values[0]), None)
            if other is not None:
                here, there = around_difference(values[0], values[other])
                self._raise(
                    InvalidInput(
                        f"the processes differ in {name}: rank 0 has {here}, rank {other} has "
                        f"{there}; " + remedies.get(name, "start all of them with the same")
                    )
                )

    def _gather(self, failed: bool, value: Any, sums: int, found: list[Any]) -> None:
        """Enter in `found` what all say; where it is there, they have said it."""
        said = pickle.dumps((failed, _packed(value) if failed else value))
        try:
            # Python raises KeyboardInterrupt after a call of C: what that gave is kept by it.
            found.extend(map(self.communicator.allgather, [said]))
        finally:
            if found:
                self._due, self._stop = sums, False

    def _answered(self, found: list[Any], failed: bool, value: Any) -> list[Any]:
        """Return what every process gave, or raise what one failed with."""
        every = [pickle.loads(each) for each in found[0]]
        first = next((rank for rank, each in enumerate(every) if each[0]), None)
        if first is None:
            return [each[1] for each in every]
        self._due = 0
        if failed and isinstance(value, Diverging):
            # All of them met it, but some may have the rows that made it so.
            causing = [rank for rank, each in enumerate(every) if each[0] and each[1].cause]
            first = self.rank if self.rank in causing or not causing else causing[0]
        if failed and first == self.rank:
            self._raise(value)
        self._raise(_unpacked(every[first][1], first))

    def _raise(self, error: BaseException) -> NoReturn:
        """Raise what all processes raise now."""
        self._told = error
        raise error


# Not finite for all of them at the same step: each says it, or what one says whose rows are large.
Diverging = ArithmeticError


def around_difference(one: str, other: str) -> tuple[str, str]:
    """Return what of two long texts is around the first place in which they differ.

    >>> around_difference("a" * 300 + "1" + "b" * 300, "a" * 300 + "2" + "b" * 300)[1][:70]
    '...aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2bbbbbb'
    """
    both = zip(one, other, strict=False)
    same = next((at for at, (a, b) in enumerate(both) if a != b), min(len(one), len(other)))
    start = 0 if same < SHOWN else same - BEFORE
    dots = "..." if start else ""
    return f"{dots}{one[start : start + SHOWN]}", f"{dots}{other[start : start + SHOWN]}"


def _packed(error: BaseException) -> Failed:
    words, pickled = f"{type(error).__name__}: {error}", None
    cause = str(getattr(error, "cause", "") or "")
    if isinstance(error, FastnnError) or not isinstance(error, Exception):
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)
        except Exception:  # what it holds does not travel
            pickled = None
    return Failed(pickled, words, cause)


def _unpacked(failed: Failed, rank: int) -> BaseException:
    """Return what other processes raise: the same error, if it is one of fastnn's or no error."""
    if failed.pickled is None:
        return RankFailed(
            f"rank {rank} stopped the training of all: {failed.words}; its own traceback has more",
            rank,
        )
    error: BaseException = pickle.loads(failed.pickled)
    if not error.args:
        error.args = (f"on rank {rank}",)
    elif isinstance(error.args[0], str) and not isinstance(error, OSError):
        error.args = f"on rank {rank}: {error.args[0]}", *error.args[1:]
    error.add_note(f"raised by rank {rank} of the communicator")
    return error


def check_synchronise(value: Any) -> Any:
    """Return "step", or after how many steps parameters are averaged; or raise `InvalidInput`."""
    if isinstance(value, str) and value == "step":
        return value
    if isinstance(value, str):
        raise InvalidInput(
            "synchronise must be 'step', or after how many steps parameters are averaged, not "
            f"{shown(value)}"
        )
    return whole(value, "synchronise", 1)


def _check(communicator: Any) -> Any:
    """Return the module that a communicator is of, or raise `InvalidInput`."""
    lacking = [name for name in _CALLS if not callable(getattr(communicator, name, None))]
    module = next(_modules(type(communicator)), None)
    if lacking or module is None or isinstance(communicator, type):
        raise InvalidInput(
            "communicator must be one of mpi4py, such as MPI.COMM_WORLD after `from mpi4py import "
            f"MPI`, not {shown(communicator):.100}"
        )
    try:
        communicator.Get_rank(), communicator.Get_size()
    except EXHAUSTED:
        raise
    except Exception as error:  # of a null or freed one; the class is mpi4py's
        raise InvalidInput(
            f"communicator {shown(communicator):.100} has no processes ({error}); pass one that "
            "this process is in, such as MPI.COMM_WORLD"
        ) from error
    if getattr(communicator, "is_inter", False):
        raise InvalidInput(
            "communicator lies between two groups of processes, whose calls do not add up what all "
            "have; pass communicator.Merge(), or MPI.COMM_WORLD"
        )
    level = getattr(module, "Query_thread", None)
    if level is not None and level() < module.THREAD_SERIALIZED:
        raise InvalidInput(
            "MPI was started for one thread alone, but fastnn calls it from the threads that "
            "train; leave mpi4py.rc.thread_level at 'multiple'"
        )
    return module


def _modules(kind: type) -> Iterator[Any]:
    """Yield the modules of a class and those that it derives from that have MPI's IN_PLACE."""
    for each in kind.__mro__:
        module = sys.modules.get(each.__module__)
        if hasattr(module, "IN_PLACE"):
            yield module
