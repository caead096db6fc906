"""Greedy selection of an ensemble, with replacement, from what candidates predict.

Caruana, Niculescu-Mizil, Crew & Ksikes 2004, "Ensemble selection from libraries of models".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.inputs.data import Data
from fastnn.inputs.problem import Problem
from fastnn.inputs.weights import row_means
from fastnn.rules.table import loss_row
from fastnn.training.combining import as_outputs, averaged
from fastnn.training.metrics import (
    LARGER_IS_BETTER,
    Metric,
    area_of_sorted,
    check_measurable,
    check_metrics,
    measured,
)
from fastnn.training.scores import Outputs, scores

_BLOCK_NUMBERS = 1 << 18  # of candidates looked at together: what a second-level cache holds
# Of outputs up to this size, which may differ by twice as much, float32 holds all probabilities.
_FLOAT32_REACH = 40.0

Scoring = str | Callable[..., Any] | None


def greedy_counts(candidates: Candidates, size: int) -> list[int]:
    """Return which candidates are chosen, in the order in which they are, some more than once.

    The first is the best one alone. Each next one is that with which the mean over all chosen has
    the smallest loss, the first of equals; it ends with `size` of them, or when none makes the loss
    smaller.
    """
    chosen: list[int] = []
    total, least = candidates.nothing(), np.inf
    while len(chosen) < size:
        losses = candidates.losses(total, len(chosen) + 1)
        best = int(np.argmin(losses))
        if not losses[best] < least:
            break
        least = losses[best]
        chosen.append(best)
        total = total + candidates.row(best)
    return chosen


class Candidates(ABC):
    """What some networks predict for the same rows, and the loss of means of it."""

    @abstractmethod
    def nothing(self) -> np.ndarray:
        """Return the sum of no candidates."""

    @abstractmethod
    def row(self, index: int) -> np.ndarray:
        """Return what one candidate adds to a sum."""

    @abstractmethod
    def losses(self, total: np.ndarray, count: int) -> np.ndarray:
        """Return the loss of ``(total + row) / count`` for each candidate, NaN as infinity."""


class _Rows(Candidates):
    """Of each candidate, one row of numbers; a mean's loss is a sum over its numbers."""

    def __init__(self, rows: np.ndarray, weights: np.ndarray) -> None:
        self.rows, self.weights = rows, weights  # (candidates, numbers), (numbers,) of sum 1
        self.plain = bool((weights == weights[0]).all())

    def nothing(self) -> np.ndarray:
        return np.zeros(self.rows.shape[1], self.rows.dtype)

    def row(self, index: int) -> np.ndarray:
        return self.rows[index]

    def losses(self, total: np.ndarray, count: int) -> np.ndarray:
        found = np.empty(len(self.rows))
        step = max(1, _BLOCK_NUMBERS // self.rows.shape[1])
        room = np.empty((step, self.rows.shape[1]), self.rows.dtype)
        for start in range(0, len(self.rows), step):
            block = self.rows[start : start + step]
            means = np.add(block, total, out=room[: len(block)])
            means /= np.float32(count)
            losses = self.reduced(means)
            if self.plain:
                sums = losses.sum(axis=1, dtype=np.float64) * self.weights[0]
            else:
                sums = (losses * self.weights).sum(axis=1)
            found[start : start + step] = sums
        return np.where(np.isnan(found), np.inf, found)

    def reduced(self, means: np.ndarray) -> np.ndarray:
        """Return the losses of some means, a number for each weight; `means` may be overwritten."""
        self.of_means(means)
        return means

    def of_means(self, means: np.ndarray) -> None:
        """Put the loss of each number of some means into its place."""
        raise NotImplementedError


class _LogLoss(_Rows):
    """Numbers are probabilities of what is true; -log p."""

    def of_means(self, means: np.ndarray) -> None:
        np.maximum(means, np.finfo(means.dtype).tiny, out=means)
        np.log(means, out=means)
        np.negative(means, out=means)


class _Squares(_Rows):
    """Numbers are residuals; their squares."""

    def of_means(self, means: np.ndarray) -> None:
        np.square(means, out=means)


class _Sizes(_Rows):
    """Numbers are residuals; their sizes."""

    def of_means(self, means: np.ndarray) -> None:
        np.abs(means, out=means)


class _Right(_Rows):
    """Numbers are probabilities of what is true of two; whether it is predicted, negative.

    Of equal ones 1 is predicted.
    """

    def __init__(self, rows: np.ndarray, weights: np.ndarray, targets: np.ndarray) -> None:
        super().__init__(rows, weights)
        # What a probability is to be above: just below a half where the label is 1.
        half = rows.dtype.type(0.5)
        ones = targets.reshape(-1) > 0.5
        self.above = np.where(ones, np.nextafter(half, rows.dtype.type(0)), half)

    def of_means(self, means: np.ndarray) -> None:
        np.greater(means, self.above, out=means, casting="unsafe")
        np.negative(means, out=means)


class _RightClass(_Rows):
    """Numbers are probabilities of classes, those of a class together; whether the right one wins.

    Of equal ones the first is predicted.
    """

    def __init__(self, rows: np.ndarray, weights: np.ndarray, targets: np.ndarray) -> None:
        super().__init__(rows, weights)
        self.targets, self.places = targets, np.arange(len(targets))

    def reduced(self, means: np.ndarray) -> np.ndarray:
        n = len(self.targets)
        by_class = means.reshape(len(means), -1, n)
        own = by_class[:, self.targets, self.places]
        right = np.ones(own.shape, bool)
        for number in range(by_class.shape[1]):
            other = by_class[:, number]
            right &= (other < own) | ((other == own) & (self.targets <= number))
        return -right.astype(np.float32)


class _Any(Candidates):
    """Whatever a function of the mean (rows, outputs) says, one candidate after another."""

    def __init__(self, means: list[np.ndarray], loss: Callable[[np.ndarray], float]) -> None:
        self.means, self.loss = means, loss

    def nothing(self) -> np.ndarray:
        return np.zeros_like(self.means[0])

    def row(self, index: int) -> np.ndarray:
        return self.means[index]

    def losses(self, total: np.ndarray, count: int) -> np.ndarray:
        found = [self.loss((total + each) / np.float32(count)) for each in self.means]
        return np.where(np.isnan(found), np.inf, found)


def candidates_of(
    problems: Sequence[Problem], outputs: Sequence[np.ndarray], data: Data, scoring: Scoring
) -> Candidates:
    """Return what greedy selection chooses from.

    Parameters
    ----------
    problems
        Of each candidate; all predict the same.
    outputs
        What `forward` gives for the rows of `data`, (n, outputs) each.
    data
        Targets and weights, checked for the first problem.
    scoring
        As for `fastnn.Ensemble.select`.
    """
    problem, n = problems[0], len(data)
    row, columns = loss_row(problem.loss), problem.network.outputs
    kept = None if row.targets == "real" else _dtype_of(outputs)  # numbers may differ by little
    means = (
        averaged(each, raw.reshape(n, columns).astype(kept or raw.dtype, copy=False))
        for each, raw in zip(problems, outputs, strict=True)
    )
    count, shares = len(problems), _shares(data, row.targets, columns)
    probable = row.from_logits and row.targets in ("classes", "binary")
    hard = row.targets == "binary" or (row.targets == "classes" and data.targets.ndim == 1)
    if hard and probable:
        if scoring in (None, "log_loss"):
            return _LogLoss(_true(means, count, row.targets, data.targets), shares)
        if scoring == "accuracy" and row.targets == "binary":
            return _Right(_true(means, count, "binary", data.targets), shares, data.targets)
        if scoring == "accuracy":
            return _RightClass(_by_class(means, count, n, columns), shares, data.targets)
        if scoring == "auc" and (row.targets, columns) in (("classes", 2), ("binary", 1)):
            _check(problem, data, scoring)
            weights = np.ones(n) if data.weights is None else row_means(data.weights)
            labels = data.targets.reshape(-1).astype(np.float64)
            return _Any(list(means), partial(_negative_area, problem, labels, weights))
    if row.targets == "real" and row.columns is None:
        y = data.targets.astype(np.float64)
        if (scoring is None and problem.loss == "mse") or (
            scoring in ("rmse", "r2") and columns == 1
        ):
            _check(problem, data, scoring)
            return _Squares(_residuals(means, count, y), shares)
        if (scoring is None and problem.loss == "mae") or scoring == "mae":
            return _Sizes(_residuals(means, count, y), shares)
    return _Any(list(means), _loss_function(problem, data, scoring))


def _dtype_of(outputs: Sequence[np.ndarray]) -> type[np.floating[Any]]:
    """Return the dtype that holds the probabilities, or rates, of outputs."""
    sizes = (float(np.abs(each).max(initial=0.0)) for each in outputs)
    wide = any(size > _FLOAT32_REACH for size in sizes)
    return np.float64 if wide else np.float32


def _true(means: Iterable[np.ndarray], count: int, kind: str, targets: np.ndarray) -> np.ndarray:
    """Return the probability of what is true in each row, (candidates, numbers)."""
    rows: np.ndarray | None = None
    places, ones = np.arange(len(targets)), targets.reshape(-1) > 0.5
    for index, each in enumerate(means):
        if rows is None:
            rows = np.empty((count, targets.size), each.dtype)
        if kind == "classes":
            rows[index] = each[places, targets]
        else:
            of_zeros, of_ones = (half.reshape(-1) for half in np.hsplit(each, 2))
            rows[index] = np.where(ones, of_ones, of_zeros)
    assert rows is not None, "there is a candidate"
    return rows


def _by_class(means: Iterable[np.ndarray], count: int, n: int, classes: int) -> np.ndarray:
    """Return probabilities (candidates, classes times rows)."""
    rows = np.empty((count, classes, n), np.float32)
    for index, each in enumerate(means):
        rows[index] = each.T
    return rows.reshape(count, -1)


def _residuals(means: Iterable[np.ndarray], count: int, y: np.ndarray) -> np.ndarray:
    """Return residuals (candidates, numbers), of any one unit, so that squares do not overflow."""
    rows = np.empty((count, y.size), np.float32)
    unit = float(np.abs(y - y.mean(axis=0)).max()) or 1.0
    for index, each in enumerate(means):
        rows[index] = ((each - y) / unit).reshape(-1)
    return rows


def _shares(data: Data, kind: str, columns: int) -> np.ndarray:
    """Return the share of each number in the whole."""
    weights = np.ones(len(data)) if data.weights is None else data.weights
    if weights.ndim == 1 and kind != "classes":
        weights = np.repeat(weights, columns)
    found = np.ascontiguousarray(weights, np.float64).reshape(-1)
    return np.asarray(found / found.sum())


def _check(problem: Problem, data: Data, scoring: Any) -> tuple[Metric, ...]:
    """Return the metric of that name, or raise `InvalidInput` where it cannot be measured."""
    metrics = () if scoring is None else check_metrics(problem, scoring)
    check_measurable(problem, metrics, data, "the validation data")
    return metrics


def _negative_area(
    problem: Problem, labels: np.ndarray, weights: np.ndarray, mean: np.ndarray
) -> float:
    """Return the negative area by the log odds of the second class, which do not round to 1."""
    outputs = as_outputs(problem, mean)
    odds = outputs[:, -1] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
    return -area_of_sorted(labels, odds, weights)


def _loss_function(problem: Problem, data: Data, scoring: Scoring) -> Callable[..., float]:
    """Return what the loss of a mean is, by one call of a function."""
    if scoring is None or scoring in ("loss", "accuracy"):
        name, sign = scoring or "loss", -1 if scoring == "accuracy" else 1
        problem = problem.changed(label_smoothing=0.0)

        def own(mean: np.ndarray) -> float:
            found = scores(problem, Outputs(as_outputs(problem, mean)), data)
            if name not in found:
                raise InvalidInput(f"scoring 'accuracy' is not for loss {shown(problem.loss)}")
            return sign * found[name]

        return own
    if callable(scoring):
        metrics, sign = _check(problem, data, {"scoring": scoring}), -1
    elif isinstance(scoring, str):
        metrics = _check(problem, data, scoring)
        sign = -1 if LARGER_IS_BETTER[scoring] else 1
    else:
        raise InvalidInput(
            f"scoring must be None, one of {', '.join(LARGER_IS_BETTER)}, or a function "
            f"(y, predictions) of which larger is better, not {shown(scoring):.80}"
        )

    def measure(mean: np.ndarray) -> float:
        found, error = measured(problem, Outputs(as_outputs(problem, mean)), data, metrics)
        if error is not None:
            raise error
        return sign * found[metrics[0].name]

    return measure
