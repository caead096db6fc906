"""All that a trainer is, but for its engine: what is pickled, and what is saved in a file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, TargetUnavailable, number, shown, whole
from fastnn.inputs.parameters import (
    Parameters,
    check_parameters,
    check_size,
    from_tensors,
    initial_parameters,
    start_slots,
    to_tensors,
)
from fastnn.inputs.problem import Precision, Problem, check_precision
from fastnn.network import unknown_inputs
from fastnn.ranks.group import check_synchronise
from fastnn.rules.table import unknown_name
from fastnn.storage import callback_states, tensor_file
from fastnn.storage.callback_states import CallbackState
from fastnn.storage.model_kinds import TRAINER, check_kind
from fastnn.targets.selection import Target, choose
from fastnn.training.history import History
from fastnn.training.plain_values import (
    loss_from_plain,
    loss_to_plain,
    network_from_dict,
    network_to_dict,
    optimizer_from_dict,
    optimizer_to_dict,
)

MOST_THREADS = 1024
_EARLIER, _HISTORY = "earlier.", "history."  # what the names of their arrays begin with
OnDivergence = Literal["raise", "restore"]
ON_DIVERGENCE: tuple[OnDivergence, ...] = get_args(OnDivergence)
# What files have that are from before there were these settings.
_LATER: dict[str, Any] = {
    "clip_value": None,
    "clip_norm": None,
    "precision": "float32",
    "ignore_nan": False,
    "label_smoothing": 0.0,
    "on_divergence": "raise",
    "max_restores": 5,
    "remaining": 0,
    "callbacks": [],
    "earlier": None,
    "feature_names": None,
    "preparation": None,
    "synchronise": "step",
}
# What a file holds beside arrays. The settings of a Problem are plain values but for four.
_PLAIN = (
    "batch_size", "l1", "l2", "seed", "clip_value", "clip_norm", "precision", "ignore_nan",
    "label_smoothing",
)  # fmt: skip
_RUN = (
    "target", "threads", "shuffle", "epoch", "step", "rate_factor", "on_divergence",
    "max_restores", "remaining", "synchronise",
)  # fmt: skip
_PROBLEM = (*_PLAIN, "network", "loss", "optimizer", "dtype")
_KEYS = {
    *_PROBLEM, *_RUN, "history", "callbacks", "earlier", "feature_names", "preparation",
}  # fmt: skip


@dataclass(frozen=True)
class Earlier:
    """What a trainer was before its last epoch; attributes as those of `Model`."""

    epoch: int
    step: int
    parameters: Parameters
    slots: list[Parameters]


@dataclass
class Model:
    """Settings, progress, parameters and optimizer state, checked.

    Attributes
    ----------
    problem, target, threads, shuffle, epoch, step, rate_factor, history, feature_names,
    preparation, synchronise
        As the attributes of `fastnn.training.trainer.Trainer`.
    parameters, slots
        As `fastnn.targets.engine.Engine.load` takes them; empty where the network does not know its
        number of inputs yet.

    Raises
    ------
    InvalidInput
        A setting out of range, or an unknown target.
    TargetUnavailable
        A target that cannot run here.
    """

    problem: Problem
    target: Target
    threads: int | None
    shuffle: bool | int
    epoch: int
    step: int
    rate_factor: float
    history: History
    parameters: Parameters
    slots: list[Parameters]
    on_divergence: OnDivergence = "raise"
    max_restores: int = 5
    remaining: int = 0
    callbacks: list[CallbackState] = field(default_factory=list)
    earlier: Earlier | None = None
    feature_names: tuple[str, ...] | None = None
    preparation: dict[str, Any] | None = None
    synchronise: Any = "step"

    def __post_init__(self) -> None:
        """Check all settings but the problem's, which are checked already."""
        choose(self.target, self.problem)
        self.threads = check_threads(self.threads)
        self.shuffle = check_shuffle(self.shuffle)
        self.epoch = whole(self.epoch, "epoch", 0)
        self.step = whole(self.step, "step", 0)
        self.rate_factor = number(self.rate_factor, "rate_factor", 0.0)
        self.max_restores = check_divergence(self.on_divergence, self.max_restores)
        self.remaining = whole(self.remaining, "remaining", 0)
        self.synchronise = check_synchronise(self.synchronise)


