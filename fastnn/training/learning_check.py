"""Whether a training has learnt anything, and what is in the way where it has not.

Looked at when `fit` ends: first the loss beside that of the best constant, which is cheap; only
where that is no better, what the network gives and how large the numbers are.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.errors import TrainingWarning
from fastnn.inputs.data import ChosenData, Data
from fastnn.inputs.device_arrays import DeviceArray, to_host
from fastnn.inputs.magnitudes import FAR, LARGE, out_of_scale
from fastnn.inputs.problem import Problem
from fastnn.inputs.sparse_rows import SparseRows, is_sparse
from fastnn.inputs.weights import row_means
from fastnn.rules.table import activation_row, loss_row, update_row
from fastnn.rules.updates import make_factors
from fastnn.schedules import Schedule

if TYPE_CHECKING:
    from fastnn.inputs.parameters import Parameters
    from fastnn.training.trainer_state import Stateful

ANEW = "Then begin with a new Trainer"  # since what has died stays so
SAMPLE = 1024  # rows looked at
DENSE = 1 << 20  # numbers of these that become dense, or a copy, at a time
ENTRIES = 1 << 15  # and so many numbers of sparse rows are copied at a time
ENOUGH = 10  # updates after which units that suit a network would have led to something
# By how much of it a loss is below that of a constant: so that nothing more need be looked at, as
# rows of a sample differ from the others; and so that something was learnt.
CLEARLY, LEARNT = 0.2, 0.01
# With such a step of a mean, weights within 0.2 % of it have no part in it in float32. Means over
# all updates come to that in usual trainings, but have settled by then: they may go further.
LEAST_OF_EMA, LEAST_SHARE = 2.0**-16, 2.0**-20
SQUARE = 1e9  # from such a delta on, huber is half a square wherever anybody looks

FACTORS = make_factors(math.sqrt, max)


class Sample(NamedTuple):
    """Some rows: features as they lie, targets and weights on the host.

    Where features are sparse, X has all rows, and `rows` says which are meant.
    """

    X: Any
    targets: np.ndarray
    weights: np.ndarray | None
    rows: np.ndarray | None = None


def tell_reason(trainer: Stateful, data: Data, tell: Callable[[str], None]) -> None:
    """Tell why a network does no better than a constant, where that is so and the reason known.

    That is a layer that lets no gradient pass, or features or targets out of scale. Told is also a
    mean of weights that hardly moves any more, a learning rate that was 0 most of the time, and
    what Keras calls momentum of `BatchNorm`.

    Parameters
    ----------
    trainer
        As training has left it, after one epoch at least.
    data
        What it was trained on.
    tell
        Called with the text: `warn`, or what keeps it for a caller that warns for itself.
    """
    checks = rounded_mean, ended_schedule, momentum_of_keras
    for text in (reason_against(trainer, data), *(check(trainer) for check in checks)):
        if text:
            tell(text)


def ended_schedule(trainer: Stateful) -> str:
    """Return what to warn of where a schedule was at 0 for most of the epochs, or ""."""
    schedule, history = trainer.problem.optimizer.learning_rate, trainer.history
    rates = [rate for rate in history.learning_rate if rate is not None]
    idle = sum(1 for _ in takewhile(lambda rate: rate == 0, reversed(rates)))
    if not isinstance(schedule, Schedule) or not max(rates, default=0) or 2 * idle < len(rates):
        return ""
    each = max(1, round(trainer.step / max(1, trainer.epoch)))
    return (
        f"the learning rate, {schedule!r:.80}, was 0 in the last {idle} of {len(rates)} epochs, "
        f"which changed nothing: its steps are updates, of which an epoch has {each}, so "
        f"{len(rates)} epochs are steps={each * len(rates)}"
    )


def momentum_of_keras(trainer: Stateful) -> str:
    """Return what to warn of where running statistics follow each batch nearly alone, or ""."""
    found = [getattr(each, "momentum", 0.0) for each in trainer.problem.network.layers]
    found = [each for each in found if 0.9 < each < 1.0]
    if not found:
        return ""
    return (
        f"BatchNorm(momentum={found[0]:g}) moves its running statistics {found[0]:g} of the way to "
        "those of each batch, as PyTorch's does, so that predictions are by the last batches; "
        f"Keras's {found[0]:g} is momentum={1 - found[0]:.4g} here"
    )


def rounded_mean(trainer: Stateful) -> str:
    """Return what to warn of where single precision keeps a mean of weights from moving, or ""."""
    problem, optimizer = trainer.problem, trainer.problem.optimizer
    if problem.dtype.itemsize > 4 or not update_row(optimizer).mean or not trainer.step:
        return ""
    share = FACTORS.share(optimizer.ema, getattr(optimizer, "start", 0), trainer.step)
    if share > (LEAST_OF_EMA if optimizer.ema else LEAST_SHARE):
        return ""
    fewer = "have a smaller ema" if optimizer.ema else "begin the mean later"
    return (
        "the mean of the weights predicts, and hardly moves any more in float32: an update takes "
        f"it {share:.1g} of the way to the new weights, which is rounded away where these differ "
        f'from it by less than {2.0**-25 / share:.1%}; train with dtype="float64", or {fewer}'
    )


def warn(
    text: str, category: type[Warning] = TrainingWarning, told: set[Any] | None = None
) -> None:
    """Warn of a training, where fastnn, or scikit-learn which calls it, was called.

    Parameters
    ----------
    text, category
        What is said.
    told
        What has been said before, and where; of the same, but for numbers, nothing is said at the
        same line again. It becomes part of it.
    """
    level, place = _outside()
    said = kind_of(text), category, *place
    if told is not None and said in told:
        return
    warnings.warn(text, category, stacklevel=level)
    if told is not None:
        told.add(said)


def kind_of(text: str) -> str:
    """Return a text without its numbers, which differ from one part of the data to another."""
    return _NUMBER.sub("", text)


_NUMBER = re.compile(r"-?\d[\d.]*(e[+-]\d+)?")


@np.errstate(all="ignore")  # of what overflows nothing is said
def reason_against(trainer: Stateful, data: Data) -> str:
    """Return what to warn of, or "" where there is nothing; as for `tell_reason`."""
    state = trainer._state
    problem, history = state.problem, state.history
    last = state.epoch - history.first_epoch - 1
    known = 0 <= last < len(history.loss)  # of a damaged file, they may contradict each other
    if not known or not (isinstance(data.X, (np.ndarray, DeviceArray)) or is_sparse(data.X)):
        return ""
    some = slice(0, SAMPLE) if _on_device(data) else _some(data)
    weights = data.unequal_weights
    constant = _loss_of_constant(
        problem, to_host(data.targets[some]), None if weights is None else weights[some]
    )
    if constant is not None and history.loss[last] < constant - CLEARLY * abs(constant):
        return ""
    sample = _spread(data)
    if len(problem.network.parametric) == 1 and _usual(problem, sample):
        return ""
    outputs = _predicted(trainer._outputs(), sample)
    if _learnt(problem, outputs, sample):
        return ""
    blocked = _blocked(problem, trainer.parameters, sample, len(data))
    scale = out_of_scale(problem, data) if blocked or state.step >= ENOUGH else ""
    if not (blocked or scale):
        return ""
    # The same words each time, which Python shows once where `fit` is called in a loop.
    text = "the network does no better than a constant"
    if not blocked:
        return f"{text}; {scale}"
    remedy = scale or (
        "lower the learning rate, or take an activation that has a slope everywhere, such as "
        "'leaky_relu'"
    )
    return f"{text}: {blocked}; {remedy}. {ANEW}"


def _on_device(data: Data) -> bool:
    return isinstance(data.X, DeviceArray) or isinstance(data.targets, DeviceArray)


def _some(data: Data) -> Any:
    """Return which rows are some from everywhere in the data."""
    step = -(-len(data) // SAMPLE)
    if isinstance(data, ChosenData):
        return data.in_order(np.arange(0, len(data), step))
    return slice(None, None, step)


def _spread(data: Data) -> Sample:
    """Return some rows from everywhere in the data."""
    n, weights = len(data), data.unequal_weights
    if not _on_device(data):
        some = _some(data)
        sparse = is_sparse(data.X)
        rows = np.arange(len(data.X))[some] if sparse else None
        X, weights = data.X if sparse else data.X[some], None if weights is None else weights[some]
        return Sample(X, data.targets[some], weights, rows)
    # On a device rows are taken without a step: eight runs of them.
    length = SAMPLE // 8
    runs = [slice(start, start + length) for start in range(0, n, max(length, -(-n // 8)))]
    X, targets = (
        np.concatenate([to_host(array[run]) for run in runs]) for array in (data.X, data.targets)
    )
    return Sample(
        X, targets, None if weights is None else np.concatenate([weights[run] for run in runs])
    )


def _predicted(forward: Callable[[Any], np.ndarray], sample: Sample) -> np.ndarray:
    """Return the outputs for a sample; of sparse rows few are copied at a time."""
    X, rows = sample.X, sample.rows
    if rows is None:
        return forward(X)
    entries = int((X.starts[rows + 1] - X.starts[rows]).sum(dtype=np.int64))
    parts = np.array_split(rows, max(1, min(len(rows), entries // ENTRIES)))
    return np.concatenate([forward(X.taken(part)) for part in parts])


def _usual(problem: Problem, sample: Sample) -> bool:
    """Return whether some rows are of a size that `out_of_scale` would find nothing in."""
    arrays = [sample.X]
    if loss_row(problem.loss).targets not in ("classes", "binary"):
        arrays.append(sample.targets)
    for array in arrays:
        if isinstance(array, SparseRows):  # of which some rows would say nothing of rare columns
            span = array.spans[array.spans > 0]
        else:
            span = np.abs(array.astype(np.float64)).max(axis=0)
        largest = span.max(initial=0.0)
        if largest > LARGE or span.min(initial=largest) < max(largest, 1.0) / FAR:
            return False
    return True


def _loss_of_constant(
    problem: Problem, targets: np.ndarray, weights: np.ndarray | None
) -> float | None:
    """Return the loss where the outputs are the same for all rows, those that suit the targets.

    None where it is not known which these are. By formulas, of what many networks are trained with,
    since short trainings take no longer than what `_loss` does.
    """
    row = loss_row(problem.loss)
    if weights is not None and not weights.any():
        return None
    if targets.ndim == 1 and not problem.label_smoothing:
        counts = np.bincount(targets, weights)
        return float(_entropy(counts / counts.sum()).sum())
    square = row.name == "mse" or (row.name == "huber" and problem.loss_alpha > SQUARE)
    if row.name in _OF_MEAN or square:
        y = targets.astype(np.float64)
        if weights is None:
            mean = np.add.reduce(y) / len(y)
            found = 0.5 * np.square(y - mean) if square else _of_mean(problem, mean)
            return float(found.sum()) / found.size
        each = np.broadcast_to(weights.reshape(len(y), -1), y.shape)
        mean = _mean(y, weights)
        if square:
            return 0.5 * float(np.vdot(each, np.square(y - mean))) / max(float(each.sum()), 1e-300)
        return float(each.sum(axis=0) @ _of_mean(problem, mean)) / max(float(each.sum()), 1e-300)
    if row.name in ("mae", "quantile") and weights is None:
        level = problem.loss_alpha if row.name == "quantile" else 0.5
        y = targets.astype(np.float64)
        rank = int(level * (len(y) - 1))
        error = y - np.partition(y, rank, axis=0)[rank]
        size = np.abs(error)
        if row.name == "quantile":
            size = np.where(error > 0, level * size, (1 - level) * size)
        return float(size.sum()) / size.size
    found = _constants(problem, targets, weights)
    return min((_loss(problem, each, targets, weights) for each in found), default=None)


def _entropy(share: np.ndarray) -> np.ndarray:
    """Return -p log p of each p."""
    return -share * np.log(np.maximum(share, 1e-300))


def _of_mean(problem: Problem, mean: np.ndarray) -> np.ndarray:
    """Return the loss of the best constant of each output, by the mean of its targets."""
    return np.asarray(_OF_MEAN[loss_row(problem.loss).name](mean, problem.loss_alpha))


# The loss of the best constant as a function of the mean m of the targets, and the loss's number.
_OF_MEAN: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "binary_cross_entropy": lambda m, _: _entropy(m) + _entropy(1 - m),
    "poisson": lambda m, _: m + _entropy(m),
    "perceptron": lambda m, _: 0.0 * m,
    "hinge": lambda m, _: 2 * np.minimum(m, 1 - m),
    "squared_hinge": lambda m, _: 4 * m * (1 - m),
    "margin": lambda m, alpha: 2 * alpha * np.minimum(m, 1 - m),
}


def _constants(
    problem: Problem, targets: np.ndarray, weights: np.ndarray | None
) -> list[np.ndarray]:
    """Return outputs of one row (outputs,), one of which is about the best for all rows."""
    row = loss_row(problem.loss)
    if row.targets == "classes":
        share = _mean(_probabilities(problem, targets), weights)
        share += problem.label_smoothing * (1 / len(share) - share)
        return [np.log(np.maximum(share, 1e-12))]
    if targets.shape[1] != problem.network.outputs:
        return []
    mean = _mean(targets, weights)
    if row.targets == "binary":
        if row.from_logits:
            share = mean.clip(1e-12, 1 - 1e-12)
            return [np.log(share / (1 - share))]
        return [np.where(mean >= 0.5, 1.0, -1.0), 2 * mean - 1, 0.0 * mean]
    if row.targets == "counts":
        return [np.log(np.maximum(mean, 1e-12))]
    middle = problem.loss_alpha if row.name == "quantile" else 0.5
    return [mean, np.quantile(targets, middle, axis=0)]


def _probabilities(problem: Problem, targets: np.ndarray) -> np.ndarray:
    """Return labels of classes as rows of probabilities."""
    return np.eye(problem.network.outputs)[targets] if targets.ndim == 1 else targets


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weighted mean of each column; where nothing weighs, of all rows."""
    if weights is None:
        return values.mean(axis=0, dtype=np.float64)
    each = np.broadcast_to(weights.reshape(len(weights), -1), values.shape)
    total = each.sum(axis=0)
    mean = values.mean(axis=0, dtype=np.float64)
    return np.divide((each * values).sum(axis=0), total, out=mean, where=total > 0)


