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
from fastnn.layers import Layer
from fastnn.network import BatchNorm, Dense, Dropout, LayerNorm, Network

# max(0, c z) = c max(0, z): these may stand on either side of a dropout.
_HOMOGENEOUS = ("relu", "leaky_relu", "prelu", "rrelu")
# The last module that a loss of raw outputs stands for: it applies this itself.
_OF_LOSS = {
    "softmax_cross_entropy": ("Softmax", "LogSoftmax"),
    "binary_cross_entropy": ("Sigmoid",),
    "poisson": (),  # the exponential, of which PyTorch has no module
}
# At most for finding out, in units of NumPy, whose types know 0 and -1 alone: a tenth of a second.
_WORK: Any = 1_000_000
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
    width: int = 0  # numbers in a row of what has been read so far
    layers: list[Layer | Dropout] = field(default_factory=list)
    parameters: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    dtype: np.dtype | None = None
    last: Place | None = None  # the module that the last layer with parameters began with
    activated: bool = False  # whether that layer has its activation
    # Of each parameter: its place, its name, its device and where it lies in memory.
    tensors: list[tuple[Place, str, Any, np.ndarray]] = field(default_factory=list)

    def begin(
        self,
        place: Place,
        inputs: int,
        outputs: int,
        parameters: tuple[np.ndarray, ...],
        make: Callable[..., Layer],
        *values: Any,
        **settings: Any,
    ) -> None:
        """Begin a layer with parameters, which `make` makes of its settings."""
        if self.parameters and inputs != self.width:
            raise place.refuse(
                f"it takes {inputs} inputs, but what comes before gives {self.width}"
            )
        self.layers.append(_checked(place, make, *values, **settings))
        self.inputs = self.inputs or inputs
        self.parameters.append(parameters)
        self.width, self.last, self.activated = outputs, place, False

    def last_layer(self) -> int:
        """Return the position of the last layer with parameters, of which there is one."""
        return max(at for at, layer in enumerate(self.layers) if isinstance(layer, Layer))


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
    places = [place for place in _places(torch, module, "") if not _does_nothing(place)]
    # Others apply nothing; whether there is such a loss at all is known with the outputs.
    if places and isinstance(loss, str) and loss in _OF_LOSS:
        _check_end(places, loss)
    chain = Chain(torch)
    for place in places:
        _ROWS[place.kind](chain, place)
    dense = [layer for layer in chain.layers if isinstance(layer, Dense)]
    if not dense or chain.dtype is None or chain.last is None:
        raise InvalidInput(
            f"from_torch finds no nn.Linear in {_shown(module)}; give it a module that has one"
        )
    if isinstance(chain.layers[-1], Dropout):
        raise places[-1].refuse("a network ends in its outputs; take the dropout at the end out")
    if dense[-1] is not chain.layers[-1]:
        raise chain.last.refuse(
            "a network ends in a Linear and its activation; put an nn.Linear behind this one, of "
            "which the weight may be the identity, with bias=False and requires_grad=False"
        )
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
    kind: Any = getattr(module, "cls_to_become", None) or type(module)  # the first, of lazy ones
    for base in kind.__mro__:
        known = base is getattr(nn, base.__name__, None) and base is not nn.Module
        if known:
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
    """Begin a Dense."""
    module = place.module
    inputs, units = module.in_features, module.out_features
    W = _array(chain, place, "weight").T
    bias = module.bias is not None
    b = _array(chain, place, "bias") if bias else np.zeros(units, W.dtype)
    _check_shapes(place, weight=(W.T, (units, inputs)), bias=(b, (units,)))
    trainable = _trainable(place, "weight", "bias") if bias else _trainable(place, "weight")
    chain.begin(place, inputs, units, (W, b), Dense, units, bias=bias, trainable=trainable)


def _layer_norm(chain: Chain, place: Place) -> None:
    shape = tuple(place.module.normalized_shape)
    if len(shape) != 1:
        raise place.refuse(
            f"it normalizes over {len(shape)} dimensions, while fastnn has a row of features for "
            f"each sample; use nn.LayerNorm({np.prod(shape)}) of rows"
        )
    _norm(chain, place, shape[0], "elementwise_affine", ("weight", "bias"), LayerNorm)


def _batch_norm(chain: Chain, place: Place) -> None:
    module = place.module
    if not module.track_running_stats or module.running_mean is None or module.running_var is None:
        raise place.refuse(
            "it keeps no running statistics, with which fastnn's BatchNorm predicts; make it with "
            "track_running_stats=True"
        )
    if module.momentum is None:
        raise place.refuse(
            "its momentum is None, which makes the running statistics a mean over all batches, "
            "while fastnn has a moving one; set it to a number, such as 0.1"
        )
    names = ("weight", "bias", "running_mean", "running_var")
    size, momentum = module.num_features, module.momentum
    _norm(chain, place, size, "affine", names, BatchNorm, momentum=momentum)


