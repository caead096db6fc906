"""The rules that exist, and what the rest of fastnn has to know of each.

Plain data, importable without Numba. Targets take the formulas from the functions of the same name
in `fastnn.rules.activations`, `losses` and `updates`, or define them anew (the NumPy target, which
is the oracle of the tests). The position of a row is the rule's code in a compiled plan.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fastnn.errors import InvalidInput, shown

if TYPE_CHECKING:
    from fastnn.optimizers import Optimizer

# The names of the tables below, for type checkers.
ActivationName = Literal[
    "identity", "sigmoid", "tanh", "relu", "leaky_relu", "prelu", "rrelu", "elu", "selu", "gelu",
    "silu", "mish", "hardtanh", "step", "softplus", "softmax", "hardmax",
]  # fmt: skip
LossName = Literal[
    "softmax_cross_entropy", "binary_cross_entropy", "mse", "mae", "huber", "poisson", "quantile",
    "perceptron", "hinge", "squared_hinge", "margin", "modified_huber", "epsilon_insensitive",
    "squared_epsilon_insensitive",
]  # fmt: skip


@dataclass(frozen=True)
class Activation:
    """a = value(z, alpha), da/dz = derivative(z, a, alpha)."""

    name: str
    source: str
    initialiser: str = "xavier_uniform"
    alpha: float | None = None  # default of the one parameter; None: the rule has none
    derivative_needs_z: bool = False  # otherwise the derivative follows from the output a alone
    rowwise: bool = False  # an output depends on the whole row, not on its own z alone
    flat: bool = False  # derivative 0 everywhere: this layer and those before it learn nothing
    random: bool = False  # training draws numbers, prediction takes their mean
    trainable: bool = False  # each unit has an alpha of its own, a parameter that starts at `alpha`


@dataclass(frozen=True)
class Loss:
    """The loss of a row: the mean over outputs of value(p, y), or a function of the whole row."""

    name: str
    source: str
    targets: str  # "classes": indices 0..K-1; "binary": 0 and 1; "counts": at least 0; "real"
    from_logits: bool = False  # takes raw outputs and applies the sigmoid, softmax or exp itself
    rowwise: bool = False
    columns: int | None = None  # numbers in a row of targets, if that is not the number of outputs


@dataclass(frozen=True)
class Update:
    """(w, gradient, state slots, hyperparameters) -> (w, state slots)."""

    name: str
    source: str
    slots: int = 0  # arrays of optimizer state, each shaped as the parameters
    mean: bool = False  # the last of them is the mean of the parameters, which predicts
    state: str = ""  # what the arrays are, where other rules have the same ones


ACTIVATIONS: dict[str, Activation] = {
    row.name: row
    for row in (
        Activation("identity", "a = z"),
        Activation("sigmoid", "a = 1 / (1 + exp(-z)); Goodfellow et al. 2016, eq. 6.19"),
        Activation("tanh", "a = tanh(z); LeCun et al. 1998, Efficient BackProp, section 4.4"),
        Activation("relu", "a = max(0, z); Nair & Hinton 2010", "he_normal"),
        Activation("leaky_relu", "a = z or alpha z; Maas et al. 2013", "he_normal", alpha=0.01),
        Activation(
            "prelu",
            "a = z or s z, s learned for each unit; He et al. 2015, eq. 1",
            "he_normal",
            alpha=0.25,
            derivative_needs_z=True,
            trainable=True,
        ),
        Activation(
            "rrelu",
            "a = z or s z, s from U[1/8, 1/3] in training, their mean after; Xu et al. 2015, eq. 4",
            "he_normal",
            random=True,
        ),
        Activation(
            "elu", "a = z or alpha expm1(z); Clevert et al. 2016, eq. 15", "he_normal", alpha=1.0
        ),
        Activation(
            "selu", "a = s z or s alpha expm1(z); Klambauer et al. 2017, eq. 2", "lecun_normal"
        ),
        Activation(
            "gelu",
            "a = z Phi(z), exact; Hendrycks & Gimpel 2016",
            "he_normal",
            derivative_needs_z=True,
        ),
        Activation(
            "silu", "a = z sigmoid(z); Elfwing et al. 2018", "he_normal", derivative_needs_z=True
        ),
        Activation(
            "mish", "a = z tanh(softplus(z)); Misra 2019", "he_normal", derivative_needs_z=True
        ),
        Activation("hardtanh", "a = min(max(z, -1), 1); Collobert 2004"),
        Activation("step", "a = 1 where z >= 0, else 0; McCulloch & Pitts 1943", flat=True),
        Activation("softplus", "a = log(1 + exp(z)); Dugas et al. 2001", "he_normal"),
        Activation("softmax", "a_i = exp(z_i) / sum_j exp(z_j); Bridle 1990", rowwise=True),
        Activation("hardmax", "a_i = 1 for the first largest z_i, else 0", rowwise=True, flat=True),
    )
}

LOSSES: dict[str, Loss] = {
    row.name: row
    for row in (
        Loss(
            "softmax_cross_entropy",
            "log sum_j exp(z_j) - z_y; Goodfellow et al. 2016, eq. 6.30",
            "classes",
            from_logits=True,
            rowwise=True,
        ),
        Loss(
            "binary_cross_entropy",
            "log(1 + exp(z)) - y z; Bishop 2006, eq. 4.90",
            "binary",
            from_logits=True,
        ),
        Loss("mse", "(p - y)^2 / 2; Bishop 2006, eq. 3.12", "real"),
        Loss("mae", "|p - y|, derivative sign(p - y) with sign(0) = 0", "real"),
        Loss("huber", "e^2 / 2 where |e| <= d, d (|e| - d / 2) beyond; Huber 1964", "real"),
        Loss(
            "poisson",
            "exp(z) - y z; McCullagh & Nelder 1989, chapter 6",
            "counts",
            from_logits=True,
        ),
        Loss("quantile", "q (y - p) or (1 - q) (p - y); Koenker & Bassett 1978", "real"),
        Loss("perceptron", "(step(p) - y) p, step(0) = 1; Rosenblatt 1958", "binary"),
        Loss("hinge", "max(0, 1 - (2y - 1) p); Cortes & Vapnik 1995", "binary"),
        Loss("squared_hinge", "max(0, 1 - (2y - 1) p)^2; Tang 2013", "binary"),
        Loss("margin", "max(0, m - (2y - 1) p); Rosenblatt 1958, Cortes & Vapnik 1995", "binary"),
        Loss("modified_huber", "squared_hinge, linear below -1; Zhang 2004", "binary"),
        Loss("epsilon_insensitive", "max(0, |p - y| - epsilon); Vapnik 1995", "real"),
        Loss("squared_epsilon_insensitive", "max(0, |p - y| - epsilon)^2; Vapnik 1995", "real"),
    )
}

UPDATES: dict[str, Update] = {
    row.name: row
    for row in (
        Update("sgd", "w -= lr g; Robbins & Monro 1951"),
        Update("momentum", "v = mu v + g; w -= lr v; Polyak 1964, PyTorch's form", 1, state="v"),
        Update("nesterov", "v = mu v + g; w -= lr (g + mu v); Sutskever 2013", 1, state="v"),
        Update("adam", "Kingma & Ba 2015, algorithm 1", 2, state="m, v"),
        Update("adamw", "adam after w -= lr decay w; Loshchilov & Hutter 2019", 2, state="m, v"),
        Update("nadam", "adam with Nesterov's momentum; Dozat 2016, PyTorch", 2, state="m, v"),
        Update("rmsprop", "w -= lr g / (rms(g) + eps); Tieleman & Hinton 2012", slots=1),
        Update("adagrad", "w -= lr g / (sqrt(sum g^2) + eps); Duchi et al. 2011", slots=1),
        Update("lion", "w -= lr sign(mean of g); Chen et al. 2023, algorithm 2", slots=1),
        Update("averaged_sgd", "sgd, and the mean of w; Polyak & Juditsky 1992", 1, mean=True),
        # Not an optimizer: leaves w alone and stores the gradient, for checks and for clipping.
        Update("gradient", "s = g", slots=1),
    )
}

ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
LOSS_CODES = {name: code for code, name in enumerate(LOSSES)}
UPDATE_CODES = {name: code for code, name in enumerate(UPDATES)}
CUSTOM = -1  # code of a user-defined activation or loss, see `fastnn.graph.custom`


def update_row(optimizer: Optimizer) -> Update:
    """Return what has to be known of an optimizer's updates: those of its rule, and of its ema."""
    row = UPDATES[optimizer.rule]
    if optimizer.ema and not row.mean:
        return replace(row, slots=row.slots + 1, mean=True)
    return row


