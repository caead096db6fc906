"""Metrics: what training is watched by beside its loss, by name or as functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fastnn.elsewhere import unknown_measure
from fastnn.errors import EXHAUSTED, InvalidInput, check_takes, number, shown
from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import to_host
from fastnn.inputs.problem import Problem
from fastnn.rules.table import loss_row
from fastnn.threads.atomic import new_lock
from fastnn.training.scores import predictions, scores, scores_of_each

# Series of a history that are measured on the validation data begin so.
PREFIX = "validation_"
_ALWAYS = ("loss", "accuracy")  # what `scores` gives, and these names are for
_LONGEST = 100

# The names of `_ROWS` and `_ALWAYS`, for type checkers, and what `Trainer.fit` takes.
MetricName = Literal["loss", "accuracy", "auc", "log_loss", "f1", "rmse", "mae", "r2"]
_OneMetric = MetricName | Callable[..., Any] | tuple[str, Callable[..., Any]]
Metrics = _OneMetric | Iterable[_OneMetric] | Mapping[str, Callable[..., Any]]

Column = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Metric:
    """One number to be measured on some rows.

    Attributes
    ----------
    name
        What it is called.
    function
        Built in: (y, outputs, weights) of one output -> number, see `_ROWS`. Otherwise
        user-defined.
    built_in
        Which of the two it is.
    lock
        Held by the thread that calls a user-defined one, which is not called twice at a time.
    """

    name: str
    function: Callable[..., Any]
    built_in: bool
    lock: Any = field(default_factory=new_lock)

    @property
    def series(self) -> str:
        """What a history calls its values on the validation data."""
        return PREFIX + self.name


def _area(y: np.ndarray, scores: np.ndarray, w: np.ndarray) -> float:
    """Return the share of pairs of a 1 and a 0 in which the 1 has the larger score.

    Pairs of equal scores count half, and each pair as much as the product of its weights: the area
    under the ROC curve (Fawcett 2006, "An introduction to ROC analysis").
    """
    if (w == 1.0).all():  # whose sums are whole numbers, the same in any order
        return area_of_sorted(y, scores, w)
    if np.isnan(scores).any():
        return np.nan
    places = np.unique(scores, return_inverse=True)[1].reshape(-1)
    ones = np.bincount(places, w * y)
    zeros = np.bincount(places, w * (1.0 - y))
    below = np.cumsum(zeros) - zeros
    return float(ones @ (below + zeros / 2) / (ones.sum() * zeros.sum()))


def area_of_sorted(y: np.ndarray, scores: np.ndarray, w: np.ndarray) -> float:
    """Return what `_area` does, in a fifth of the time; the order of sums is that of the scores."""
    order = np.argsort(scores)
    ranked = scores[order]
    if np.isnan(ranked[-1]):  # where all NaN are
        return np.nan
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    weighted = w[order]
    ones = np.cumsum(weighted * y[order])[ends]
    zeros = np.cumsum(weighted)[ends] - ones
    own = np.diff(zeros, prepend=0.0)
    pairs = np.diff(ones, prepend=0.0) @ (zeros - own / 2)
    return float(pairs / (ones[-1] * zeros[-1]))


def _f1(y: np.ndarray, predicted: np.ndarray, w: np.ndarray) -> float:
    """Return 2 TP / (2 TP + FP + FN), 0 where there is neither a label 1 nor a prediction of it."""
    both = w @ (y * predicted)
    either = w @ (y + predicted)
    return float(2 * both / either) if either else 0.0


def _squared(y: np.ndarray, predicted: np.ndarray, w: np.ndarray) -> float:
    return float(np.sqrt(np.average((y - predicted) ** 2, weights=w)))


def _absolute(y: np.ndarray, predicted: np.ndarray, w: np.ndarray) -> float:
    return float(np.average(np.abs(y - predicted), weights=w))


def _explained(y: np.ndarray, predicted: np.ndarray, w: np.ndarray) -> float:
    spread = w @ (y - np.average(y, weights=w)) ** 2
    return float(1.0 - w @ (y - predicted) ** 2 / spread)


def _surprise(y: np.ndarray, log_odds: np.ndarray, w: np.ndarray) -> float:
    """Return the mean of -log p of the labels, with p = sigmoid(log_odds) of label 1."""
    return float(np.average(np.logaddexp(0.0, log_odds) - y * log_odds, weights=w))


@dataclass(frozen=True)
class _Row:
    """A built-in metric: what it is of one output, and what it takes."""

    column: Column
    labels: bool  # of a loss over labels, or of one over numbers
    takes: str  # of labels: "scores", "predictions" or "log_odds"
    larger: bool  # whether a larger one is better


_ROWS = {
    "auc": _Row(_area, True, "scores", True),
    "log_loss": _Row(_surprise, True, "log_odds", False),
    "f1": _Row(_f1, True, "predictions", True),
    "rmse": _Row(_squared, False, "predictions", False),
    "mae": _Row(_absolute, False, "predictions", False),
    "r2": _Row(_explained, False, "predictions", True),
}
# Whether a larger value is better, of all that has a name of fastnn's.
LARGER_IS_BETTER = {"loss": False, "accuracy": True} | {n: row.larger for n, row in _ROWS.items()}


def check_metrics(problem: Problem, metrics: Any, validated: bool = True) -> tuple[Metric, ...]:
    """Return `metrics` of `Trainer.fit`, each once, but for those that are measured anyway.

    Parameters
    ----------
    problem
        Its loss decides which of the built-in ones there are.
    metrics
        A name, a function, a pair (name, function), an iterable of such, or a dict of functions by
        name.
    validated
        Whether there are data to measure them on.

    Raises
    ------
    InvalidInput
        An unknown name, a metric of another kind of loss, something that is no function, a function
        without a name or with one that is taken, two of one name, or no data to measure them on.
    """
    if isinstance(metrics, (str, bytes)) or callable(metrics) or _is_pair(metrics):
        given: list[Any] = [metrics]
    elif isinstance(metrics, Mapping):
        given = list(metrics.items())
    elif isinstance(metrics, Iterable):
        given = list(metrics)
    else:
        raise InvalidInput(
            "metrics must be names and functions (y, outputs), such as "
            f'["auc", function] or {{"name": function}}, not {shown(metrics):.80}'
        )
    found: tuple[Metric, ...] = ()
    for position, each in enumerate(given):
        found = with_metric(problem, found, each, f"metrics[{position}]")
    asked = [*(each.name for each in found), *(name for name in given if _is(name, "accuracy"))]
    if asked and not validated:
        raise InvalidInput(
            f"metrics ({', '.join(asked)}) are measured on the validation data, of which there are "
            "none; pass validation_data=(X, y), or call trainer.evaluate(X, y, metrics=...) in a "
            "callback to have those of the training data"
        )
    return found


def _is(given: Any, name: str) -> bool:
    return isinstance(given, str) and given == name


def _is_pair(metrics: Any) -> bool:
    """Whether this is one function with its name, rather than the name of a metric and another."""
    if not (isinstance(metrics, tuple) and len(metrics) == 2):
        return False
    name, function = metrics
    return isinstance(name, str) and name not in (*_ALWAYS, *_ROWS) and callable(function)


def _check_metric(problem: Problem, given: Any, where: str) -> Metric | None:
    """Return one metric; None for one that is measured anyway."""
    if isinstance(given, str):
        return _named(problem, given)
    if isinstance(given, (tuple, list)) and len(given) == 2:
        name, function = given
    else:
        name, function = getattr(given, "__name__", None), given
    if not callable(function):
        raise InvalidInput(
            f"{where} must be a name, a function (y, outputs), or (name, function), "
            f"not {shown(given):.80}"
        )
    if not _takes_weights(function):
        check_takes(function, "y, outputs", where)
    usable = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST
    if not usable or name == "<lambda>":
        raise InvalidInput(
            f"{where} is a function that needs a name for the history, and has "
            f'{shown(name):.80}; write it with def, or give it one, as in metrics={{"name": '
            f'function}}, which monitor="{PREFIX}name" watches'
        )
    if name in (*_ALWAYS, *_ROWS):
        raise InvalidInput(
            f"{where} is a function called {name!r}, which is fastnn's name of a metric of its "
            f'own; call it something else, as in metrics={{"my_{name}": function}}'
        )
    return Metric(name, function, False)


def with_metric(
    problem: Problem, metrics: tuple[Metric, ...], given: Any, where: str
) -> tuple[Metric, ...]:
    """Return `metrics` and one more that is to be measured, unless it is among them.

    Raises
    ------
    InvalidInput
        As for `check_metrics`; the message says `where` it was asked for.
    """
    metric = _check_metric(problem, given, where)
    if metric is None:
        return metrics
    same = next((each for each in metrics if each.name == metric.name), None)
    if same is not None and same.function != metric.function:
        raise InvalidInput(
            f"{where} is called {metric.name!r}, and so is another metric; pass both as "
            f'metrics={{"one": function, "other": function}}, and watch "{PREFIX}other"'
        )
    return metrics if same is not None else (*metrics, metric)


def _named(problem: Problem, name: str) -> Metric | None:
    labelled, probable = _kind(problem)
    # Of a loss of the whole row nobody knows which output is to be near which target.
    paired = labelled or problem.target_columns == problem.network.outputs
    known = [
        other
        for other, row in _ROWS.items()
        if row.labels == labelled and paired and (row.takes != "log_odds" or probable)
    ]
    known += ["accuracy"] * labelled
    if name == "loss" or (name in _ALWAYS and labelled):
        return None
    if name in known:
        return Metric(name, _ROWS[name].column, True)
    if name in _ROWS and not _ROWS[name].labels and not paired:
        raise InvalidInput(
            f"metric {name!r} compares each output with a target, but the loss has "
            f"{problem.target_columns} targets a row for {problem.network.outputs} outputs; pass a "
            "function (y, outputs)"
        )
    if name in (*_ALWAYS, *_ROWS):
        raise InvalidInput(
            f"metric {name!r} is not for loss {shown(problem.loss)}, which has "
            f"{', '.join(sorted(known))}; or pass a function (y, outputs)"
        )
    raise unknown_measure("metric", name, sorted(known))


def _kind(problem: Problem) -> tuple[bool, bool]:
    """Return whether a problem's targets are labels, and whether its outputs are probabilities."""
    row = loss_row(problem.loss)
    labelled = row.targets in ("classes", "binary")
    return labelled, labelled and row.from_logits