def _loss(
    problem: Problem, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None
) -> float:
    """Return the loss of outputs (m, outputs), or of the same (outputs,) for all rows."""
    from fastnn.targets.numpy.losses import loss_of

    rows = np.broadcast_to(outputs, (len(targets), problem.network.outputs)).astype(np.float64)
    if targets.ndim == 1 and not problem.label_smoothing:
        # By hand: that of the NumPy target imports SciPy, which a fit must not do at its end.
        rows -= rows.max(axis=1, keepdims=True)
        logs = np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(len(rows)), targets]
        return float(np.average(logs, weights=weights))
    return loss_of(problem, rows, targets, weights)


def _learnt(problem: Problem, outputs: np.ndarray, sample: Sample) -> bool:
    """Return whether outputs do better than a constant, or there was nothing to be learnt."""
    targets, weights = sample.targets, sample.weights
    if (targets == targets[0]).all() or (weights is not None and not weights.any()):
        return True
    if _tells_labels(problem, outputs, targets, weights):  # which is seen sooner
        return True
    constants = [*_constants(problem, targets, weights), outputs.mean(axis=0, dtype=np.float64)]
    best = min(_loss(problem, each, targets, weights) for each in constants)
    return _loss(problem, outputs, targets, weights) < best - LEARNT * abs(best)


