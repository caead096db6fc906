"""The optimizers, as frozen plain-Python values: an update rule's name and its settings.

g is the gradient of a minibatch, with that of the l2 penalty, and w a weight or a bias; the l1
penalty's soft threshold, and then `Dense.max_norm`, follow the step, and the mean of the weights
that `Optimizer.ema` asks for is taken last. The formulas that run are in `fastnn.rules.updates`
and, for the NumPy target, in `fastnn.targets.numpy.updates`.
"""

from __future__ import annotations

import difflib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, number, shown, true_or_false, whole
from fastnn.schedules import LearningRate, check_rate

# The range of every setting that must be a number, as `number` takes it.
_RANGES: dict[str, dict[str, Any]] = {
    "momentum": {"low": 0.0, "high": 1.0, "open_high": True},
    "beta1": {"low": 0.0, "high": 1.0, "open_high": True},
    "beta2": {"low": 0.0, "high": 1.0, "open_high": True},
    "decay": {"low": 0.0, "high": 1.0, "open_high": True},
    "epsilon": {"low": 0.0, "open_low": True},
    "weight_decay": {"low": 0.0},
    "ema": {"low": 0.0, "high": 1.0, "open_high": True},
}
# Settings that few want: they are shown where they are not this.
_RARE = {"epsilon_hat": False, "ema": 0.0}


@dataclass(frozen=True, repr=False)
class Optimizer(ABC):
    """What all optimizers have in common.

    Parameters
    ----------
    learning_rate
        A number, a schedule from `fastnn.schedules`, or a function of the step.
    ema
        Decay of an exponential moving average of the weights, 0 <= ema < 1, such as 0.998; 0 is
        none. After update number t, from 1,

        mean_t = sum_k ema^(t-k) w_k / sum_k ema^(t-k),  k = 1..t,

        so that the initial weights have no part in it; one update at a time that is
        mean += (1 - ema) / (1 - ema^t) (w - mean). It has about the last 1 / (1 - ema) updates in
        it, and at first all of them alike. As with `AveragedSGD` the mean predicts, it is what is
        evaluated and what `Trainer.parameters` gives, and training goes on from w. w is what l1 and
        ``Dense(max_norm=...)`` leave: a weight of the mean is exactly 0 where it was 0 after every
        update. Running statistics of `BatchNorm`, a mean already, are not
        averaged again. It takes the memory of one more copy of the parameters. From 0.99999 on, a
        mean in float32 hardly moves, of which `fit` warns; use dtype="float64" there.

    >>> AdamW(1e-3, ema=0.998)
    AdamW(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01, ema=0.998)

    Raises
    ------
    InvalidInput
        A setting that is not a number of its range.

    References
    ----------
    B. T. Polyak, A. B. Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM
    Journal on Control and Optimization 30(4), 1992; the bias correction is that of D. P. Kingma,
    J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, section 3.
    """

    learning_rate: LearningRate
    ema: float = field(default=0.0, kw_only=True)

    @property
    @abstractmethod
    def rule(self) -> str:
        """Name of the update rule in `fastnn.rules.table.UPDATES`."""

    def __post_init__(self) -> None:
        """Check the learning rate and the settings that are numbers."""
        object.__setattr__(self, "learning_rate", check_rate(self.learning_rate))
        for name in (each.name for each in fields(self) if each.name in _RANGES):
            object.__setattr__(self, name, number(getattr(self, name), name, **_RANGES[name]))

    @property
    def constants(self) -> tuple[float, float, float, float, float]:
        """(beta1, momentum or start; beta2 or decay; epsilon; weight_decay; epsilon_hat), or 0."""
        settings = vars(self)
        return (
            settings.get("beta1", settings.get("momentum", float(settings.get("start", 0)))),
            settings.get("beta2", settings.get("decay", 0.0)),
            settings.get("epsilon", 0.0),
            settings.get("weight_decay", 0.0),
            float(settings.get("epsilon_hat", False)),
        )

    def __repr__(self) -> str:
        """Name the settings, those that few want only where they are set."""
        settings = {each.name: getattr(self, each.name) for each in fields(self)}
        rare = {name: settings.pop(name) for name in _RARE if name in settings}
        settings |= {name: value for name, value in rare.items() if value != _RARE[name]}
        written = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        return f"{type(self).__name__}({written})"


@explained
@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as PyTorch defines it.

    v = momentum v + g;  w -= learning_rate v,  with Nesterov  w -= learning_rate (g + momentum v).
    `ema` is that of `Optimizer`. Robbins & Monro 1951; Polyak 1964; Sutskever et al. 2013.
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        object.__setattr__(self, "nesterov", true_or_false(self.nesterov, "nesterov"))
        if self.nesterov and self.momentum == 0.0:
            raise InvalidInput("nesterov=True needs a momentum above 0")

    @property
    def rule(self) -> str:
        """Name of the update rule in `fastnn.rules.table.UPDATES`."""
        if self.momentum == 0.0:
            return "averaged_sgd" if self.ema else "sgd"
        return "nesterov" if self.nesterov else "momentum"


@explained
@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1).

    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
    w -= learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), t from 1.

    `ema` is that of `Optimizer`. With `epsilon_hat`, epsilon is the one with a hat at the end of
    section 2 of the paper, which TensorFlow, Keras and scikit-learn have, and PyTorch has not:

    w -= learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon).

    >>> Adam(epsilon_hat=True)
    Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, epsilon_hat=True)
    """

    learning_rate: LearningRate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = field(default=False, kw_only=True)

    rule = "adam"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        object.__setattr__(self, "epsilon_hat", true_or_false(self.epsilon_hat, "epsilon_hat"))


@explained
@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2, PyTorch's form).

    w -= learning_rate weight_decay w, then Adam's step. Decay acts on W alone. `ema` is that of
    `Optimizer`.
    """

    weight_decay: float = 1e-2

    rule = "adamw"


