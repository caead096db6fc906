"""What the members of a population are: drawn settings, and the networks that they make.

The ranges are narrow around what does well on many tables; what a member draws within them matters
less than that members differ, since a mean of networks that err differently errs less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.network import Dense, Dropout, Network
from fastnn.optimizers import AdamW
from fastnn.tabular.encodings import (
    Bins,
    Coded,
    Encoding,
    Flags,
    NormalScores,
    OneHot,
    PiecewiseLinear,
    cuts_of,
    gaps,
    varied,
)
from fastnn.targets.selection import Target
from fastnn.training.trainer import Trainer

SMOOTH, STEPS = "smooth", "steps"  # kinds of members, by what they read of numbers
_LINEAR_WEIGHT = 0.2  # of piecewise linear features beside normal scores
_LEAF = 20  # the fewest rows of a bin, where there are many rows


@dataclass(frozen=True)
class Recipe:
    """The settings of a member.

    Attributes
    ----------
    kind
        `SMOOTH`: numbers by normal scores and piecewise linear. `STEPS`: by bins, one hot.
    bins
        The most of a column.
    widths
        Units of each hidden layer.
    learning_rate, weight_decay, dropout
        As written.
    seed
        Of initial weights, order of the rows and dropout.
    """

    kind: str
    bins: int
    widths: tuple[int, ...]
    learning_rate: float
    weight_decay: float
    dropout: float
    seed: int

    @property
    def view(self) -> str:
        """The name of the encoding that it reads."""
        return f"{self.kind} {self.bins}"


def draw(generator: np.random.Generator, kind: str, classes: int) -> Recipe:
    """Return the settings of one more member of a kind.

    Parameters
    ----------
    classes
        0 for a regression.
    """
    uniform = generator.uniform
    seed = int(generator.integers(2**31 - 1))
    if kind == STEPS:
        return Recipe(
            kind,
            int(generator.choice([16, 32, 64])),
            (int(generator.choice([64, 128])),),
            _log_uniform(generator, 5e-4, 2e-3),
            _log_uniform(generator, 1e-3, 0.3),
            uniform(0.2, 0.6),
            seed,
        )
    return Recipe(
        kind,
        32,
        (128, 128),
        _log_uniform(generator, 1e-3, 4e-3),
        _log_uniform(generator, 1e-3, 0.1),
        uniform(0.0, 0.2) if not classes else uniform(0.1, 0.5),
        seed,
    )


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def encoding_of(
    recipe: Recipe, training: Coded, targets: np.ndarray, counts: np.ndarray
) -> Encoding:
    """Return the encoding that a member reads, learnt from the rows to train on.

    Parameters
    ----------
    training
        These rows.
    targets
        (rows,) or (rows, outputs), which trees learn.
    counts
        How many codes each column of categories has.
    """
    numbers = training.numbers
    least = max(1, min(_LEAF, len(numbers) // 50))
    columns, absent = varied(numbers), gaps(numbers)
    categories = OneHot(counts)
    if recipe.kind == STEPS:
        columns = np.union1d(columns, absent)
    cuts = cuts_of(numbers, columns, "tree", recipe.bins, targets, least)
    if recipe.kind == STEPS:
        return Encoding((), (Bins.learn(numbers, columns, cuts), categories))
    scores = NormalScores.learn(numbers, columns)
    linear = PiecewiseLinear.learn(numbers, columns, cuts, _LINEAR_WEIGHT)
    return Encoding((scores, linear, Flags(absent)), (categories,))


def trainer_of(
    recipe: Recipe, inputs: int, outputs: int, loss: str, batch_size: int, target: Target
) -> Trainer:
    """Return the trainer of a member, at its start."""
    layers: list[Any] = []
    for width in recipe.widths:
        layers += [Dense(width, "relu"), Dropout(recipe.dropout)]
    return Trainer(
        Network(inputs, [*layers, Dense(outputs)]),
        loss=loss,
        optimizer=AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay),
        batch_size=batch_size,
        seed=recipe.seed,
        target=target,
        threads=1,
    )


def batch_size_of(rows: int) -> int:
    """Return how many rows a minibatch has: some dozens of them make an epoch, but of many rows.

    >>> [batch_size_of(rows) for rows in (10, 1000, 20_000, 1_000_000)]
    [8, 32, 256, 1024]
    """
    size = 8
    while size < 1024 and (size < 256 and rows > 32 * size or rows > 400 * size):
        size *= 2
    return size
