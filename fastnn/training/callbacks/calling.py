"""Which callbacks a training has, checked and in the order in which they are called."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.elsewhere import meant
from fastnn.errors import InvalidInput, check_takes, shown
from fastnn.inputs.problem import Problem
from fastnn.rules.table import loss_row
from fastnn.training.callbacks.bundled import Bundled, Callback
from fastnn.training.callbacks.early_stopping import EarlyStopping
from fastnn.training.callbacks.reduce_on_plateau import ReduceOnPlateau
from fastnn.training.history import History
from fastnn.training.metrics import PREFIX, Metric, with_metric

if TYPE_CHECKING:
    from fastnn.training.trainer_state import Stateful


def check_callbacks(
    callbacks: Any, validated: bool, several: str = "", remedy: str = "pass validation_data=(X, y)"
) -> tuple[Callback, ...]:
    """Return `callbacks`, one function or any iterable of them, in the order in which to call them.

    Parameters
    ----------
    callbacks
        As for `Trainer.fit`.
    validated
        Whether there are validation data.
    several
        What trains several networks at a time, in words, or nothing.
    remedy
        How whoever calls gives validation data, in words, or nothing where that cannot be.

    Raises
    ------
    InvalidInput
        Something that is no function, that needs validation data where there are none, or that
        follows one training where there are several.
    """
    if isinstance(callbacks, Iterable):
        found = tuple(callbacks)
    elif callable(callbacks):
        found = (callbacks,)
    else:
        raise InvalidInput(
            "callbacks must be a function (trainer, history), or a list of such, "
            f"not {shown(callbacks):.80}"
        )
    for position, callback in enumerate(found):
        where = f"callbacks[{position}]"
        if isinstance(callback, type) and issubclass(callback, Bundled):
            raise InvalidInput(
                f"{where} is the class {callback.__name__}; pass an object of it, "
                f"such as {callback.__name__}()"
            )
        _check_hooks(callback, where)
        if not callable(callback):
            raise InvalidInput(
                f"{where} must be a function (trainer, history), not {shown(callback):.80}"
            )
        check_takes(callback, "trainer, history", where)
        if isinstance(callback, Bundled):
            _check_bundled(callback, where, validated, several, remedy)
    return tuple(sorted(found, key=_turn))


# What Keras, Lightning, skorch and fastai call what they call more than once an epoch.
_WITHIN_EPOCHS = re.compile(
    r"(on_|before_|after_)(train_|before_|after_)*(batch|step|backward|zero_grad|optimizer_step)"
    r"(_begin|_start|_end)?"
)


def _check_hooks(callback: Any, where: str) -> None:
    """Raise `InvalidInput` for an object that wants to be called within epochs."""
    if isinstance(callback, Bundled):
        return
    hooks = [name for name in dir(callback) if _WITHIN_EPOCHS.fullmatch(name)]
    if hooks:
        raise InvalidInput(
            f"{where}, {shown(callback):.80}, has {hooks[0]}, to be called once a minibatch, but "
            "an epoch is one compiled call, without Python between its steps; pass a function "
            "(trainer, history), which is called after each epoch, or to look on every so many "
            "steps fastnn.StepCallback(function, every=100)"
        )


def watched_metrics(
    callbacks: tuple[Callback, ...],
    problem: Problem,
    metrics: tuple[Metric, ...],
    validated: bool,
) -> tuple[Metric, ...]:
    """Return the metrics that a call of `fit` measures: its own, and those that callbacks watch.

    Raises
    ------
    InvalidInput
        A callback watches what the history will not have.
    """
    bundled = [each for each in callbacks if isinstance(each, Bundled)]
    for callback in bundled:
        if (wanted := callback.metric()) is not None:
            where = f"what {shown(callback):.100} watches"
            metrics = with_metric(problem, metrics, wanted, where)
    series = ["loss"]
    if validated:
        labelled = loss_row(problem.loss).targets in ("classes", "binary")
        series += [PREFIX + name for name in ("loss", "accuracy")[: 1 + labelled]]
        series += [each.series for each in metrics]
    for callback in bundled:
        if callback.series() and callback.series() not in series:
            near = meant(callback.series(), series)
            hint = f"did you mean {near!r}? Else " if near else ""
            raise InvalidInput(
                f"{shown(callback):.100} watches {callback.series()!r}, which the history will not "
                f"have, but {', '.join(series)}; {hint}watch one of those, or in the place of "
                f"{callback.series()!r} give the function (y, outputs) itself"
            )
    return metrics


def watches_validation(callbacks: Iterable[Callback]) -> bool:
    """Return whether one of them cannot do without a series of the validation data."""
    bundled = (each for each in callbacks if isinstance(each, Bundled))
    return any(each.series().startswith(PREFIX) for each in bundled)


def _check_bundled(
    callback: Bundled, where: str, validated: bool, several: str, remedy: str
) -> None:
    """Raise `InvalidInput` where one of fastnn's own has nothing to watch, or too much."""
    series = callback.series()
    if series.startswith(PREFIX) and not validated:
        other = 'best="loss"' if callback.one_training else 'monitor="loss"'
        raise InvalidInput(
            f"{where}, {shown(callback)}, watches the {series}, but there are no validation data; "
            + ", or ".join(filter(None, (remedy, f"use {other}")))
        )
    if several and callback.one_training:
        raise InvalidInput(
            f"{where}, {shown(callback)}, follows one training, but {several}, each with epochs of "
            "its own; leave it out, and save the trainer afterwards, or train one network at a time"
        )


