"""A module of PyTorch as a network and its parameters.

The module is a chain of layers, nested or not, of which each kind is a row of `_ROWS`. What has no
row, or is set to what fastnn has not, is refused with its name and its place in the module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.inputs.parameters import Parameters
from fastnn.interchange.libraries import import_torch
from fastnn.interchange.torch_activations import KINDS, read_activation
from fastnn.layers import rule_of
from fastnn.network import Dense, Dropout, Network
from fastnn.rules.table import LOSSES, loss_row

# max(0, c z) = c max(0, z): these may stand on either side of a dropout.
_HOMOGENEOUS = ("relu", "leaky_relu", "prelu", "rrelu")
# The last module that a loss of raw outputs stands for: it applies this itself.
_OF_LOSS = {
    "softmax_cross_entropy": ("Softmax", "LogSoftmax"),
    "binary_cross_entropy": ("Sigmoid",),
}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass
class Place:
    """One module of the chain, with what names it in messages."""

    module: Any
    kind: str
    text: str

    def refuse(self, why: str) -> InvalidInput:
        """Return the error that says why fastnn cannot have the module."""
        return InvalidInput(f"from_torch cannot translate {self.text}: {why}")


@dataclass
class Chain:
    """What has been read so far."""

    torch: Any
    inputs: int = 0
    layers: list[Dense | Dropout] = field(default_factory=list)
    parameters: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    dtype: np.dtype | None = None
    activated: bool = False  # whether the last Dense has its activation
    tensors: dict[int, str] = field(default_factory=dict)  # id of each parameter -> whose it is

    def last_dense(self) -> int | None:
        """Return the position of the last Dense among the layers."""
        dense = [at for at, layer in enumerate(self.layers) if isinstance(layer, Dense)]
        return dense[-1] if dense else None


def read_module(module: Any, loss: Any) -> tuple[Network, Parameters, np.dtype]:
    """Return the network that a module of PyTorch is, its parameters, and their dtype.

    Parameters
    ----------
    module
        A `torch.nn.Linear` or a `torch.nn.Sequential`, on any device; not changed.
    loss
        What it will be trained with. Where that takes raw outputs and applies the softmax or the
        sigmoid in which the module ends, the network ends before it.

    Raises
    ------
    InvalidInput
        What is no module, or has something in it that fastnn cannot have.
    MissingExtra
        PyTorch is not installed.
    """
    torch = import_torch()
    if not isinstance(module, torch.nn.Module):
        raise InvalidInput(
            "from_torch takes a module of PyTorch, such as nn.Sequential(nn.Linear(4, 3)), not "
            f"{type(module).__name__} {shown(module):.60}"
        )
    loss = rule_of("loss", loss, LOSSES)
    places = [place for place in _places(torch, module, "") if not _does_nothing(place)]
    if places and loss_row(loss).from_logits:
        _check_end(places, loss)
    chain = Chain(torch)
    for place in places:
        _ROWS[place.kind](chain, place)
    if chain.last_dense() is None or chain.dtype is None:
        raise InvalidInput(
            f"from_torch finds no nn.Linear in {_shown(module)}; give it a module that has one"
        )
    if isinstance(chain.layers[-1], Dropout):
        raise places[-1].refuse("a network ends in its outputs; take the dropout at the end out")
    return Network(chain.inputs, chain.layers), chain.parameters, chain.dtype


def _places(torch: Any, module: Any, path: str) -> Iterator[Place]:
    """Yield the modules that compute something, in their order."""
    kind = _kind(torch.nn, module)
    where = f"module {path}, {_shown(module)}" if path else f"the module {_shown(module)}"
    place = Place(module, kind, where)
    if kind in _ROWS or kind == "Sequential":
        _check_unchanged(torch, place)
    if kind == "Sequential":
        for name, child in module._modules.items():  # which names one that occurs twice, too
            yield from _places(torch, child, f"{path}.{name}" if path else name)
    elif kind in _ROWS:
        yield place
    elif next(module.children(), None) is not None:
        raise place.refuse(
            "what its forward does with its children is not known; if they run one after the "
            "other, pass nn.Sequential(*module.children())"
        )
    else:
        raise place.refuse(f"take it out, or use what fastnn has, which is {', '.join(_ROWS)}")


def _does_nothing(place: Place) -> bool:
    """Return whether rows of features stay as they are."""
    module = place.module
    if place.kind == "Flatten":  # rows are flat already
        return module.start_dim == 1 and module.end_dim in (-1, 1)
    return place.kind == "Identity" or (place.kind == "Dropout" and module.p == 0)


def _kind(nn: Any, module: Any) -> str:
    """Return the class of `torch.nn` that a module is of; of a derived one that computes the same.

    "" for a module with a `forward` of its own.
    """
    kind: Any = type(module)
    for base in kind.__mro__:
        known = base is getattr(nn, base.__name__, None) and base is not nn.Module
        if known and not base.__name__.startswith("Lazy"):  # which become what they derive from
            same = kind.forward is base.forward and "forward" not in vars(module)
            return base.__name__ if same else ""
    return ""


def _check_unchanged(torch: Any, place: Place) -> None:
    """Refuse a module that computes something other than its class does."""
    if getattr(place.module, "has_uninitialized_params", bool)():
        raise place.refuse("its parameters have no shape yet; call the module on a batch first")
    if any(getattr(place.module, name, None) for name in _HOOKS):
        raise place.refuse(
            "it has hooks, which fastnn would not call; remove them (weight_norm, spectral_norm "
            "and prune have functions for that)"
        )
    if torch.nn.utils.parametrize.is_parametrized(place.module):
        raise place.refuse(
            "it is parametrized, which training would not keep to; call "
            "torch.nn.utils.parametrize.remove_parametrizations(module, name) first"
        )


def _shown(module: Any) -> str:
    text = " ".join(shown(module).split())
    return text if len(text) <= 80 else f"{text[:80]}..."


def _check_end(places: list[Place], loss: str) -> None:
    """Take away the last module if the loss applies it, and refuse one that does not go with it."""
    end, applied = places[-1], _OF_LOSS[loss]
    if end.kind in applied and len(places) > 1:
        if end.kind != "Sigmoid" and end.module.dim not in (1, -1, None):
            raise end.refuse(f"it is over dim={end.module.dim}, not over the units; use dim=1")
        del places[-1]
    elif end.kind in ("Softmax", "LogSoftmax", "Sigmoid"):
        other = next(name for name, kinds in _OF_LOSS.items() if end.kind in kinds)
        keep = "" if end.kind == "LogSoftmax" else ", or loss='mse', which trains what it gives"
        raise end.refuse(
            f"loss {loss!r} takes raw outputs and applies another function itself; pass "
            f"loss={other!r}, which applies this one{keep}"
        )


def _linear(chain: Chain, place: Place) -> None:
    """Begin a layer."""
    module = place.module
    inputs, units = module.in_features, module.out_features
    before = chain.parameters[-1][1].size if chain.parameters else inputs
    if inputs != before:
        raise place.refuse(f"it takes {inputs} inputs, but what comes before gives {before}")
    W = _array(chain, place, "weight").T
    bias = module.bias is not None
    b = _array(chain, place, "bias") if bias else np.zeros(units, W.dtype)
    _check_shapes(place, weight=(W.T, (units, inputs)), bias=(b, (units,)))
    if not chain.parameters:
        chain.inputs = inputs
    chain.layers.append(_checked(place, Dense, units, bias=bias))
    chain.parameters.append((W, b))
    chain.activated = False


def _dropout(chain: Chain, place: Place) -> None:
    chain.layers.append(_checked(place, Dropout, place.module.p))


def _flatten(chain: Chain, place: Place) -> None:
    raise place.refuse(
        "it would put rows together or leave them in parts, while fastnn has a row of features for "
        "each sample; use nn.Flatten()"
    )


def _log_softmax(chain: Chain, place: Place) -> None:
    raise place.refuse(
        "fastnn has it only where a network ends in it, with loss='softmax_cross_entropy', which "
        "applies the softmax itself"
    )


def _activation(chain: Chain, place: Place) -> None:
    try:
        dtype = np.dtype(np.float32) if chain.dtype is None else chain.dtype
        activation, alpha = read_activation(place.kind, place.module, dtype)
    except InvalidInput as error:
        raise place.refuse(str(error)) from None
    _activate(chain, place, activation=activation, alpha=alpha)


def _prelu(chain: Chain, place: Place) -> None:
    slopes = _array(chain, place, "weight")
    _activate(chain, place, activation="prelu", alpha=place.module.init)
    units = chain.parameters[-1][1].size
    if slopes.shape not in ((1,), (units,)):
        raise place.refuse(
            f"it has {len(slopes)} slopes, but the layer has {units} units; use one or {units}"
        )
    chain.parameters[-1] += (np.broadcast_to(slopes, units),)


def _activate(chain: Chain, place: Place, **settings: Any) -> None:
    """Give the last Dense an activation."""
    at = chain.last_dense()
    if at is None:
        raise place.refuse("it comes before any nn.Linear; apply it to X instead")
    if chain.activated:
        raise place.refuse(
            "a layer has one activation, and this one has another already; give "
            "the two as one function, such as Dense(8, activation=lambda z: ...) of a Network"
        )
    if at < len(chain.layers) - 1 and settings["activation"] not in _HOMOGENEOUS:
        raise place.refuse("it comes after a dropout; put the nn.Dropout behind it")
    chain.layers[at] = _checked(place, replace, chain.layers[at], **settings)
    chain.activated = True


def _checked(place: Place, make: Callable[..., Any], *values: Any, **settings: Any) -> Any:
    """Return a layer, or the error of its settings with the place."""
    try:
        return make(*values, **settings)
    except InvalidInput as error:
        raise place.refuse(str(error)) from None


def _array(chain: Chain, place: Place, name: str) -> np.ndarray:
    """Return a parameter of a module as an array on the host, which shares memory if it can."""
    torch, tensor = chain.torch, getattr(place.module, name)
    if tensor.is_meta:
        raise place.refuse(f"its {name} is on the device meta and has no values; load them first")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise place.refuse(f"its {name} is no dense tensor of numbers; convert it first")
    dtypes: dict[Any, np.dtype[Any]] = {
        torch.float32: np.dtype(np.float32),
        torch.float64: np.dtype(np.float64),
    }
    dtype = dtypes.get(tensor.dtype)
    if dtype is None:
        raise place.refuse(
            f"its {name} is of {tensor.dtype}, and fastnn has float32 and float64; pass "
            "module.float()"
        )
    if chain.dtype not in (None, dtype):
        raise place.refuse(
            f"its {name} is {dtype}, while those before are {chain.dtype}; pass module.float() or "
            "module.double()"
        )
    chain.dtype = dtype
    owner = chain.tensors.setdefault(id(tensor), place.text)
    if owner is not place.text:
        raise place.refuse(
            f"it shares its {name} with {owner}, but fastnn trains each layer's own; pass "
            "a module in which each layer has parameters of its own"
        )
    _check_trainable(place, name, tensor)
    return tensor.numpy(force=True)


def _check_trainable(place: Place, name: str, tensor: Any) -> None:
    """Refuse a parameter that PyTorch would not train, or not by its gradient alone."""
    if not tensor.requires_grad:
        raise place.refuse(
            f"its {name} has requires_grad=False, but fastnn trains all parameters; call "
            "module.requires_grad_() if it may"
        )
    if tensor._backward_hooks:
        raise place.refuse(f"its {name} has hooks, which fastnn would not call; remove them")


def _check_shapes(place: Place, **shapes: tuple[np.ndarray, tuple[int, ...]]) -> None:
    """Refuse parameters that were replaced by others of another shape."""
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise place.refuse(f"its {name} has shape {array.shape}, not {shape}; make it anew")


# What each class of `torch.nn` becomes, one row a class; those that do nothing are left out before.
_ROWS: dict[str, Callable[[Chain, Place], None]] = {
    "Linear": _linear,
    "Dropout": _dropout,
    "Identity": lambda chain, place: None,
    "Flatten": _flatten,
    "PReLU": _prelu,
    **dict.fromkeys(KINDS, _activation),
    "LogSoftmax": _log_softmax,
}
