"""What the trainer asks of a target, and what follows from the rest of it on every target."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.inputs.pages import by_pieces
from fastnn.inputs.parameters import Parameters
from fastnn.network import Network
from fastnn.random.row_orders import shuffled
from fastnn.random.windows import InOrder, orders_of
from fastnn.rules.activations import RRELU_MEAN
from fastnn.rules.table import activation_row

if TYPE_CHECKING:
    from fastnn.inputs.data import Data
    from fastnn.inputs.problem import EpochResult, Problem
    from fastnn.ranks.group import Group
    from fastnn.ranks.shares import Shares

Progress = Callable[[int, float], None]
Look = Callable[[int, float, float], None]
Finish = Callable[[np.ndarray, np.ndarray], Any]


def report_later(progress: Progress, before: int, steps: int, loss: float) -> None:
    """Report steps that come after so many others."""
    progress(before + steps, loss)


class Predicted(NamedTuple):
    """An epoch of training, and a prediction after it.

    Attributes
    ----------
    result
        What the epoch came to.
    outputs
        Of the last layer, (m, outputs); None where the epoch failed.
    snapshot
        The state after the epoch, as `Engine.restore` takes it.
    seconds
        Of the training.
    """

    result: EpochResult
    outputs: np.ndarray | None
    snapshot: Any
    seconds: float


class Engine(ABC):
    """Holds parameters and optimizer state, trains and predicts.

    `fastnn.targets.numpy.Engine` defines what training and predicting compute.

    Attributes
    ----------
    problem
        What is trained.
    threads
        How many threads of the processor do.
    description
        Which of several ways the target takes, for the history; "" where there is one.
    seconds_per_row
        In training, as far as known; infinite at first.
    slow_row
        Seconds that a row takes at most, of a slow core; infinite where nobody can say.
    predicts_between
        Whether `train_and_predict` costs little beside the work itself.
    group
        The processes that train together, each of which has an engine; None where one trains alone.
        Orders are those of its own rows then, and every call that trains is made by all of them.
    seconds_before
        How long the epochs that the last call returned had taken before that call, done together
        with those of other networks.
    ends
        Where outputs end each for itself, what `fastnn.rules.ends` describes: an epoch reads it and
        puts another array there, which `EpochResult.ends` has too. None: no output ends. Who sets
        it sees that it belongs to the parameters.
    """

    slow_row: float = math.inf
    predicts_between: bool = False
    seconds_before: float = 0.0
    problem: Problem
    threads: int
    description: str
    seconds_per_row: float
    group: Group | None = None
    ends: np.ndarray | None = None

    def __init__(self, problem: Problem) -> None:
        """Be the engine of `problem`, which the first call that computes begins from `restore`."""
        self.problem, self.threads, self.description = problem, 1, ""
        self.seconds_per_row = math.inf

    @abstractmethod
    def pack(self, parameters: Parameters, slots: list[Parameters]) -> Any:
        """Return the snapshot that `load` of these would lead to; changes nothing."""

    @abstractmethod
    def unpack(self, snapshot: Any) -> tuple[Parameters, list[Parameters]]:
        """Return copies of the parameters and slots in a snapshot, from any thread."""

    def unpack_copy(self, snapshot: Any, copy: int) -> Parameters:
        """Return the parameters in a snapshot for 0, or for -1 the last slot, if there is one."""
        parameters, slots = self.unpack(snapshot)
        return [parameters, *slots][copy]

    @abstractmethod
    def snapshot(self) -> Any:
        """Return parameters and optimizer state as `restore` takes them; never written to."""

    @abstractmethod
    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot; nothing is done where the engine holds that very one.

        After an error or an interruption in any other call this is what makes the engine whole.
        """

    @property
    def shares(self) -> Shares | None:
        """What this process takes of each batch, where several train together."""
        return None if self.group is None else self.group.shares

    def load(self, parameters: Parameters, slots: list[Parameters]) -> None:
        """Copy in the arrays of each layer, as `parameters` gives them, and so for each slot."""
        self.restore(self.pack(parameters, slots))

    def parameters(self) -> Parameters:
        """Return copies of the arrays of each layer in the dtype; see `Network.parameters`."""
        return self.unpack(self.snapshot())[0]

    def slots(self) -> list[Parameters]:
        """Return copies of the state slots, in the update rule's order."""
        return self.unpack(self.snapshot())[1]

    def finite(self) -> bool:
        """Return whether all parameters and all optimizer state are finite."""
        parameters, slots = self.unpack(self.snapshot())
        return all(
            bool(np.isfinite(array).all())
            for layers in (parameters, *slots)
            for layer in layers
            for array in layer
        )

    def flat(self, snapshot: Any) -> np.ndarray:
        """Return all numbers of a snapshot as one array, which is not to be written to."""
        if isinstance(snapshot, np.ndarray):
            return snapshot
        parameters, slots = self.unpack(snapshot)
        copies = (parameters, *slots)
        return np.concatenate([each.ravel() for one in copies for layer in one for each in layer])

    def of_flat(self, numbers: np.ndarray) -> Any:
        """Return the snapshot that `flat` gives these numbers of; they are not copied."""
        if isinstance(self.snapshot(), np.ndarray):
            numbers.flags.writeable = False
            return numbers
        copies = []
        for like in (self.parameters(), *self.slots()):
            layers = []
            for layer in like:
                ends = np.cumsum([each.size for each in layer])
                parts = np.split(numbers[: ends[-1]], ends[:-1])
                layers.append(
                    tuple(p.reshape(each.shape) for p, each in zip(parts, layer, strict=True))
                )
                numbers = numbers[ends[-1] :]
            copies.append(layers)
        return self.pack(copies[0], copies[1:])

    def orders(self, epochs: range, n: int, window: int | None = None) -> np.ndarray:
        """Return the rows 0..n-1 of some epochs, int64 (len(epochs), n), shuffled.

        `window` says how many rows are shuffled together, None: all; see `fastnn.random.windows`.
        """
        seed = self.problem.seed if self.shares is None else self.shares.seed(self.problem.seed)
        return orders_of(seed, epochs, n, window, self.shuffled)

    def shuffled(self, keys: np.ndarray, n: int) -> np.ndarray:
        """Return what `fastnn.random.row_orders.shuffled` does, int64 (keys, n)."""
        return shuffled(keys, n)

    def train_epoch(
        self,
        data: Data,
        order: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: Progress | None = None,
    ) -> EpochResult:
        """Train on every row once; see the NumPy target for the definition of every argument."""
        return self.train_epochs(data, order[None], rates[None], epoch, step, progress)[0]

    @abstractmethod
    def train_epochs(
        self,
        data: Data,
        orders: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: Progress | None = None,
    ) -> list[EpochResult]:
        """Train some epochs, one after another.

        There may be fewer results: the last one is of an epoch that failed, or after which all
        outputs are at rest (see `ends`), so that later ones change nothing.
        """

    def train_and_predict(
        self,
        data: Data,
        orders: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        X: Any,
        progress: Progress | None = None,
    ) -> list[Predicted]:
        """Train as `train_epochs` does, to the same bits, and predict X after each of the epochs.

        The last may have failed; it has no outputs then.
        """
        found: list[Predicted] = []
        for order, own in zip(orders, rates, strict=True):
            done, start = len(found), time.perf_counter()
            steps = step + done * len(own)
            report = progress and partial(report_later, progress, done * len(own))
            result = self.train_epoch(data, order, own, epoch + done, steps, report)
            seconds = time.perf_counter() - start
            if result.bad_step is not None:
                return [*found, Predicted(result, None, None, seconds)]
            found.append(Predicted(result, self.outputs(X), self.snapshot(), seconds))
            if result.all_rest:
                break
        return found

    def train_epoch_in_parts(
        self,
        data: Data,
        order: np.ndarray | InOrder,
        rates: np.ndarray,
        epoch: int,
        step: int,
        stops: Sequence[int],
        look: Look,
        progress: Progress | None = None,
    ) -> EpochResult:
        """Train as `train_epoch` does, to the same bits, and call `look` after some of the steps.

        Parameters
        ----------
        stops
            After how many steps of the epoch, ascending.
        look
            Given how many those are, and over their rows the sums of weight times loss and of
            weight. It may predict, and take snapshots, with this engine. What it raises ends the
            epoch.
        order
            As for `train_epoch`, or what gives any part of that: ``order[first:last]``.
        data, rates, epoch, step, progress
            As for `train_epoch`.
        """
        raise NotImplementedError  # of what trains several networks, which `hides_steps` says

    @property
    def tells_penalty(self) -> bool:
        """Whether what `train_epochs` returns has the penalty after each epoch."""
        return False

    def ends_outputs(self, X: Any) -> bool:
        """Return whether outputs can end each for itself, in training on such features."""
        return False

    @staticmethod
    def hides_steps(problem: Problem) -> str:
        """Return why no `StepCallback` looks on between the steps; "" where one can."""
        return ""

    @staticmethod
    def overlaps_steps(problem: Problem) -> bool:
        """Return whether a step begins before the last one ends.

        Then parts of an epoch come to other bits than the whole.
        """
        return False

    @abstractmethod
    def forward(self, X: Any) -> np.ndarray:
        """Return the last layer's output (m, outputs) for X (m, inputs), without dropout."""

    def forward_if_finite(self, X: np.ndarray) -> np.ndarray | None:
        """Return what `forward` does where that shows all of X to be finite; None: perhaps not.

        A target that does not look at X meanwhile has nothing to return.
        """
        return None

    def outputs(self, X: Any) -> np.ndarray:
        """Return what `forward` does, for rows in a file that is larger than memory, too."""
        return by_pieces(self.forward, X)

    def gradients(self, data: Data) -> tuple[float, Parameters]:
        """Return the data loss over all rows and the gradient of loss plus l2; no dropout.

        The gradient is that by all parameters, trainable or not. They are those of one step on a
        batch of all rows: statistics of `BatchNorm` are of these.
        """
        other = self._storing_gradients(gradient_problem(self.problem, len(data)))
        other.load(self.parameters(), [])
        result = other.train_epoch(data, np.arange(len(data)), np.zeros(1), 0, 0)
        gradients = other.slots()[0]
        other.close()
        return result.loss, gradients

    def _storing_gradients(self, problem: Problem) -> Engine:
        """Return an engine of this target whose update rule is "gradient", for `gradients`.

        A target that has `gradients` of its own needs none.
        """
        raise NotImplementedError

    def to_device(self, data: Data) -> Data:
        """Return data for `forward` to read again and again, where this target reads best."""
        return data

    def prepare(  # noqa: B027 - a target may have nothing to compile
        self, X: Any = None, rows: int | None = None, predicts: bool = False
    ) -> None:
        """Make ready to train on features: compile what has to be compiled, outside of any clock.

        Parameters
        ----------
        X
            The features, or some of the same form; None: any that are dense.
        rows
            Of an epoch; None: at least a batch.
        predicts
            Whether there will be predictions between epochs.
        """

    def close(self) -> None:  # noqa: B027 - nor anything to give back
        """Give back threads and memory."""


