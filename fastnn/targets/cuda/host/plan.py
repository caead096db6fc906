"""The plan: a problem turned into offsets, sizes and codes that kernels can follow.

Subscripts as in `fastnn.targets.cpu.plan`: m rows of a batch, k inputs and n outputs of a layer.

The state of one network is one array: the parameters, then each slot of optimizer state. The
weights of a layer are k rows of n numbers, then the bias as row k, then for prelu the slopes as
row k + 1; rows are `LDW` numbers apart. What a batch leaves behind is another array, the scratch:
inputs and outputs of layers are m rows, `LDX` or `LDN` numbers apart. Offsets are from the start
of either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastnn.inputs.problem import Problem
from fastnn.rules.activations import RRELU_MEAN
from fastnn.rules.table import UPDATES, activation_row
from fastnn.targets.cuda.host.formulas import (
    L2,
    LAYER_NUMBERS,
    activations_of,
    compiled_rule,
    constants_of,
    places_of,
)
from fastnn.targets.fields import (
    BATCH,
    CLIPS,
    DELTA,
    INPUT,
    LAYER_FIELDS,
    MEAN_SLOT,
    NEEDS_Z,
    NETWORK_FIELDS,
    OUTPUT,
    SAMPLES,
    SHARED,
    SIZE,
    WEIGHTED,
    WEIGHTS,
    K,
    N,
    Z,
    describe,
)
from fastnn.targets.layout import Allocator

Parameters = list[tuple[np.ndarray, ...]]  # of (W, b), with prelu (W, b, slopes)

# Fields of row 0 of `Plan.words`, of the whole network, after those of `fastnn.targets.fields`.
(
    STATE,  # numbers of parameters and slots together
    HELD,  # offset of the gradient of all parameters where its norm is needed first; or its sum
    # over processes, for which two more numbers are behind it; or -1
    OUTPUTS,
) = range(NETWORK_FIELDS, NETWORK_FIELDS + 3)

# Likewise of the rows after it, each of a layer.
(
    CODE,  # of its activation in the recipe, or -1 for the identity
    TRAINED,  # 1: the layer is trained
    LDW,  # from one row of the weights to the next
    LEARNS_SLOPES,  # 1: row k + 1 of the weights are slopes
    DRAWN,  # 1: slopes are drawn in training
    LDX,  # from one row of the inputs to the next
    DROPS,  # 1: inputs are dropped
    LDN,  # from one row of Z, OUTPUT and DELTA to the next
    FIELDS,
) = range(LAYER_FIELDS, LAYER_FIELDS + 9)

QUAD = 4  # numbers that are loaded together


@dataclass(frozen=True)
class Plan:
    """What kernels follow; see the field names above.

    Attributes
    ----------
    words
        int64 (1 + layers, FIELDS): row 0 of the whole network, then a row a layer.
    numbers
        float64: constants of the optimizer, of the loss's formula, then of each layer, see
        `fastnn.targets.cuda.host.formulas`; last, the row of `Job.steps` of the first step.
    scratch_size
        Numbers that a batch leaves behind.
    dtype
        Of the state and of the scratch.
    """

    words: np.ndarray
    numbers: np.ndarray
    scratch_size: int
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Numbers in one copy of the parameters."""
        return int(self.words[0, SIZE])

    @property
    def state_size(self) -> int:
        """Numbers of parameters and optimizer state."""
        return int(self.words[0, STATE])

    @property
    def copies(self) -> int:
        """How many copies of the parameters a state has: they, and the slots."""
        return self.state_size // self.size

    @property
    def predicting(self) -> int:
        """Where the parameters that predict begin: the last slot where that is their mean."""
        return int(self.words[0, MEAN_SLOT])

    def pack(self, parameters: Parameters, slots: list[Parameters]) -> np.ndarray:
        """Return parameters and slots as they lie on the device, (state size,)."""
        state = np.zeros(self.state_size, self.dtype)
        for copy, layers in enumerate([parameters, *slots]):
            for layer, arrays in enumerate(layers):
                rows = np.vstack(arrays)
                self._rows(state, layer, copy)[: len(rows)] = rows
        return state

    def unpack_copy(self, state: np.ndarray, copy: int) -> Parameters:
        """Return copies of the parameters out of what `pack` gave for 0, or of a slot from 1 on."""
        found: Parameters = []
        for layer, word in enumerate(self.words[1:]):
            rows = self._rows(state, layer, copy)
            found.append((rows[: word[K]].copy(), *(row.copy() for row in rows[word[K] :])))
        return found

    def _rows(self, state: np.ndarray, layer: int, copy: int) -> np.ndarray:
        """Return a view of the weights, the bias and the slopes of a layer."""
        word = self.words[1 + layer]
        rows, start = int(word[K] + 1 + word[LEARNS_SLOPES]), int(word[WEIGHTS] + copy * self.size)
        return state[start : start + rows * word[LDW]].reshape(rows, -1)[:, : word[N]]