def begin(
    problem: Problem,
    target: Target,
    threads: int | None,
    shuffle: bool | int,
    parameters: Any = None,
) -> Model:
    """Return the model before any training: a history without epochs, and `start`."""
    chosen, reason = choose(target, problem)
    history = History(chosen, check_threads(threads) or 1, reason)
    first = start(problem, parameters)
    return Model(problem, target, threads, shuffle, 0, 0, 1.0, history, *first)


def start(problem: Problem, parameters: Any = None) -> tuple[Parameters, list[Parameters]]:
    """Return parameters, checked, and optimizer state: none before the inputs are known.

    `parameters` None: those that the network's initialisers draw.
    """
    if problem.network.inputs is None:
        return [], []
    check_size(problem)
    if parameters is None:
        first = initial_parameters(problem.network, problem.seed, problem.dtype)
    else:
        first = check_parameters(problem, parameters)
    return first, start_slots(problem, first)


def check_divergence(on_divergence: Any, max_restores: Any) -> int:
    """Return how often a training may be restored, or raise `InvalidInput`."""
    if not isinstance(on_divergence, str) or on_divergence not in ON_DIVERGENCE:
        raise unknown_name("on_divergence", on_divergence, ON_DIVERGENCE)
    return whole(max_restores, "max_restores", 1)


def check_shuffle(shuffle: Any) -> bool | int:
    """Return whether rows are shuffled, or how many together, or raise `InvalidInput`."""
    if isinstance(shuffle, (bool, np.bool_)):
        return bool(shuffle)
    if not isinstance(shuffle, Integral) or shuffle < 2:
        raise InvalidInput(
            "shuffle must be True, False, or a whole number of at least 2: how many rows are "
            f"shuffled together; not {shown(shuffle)}"
        )
    return whole(shuffle, "shuffle", 2)


def check_threads(threads: Any) -> int | None:
    """Return a number of threads that an engine takes, or raise `InvalidInput`."""
    if threads is None:
        return None
    count = whole(threads, "threads", 1, math.inf)
    if count > MOST_THREADS:
        raise InvalidInput(
            f"threads must be at most {MOST_THREADS}, not {shown(count)}; leave threads=None to "
            "have the number chosen from the work"
        )
    return count


def problem_to_plain(problem: Problem) -> dict[str, Any]:
    """Return the settings of a problem as `json` can write them."""
    return {
        "network": network_to_dict(problem.network),
        "loss": loss_to_plain(problem.loss),
        "optimizer": optimizer_to_dict(problem.optimizer),
        "dtype": problem.dtype.name,
        **{name: getattr(problem, name) for name in _PLAIN},
    }


def problem_from_plain(values: dict[str, Any], where: str) -> Problem:
    """Return the problem that `problem_to_plain` gave, among whatever else there is in `values`.

    Raises
    ------
    CorruptFile
        Values that describe no problem; the message names `where` they came from.
    """
    if not isinstance(values, dict) or not values.keys() >= {*_PROBLEM}:
        raise CorruptFile(f"{where} is damaged: settings of its problem are missing")
    settings = {
        "network": network_from_dict(values["network"], where),
        "loss": loss_from_plain(values["loss"], where),
        "optimizer": optimizer_from_dict(values["optimizer"], where),
        "dtype": values["dtype"],
        **{name: values[name] for name in _PLAIN},
    }
    with _damaged(where):
        return Problem.of_file(settings)


def save(model: Model, path: str | bytes | os.PathLike[Any]) -> None:
    """Write `model` to `path`, all of it or nothing; see `fastnn.storage.tensor_file.write`."""
    problem = model.problem
    if problem.network.inputs is None:
        raise unknown_inputs("be saved")
    callbacks, states = callback_states.to_file(model.callbacks)
    earlier, before = model.earlier, {}
    if earlier is not None:
        before = to_tensors(problem, earlier.parameters, earlier.slots)
        before = {f"{_EARLIER}{name}": array for name, array in before.items()}
    history, rows = model.history.to_arrays()
    rows = {f"{_HISTORY}{name}": array for name, array in rows.items()}
    content = {
        **problem_to_plain(problem),
        "history": history,
        **{name: getattr(model, name) for name in _RUN},
        "callbacks": callbacks,
        "earlier": None if earlier is None else {"epoch": earlier.epoch, "step": earlier.step},
        "feature_names": None if model.feature_names is None else list(model.feature_names),
        "preparation": model.preparation,
    }
    arrays = to_tensors(problem, model.parameters, model.slots)
    tensor_file.write(path, arrays | states | before | rows, content)


