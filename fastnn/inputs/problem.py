"""What an engine is asked to do, and what it answers: the values every target shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from fastnn.errors import (
    Diverged,
    InvalidInput,
    check_own,
    number,
    shown,
    true_or_false,
    whole,
)
from fastnn.layers import Layer, rule_of
from fastnn.losses import BY_NAME, KINDS
from fastnn.network import BatchNorm, Dense, Network
from fastnn.optimizers import OPTIMIZERS, Optimizer, refusal
from fastnn.rules.ends import GOING
from fastnn.rules.last_layers import outputs_of, outputs_of_side
from fastnn.rules.table import LOSSES, activation_row, loss_row, unknown_name

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyLoss
    from fastnn.losses import ParametricLoss

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
DtypeName = Literal["float32", "float64"]
Dtype = DtypeName | np.dtype[Any] | type[float] | type[np.floating[Any]]  # what is taken for one
Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Problem:
    """One training problem, whole and checked: everything an engine needs but the data.

    minimise  sum_r w_r l_r / sum_r w_r  +  l1 sum|W| + l2/2 sum W^2
    by minibatches of `batch_size` rows, l_r being loss(network(x_r), y_r). The penalty acts on
    the weights W of Dense layers, and on nothing else.

    Sums are over all n rows. The gradient of a batch of m rows is sum_r w_r dl_r / (m w), where w =
    sum_r w_r / n is the mean weight of all rows, so that its mean over equal batches is the
    gradient of that objective, whatever rows fall together (Bottou, Curtis & Nocedal 2018, section
    3). A last batch of fewer rows is divided by its own number of rows; one whose weights
    are all 0 is a step with the gradient of the penalty alone. Of a loss that is the mean of l_rj
    over the outputs j of a row, every target may have a weight: then the objective is sum_rj w_rj
    l_rj / sum_rj w_rj, and the gradient of a batch sum_rj w_rj dl_rj / (m outputs w), w being the
    mean of all w_rj. With w_rj = w_r that is the same.

    That of l2 is in the gradient; but a step of plain SGD, of which it takes the share rate l2 of
    each weight, takes at most all: l2 counts as min(l2, 1 / rate) there, so that no weight turns
    round and grows by its own penalty. That of l1 follows the optimizer's step, as a soft threshold
    (forward-backward splitting; Duchi & Singer 2009, section 3; Langford et al. 2009):

    w = sign(w) max(|w| - rate l1, 0),  rate being the learning rate of the step and the layer.

    So a weight that would cross 0 stops there, and weights of no use become exactly 0; any other
    one moves by the textbook's rate l1 sign(w). An optimizer scales the gradient and not this
    threshold, as with the decoupled decay of `AdamW`. Plain SGD minimises what is written above
    (the Lasso, Tibshirani 1996, where the network is linear); with momentum mu, by which each
    gradient counts 1 / (1 - mu) times, l1 acts like (1 - mu) l1. The steps of `Adam` and others
    that divide by the gradient's size are at most about the rate, however small that is: there l1
    is measured against 1, and it takes some 0.1 to have zeros. Those of `Adagrad` become smaller
    from step to step, so that with it any l1 sets more and more weights to 0. A weight leaves 0 for
    a while where one batch's gradient is above l1: the larger the batches, the more zeros stay.

    Parameters
    ----------
    network
        The layers.
    loss
        A name from `fastnn.rules.table.LOSSES`, one of `fastnn.losses`, or a user-defined one: a
        function (outputs, targets) of the vectors of a row, by the operators and functions of
        `fastnn.graph`. What it computes number by number, as ``lambda z, y: (z - y) ** 4`` does, is
        the loss of each output, and the loss of a row its mean over them; what it computes of the
        whole row, as ``lambda z, y: 0.5 * (z[1] + (y[0] - z[0])**2 * exp(-z[1]))`` does, is the
        loss of the row, see `fastnn.graph.vectors`. Targets are numbers, as for mse. An
        `Expression` will do too, of one output and its target, which is called y. The attribute is
        then a `fastnn.graph.custom.CustomLoss` or `CustomRowLoss`.
    optimizer
        One of `fastnn.optimizers.OPTIMIZERS`.
    batch_size
        Rows in a minibatch, at least 1; the last one of an epoch may have fewer.
    l1, l2
        Penalties of the layers that have none of their own, at least 0. max_norm comes after them.
    dtype
        Of parameters and arithmetic: float32 or float64, given as a dtype or by name.
    seed
        From 0 up to 2**63 - 1; order, dropout and initial weights follow from it.
    clip_value, clip_norm
        Limits of the gradient g, with that of l2 and without l1, before the update rule sees it;
        above 0, or None. First every number of it is brought into [-clip_value, clip_value]; then
        g *= min(1, clip_norm / (norm + 1e-6)), norm being the 2-norm of the gradient of all
        parameters together (Pascanu et al. 2013, algorithm 1, with the 1e-6 of PyTorch's
        clip_grad_norm_). NaN or infinity in g makes all of it NaN there.
    precision
        How products of matrices are computed: "float32" in the dtype itself, float64 too; "tf32" or
        "bfloat16" from factors rounded to 11 or 8 bits of mantissa, summed in float32. These two
        are for dtype float32, in which everything is kept: CUDA has both, on tensor cores, the CPU
        bfloat16 where the processor has AVX512_BF16 or AMX, and NumPy both, slowly.
    ignore_nan
        Whether a target may be NaN: it is missing then, and left out, as if its weight were 0, from
        loss, gradient and accuracy. For losses that are means over the outputs of a row.
    label_smoothing
        For loss softmax_cross_entropy, from 0 up to but not 1: a label y of K classes stands for
        the probabilities (1 - s) [y = k] + s / K, and soft labels t for (1 - s) t + s / K (Szegedy
        et al. 2016, section 7; as PyTorch's). The losses of validation and `evaluate` have it too.

    Raises
    ------
    InvalidInput
        A setting out of range, an unknown name, a loss or an optimizer of a class derived from
        fastnn's, `ignore_nan` with a loss of the whole row, a loss that does not fit the last layer
        or cannot be traced, or formulas that are too long together.
    """

    network: Network
    loss: AnyLoss | ParametricLoss
    optimizer: Optimizer
    batch_size: int
    l1: float
    l2: float
    dtype: np.dtype[Any]
    seed: int
    clip_value: float | None = None
    clip_norm: float | None = None
    precision: Precision = "float32"
    ignore_nan: bool = False
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Check every setting, and that they go together."""
        self._check_settings()
        self._check_margin()

    def _check_settings(self) -> None:
        """Raise `InvalidInput` for a setting out of range, or one that no version has taken."""
        if not isinstance(self.network, Network):
            raise InvalidInput(
                f"network must be a Network, not {shown(self.network)}; one has a number of inputs "
                "and a list of layers, as in Network(784, [Dense(10)])"
            )
        if _names_optimizer(self.loss):
            raise InvalidInput(
                f"loss comes before the optimizer, and {shown(self.loss)} is none; give both by "
                'name: Trainer(network, loss="mse", optimizer=Adam())'
            )
        if isinstance(self.loss, type):
            known = ", ".join(f"{kind.__name__}()" for kind in KINDS)
            name = self.loss.__name__
            instead = f"write {name}()" if self.loss in KINDS else f"one is {known}"
            raise InvalidInput(f"loss must not be a class, and {name} is one; {instead}")
        if not isinstance(self.loss, KINDS):
            loss = rule_of("loss", self.loss, LOSSES, self.network.outputs)
            object.__setattr__(self, "loss", loss)
        check_own(self.loss, KINDS, "loss")
        check_own(self.optimizer, OPTIMIZERS, "optimizer")
        if type(self.optimizer) not in OPTIMIZERS:
            raise refusal(self.optimizer)
        if isinstance(self.batch_size, str) or self.batch_size is None:
            raise InvalidInput(
                f"batch_size must be a whole number of at least 1, not {shown(self.batch_size)}; "
                "for one update an epoch from all rows (batch gradient descent), give len(X)"
            )
        object.__setattr__(self, "batch_size", whole(self.batch_size, "batch_size", 1))
        object.__setattr__(self, "l1", number(self.l1, "l1", 0.0))
        object.__setattr__(self, "l2", number(self.l2, "l2", 0.0))
        object.__setattr__(self, "dtype", check_dtype(self.dtype))
        object.__setattr__(self, "seed", whole(self.seed, "seed", 0, math.inf))
        if self.seed >= 2**63:
            raise InvalidInput(f"seed must be below 2**63, not {shown(self.seed)}")
        for name in ("clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                limit = number(getattr(self, name), f"{name}, if not None,", 0.0, open_low=True)
                object.__setattr__(self, name, limit)
        smoothing = number(self.label_smoothing, "label_smoothing", 0.0, 1.0, open_high=True)
        object.__setattr__(self, "label_smoothing", smoothing)
        self._check_precision()
        self._check_ignore_nan()
        self._check_last_layer()
        self._check_formulas()
        self._check_rounded()

    @classmethod
    def of_file(cls, settings: dict[str, Any]) -> Problem:
        """Return the problem with the `settings` of a file, which may be one only to predict with.

        Earlier versions trained pairs of a loss and an activation that `__post_init__` refuses, and
        their files are still read; `check_learning` refuses to train on.
        """
        problem = object.__new__(cls)
        for name, value in settings.items():
            object.__setattr__(problem, name, value)
        problem._check_settings()
        return problem

    def changed(self, **settings: Any) -> Problem:
        """Return the problem with other settings, all checked.

        Of a file's problem that may only predict, that holds for all but network and loss.
        """
        if settings.keys() & {"network", "loss"}:
            return replace(self, **settings)
        mine = {each.name: getattr(self, each.name) for each in fields(self)}
        return self.of_file(mine | settings)

    def check_learning(self) -> None:
        """Raise `InvalidInput` where training could teach a layer nothing, whatever the data are.

        Such a network may be made, given parameters, saved, and used for prediction.
        """
        if not any(layer.trainable for layer in self.network.parametric):
            raise InvalidInput(
                "no layer of the network is trainable, so there is nothing to fit; make one Dense "
                "with trainable=True at least, or only predict and evaluate"
            )
        self._check_margin()
        if loss_row(self.loss).name == "huber" and self.loss_alpha == 0:
            raise InvalidInput(
                f"the loss {self.loss!r} is 0 whatever the error is, so that nothing can be "
                "learned from it; give it a delta above 0"
            )
        layers, learns = self.network.parametric, False
        for position, layer in enumerate(layers):
            units, learns = self.network.widths[position][1], learns or layer.trainable
            if not learns or not is_flat(layer, units):
                continue
            if activation_row(layer.activation).flat:
                what = "whose derivative is 0 everywhere"
            else:
                what = "which on one unit is 1 whatever comes in"
            remedy = "use one with a slope, such as 'sigmoid' or 'tanh'"
            if layer is layers[-1]:
                remedy = f"make it Dense({units}), or one with a slope, such as 'sigmoid'"
            raise InvalidInput(
                f"{self.network.names[position]} has activation {layer.activation!r}, {what}, so "
                f"that neither it nor a layer before it can learn; {remedy}. As it is, the network "
                "can only predict, with parameters from set_parameters"
            )

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

    def l2_of_step(self, layer: int, rate: float | None) -> float:
        """Return l2 of a layer in a step of learning rate `rate`; None: of the objective.

        Plain SGD takes rate l2 of each weight away, and at most all: min(l2, 1 / rate).
        """
        l2 = self.penalties[layer][1]
        if rate is None or self.optimizer.rule not in ("sgd", "averaged_sgd"):
            return l2
        own = rate * self.network.parametric[layer].rate_factor
        return 1.0 / own if own * l2 > 1.0 else l2

    def takes_data_of(self, other: Problem) -> bool:
        """Return whether data that were checked for another problem are right for this one."""
        mine, its = (
            (
                each.loss,
                each.target_columns,
                each.network.inputs,
                each.network.outputs,
                each.dtype,
                each.ignore_nan,
            )  # fmt: skip
            for each in (self, other)
        )
        return mine == its

    @property
    def clips(self) -> bool:
        """Whether the gradient has a limit."""
        return self.clip_value is not None or self.clip_norm is not None

    @property
    def textbook(self) -> bool:
        """Whether it is one Dense, trained by plain SGD on one row after another."""
        network = self.network
        return (
            self.batch_size == 1
            and network.widths == network.shapes
            and len(network.shapes) == 1
            and network.dense[0].activation == "identity"
            and network.dense[0].max_norm is None
            and not any(network.dropouts)
            and not self.clips
            and self.optimizer.rule in ("sgd", "averaged_sgd")
        )

    @property
    def apart(self) -> bool:
        """Whether it is that, and each output a model of its own."""
        return self.textbook and not loss_row(self.loss).rowwise

    @property
    def target_columns(self) -> int:
        """How many numbers a row of targets has, if they are numbers."""
        return loss_row(self.loss).columns or self.network.outputs

    @property
    def loss_alpha(self) -> float:
        """The parameter of the loss, as `fastnn.rules.losses` has it: a quantile, the smoothing."""
        if loss_row(self.loss).name == "softmax_cross_entropy":
            return self.label_smoothing
        loss = BY_NAME.get(self.loss) if isinstance(self.loss, str) else self.loss
        return loss.alpha if isinstance(loss, KINDS) else 0.0

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

    def _check_ignore_nan(self) -> None:
        """Raise `InvalidInput` where a target cannot be missing."""
        object.__setattr__(self, "ignore_nan", true_or_false(self.ignore_nan, "ignore_nan"))
        row = loss_row(self.loss)
        if self.ignore_nan and (row.rowwise or row.targets == "classes"):
            raise InvalidInput(
                f"ignore_nan=True leaves out single targets, but {row.name} is a loss of the whole "
                "row; leave ignore_nan=False, and drop the rows without a target, or fill those in "
                "with any that is possible and give these rows sample_weight 0"
            )

    def _check_formulas(self) -> None:
        """Raise `InvalidInput` where user-defined rules would take minutes to compile."""
        rules = [self.loss, *(layer.activation for layer in self.network.parametric)]
        formulas: list[Any] = [rule for rule in rules if not isinstance(rule, (str, *KINDS))]
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
            if not isinstance(value, float) or _TINY < abs(value) < _HUGE:
                continue
            if value == 0.0 and not name.startswith("epsilon"):
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
            inside = _INSIDE[loss_row(self.loss).name]
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
        needed = getattr(self.loss, "outputs", last.units)
        if needed != last.units:
            raise InvalidInput(
                f"the loss {self.loss!r} was made for a network of {needed} outputs, but this one "
                f"has {last.units}; give the function itself, which is then made for this one"
            )
        if self.label_smoothing and self.loss != "softmax_cross_entropy":
            raise InvalidInput(
                f"label_smoothing {self.label_smoothing} is for loss 'softmax_cross_entropy', not "
                f"{self.loss!r}; leave label_smoothing=0, or smooth the targets before fit"
            )

    def _check_margin(self) -> None:
        """Raise `InvalidInput` where outputs cannot have the signs that the loss is about."""
        last = self.network.dense[-1]
        name: Any = last.activation
        if not isinstance(self.loss, (str, *KINDS)):
            return
        if loss_row(self.loss).targets != "binary" or loss_row(self.loss).from_logits:
            return
        if isinstance(name, str):
            outputs = outputs_of(name, last.alpha, loss_row(self.loss).name)
        else:
            outputs = outputs_of_side(name.side)
        if not outputs.signs:
            raise InvalidInput(
                f"loss {self.loss!r} tells classes apart by the sign of an output, but the last "
                f"layer has activation {name!r}, whose outputs {outputs.are}; make it "
                f"Dense({last.units}), of which predict gives 1 for outputs of 0 or more, else 0"
            )


def is_flat(layer: Layer, units: int) -> bool:
    """Return whether what a layer gives does not change with its parameters, but for jumps.

    Softmax of one unit is 1 throughout.
    """
    row = activation_row(layer.activation)
    return row.flat or (row.rowwise and units == 1)


class EpochResult(NamedTuple):
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
    penalty
        l1 sum|W| + l2/2 sum W^2 of all Dense layers after the epoch; None where the target does not
        tell it, which `penalty_of` then does.
    measured
        What was measured after the epoch, by the names of the history's series.
    ends
        Where each output ends for itself, what `fastnn.rules.ends` describes, after the epoch; the
        loss of those at rest is that of their last. None where they end together.
    """

    loss: float
    bad_step: int | None
    penalty: float | None = None
    measured: Mapping[str, float] = MappingProxyType({})
    ends: np.ndarray | None = None

    @property
    def all_rest(self) -> bool:
        """Whether no output is trained after the epoch, since each has come to its end."""
        return self.ends is not None and not self.ends[GOING]

    @property
    def is_last(self) -> bool:
        """Whether an engine does no further epoch in a call: it failed, or all are at rest."""
        return self.bad_step is not None or self.all_rest

    def of(self, series: str) -> float:
        """Return what the history will have of this epoch in a series; NaN where it has nothing."""
        return self.loss if series == "loss" else self.measured.get(series, math.nan)


def _names_optimizer(value: Any) -> bool:
    """Return whether what is given as a loss is an optimizer, or the name of one."""
    names = {kind.__name__.lower() for kind in OPTIMIZERS}
    if isinstance(value, type):
        return issubclass(value, Optimizer)
    return isinstance(value, Optimizer) or isinstance(value, str) and value.lower() in names


def penalty_of(problem: Problem, parameters: Sequence[tuple[np.ndarray, ...]]) -> float:
    """Return l1 sum|W| + l2/2 sum W^2 over all Dense layers, in float64."""
    total = 0.0
    with np.errstate(over="ignore"):  # an infinite penalty is one that no float64 holds
        for (l1, l2), arrays in zip(problem.penalties, parameters, strict=True):
            if l1:
                total += l1 * float(np.sum(np.abs(arrays[0], dtype=np.float64)))
            if l2:
                total += l2 / 2 * float(np.sum(np.square(arrays[0], dtype=np.float64)))
    return total


class DivergedAtOnce(Diverged):
    """The loss of an epoch's first step, before any update in it, was not finite."""


# What stands at the end of an epoch is judged by the next, where that begins.
_TOO_LARGE = (
    ", whose numbers may be too large already: then go back to an earlier copy, or set_parameters"
)


def check_converging(
    result: EpochResult,
    finite: Callable[[], bool],
    rates: np.ndarray,
    epoch: int,
    large: Callable[[], str],
) -> None:
    """Raise `Diverged` where an epoch ended in numbers that are not finite.

    Parameters
    ----------
    result
        What the epoch came to.
    finite
        Returns whether parameters and optimizer state are finite; called only where the loss is.
    rates
        The learning rate of each step, float64 (steps,).
    epoch
        The epoch's number.
    large
        Says which of X and y is large, as `fastnn.inputs.magnitudes.large_numbers` does; asked only
        where training diverged.
    """
    if result.bad_step is not None:
        step, what = result.bad_step, f"the loss became {result.loss}"
    elif not finite():
        step, what = len(rates) - 1, "a parameter or the optimizer's state was not finite after"
    else:
        return
    at_once, cause = result.bad_step == 0, large()
    if epoch == 0 and at_once:
        raise DivergedAtOnce(
            f"training diverged at once: the loss was {result.loss} before any update; "
            f"{f'{cause}; also' if cause else 'X and y are not large, so'} see that no parameter "
            "or alpha is, and that an activation or a loss of your own is finite where it is used "
            "(an index that no output has gives NaN). The trainer is as it was before",
            epoch,
            step,
            cause,
        )
    kind, already = (DivergedAtOnce, _TOO_LARGE) if at_once else (Diverged, "")
    raise kind(
        f"training diverged in epoch {epoch}, step {step} (both counted from 0): {what}; "
        f"{f'{cause}; or ' if cause else ''}lower the learning rate, which was {rates[step]:g}; an "
        "alpha, l1, l2 or weight_decay can be too large as well. The trainer is as the last good "
        f"epoch left it{already}",
        epoch,
        step,
        cause,
    )


# What losses that take raw outputs apply to them.
_INSIDE = {
    "softmax_cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "poisson": "exponential",
}


def check_precision(precision: Any) -> None:
    """Raise `InvalidInput` where `precision` is none of `PRECISIONS`."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)


_TINY, _HUGE = 1e-30, 1e30  # between which numbers are what they are in float32, too


def check_dtype(dtype: Any) -> np.dtype[Any]:
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
