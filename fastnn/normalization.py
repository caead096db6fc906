"""Normalization: layers that bring numbers to mean 0 and variance 1, and then scale and shift them.

They are trained as PyTorch's `nn.LayerNorm` and `nn.BatchNorm1d` are, number for number. Written
after a `Dense` without an activation they stand between its linear part and the activation, which
is then theirs.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, number, shown
from fastnn.layers import Layer, Parameter

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyActivation

Norm = TypeVar("Norm", bound="Normalization")


def _without_features(layer: type[Norm]) -> type[Norm]:
    """Have a layer refuse a number of features by its place, as other libraries take it there."""
    kind: Any = layer
    plain, first = kind.__init__, next(iter(inspect.signature(layer).parameters))

    @functools.wraps(plain)
    def begin(self: Norm, *args: Any, **settings: Any) -> None:
        if args and isinstance(args[0], Integral) and not isinstance(args[0], bool):
            raise InvalidInput(
                f"{layer.__name__} takes as many numbers as come in: write {layer.__name__}() "
                f"without {shown(args[0])}, which would be its {first}; where that is meant, give "
                f"{first} by its name"
            )
        plain(self, *args, **settings)

    kind.__init__ = begin
    return layer


class Normalization(Layer):
    """a = activation(gamma (x - mean) / sqrt(variance + epsilon) + beta)."""

    epsilon: float

    def __post_init__(self) -> None:
        """Check the settings and fill in the activation's alpha."""
        what = f"epsilon of {self.kind}"
        object.__setattr__(self, "epsilon", number(self.epsilon, what, 0.0, open_low=True))
        self.check_activation()

    def outputs_of(self, inputs: int) -> int:
        """Return `inputs`: as many numbers come out as go in."""
        return inputs

    def own_parameters(self, inputs: int) -> tuple[Parameter, ...]:
        """Return gamma, which starts at 1, and beta, which starts at 0: one of each an input."""
        return Parameter("gamma", (inputs,), start=1.0), Parameter("beta", (inputs,))


@_without_features
@explained
@dataclass(frozen=True)
class LayerNorm(Normalization):
    """Normalize each row by its own mean and variance (Ba, Kiros & Hinton 2016, eq. 4).

    a_rj = activation(gamma_j (x_rj - mean_r) / sqrt(var_r + epsilon) + beta_j),  with
    mean_r = sum_j x_rj / n  and  var_r = sum_j (x_rj - mean_r)^2 / n  over the n numbers of row r.

    It does the same in training and in prediction, whatever the other rows of the batch are.

    >>> from fastnn import Dense, LayerNorm, Network
    >>> network = Network(4, [Dense(3), LayerNorm(activation="relu"), Dense(2)])
    >>> network.parameter_shapes[1]
    {'gamma': (3,), 'beta': (3,)}

    Parameters
    ----------
    epsilon
        Added to the variance, above 0.
    activation, alpha
        As for `Dense`: what comes after gamma and beta.

    Raises
    ------
    InvalidInput
        A setting out of range, an unknown name, or a function that cannot be traced.

    Notes
    -----
    gamma (n,), which starts at 1, and beta (n,), which starts at 0, are parameters that every
    optimizer trains and clip_norm counts. As for biases there is no penalty, no weight decay and no
    max_norm on them. Of a row of one number only beta is left.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", arXiv:1607.06450, 2016.
    """

    epsilon: float = 1e-5
    activation: AnyActivation = "identity"
    alpha: float | None = None


@_without_features
@explained
@dataclass(frozen=True)
class BatchNorm(Normalization):
    """Normalize each column by its mean and variance over the batch (Ioffe & Szegedy 2015).

    In training (algorithm 1), over the m rows of the minibatch,

    a_rj = activation(gamma_j (x_rj - mean_j) / sqrt(var_j + epsilon) + beta_j),  with
    mean_j = sum_r x_rj / m  and  var_j = sum_r (x_rj - mean_j)^2 / m,

    and with each update of the parameters the running statistics follow:

    running_mean_j += momentum (mean_j - running_mean_j)
    running_var_j += momentum (m / (m - 1) var_j - running_var_j).

    In prediction these take the place of mean_j and var_j, so a row's output does not depend on the
    rows beside it. As PyTorch people write Linear, BatchNorm1d, ReLU:

    >>> from fastnn import BatchNorm, Dense, Network, Trainer, datasets
    >>> network = Network(2, [Dense(8, bias=False), BatchNorm(activation="relu"), Dense(2)])
    >>> X, y = datasets.xor(400)
    >>> trainer = Trainer(network, target="numpy", batch_size=50)
    >>> trainer.fit(X, y, epochs=30).loss[-1] < 0.2
    True
    >>> gamma, beta, mean, variance = trainer.parameters[1]
    >>> gamma.shape, variance.shape
    ((8,), (8,))

    Parameters
    ----------
    momentum
        How far the running statistics move at each update, 0 to 1: 1 keeps those of the last batch.
        What Keras calls momentum is 1 minus this.
    epsilon
        Added to the variance, above 0.
    activation, alpha
        As for `Dense`: what comes after gamma and beta.

    Raises
    ------
    InvalidInput
        A setting out of range, an unknown name, or a function that cannot be traced.

    Notes
    -----
    gamma (n,), which starts at 1, and beta (n,), which starts at 0, are parameters that every
    optimizer trains and clip_norm counts. As for biases there is no penalty, no weight decay and no
    max_norm on them. The running mean (n,), which starts at 0, and variance (n,), which starts at
    1, are state: no optimizer changes them, their gradient is 0, and they travel with the
    parameters. Of `AveragedSGD` they are those of the last update, not a mean over updates.

    Statistics are over rows, whatever the weights of these. A batch of one row has none (its
    variance is 0), so `fit` refuses to train where one would occur: with ``batch_size=1``, and with
    a last batch of one row.

    A bias right before it does nothing, since its mean is subtracted again: ``Dense(n,
    bias=False)`` saves it.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", ICML 2015, arXiv:1502.03167.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    activation: AnyActivation = "identity"
    alpha: float | None = None

    def __post_init__(self) -> None:
        """Check the settings and fill in the activation's alpha."""
        super().__post_init__()
        momentum = number(self.momentum, "momentum of BatchNorm", 0.0, 1.0)
        object.__setattr__(self, "momentum", momentum)

    def own_parameters(self, inputs: int) -> tuple[Parameter, ...]:
        """Return gamma and beta, and the running statistics: one of each an input."""
        return (
            *super().own_parameters(inputs),
            Parameter("mean", (inputs,), trained=False),
            Parameter("variance", (inputs,), start=1.0, trained=False, low=0.0),
        )