def check_measurable(
    problem: Problem, metrics: tuple[Metric, ...], data: Data, what: str = "the data"
) -> None:
    """Raise `InvalidInput` where a metric cannot be measured on these rows, whatever the outputs.

    That is "auc" without both labels, or without a class; "r2" of targets that are all the same;
    and a function that takes no weights where there are some.
    """
    for metric in metrics:
        if not metric.built_in:
            if data.weights is not None and not _takes_weights(metric.function):
                raise InvalidInput(
                    f"{what} have weights, but the metric {metric.name!r} takes none; give the "
                    "function an argument called sample_weight"
                )
            continue
        if metric.name not in ("auc", "r2"):
            continue
        y = _targets(problem, data)
        for output, (own, _, _) in _columns(y, y, data.weights).items():
            if metric.name == "auc" and not 0 < own.sum() < len(own):
                kind = "class" if loss_row(problem.loss).targets == "classes" else "output"
                raise InvalidInput(
                    f"metric 'auc' compares rows of label 1 with rows of label 0, but {what} have "
                    f"only one of the two in {kind} {output}; add such rows, or leave it out"
                )
            if metric.name == "r2" and own.min() == own.max():
                raise InvalidInput(
                    f"metric 'r2' compares with the spread of the targets, but {what} have "
                    f"{own[0]:g} in every row of output {output}; leave it out"
                )


