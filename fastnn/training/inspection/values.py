"""What a look inside gives: arrays by their letters, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnn.network import Network
from fastnn.tables import Items, aligned, html_table, html_text
from fastnn.training.text_table import Tabled, cell

MOST_COLUMNS = 60  # numbers of a row that are all printed
_MOST_ROWS = 20  # printed; of more, the first and the last


class Arrays(tuple[np.ndarray, ...]):
    """The arrays of one layer: a tuple in the order of `Trainer.parameters`, and by letter.

    >>> pair = Arrays(("dW", "db"), (np.ones((2, 1)), np.zeros(1)))
    >>> dW, db = pair
    >>> pair.dW is dW, pair.names
    (True, ('dW', 'db'))
    """

    names: tuple[str, ...]

    def __new__(cls, names: Iterable[str], arrays: Iterable[np.ndarray]) -> Arrays:
        """Return arrays under these names."""
        found = super().__new__(cls, arrays)
        found.names = tuple(names)
        return found

    def __getattr__(self, name: str) -> Any:
        """Return the array of that name."""
        names = self.__dict__.get("names", ())
        if name in names:
            return self[names.index(name)]
        hint = "; dz is that of the whole network, an array each layer" if name == "dz" else ""
        raise AttributeError(f"there is no {name!r} here, only {', '.join(names)}{hint}")

    def __dir__(self) -> list[str]:
        """List the names too, for completion."""
        return sorted({*super().__dir__(), *self.names})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle names and arrays."""
        return Arrays, (self.names, tuple(self))


class LayerValues(NamedTuple):
    """What one layer makes of a batch of m rows.

    Attributes
    ----------
    name
        What messages call the layer; of one without parameters, its kind.
    z
        Before the activation, (m, units): x W + b of a Dense, gamma x_hat + beta of a norm; of a
        Dropout what comes in.
    a
        What comes out, (m, units): activation(z); of a Dropout, what is kept of z, scaled.
    """

    name: str
    z: np.ndarray
    a: np.ndarray


def letters(network: Network, before: str = "") -> list[tuple[str, ...]]:
    """Return the letters of the parameters of each layer that has any, such as W and b."""
    return [
        tuple(f"{before}{each.letter or each.name}" for each in layer)
        for layer in network.parameters
    ]


def named(network: Network, arrays: Iterable[tuple[np.ndarray, ...]], before: str = "") -> Any:
    """Return arrays like those of `Trainer.parameters`, by their letters."""
    return tuple(map(Arrays, letters(network, before), arrays))


class Activations(Tabled, Items[LayerValues, tuple[LayerValues, ...]]):
    """The values of every layer of a network, in the order of ``network.layers``.

    Printed, a table with a line for each layer and row of X; of large ones, the shapes.

    Attributes
    ----------
    layers
        A `LayerValues` each; ``activations[0]`` is the first.
    outputs
        What comes out of the last layer, as `Trainer.forward` returns it.
    """

    _left = 0, 2, 3

    def __init__(self, layers: Iterable[LayerValues]) -> None:
        self.layers = tuple(layers)

    @property
    def outputs(self) -> np.ndarray:
        """What comes out of the last layer."""
        return self.layers[-1].a

    @property
    def _items(self) -> tuple[LayerValues, ...]:
        return self.layers

    def _table(self) -> tuple[str, list[list[str]]]:
        """Return every layer and row."""
        columns: list[list[str]] = [["layer"], ["row"], ["z"], ["a"]]
        for layer in self.layers:
            for row in some_of(range(len(layer.z))):
                texts = [
                    layer.name, "..." if row is None else str(row),
                    *("..." if row is None else row_text(each[row]) for each in layer[1:]),
                ]  # fmt: skip
                for column, text in zip(columns, texts, strict=True):
                    column.append(text)
        return "", columns


@dataclass(frozen=True, repr=False, eq=False)
class Gradients(Tabled):
    """Loss and gradients of a network on some rows.

    Attributes
    ----------
    loss
        The data loss, sum_r w_r l_r / sum_r w_r, as `Trainer.evaluate` has it: without penalties.
    penalty
        l1 sum|W| + l2/2 sum W^2 over all Dense layers.
    layers
        For each layer with parameters an `Arrays` (dW, db), in the order and of the shapes of
        `Trainer.parameters`, further ones such as dslopes, dgamma, dbeta included.
    dz
        For each of these layers dL/dz, (m, units), L being the data loss.
    inputs
        dL/dX, (m, inputs), or None where that was not asked for.
    names
        What messages call each of the layers with parameters.
    """

    loss: float
    penalty: float
    layers: tuple[Arrays, ...]
    dz: tuple[np.ndarray, ...]
    inputs: np.ndarray | None
    names: tuple[str, ...]

    _left = 0, 1, 2, 3

    def _table(self) -> tuple[str, list[list[str]]]:
        """Return the loss, and a row for each array."""
        penalty = f", penalty {cell(self.penalty)}" if self.penalty else ""
        found = [
            (layer, name, str(array.shape), row_text(array))
            for layer, arrays in zip(self.names, self.layers, strict=True)
            for name, array in zip(arrays.names, arrays, strict=True)
        ]
        if self.inputs is not None:
            found.insert(0, ("inputs", "dX", str(self.inputs.shape), row_text(self.inputs)))
        rows = [("layer", "gradient", "shape", "values"), *found]
        columns = [list(column) for column in zip(*rows, strict=True)]
        return f"loss {cell(self.loss)}{penalty}", columns


def row_text(array: np.ndarray) -> str:
    """Return the numbers of a small array in four digits, as a list; of a large one their range.

    >>> row_text(np.array([[0.5, 1 / 3]])), row_text(np.arange(100.0))
    ('[[0.5 0.3333]]', '100 numbers from 0 to 99')
    """
    if array.size > 12:
        return f"{array.size} numbers from {cell(float(array.min()))} to {cell(float(array.max()))}"
    if array.ndim == 1:
        return f"[{' '.join(cell(float(each) + 0.0) for each in array)}]"
    return f"[{' '.join(map(row_text, array))}]"


def some_of(rows: range) -> list[int | None]:
    """Return numbers of rows to print: all, or the first and the last with a None in between."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    half = _MOST_ROWS // 2
    return [*rows[:half], None, *rows[-half:]]


def text_and_html(head: str, tables: Iterable[tuple[str, list[list[str]]]]) -> tuple[str, str]:
    """Return tables under their titles as lines of text, and as HTML."""
    found = list(tables)
    text = [head]
    for title, columns in found:
        text += ["", title, *(line.rstrip() for line in aligned(columns))]
    html = "".join(html_table(columns, title) for title, columns in found)
    return "\n".join(text), html_text(head) + html