def _norm(
    chain: Chain,
    place: Place,
    size: int,
    affine: str,
    names: tuple[str, ...],
    make: Callable[..., Layer],
    **settings: Any,
) -> None:
    """Begin a layer that normalizes `size` numbers; `affine` is what weight and bias depend on."""
    for name, setting in (("weight", affine), ("bias", "bias")):
        if getattr(place.module, name) is None:
            raise place.refuse(
                f"it has no {name}, while fastnn trains weight and bias of every norm; make it "
                f"with {setting}=True, which begins with the same outputs"
            )
    arrays = {name: _array(chain, place, name) for name in names}
    _check_shapes(place, **{name: (array, (size,)) for name, array in arrays.items()})
    if not (_trained(place, "weight") and _trained(place, "bias")):
        raise place.refuse(
            "its weight or bias has requires_grad=False, but fastnn trains every norm; call "
            "requires_grad_() on it if it may, or else give from_torch what comes after the frozen "
            "layers, and train that on what these make of X"
        )
    parameters, epsilon = tuple(arrays.values()), place.module.eps
    chain.begin(place, size, size, parameters, make, epsilon=epsilon, **settings)


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
    layer = _activate(chain, place, activation="prelu", alpha=place.module.init)
    if slopes.shape not in ((1,), (chain.width,)):
        raise place.refuse(
            f"it has {len(slopes)} slopes, but the layer has {chain.width} units; use one or "
            f"{chain.width}"
        )
    if _trained(place, "weight") != layer.trainable:
        assert chain.last is not None
        raise place.refuse(
            f"of its weight and {chain.last.text} one has requires_grad=False, but fastnn trains a "
            "layer with its slopes or neither; call requires_grad_() on both, or, if that is a "
            "Linear, requires_grad_(False)"
        )
    chain.parameters[-1] += (np.broadcast_to(slopes, chain.width),)


def _activate(chain: Chain, place: Place, **settings: Any) -> Layer:
    """Give the last layer an activation, and return it."""
    if chain.last is None:
        raise place.refuse("it comes before any layer with parameters; apply it to X instead")
    at = chain.last_layer()
    if chain.activated:
        raise place.refuse(
            "a layer has one activation, and this one has another already; give "
            "the two as one function, such as Dense(8, activation=lambda z: ...) of a Network"
        )
    if at < len(chain.layers) - 1 and settings["activation"] not in _HOMOGENEOUS:
        raise place.refuse("it comes after a dropout; put the nn.Dropout behind it")
    layer: Layer = _checked(place, replace, chain.layers[at], **settings)
    chain.layers[at], chain.activated = layer, True
    return layer


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
    _check_unshared(chain, place, name, tensor, dtype)
    if tensor._backward_hooks:
        raise place.refuse(f"its {name} has hooks, which fastnn would not call; remove them")
    return tensor.numpy(force=True)


class _Lying:
    """Where a tensor lies, as NumPy takes it; of another device it is an address that none reads.

    Several parameters may be parts of one storage, and one parameter several tensors: what tells
    them apart is which bytes they have.
    """

    def __init__(self, tensor: Any, dtype: np.dtype[Any]) -> None:
        self.__array_interface__ = {
            "data": (tensor.data_ptr(), True),
            "shape": tuple(tensor.shape),
            "strides": tuple(step * dtype.itemsize for step in tensor.stride()),
            "typestr": dtype.str,
            "version": 3,
        }


def _check_unshared(
    chain: Chain, place: Place, name: str, tensor: Any, dtype: np.dtype[Any]
) -> None:
    """Refuse a parameter that has memory in common with one that has been read."""
    memory = np.asarray(_Lying(tensor, dtype))
    for other, its, device, known in chain.tensors:
        shares = _shares(memory, known) if device == tensor.device else ""
        if shares:
            whose = f"its {its}" if other is place else f"{other.text}"
            raise place.refuse(
                f"it {shares} its {name} with {whose}, but fastnn trains each layer's own; pass "
                "a module in which each layer has parameters of its own"
            )
    chain.tensors.append((place, name, tensor.device, memory))


def _shares(memory: np.ndarray, known: np.ndarray) -> str:
    """Return "shares" where two arrays have bytes in common, "" where not, else "may share".

    The time of an exact answer may grow exponentially with the dimensions of strided views.
    """
    try:
        return "shares" if np.shares_memory(memory, known, max_work=_WORK) else ""
    except np.exceptions.TooHardError:
        return "may share" if np.may_share_memory(memory, known) else ""


def _trained(place: Place, name: str) -> bool:
    """Return whether PyTorch trains a parameter."""
    return bool(getattr(place.module, name).requires_grad)


def _trainable(place: Place, *names: str) -> bool:
    """Return whether PyTorch trains the parameters, or refuse if it trains some of them."""
    frozen = [name for name in names if not _trained(place, name)]
    if frozen and len(frozen) < len(names):
        raise place.refuse(
            f"its {frozen[0]} has requires_grad=False and the rest of it has not, but fastnn "
            "trains a whole layer or nothing of it; call requires_grad_(False) or "
            "requires_grad_() on the module"
        )
    return not frozen


def _check_shapes(place: Place, **shapes: tuple[np.ndarray, tuple[int, ...]]) -> None:
    """Refuse parameters that were replaced by others of another shape."""
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise place.refuse(f"its {name} has shape {array.shape}, not {shape}; make it anew")


# What each class of `torch.nn` becomes, one row a class; those that do nothing are left out before.
_ROWS: dict[str, Callable[[Chain, Place], None]] = {
    "Linear": _linear,
    "LayerNorm": _layer_norm,
    "BatchNorm1d": _batch_norm,
    "Dropout": _dropout,
    "Identity": lambda chain, place: None,
    "Flatten": _flatten,
    "PReLU": _prelu,
    **dict.fromkeys(KINDS, _activation),
    "LogSoftmax": _log_softmax,
}
