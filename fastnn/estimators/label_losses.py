"""User-defined losses of labels: from which output on a label is there, and what is refused.

Targets are 1 where a label is there and 0 elsewhere. As with the losses that have names, it is
there above the output 0, as of log_loss and hinge, or above 1/2, as of a squared error, whichever
the slopes of the loss say: at the threshold the loss for target 0 falls towards smaller outputs and
that for target 1 towards larger ones, and from the wrong side neither leads further away. A factor
for one of the labels (a cost, a weight) changes no sign of a slope, so it changes what is learned
and not how it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.custom import LOSS_KINDS, CustomLoss, CustomRowLoss
from fastnn.rules.table import loss_row

_LOG_ODDS, _HALF = 0.0, 0.5  # the thresholds
_NEAR = 20.0  # most outputs of a training are below
_SIZES = np.geomspace(_NEAR, 1e6, 48)[1:]
# Quarters, with both thresholds, the targets and what is a quarter beside them, and larger ones.
_OUTPUTS = np.concatenate([-_SIZES[::-1], np.arange(-_NEAR, _NEAR + 0.25, 0.25), _SIZES])
# Slopes of less than this times the steepest one near 0 may be rounding, and count as 0.
_ROUNDED = 1e-12

UserLoss = CustomLoss | CustomRowLoss


def is_user_defined(loss: object) -> bool:
    """Return whether a loss, as a Trainer has it, is a user-defined one."""
    return isinstance(loss, LOSS_KINDS)


def threshold_of(loss: Any, kind: str) -> float | np.ndarray:
    """Return above which output a label is there; of several classes, which are compared, 0.

    That is half way between the targets, 0 in log odds, the logarithm of 1/2 for rates, and of a
    user-defined loss what `thresholds` finds.

    Raises
    ------
    InvalidInput
        A user-defined loss whose outputs do not tell labels of a kind, which is a `Labels.kind`.
    """
    if is_user_defined(loss):
        if kind != "multiclass":
            return thresholds(loss)
        check_compared(loss)
    if kind == "multiclass":
        return 0.0
    return {"real": 0.5, "counts": math.log(0.5)}.get(loss_row(loss).targets, 0.0)


def threshold_before(loss: Any) -> float:
    """Return above which output a label was there before version 0.2, for what was fitted then."""
    return 0.5 if loss_row(loss).targets == "real" else 0.0


@lru_cache(maxsize=128)
def thresholds(loss: UserLoss) -> float | np.ndarray:
    """Return above which output a label is there, 0 or 1/2; of a row's outputs maybe one for each.

    >>> from fastnn.graph.custom import custom_loss
    >>> thresholds(custom_loss(lambda z, y: (1 + 9 * y) * (z - y) ** 2, 1))
    0.5

    Of a loss of a row each output is looked at beside others that are 0, of labels that are absent.

    Raises
    ------
    InvalidInput
        A loss that does not tell the labels apart there, whose outputs mean the other label, or
        whose targets are -1 and 1.
    """
    found = [_threshold(loss, slopes) for slopes in _slopes(loss)]
    return found[0] if len(set(found)) == 1 else np.array(found)


@lru_cache(maxsize=128)
def check_compared(loss: UserLoss) -> None:
    """Raise `InvalidInput` for a loss of several classes by which the largest output is none.

    A loss of a row is taken as it is: it compares outputs itself.
    """
    if isinstance(loss, CustomLoss):
        for slopes in _slopes(loss):
            _check_told(loss, slopes)


def _slopes(loss: UserLoss) -> Iterator[np.ndarray]:
    """Yield for each output the signs of the slopes for targets 0 and 1 at `_OUTPUTS`, (2, n)."""
    for place in range(1 if isinstance(loss, CustomLoss) else loss.outputs):
        yield np.array([_signs(*_values(loss, place, target)) for target in (0.0, 1.0)])


def _values(loss: UserLoss, place: int, target: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss for a target at `_OUTPUTS`, and its derivative by one output: (n,) each."""
    if isinstance(loss, CustomLoss):
        asked = _OUTPUTS, np.full_like(_OUTPUTS, target)
        return loss.evaluate(*asked), loss.gradient(*asked)
    outputs = np.zeros((len(_OUTPUTS), loss.outputs))
    targets = np.zeros((len(_OUTPUTS), loss.columns))
    outputs[:, place], targets[:, place] = _OUTPUTS, target
    return loss.evaluate(outputs, targets), loss.gradient(outputs, targets)[:, place]


def _signs(values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return -1, 0 or 1 for each slope; 0 where it or the loss is not a finite number."""
    known = np.where(np.isfinite(values) & np.isfinite(slopes), slopes, 0.0)
    steepest = np.abs(known[np.abs(_OUTPUTS) <= _NEAR]).max()
    return np.where(np.abs(known) > _ROUNDED * steepest, np.sign(known), 0.0)


def _threshold(loss: UserLoss, slopes: np.ndarray) -> float:
    _check_told(loss, slopes)
    for threshold in (_LOG_ODDS, _HALF):
        if _tells(slopes, threshold):
            return threshold
    raise _refused(
        loss,
        "does not pull the outputs of both labels away from 0, nor to 0 and 1",
        "let label 1 be above the output 0, as in softplus(z) - y*z, or the loss be least at the "
        "target itself, as in (z - y)**2",
    )


def _tells(slopes: np.ndarray, threshold: float) -> bool:
    """Return whether a loss brings the outputs of both labels to their side of a threshold."""
    absent, there = slopes
    at = int(np.searchsorted(_OUTPUTS, threshold))
    if not (absent[at] > 0 > there[at]):
        return False
    if (absent[at:] < 0).any() or (there[:at] > 0).any():
        return False
    if threshold == _LOG_ODDS:
        return True
    return all(  # and least within a quarter of the target
        slope[_OUTPUTS == target - 0.25][0] <= 0 <= slope[_OUTPUTS == target + 0.25][0]
        for target, slope in enumerate(slopes)
    )


def _check_told(loss: UserLoss, slopes: np.ndarray) -> None:
    """Raise where target 0 pulls no output down that target 1 pulls up, or some the other way."""
    for target, slope in enumerate(slopes):
        if not slope.any():
            raise _refused(
                loss,
                f"is the same at every output for target {target}, from which nothing can be "
                "learned",
                "of targets -1 and 1 write 2*y - 1 for y: a margin is (2*y - 1)*z",
            )
    absent, there = slopes
    apart, swapped = (absent > 0) & (there < 0), (absent < 0) & (there > 0)
    if apart.any() and not swapped.any():
        return
    if swapped.any() and not apart.any():
        raise _refused(
            loss,
            "pulls outputs up for target 0 and down for target 1",
            "write -z for the output z, so that large outputs mean label 1",
        )
    what = "both ways" if apart.any() else "the same way"
    raise _refused(
        loss,
        f"pulls outputs {what} for both targets, so that no output tells which it was",
        "give one that pulls them up for target 1 and down for target 0, as softplus(z) - y*z or "
        "(z - y)**2 do",
    )


def _refused(loss: UserLoss, problem: str, remedy: str) -> InvalidInput:
    return InvalidInput(
        "the targets of a classifier's user-defined loss are 0 and 1, but "
        f"{loss!r:.200} {problem}; {remedy}"
    )
