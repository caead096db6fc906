"""User-defined losses of labels: from which output on a label is there, and what is refused.

Targets are 1 where a label is there and 0 elsewhere, and an output z means the label whose loss is
smaller: 1 where l(z, 1) < l(z, 0). The output where both are the same is found once, by bisection,
from the values of the formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.graph.custom import LOSS_KINDS, CustomLoss, CustomRowLoss
from fastnn.rules.table import loss_row

# Outputs of all sizes, and closely around those that a training starts from.
_SIZES = np.geomspace(1e-6, 1e6, 241)
_OUTPUTS = np.unique(np.concatenate([-_SIZES, np.linspace(-20.0, 20.0, 1601), _SIZES]))
_ROUNDED = 16 * np.finfo(np.float64).eps  # of its terms a difference may be rounded by so much
_HALVINGS = 100
_DIGITS = 12  # of a threshold that are not rounding

UserLoss = CustomLoss | CustomRowLoss
# The losses for the targets 0 and 1 at some outputs (n,), each (n,).
Pair = tuple[np.ndarray, np.ndarray]


def is_user_defined(loss: object) -> bool:
    """Return whether a loss, as a Trainer has it, is a user-defined one."""
    return isinstance(loss, LOSS_KINDS)


def check_loss(loss: Any, kind: str) -> None:
    """Raise `InvalidInput` for a user-defined loss whose outputs do not tell labels of a kind.

    That is a `Labels.kind`; other losses are what they are.
    """
    if is_user_defined(loss):
        check_compared(loss) if kind == "multiclass" else thresholds(loss)


def threshold_of(loss: Any, kind: str) -> float | np.ndarray:
    """Return above which output a label is there; of several classes, which are compared, 0.

    That is half way between the targets, 0 in log odds, the logarithm of 1/2 for rates, and of a
    user-defined loss where it is the same for both targets.
    """
    if kind == "multiclass":
        return 0.0
    if is_user_defined(loss):
        return thresholds(loss)
    return {"real": 0.5, "counts": math.log(0.5)}.get(loss_row(loss).targets, 0.0)


@lru_cache(maxsize=128)
def thresholds(loss: UserLoss) -> float | np.ndarray:
    """Return above which output a label is there: one number, or one for each output of a row.

    >>> from fastnn.graph.custom import custom_loss
    >>> thresholds(custom_loss(lambda z, y: (z - y) ** 2, 1))
    0.5

    Of a loss of a row each output is looked at beside others that are 0, of labels that are absent.

    Raises
    ------
    InvalidInput
        A loss that does not tell the labels apart, whose outputs mean the other label, or whose
        targets are -1 and 1.
    """
    found = [_threshold(loss, pair) for pair in _pairs(loss)]
    same = len(set(found)) == 1
    return found[0] if same else np.array(found)


@lru_cache(maxsize=128)
def check_compared(loss: UserLoss) -> None:
    """Raise `InvalidInput` for a loss of several classes by which the largest output is none.

    A loss of a row is taken as it is: it compares outputs itself.
    """
    if isinstance(loss, CustomLoss):
        for pair in _pairs(loss):
            losses = pair(_OUTPUTS)
            _check_learns(loss, losses)
            _check_rises(loss, _signs(losses))


def _pairs(loss: UserLoss) -> list[Callable[[np.ndarray], Pair]]:
    """Return what gives the losses for both targets, of each output that is looked at."""
    if isinstance(loss, CustomLoss):
        return [lambda z: (loss.evaluate(z, np.zeros_like(z)), loss.evaluate(z, np.ones_like(z)))]
    return [partial(_of_row, loss, place) for place in range(loss.outputs)]


def _of_row(loss: CustomRowLoss, place: int, z: np.ndarray) -> Pair:
    outputs = np.zeros((len(z), loss.outputs))
    outputs[:, place] = z
    absent = np.zeros((len(z), loss.columns))
    there = absent.copy()
    there[:, place] = 1.0
    return loss.evaluate(outputs, absent), loss.evaluate(outputs, there)


def _threshold(loss: UserLoss, pair: Callable[[np.ndarray], Pair]) -> float:
    losses = pair(_OUTPUTS)
    _check_learns(loss, losses)
    signs = _signs(losses)
    _check_rises(loss, signs)
    absent, there = (_OUTPUTS[signs == sign] for sign in (1, -1))
    if not (len(absent) and len(there)):
        label = int(len(there) > 0)
        raise _refused(
            loss,
            f"is at no output smaller for target {1 - label} than for target {label}"
            if len(absent) or len(there)
            else "is the same for both targets at every output",
            "the loss of each target must be the smaller one at its outputs, as in "
            "softplus(z) - y*z",
        )
    if absent.max() > there.min():
        raise _refused(
            loss,
            f"is smaller for target 1 at the output {there.min():g}, and for target 0 at the "
            f"larger one {absent.max():g}, so that label 1 is not what is above some output",
            "give one that is, such as softplus(z) - y*z or (z - y)**2",
        )
    _check_least(loss, losses, signs)
    low = _edge(lambda z: _signs(pair(z)) == 1, absent.max(), there.min())
    high = _edge(lambda z: _signs(pair(z)) != -1, low, there.min())
    middle = low / 2 + high / 2  # of outputs at which both losses are the same
    return float(f"{middle:.{_DIGITS}g}") if abs(middle) > 10.0**-_DIGITS else 0.0


def _signs(losses: Pair) -> np.ndarray:
    """Return 1 where the loss is smaller for target 0, -1 where for 1; 0: neither, or not known."""
    absent, there = losses
    with np.errstate(all="ignore"):
        difference, size = there - absent, np.maximum(np.abs(there), np.abs(absent))
        known = (np.abs(difference) > _ROUNDED * size) | np.isinf(difference)
        return np.where(known & ~np.isnan(difference), np.sign(difference), 0.0)


def _edge(holds: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> float:
    """Return up to where something holds that does at `low`, or just before, and not at `high`."""
    for _ in range(_HALVINGS):
        middle = low / 2 + high / 2
        if holds(np.array([middle]))[0]:
            low = middle
        else:
            high = middle
    return float(low)


def _check_learns(loss: UserLoss, losses: Pair) -> None:
    """Raise where the loss for one of the targets is the same at every output."""
    for target, values in enumerate(losses):
        finite = values[np.isfinite(values)]
        if not len(finite):
            raise _refused(
                loss,
                f"is NaN or infinite for target {target} at every output",
                "give one that is finite where it is small",
            )
        if np.ptp(finite) <= _ROUNDED * np.abs(finite).max():
            raise _refused(
                loss,
                f"is the same at every output for target {target}, from which nothing can be "
                "learned",
                "of targets -1 and 1 write 2*y - 1 for y: a margin is (2*y - 1)*z",
            )


def _check_rises(loss: UserLoss, signs: np.ndarray) -> None:
    """Raise where target 1 has the smaller loss at small outputs, and 0 at large ones."""
    known = signs[signs != 0]
    if len(known) and (np.diff(known) > 0).any() and not (np.diff(known) < 0).any():
        raise _refused(
            loss,
            "is smaller for target 1 where outputs are small, and for target 0 where they are "
            "large",
            "write -z for the output z, so that large outputs mean label 1",
        )


def _check_least(loss: UserLoss, losses: Pair, signs: np.ndarray) -> None:
    """Raise where the best output for a target is taken for the other one."""
    least = [float(np.nanmin(values)) for values in losses]
    for target, (values, sign) in enumerate(zip(losses, (1, -1), strict=True)):
        near = values <= least[target] + _ROUNDED * abs(least[target])
        if (signs[near] == sign).any():
            continue
        place = float(_OUTPUTS[near][0])
        raise _refused(
            loss,
            f"is least for target {target} at the output {place:g}, where that for target "
            f"{1 - target} is no larger, so that a row which is learned is taken for label "
            f"{1 - target}",
            "of targets -1 and 1 write 2*y - 1 for y; and let the loss have the same least value "
            f"for both targets ({least[0]:g} for 0 and {least[1]:g} for 1), such as 0, by a term "
            "of y alone",
        )


def _refused(loss: UserLoss, problem: str, remedy: str) -> InvalidInput:
    return InvalidInput(
        "the targets of a classifier's user-defined loss are 0 and 1, but "
        f"{loss!r:.200} {problem}; {remedy}"
    )
