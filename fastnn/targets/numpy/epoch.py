"""One step, one epoch, and the engine that holds the state of all."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.output_ends import penalties_of_outputs
from fastnn.inputs.problem import EpochResult, Problem
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.rules import ends
from fastnn.rules.table import update_row
from fastnn.targets import engine as interface
from fastnn.targets.numpy.losses import definition_of
from fastnn.targets.numpy.passes import (
    Batch,
    Parameters,
    backward,
    drawn_slopes,
    dropout_masks,
    forward,
    loss_and_gradients,
    move_statistics,
)
from fastnn.targets.numpy.together import part_gradients, summed, train_together
from fastnn.targets.numpy.updates import UPDATES, Hyper, average, clipped, held, shrunk

if TYPE_CHECKING:
    from fastnn.inputs.data import Data
    from fastnn.random.windows import InOrder
    from fastnn.ranks.group import Group

end_output = ends.make_end_output()
PROGRESS_SECONDS = 0.2
PREDICTED_ROWS = 256  # of sparse features, that are dense at a time


def dense_rows(problem: Problem, X: Any, rows: np.ndarray | slice) -> np.ndarray:
    """Return rows of X, dense or sparse, as an array (m, inputs) of the problem's dtype."""
    if isinstance(X, SparseRows):
        return X.dense(rows, problem.dtype)
    return X[rows].astype(problem.dtype, copy=False)


def take(problem: Problem, data: Data, rows: np.ndarray | slice) -> Batch:
    """Return the rows of `data` as a batch; X is cast to the problem's dtype."""
    weights = data.unequal_weights
    own = None if weights is None else weights[rows]
    X = dense_rows(problem, data.X, rows)
    return Batch(X, data.targets[rows], own, data.mean_weight)


def update(
    problem: Problem,
    parameters: Parameters,
    slots: list[Parameters],
    gradients: Parameters,
    rate: float,
    t: int,
) -> tuple[Parameters, list[Parameters]]:
    """Return parameters and state slots after update number `t` (from 1).

    The rule's step, the soft threshold of l1, max_norm, the mean of the weights: in this order.
    Layers that are not trainable are as before, and their gradient counts in no norm.
    """
    network = problem.network
    learning = [layer for layer, each in enumerate(network.parametric) if each.trainable]
    limited = clipped([gradients[each] for each in learning], problem.clip_value, problem.clip_norm)
    of_layer = dict(zip(learning, limited, strict=True))
    rule, averages = UPDATES[problem.optimizer.rule], update_row(problem.optimizer).mean
    constants, ema = problem.optimizer.constants, problem.optimizer.ema
    undecayed = *constants[:3], 0.0, constants[4]
    updated: Parameters = []
    state: list[Parameters] = [[] for _ in slots]
    for layer, (described, arrays) in enumerate(zip(network.parametric, parameters, strict=True)):
        if layer not in of_layer:
            updated.append(arrays)
            for number, slot in enumerate(state):
                slot.append(slots[number][layer])
            continue
        own_rate = rate * described.rate_factor
        # Weight decay, the last constant, acts on W and on nothing else.
        of_bias = own_rate * described.bias_rate_factor
        decaying, hyper = Hyper(own_rate, constants, t, ema), Hyper(own_rate, undecayed, t, ema)
        hypers = {"weights": decaying, "bias": hyper._replace(learning_rate=of_bias)}
        found = []
        for k, (array, each) in enumerate(zip(arrays, network.parameters[layer], strict=True)):
            gradient, own = of_layer[layer][k], [slot[layer][k] for slot in slots]
            by = hypers.get(each.name, hyper)
            if each.name == "bias" and problem.optimizer.rule in ("sgd", "averaged_sgd"):
                # Such changes are rounded first: those of a perceptron cancel to the last bit.
                gradient = own_rate * gradient
                by = hyper._replace(learning_rate=described.bias_rate_factor)
            found.append(rule(array, gradient, own, by) if each.trained else (array, own))
        l1, limit = problem.penalties[layer][0], getattr(described, "max_norm", None)
        if l1 or limit is not None:
            W, slots_W = shrunk(found[0][0], own_rate * l1), found[0][1]
            found[0] = W if limit is None else held(W, limit), slots_W
        if averages:
            found = [
                (array, [*own, average(mean, array, hyper)] if each.trained else own)
                for (array, own), mean, each in zip(
                    found, slots[-1][layer], network.parameters[layer], strict=True
                )
            ]
        updated.append(tuple(array for array, _ in found))
        for number, slot in enumerate(state):
            slot.append(tuple(own[number] for _, own in found))
    return updated, state