@explained
@dataclass(frozen=True, repr=False)
class Nadam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016, algorithm 2, PyTorch's form).

    m and v as in `Adam`;  mu_t = beta1 (1 - 0.96^(0.004 t) / 2);  P_t = mu_1 ... mu_t;
    m' = (1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_(t+1)) m;
    w -= learning_rate m' / (sqrt(v / (1 - beta2^t)) + epsilon), t from 1. `ema` is that of
    `Optimizer`.
    """

    learning_rate: LearningRate = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    rule = "nadam"


@explained
@dataclass(frozen=True, repr=False)
class RMSProp(Optimizer):
    """Steps divided by a running root mean square of the gradient (Tieleman & Hinton 2012).

    v = decay v + (1 - decay) g^2;  w -= learning_rate g / (sqrt(v) + epsilon). `ema` is that of
    `Optimizer`.
    """

    learning_rate: LearningRate = 1e-2
    decay: float = 0.99
    epsilon: float = 1e-8

    rule = "rmsprop"


@explained
@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al. 2011).

    v += g^2;  w -= learning_rate g / (sqrt(v) + epsilon). `ema` is that of `Optimizer`.
    """

    learning_rate: LearningRate = 1e-2
    epsilon: float = 1e-10

    rule = "adagrad"


@explained
@dataclass(frozen=True, repr=False)
class Lion(Optimizer):
    """Steps of one size, by the sign of an interpolated momentum (Chen et al. 2023, algorithm 2).

    c = beta1 m + (1 - beta1) g;  w -= learning_rate (sign(c) + weight_decay w);
    m = beta2 m + (1 - beta2) g. Decay acts on W alone; sign(0) = 0. `ema` is that of `Optimizer`.
    """

    learning_rate: LearningRate = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    rule = "lion"


@explained
@dataclass(frozen=True, repr=False)
class AveragedSGD(Optimizer):
    """Plain SGD whose predictions come from the mean of its weights (Polyak & Juditsky 1992).

    w -= learning_rate g;  mean += (w - mean) / max(1, t - start), t from 1.

    The mean is over the weights after each update from number `start` on, counted from 0, and is w
    itself before that. It is what predicts, what is evaluated and what `Trainer.parameters` gives;
    training goes on from w. With `Dense(max_norm=...)`, w is what that limit leaves, and with l1
    what its soft threshold leaves: a weight of the mean is exactly 0 only where it was 0 after all
    of those updates, so a `start` behind the time in which zeros come and go has the most of them.
    PyTorch's ASGD is the same with lambd=0, alpha=0 and t0 = start - 1. There is no second mean:
    `ema` is refused. In float32 the mean comes to rest after some 100,000 updates, when what one of
    them adds is mostly rounded away; dtype="float64" has no such end, and after a million `fit`
    warns.
    """

    start: int = 0

    rule = "averaged_sgd"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        start = whole(self.start, "start", 0, math.inf)
        if start > 2**53:
            raise InvalidInput(f"start must be a whole number in [0, 2**53], not {shown(start)}")
        object.__setattr__(self, "start", start)
        if self.ema:
            raise InvalidInput(
                f"AveragedSGD keeps a mean of the weights already, so ema must be 0, not "
                f"{self.ema!r}; SGD({self.learning_rate!r}, ema={self.ema!r}) has that mean alone"
            )


OPTIMIZERS: tuple[type[Optimizer], ...] = (
    SGD,
    Adam,
    AdamW,
    Nadam,
    RMSProp,
    Adagrad,
    Lion,
    AveragedSGD,
)

_NO_DEFAULT = {"SGD": "SGD(0.1)", "AveragedSGD": "AveragedSGD(0.1)"}
_OTHER_NAMES = {
    "momentum": "SGD(0.1, momentum=0.9)",
    "nesterov": "SGD(0.1, momentum=0.9, nesterov=True)",
    "asgd": "AveragedSGD(0.1)",
}


def refusal(value: Any) -> InvalidInput:
    """Return the error for what is given as an optimizer and is none.

    A name is none: rates are what has to be chosen, and each name would hide one.

    >>> raise refusal("rmsprop")
    Traceback (most recent call last):
        ...
    fastnn.errors.InvalidInput: optimizer must be one of SGD, Adam, AdamW, Nadam, RMSProp, \
Adagrad, Lion, AveragedSGD, such as SGD(0.1) or Adam(), not 'rmsprop'; write RMSProp(0.01), \
whose rate may be another
    """
    known = ", ".join(kind.__name__ for kind in OPTIMIZERS)
    text = f"optimizer must be one of {known}, such as SGD(0.1) or Adam(), not {shown(value)}"
    if isinstance(value, type) and value in OPTIMIZERS:
        return InvalidInput(f"{text}; give it its settings: {_example(value)}")
    examples = {kind.__name__.lower(): _example(kind) for kind in OPTIMIZERS} | _OTHER_NAMES
    written = value.lower().replace("_", "").replace("-", "") if isinstance(value, str) else ""
    near = difflib.get_close_matches(written, examples, n=1, cutoff=0.75)
    hint = f"; write {examples[near[0]]}, whose rate may be another" if near else ""
    return InvalidInput(text + hint)


def _example(kind: type[Optimizer]) -> str:
    """Return how an optimizer is made."""
    rate = next(each.default for each in fields(kind) if each.name == "learning_rate")
    return _NO_DEFAULT.get(kind.__name__, f"{kind.__name__}({rate!r})")
