"""The layers of a network: what comes out of each, and how many parameters it has."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fastnn.network import Dense, Dropout, Network, unknown_inputs
from fastnn.training.text_table import Tabled


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes
    ----------
    name
        What messages call it; "inputs" for what goes into the first.
    activation
        Its name, or the formula of one of your own; "" where there is none.
    output_shape
        (None, units): None stands for the rows.
    shapes
        Those of its parameters, by their letters.
    parameters
        Numbers that it holds, running statistics included; a bias that does not exist is none.
    trainable
        How many of these the optimizer changes.
    """

    name: str
    activation: str
    output_shape: tuple[int | None, ...]
    shapes: dict[str, tuple[int, ...]]
    parameters: int = 0
    trainable: int = 0


@dataclass(frozen=True, repr=False)
class Summary(Tabled):
    """The layers of a network, printed as a table.

    Attributes
    ----------
    layers
        The inputs, and every layer in the order of ``network.layers``.
    parameters, trainable
        The sums over all layers.
    """

    layers: tuple[LayerSummary, ...]

    _left = 0, 1, 2

    @property
    def parameters(self) -> int:
        """How many parameters there are in all."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self) -> int:
        """How many of them the optimizer changes."""
        return sum(layer.trainable for layer in self.layers)

    def _table(self) -> tuple[str, list[list[str]]]:
        """Return a row for each layer, and the sums; m is the number of rows."""
        rows = [("layer", "activation", "shapes", "output", "parameters", "trainable")]
        for each in self.layers:
            shapes = ", ".join(f"{letter} {shape}" for letter, shape in each.shapes.items())
            counts = f"{each.parameters:,}", f"{each.trainable:,}"
            output = f"(m, {each.output_shape[-1]})"
            rows.append((each.name, each.activation, shapes, output, *counts))
        rows.append(("total", "", "", "", f"{self.parameters:,}", f"{self.trainable:,}"))
        return "", [list(column) for column in zip(*rows, strict=True)]


def summary_of(network: Network) -> Summary:
    """Return the summary of a network.

    Raises
    ------
    InvalidInput
        It does not know its number of inputs yet.
    """
    if network.inputs is None:
        raise unknown_inputs("know its shapes")
    found = [LayerSummary("inputs", "", (None, network.inputs), {})]
    names, known = iter(network.names), iter(network.parameters)
    for layer in network.layers:
        if isinstance(layer, Dropout):
            found.append(LayerSummary(f"Dropout {layer.rate:g}", "", found[-1].output_shape, {}))
            continue
        parameters = [
            each
            for each in next(known)
            if not (isinstance(layer, Dense) and each.letter == "b" and not layer.bias)
        ]
        rule = layer.activation
        sizes = [(prod(each.shape), each.trained and layer.trainable) for each in parameters]
        found.append(
            LayerSummary(
                next(names),
                rule if isinstance(rule, str) else str(rule),
                (None, layer.outputs_of(found[-1].output_shape[-1] or 0)),
                {each.letter or each.name: each.shape for each in parameters},
                sum(size for size, _ in sizes),
                sum(size for size, trained in sizes if trained),
            )
        )
    return Summary(tuple(found))