def _tells_labels(
    problem: Problem, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None
) -> bool:
    """Return whether more rows get their label than would all get the commonest.

    Of losses that are 0 for outputs of 0, such as the perceptron's, only that tells.
    """
    if loss_row(problem.loss).targets not in ("classes", "binary"):
        return False
    if loss_row(problem.loss).targets == "classes":
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        hits = (outputs.argmax(axis=1) == labels)[:, None]
        usual = (np.bincount(labels).argmax() == labels)[:, None]
    else:
        hits, usual = (outputs >= 0) == targets, (_mean(targets, weights) >= 0.5) == targets
    rows = None if weights is None else row_means(weights)
    right, known = (np.average(each.mean(axis=1), weights=rows) for each in (hits, usual))
    return bool(right > known + LEARNT)


def _blocked(problem: Problem, parameters: Parameters, sample: Sample, count: int) -> str:
    """Return which layer lets no gradient pass for any of `count` rows, and why; "": none."""
    from fastnn.targets.numpy.activations import activation_of
    from fastnn.targets.numpy.passes import alpha_of, forward

    network, most = problem.network, max(8, DENSE // sample.X.shape[1])
    few = slice(None, None, -(-len(sample.targets) // most))
    if sample.rows is not None:
        X = sample.X.dense(sample.rows[few], problem.dtype)
    else:
        X = sample.X[few].astype(problem.dtype)
    with np.errstate(all="ignore"):
        layers = forward(problem, parameters, X)
    for layer, own, seen, name in zip(
        network.parametric, parameters, layers, network.names, strict=True
    ):
        activation = activation_of(layer.activation)
        if activation.derivative is None or activation_row(layer.activation).flat:
            continue
        slope = seen.slope
        if slope is None:
            with np.errstate(all="ignore"):
                slope = activation.derivative(seen.Z, seen.A, alpha_of(layer, own))
        if slope.any():
            continue
        same = (seen.A == seen.A[0]).all(axis=0)
        what = "are saturated"
        if same.all():
            what = f"give {seen.A[0, 0]:g}" if (seen.A == seen.A[0, 0]).all() else "are constant"
        rows = f"all {len(X)} rows" if len(X) == count else f"each of {len(X)} rows looked at"
        return (
            f"all {seen.A.shape[1]} units of {name} ({layer.activation!r}) {what} for {rows}, "
            "with derivative 0, so that no gradient passes and more epochs change nothing"
        )
    return ""


def _is_ours(module: str) -> bool:
    """Return whether a module is of fastnn or of what calls it for the caller."""
    return module.partition(".")[0] in ("fastnn", "sklearn", "joblib", "contextlib")


def _outside() -> tuple[int, tuple[str, int]]:
    """Return how many frames above the caller the one is that called fastnn, and its line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__") or ""):
        level, frame = level + 1, frame.f_back
    return level, (frame.f_code.co_filename, frame.f_lineno)
