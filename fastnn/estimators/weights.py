"""Weights of rows and of targets: those that are given, times those of their classes."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from fastnn.errors import InvalidInput, shown
from fastnn.estimators.labels import Labels
from fastnn.training.learning_check import warn

# A mean weight, and a penalty beside a mean loss, where the first is why the second is too strong.
_SMALL, _STRONG = 1e-3, 0.1
_OF_WEIGHTS = "weights of rows, which sample_weight and class_weight make, have the mean"


def refuse_balanced(class_weight: Any) -> None:
    """Raise `ValueError` where classes are to weigh by how frequent they are in a part of the rows.

    Such weights would be others in each part, and enormous where a part has few of a class.
    """
    if isinstance(class_weight, str):
        raise ValueError(
            "class_weight 'balanced' is not supported for partial_fit. In order to use "
            "'balanced' weights, use compute_class_weight('balanced', classes=classes, y=y). "
            "In place of y you can use a large enough sample of the full training set target "
            "to properly estimate the class frequency distributions. Pass the resulting "
            "weights as the class_weight parameter."
        )


def given_weights(class_weight: dict[Any, float], classes: np.ndarray) -> np.ndarray:
    """Return the weight of each class, 1 for one that is not named.

    Raises
    ------
    ValueError
        One that is negative, NaN or infinite; in scikit-learn's words: a name that is no class.
    """
    found: np.ndarray = compute_class_weight(class_weight, classes=classes, y=classes)
    _check_weights(found, classes, "class_weight")
    return found


def _check_weights(weights: np.ndarray, classes: np.ndarray, what: str) -> None:
    wrong = ~((weights >= 0) & np.isfinite(weights))
    if wrong.any():
        place = int(wrong.argmax())
        raise InvalidInput(
            f"{what} has {weights[place].item()!r} for class {classes[place].item()!r}; weights "
            "are finite and at least 0"
        )


def weights_of(
    class_weight: Any, labels: Labels, coded: np.ndarray, sample_weight: np.ndarray | None
) -> np.ndarray | None:
    """Return the weight of each row (n,), or of each of its labels (n, labels); None: all count 1.

    Parameters
    ----------
    class_weight
        None; "balanced", n / (classes n_c) for a class of n_c rows; or a dict of weights by class,
        1 for a class that it does not name. Of several labels a row, "balanced" or a list with one
        such dict for each label, of its classes 0 and 1.
    labels, coded
        The classes, and the label or labels of each row as `Labels.coded` has them.
    sample_weight
        Of each row, (n,), or None. Products of the two are the weights.

    Raises
    ------
    ValueError
        A `class_weight` that does not fit the labels: of several labels a row also classes other
        than 0 and 1, and what is no dict.
    """
    if class_weight is None:
        return sample_weight
    if labels.kind == "multilabel":
        of_labels = _of_each_label(class_weight, coded)
        return of_labels if sample_weight is None else of_labels * sample_weight[:, None]
    if isinstance(class_weight, str):
        counts = np.bincount(coded, minlength=len(labels.classes))
        there = max(int(np.count_nonzero(counts)), 1)
        ones = np.ones(len(counts))
        of_classes = np.divide(len(coded), there * counts, where=counts > 0, out=ones)
    elif isinstance(class_weight, list):
        example = {value: 1.0 for value in labels.classes[:2].tolist()}
        raise InvalidInput(
            f"class_weight is a list, {class_weight!r:.80}, which is for several labels a row; "
            f"of one write a dict of weights by class, such as {example!r:.80}"
        )
    else:
        of_classes = given_weights(class_weight, labels.classes)
    weights: np.ndarray = of_classes[coded]
    return weights if sample_weight is None else weights * sample_weight


def _of_each_label(class_weight: Any, encoded: np.ndarray) -> np.ndarray:
    """Return the weight of each label of each row, (n, labels)."""
    rows, count = encoded.shape
    if isinstance(class_weight, str):
        ones = encoded.sum(axis=0)
        both = np.stack([rows - ones, ones]) * 2.0
        of_classes = np.divide(rows, both, where=both > 0, out=np.ones(both.shape))
    else:
        if isinstance(class_weight, dict) or len(class_weight) != count:
            raise ValueError(
                "For multi-output, class_weight must be 'balanced' or a list of dicts, one for "
                f"each of the {count} labels, not {class_weight!r:.80}"
            )
        for label, own in enumerate(class_weight):
            _check_weights_of_label(own, f"class_weight[{label}]")
        of_classes = np.array(
            [[own.get(value, 1.0) for own in class_weight] for value in (0, 1)], np.float64
        )
        for label, of_label in enumerate(of_classes.T):
            _check_weights(of_label, np.arange(2), f"class_weight[{label}]")
    return np.where(encoded, of_classes[1], of_classes[0])


def _check_weights_of_label(own: Any, what: str) -> None:
    """Raise `InvalidInput` where the weights of a label's classes are not a dict of 0 and 1."""
    remedy = "write {0: 1.0, 1: 4.0}, say, for classes 0 and 1 of the label, and {} for all 1"
    if not isinstance(own, dict):
        raise InvalidInput(
            f"{what} is {shown(own):.80}, where a dict of weights by class is due: {remedy}"
        )
    for key, weight in own.items():
        if key not in (0, 1):
            raise InvalidInput(
                f"{what} has {shown(key):.80}, which is none of the label's classes, the numbers "
                f"0 and 1: {remedy}"
            )
        if not isinstance(weight, Real):
            raise InvalidInput(
                f"{what} has {shown(weight):.80} for class {key}, which is no number: {remedy}"
            )


