"""What to train, as an estimator's parameters describe it: network, loss and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from operator import index
from typing import Any, Literal, get_args

import numpy as np
from sklearn.utils._param_validation import StrOptions

from fastnn.errors import InvalidInput, shown
from fastnn.graph import Expression
from fastnn.graph.custom import (
    LOSS_KINDS,
    AnyActivation,
    CustomActivation,
    CustomLoss,
    CustomRowLoss,
)
from fastnn.layers import rule_of
from fastnn.losses import KINDS, ParametricLoss
from fastnn.network import Dense, Dropout, Network
from fastnn.rules.table import LOSSES, ActivationName, LossName
from fastnn.schedules import Schedule

# scikit-learn's names of what has another one here.
ACTIVATIONS = {"logistic": "sigmoid"}
HiddenActivationName = Literal[ActivationName, "logistic"]
HiddenActivation = HiddenActivationName | AnyActivation
ClassificationLossName = Literal[LossName, "log_loss"]
RegressionLossName = Literal[
    "squared_error", "mse", "mae", "huber", "poisson", "quantile", "epsilon_insensitive",
    "squared_epsilon_insensitive",
]  # fmt: skip
UserDefinedLoss = Callable[[Any, Any], Any] | Expression | CustomLoss | CustomRowLoss
ClassificationLoss = ClassificationLossName | ParametricLoss | UserDefinedLoss
RegressionLoss = RegressionLossName | ParametricLoss | UserDefinedLoss
# The constraint of the activation of hidden layers, as scikit-learn writes one.
HIDDEN_ACTIVATIONS: list[Any] = [
    StrOptions(set(get_args(HiddenActivationName))), list, tuple, callable, Expression,
    CustomActivation,
]  # fmt: skip


@dataclass(frozen=True)
class EpochScaling(Schedule):
    """scikit-learn's "invscaling": rate / (t + 1)^power, t being the rows seen before the epoch.

    Parameters
    ----------
    rate, power
        As written.
    rows, steps
        Of an epoch.
    first, seen
        The step at which an epoch begins before which so many rows had been seen.
    fresh
        Whether the epoch that begins there has `rate` itself.
    """

    rate: float
    power: float
    rows: int
    steps: int
    first: int = 0
    seen: int = 0
    fresh: bool = True

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        epochs = np.maximum(np.floor((steps - self.first) / self.steps), 0.0)
        found = self.rate / (self.seen + epochs * self.rows + 1.0) ** self.power
        return np.where(epochs == 0, self.rate, found) if self.fresh else found


@dataclass(frozen=True)
class PowerScaling(Schedule):
    """scikit-learn's "invscaling" after `done` updates: rate / (done + t + 1)^power.

    Unlike `InverseScaling` it takes a power below 0, with which rates grow.
    """

    rate: float
    power: float
    done: float = 0.0

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        return self.rate / (self.done + steps + 1.0) ** self.power


def losses_without_name(*targets: str) -> list[Any]:
    """Return the constraints of losses of such targets that have a parameter or are user-defined.

    >>> from fastnn import Huber, Margin
    >>> Huber in losses_without_name("real"), Margin in losses_without_name("real")
    (True, False)
    """
    kinds = (kind for kind in KINDS if kind().row.targets in targets)
    return [*kinds, callable, Expression, *LOSS_KINDS]


CLASSIFICATION_LOSSES = [
    StrOptions(set(get_args(ClassificationLossName))), *losses_without_name("binary", "real"),
]  # fmt: skip
REGRESSION_LOSSES = [StrOptions(set(get_args(RegressionLossName))), *losses_without_name("real")]


def loss_of(loss: Any, outputs: int) -> Any:
    """Return a loss as a Trainer of so many outputs has it."""
    return loss if isinstance(loss, KINDS) else rule_of("loss", loss, LOSSES, outputs)


def hidden_sizes(sizes: Any) -> list[int]:
    """Return the units of each hidden layer.

    >>> hidden_sizes(8), hidden_sizes((8, 4))
    ([8], [8, 4])

    Raises
    ------
    ValueError
        In scikit-learn's words: a number below 1.
    InvalidInput
        What is no whole number; floats such as 8.0, which scikit-learn refuses, too.
    """
    found = list(sizes) if np.iterable(sizes) else [sizes]
    whole = [_whole(each, place) for place, each in enumerate(found)]
    if any(each <= 0 for each in whole):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {found}.")
    return whole


def _whole(value: Any, place: int) -> int:
    """Return the units of a hidden layer as an int."""
    value = value.item() if isinstance(value, np.generic) else value
    try:
        if not isinstance(value, bool):
            return index(value)
    except TypeError:
        pass
    whole = isinstance(value, Real) and not isinstance(value, bool) and value == value // 1
    remedy = f"write {int(value)}" if whole else "such as (100,) for one layer, or (64, 32) for two"
    raise InvalidInput(
        "hidden_layer_sizes must be whole numbers, one for each hidden layer, and has "
        f"{shown(value):.60} at place {place}; {remedy}"
    )


def for_each(value: Any, layers: int, what: str) -> list[Any]:
    """Return one value a hidden layer: `value` for all, or those of a list.

    >>> for_each("relu", 2, "activation")
    ['relu', 'relu']

    Raises
    ------
    InvalidInput
        A list of another length.
    """
    if not isinstance(value, (list, tuple)):
        return [value] * layers
    if len(value) != layers:
        raise InvalidInput(
            f"{what} has {len(value)} entries but hidden layers are {layers} in number; give one "
            "for each, or one for all"
        )
    return list(value)


def network_of(
    inputs: int, sizes: Sequence[int], activation: Any, dropout: Any, outputs: int
) -> Network:
    """Return hidden layers of these sizes, each with its activation and dropout, and the outputs.

    >>> network_of(4, [8, 4], ["relu", "logistic"], 0.5, 3).dense[1]
    Dense(units=4, activation='sigmoid', init=None, bias=True, alpha=None, l1=None, l2=None, \
max_norm=None, trainable=True, rate_factor=1.0, bias_init=None, bias_rate_factor=1.0)
    """
    layers: list[Any] = []
    activations = for_each(activation, len(sizes), "activation")
    rates = for_each(dropout, len(sizes), "dropout")
    for units, rule, rate in zip(sizes, activations, rates, strict=True):
        known: Any = ACTIVATIONS.get(rule, rule) if isinstance(rule, str) else rule
        layers.append(Dense(units, known))
        if rate:
            layers.append(Dropout(rate))
    return Network(inputs, [*layers, Dense(outputs)])


def draw_parameters(
    random: np.random.RandomState, network: Network, activation: Any, dtype: Any
) -> list[tuple[np.ndarray, ...]]:
    """Return initial parameters as scikit-learn draws them: uniform in [-bound, bound].

    bound = sqrt(6 / (inputs + outputs)), with 2 for 6 behind the logistic sigmoid: Glorot & Bengio
    2010, equation 16. Biases, too. The slopes of prelu are where they start.
    """
    found: list[tuple[np.ndarray, ...]] = []
    activations = for_each(activation, len(network.dense) - 1, "activation")
    # So it does for the outputs, also where there are no hidden layers.
    activations.append(activations[-1] if activations else activation)
    for dense, (k, n), rule in zip(network.dense, network.shapes, activations, strict=True):
        sigmoid = isinstance(rule, str) and rule in ("logistic", "sigmoid")
        bound = np.sqrt((2.0 if sigmoid else 6.0) / (k + n))
        arrays = [random.uniform(-bound, bound, (k, n)), random.uniform(-bound, bound, n)]
        if dense.activation == "prelu":
            arrays.append(np.full(n, dense.alpha))
        found.append(tuple(array.astype(dtype, copy=False) for array in arrays))
    return found