def gradient_problem(problem: Problem, rows: int) -> Problem:
    """Return the problem whose step on so many rows has the gradients of `Engine.gradients`.

    It has neither dropout nor drawn slopes, and one batch of all rows.
    """
    layers: list[Any] = list(problem.network.parametric)
    for position, each in enumerate(layers):
        if activation_row(each.activation).random:
            layers[position] = each = replace(each, activation="leaky_relu", alpha=RRELU_MEAN)
        if not each.trainable:
            layers[position] = replace(each, trainable=True)
    return replace(problem, network=Network(problem.network.inputs, layers), batch_size=rows)


class SideBySide:
    """Several engines of one target, the weighted sum of whose predictions is wanted.

    A target may do that in less time than one engine after another, as this does.

    Parameters
    ----------
    engines
        With parameters, which nobody changes afterwards.
    groups
        Which of several arrays of features each of them reads.
    weights
        What each counts in the sum.
    threads
        How many threads of the processor at the most.
    finish
        (array, array) -> None: puts what is to be added for the outputs in the first array into
        the second, which may be the same; None: outputs are added.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        groups: Sequence[int],
        weights: Sequence[float],
        threads: int,
        finish: Finish | None = None,
    ) -> None:
        self.engines, self.groups, self.weights = list(engines), list(groups), list(weights)
        self.threads, self.finish = threads, finish

    @staticmethod
    def seats(problems: Sequence[Problem], threads: int) -> int:
        """Return for how many threads engines of these problems are to be made, at most so many."""
        return threads

    def add_up(self, features: Sequence[Any]) -> np.ndarray:
        """Return sum_k weights_k finish(outputs_k), (m, outputs), added in the order of engines.

        Parameters
        ----------
        features
            Of each group, (m, inputs), checked.
        """
        total: np.ndarray | None = None
        for engine, group, weight in zip(self.engines, self.groups, self.weights, strict=True):
            part = engine.outputs(features[group])
            if self.finish is not None:
                self.finish(part, part)
            part *= part.dtype.type(weight)
            total = part if total is None else total + part
        assert total is not None, "there is an engine"
        return total