def load(
    path: str | bytes | os.PathLike[Any],
    target: Target | None = None,
    threads: int | None = None,
    precision: Precision | None = None,
) -> Model:
    """Return the model that `save` wrote to `path`; what else is given replaces its own.

    Raises
    ------
    CorruptFile
        A file that is damaged, not fastnn's, or whose arrays do not fit its network.
    InvalidInput, TargetUnavailable
        A `target`, `threads` or `precision` that cannot be used, or not together.
    MissingFile
        There is no such file.
    OSError
        A file that cannot be opened.
    """
    if target is not None:
        choose(target)
    check_threads(threads)
    if precision is not None:
        check_precision(precision)
    tensors, content = tensor_file.read(path)
    where = os.fsdecode(path)
    check_kind(content, TRAINER, where)
    content = _LATER | content if isinstance(content, dict) else {}
    if content.keys() != _KEYS:
        raise CorruptFile(f"{where} is damaged: settings are missing or unknown")
    run = {name: content[name] for name in _RUN}
    problem = problem_from_plain(content, where)
    with _damaged(where):
        if target is None:
            choose(run["target"])
    if target is not None:
        run["target"] = target
    if threads is not None:
        run["threads"] = threads
    if precision is not None:
        problem = problem.changed(precision=precision)
    try:
        choose(run["target"], problem)
    except (InvalidInput, TargetUnavailable) as error:
        if problem.precision == "float32":
            raise
        # The file is whole: what is here, or was asked for, has no such precision.
        kind = type(error)
        raise kind(f"{where}: {error}: Trainer.load(path, precision='float32')") from error
    with _damaged(where):
        names = names_from(content["feature_names"], problem, where)
        callbacks = callback_states.from_file(content["callbacks"], tensors, where)
        earlier = _earlier(problem, content["earlier"], tensors, where)
        history = History.from_arrays(content["history"], tensor_file.taken(tensors, _HISTORY))
        parameters, slots = from_tensors(problem, tensors, where)
        return Model(
            problem,
            history=history,
            parameters=parameters,
            slots=slots,
            callbacks=callbacks,
            earlier=earlier,
            feature_names=names,
            preparation=_preparation_from(content["preparation"], where),
            **run,
        )


def names_from(values: Any, problem: Problem, where: str) -> tuple[str, ...] | None:
    """Return names of columns as a file has them, one for each input, or None."""
    if values is None:
        return None
    good = isinstance(values, list) and all(isinstance(name, str) for name in values)
    if not good or len(values) != problem.network.inputs:
        raise CorruptFile(
            f"{where} is damaged: feature_names must be {problem.network.inputs} strings, not "
            f"{values!r:.80}"
        )
    return tuple(values)


def _preparation_from(values: Any, where: str) -> dict[str, Any] | None:
    """Return a preparation as a file has it; whoever uses it looks at what is in it."""
    if values is not None and not isinstance(values, dict):
        raise CorruptFile(f"{where} is damaged: preparation cannot be {values!r:.80}")
    return values


def _earlier(
    problem: Problem, values: Any, tensors: dict[str, np.ndarray], where: str
) -> Earlier | None:
    """Return what the trainer was before its last epoch; its arrays are taken out of `tensors`."""
    if values is None:
        return None
    if not isinstance(values, dict) or values.keys() != {"epoch", "step"}:
        raise CorruptFile(f"{where} is damaged: earlier cannot be {values!r:.80}")
    epoch, step = (whole(value, name, 0) for name, value in values.items())
    return Earlier(epoch, step, *from_tensors(problem, tensor_file.taken(tensors, _EARLIER), where))


@contextmanager
def _damaged(where: str) -> Iterator[None]:
    """Make a setting that cannot be used an error of the file that it comes from."""
    try:
        yield
    except InvalidInput as error:
        raise CorruptFile(f"{where} is damaged: {error}") from error