def _takes_weights(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        each.name == "sample_weight" or each.kind == inspect.Parameter.VAR_KEYWORD
        for each in parameters
    )


class _Kept:
    """A network's `forward` that keeps its outputs."""

    def __init__(self, forward: Callable[[Any], np.ndarray]) -> None:
        self._forward, self.parts = forward, list[np.ndarray]()

    def __call__(self, X: Any) -> np.ndarray:
        self.parts.append(self._forward(X))
        return self.parts[-1]


def measured(
    problem: Problem,
    forward: Callable[[Any], np.ndarray],
    data: Data,
    metrics: tuple[Metric, ...],
    take: Callable[[np.ndarray], None] | None = None,
) -> tuple[dict[str, float], InvalidInput | None]:
    """Return what `scores` does, and the value of each metric by its name.

    Where a function fails, the values are those up to it, beside the error. `take` is given the
    outputs (m, outputs), which are computed once for all.
    """
    if not metrics and take is None:
        return scores(problem, forward, data), None
    kept = _Kept(forward)
    found = scores(problem, kept, data)
    outputs = kept.parts[0] if len(kept.parts) == 1 else np.concatenate(kept.parts)
    if take is not None:
        take(outputs)
    try:
        for metric in metrics:
            if metric.built_in:
                found[metric.name] = _measure(problem, metric, outputs, data)
            else:
                found[metric.name] = _call(problem, metric, outputs, data)
    except InvalidInput as error:
        return found, error
    return found, None


