"""Learning rates that change from step to step.

A step is one update, and steps are counted from 0 over all epochs: an epoch of n rows has
ceil(n / batch_size) of them. The learning rate of an optimizer is a number, one of the schedules
below, or any function of the step.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, check_takes, number, shown, whole
from fastnn.storage.old_settings import renamed

MOST_AHEAD = 2**20  # steps that are looked at before the first one is done
LearningRate = float | Callable[[int], float]


class Schedule(ABC):
    """A learning rate for every step: what the schedules below have in common.

    A user-defined schedule defines `rates` for many steps at once. It can train, but not be saved.

    Attributes
    ----------
    bounded
        Whether no step's rate can be anything but a finite number of at least 0, so that no
        check of later steps is needed.
    """

    bounded: ClassVar[bool] = False

    @abstractmethod
    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`, both float64 of one shape; `steps` stays as it is."""

    def __call__(self, step: Any) -> Any:
        """Return the rate at one step, as a float, or at an array of steps."""
        steps = np.asarray(step, dtype=np.float64)
        rates = self.rates(steps)
        return rates if steps.ndim else float(rates)


@explained
@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step.

    >>> Constant(0.1)(1000)
    0.1
    """

    rate: float
    bounded = True

    def __post_init__(self) -> None:
        """Check the rate."""
        object.__setattr__(self, "rate", number(self.rate, "rate", 0.0))

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        return np.full(steps.shape, self.rate)


@explained
@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiplied by `factor` after every `every` steps: rate factor^floor(t / every).

    >>> StepDecay(0.1, every=100, factor=0.5)(200)
    0.025
    """

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "rate", number(self.rate, "rate", 0.0))
        object.__setattr__(self, "every", whole(self.every, "every", 1))
        object.__setattr__(self, "factor", number(self.factor, "factor", 0.0, open_low=True))

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        return self.rate * self.factor ** (steps // self.every)


@explained
@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplied by `factor` at every step: rate factor^t.

    A factor above 1 raises the rate, as a search for the highest usable one does (Smith 2017,
    "Cyclical learning rates for training neural networks", section 3.3).

    >>> Exponential(0.1, factor=0.5)(2)
    0.025
    """

    rate: float
    factor: float

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "rate", number(self.rate, "rate", 0.0))
        object.__setattr__(self, "factor", number(self.factor, "factor", 0.0, open_low=True))

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        return self.rate * self.factor**steps


@explained
@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Falls as a power of the step: rate / (1 + decay floor(t / every))^power.

    With decay=1 this is scikit-learn's "invscaling", rate / t^power with t from 1, counted in
    updates. With power=1 it is rate / (1 + decay t) (Bottou 2012, "Stochastic gradient descent
    tricks", section 5.2), and with the steps of an epoch as `every` as well rate / (1 + decay
    epoch), epochs counted from 0. Powers above 1/2 up to 1 meet the conditions of Robbins & Monro
    1951.

    >>> InverseScaling(0.1)(3)
    0.05
    >>> InverseScaling(0.1, power=1, decay=1, every=100)(399)
    0.025
    """

    rate: float
    power: float = 0.5
    decay: float = 1.0
    every: int = 1
    bounded = True

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("rate", "power", "decay"):
            object.__setattr__(self, name, number(getattr(self, name), name, 0.0))
        object.__setattr__(self, "every", whole(self.every, "every", 1))

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        base = self.decay * (steps if self.every == 1 else steps // self.every)
        base += 1.0
        if self.power == 0.25:  # two roots take far less than a power
            return self.rate / np.sqrt(np.sqrt(base))
        if self.power == 1.0:
            return self.rate / base
        return self.rate / base**self.power


@renamed(min_lr="minimum")
@explained
@dataclass(frozen=True)
class Cosine(Schedule):
    """Falls along half a cosine from `rate` to `min_lr`, which it keeps from t = `steps` on.

    min_lr + (rate - min_lr) (1 + cos(pi t / steps)) / 2.
    Loshchilov & Hutter 2017, "SGDR", equation 5, without restarts.

    >>> Cosine(0.1, steps=100)(0), Cosine(0.1, steps=100, min_lr=0.01)(100)
    (0.1, 0.01)
    """

    rate: float
    steps: int
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "rate", number(self.rate, "rate", 0.0))
        object.__setattr__(self, "steps", whole(self.steps, "steps", 1))
        object.__setattr__(self, "min_lr", number(self.min_lr, "min_lr", 0.0, self.rate))

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        return _between(self.rate, self.min_lr, steps / self.steps)


@renamed(pct_start="rise")
@explained
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Rises to `maximum` in the first `pct_start` of the steps, then falls far below its start.

    From maximum / start_divisor at t = 0 to maximum at t = pct_start steps - 1, and from there to
    maximum / (start_divisor end_divisor) at t = steps - 1, which it keeps; each time along half a
    cosine, as PyTorch has it.
    Smith & Topin 2018, "Super-convergence", who rise and fall along straight lines and let the
    momentum fall and rise; here it stays as it is.

    >>> OneCycle(1.0, steps=100)(29)
    1.0
    """

    maximum: float
    steps: int
    pct_start: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "maximum", number(self.maximum, "maximum", 0.0))
        object.__setattr__(self, "steps", whole(self.steps, "steps", 2))
        pct_start = number(self.pct_start, "pct_start", 0.0, 1.0, open_low=True, open_high=True)
        object.__setattr__(self, "pct_start", pct_start)
        for name in ("start_divisor", "end_divisor"):
            object.__setattr__(self, name, number(getattr(self, name), name, 1.0))

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        start = self.maximum / self.start_divisor
        last = self.steps - 1
        top = max(self.pct_start * self.steps - 1, 0.0)
        rising = _between(start, self.maximum, steps / (top or 1.0))
        falling = _between(self.maximum, start / self.end_divisor, (steps - top) / (last - top))
        return np.where(steps < top, rising, falling)


@explained
@dataclass(frozen=True)
class WarmUp(Schedule):
    """Rises in a straight line over the first `steps`, then goes on as `then` from its own start.

    then(0) (t + 1) / steps for t < steps, and then(t - steps) afterwards. `then` is a number or
    any schedule but a `WarmUp`.
    Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.

    >>> [WarmUp(4, then=0.2)(step) for step in (0, 1, 3, 50)]
    [0.05, 0.1, 0.2, 0.2]
    """

    steps: int
    then: float | Schedule

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "steps", whole(self.steps, "steps of a WarmUp", 1))
        if isinstance(self.then, WarmUp):
            raise InvalidInput(
                f"then must be a number or a schedule that is no WarmUp, not {self.then!r:.80}"
            )
        if not isinstance(self.then, Schedule):
            if callable(self.then):
                raise InvalidInput(
                    "then must be a number or a schedule, of a class derived from "
                    f"fastnn.schedules.Schedule, not the function {shown(self.then):.80}"
                )
            then = number(self.then, "then, where it is no schedule,", 0.0)
            object.__setattr__(self, "then", then)

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the rates at `steps`."""
        then = self.then if isinstance(self.then, Schedule) else Constant(self.then)
        risen = np.minimum((steps + 1.0) / self.steps, 1.0)
        return risen * then.rates(np.maximum(steps - self.steps, 0.0))


KINDS = (Constant, StepDecay, Exponential, InverseScaling, Cosine, OneCycle, WarmUp)


def check_rate(value: Any) -> LearningRate:
    """Return a learning rate as an optimizer keeps it, or raise `InvalidInput`."""
    if isinstance(value, type):
        raise InvalidInput(
            f"learning_rate must be a number, a schedule or a function of the step, not the class "
            f"{value.__name__}; give it its settings, as in Cosine(0.1, steps=1000)"
        )
    if not callable(value):
        return number(value, "learning_rate", 0.0)
    if not isinstance(value, Schedule):
        check_takes(value, "step", "a learning rate that is a function")
    return value


def rates_of(
    learning_rate: LearningRate, epoch: int, first: int, steps: int, epochs: int = 1
) -> np.ndarray:
    """Return the rate of every step of one or more epochs, float64 (epochs * steps,).

    Parameters
    ----------
    learning_rate
        As `check_rate` returned it. A schedule is asked once for all steps, a function once a step.
    epoch, first
        The first epoch and the first step.
    steps, epochs
        Steps in an epoch, and how many epochs.

    Raises
    ------
    InvalidInput
        A rate that is NaN, infinite, negative or no number; the message says in which step.
    """
    count = steps * epochs
    if not callable(learning_rate):
        return np.full(count, learning_rate)
    values: Any
    known = False
    if isinstance(learning_rate, Schedule):
        known = _is_bounded(learning_rate)
        with np.errstate(all="ignore"):  # what overflows is reported below, with its step
            values = learning_rate.rates(np.arange(first, first + count, dtype=np.float64))
        if np.shape(values) != (count,):
            raise InvalidInput(
                f"rates of {learning_rate!r:.80} must return one rate a step, shape ({count},), "
                f"not shape {np.shape(values)}"
            )
    else:
        values = [learning_rate(step) for step in range(first, first + count)]
    with contextlib.suppress(ValueError):  # lists of different lengths, which are no rates either
        rates = np.array(values)
        if rates.shape == (count,) and rates.dtype.kind in "fiu":
            rates = rates.astype(np.float64, copy=False)
            # No array of answers, since there may be a rate for each row; NaN is neither.
            if known or not count or (rates.min() >= 0.0 and rates.max() < np.inf):
                return rates
    return np.array(
        [
            number(
                value,
                f"the learning rate that {learning_rate!r:.80} gives for epoch {epoch + i // steps}"
                f", step {i % steps} (step {first + i} of all, everything counted from 0)",
                0.0,
            )
            for i, value in enumerate(values)
        ]
    )


def _is_bounded(schedule: Schedule) -> bool:
    """Return whether the class that says how rates are made also says that they are bounded.

    A class that is derived from one of fastnn's inherits that, but may have rates of its own.
    """
    kinds = type(schedule).__mro__
    says, *makes = (
        next((place for place, kind in enumerate(kinds) if name in vars(kind)), len(kinds))
        for name in ("bounded", "rates", "__init__", "__post_init__")
    )
    return schedule.bounded and says <= min(makes)


def check_ahead(
    learning_rate: LearningRate, epoch: int, first: int, steps: int, epochs: int
) -> None:
    """Raise what `rates_of` would raise in the coming epochs, for about a million steps at most.

    A call of `fit` may ask for more epochs than will ever be done, so it cannot look at all of
    them; `rates_of` does so, an epoch at a time.
    """
    known = isinstance(learning_rate, Schedule) and _is_bounded(learning_rate)
    if callable(learning_rate) and epochs and not known:
        rates_of(learning_rate, epoch, first, steps, min(epochs, 1 + MOST_AHEAD // steps))


def _between(start: float, end: float, passed: np.ndarray) -> np.ndarray:
    """Return the values on half a cosine from `start` to `end`, of which `passed` is behind."""
    left = 0.5 * (1.0 + np.cos(np.pi * np.clip(passed, 0.0, 1.0)))
    return start * left + end * (1.0 - left)  # exact at both ends
