"""The settings of a trainer: read as attributes, and changed between two calls of `fit`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypedDict, TypeVar, Unpack

import numpy as np

from fastnn.errors import InvalidInput, NotAssignable, TrainerBusy, shown, whole
from fastnn.inputs.parameters import (
    Parameters,
    as_dtype,
    check_size,
    start_slots,
    with_more_outputs,
)
from fastnn.network import Dense, Network
from fastnn.optimizers import OPTIMIZERS, Optimizer
from fastnn.rules.table import loss_row, shares_state, unknown_name, update_row
from fastnn.training.history import History
from fastnn.training.saved_trainer import Model, start
from fastnn.training.trainer_state import Run, Stateful

if TYPE_CHECKING:
    from fastnn.graph.custom import AnyLoss
    from fastnn.inputs.problem import Dtype, Precision, Problem
    from fastnn.losses import ParametricLoss
    from fastnn.schedules import LearningRate
    from fastnn.targets.selection import Target
    from fastnn.training.saved_trainer import OnDivergence


class Settings(TypedDict, total=False):
    """What `Adjustable.set` takes, each as the argument of `fastnn.training.trainer.Trainer`."""

    network: Network
    trainable: Iterable[bool]
    loss: AnyLoss | ParametricLoss
    optimizer: Optimizer
    learning_rate: LearningRate
    batch_size: int
    l1: float
    l2: float
    dtype: Dtype
    clip_value: float | None
    clip_norm: float | None
    precision: Precision
    ignore_nan: bool
    label_smoothing: float
    target: Target
    threads: int | None
    shuffle: bool | int
    on_divergence: OnDivergence
    max_restores: int


SETTINGS = tuple(Settings.__annotations__)
_OF_OPTIMIZERS = {each.name for kind in OPTIMIZERS for each in fields(kind)} - {"learning_rate"}
# What cannot be assigned, and what is done instead.
_WAYS = {
    "seed": "initial weights, order and dropout follow from it: make a new Trainer(..., seed=...)",
    "problem": "its settings are changed with trainer.set(batch_size=...), for one",
    "parameters": "trainer.set_parameters(...) takes others",
    "history": "fit enters epochs in it",
    "epoch": "fit counts it, and trainer.restore(copy) goes back to an earlier one",
    "feature_names": "fit takes them from the first frame that it is given",
    "preparation": "trainer.keep_preparation(values) takes another",
    "step": "fit counts it, and trainer.set_parameters(...) begins anew",
    "remaining": "fit counts it: pass fit the epochs that are wanted",
    "communicator": "it is assigned: trainer.communicator = MPI.COMM_WORLD",
    "synchronise": "it is assigned: trainer.synchronise = 8",
    "lr": "trainer.set(learning_rate=...) changes the rate",
    "random_state": "a trainer's is its seed: make a new Trainer(..., seed=...)",
}
# And of what belongs elsewhere: to layers, and to fit.
_OF_LAYERS = {each.name for each in fields(Dense)} - {"l1", "l2", "trainable", "rate_factor"}
_WAYS |= {
    name: "it is a setting of layers: trainer.set(network=...) takes a network with others"
    for name in (*_OF_LAYERS, "dropout")
}
_WAYS |= {
    name: "it is an argument of fit"
    for name in ("epochs", "validation_data", "sample_weight", "callbacks", "restarts", "metrics")
}

Own = TypeVar("Own", bound=Stateful)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def between_fits(
    method: Callable[Concatenate[Own, Arguments], Result],
) -> Callable[Concatenate[Own, Arguments], Result]:
    """Have a method raise `TrainerBusy` while the trainer is in `fit`, and keep `fit` out."""

    @wraps(method)
    def alone(trainer: Own, /, *args: Arguments.args, **settings: Arguments.kwargs) -> Result:
        this_call = object()
        if not trainer._fitting.take(this_call):
            raise TrainerBusy(
                f"this trainer is in fit, in another thread or in the call that this callback is "
                f"called from, and {method.__name__} goes between two calls of fit; let a callback "
                "return True to end this one, or have it assign trainer.rate_factor"
            )
        try:
            trainer._refuse_within()
            with trainer._using:
                return method(trainer, *args, **settings)
        finally:
            trainer._fitting.give_back()

    return alone


class Adjustable(Stateful):
    """A `Stateful` whose settings are read as attributes, and changed whole or not at all."""

    # Whether nothing can be assigned that the class does not have; a user-defined subclass is open.
    _closed: ClassVar[bool] = True

    @property
    def network(self) -> Network:
        """The layers."""
        return self.problem.network

    @property
    def loss(self) -> AnyLoss | ParametricLoss:
        """The name of the loss, or a user-defined one."""
        return self.problem.loss

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, with its learning rate."""
        return self.problem.optimizer

    @property
    def learning_rate(self) -> LearningRate:
        """The optimizer's learning rate: a number, a schedule or a function of the step."""
        return self.problem.optimizer.learning_rate

    @property
    def trainable(self) -> tuple[bool, ...]:
        """Whether each Dense layer is trained."""
        return tuple(layer.trainable for layer in self.problem.network.dense)

    @property
    def batch_size(self) -> int:
        """Rows in a minibatch."""
        return self.problem.batch_size

    @property
    def l1(self) -> float:
        """Penalty l1 sum|W| of layers that have none of their own."""
        return self.problem.l1

    @property
    def l2(self) -> float:
        """Penalty l2/2 sum W^2 of layers that have none of their own."""
        return self.problem.l2

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters and arithmetic."""
        return self.problem.dtype

    @property
    def seed(self) -> int:
        """What initial weights, order and dropout follow from."""
        return self.problem.seed

    @property
    def clip_value(self) -> float | None:
        """Limit of every number of the gradient."""
        return self.problem.clip_value

    @property
    def clip_norm(self) -> float | None:
        """Limit of the gradient's norm."""
        return self.problem.clip_norm

    @property
    def precision(self) -> Precision:
        """How products of matrices are computed."""
        return self.problem.precision

    @property
    def ignore_nan(self) -> bool:
        """Whether a target may be NaN, which leaves it out."""
        return self.problem.ignore_nan

    @property
    def label_smoothing(self) -> float:
        """How much of a label goes to all classes alike."""
        return self.problem.label_smoothing

    @property
    def communicator(self) -> Any:
        """The communicator whose processes train together, or None; assigned between two fits.

        Copies, pickles and files do not have it; they keep `synchronise`.
        """
        return self._communicator

    @communicator.setter
    def communicator(self, communicator: Any) -> None:
        self._join_between(communicator, self.synchronise)

    @property
    def synchronise(self) -> Any:
        """After how many steps the processes' parameters are averaged; "step": gradients are."""
        return self._state.run.synchronise

    @synchronise.setter
    def synchronise(self, synchronise: Any) -> None:
        self._join_between(self._communicator, synchronise)

    @between_fits
    def _join_between(self, communicator: Any, synchronise: Any) -> None:
        self._join(communicator, synchronise)

    @between_fits
    def set(self, **settings: Unpack[Settings]) -> str:
        """Change settings between two calls of `fit`: all of these, or none where one is refused.

        Parameters, `epoch` and `history` stay, and so do predictions, but for another network's or
        dtype's. The optimizer's state, and `step`, which corrects Adam's bias and which schedules
        count by, stay where the state means the same to the new optimizer: with the same update
        rule, whatever its rate and constants; between momentum and Nesterov; among Adam, AdamW and
        Nadam; but not where one of the two has an `ema` and the other has none. Otherwise both
        start anew, as in `set_parameters`; an `AveragedSGD`, or an optimizer with an `ema`, that is
        left leaves its mean as the parameters.

        >>> from fastnn import SGD, Adam, Dense, Network, Trainer
        >>> trainer = Trainer(Network(2, [Dense(2)]), optimizer=SGD(0.1), target="numpy")
        >>> trainer.set(batch_size=16, learning_rate=0.05)
        'batch_size 64 -> 16; learning_rate 0.1 -> 0.05, the state is kept (step 0)'
        >>> trainer.set(optimizer=Adam())
        'optimizer SGD -> Adam, the state starts anew (step 0)'

        Parameters
        ----------
        network
            One with the same shapes of all parameters: other activations, dropout, penalties or
            limits. `widen` gives the last layer more outputs.
        trainable
            Which Dense layers are trained from now on, one bool for each: the others are frozen,
            and keep parameters and state to the bit.
        optimizer, learning_rate
            Another optimizer, or the same with another rate, a number or a schedule, which goes on
            at the current `step`. `rate_factor` becomes 1: the rate is what is given here.
        dtype
            Parameters and state are converted.
        loss, batch_size, l1, l2, clip_value, clip_norm, precision, ignore_nan, label_smoothing
            As for `Trainer`.
        target, threads, shuffle, on_divergence, max_restores
            As for `Trainer`; these may be assigned, too: ``trainer.threads = 2`` is
            ``trainer.set(threads=2)``.

        Returns
        -------
        str
            What has changed, and what became of the optimizer's state; "" where nothing has.

        Raises
        ------
        InvalidInput
            An unknown setting, one out of range, settings that do not go together, the seed, or a
            network of other shapes. Nothing has changed.
        TargetUnavailable
            A target that cannot run here. Nothing has changed.
        TrainerBusy
            The trainer is in `fit`, in another thread, or in one of whose callbacks this is.
        """
        given: dict[str, Any] = dict(settings)
        if not given:
            return ""
        for name in given:
            if name == "rate_factor":
                raise InvalidInput("rate_factor is assigned: trainer.rate_factor = 0.5")
            if name in _WAYS:
                raise InvalidInput(f"set does not change {name}; {_WAYS[name]}")
            if name in _OF_OPTIMIZERS:
                raise InvalidInput(
                    f"{name} is a setting of an optimizer; trainer.set(optimizer=...) takes one "
                    f"with another {name}"
                )
            if name not in SETTINGS:
                raise unknown_name("setting", name, SETTINGS)
        state = self._state
        before, run = state.problem, state.run
        run = run._replace(**{name: given.pop(name) for name in Run._fields if name in given})
        rated = bool(given.keys() & {"optimizer", "learning_rate"})
        optimizer = given.get("optimizer", before.optimizer)
        if "learning_rate" in given and isinstance(optimizer, Optimizer):
            given["optimizer"] = replace(optimizer, learning_rate=given["learning_rate"])
        given.pop("learning_rate", None)
        if "trainable" in given:
            network = given.get("network", before.network)
            if isinstance(network, Network):  # else `Problem` refuses it
                given["network"] = network.with_trainable(given["trainable"])
            del given["trainable"]
        network, unknown = given.get("network"), before.network.inputs is None
        if isinstance(network, Network) and network.inputs is None:
            given["network"] = network.with_inputs(before.network.inputs)
        problem = before.changed(**given)
        if not unknown:
            _check_shapes(before.network, problem.network)
        kept = shares_state(update_row(before.optimizer), update_row(problem.optimizer))
        # Otherwise the engine stays, and arrays are not even read.
        anew = problem != before or run[:2] != state.run[:2]
        arrays: tuple[Parameters, list[Parameters]] = [], []
        if anew:
            carried = _carried(before, problem, state.read(), kept) if not unknown else None
            arrays = carried or start(problem)
        step = state.step if kept else 0
        factor = 1.0 if rated else state.rate_factor
        # Which checks all that is no part of the problem, and the target with the precision.
        model = Model(
            problem, run.target, run.threads, run.shuffle, state.epoch, step, factor, History(),
            *arrays, run.on_divergence, run.max_restores, synchronise=run.synchronise,
        )  # fmt: skip
        run = Run(*(getattr(model, name) for name in Run._fields))
        said = _said(before, problem, kept, step)
        said += [
            _change(name, getattr(state.run, name), getattr(run, name)) for name in Run._fields
        ]
        said.append(_change("rate_factor", state.rate_factor, factor))
        if problem != before:
            state = state.under(problem, arrays)
        elif anew:
            state = state._replace(arrays=arrays, engine=None, snapshot=None)
        self._state = state._replace(run=run, step=step, rate_factor=factor)
        return "; ".join(filter(None, said))

    @between_fits
    def widen(self, outputs: int) -> None:
        """Give the last layer more outputs, as when a stream brings classes that are new.

        Old parameters and optimizer state keep their bits, and so do the old outputs before a
        softmax; probabilities then have new classes to share with. The weights into new outputs are
        drawn as the layer's `init` says, from the seed, so that `predict` may give new classes at
        once; their biases are zero, slopes of prelu alpha, and their optimizer state zero (the mean
        of `AveragedSGD` a copy of the weights). `epoch`, `step` and `history` go on.

        >>> from fastnn import Dense, Network, Trainer
        >>> trainer = Trainer(Network(2, [Dense(4, "tanh"), Dense(3)]), target="numpy")
        >>> trainer.widen(outputs=5)
        >>> trainer.network.outputs
        5

        Parameters
        ----------
        outputs
            How many there are to be, at least as many as there are.

        Raises
        ------
        InvalidInput
            Fewer outputs, or one output that tells two classes apart, of which more would be
            labels beside it and no classes. Nothing has changed.
        TrainerBusy
            The trainer is in `fit`.
        """
        state = self._state
        before = state.problem
        old, count = before.network.outputs, whole(outputs, "outputs", 1)
        if count < old:
            raise InvalidInput(
                f"outputs must be at least the {old} that the network has, not {count}: what was "
                "learned is not taken away; for fewer make a new Trainer"
            )
        if count == old:
            return
        if old == 1 and loss_row(before.loss).targets == "binary":
            raise InvalidInput(
                f"one output with loss {before.loss!r} tells two classes apart, and {count} would "
                f"be {count} labels of 0 and 1 each, no classes; for classes make a new Trainer "
                f"that ends in Dense({max(count, 2)}), with loss 'softmax_cross_entropy', and give "
                "it the hidden layers with set_parameters; a last W of columns 0 and w, and b of "
                "0 and b, predicts the same two classes"
            )
        *layers, last = before.network.layers
        assert isinstance(last, Dense)  # as every network ends
        wider = replace(last, units=count)
        problem = replace(before, network=Network(before.network.inputs, [*layers, wider]))
        if before.network.inputs is None:
            self._state = state.under(problem, start(problem))
            return
        check_size(problem)
        arrays = with_more_outputs(problem, *state.read())
        self._state = state.under(problem, arrays)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign what can be assigned.

        Raises
        ------
        NotAssignable
            A setting, or a name that a `Trainer` does not have.
        """
        if not name.startswith("_"):
            there = hasattr(type(self), name)
            if there:
                known = getattr(type(self), name)
                good = not isinstance(known, property) or known.fset is not None
            else:
                good = not self._closed and name not in {*SETTINGS, *_WAYS, *_OF_OPTIMIZERS}
            if not good:
                raise NotAssignable(_refusal(name, there))
        object.__setattr__(self, name, value)


def _refusal(name: str, there: bool) -> str:
    """Return why an attribute cannot be assigned, and what to do."""
    what = f"trainer.{name} cannot be assigned" if there else f"a Trainer has no attribute {name!r}"
    if name in _WAYS:
        return f"{what}; {_WAYS[name]}"
    if name in SETTINGS:
        return f"{what}; trainer.set({name}=...) changes it, between two calls of fit"
    if name in _OF_OPTIMIZERS:
        return f"{what}; trainer.set(optimizer=...) takes an optimizer with another {name}"
    near = difflib.get_close_matches(name, SETTINGS, n=1)
    hint = f"did you mean trainer.set({near[0]}=...)? " if near else ""
    return (
        f"{what}; {hint}trainer.set(...) changes settings: {', '.join(SETTINGS)}. Attributes of "
        "your own need a class of your own, derived from Trainer"
    )


def _check_shapes(before: Network, after: Network) -> None:
    """Raise `InvalidInput` where a network cannot take over the parameters of another."""
    if before.parameter_shapes == after.parameter_shapes:
        return
    same = before.inputs == after.inputs and before.names == after.names
    remedy = "make a new Trainer, and give it what fits with set_parameters"
    if before.inputs != after.inputs:
        what = f"takes {after.inputs} inputs, not {before.inputs}"
    elif not same:
        what = f"has {', '.join(after.names)}, not {', '.join(before.names)}"
    else:
        layers = zip(before.parameter_shapes, after.parameter_shapes, strict=True)
        differing = [(place, a, b) for place, (a, b) in enumerate(layers) if a != b]
        place, shapes, others = differing[0]
        what = f"has {_words(others)} in {before.names[place]}, not {_words(shapes)}"
        grown = (
            len(differing) == 1 and place == len(before.names) - 1 and list(shapes) == list(others)
        )
        if grown and after.outputs > before.outputs:
            remedy = f"trainer.widen(outputs={after.outputs}) gives the last layer more outputs"
    raise InvalidInput(
        f"network must have parameters of the same shapes as before, but {what}; {remedy}"
    )


def _words(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _carried(
    before: Problem, after: Problem, arrays: tuple[Parameters, list[Parameters]], kept: bool
) -> tuple[Parameters, list[Parameters]]:
    """Return the parameters and optimizer state that a trainer of other settings goes on from."""
    parameters, slots = arrays
    rows = update_row(before.optimizer), update_row(after.optimizer)
    if (before.dtype, rows[0]) != (after.dtype, rows[1]):
        check_size(after)
    if not kept and rows[0].mean:
        parameters = slots[-1]
    parameters = as_dtype(parameters, after.dtype, "parameters")
    layers = zip(before.network.parametric, after.network.parametric, strict=True)
    for place, (old, new) in enumerate(layers):
        loses_bias = getattr(old, "bias", False) and not getattr(new, "bias", False)
        if loses_bias and (b := parameters[place][1]).any():
            raise InvalidInput(
                f"network has bias=False in {before.network.names[place]}, whose b is "
                f"{shown(b.tolist())}; leave bias=True, or set b to zeros with set_parameters first"
            )
    if not kept:
        return parameters, start_slots(after, parameters)
    return parameters, [as_dtype(slot, after.dtype, "the optimizer's state") for slot in slots]


def _said(before: Problem, after: Problem, kept: bool, step: int) -> list[str]:
    """Return what has changed, in words; "" for what has not."""
    flags = [[layer.trainable for layer in each.network.dense] for each in (before, after)]
    thawed = [
        each.network.with_trainable([True] * len(each.network.dense)) for each in (before, after)
    ]
    parts = ["network: other layers of the same shapes"] * (thawed[0] != thawed[1])
    parts.append(_change("trainable", *flags))
    for name in (each.name for each in fields(before) if each.name not in ("network", "optimizer")):
        parts.append(_change(name, getattr(before, name), getattr(after, name)))
    old, new = before.optimizer, after.optimizer
    if old != new:
        if replace(old, learning_rate=0) == replace(new, learning_rate=0):
            what = _change("learning_rate", old.learning_rate, new.learning_rate)
        elif type(old) is type(new):
            what = f"optimizer {old} -> {new}"
        else:
            what = f"optimizer {type(old).__name__} -> {type(new).__name__}"
        fate = "is kept" if kept else "starts anew"
        parts.append(f"{what}, the state {fate} (step {step})")
    return parts


def _change(name: str, old: Any, new: Any) -> str:
    return "" if old == new else f"{name} {shown(old)} -> {shown(new)}"
