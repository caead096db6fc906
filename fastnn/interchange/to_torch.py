"""A network and its parameters as a module of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.parameters import Parameters
from fastnn.interchange.libraries import import_torch
from fastnn.interchange.torch_activations import make_activation
from fastnn.network import Dense, Dropout, Network


def make_module(network: Network, parameters: Parameters, probabilities: str) -> Any:
    """Return a `torch.nn.Sequential` that computes what the network does; copies.

    Parameters
    ----------
    network
        The layers.
    parameters
        Of each Dense, float32 or float64.
    probabilities
        "softmax" or "sigmoid" for a last module that makes probabilities of the outputs, or "".

    Raises
    ------
    InvalidInput
        An activation that PyTorch does not have.
    MissingExtra
        PyTorch is not installed.
    """
    torch = import_torch()
    modules: list[Any] = []
    given = iter(parameters)
    for position, layer in enumerate(network.layers):
        arrays = next(given) if isinstance(layer, Dense) else ()
        try:
            modules += _ROWS[type(layer)](torch, layer, arrays)
        except InvalidInput as error:
            raise InvalidInput(f"to_torch cannot translate layer {position}: {error}") from None
    if probabilities:
        last = Dense(network.outputs, probabilities)
        modules.append(make_activation(torch, last))
    return torch.nn.Sequential(*modules).eval()


def _dense(torch: Any, dense: Dense, parameters: tuple[np.ndarray, ...]) -> list[Any]:
    """Return the modules of one layer: one, or two with its activation."""
    W, b, *slopes = parameters
    dtype = getattr(torch, W.dtype.name)
    # So that PyTorch draws no numbers, which would change those that its user draws next.
    linear = torch.nn.utils.skip_init(
        torch.nn.Linear, *W.shape, bias=dense.bias, device="cpu", dtype=dtype
    )
    _fill(torch, linear.weight, W.T)
    if dense.bias:
        _fill(torch, linear.bias, b)
    if dense.activation == "identity":
        return [linear]
    if dense.activation == "prelu":
        prelu = torch.nn.PReLU(dense.units, init=dense.alpha, device="cpu", dtype=dtype)
        _fill(torch, prelu.weight, slopes[0])
        return [linear, prelu]
    return [linear, make_activation(torch, dense)]


def _dropout(torch: Any, dropout: Dropout, parameters: tuple[()]) -> list[Any]:
    return [torch.nn.Dropout(dropout.rate)]


def _fill(torch: Any, parameter: Any, values: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(values, device="cpu"))


# (torch, a layer, its parameters) -> its modules, one row a class of layers.
_ROWS: dict[type, Callable[..., list[Any]]] = {Dense: _dense, Dropout: _dropout}