def mean_of(weights: np.ndarray | None) -> float:
    """Return the mean of weights of rows or of targets, 1 where there are none.

    Raises
    ------
    InvalidInput
        Their sum overflows.
    """
    if weights is None:
        return 1.0
    with np.errstate(over="ignore"):
        found = float(weights.mean(dtype=np.float64))
    if not np.isfinite(found):
        raise InvalidInput(
            f"weights of rows, which sample_weight and class_weight make, are as large as "
            f"{float(weights.max()):.3g}, and their sum overflows; divide sample_weight until its "
            "mean is about 1"
        )
    return found


def check_steps(
    settings: dict[str, Any], factor: float, mean: float, alpha: float, dtype: np.dtype
) -> None:
    """Raise `InvalidInput` where weights are so small or large that no step can be computed.

    Parameters
    ----------
    settings, factor
        Of a `fastnn.Trainer`, with penalties that were divided by the mean weight, and what its
        rates are multiplied by.
    mean, alpha
        The mean weight, and the penalty as it was given.
    dtype
        Of the parameters.
    """
    if not np.isfinite(factor):
        raise InvalidInput(
            f"{_OF_WEIGHTS} {mean:.3g}, by which learning rates are multiplied: the product "
            "overflows; divide sample_weight until its mean is about 1"
        )
    if mean < _SMALL and max(settings["l1"], settings["l2"]) > float(np.finfo(dtype).max):
        raise InvalidInput(
            f"{_OF_WEIGHTS} {mean:.3g}, by which alpha={float(alpha):g} is divided: {dtype} does "
            "not hold the quotient; multiply sample_weight until its mean is about 1, or set "
            "penalty=None"
        )


def check_penalty(l2: float, alpha: float, weights: np.ndarray | None, dtype: np.dtype) -> None:
    """Warn where the penalty outweighs the loss, since weights are so small.

    Parameters
    ----------
    l2, alpha
        The penalty as it is trained with, and as it was given: divided by the mean weight.
    weights
        Of rows or of targets; None: all count 1.
    dtype
        Of the parameters.

    Raises
    ------
    InvalidInput
        The square of its gradient would overflow.
    """
    if weights is None:
        return
    mean = mean_of(weights)
    if not (mean < _SMALL and l2 > _STRONG):
        return
    text = (
        f"{_OF_WEIGHTS} {mean:.3g}, by which alpha={float(alpha):g} is divided: the penalty "
        "outweighs the loss; multiply sample_weight until its mean is about 1, or set alpha=0"
    )
    if l2 > 1e-3 * float(np.sqrt(np.finfo(dtype).max)):
        raise InvalidInput(f"{text}. Here {dtype} does not hold the steps")
    warn(text)
