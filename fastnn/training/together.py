"""A fit that several processes do together: what they agree on before, and what they share after.

The first process alone measures, calls callbacks and shows progress; the others get what comes of
it. So all have the same history and the same parameters after every epoch.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastnn
from fastnn.errors import InvalidInput
from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import DeviceArray
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.ranks.shares import Rows, batches_of_own, parts_of_batches
from fastnn.ranks.watch import watching
from fastnn.storage.kernels.machine import register_shape
from fastnn.targets.selection import choose, runs_on_cuda
from fastnn.threads.atomic import at_once
from fastnn.training.callbacks import Looks
from fastnn.training.callbacks.checkpoint import Checkpoint
from fastnn.training.callbacks.signals import Signals, StopTraining

if TYPE_CHECKING:
    from fastnn.training.trainer_state import State, Stateful

# Of rows that all processes hold, so many are compared.
COMPARED_ROWS = 4096
_REMEDIES = {
    "parameters and optimizer state": "give all of them the same file, or the same set_parameters",
    "the rows of X and y": "give all of them the same rows in the same order, or pass fit "
    'rows="own" where each has rows of its own',
    "the number of rows": "give all of them the same rows, or pass fit "
    'rows="own" where each has rows of its own',
    "the width of vectors": "start all of them on processors of one kind",
}


@dataclass(frozen=True, eq=False)
class PartOfData(Data):
    """Rows of this process, among those of all: weights are seen against those of all.

    Attributes
    ----------
    mean
        Weight of a row, or of a target, on average over all processes.
    """

    mean: float = 1.0

    @property
    def unequal_weights(self) -> np.ndarray | None:
        """`weights`: those of other processes may be others."""
        return self.weights

    @property
    def mean_weight(self) -> float:
        """That of all processes."""
        return self.mean


def rows_in_all(trainer: Stateful, data: Data) -> int:
    """Return how many rows an epoch has, with those of all processes."""
    group = trainer._group
    return len(data) if group is None or group.shares is None else group.shares.total


def check_alone(trainer: Stateful, what: str) -> None:
    """Raise `InvalidInput` where processes were to train together, but not by `Trainer.fit`."""
    if trainer._group is not None:
        raise InvalidInput(
            f"{what} trains several models, and a communicator is for one, which "
            f"{trainer._group.size} processes train by its fit; set trainer.communicator = None "
            "first, with which each process trains all of the models"
        )


def check_group(trainer: Stateful, restarts: int, calls: tuple[Any, ...]) -> None:
    """Raise `InvalidInput` for what several processes do not train together."""
    if trainer._group is None:
        return
    problem, target = trainer.problem, trainer.target
    every = trainer._group.every
    if every is not None and runs_on_cuda(target, problem):
        raise InvalidInput(
            f"synchronise={every} makes steps of its own on each process, which target 'cuda' does "
            "not; use synchronise='step', or target='cpu'"
        )
    if "BatchNorm" in (layer.kind for layer in problem.network.parametric):
        raise InvalidInput(
            "BatchNorm normalizes over the rows of one process, and not over those of the whole "
            "batch; use LayerNorm with a communicator, or train in one process"
        )
    if restarts > 1:
        raise InvalidInput(
            f"restarts={restarts} are several models, and a communicator is for one; leave out one "
            "of the two"
        )
    if looking := Looks(calls).callbacks:
        raise InvalidInput(
            f"{looking[0]!r:.80} looks on between steps, which the processes of a communicator "
            "make without Python; use a callback after each epoch, or train in one process"
        )


def check_first_validates(trainer: Stateful, here: bool) -> None:
    """Raise `InvalidInput` on all processes where another than the first has rows to validate on.

    The first, which alone validates, would have none.
    """
    if trainer._group is None:
        return
    every = trainer._group.exchange(here)
    if any(every) and not every[0]:
        raise InvalidInput(
            f"rank {every.index(True)} has validation_data and rank 0 has none, which alone "
            "validates; give them to rank 0, or to all"
        )


def agree(trainer: Stateful, data: Data, epochs: int, rows: Rows) -> Data:
    """Return the data of this process, and share each batch, if all processes agree.

    Raises
    ------
    InvalidInput
        They differ in a setting, in the state to go on from, in their version or in their data,
        or a process has rows that it would decode while it trains; on every process, in the same
        words.
    """
    group, state = trainer._group, trainer._state
    if group is None:
        return data
    for name, array in (("X", data.X), ("y", data.targets), ("sample_weight", data.weights)):
        if isinstance(array, DeviceArray):
            raise InvalidInput(
                f"{name} lies on a device, and each process trains on one of its own; pass a NumPy "
                "array with a communicator"
            )
    if data.streams:
        raise InvalidInput(
            f"X has {len(data)} rows in the files of a table, which are too many to be held and "
            "would be decoded while they are trained on, which several processes do not do "
            "together; write them as a .npy file, whose rows each process reads where they lie, "
            'or pass fit rows="own" and each process files of its own, below 256 MiB'
        )
    problem, n = state.problem, len(data)
    target = choose(state.run.target, problem)[0]
    described: dict[str, Any] = {
        "the version of fastnn": fastnn.__version__,
        "the number of columns of X": problem.network.inputs,
        "the names of the columns of X": data.names,
        **{each.name: _words(getattr(problem, each.name)) for each in fields(problem)},
        "target": target,
        **{name: getattr(state.run, name) for name in ("shuffle", "on_divergence", "max_restores")},
        "synchronise": group.synchronise,
        "epochs": epochs,
        "rows": rows,
        "epoch, step and rate_factor": (state.epoch, state.step, state.rate_factor),
        "parameters and optimizer state": _sum_of(state),
        "whether X is sparse": isinstance(data.X, SparseRows),
        "the shape of y": data.targets.shape[1:],
        "sample_weight": ("none", "one a row", "one a target")[
            0 if data.weights is None else data.weights.ndim
        ],
    }
    if target == "cpu":
        described["the width of vectors"] = register_shape(problem.dtype)
    if rows == "all":
        described["the number of rows"] = n
        described["the dtype of X"] = getattr(data.X, "dtype", "that of sparse rows")
        described["the rows of X and y"] = _sum_of_rows(data)
    group.agree(described, _REMEDIES)
    if rows == "all":
        group.shares = parts_of_batches(n, group.size, group.rank, problem.batch_size)
        return data
    weights = data.weights
    known = None
    if weights is not None:
        known = float(weights.sum()), weights.size, float(weights.min()), float(weights.max())
    every = group.exchange((n, known))
    sizes = [each[0] for each in every]
    if weights is not None:
        sums, counts, lows, highs = zip(*(each[1] for each in every), strict=True)
        if 0.0 < min(lows) == max(highs):
            data = Data(data.X, data.targets, None, data.names)
        else:
            mean = sum(sums) / sum(counts)
            data = PartOfData(data.X, data.targets, weights, data.names, mean)
    group.shares = batches_of_own(sizes, group.rank, problem.batch_size)
    return data


@contextmanager
def all_or_none(trainer: Stateful) -> Iterator[None]:
    """Have whatever is raised in this raised on all processes; see that they end alike."""
    group = trainer._group
    if group is None:
        yield
        return
    group.begin()
    object.__setattr__(trainer, "_before", None)
    try:
        with group.telling(lambda _: _go_back(trainer)), watching(group):
            yield
            group.agree({"what has been learnt": _sum_of(trainer._state)}, {})
    finally:
        group.shares = None


def _go_back(trainer: Stateful) -> None:
    """Be in the last epoch that all processes have done: some may be one ahead of others."""
    group, before = trainer._group, trainer._before
    assert group is not None
    if group.lowest(trainer.epoch) < trainer.epoch and before is not None:
        history = trainer.history
        forgotten = history.entering(before.epoch - history.first_epoch, [])
        at_once([*forgotten, partial(object.__setattr__, trainer, "_state", before)])


def heeding_signals(callbacks: Any) -> AbstractContextManager[Any]:
    """Have a process that calls no callbacks not end by a signal that one of these saves after.

    A launcher sends it to all processes, and the first one ends the training of all.
    """
    several = callbacks if isinstance(callbacks, Iterable) else (callbacks,)
    heed = any(isinstance(each, Checkpoint) and each.on_signal for each in several)
    return Signals() if heed else nullcontext()


@contextmanager
def told_to_all(trainer: Stateful) -> Iterator[None]:
    """Have what is raised in an epoch raised on all processes, before anything clears up."""
    group = trainer._group
    if group is None:
        yield
        return
    object.__setattr__(trainer, "_before", trainer._state)

    def go_on(told: BaseException) -> None:
        if isinstance(told, StopTraining):  # no error: `fit` goes on to its end on all of them
            group.begin()

    with group.telling(go_on):
        yield


def share_changes(trainer: Stateful, before: State, over: bool) -> bool:
    """Return whether the first process wants no more epochs; be as its callbacks have left it.

    `before` is the state that they were called with.
    """
    group = trainer._group
    assert group is not None
    found = group.of_first(lambda: (over, trainer.history.best, _changes(before, trainer._state)))
    over, best, changed = found
    if group.rank > 0:
        trainer.history.best = best
        if changed is not None:
            numbers, problem, arrays = changed
            with trainer._using:
                state = trainer._state
                if problem is not None:
                    state = state.under(problem, arrays)
                elif arrays is not None:
                    state = state._replace(arrays=arrays, earlier=None)
                trainer._state = state._replace(**numbers)
    return over


def _changes(before: State, after: State) -> Any:
    """Return what turns a state into another one of the same trainer, or None."""
    if before is after:
        return None
    names = "epoch", "step", "rate_factor", "goal"
    numbers = {name: getattr(after, name) for name in names}
    problem = None if after.problem is before.problem else after.problem
    same = after.arrays is None and after.snapshot is before.snapshot and problem is None
    return numbers, problem, None if same else after.read()


def _words(value: Any) -> str:
    """Return a setting in words that are the same in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _sum_of(state: State) -> str:
    """Return a checksum of parameters and optimizer state."""
    parameters, slots = state.read()
    found = 0
    for copy in (parameters, *slots):
        for layer in copy:
            for array in layer:
                found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return f"{found:08x}"


def _sum_of_rows(data: Data) -> str:
    """Return a checksum of some rows, spread over all."""
    rows = np.unique(np.linspace(0, len(data) - 1, COMPARED_ROWS).astype(np.int64))
    X = data.X.dense(rows, np.dtype(np.float32)) if isinstance(data.X, SparseRows) else data.X[rows]
    found = zlib.crc32(np.ascontiguousarray(X).data)
    found = zlib.crc32(np.ascontiguousarray(data.targets[rows]).data, found)
    if data.weights is not None:
        found = zlib.crc32(np.ascontiguousarray(data.weights[rows]).data, found)
    return f"{found:08x}"
