"""Networks, losses, optimizers and schedules as plain values that `json` can write, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, check_own
from fastnn.graph.custom import CustomActivation, CustomLoss, CustomRowLoss, CustomRule
from fastnn.graph.nodes import MOST_TOGETHER
from fastnn.graph.saved import from_plain, to_plain
from fastnn.initializers import ConstantInitialiser, LostInitialiser
from fastnn.losses import KINDS as LOSS_KINDS
from fastnn.network import LAYERS, Network
from fastnn.optimizers import OPTIMIZERS, Optimizer
from fastnn.schedules import KINDS, WarmUp
from fastnn.storage.old_settings import by_new_names

_LAYERS = {kind.__name__: kind for kind in LAYERS}
_OPTIMIZERS = {kind.__name__: kind for kind in OPTIMIZERS}
_LOSSES = {kind.__name__: kind for kind in LOSS_KINDS}
_SCHEDULES = {kind.__name__: kind for kind in KINDS}
_READ = (*LAYERS, *OPTIMIZERS, *LOSS_KINDS, *KINDS)  # of what else is written, nothing comes back
# What settings were before there were these, which are missing in files of that time.
_LATER: dict[str, dict[str, Any]] = {
    "Dense": {
        "l1": None,
        "l2": None,
        "max_norm": None,
        "trainable": True,
        "rate_factor": 1.0,
        "bias_init": None,
        "bias_rate_factor": 1.0,
    },
    **{kind.__name__: {"ema": 0.0} for kind in OPTIMIZERS},
    "Adam": {"epsilon_hat": False, "ema": 0.0},
    "AdamW": {"epsilon_hat": False, "ema": 0.0},
    "InverseScaling": {"every": 1},
}
_INITIALISERS = {"init", "bias_init"}
# Settings that may be a schedule instead of a number, and of which kinds.
_SCHEDULED = {
    "learning_rate": _SCHEDULES,
    "then": {name: kind for name, kind in _SCHEDULES.items() if kind is not WarmUp},
}


def network_to_dict(network: Network) -> dict[str, Any]:
    """Return the inputs and the layers of `network`.

    An initialiser that is a callable becomes its name, but for `fastnn.initializers.constant`: a
    file keeps the parameters themselves, and no code.
    """
    return {"inputs": network.inputs, "layers": [_to_dict(layer) for layer in network.layers]}


def network_from_dict(values: Any, where: str = "the saved file") -> Network:
    """Return the network that `network_to_dict` gave.

    Raises
    ------
    CorruptFile
        Values that describe no network; the message names `where` they came from.
    """
    if not isinstance(values, dict) or values.keys() != {"inputs", "layers"}:
        raise CorruptFile(f"{where} is damaged: its network needs inputs and layers")
    if not isinstance(values["layers"], list):
        raise CorruptFile(f"{where} is damaged: its network has no list of layers")
    formulas = [layer.get("activation") for layer in values["layers"] if isinstance(layer, dict)]
    rows = (rule.get("nodes") for rule in formulas if isinstance(rule, dict))
    if sum(len(each) for each in rows if isinstance(each, list)) > MOST_TOGETHER:
        raise CorruptFile(
            f"{where} is damaged: its activations have more than {MOST_TOGETHER} operations, "
            "more than fastnn saves"
        )
    layers = [_from_dict(layer, _LAYERS, "layer", where) for layer in values["layers"]]
    if values["inputs"] is None:
        raise CorruptFile(f"{where} is damaged: its network has no number of inputs")
    try:
        return Network(values["inputs"], layers)
    except InvalidInput as error:
        raise CorruptFile(f"{where} is damaged: {error}") from error


def optimizer_to_dict(optimizer: Optimizer) -> dict[str, Any]:
    """Return the kind and the settings of `optimizer`.

    Raises
    ------
    InvalidInput
        Its learning rate is a function, which no file can keep, or a user-defined schedule.
    """
    return _to_dict(optimizer)


def optimizer_from_dict(values: Any, where: str = "the saved file") -> Optimizer:
    """Return the optimizer that `optimizer_to_dict` gave.

    Raises
    ------
    CorruptFile
        Values that describe no optimizer; the message names `where` they came from.
    """
    optimizer: Optimizer = _from_dict(values, _OPTIMIZERS, "optimizer", where)
    return optimizer


def loss_to_plain(loss: Any) -> Any:
    """Return the name of a loss, the settings of one that has any, or a user-defined formula."""
    if isinstance(loss, LOSS_KINDS):
        return _to_dict(loss)
    return _plain("loss", loss)


def loss_from_plain(values: Any, where: str = "the saved file") -> Any:
    """Return the loss that `loss_to_plain` gave; names are not looked up.

    Raises
    ------
    CorruptFile
        Values that are no loss; the message names `where` they came from.
    """
    if isinstance(values, dict) and "kind" in values:
        return _from_dict(values, _LOSSES, "loss", where)
    vectors = isinstance(values, dict) and "lengths" in values
    return _rule(values, CustomRowLoss if vectors else CustomLoss, where)


def _rule(values: Any, kind: type[CustomRule], where: str) -> Any:
    """Return a name as it is, and a formula as a user-defined rule."""
    if not isinstance(values, dict):
        return values
    try:
        return kind(from_plain(values))
    except InvalidInput as error:
        raise CorruptFile(f"{where} is damaged: {error}") from error


def _to_dict(value: Any) -> dict[str, Any]:
    """Return the class name and the settings of one frozen value.

    Raises
    ------
    InvalidInput
        Its class is derived from one that `_from_dict` knows, as an older pickle may have it.
    """
    check_own(value, _READ, "what is to be saved")
    settings = {each.name: _plain(each.name, getattr(value, each.name)) for each in fields(value)}
    return {"kind": type(value).__name__, **settings}


def _plain(name: str, setting: Any) -> Any:
    """Return one setting as `json` can write it.

    A user-defined rule becomes its formula, an initialiser that is a function its name.
    """
    if isinstance(setting, CustomRule):
        return to_plain(setting.expression)
    if not callable(setting):
        return bool(setting) if type(setting) is np.bool_ else setting
    if name in _INITIALISERS:
        return _initialiser(setting)
    if name not in _SCHEDULED:
        return None
    if type(setting) not in KINDS:
        raise InvalidInput(
            f"{name} {setting!r:.80} cannot be saved, since a file keeps settings and no code; "
            f"use a number or one of fastnn.schedules: {', '.join(_SCHEDULED[name])}. "
            "set_parameters takes what is trained already over to a trainer that can be saved"
        )
    return _to_dict(setting)


def _initialiser(setting: Any) -> dict[str, Any]:
    """Return what a file has of an initialiser that is callable."""
    if type(setting) is ConstantInitialiser:  # one derived from it may give other weights
        return {"constant": setting.value}
    if isinstance(setting, LostInitialiser):
        return {"function": setting.name}
    function = getattr(setting, "func", setting)  # of functools.partial
    return {"function": str(getattr(function, "__qualname__", type(function).__qualname__))}


def _initialiser_from(values: Any) -> Any:
    """Return the initialiser that `_initialiser` gave this of; anything else as it is.

    Raises
    ------
    InvalidInput
        A constant that is no number, or a name that is no string.
    """
    kinds = {"constant": ConstantInitialiser, "function": LostInitialiser}
    if not isinstance(values, dict) or len(values) != 1 or not values.keys() <= kinds.keys():
        return values
    ((kind, value),) = values.items()
    return kinds[kind](value)


def _from_dict(values: Any, kinds: dict[str, Any], what: str, where: str) -> Any:
    """Return the value that `_to_dict` gave; its class must be one of `kinds`."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise CorruptFile(
            f"{where} is damaged: {kind!r} is no kind of {what}; known: {', '.join(kinds)}"
        )
    settings = dict(_LATER.get(kind, {}))
    settings |= {name: setting for name, setting in values.items() if name != "kind"}
    settings = by_new_names(kinds[kind], settings)
    if settings.keys() != {each.name for each in fields(kinds[kind])}:
        raise CorruptFile(f"{where} is damaged: {kind} cannot have the settings {list(settings)}")
    for name, schedules in _SCHEDULED.items():
        if isinstance(settings.get(name), dict):
            settings[name] = _from_dict(settings[name], schedules, "schedule", where)
    if "activation" in settings:
        settings["activation"] = _rule(settings["activation"], CustomActivation, where)
    try:
        for name in _INITIALISERS & settings.keys():
            settings[name] = _initialiser_from(settings[name])
        return kinds[kind](**settings)
    except InvalidInput as error:
        raise CorruptFile(f"{where} is damaged: {error}") from error
