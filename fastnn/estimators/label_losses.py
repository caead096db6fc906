"""User-defined losses of labels: from which output on a label is there, and what is refused.

Targets are 1 where a label is there and 0 elsewhere. A label is there above the middle between the
output that is best for target 0 and the one that is best for target 1: where the loss of each is
least. So a factor for one of the labels (a cost, a weight) changes what is learned and not how it
is read. Both outputs are found once, from the values of the formula.
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
_LARGEST = 1e6
_SIZES = np.geomspace(1e-6, _LARGEST, 241)
_OUTPUTS = np.unique(np.concatenate([-_SIZES, np.linspace(-20.0, 20.0, 1601), _SIZES]))
_ROUNDED = 16 * np.finfo(np.float64).eps  # of its terms a difference may be rounded by so much
# A search looks at so many outputs of its bracket at a time, so often that nothing is left of it.
_PARTS, _TIMES = np.linspace(0.0, 1.0, 33), 14
_DIGITS = 12  # of where two losses are the same that are not rounding
_DIGITS_OF_LEAST = 6  # as many of where a loss is least, which is flat there
_WIDENED = 1e-3  # by up to so much rounding widens the one output at which a loss is least
_NEAR = 1e-6  # outputs that are apart by less are the same one
# A loss that comes within three powers of a small number of its least value gets there where these
# three outputs come closer to each other, and never where they do not: as of exp(-z).
_SLOWER = 0.45

UserLoss = CustomLoss | CustomRowLoss
# The loss for one target at some outputs (n,): (n,), infinite where it is not a finite number.
Values = Callable[[np.ndarray], np.ndarray]
# From which to which output a loss is least; (inf, inf) where it is smaller the larger they are.
Range = tuple[float, float]


def is_user_defined(loss: object) -> bool:
    """Return whether a loss, as a Trainer has it, is a user-defined one."""
    return isinstance(loss, LOSS_KINDS)


def threshold_of(loss: Any, kind: str) -> float | np.ndarray:
    """Return above which output a label is there; of several classes, which are compared, 0.

    That is half way between the targets, 0 in log odds, the logarithm of 1/2 for rates, and of a
    user-defined loss half way between what is best for each target.

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
    """Return above which output a label is there: one number, or one for each output of a row.

    That is the middle between the outputs that are best for target 0 and for target 1: where the
    loss is least, of several the one that is nearest to the other target's. It is 0 where the loss
    is better the smaller an output is for 0, and the larger it is for 1. Where that goes for one of
    them alone, it is where both losses are the same.

    >>> from fastnn.graph.custom import custom_loss
    >>> thresholds(custom_loss(lambda z, y: (1 + 9 * y) * (z - y) ** 2, 1))
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
            _ordered(loss, pair)


def _pairs(loss: UserLoss) -> list[tuple[Values, Values]]:
    """Return what gives the losses for targets 0 and 1, of each output that is looked at."""
    if isinstance(loss, CustomLoss):
        absent, there = (partial(_of_output, loss, target) for target in (0.0, 1.0))
        return [(absent, there)]
    return [
        (partial(_of_row, loss, place, 0.0), partial(_of_row, loss, place, 1.0))
        for place in range(loss.outputs)
    ]


def _of_output(loss: CustomLoss, target: float, z: np.ndarray) -> np.ndarray:
    return _finite(loss.evaluate(z, np.full_like(z, target)))


def _of_row(loss: CustomRowLoss, place: int, target: float, z: np.ndarray) -> np.ndarray:
    outputs, targets = np.zeros((len(z), loss.outputs)), np.zeros((len(z), loss.columns))
    outputs[:, place], targets[:, place] = z, target
    return _finite(loss.evaluate(outputs, targets))


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.inf)


def _threshold(loss: UserLoss, pair: tuple[Values, Values]) -> float:
    absent, there = _ordered(loss, pair)
    low, high = absent[1], there[0]
    if low == np.inf or high == -np.inf:
        raise _mixed(loss, absent, there)
    if low == -np.inf and high == np.inf:
        return 0.0
    if not (np.isfinite(low) and np.isfinite(high)):
        return _crossing(loss, pair, low, high)
    size = abs(high - low) or 1.0
    digits = _DIGITS_OF_LEAST - math.floor(math.log10(size))
    return round(low / 2 + high / 2, digits) + 0.0  # and no -0.0


def _ordered(loss: UserLoss, pair: tuple[Values, Values]) -> tuple[Range, Range]:
    """Return where the losses for 0 and for 1 are least; raise where that is not lower for 0."""
    absent, there = (_least(loss, target, values) for target, values in enumerate(pair))
    signs = {_compared(*ends) for ends in zip(absent, there, strict=True)}
    if {1, -1} <= signs:
        raise _mixed(loss, absent, there)
    if -1 in signs:
        raise _refused(
            loss,
            f"is least for target 0 {_at(absent)}, and for target 1 {_at(there)}, which is less",
            "write -z for the output z, so that large outputs mean label 1",
        )
    if 1 not in signs:
        raise _refused(
            loss,
            f"is least for both targets {_at(absent)}, so that no output tells which it was",
            "the loss of target 1 must be least at larger outputs than that of target 0, as in "
            "(z - y)**2 or softplus(z) - y*z",
        )
    return absent, there


def _compared(low: float, high: float) -> int:
    """Return 1 where the second is the larger one, -1 where the first is, 0 where they are near."""
    size = max(1.0, min(abs(low), abs(high)))
    if low == high or (size < np.inf and abs(high - low) <= _NEAR * size):
        return 0
    return 1 if high > low else -1


def _least(loss: UserLoss, target: int, values: Values) -> Range:
    """Return from where to where the loss for a target is least.

    Raises
    ------
    InvalidInput
        It is the same everywhere, or least in places that are apart.
    """
    found = values(_OUTPUTS)
    _check_learns(loss, target, found[np.isfinite(found)])
    places, least = _minima(values, found)
    size = _size(found - least, _ROUNDED * abs(least))
    ratio = min(0.2, max(1e-9, _ROUNDED * abs(least) / size) ** (1 / 3))
    levels = [least + size * ratio**power for power in (1, 2, 3)]
    places = places[values(places) <= levels[-1]]
    low, high = float(places.min()), float(places.max())
    if (found[(low < _OUTPUTS) & (high > _OUTPUTS)] > levels[1]).any():
        raise _refused(
            loss,
            f"is least for target {target} at the output {_number(low)} as at {_number(high)}, and "
            "not between them, so that label 1 is not what is above some output",
            "give one that is least in one place, such as softplus(z) - y*z or (z - y)**2",
        )
    for up in (False, True):
        if _goes_on(values, found, levels, up):
            return (np.inf, np.inf) if up else (-np.inf, -np.inf)
    level = least + _ROUNDED * abs(least)
    low, high = _edge(values, found, level, low, False), _edge(values, found, level, high, True)
    middle = low / 2 + high / 2
    narrow = high - low < _WIDENED * max(1.0, abs(middle))
    return (middle, middle) if narrow else (low, high)


def _minima(values: Values, found: np.ndarray) -> tuple[np.ndarray, float]:
    """Return outputs at which a loss may be least, which are between some others, and its least."""
    beside = np.concatenate([[np.inf], found, [np.inf]])
    before, after = beside[:-2], beside[2:]
    chosen = np.isfinite(found) & (found <= before) & (found <= after)
    chosen = np.flatnonzero(chosen & ((found < before) | (found < after)))
    low = _OUTPUTS[np.maximum(chosen - 1, 0)]
    high = _OUTPUTS[np.minimum(chosen + 1, len(_OUTPUTS) - 1)]
    for _ in range(_TIMES):
        outputs = low + (high - low) * _PARTS[:, None]
        best = values(outputs.ravel()).reshape(outputs.shape).argmin(axis=0)
        ends = np.maximum(best - 1, 0), np.minimum(best + 1, len(_PARTS) - 1)
        low, high = (np.take_along_axis(outputs, end[None], 0)[0] for end in ends)
    places = np.concatenate([_OUTPUTS[chosen], low / 2 + high / 2])
    return places, float(values(places).min())


def _size(above: np.ndarray, rounding: float) -> float:
    """Return how far a loss is above its least value, at the smallest outputs where it is so."""
    most = 0.0
    for largest in np.geomspace(1.0, _LARGEST, 7):
        near = above[(np.abs(_OUTPUTS) <= largest) & np.isfinite(above)]
        most = float(near.max(initial=0.0))
        if most > 1000 * rounding:
            break
    return most


def _goes_on(values: Values, found: np.ndarray, levels: list[float], up: bool) -> bool:
    """Return whether a loss becomes smaller as long as outputs become larger, or smaller."""
    finite = np.flatnonzero(np.isfinite(found))
    end = float(_OUTPUTS[finite[-1 if up else 0]])
    if values(np.array([end]))[0] > levels[-1]:
        return False
    first, second, last = (_edge(values, found, level, end, not up) for level in levels)
    if (last if up else -last) >= _LARGEST / 2:
        return True
    return abs(last - second) > _SLOWER * abs(second - first)


def _edge(values: Values, found: np.ndarray, level: float, start: float, up: bool) -> float:
    """Return up to where from an output on a loss is at most `level`; infinity: everywhere."""
    larger = found > level
    beyond = _OUTPUTS[larger & (start < _OUTPUTS if up else start > _OUTPUTS)]
    if not len(beyond):
        return np.inf if up else -np.inf
    other = float(beyond[0] if up else beyond[-1])
    inner = _OUTPUTS[(_OUTPUTS < other) if up else (_OUTPUTS > other)]
    nearest = float(inner[-1] if up else inner[0])
    return _bisected(
        lambda z: values(z) <= level, max(start, nearest) if up else min(start, nearest), other
    )


def _crossing(loss: UserLoss, pair: tuple[Values, Values], low: float, high: float) -> float:
    """Return where both losses are the same, of which one is least at an infinite output."""
    target, best = (0, low) if np.isfinite(low) else (1, high)
    outputs = np.union1d(_OUTPUTS[(low <= _OUTPUTS) & (high >= _OUTPUTS)], [best])
    signs = _signs(pair, outputs)
    if signs[outputs == best] != (1, -1)[target]:
        least = [float(values(np.array([best]))[0]) for values in pair]
        raise _refused(
            loss,
            f"is least for target {target} at the output {_number(best)}, where that for target "
            f"{1 - target} is no larger ({least[1 - target]:g}, and {least[target]:g} for "
            f"{target}), so that a row which is learned is taken for label {1 - target}",
            "let the loss have the same least value for both targets, such as 0, by a term of y "
            "alone",
        )
    absent, there = (outputs[signs == sign] for sign in (1, -1))
    if not (len(absent) and len(there)):
        raise _refused(
            loss,
            f"is at no output smaller for target {1 - target} than for target {target}",
            "let the loss have the same least value for both targets, such as 0, by a term of y "
            "alone",
        )
    if absent.max() > there.min():
        raise _refused(
            loss,
            f"is smaller for target 1 at the output {there.min():g}, and for target 0 at the "
            f"larger one {absent.max():g}, so that label 1 is not what is above some output",
            "give one that is, such as softplus(z) - y*z or (z - y)**2",
        )
    start = _bisected(lambda z: _signs(pair, z) == 1, absent.max(), there.min())
    end = _bisected(lambda z: _signs(pair, z) != -1, start, there.min())
    middle = start / 2 + end / 2  # of outputs at which both losses are the same
    return float(f"{middle:.{_DIGITS}g}") if abs(middle) > 10.0**-_DIGITS else 0.0


def _signs(pair: tuple[Values, Values], z: np.ndarray) -> np.ndarray:
    """Return 1 where the loss is smaller for target 0, -1 where for 1; 0: neither, or not known."""
    absent, there = (values(z) for values in pair)
    with np.errstate(all="ignore"):
        difference, size = there - absent, np.maximum(np.abs(there), np.abs(absent))
        known = (np.abs(difference) > _ROUNDED * size) | np.isinf(difference)
        return np.where(known & ~np.isnan(difference), np.sign(difference), 0.0)


def _bisected(holds: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> float:
    """Return up to where something holds that does at `low`, or just before, and not at `high`."""
    for _ in range(_TIMES):
        outputs = low + (high - low) * _PARTS
        ended = ~holds(outputs)
        ended[-1] = True
        last = max(1, int(ended.argmax()))
        low, high = outputs[last - 1], outputs[last]
    return float(low)


def _check_learns(loss: UserLoss, target: int, finite: np.ndarray) -> None:
    """Raise where the loss for a target is the same at every output."""
    if not len(finite):
        raise _refused(
            loss,
            f"is NaN or infinite for target {target} at every output",
            "give one that is finite where it is small",
        )
    if np.ptp(finite) <= _ROUNDED * np.abs(finite).max():
        raise _refused(
            loss,
            f"is the same at every output for target {target}, from which nothing can be learned",
            "of targets -1 and 1 write 2*y - 1 for y: a margin is (2*y - 1)*z",
        )


def _number(output: float) -> str:
    return f"{round(output, 6) + 0.0:.6g}"


def _at(least: Range) -> str:
    """Return in words where a loss is least."""
    low, high = map(_number, least)
    if np.isinf(least[0]) and least[0] == least[1]:
        return "the larger the output is" if least[0] > 0 else "the smaller the output is"
    return f"at the output {low}" if low == high else f"at outputs from {low} to {high}"


def _mixed(loss: UserLoss, absent: Range, there: Range) -> InvalidInput:
    return _refused(
        loss,
        f"is least for target 0 {_at(absent)}, and for target 1 {_at(there)}, so that label 1 is "
        "not what is above some output",
        "give one that is least at larger outputs for target 1, such as softplus(z) - y*z or "
        "(z - y)**2",
    )


def _refused(loss: UserLoss, problem: str, remedy: str) -> InvalidInput:
    return InvalidInput(
        "the targets of a classifier's user-defined loss are 0 and 1, but "
        f"{loss!r:.200} {problem}; {remedy}"
    )