def shares_state(update: Update, other: Update) -> bool:
    """Return whether the state of one kind of updates means the same to another.

    >>> shares_state(UPDATES["momentum"], UPDATES["nesterov"])
    True
    >>> shares_state(UPDATES["rmsprop"], UPDATES["adagrad"])
    False
    """
    same = update.name == other.name or (update.state != "" and update.state == other.state)
    return same and update.mean == other.mean


def activation_row(activation: Any) -> Activation:
    """Return what has to be known of an activation, given by name or as a user-defined one."""
    row: Activation = ACTIVATIONS[activation] if isinstance(activation, str) else activation.row
    return row


def loss_row(loss: Any) -> Loss:
    """Return what has to be known of a loss, given by name or as a user-defined one."""
    row: Loss = LOSSES[loss] if isinstance(loss, str) else loss.row
    return row


# What other libraries call what is known here by a name that is spelled otherwise.
_ELSEWHERE = {
    "linear": "identity",
    "none": "identity",
    "swish": "silu",
    "logistic": "sigmoid",
    "heaviside": "step",
    "bce": "binary_cross_entropy",
    "log_loss": "binary_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
    "cross_entropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "mean_squared_error": "mse",
    "squared_error": "mse",
    "l1_loss": "mae",
    "pinball": "quantile",
    "pinball_loss": "quantile",
    "poisson_nll": "poisson",
    "poisson_nll_loss": "poisson",
    "mean_absolute_error": "mae",
    "glorot_uniform": "xavier_uniform",
    "glorot_normal": "xavier_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
    "gpu": "cuda",
    "lr": "learning_rate",
    "bf16": "bfloat16",
    "fp32": "float32",
}


def unknown_name(what: str, name: object, known: Iterable[str]) -> InvalidInput:
    """Return the error for a name that is not known; the nearest known names come first."""
    names = list(known)
    written = shown(name).strip("'\"").lower()
    near = [_ELSEWHERE[written]] if _ELSEWHERE.get(written) in names else []
    text = written if isinstance(name, str) else ""  # nobody meant "hinge" by None
    for other in difflib.get_close_matches(text, names, n=len(names), cutoff=0.4):
        if other not in near:
            near.append(other)
    ordered = near + [other for other in names if other not in near]
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return InvalidInput(f"unknown {what} {shown(name)}{hint} Known: {', '.join(ordered)}.")
