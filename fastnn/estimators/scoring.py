"""Scores on validation data, after each epoch: scikit-learn's numbers, in microseconds."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import (
    check_scoring,
    d2_absolute_error_score,
    d2_pinball_score,
    d2_tweedie_score,
    explained_variance_score,
    get_scorer,
    get_scorer_names,
    r2_score,
)

from fastnn.elsewhere import unknown_measure
from fastnn.errors import InvalidInput, shown
from fastnn.inputs.arrays import has_masked

if TYPE_CHECKING:
    from fastnn.estimators.base import Rows


# Those of scikit-learn that compare with a constant: of constant targets they are constant.
_OF_SPREAD = (
    r2_score, explained_variance_score, d2_absolute_error_score, d2_pinball_score, d2_tweedie_score,
)  # fmt: skip
_DRAW_MORE = (
    "take a larger validation_fraction for the rows that are set aside, give fit X_val and y_val"
)


def check_name(name: str) -> None:
    """Raise `InvalidInput` where no scorer of scikit-learn's has a name."""
    if name not in get_scorer_names():
        raise unknown_measure("scoring", name, get_scorer_names())


def accuracy(right: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the share of rows that are right, weighted; of several labels a row, of all of them.

    >>> accuracy(np.array([True, False, True, True]), None)
    0.75
    """
    rows = right.all(axis=1) if right.ndim == 2 else right
    return float(np.average(rows, weights=None if weights is None else _below_one(weights)))


def _below_one(weights: np.ndarray) -> np.ndarray:
    """Return weights of the same proportions, multiplied by a power of 2: no sum overflows."""
    return np.ldexp(weights, -np.frexp(weights.max(initial=0.0))[1])


def r2(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the mean over outputs of 1 - sum w (y - p)^2 / sum w (y - mean y)^2.

    Of an output that is the same in all rows 1 where it is predicted, else 0; NaN where a
    prediction is not finite. y and p are (n, outputs), of any size: squares are those of
    numbers that a power of 2 has brought below 1.

    >>> r2(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]]), None)
    0.5
    >>> r2(np.array([[1e200], [3e200]]), np.array([[1e200], [2e200]]), None)
    0.5
    """
    if not np.isfinite(predicted).all():
        return float("nan")
    own = np.ones(len(y)) if weights is None else _below_one(weights)
    exponents = -np.frexp(np.abs(np.asarray(y, np.float64)).max(axis=0, initial=0.0))[1]
    with np.errstate(all="ignore"):  # of predictions that are out of all proportion: -infinity
        y, predicted = np.ldexp(y, exponents), np.ldexp(predicted, exponents)
        left = own @ np.square(y - predicted, dtype=np.float64)
        spread = own @ np.square(y - np.average(y, axis=0, weights=own), dtype=np.float64)
        varied = spread > 0
        found = np.where(left == 0, 1.0, 0.0)
        found[varied] = 1.0 - left[varied] / spread[varied]
        return float(found.mean())


def without_spread(scoring: Any, y: np.ndarray, weights: np.ndarray | None) -> str:
    """Return which score, that compares with a constant, some targets do not have, and why; or "".

    Parameters
    ----------
    scoring
        As of an estimator of numbers, whose own score is `r2`.
    y
        Of the rows to validate on, (n,) or (n, outputs).
    weights
        Of the rows, (n,) or None; those of weight 0 do not count.
    """
    if scoring is not None:
        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        if getattr(scorer, "_score_func", None) not in _OF_SPREAD:
            return ""
    counting = y if weights is None else y[weights > 0]
    if len(counting) > 1 and (counting != counting[0]).any():
        return ""
    name = "R^2" if scoring is None else f"scoring={scoring!r}"
    rows = f"all {len(counting)} rows" if len(counting) > 1 else f"{len(counting)} row"
    same = f"the same number in {rows}" if len(counting) > 1 else f"{rows} that counts"
    return f"{name}, which has no value where y has {same}"


def remedy_for_spread(drawn: bool) -> str:
    """Return what to do about `without_spread` of rows that were set aside, or given."""
    rows = _DRAW_MORE if drawn else "give X_val and y_val of two or more that differ"
    return f"{rows}, or set scoring='neg_mean_squared_error'"


def check_spread(scoring: Any, y: np.ndarray, weights: np.ndarray | None, drawn: bool) -> None:
    """Raise `InvalidInput` where a score that compares with a constant is not one of some targets.

    The arguments are those of `without_spread`, and whether the rows were set aside, not given.
    Those may be all of one number, as in scikit-learn, whose scores of them are 0.
    """
    why = without_spread(scoring, y, weights)
    if not why or (drawn and (len(y) if weights is None else (weights > 0).sum()) > 1):
        return
    raise InvalidInput(f"early_stopping goes by {why}; {remedy_for_spread(drawn)}")


def is_extreme(values: np.ndarray) -> bool:
    """Return whether squares of such numbers overflow, or are rounded to 0, in their dtype."""
    if values.dtype.kind != "f" or not values.size:
        return False
    low, high = float(values.min()), float(values.max())
    limits, size = np.finfo(values.dtype), max(abs(low), abs(high))
    return size > float(limits.max) ** 0.4 or 0.0 < high - low < float(limits.tiny) ** 0.4


def takes_weights(scorer: Any) -> bool:
    """Return whether a scorer, or the metric that it is made of, takes `sample_weight`.

    >>> takes_weights(lambda estimator, X, y: 1.0)
    False
    """
    try:
        parameters = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
    except (TypeError, ValueError):  # one that does not say
        return True
    kinds = {each.kind for each in parameters.values()}
    return "sample_weight" in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def weights_for(scorer: Any, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return the keyword by which a scorer is given weights of rows; none where it takes none."""
    weighted = weights is not None and takes_weights(scorer)
    return {"sample_weight": weights} if weighted and weights is not None else {}


def scorer_of(
    estimator: Any, scoring: Any, rows: Rows, shown: Callable[[Any], dict[str, Any]]
) -> Callable[[Any], float]:
    """Return what gives the score of a trainer by a scorer of scikit-learn's, by name or callable.

    Parameters
    ----------
    estimator
        Being fitted; a copy of it, with the trainer's parameters, is what the scorer gets.
    scoring
        As scikit-learn's `check_scoring` takes it.
    rows
        To score on.
    shown
        Gives the attributes by which the estimator predicts as a trainer does.
    """
    scorer = check_scoring(estimator, scoring=scoring)
    weights = weights_for(scorer, rows.sample_weight)

    def score(trainer: Any) -> float:
        probe = copy.copy(estimator)
        vars(probe).pop("feature_names_in_", None)  # the rows have been checked, and have no names
        vars(probe).update(shown(trainer))
        return _number(scorer(probe, rows.X, rows.y, **weights), scoring)

    return score


def _number(value: Any, scoring: Any) -> float:
    """Return a score as a float.

    Raises
    ------
    InvalidInput
        NaN, or what is not one real number: nothing, an array, text.
    """
    found, given = math.nan, f"{type(value).__name__} {shown(value):.60}"
    one = not isinstance(value, (str, bytes, bytearray)) and not getattr(value, "ndim", 0)
    if one and not np.iscomplexobj(value) and not has_masked(value):
        with suppress(TypeError, ValueError, OverflowError):
            found = float(value)
            given = str(found)
    if math.isnan(found):
        hint = "; did it forget to return?" if value is None else ""
        raise InvalidInput(
            f"scoring={scoring!r} gave {given}; it must give a number for every epoch, larger is "
            f"better{hint}"
        )
    return found
