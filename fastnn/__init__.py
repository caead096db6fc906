"""Fully connected networks trained by minibatch SGD, one compiled call an epoch.

The public names are imported when they are first used: ``import fastnn`` alone loads neither
Numba nor SciPy nor any extra.
"""

from __future__ import annotations

import os

import fastnn.command as _command
from fastnn.storage.old_names import find_old_names as _find_old_names

TYPE_CHECKING = _command.TYPE_CHECKING
if TYPE_CHECKING:
    from fastnn import datasets, graph, guide, plots, schedules
    from fastnn.errors import (
        CacheWarning,
        CorruptFile,
        DeviceFailure,
        Diverged,
        EnvironmentWarning,
        FastnnError,
        InvalidInput,
        MissingExtra,
        MissingFile,
        NotAssignable,
        RankFailed,
        RoundingWarning,
        TargetUnavailable,
        TrainerBusy,
        TrainingWarning,
        UnknownArgument,
        UnusableFile,
        WorkerFailed,
    )
    from fastnn.estimators import MLPClassifier as MLPClassifier
    from fastnn.estimators import MLPRegressor as MLPRegressor
    from fastnn.estimators import Perceptron as Perceptron
    from fastnn.estimators import SGDClassifier as SGDClassifier
    from fastnn.estimators import SGDRegressor as SGDRegressor
    from fastnn.estimators import TabularClassifier as TabularClassifier
    from fastnn.estimators import TabularRegressor as TabularRegressor
    from fastnn.inputs.scaling import Scaling
    from fastnn.losses import (
        EpsilonInsensitive,
        Huber,
        Margin,
        Quantile,
        SquaredEpsilonInsensitive,
    )
    from fastnn.network import BatchNorm, Dense, Dropout, LayerNorm, Network, Periodic
    from fastnn.optimizers import SGD, Adagrad, Adam, AdamW, AveragedSGD, Lion, Nadam, RMSProp
    from fastnn.training.callbacks import (
        Checkpoint,
        CSVLogger,
        EarlyStopping,
        ReduceOnPlateau,
        StepCallback,
        TensorBoard,
    )
    from fastnn.training.ensemble import Ensemble
    from fastnn.training.history import History
    from fastnn.training.population import train_population
    from fastnn.training.snapshot import Snapshot
    from fastnn.training.sweep import sweep
    from fastnn.training.trainer import Trainer

__version__ = "0.2.dev0"  # and the newest heading of .github/CHANGELOG.md

_find_old_names()

# What a relative FASTNN_CACHE_DIR is counted from, wherever the process goes afterwards.
try:
    __started_in__ = os.getcwd()
except OSError:  # it has been removed
    __started_in__ = os.sep

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AveragedSGD",
    "BatchNorm",
    "CSVLogger",
    "CacheWarning",
    "Checkpoint",
    "CorruptFile",
    "Dense",
    "DeviceFailure",
    "Diverged",
    "Dropout",
    "EarlyStopping",
    "Ensemble",
    "EnvironmentWarning",
    "EpsilonInsensitive",
    "FastnnError",
    "History",
    "Huber",
    "InvalidInput",
    "LayerNorm",
    "Lion",
    "Margin",
    "MissingExtra",
    "MissingFile",
    "Nadam",
    "Network",
    "NotAssignable",
    "Periodic",
    "Quantile",
    "RMSProp",
    "RankFailed",
    "ReduceOnPlateau",
    "RoundingWarning",
    "Scaling",
    "Snapshot",
    "SquaredEpsilonInsensitive",
    "StepCallback",
    "TargetUnavailable",
    "TensorBoard",
    "Trainer",
    "TrainerBusy",
    "TrainingWarning",
    "UnknownArgument",
    "UnusableFile",
    "WorkerFailed",
    "datasets",
    "graph",
    "guide",
    "plots",
    "schedules",
    "sweep",
    "train_population",
]

# Not in __all__: `from fastnn import *` needs no extra.
_ESTIMATORS = (
    "MLPClassifier",
    "MLPRegressor",
    "Perceptron",
    "SGDClassifier",
    "SGDRegressor",
    "TabularClassifier",
    "TabularRegressor",
)

_HOMES = {
    "training.callbacks": (
        "CSVLogger",
        "Checkpoint",
        "EarlyStopping",
        "ReduceOnPlateau",
        "StepCallback",
        "TensorBoard",
    ),
    "errors": (
        "CacheWarning",
        "CorruptFile",
        "DeviceFailure",
        "Diverged",
        "EnvironmentWarning",
        "FastnnError",
        "InvalidInput",
        "MissingExtra",
        "MissingFile",
        "NotAssignable",
        "RankFailed",
        "RoundingWarning",
        "TargetUnavailable",
        "TrainerBusy",
        "TrainingWarning",
        "UnknownArgument",
        "UnusableFile",
        "WorkerFailed",
    ),
    "estimators": _ESTIMATORS,
    "training.ensemble": ("Ensemble",),
    "training.history": ("History",),
    "optimizers": ("SGD", "Adagrad", "Adam", "AdamW", "AveragedSGD", "Lion", "Nadam", "RMSProp"),
    "inputs.scaling": ("Scaling",),
    "losses": ("EpsilonInsensitive", "Huber", "Margin", "Quantile", "SquaredEpsilonInsensitive"),
    "network": ("BatchNorm", "Dense", "Dropout", "LayerNorm", "Network", "Periodic"),
    "training.population": ("train_population",),
    "training.snapshot": ("Snapshot",),
    "training.sweep": ("sweep",),
    "training.trainer": ("Trainer",),
}


def _import_public(name: str) -> object:
    """Import the public name `name` from its module, at its first use."""
    from importlib import import_module

    if name in ("datasets", "graph", "guide", "plots", "schedules"):
        return import_module(f"fastnn.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"fastnn.{home}"), name)
            globals()[name] = value  # the next use does not come here
            return value
    raise _unknown_name(name)


def _unknown_name(name: str) -> Exception:
    """Return the error for a name that is not there, with what to write instead where it is known.

    It is an AttributeError, of which ``from fastnn import`` would lose the message: for that, and
    unless it is about to look for a module of that name, it is an ImportError.
    """
    import sys
    from importlib.util import find_spec

    text = f"module 'fastnn' has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(text)
    from fastnn.elsewhere import PACKAGE, instead

    hint = instead(PACKAGE, name, (*__all__, *_ESTIMATORS))
    imported = sys._getframe(2).f_code.co_name == "_handle_fromlist"
    if hint and imported and find_spec(f"fastnn.{name}") is None:
        return ImportError(f"fastnn has no {name}: {hint}")
    return AttributeError(f"{text}: {hint}" if hint else text)


if not TYPE_CHECKING:  # to which a misspelt name would be an object like any other
    __getattr__ = _import_public


def __dir__() -> list[str]:
    """List the public names, those not imported yet included."""
    return sorted({*globals(), *__all__, *_ESTIMATORS})
