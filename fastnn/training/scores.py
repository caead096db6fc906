"""What the outputs of a network mean: labels, probabilities, loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.data import Data
from fastnn.inputs.device_arrays import to_host
from fastnn.inputs.problem import Problem
from fastnn.inputs.weights import row_means
from fastnn.rules.table import LOSSES, Loss, loss_row

# Rows scored together: enough to keep every thread busy, and no more memory for more rows.
SCORED_ROWS = 8192
# Outputs of so few rows are scored together with those of other epochs, since NumPy takes longer to
# begin than for the work.
FEW_ROWS = 1024
_LABELLED = ("classes", "binary")


def predictions(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Return what `outputs` (m, outputs) predict, in the form that targets may have.

    Classes: argmax, the first of equals, int64 (m,). Binary losses: 1 where the output is at least
    0, else 0, int64. Poisson: rates, exp of the outputs. Otherwise the outputs themselves. All but
    the first are (m,) for one output and (m, outputs) for more.
    """
    kind = loss_row(problem.loss).targets
    if kind == "classes":
        return outputs.argmax(axis=1).astype(np.int64, copy=False)
    found = outputs
    if kind == "binary":
        found = (outputs >= 0).astype(np.int64)
    elif kind == "counts":
        with np.errstate(over="ignore"):  # infinity, for outputs beyond what exp has a number for
            found = np.exp(outputs)
    return found[:, 0] if problem.network.outputs == 1 else found


def check_probabilistic(problem: Problem) -> None:
    """Raise `InvalidInput` where the loss makes no probabilities of outputs."""
    if not _probabilistic(loss_row(problem.loss)):
        known = " and ".join(repr(name) for name, loss in LOSSES.items() if _probabilistic(loss))
        raise InvalidInput(
            f"loss {problem.loss!r} gives no probabilities, only {known} do; "
            "use predict, or forward for the raw outputs"
        )


def _probabilistic(row: Loss) -> bool:
    return row.from_logits and row.targets in _LABELLED


def probabilities(problem: Problem, outputs: np.ndarray) -> np.ndarray:
    """Return the probabilities that raw `outputs` (m, outputs) stand for, in their dtype.

    Classes: softmax, (m, classes). One binary output: sigmoid(-z) and sigmoid(z) for classes 0 and
    1, (m, 2). Several binary outputs: sigmoid of each, (m, outputs).
    """
    from fastnn.targets.numpy.activations import ACTIVATIONS

    check_probabilistic(problem)
    if loss_row(problem.loss).targets == "classes":
        return ACTIVATIONS["softmax"].value(outputs, 0.0)
    if problem.network.outputs == 1:
        outputs = np.hstack((-outputs, outputs))
    return ACTIVATIONS["sigmoid"].value(outputs, 0.0)


def is_finite(numbers: np.ndarray) -> bool:
    """Return whether all numbers are finite."""
    found = np.isfinite(numbers)
    return b"\0" not in found.tobytes() if found.size <= FEW_ROWS else bool(found.all())


def refuse_overflow(
    outputs: np.ndarray,
    first_row: int = 0,
    remedy: str = "scale X, for fit as well, as by fastnn.Scaling; forward returns what there is",
) -> np.ndarray:
    """Return `outputs` (m, outputs) of rows from `first_row` on, all of which are finite.

    Of finite X they are not where sums overflow. No label follows from them: NaN would be the first
    class.

    Raises
    ------
    InvalidInput
        One that is not.
    """
    if is_finite(outputs):
        return outputs
    row, column = np.argwhere(~np.isfinite(outputs))[0].tolist()
    raise InvalidInput(
        f"output {column} for row {first_row + row} of X is {outputs[row, column]}: no "
        f"{outputs.dtype} holds it, or what it is the sum of, so nothing can be predicted; {remedy}"
    )


def finished(
    problem: Problem,
    outputs: np.ndarray,
    finish: Callable[[Problem, np.ndarray], np.ndarray],
    first_row: int = 0,
) -> np.ndarray:
    """Return finite `predictions` or `probabilities`, as `finish` is, of finite `outputs`.

    Raises
    ------
    InvalidInput
        An output that is not finite, as `refuse_overflow` says, or a rate exp(z) that is not.
    """
    refuse_overflow(outputs, first_row)
    with np.errstate(over="ignore"):
        found = finish(problem, outputs)
    if loss_row(problem.loss).targets == "counts":
        refuse_overflow(found.reshape(outputs.shape), first_row)
    return found


