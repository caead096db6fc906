"""A network and its parameters as a module of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from fastnn.errors import InvalidInput
from fastnn.inputs.parameters import Parameters
from fastnn.interchange.libraries import import_torch
from fastnn.interchange.torch_activations import make_activation
from fastnn.layers import Layer
from fastnn.network import BatchNorm, Dense, Dropout, LayerNorm, Network, Periodic


def make_module(
    network: Network, parameters: Parameters, probabilities: Literal["softmax", "sigmoid", ""]
) -> Any:
    """Return a `torch.nn.Sequential` that computes what the network does; copies.

    Parameters
    ----------
    network
        The layers.
    parameters
        Of each layer that has some, float32 or float64.
    probabilities
        "softmax" or "sigmoid" for a last module that makes probabilities of the outputs, or "".

    Raises
    ------
    InvalidInput
        An activation, or a layer, that PyTorch does not have.
    MissingExtra
        PyTorch is not installed.
    """
    torch = import_torch()
    modules: list[Any] = []
    given = iter(parameters)
    for position, layer in enumerate(network.layers):
        arrays = next(given) if isinstance(layer, Layer) else ()
        try:
            modules += _ROWS[type(layer)](torch, layer, arrays)
        except InvalidInput as error:
            raise InvalidInput(f"to_torch cannot translate layer {position}: {error}") from None
    if probabilities:
        last = Dense(network.outputs, probabilities)
        modules.append(make_activation(torch, last))
    return torch.nn.Sequential(*modules).eval()


def _dense(torch: Any, dense: Dense, parameters: tuple[np.ndarray, ...]) -> list[Any]:
    W, b, *slopes = parameters
    # So that PyTorch draws no numbers, which would change those that its user draws next.
    linear = torch.nn.utils.skip_init(
        torch.nn.Linear, *W.shape, bias=dense.bias, **_made(torch, W.dtype)
    )
    _fill(torch, linear.weight, W.T)
    if dense.bias:
        _fill(torch, linear.bias, b)
    modules = [linear, *_activation(torch, dense, b, slopes)]
    if not dense.trainable:
        for module in modules:
            module.requires_grad_(False)
    return modules


def _layer_norm(torch: Any, layer: LayerNorm, parameters: tuple[np.ndarray, ...]) -> list[Any]:
    gamma, beta, *slopes = parameters
    norm = torch.nn.LayerNorm(gamma.size, layer.epsilon, **_made(torch, gamma.dtype))
    _fill(torch, norm.weight, gamma)
    _fill(torch, norm.bias, beta)
    return [norm, *_activation(torch, layer, beta, slopes)]


def _batch_norm(torch: Any, layer: BatchNorm, parameters: tuple[np.ndarray, ...]) -> list[Any]:
    gamma, beta, mean, variance, *slopes = parameters
    norm = torch.nn.BatchNorm1d(
        gamma.size, layer.epsilon, layer.momentum, **_made(torch, gamma.dtype)
    )
    _fill(torch, norm.weight, gamma)
    _fill(torch, norm.bias, beta)
    _fill(torch, norm.running_mean, mean)
    _fill(torch, norm.running_var, variance)
    return [norm, *_activation(torch, layer, beta, slopes)]


def _periodic(torch: Any, layer: Periodic, parameters: tuple[np.ndarray, ...]) -> list[Any]:
    raise InvalidInput(
        "PyTorch has no module for Periodic; to_onnx has it, and its frequencies and phases are "
        "among trainer.parameters"
    )


def _activation(torch: Any, layer: Layer, b: np.ndarray, slopes: list[np.ndarray]) -> list[Any]:
    """Return the module of a layer's activation, or none; b has a number for each unit."""
    if layer.activation == "identity":
        return []
    if layer.activation == "prelu":
        prelu = torch.nn.PReLU(b.size, init=layer.alpha, **_made(torch, b.dtype))
        _fill(torch, prelu.weight, slopes[0])
        return [prelu]
    return [make_activation(torch, layer)]


def _made(torch: Any, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the arguments of a module that say where it is, and of what dtype."""
    return {"device": "cpu", "dtype": getattr(torch, dtype.name)}


def _dropout(torch: Any, dropout: Dropout, parameters: tuple[()]) -> list[Any]:
    return [torch.nn.Dropout(dropout.rate)]


def _fill(torch: Any, parameter: Any, values: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(values, device="cpu"))


# (torch, a layer, its parameters) -> its modules, one row a class of layers.
_ROWS: dict[type, Callable[..., list[Any]]] = {
    Dense: _dense,
    Dropout: _dropout,
    LayerNorm: _layer_norm,
    BatchNorm: _batch_norm,
    Periodic: _periodic,
}
