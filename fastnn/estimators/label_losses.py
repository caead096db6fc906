"""User-defined losses of labels: from which output on a label is there, and what is refused.

Targets are 1 where a label is there and 0 elsewhere. As with the losses that have names, it is
there above the output 0, as of log_loss and hinge, or above 1/2, as of a squared error, whichever
the slopes of the loss say: around the threshold the loss for target 0 falls towards smaller outputs
and that for target 1 towards larger ones, and from the wrong side neither leads further away. It is
1/2 where both are least near the targets themselves. A factor for one of the labels (a cost, a
weight) changes no sign of a slope, so it changes what is learned and not how it is read.
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

_NEAR, _LARGEST = 20.0, 1e6
_SIZES = np.geomspace(_NEAR, _LARGEST, 48)[1:]
_QUARTER, _LITTLE = 0.25, 1 / 64
_BESIDE = [threshold + little for threshold in (0.0, 0.5) for little in (-_LITTLE, _LITTLE)]
# Every quarter near 0, what is a little beside the thresholds, and larger ones.
_OUTPUTS = np.sort(
    np.concatenate([-_SIZES, np.arange(-_NEAR, _NEAR + _QUARTER, _QUARTER), _BESIDE, _SIZES])
)
# Where the slope for a target is below this times that for the other, its sign may be rounding's.
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
    by_output = [_threshold(loss, slopes) for slopes in _slopes(loss)]
    return by_output[0] if len(set(by_output)) == 1 else np.array(by_output)


@lru_cache(maxsize=128)
def check_compared(loss: UserLoss) -> None:
    """Raise `InvalidInput` for a loss of several classes by which the largest output is none.

    A loss of a row is taken as it is: it compares outputs itself.
    """
    if isinstance(loss, CustomLoss):
        for slopes in _slopes(loss):
            _check_tells_apart(loss, slopes)


def _slopes(loss: UserLoss) -> Iterator[np.ndarray]:
    """Yield for each output the signs of the slopes for targets 0 and 1 at `_OUTPUTS`, (2, n)."""
    for place in range(1 if isinstance(loss, CustomLoss) else loss.outputs):
        slopes = np.array([_slope(loss, place, target) for target in (0.0, 1.0)])
        low, high = np.sort(np.abs(slopes), axis=0)
        yield np.where((low > 0) & (low < _ROUNDED * high), 0.0, np.sign(slopes))


def _slope(loss: UserLoss, place: int, target: float) -> np.ndarray:
    """Return the derivative by one output for a target at `_OUTPUTS`, (n,).

    It is 0 where the loss or the derivative is not a finite number.
    """
    if isinstance(loss, CustomLoss):
        asked = _OUTPUTS, np.full_like(_OUTPUTS, target)
        values, slopes = loss.evaluate(*asked), loss.gradient(*asked)
    else:
        outputs = np.zeros((len(_OUTPUTS), loss.outputs))
        targets = np.zeros((len(_OUTPUTS), loss.columns))
        outputs[:, place], targets[:, place] = _OUTPUTS, target
        values, slopes = loss.evaluate(outputs, targets), loss.gradient(outputs, targets)[:, place]
    return np.where(np.isfinite(values) & np.isfinite(slopes), slopes, 0.0)


def _threshold(loss: UserLoss, slopes: np.ndarray) -> float:
    _check_tells_apart(loss, slopes)
    absent, present = slopes
    if _parts_at(0.5, slopes) and all(
        _at(slope, target - _QUARTER) <= 0 <= _at(slope, target + _QUARTER)
        for target, slope in enumerate(slopes)
    ):
        return 0.5
    if _parts_at(0.0, slopes) and _at(absent, -_LITTLE) >= 0 >= _at(present, _LITTLE):
        return 0.0
    raise _refused(
        loss,
        "does not pull the outputs of both labels away from 0, nor to 0 and 1",
        "let label 1 be above the output 0, as in softplus(z) - y*z, or the loss be least at the "
        "target itself, as in (z - y)**2",
    )


def _parts_at(threshold: float, slopes: np.ndarray) -> bool:
    """Return whether outputs beside a threshold are led to their sides of it, and none away.

    Those of target 0 above it go down, those of target 1 below it up.
    """
    absent, present = slopes
    led = _at(absent, threshold + _LITTLE) > 0 > _at(present, threshold - _LITTLE)
    misled = (absent[threshold < _OUTPUTS] < 0).any() or (present[threshold > _OUTPUTS] > 0).any()
    return bool(led and not misled)


def _at(slope: np.ndarray, output: float) -> float:
    return float(slope[_OUTPUTS == output][0])


def _check_tells_apart(loss: UserLoss, slopes: np.ndarray) -> None:
    """Raise where no output is pulled further down by target 0 than by 1, or some the other way."""
    for target, slope in enumerate(slopes):
        if not slope.any():
            raise _refused(
                loss,
                f"is the same at every output for target {target}, from which nothing can be "
                "learned",
                "of targets -1 and 1 write 2*y - 1 for y: a margin is (2*y - 1)*z",
            )
    absent, present = slopes
    apart, swapped = (absent > present).any(), (absent < present).any()
    if swapped and not apart:
        raise _refused(
            loss,
            "pulls outputs up for target 0 and down for target 1",
            "write -z for the output z, so that large outputs mean label 1",
        )
    if swapped or not apart:
        problem = (
            "pulls some outputs down for target 0 and up for target 1, and others the other way"
            if apart
            else "pulls every output the same way for both targets"
        )
        raise _refused(
            loss,
            f"{problem}, so that the output does not tell which it was",
            "give one that falls towards large outputs for target 1 and towards small ones for "
            "target 0, as softplus(z) - y*z and (z - y)**2 do",
        )


def _refused(loss: UserLoss, problem: str, remedy: str) -> InvalidInput:
    return InvalidInput(
        "the targets of a classifier's user-defined loss are 0 and 1, but "
        f"{loss!r:.200} {problem}; {remedy}"
    )