def measured_each(
    problem: Problem, outputs: Sequence[np.ndarray], data: Data, metrics: tuple[Metric, ...]
) -> list[dict[str, float]]:
    """Return for outputs of the same rows at several times what `measured` does, to the same bits.

    All metrics must be built in.
    """
    found = scores_of_each(problem, outputs, data)
    for values, own in zip(found, outputs, strict=True):
        values |= {each.name: _measure(problem, each, own, data) for each in metrics}
    return found


def _call(problem: Problem, metric: Metric, outputs: np.ndarray, data: Data) -> float:
    """Return the value of a user-defined metric, or raise `InvalidInput`."""
    y = to_host(data.targets)
    if loss_row(problem.loss).targets == "binary":
        y = y.astype(np.int64)
    views = [array[:, 0] if array.shape[1:] == (1,) else array[:] for array in (y, outputs)]
    more = {}
    if data.weights is not None:
        more["sample_weight"] = data.weights[:]
    for array in (*views, *more.values()):
        array.flags.writeable = False
    try:
        with metric.lock:
            value = metric.function(*views, **more)
    except EXHAUSTED:
        raise
    except Exception as error:
        raise InvalidInput(
            f"the metric {metric.name!r} failed: {type(error).__name__}: {error}"
        ) from error
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    return number(value, f"what the metric {metric.name!r} returns")


@np.errstate(all="ignore")
def _measure(problem: Problem, metric: Metric, outputs: np.ndarray, data: Data) -> float:
    """Return the value of a built-in metric: the mean over the outputs, or the classes."""
    takes = _ROWS[metric.name].takes
    kind, classes = loss_row(problem.loss).targets, problem.network.outputs
    y = _targets(problem, data)
    if takes == "log_odds" and kind == "classes":
        # One number a row: the log odds of its own class against the sum of all others.
        row = np.sum(y * _log_odds(outputs), axis=1, keepdims=True)
        return _mean(metric, np.ones_like(row), row, data.weights)
    if takes == "predictions":
        found = predictions(problem, outputs)
        if kind == "classes":
            found = found[:, None] == np.arange(classes)
        values = found.reshape(len(outputs), -1).astype(np.float64)
    elif kind == "classes":
        values = _log_odds(outputs)
    else:
        values = outputs.astype(np.float64)
    if kind == "classes":
        if classes == 2:
            y, values = y[:, 1:], values[:, 1:]
        elif takes == "predictions":  # a class that neither is nor is predicted says nothing
            there = y.any(axis=0) | values.any(axis=0)
            y, values = y[:, there], values[:, there]
    return _mean(metric, y, values, data.weights)


def _targets(problem: Problem, data: Data) -> np.ndarray:
    """Return targets as float64 (m, outputs); those of classes as rows of 0 and a 1."""
    y = to_host(data.targets)
    if loss_row(problem.loss).targets != "classes":
        return y.astype(np.float64)
    if y.ndim > 1:
        y = y.argmax(axis=1)
    return (y[:, None] == np.arange(problem.network.outputs)).astype(np.float64)


def _log_odds(outputs: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) of the softmax p of each class, float64, whatever p rounds to.

    That is z_k - log sum_j exp(z_j) over all j but k. The largest z is left out of a sum only where
    it is z_k itself; then the second largest is what all are measured by.
    """
    z = outputs.astype(np.float64)
    rows, top = np.arange(len(z)), z.argmax(axis=1)
    largest = z[rows, top]
    others = z.copy()
    others[rows, top] = -np.inf
    second = others.max(axis=1)
    below = np.exp(others - largest[:, None])
    found = z - (largest + np.log1p(below.sum(axis=1) - below.T)).T
    sums = np.exp(others - second[:, None]).sum(axis=1)
    found[rows, top] = largest - (second + np.log(sums))
    return found


def _columns(
    y: np.ndarray, values: np.ndarray, weights: np.ndarray | None
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return (y, values, weights) of each output, without rows that weigh nothing."""
    w = np.ones(len(y)) if weights is None else weights
    w = np.broadcast_to(w.reshape(len(y), -1), y.shape)
    kept = [column > 0 for column in w.T]
    return {
        j: (y[rows, j], values[rows, j], w[rows, j]) for j, rows in enumerate(kept) if rows.any()
    }


def _mean(metric: Metric, y: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> float:
    columns = _columns(y, values, weights).values()
    return float(np.mean([metric.function(*column) for column in columns]))
