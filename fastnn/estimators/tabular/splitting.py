"""Which rows a population is trained on, and by which its epochs and members are compared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from fastnn.errors import InvalidInput

_TRIES = 20  # draws of groups, one of which leaves a row of each class to train on


def split(
    y: np.ndarray,
    classes: int,
    fraction: float,
    groups: np.ndarray | None,
    random: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and those to validate on, by number, each in random order.

    Without groups one row is drawn of each  1 / fraction  that follow one another by `y`: classes
    have the same shares in both parts, and so have large and small numbers. One row of each class,
    and the ends of numbers, are always trained on.

    Parameters
    ----------
    y
        (n,) places of classes, or numbers.
    classes
        How many there are; 0 for numbers.
    fraction
        Of the rows, to validate on.
    groups
        (n,) what belongs together: rows of one group are all trained on, or all validated on.

    Raises
    ------
    InvalidInput
        Too few rows or groups.
    """
    if groups is not None:
        training, validation = _whole(y, classes, _by_groups(y, classes, fraction, groups, random))
    else:
        ordered = random.permutation(len(y))
        ordered = ordered[np.argsort(y[ordered], kind="stable")]
        free = np.ones(len(y), bool)
        free[np.searchsorted(y[ordered], np.arange(classes)) if classes else [0, -1]] = False
        places = np.flatnonzero(free)
        count = min(max(1, round(fraction * len(y))), len(places))
        ends = np.linspace(0, len(places), count + 1).astype(np.int64)
        drawn = ends[:-1] + (random.uniform(size=count) * np.diff(ends)).astype(np.int64)
        taken = np.zeros(len(y), bool)
        taken[places[drawn]] = True
        training, validation = ordered[~taken], ordered[taken]
    if not len(validation):
        raise InvalidInput(
            f"n_samples={len(y)} are too few to train on some of them and to validate on others; "
            "there must be two of a class, or three numbers"
        )
    return random.permutation(training), random.permutation(validation)


def one_of_each_first(rows: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return rows with one of each class before all others, which otherwise keep their order.

    >>> one_of_each_first(np.array([0, 1, 2, 3]), np.array([7, 7, 7, 5]))
    array([0, 3, 1, 2])
    """
    places = np.sort(np.unique(y[rows], return_index=True)[1])
    return np.concatenate([rows[places], np.delete(rows, places)])


Pair = tuple[np.ndarray, np.ndarray]


def _whole(y: np.ndarray, classes: int, pairs: Iterator[Pair]) -> Pair:
    """Return the first rows to train on that have all classes, and those to validate on."""
    for training, validation in islice(pairs, _TRIES):
        if len(np.unique(y[training])) >= classes or not classes:
            return training, validation
    raise InvalidInput(
        "groups leave no row of some classes to train on: all of their rows are in the groups to "
        "validate on; pass X_val and y_val instead"
    )


def _without_rare(y: np.ndarray, least: int) -> np.ndarray:
    """Return classes of which those of fewer rows than `least` are one, or the most frequent.

    Scikit-learn warns of such, which some folds do not have.

    >>> _without_rare(np.array([0, 0, 0, 1, 2, 2]), 3), _without_rare(np.array([0, 0, 0, 1, 0]), 3)
    (array([0, 0, 0, 1, 1, 1]), array([0, 0, 0, 0, 0]))
    """
    counts = np.bincount(y)
    rare = (counts > 0) & (counts < least)
    if not rare.any():
        return y
    together = counts[rare].sum() >= least
    return np.where(rare[y], rare.argmax() if together else counts.argmax(), y)


def _by_groups(
    y: np.ndarray, classes: int, fraction: float, groups: np.ndarray, random: Any
) -> Iterator[Pair]:
    """Yield rows to train on and to validate on, in one way after another."""
    number = len(np.unique(groups))
    if number < 2:
        raise InvalidInput(f"groups must be at least 2, to validate on some, not {number}")
    folds = min(number, round(1 / fraction))
    if classes and folds > 1 and np.bincount(y, minlength=classes).max() >= folds:
        stratified = StratifiedGroupKFold(folds, shuffle=True, random_state=random)
        yield from stratified.split(np.zeros((len(y), 1)), _without_rare(y, folds), groups)
        return
    plain = GroupShuffleSplit(_TRIES, test_size=fraction, random_state=random)
    yield from plain.split(np.zeros((len(y), 1)), groups=groups)