def check_fit(callbacks: tuple[Callback, ...], trainer: Stateful) -> None:
    """Let each callback of fastnn refuse this call of `fit`, before anything is compiled for it.

    Raises
    ------
    InvalidInput, MissingFile, UnusableFile, MissingExtra
        What it would raise in the first epoch; the trainer has not been changed.
    """
    for callback in callbacks:
        if isinstance(callback, Bundled):
            callback.check(trainer)


def own_callbacks(callbacks: tuple[Callback, ...]) -> tuple[Callback, ...]:
    """Return the callbacks for one of several trainings: those of fastnn keep state, so new ones.

    All others, of which nobody knows what a copy would do, are shared.
    """
    own = (EarlyStopping, ReduceOnPlateau)
    return tuple(_anew(each) if isinstance(each, own) else each for each in callbacks)


def _anew(callback: EarlyStopping | ReduceOnPlateau) -> Callback:
    """Return one with its settings, without what it has taken note of.

    Of a derived class that takes other arguments that is a copy.
    """
    try:
        return replace(callback)
    except TypeError:
        made = copy.copy(callback)
    for name, value in vars(callback).items():
        if isinstance(value, (list, dict, set)):
            object.__setattr__(made, name, value.copy())
    for each in fields(made):
        if each.init:
            continue
        if each.default is not MISSING:
            object.__setattr__(made, each.name, each.default)
        elif each.default_factory is not MISSING:
            object.__setattr__(made, each.name, each.default_factory())
    return made


def take_over(
    callbacks: tuple[Callback, ...], own: tuple[Callback | None, ...], threads: int | None
) -> None:
    """Let every `EarlyStopping` go on from what `own_callbacks` made of it, on so many threads."""
    for callback, other in zip(callbacks, own, strict=True):
        if isinstance(callback, EarlyStopping) and isinstance(other, EarlyStopping):
            callback.best = other.best
            if callback.best is not None:
                callback.best.threads = threads


def call_all(callbacks: tuple[Callback, ...], trainer: Stateful, history: History) -> bool:
    """Call each callback, and return whether one of them answered True."""
    stop = False
    back = False  # whether the trainer may be in an earlier epoch now, which others have seen
    for callback in callbacks:
        early = isinstance(callback, EarlyStopping)
        if early and back:
            continue
        if stop and not early and _turn(callback) > EarlyStopping.turn:
            trainer._finish()  # which is then saved, too
        answer = callback(trainer, history)
        if _is_true(answer):
            stop, back = True, back or early
    return stop


def _is_true(answer: Any) -> bool:
    """Return whether an answer is True, alone or as the one value of an array of any library."""
    if isinstance(answer, (bool, np.bool_)):
        return bool(answer)
    kind = str(getattr(answer, "dtype", "")).removeprefix("torch.").lower()
    if kind not in ("bool", "boolean") or math.prod(getattr(answer, "shape", (0,))) != 1:
        return False
    return answer.item() is True


def _turn(callback: Callback) -> int:
    """Return when `callback` is called: those of a smaller number come first."""
    return callback.turn if isinstance(callback, Bundled) else 0
