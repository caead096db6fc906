"""What an engine is asked to do, and what it answers: the values every target shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import Diverged, InvalidInput, number, shown, whole
from fastnn.layers import rule_of
from fastnn.network import BatchNorm, Dense, Network
from fastnn.optimizers import OPTIMIZERS, Optimizer
from fastnn.rules.table import LOSSES, loss_row, unknown_name

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyLoss

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Problem:
    """One training problem, whole and checked: everything an engine needs but the data.

    minimise  sum_r w_r loss(network(x_r), y_r) / sum_r w_r  +  l1 sum|W| + l2/2 sum W^2
    by minibatches of `batch_size` rows. The penalty acts on weights and on nothing else.

    Parameters
    ----------
    network
        The layers.
    loss
        A name from `fastnn.rules.table.LOSSES`, or one of your own: a function (output, target) of
        two numbers that `fastnn.graph.trace` can trace, such as ``lambda z, y: (z - y) ** 4``, or
        an `Expression` whose target is called y. The loss of a row is its mean over the outputs,
        and targets are numbers, as for mse. Of those the attribute is a
        `fastnn.graph.custom.CustomLoss`.
    optimizer
        One of `fastnn.optimizers.OPTIMIZERS`.
    batch_size
        Rows in a minibatch, at least 1; the last one of an epoch may have fewer.
    l1, l2
        Penalties of the layers that have none of their own, at least 0.
    dtype
        Of parameters and arithmetic: float32 or float64, given as a dtype or by name.
    seed
        From 0 up to 2**63 - 1; order, dropout and initial weights follow from it.
    clip_value, clip_norm
        Limits of the gradient g, penalty included, before the update rule sees it; above 0, or
        None. First every number of it is brought into [-clip_value, clip_value]; then
        g *= min(1, clip_norm / (norm + 1e-6)), norm being the 2-norm of the gradient of all
        parameters together (Pascanu et al. 2013, algorithm 1, with the 1e-6 of PyTorch's
        clip_grad_norm_). NaN or infinity in g makes all of it NaN there.
    precision
        How products of matrices are computed: "float32" in the dtype itself, float64 too; "tf32" or
        "bfloat16" from factors rounded to 11 or 8 bits of mantissa, summed in float32, on tensor
        cores. These two are for dtype float32, in which everything is kept, and for CUDA alone.

    Raises
    ------
    InvalidInput
        A setting out of range, an unknown name, a loss that does not fit the last layer or cannot
        be traced, or formulas that are too long together.
    """

    network: Network
    loss: AnyLoss
    optimizer: Optimizer
    batch_size: int
    l1: float
    l2: float
    dtype: np.dtype[Any]
    seed: int
    clip_value: float | None = None
    clip_norm: float | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Check every setting, and that they go together."""
        if not isinstance(self.network, Network):
            raise InvalidInput(f"network must be a Network, not {shown(self.network)}")
        object.__setattr__(self, "loss", rule_of("loss", self.loss, LOSSES))
        if not isinstance(self.optimizer, Optimizer):
            known = ", ".join(kind.__name__ for kind in OPTIMIZERS)
            raise InvalidInput(
                f"optimizer must be one of {known}, such as SGD(0.1), not {shown(self.optimizer)}"
            )
        object.__setattr__(self, "batch_size", whole(self.batch_size, "batch_size", 1))
        object.__setattr__(self, "l1", number(self.l1, "l1", 0.0))
        object.__setattr__(self, "l2", number(self.l2, "l2", 0.0))
        object.__setattr__(self, "dtype", _floating(self.dtype))
        object.__setattr__(self, "seed", whole(self.seed, "seed", 0, math.inf))
        if self.seed >= 2**63:
            raise InvalidInput(f"seed must be below 2**63, not {shown(self.seed)}")
        for name in ("clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                limit = number(getattr(self, name), f"{name}, if not None,", 0.0, open_low=True)
                object.__setattr__(self, name, limit)
        self._check_precision()
        self._check_last_layer()
        self._check_formulas()
        self._check_rounded()

    @property
    def penalties(self) -> tuple[tuple[float, float], ...]:
        """(l1, l2) of each layer with parameters: a Dense's own, or those for all Dense layers."""
        return tuple(
            (
                self.l1 if layer.l1 is None else layer.l1,
                self.l2 if layer.l2 is None else layer.l2,
            )
            if isinstance(layer, Dense)
            else (0.0, 0.0)
            for layer in self.network.parametric
        )

    @property
    def clips(self) -> bool:
        """Whether the gradient has a limit."""
        return self.clip_value is not None or self.clip_norm is not None

    def check_batches(self, rows: int) -> None:
        """Raise `InvalidInput` where `rows` rows give a minibatch that is too small to train on.

        That is one of a single row, of which `BatchNorm` has no variance.
        """
        size = min(self.batch_size, rows)
        if size > 1 and rows % size != 1:
            return
        if not any(isinstance(layer, BatchNorm) for layer in self.network.parametric):
            return
        first = 32 if size == 1 else max(2, size - 1)
        near = [other for other in range(first, first + 9) if rows % other != 1]
        remedy = f"take another batch_size, such as {near[0]}" if near else "leave out one row"
        if rows == 1:
            remedy = "give it more rows"
        what = "batch_size=1" if size == 1 else f"{rows} rows in batches of {self.batch_size}"
        raise InvalidInput(
            f"BatchNorm needs at least 2 rows in every batch, but {what} gives one of a single "
            f"row, which has no variance; {remedy}, or use LayerNorm"
        )

    def _check_precision(self) -> None:
        """Raise `InvalidInput` for a precision that is unknown or no precision of the dtype."""
        check_precision(self.precision)
        if self.precision != "float32" and self.dtype != DTYPES[0]:
            raise InvalidInput(
                f"precision {self.precision!r} is for dtype 'float32', not {self.dtype.name!r}; "
                "leave precision='float32', which computes in the dtype"
            )

    def _check_formulas(self) -> None:
        """Raise `InvalidInput` where user-defined rules would take minutes to compile."""
        rules = [self.loss, *(layer.activation for layer in self.network.parametric)]
        formulas: list[Any] = [rule for rule in rules if not isinstance(rule, str)]
        if formulas:
            from fastnn.graph.custom import check_together

            check_together(formulas)

    def _check_rounded(self) -> None:
        """Raise `InvalidInput` for a setting that is infinite in the dtype, or an epsilon of 0."""
        settings = [("l1", self.l1), ("l2", self.l2), *vars(self.optimizer).items()]
        for layer, called in zip(self.network.parametric, self.network.names, strict=True):
            settings += [
                (f"{name} of {called}", getattr(layer, name, None))
                for name in ("alpha", "l1", "l2", "epsilon")
            ]
        for name, value in settings:
            if not isinstance(value, float):
                continue
            with np.errstate(all="ignore"):
                rounded = self.dtype.type(value)
            if np.isinf(rounded) or (name.startswith("epsilon") and rounded == 0):
                need = "finite" if rounded else "above 0"
                remedy = ", or use dtype='float64'" if self.dtype == DTYPES[0] else ""
                raise InvalidInput(
                    f"{name} must be {need} in {self.dtype.name}, not {value!r}; "
                    f"make it {'smaller' if rounded else 'larger'}{remedy}"
                )

    def _check_last_layer(self) -> None:
        """Raise `InvalidInput` where the loss cannot take what the last layer gives."""
        last = self.network.dense[-1]
        if loss_row(self.loss).from_logits and last.activation != "identity":
            inside = "softmax" if self.loss == "softmax_cross_entropy" else "sigmoid"
            raise InvalidInput(
                f"loss {self.loss!r} takes raw outputs and applies the {inside} itself, but the"
                f" last layer has activation {last.activation!r}; make it Dense({last.units})"
            )
        if self.loss == "softmax_cross_entropy" and last.units < 2:
            raise InvalidInput(
                f"loss 'softmax_cross_entropy' needs one output a class, at least 2, but the last"
                f" layer has {last.units}; for two classes on one output use loss"
                " 'binary_cross_entropy', otherwise give the last Dense one unit a class"
            )


@dataclass(frozen=True)
class EpochResult:
    """What one epoch of training came to.

    Attributes
    ----------
    loss
        sum w_r l_r / sum w_r over the rows of the epoch, each l_r as its own step saw it, before
        that step's update; without penalty; accumulated in float64. NaN or infinite where
        `bad_step` is set.
    bad_step
        The first step whose loss was NaN or infinite, counted from 0 within the epoch, or None.
        Training stopped there, before its update.
    """

    loss: float
    bad_step: int | None


class DivergedAtOnce(Diverged):
    """The loss of an epoch's first step, before any update in it, was not finite."""


def check_converging(
    result: EpochResult, finite: Callable[[], bool], rates: np.ndarray, epoch: int
) -> None:
    """Raise `Diverged` where an epoch ended in numbers that are not finite.

    Parameters
    ----------
    result
        What the epoch came to.
    finite
        Says whether parameters and optimizer state are finite; asked only where the loss is.
    rates
        The learning rate of each step, float64 (steps,).
    epoch
        The epoch's number.
    """
    if result.bad_step is not None:
        step, what = result.bad_step, f"the loss became {result.loss}"
    elif not finite():
        step, what = len(rates) - 1, "a parameter or the optimizer's state was not finite after"
    else:
        return
    at_once = result.bad_step == 0
    if epoch == 0 and at_once:
        raise DivergedAtOnce(
            f"training diverged at once: the loss was {result.loss} before any update; scale the "
            "columns of X to about unit variance, and see that an alpha is not large, and that an "
            "activation or a loss of your own is finite where it is used. The trainer is as it was "
            "before",
            epoch,
            step,
        )
    kind = DivergedAtOnce if at_once else Diverged
    raise kind(
        f"training diverged in epoch {epoch}, step {step} (both counted from 0): {what}; "
        f"lower the learning rate, which was {rates[step]:g}, and scale the columns of X to "
        "about unit variance; an alpha, l1, l2 or weight_decay can be too large as well. The "
        "trainer is as the last good epoch left it",
        epoch,
        step,
    )


def check_precision(precision: Any) -> None:
    """Raise `InvalidInput` where `precision` is none of `PRECISIONS`."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)


def _floating(dtype: Any) -> np.dtype[Any]:
    """Return `dtype` as one of `DTYPES`, or raise `InvalidInput`."""
    found: np.dtype[Any] | None = None
    try:
        # NumPy reads None as float64; here it is a mistake.
        found = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        pass
    if found is None or found not in DTYPES:
        raise InvalidInput(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
    return found