def layout_of(plan: Plan) -> tuple[tuple[int, ...], ...]:
    """Return the words of a plan less those that data decide on: for code in which they are."""
    words = plan.words.copy()
    words[0, [SAMPLES, WEIGHTED]] = 0
    return tuple(tuple(map(int, row)) for row in words)


def make_plan(
    problem: Problem,
    samples: int,
    *,
    rule: str | None = None,
    ones: bool,
    summed: bool = False,
) -> Plan:
    """Lay out `problem` for data of `samples` rows.

    Parameters
    ----------
    problem, samples
        What is trained, on how many rows.
    rule
        Another update rule than the optimizer's.
    ones
        Whether the inputs of every layer have one column more, of ones, which the bias goes with.
        Rows of W are then an odd number apart, so that a walk along a column of W meets every bank
        of shared memory. All other distances are multiples of 4, like all offsets.
    summed
        Whether several processes share each batch, and add up their gradients.
    """
    rule = rule or problem.optimizer.rule
    take = Allocator(QUAD)
    network = problem.network
    codes = {activation: code for code, activation in enumerate(activations_of(network))}
    words = np.zeros((1 + len(network.dense), FIELDS), np.int64)
    head, layers = words[0], words[1:]
    own_rule = rule == problem.optimizer.rule
    describe(problem, samples, own_rule, head, layers)
    batch = int(head[BATCH])

    for word, dense, (k, n) in zip(layers, network.dense, network.shapes, strict=True):
        row = activation_row(dense.activation)
        word[TRAINED] = dense.trainable
        word[CODE] = codes.get(compiled_rule(dense.activation), -1)
        if dense.activation == "identity":
            word[CODE] = -1
        word[LEARNS_SLOPES], word[DRAWN] = row.trainable, row.random
        word[LDW] = n | 1 if ones else take.round(n)
        word[WEIGHTS] = take((k + 1 + row.trainable) * word[LDW])
    size, update = take.used, UPDATES[rule]
    take.used = 0

    head[SIZE], head[STATE] = size, size * (1 + update.slots)
    head[MEAN_SLOT] = size * update.slots * update.mean
    head[OUTPUTS], head[SHARED] = network.outputs, summed
    norm = own_rule and problem.clip_norm is not None
    head[HELD] = take(size + 2 * summed) if norm or summed else -1
    wide = network.widths[0][0] + ones
    above = take(batch * take.round(wide))
    for index, (word, rate) in enumerate(zip(layers, network.dropouts, strict=True)):
        k, n = int(word[K]), int(word[N])
        word[LDX], word[LDN] = take.round(k + ones), take.round(n + ones)
        word[DROPS] = rate > 0
        # Inputs that are dropped as they are gathered need no place of their own.
        word[INPUT] = take(batch * word[LDX]) if rate > 0 and index > 0 else above
        above = word[OUTPUT] = take(batch * word[LDN])
        word[Z] = take(batch * word[LDN]) if word[NEEDS_Z] else above
        word[DELTA] = take(batch * word[LDN])
    return Plan(words, _numbers(problem, own_rule), take.used, problem.dtype)


def without_limits(plan: Plan, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return words and numbers of a plan for gradients of the loss alone, which nothing limits."""
    words, numbers = plan.words.copy(), plan.numbers.copy()
    words[0, CLIPS] = 0
    places = places_of(activations_of(problem.network), compiled_rule(problem.loss))
    layers = numbers[places.layers : places.total(len(problem.network.dense))]
    layers.reshape(-1, places.each)[:, L2] = 0.0
    return words, numbers


def _numbers(problem: Problem, own_rule: bool) -> np.ndarray:
    """Return the constants of the optimizer, of the loss, and of each layer."""
    beta1, beta2, epsilon, _, _ = problem.optimizer.constants
    limits = (problem.clip_value, problem.clip_norm) if own_rule else (None, None)
    clips = [math.inf if each is None else each for each in limits]
    rows = [
        (
            *penalty,
            math.inf
            if dense.max_norm is None or not (own_rule and dense.trainable)
            else dense.max_norm,
            dense.rate_factor,
            dense.bias_rate_factor,
            RRELU_MEAN if activation_row(dense.activation).random else dense.alpha or 0.0,
            1.0 / (1.0 - rate),
        )
        for penalty, dense, rate in zip(
            problem.penalties, problem.network.dense, problem.network.dropouts, strict=True
        )
    ]
    constants = [beta1, 1.0 - beta1, beta2, 1.0 - beta2, epsilon, *clips]
    constants += constants_of(problem.loss)
    places = places_of(activations_of(problem.network), compiled_rule(problem.loss))
    layers = np.zeros((len(rows), places.each))
    layers[:, :LAYER_NUMBERS] = rows
    for own, dense in zip(layers, problem.network.dense, strict=True):
        numbers = constants_of(dense.activation)
        own[LAYER_NUMBERS : LAYER_NUMBERS + len(numbers)] = numbers
    return np.array([*constants, *layers.reshape(-1), 0.0])