class Outputs:
    """Outputs that are known, in the place of a network: the rows asked for come in order."""

    def __init__(self, outputs: np.ndarray) -> None:
        self._outputs, self._at = outputs, 0

    def __call__(self, X: Any) -> np.ndarray:
        """Return the outputs of the next rows, as many as X has."""
        self._at += len(X)
        return self._outputs[self._at - len(X) : self._at]


def scores(problem: Problem, forward: Callable[[Any], np.ndarray], data: Data) -> dict[str, float]:
    """Return the mean loss, and where there are labels the accuracy, over the rows of `data`.

    loss = sum_r w_r l_r / sum_r w_r, without penalty;  accuracy = sum_r w_r c_r / sum_r w_r, with
    c_r the share of the row's labels that are predicted right, none where an output is not finite;
    the label of a row of probabilities is the first of the most probable. With weights of targets
    they are sum_rj w_rj l_rj / sum_rj w_rj and sum_rj w_rj c_rj / sum_rj w_rj. Sums are float64.

    Parameters
    ----------
    problem
        Gives the loss.
    forward
        Features (m, inputs) -> outputs (m, outputs); called for a few thousand rows at a time.
    data
        Rows, targets and weights; w_r = 1 without weights.
    """
    labelled = loss_row(problem.loss).targets in _LABELLED
    loss = right = total = 0.0
    for start in range(0, len(data), SCORED_ROWS):
        rows = slice(start, start + SCORED_ROWS)
        outputs, targets = forward(data.X[rows]), to_host(data.targets[rows])
        weights = np.ones(len(outputs)) if data.weights is None else data.weights[rows]
        weight = float(row_means(weights).sum())
        total += weight
        loss += weight * _loss_of(problem, outputs, targets, weights)
        if labelled:
            hits = _hits(problem, outputs, targets)
            if weights.ndim == 1:
                one = hits.shape[1] == 1
                right += float(weights @ (hits[:, 0] if one else hits.mean(axis=1)))
            else:
                right += float((weights * hits).mean(axis=1).sum())
    found = {"loss": loss / total}
    return found | {"accuracy": right / total} if labelled else found


def _loss_of(
    problem: Problem, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> float:
    """Return the mean loss of some rows, in float64 where float32 holds no loss of finite outputs.

    The square of 1e20 is none of float32's numbers.
    """
    from fastnn.targets.numpy.losses import loss_of

    found = loss_of(problem, outputs, targets, weights)
    if np.isfinite(found) or outputs.dtype == np.float64 or not is_finite(outputs):
        return found
    wide = targets.astype(np.float64) if targets.dtype.kind == "f" else targets  # else places
    return loss_of(problem, outputs.astype(np.float64), wide, weights)


def scores_of_each(
    problem: Problem, outputs: Sequence[np.ndarray], data: Data
) -> list[dict[str, float]]:
    """Return for outputs of the same rows at several times what `scores` does, to the same bits."""
    from fastnn.targets.numpy.losses import row_losses

    rows = len(data)
    if data.weights is not None or rows > FEW_ROWS:
        return [scores(problem, Outputs(each), data) for each in outputs]
    labelled = loss_row(problem.loss).targets in _LABELLED
    found: list[dict[str, float]] = []
    targets, weights, weight = to_host(data.targets), np.ones(rows), float(rows)
    share, most = np.full(rows, 1.0) / weights.sum(), max(1, SCORED_ROWS // rows)
    for first in range(0, len(outputs), most):
        some = outputs[first : first + most]
        together = np.concatenate(some)
        tiled = np.tile(targets, (len(some), *[1] * (targets.ndim - 1)))
        losses = row_losses(problem, together, tiled).reshape(len(some), rows)
        if not is_finite(losses):
            found += [scores(problem, Outputs(each), data) for each in some]
            continue
        own = [{"loss": weight * float(np.vdot(share, each)) / weight} for each in losses]
        if labelled:
            means = _hits(problem, together, tiled).mean(axis=1).reshape(len(some), rows)
            for values, each in zip(own, means, strict=True):
                values["accuracy"] = float(weights @ each) / weight
        found += own
    return found


def _hits(problem: Problem, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return which labels are predicted right, bool (m, labels of a row)."""
    kind = loss_row(problem.loss).targets
    labels = targets.argmax(axis=1) if kind == "classes" and targets.ndim > 1 else targets
    hits: np.ndarray = predictions(problem, outputs).reshape(labels.shape) == labels
    hits = hits.reshape(len(hits), -1)
    if not is_finite(outputs):  # of which nothing is predicted
        hits &= np.isfinite(outputs).all(axis=1, keepdims=True)
    return hits