def train_step(
    problem: Problem,
    parameters: Parameters,
    slots: list[Parameters],
    batch: Batch,
    masks: Sequence[np.ndarray | None],
    rate: float,
    t: int,
    slopes: Sequence[np.ndarray | None] | None = None,
) -> tuple[float, Parameters, list[Parameters]]:
    """Return (data loss, parameters, slots) of one minibatch; no update if the loss is not finite.

    Parameters
    ----------
    problem, parameters, slots
        As `Engine.load` takes them; not overwritten.
    batch, masks
        Rows of the step and their dropout.
    rate
        Learning rate.
    t
        Number of this update over the whole training, from 1.
    slopes
        Of rrelu in this step.
    """
    layers = forward(problem, parameters, batch.X, masks, slopes, training=True)
    loss, gradients = backward(problem, parameters, layers, batch, masks, rate)
    if not math.isfinite(loss):
        return loss, parameters, slots
    parameters, state = update(problem, parameters, slots, gradients, rate, t)
    return loss, *move_statistics(problem, layers, parameters, state)


class Engine(interface.Engine):
    """The NumPy target's engine.

    Parameters
    ----------
    problem
        What to train.
    threads
        Ignored: NumPy's own linear algebra chooses how many it uses.
    group
        The processes that train together; None: this one alone.
    """

    def __init__(
        self, problem: Problem, threads: int | None = None, group: Group | None = None
    ) -> None:
        super().__init__(problem)
        self.group = group
        # Replaced by every step, never written to: whoever has it keeps it.
        self._state: tuple[Parameters, list[Parameters]] = [], []

    def pack(
        self, parameters: Parameters, slots: list[Parameters]
    ) -> tuple[Parameters, list[Parameters]]:
        """Return the snapshot of these parameters and slots; copies."""
        return self._copy(parameters), [self._copy(slot) for slot in slots]

    def unpack(
        self, snapshot: tuple[Parameters, list[Parameters]]
    ) -> tuple[Parameters, list[Parameters]]:
        """Return copies of the parameters and slots in a snapshot."""
        return self.pack(*snapshot)

    def snapshot(self) -> tuple[Parameters, list[Parameters]]:
        """Return parameters and state slots, as `restore` takes them; not to be written to."""
        return self._state

    def restore(self, snapshot: tuple[Parameters, list[Parameters]]) -> None:
        """Go back to a snapshot."""
        self._state = snapshot

    @np.errstate(all="ignore")
    def forward(self, X: Any) -> np.ndarray:
        """Return the last layer's output (m, outputs) for X (m, inputs), without dropout.

        Where the update rule keeps the mean of the parameters, that is what predicts.
        """
        parameters, slots = self._state
        parameters = slots[-1] if update_row(self.problem.optimizer).mean else parameters
        size = PREDICTED_ROWS if isinstance(X, SparseRows) else len(X)
        found = [
            forward(self.problem, parameters, dense_rows(self.problem, X, slice(at, at + size)))
            for at in range(0, len(X), size)
        ]
        return found[0][-1].A if len(found) == 1 else np.concatenate([each[-1].A for each in found])

    @np.errstate(all="ignore")
    def gradients(self, data: Data) -> tuple[float, Parameters]:
        """Return the data loss over all rows and the gradient of loss plus l2; no dropout."""
        batch = take(self.problem, data, slice(None))
        return loss_and_gradients(self.problem, self._state[0], batch)

    def train_epoch(
        self,
        data: Data,
        order: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: interface.Progress | None = None,
    ) -> EpochResult:
        """Train on every row once.

        Parameters
        ----------
        data
            Rows, targets and weights.
        order
            int64 (n,): a permutation of the rows.
        rates
            float64 (steps,): the learning rate of each step; steps = ceil(n / batch_size).
        epoch
            Number of this epoch, from 0; dropout depends on it.
        step
            Updates done before this epoch.
        progress
            Called a few times a second with (steps done, mean loss so far).

        Returns
        -------
        EpochResult
            Mean loss; or, where a step's loss was not finite, that loss and that step.
        """
        return self.train_epoch_in_parts(
            data, order, rates, epoch, step, (), lambda *_: None, progress
        )

    @np.errstate(all="ignore")
    def train_epoch_in_parts(
        self,
        data: Data,
        order: np.ndarray | InOrder,
        rates: np.ndarray,
        epoch: int,
        step: int,
        stops: Sequence[int],
        look: interface.Look,
        progress: interface.Progress | None = None,
    ) -> EpochResult:
        """Train as `train_epoch` does, and call `look` after the steps whose numbers `stops` has.

        Parameters
        ----------
        stops
            After how many steps of the epoch, ascending.
        look
            Given how many those are, and over their rows the sums of weight times loss and of
            weight.
        order
            As for `train_epoch`, or what gives any part of that: ``order[first:last]``.
        data, rates, epoch, step, progress
            As for `train_epoch`.
        """
        loss_sum = weight_sum = mean = 0.0
        called = time.monotonic()
        one_step = self._step if self.shares is None else self._shared_step
        if self.ends is not None:
            ended, one_step = self.ends.copy(), self._step_of_those_going
            of_outputs = ended[ends.HEAD :].reshape(-1, ends.OF_OUTPUT)
            going = of_outputs[:, ends.RESTS] == 0
            of_outputs[going, ends.LOSSES] = of_outputs[going, ends.WEIGHT] = 0.0
            self.ends = ended
        for index, rate in enumerate(rates.tolist()):
            batch, loss = one_step(data, order, epoch, index, rate, step + index + 1)
            if not math.isfinite(loss):
                return EpochResult(loss, index)
            loss_sum += loss * batch.weight
            weight_sum += batch.weight
            mean = loss_sum / weight_sum if weight_sum else 0.0
            if progress and time.monotonic() - called >= PROGRESS_SECONDS:
                called = time.monotonic()
                progress(index + 1, mean)
            if index + 1 in stops:
                look(index + 1, loss_sum, weight_sum)
        return EpochResult(mean, None) if self.ends is None else self._end_outputs(self.ends)

    def ends_outputs(self, X: Any) -> bool:
        """Return whether outputs can end each for itself, in training on such features."""
        return self.problem.apart and self.group is None

    def _step(
        self, data: Data, order: Any, epoch: int, index: int, rate: float, t: int
    ) -> tuple[Batch, float]:
        """Make one step of an epoch, and return its rows and its loss."""
        size = self.problem.batch_size
        batch = take(self.problem, data, order[index * size : (index + 1) * size])
        masks = dropout_masks(self.problem, len(batch.X), epoch, index)
        slopes = drawn_slopes(self.problem, len(batch.X), epoch, index)
        loss, parameters, slots = train_step(
            self.problem, *self._state, batch, masks, rate, t, slopes
        )
        self._state = parameters, slots
        return batch, loss

    def _step_of_those_going(
        self, data: Data, order: Any, epoch: int, index: int, rate: float, t: int
    ) -> tuple[Batch, float]:
        """Do what `_step` does, but to no output at rest; add up the losses of the others."""
        assert self.ends is not None
        before, of_outputs = self._state, self.ends[ends.HEAD :].reshape(-1, ends.OF_OUTPUT)
        going = of_outputs[:, ends.RESTS] == 0
        batch = take(self.problem, data, order[index : index + 1])
        value = definition_of(self.problem).value
        assert value is not None, "outputs that are apart have losses of their own"
        losses = value(forward(self.problem, before[0], batch.X)[-1].A, batch.targets)[0]
        weights = np.ones(len(going)) if batch.weights is None else batch.weights[0]
        counted = going & (weights > 0.0)
        of_outputs[counted, ends.LOSSES] += (weights * losses)[counted]
        of_outputs[going, ends.WEIGHT] += np.broadcast_to(weights, going.shape)[going]
        _, loss = self._step(data, order, epoch, index, rate, t)
        if math.isfinite(loss):
            shown = float((weights * losses)[counted].sum()) / going.sum() if going.any() else 0.0
            loss = shown / batch.weight if batch.weight > 0.0 else 0.0
        after: tuple[Parameters, list[Parameters]] = self._state
        kept = [
            [tuple(np.where(going, new, old) for new, old in zip(*each, strict=True))]
            for each in zip(
                (after[0][0], *(slot[0] for slot in after[1])),
                (before[0][0], *(slot[0] for slot in before[1])),
                strict=True,
            )
        ]
        self._state = kept[0], kept[1:]
        return batch, loss

    def _end_outputs(self, ended: np.ndarray) -> EpochResult:
        """Take note of an epoch of each output that is not at rest, and return what it came to."""
        of_outputs = ended[ends.HEAD :].reshape(-1, ends.OF_OUTPUT)
        penalties = penalties_of_outputs(self.problem, self._state[0])
        for output, penalty in enumerate(penalties.tolist()):
            if of_outputs[output, ends.RESTS] == 0:
                end_output(ended, ends.HEAD + ends.OF_OUTPUT * output, penalty)
        ended[ends.GOING] = (of_outputs[:, ends.RESTS] == 0).sum()
        ended[ends.OBJECTIVE] = of_outputs[:, ends.OWN_OBJECTIVE].mean()
        weight = float(of_outputs[:, ends.WEIGHT].sum())
        loss = float(of_outputs[:, ends.LOSSES].sum()) / weight if weight > 0.0 else 0.0
        ended[ends.LOSS] = loss
        return EpochResult(loss, None, float(penalties.sum()), ends=ended)

    def _shared_step(
        self, data: Data, order: Any, epoch: int, index: int, rate: float, t: int
    ) -> tuple[Batch, float]:
        """Do what `_step` does, of a batch that other processes have rows of."""
        assert self.shares is not None and self.group is not None
        first = index * self.shares.capacity
        rows = order[first : first + int(self.shares.counts[index])]
        batch = take(self.problem, data, rows)
        loss, gradients = part_gradients(self, batch, epoch, index, rate)
        if self.group.every is None:
            loss, gradients = summed(self, loss, gradients, index)
        if math.isfinite(loss):
            self._state = update(self.problem, *self._state, gradients, rate, t)
        return batch, loss

    def train_epochs(
        self,
        data: Data,
        orders: np.ndarray,
        rates: np.ndarray,
        epoch: int,
        step: int,
        progress: interface.Progress | None = None,
    ) -> list[EpochResult]:
        """Train one epoch after another, up to one that fails, or leaves all outputs at rest.

        Parameters
        ----------
        orders, rates
            int64 (epochs, n) and float64 (epochs, steps): the order and the rates of each epoch.
        data, epoch, step, progress
            As for `train_epoch`; numbers of the first epoch and the first step.

        Returns
        -------
        list of EpochResult
            One for each epoch that was begun.
        """
        results: list[EpochResult] = []
        for order, own in zip(orders, rates, strict=True):
            done = len(results)
            first = step + done * rates.shape[1]
            if self.group is None:
                result = self.train_epoch(data, order, own, epoch + done, first, progress)
            else:
                result = train_together(self, data, order, own, epoch + done, first, progress)
            results.append(result)
            if result.is_last:
                break
        return results

    def _copy(self, parameters: Parameters) -> Parameters:
        dtype = self.problem.dtype
        return [tuple(np.array(array, dtype, order="C") for array in layer) for layer in parameters]
