"""What the members of a population are: drawn settings, and the networks that they make.

The ranges are narrow around what does well on many tables; what a member draws within them matters
less than that members differ, since a mean of networks that err differently errs less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.network import Dense, Dropout, Network, Periodic
from fastnn.optimizers import AdamW
from fastnn.rules.table import LossName
from fastnn.schedules import Cosine
from fastnn.tabular.encodings import (
    Bins,
    Coded,
    Cuts,
    Encoding,
    Filling,
    Flags,
    NormalScores,
    OneHot,
    PiecewiseLinear,
    cuts_of,
    gaps,
    varied,
)
from fastnn.tabular.relevance import relevance, weights
from fastnn.targets.selection import Target
from fastnn.training.trainer import Trainer

SMOOTH, STEPS = "smooth", "steps"  # kinds of members, by what they read of numbers
# Features that are fine in detail, of size 1 as numbers are, would be learnt first, and by heart.
_COSINES = 0.1  # the size of cosines beside numbers
_LINEAR = 0.2  # the size of piecewise linear features
_AVERAGED = 8.0  # the part of a training, 1 / 8, that the mean of the weights looks back on
_ROOM = 1 << 28  # bytes for the features of one kind of member
_WIDEST = 64  # features of a number, about
_MANY = 100  # columns, of which some tell little; one of categories counts as two
_SMALL = 2000  # rows, with fewer of which cosines of classifiers are as fast as of regressions
_SCREENING = (0.0, 0.5, 1.0)
_SMOOTHING = (0.0, 0.1)
_LEAST_PATIENCE = 5  # epochs, fewer of which may pass without progress by chance
_LEAF = 20  # the fewest rows of a bin, where there are many rows


@dataclass(frozen=True)
class Recipe:
    """The settings of a member.

    Attributes
    ----------
    kind
        `SMOOTH`: numbers by their normal scores and learned cosines of these. `STEPS`: by bins, one
        hot, and what `beside` says.
    beside
        Of `STEPS`: "scores", normal scores; "linear", piecewise linear features of the bins.
    bins
        The most of a column; 0 for `SMOOTH`.
    frequencies, scale, haste
        Of `SMOOTH`: how many cosines a number has, the deviation of their frequencies at the start,
        and what the learning rate is multiplied by for them.
    widths
        Units of each hidden layer.
    dropped
        The dropout of the features themselves, 0 for `SMOOTH`.
    learning_rate, weight_decay, dropout
        As written; the rate falls to 0 as half a period of a cosine.
    seed
        Of initial weights, order of the rows and dropout.
    screening
        The power of the relevance of a column that its features are multiplied with; 0: none are.
    smoothing
        The share of each target that is spread over all classes; 0 with fewer than three.
    """

    kind: str
    beside: str
    bins: int
    frequencies: int
    scale: float
    haste: float
    widths: tuple[int, ...]
    learning_rate: float
    weight_decay: float
    dropout: float
    dropped: float
    seed: int
    screening: float = 0.0
    smoothing: float = 0.0

    @property
    def view(self) -> str:
        """The name of the encoding that it reads."""
        name = f"{self.bins} bins and {self.beside}" if self.kind == STEPS else self.kind
        return f"{name}, by relevance to {self.screening:g}" if self.screening else name

    def reading(self, other: Recipe) -> Recipe:
        """Return these settings for the encoding of another one of the same kind."""
        return replace(self, beside=other.beside, bins=other.bins, screening=other.screening)


def draw(
    generator: np.random.Generator,
    kind: str,
    classes: int,
    large: bool,
    wide: bool = False,
    small: bool = False,
) -> Recipe:
    """Return the settings of one more member of a kind.

    Parameters
    ----------
    classes
        0 for a regression.
    large
        Whether a table is so large that it has no room for features that are not mostly 0.
    wide
        Whether it has so many columns that some will tell little.
    small
        Whether it has few rows.
    """
    screening = float(generator.choice(_SCREENING)) if wide else 0.0
    slow = (
        classes and not small
    )  # of many rows of classes that touch, fast cosines learn single ones
    seed = int(generator.integers(2**31 - 1))

    def between(low: float, high: float) -> float:
        return float(np.exp(generator.uniform(np.log(low), np.log(high))))

    def smoothing() -> float:
        return float(generator.choice(_SMOOTHING)) if classes > 2 else 0.0

    if kind == STEPS:
        return Recipe(
            kind=kind,
            beside="scores" if large else str(generator.choice(["scores", "linear"])),
            bins=int(generator.choice([16, 24, 32])),
            frequencies=0,
            scale=0.0,
            haste=0.0,
            widths=(256,),
            learning_rate=between(1e-3, 2.5e-3),
            weight_decay=between(0.05, 1.0),
            dropout=float(generator.uniform(0.4, 0.58)),
            dropped=float(generator.uniform(0.0, 0.2)),
            seed=seed,
            screening=screening,
            smoothing=smoothing(),
        )
    return Recipe(
        kind=kind,
        beside="",
        bins=0,
        frequencies=int(generator.choice([16, 24, 32])),
        scale=between(0.5, 2.0) if slow else between(1.0, 2.5),
        haste=between(4.0, 16.0) if slow else between(14.0, 24.0),
        widths=(int(generator.choice([128, 160])), 128),
        learning_rate=between(2e-3, 4e-3),
        weight_decay=between(0.003, 0.1),
        dropout=float(generator.uniform(0.0, 0.35) if classes else generator.uniform(0.03, 0.12)),
        dropped=0.0,
        seed=seed,
        screening=screening,
        smoothing=smoothing(),
    )


def is_large(rows: int, columns: int, counts: np.ndarray) -> bool:
    """Return whether features that are not mostly 0 would take too much memory.

    Parameters
    ----------
    rows, columns
        To train on; of numbers.
    counts
        How many codes each column of categories has.
    """
    return 4 * rows * (columns * _WIDEST + int(counts.sum())) > _ROOM


def is_wide(columns: int, counts: np.ndarray) -> bool:
    """Return whether a table has so many columns, of both kinds, that some will tell little."""
    return columns + 2 * len(counts) >= _MANY


def is_small(rows: int) -> bool:
    """Return whether there are few rows to train on."""
    return rows < _SMALL


def epochs_of(kind: str, rows: int, most: int) -> int:
    """Return how many epochs a member has: of many rows fewer.

    >>> epochs_of(SMOOTH, 13_000, 200), epochs_of(STEPS, 26_000, 200), epochs_of(STEPS, 10**6, 200)
    (80, 14, 8)
    """
    base, at, least = (80, 13_000, 15) if kind == SMOOTH else (14, 26_000, 8)
    return min(most, max(least, min(100, round(base * (at / max(rows, 1)) ** 0.5))))


def patience_after(most: int, best: int) -> int:
    """Return after how many epochs without progress a member ends, of which the best was so many.

    Half as many as it took to be best: of tables from 364 to 13,209 rows the same accuracy for 0 to
    42 % less time than with the 15 that are the most.

    >>> [patience_after(15, best) for best in (1, 8, 20, 50)]
    [5, 5, 10, 15]
    """
    return min(most, max(_LEAST_PATIENCE, best // 2))


def encoding_of(
    recipe: Recipe,
    training: Coded,
    targets: np.ndarray,
    counts: np.ndarray,
    cuts: Cuts = "tree",
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
    cuts
        How numbers are cut into bins.
    """
    found = _encoding_of(recipe, training, targets, counts, cuts)
    if not recipe.screening:
        return found
    return found.weighed(*weights(relevance(training, targets), recipe.screening))


