"""What every layer with parameters says of itself: whoever goes through a network asks it.

A kind of layer is a class in a module of its own and an entry in `fastnn.network.LAYERS`, and for
each target a module that computes it and a row in its table: `fastnn.targets.numpy.kinds.KINDS`,
`fastnn.targets.cpu.kinds.KINDS`. Parameters, files and updates follow from what the class says.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.errors import InvalidInput, number
from fastnn.rules.table import ACTIVATIONS, activation_row, unknown_name

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyActivation


class Parameter(NamedTuple):
    """One array among the parameters of a layer.

    Attributes
    ----------
    name
        In files and wherever parameters are listed.
    shape
        (inputs, outputs), or (outputs,) for one number a unit; of `Periodic` one a cosine.
    letter
        What messages call it; "" for its name.
    start
        What it is filled with before training; None: an initialiser, or `Layer.draw`, gives it.
    trained
        Whether the optimizer trains it. Otherwise training itself keeps it up to date, as the
        running statistics of `BatchNorm`: its gradient and its state slots stay zero.
    penalised
        Whether l1, l2, weight decay and max_norm act on it.
    low
        The least value that it can have.
    """

    name: str
    shape: tuple[int, ...]
    letter: str = ""
    start: float | None = 0.0
    trained: bool = True
    penalised: bool = False
    low: float = -math.inf


class Layer:
    """A layer with parameters: z of its input, and a = activation(z)."""

    activation: AnyActivation
    alpha: float | None
    trainable: bool = True
    rate_factor: float = 1.0
    bias_rate_factor: float = 1.0

    @property
    def kind(self) -> str:
        """The name of its class, by which tables have it."""
        return type(self).__name__

    def outputs_of(self, inputs: int) -> int:
        """Return how many numbers come out where `inputs` go in."""
        raise NotImplementedError

    def own_parameters(self, inputs: int) -> tuple[Parameter, ...]:
        """Return the parameters that z depends on."""
        raise NotImplementedError

    def draw(self, generator: np.random.Generator, parameter: Parameter) -> np.ndarray:
        """Return what a parameter is filled with before training whose `start` is None, float64."""
        raise NotImplementedError

    def parameters_of(self, inputs: int) -> tuple[Parameter, ...]:
        """Return all parameters in their order everywhere: those of z, then of the activation."""
        found = self.own_parameters(inputs)
        if activation_row(self.activation).trainable:
            found += (Parameter("slopes", (self.outputs_of(inputs),), start=self.alpha),)
        return found

    def check_activation(self) -> None:
        """Check activation and alpha of a frozen value, and fill in the activation's alpha."""
        object.__setattr__(self, "activation", rule_of("activation", self.activation, ACTIVATIONS))
        row = activation_row(self.activation)
        if self.alpha is None:
            object.__setattr__(self, "alpha", row.alpha)
        elif row.alpha is None:
            raise InvalidInput(f"activation {self.activation!r} has no alpha; leave alpha=None")
        else:
            low = -math.inf if row.trainable else 0.0
            object.__setattr__(self, "alpha", number(self.alpha, "alpha", low))


def rule_of(what: str, value: Any, known: Collection[str], outputs: int = 1) -> Any:
    """Return a known name as it is, and a user-defined rule as a `CustomRule`.

    `what` is "activation" or "loss", of a network with so many outputs.
    """
    if not isinstance(value, str):
        from fastnn.graph import Expression, custom

        kinds = custom.LOSS_KINDS if what == "loss" else (custom.CustomActivation,)
        if isinstance(value, kinds):
            return value
        if callable(value) or isinstance(value, Expression):
            return (
                custom.custom_loss(value, outputs)
                if what == "loss"
                else custom.custom_activation(value)
            )
    elif value in known:
        return value
    raise unknown_name(what, value, known)
