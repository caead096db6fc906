"""What the outputs of each activation can say as a last layer, and so to which losses it suits.

A loss that takes raw outputs, to apply the sigmoid or the softmax itself, goes with identity alone.

A loss about a margin (perceptron, hinge, squared_hinge) tells two classes apart by the sign of an
output, and pushes it to 1 or -1. Its outputs must have both signs and grow with z, or the loss is
least where nothing has been learned: the perceptron's is 0 for a step that says 1 throughout.

A loss about values (mse, mae, huber) compares outputs with numbers, of which only whoever has them
knows the range: sigmoid gives probabilities (the loss is then the Brier score) and softmax shares,
tanh and hardtanh numbers between -1 and 1, relu and softplus counts or prices, all others numbers
without an upper limit. Only what has derivative 0 everywhere, step and hardmax, can learn no
values; it may predict them.

Of user-defined activations, only a derivative that is 0 everywhere and outputs of one sign can be
seen; user-defined losses cannot be judged.
"""

from __future__ import annotations

from typing import NamedTuple


class Outputs(NamedTuple):
    """Whether the outputs of an activation tell two classes apart by sign, and what they are."""

    signs: bool
    are: str


OUTPUTS: dict[str, Outputs] = {
    "identity": Outputs(True, "are all numbers"),
    "tanh": Outputs(True, "come as near to -1 and 1 as need be (Mason et al. 1999)"),
    "hardtanh": Outputs(True, "reach -1 and 1, and hinge is the ramp loss (Collobert et al. 2006)"),
    "leaky_relu": Outputs(True, "are all numbers, those below 0 on a smaller scale"),
    "prelu": Outputs(True, "are all numbers, those below 0 on a scale that is learned"),
    "rrelu": Outputs(True, "are all numbers, those below 0 on a smaller scale"),
    "elu": Outputs(True, "are all numbers above -alpha"),
    "selu": Outputs(True, "are all numbers above -1.76"),
    "sigmoid": Outputs(False, "lie between 0 and 1, so that all of them mean class 1"),
    "relu": Outputs(False, "are 0 or more, so that all of them mean class 1"),
    "softplus": Outputs(False, "are above 0, so that all of them mean class 1"),
    "softmax": Outputs(False, "lie between 0 and 1, so that all of them mean class 1"),
    "step": Outputs(False, "are 0 or 1, so that all of them mean class 1"),
    "hardmax": Outputs(False, "are 0 or 1, so that all of them mean class 1"),
    "gelu": Outputs(False, "are -0.17 or more, and far below 0 grow the wrong way, back to 0"),
    "silu": Outputs(False, "are -0.28 or more, and far below 0 grow the wrong way, back to 0"),
    "mish": Outputs(False, "are -0.31 or more, and far below 0 grow the wrong way, back to 0"),
}


def outputs_of_side(side: int) -> Outputs:
    """Return the row of a user-defined activation all of whose outputs have this sign; 0: both.

    >>> outputs_of_side(1).are
    'are never below 0, so that all of them mean class 1'
    """
    if side > 0:
        return Outputs(False, "are never below 0, so that all of them mean class 1")
    if side < 0:
        return Outputs(False, "are always below 0, so that all of them mean class 0")
    return Outputs(True, "have both signs")


def outputs_of(activation: str, alpha: float | None, loss: str) -> Outputs:
    """Return the row of `OUTPUTS` for a loss about a margin, as alpha makes it.

    >>> outputs_of("leaky_relu", 0.01, "hinge").signs, outputs_of("leaky_relu", 0.0, "hinge").signs
    (True, False)
    """
    if activation in ("leaky_relu", "elu") and alpha == 0:
        return OUTPUTS["relu"]
    if activation == "elu" and alpha is not None and alpha < 1 and loss != "perceptron":
        return Outputs(False, f"stay above {-alpha:g}, short of the margin at -1")
    return OUTPUTS[activation]