def _encoding_of(
    recipe: Recipe, training: Coded, targets: np.ndarray, counts: np.ndarray, how: Cuts
) -> Encoding:
    numbers = training.numbers
    least = max(1, min(_LEAF, len(numbers) // 50))
    columns, absent = varied(numbers), gaps(numbers)
    if recipe.kind == SMOOTH:
        scores = NormalScores.learn(numbers, columns)
        # Dense, as the layer of cosines reads them.
        return Encoding((scores, Flags(absent)), (OneHot(counts),), dense=True)
    either = np.union1d(columns, absent)
    cuts = cuts_of(numbers, either, how, recipe.bins, targets, least)
    beside: Filling = NormalScores.learn(numbers, columns)
    if recipe.beside == "linear":
        beside = PiecewiseLinear.learn(numbers, either, cuts, _LINEAR)
    return Encoding((beside,), (Bins.learn(numbers, either, cuts), OneHot(counts)))


def trainer_of(
    recipe: Recipe,
    encoding: Encoding,
    outputs: int,
    loss: LossName,
    batch_size: int,
    steps: int,
    target: Target,
) -> Trainer:
    """Return the trainer of a member, at its start, for so many steps in all."""
    smooth = recipe.kind == SMOOTH and encoding.filling[0].width > 0
    layers: list[Any] = []
    if smooth:
        numbers = encoding.filling[0].width
        cosines = Periodic(
            recipe.frequencies, recipe.scale, numbers, amplitude=_COSINES, rate_factor=recipe.haste
        )
        layers.append(cosines)
    if recipe.dropped > 0:
        layers.append(Dropout(recipe.dropped))
    for width in recipe.widths:
        layers += [Dense(width, "relu"), Dropout(recipe.dropout)]
    # Of little use to one wide layer with much dropout, and to few steps.
    decay = max(0.0, 1.0 - _AVERAGED / steps) if smooth else 0.0
    return Trainer(
        Network(encoding.width, [*layers, Dense(outputs)]),
        loss=loss,
        optimizer=AdamW(
            Cosine(recipe.learning_rate, steps), weight_decay=recipe.weight_decay, ema=decay
        ),
        batch_size=batch_size,
        label_smoothing=recipe.smoothing,
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
