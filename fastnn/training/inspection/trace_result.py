"""The path of some updates: one row each, as text, as HTML, and as a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import InvalidInput, true_or_false
from fastnn.network import Dense, Dropout, Network
from fastnn.tables import Items, data_frame
from fastnn.training.inspection.values import (
    MOST_COLUMNS,
    Arrays,
    LayerValues,
    some_of,
    text_and_html,
)
from fastnn.training.text_table import cell

_WIDTH = 100  # of printed tables, in characters
_MOST_IN_FRAME = 10_000  # columns


@dataclass(frozen=True, eq=False)
class Step:
    """One update, and the minibatch that it is from.

    Attributes
    ----------
    step
        Its number, from 1 on: what `Trainer.step` is after it.
    epoch
        The epoch that it is in, counted from 1.
    rows
        Numbers of the rows of X in the batch, int64 (m,), in their order there.
    learning_rate
        As the schedule has it; a layer's `rate_factor` comes on top.
    loss
        The data loss of the batch before the update, without penalties.
    layers
        z and a of every layer, a `LayerValues` each, in the order of ``network.layers``: those of
        training, with the mask of each `Dropout` and the slopes that rrelu has drawn.
    dz
        dL/dz of each layer with parameters, (m, units).
    gradients
        (dW, db) of each layer with parameters, an `Arrays` in the order of `Trainer.parameters`:
        those of loss and l2, before `clip_value` and `clip_norm`.
    before, after
        W and b before and after the update, an `Arrays` for each layer, as `Trainer.parameters` has
        them. After a loss that is not finite there is no update, and both are the same.
    at
        The parameters of the forward pass. They are `before`, but for `AveragedSGD` and with an
        `ema`: these move, and `before` and `after` are their mean.
    """

    step: int
    epoch: int
    rows: np.ndarray
    learning_rate: float
    loss: float
    layers: tuple[LayerValues, ...]
    dz: tuple[np.ndarray, ...]
    gradients: tuple[Arrays, ...]
    before: tuple[Arrays, ...]
    after: tuple[Arrays, ...]
    at: tuple[Arrays, ...]


class Trace(Items[Step, tuple[Step, ...]]):
    """The updates of `Trainer.trace`, a sequence of `Step`.

    In tables and frames layers with parameters are numbered from 1, as course notes have them, and
    places in an array from 0, as NumPy has them: ``W1[0,1]`` is ``parameters[0].W[0, 1]``. Of
    several rows in a batch, ``z1[2,0]`` is that of the first unit for the batch's third row.
    ``x2`` is what a `Dropout` leaves of the inputs of layer 2.

    Attributes
    ----------
    steps
        The updates, a tuple.
    target
        What computed them.
    diverged
        Whether the last one has a loss that is not finite; training ends there, before the update.
    """

    def __init__(
        self, steps: Sequence[Step], network: Network, target: str, diverged: bool
    ) -> None:
        self.steps, self.target, self.diverged = tuple(steps), target, diverged
        self._network = network

    @property
    def _items(self) -> tuple[Step, ...]:
        return self.steps

    def to_frame(self, flat: bool = True) -> Any:
        """Return a `pandas.DataFrame` with one row an update, by the number of the step.

        Parameters
        ----------
        flat
            True: a column for every number, such as ``dW1[0,1]`` and ``W1[0,1] before``. Where the
            last batch of an epoch is short, z and a of the rows that it lacks are NaN. False: one
            for every array, such as ``dW1``.

        Raises
        ------
        InvalidInput
            More than 10,000 numbers an update, with `flat`.
        MissingExtra
            pandas is not installed.
        """
        flat = true_or_false(flat, "flat")
        columns: dict[str, Any] = {
            "epoch": [each.epoch for each in self],
            "rows": [each.rows for each in self],
            "learning_rate": [each.learning_rate for each in self],
            "loss": [each.loss for each in self],
        }
        for group in self._groups():
            if not flat:
                columns |= group.arrays
            elif len(columns) + group.size > _MOST_IN_FRAME:
                raise InvalidInput(
                    f"an update of this network has more than {_MOST_IN_FRAME:,} numbers, too many "
                    "for a column each; use to_frame(flat=False), which has arrays"
                )
            else:
                columns |= group.numbers()
        frame = data_frame(columns, [each.step for each in self])
        frame.index.name = "step"
        return frame

    def _groups(self) -> list[_Group]:
        """Return the arrays of all updates, by what they are."""
        position, values, network = 0, {}, self._network
        for number, layer in enumerate(network.layers):
            if isinstance(layer, Dropout):
                if not isinstance(network.layers[number + 1], Dropout):
                    values[f"x{position + 1}"] = [each.layers[number].a for each in self]
                continue
            position += 1
            values[f"z{position}"] = [each.layers[number].z for each in self]
            values[f"a{position}"] = [each.layers[number].a for each in self]
        for place in range(position):
            values[f"dz{place + 1}"] = [each.dz[place] for each in self]
        most = max(len(each.rows) for each in self)
        groups = [
            _Group("values of the batch", values, most),
            _Group("gradients", self._of_layers("gradients", "")),
            _Group("parameters before", self._of_layers("before", " before")),
            _Group("parameters after", self._of_layers("after", " after")),
        ]
        if any(each.at is not each.before for each in self):
            groups.append(
                _Group("parameters that learn, before", self._of_layers("at", " learning"))
            )
        return groups

    def _of_layers(self, attribute: str, end: str) -> dict[str, list[np.ndarray]]:
        found: dict[str, list[np.ndarray]] = {}
        for place, layer in enumerate(self._network.parametric):
            first: Arrays = getattr(self.steps[0], attribute)[place]
            for number, letter in enumerate(first.names):
                if number == 1 and isinstance(layer, Dense) and not layer.bias:
                    continue  # a bias that does not exist
                arrays = [getattr(each, attribute)[place][number] for each in self]
                found[f"{letter}{place + 1}{end}"] = arrays
        return found

    def _shown(self) -> tuple[str, str]:
        """Return the tables as text and as HTML."""
        head = f"Trace of {len(self)} update{'s' * (len(self) != 1)} on {self.target}"
        if self.diverged:
            head += f"; the loss of step {self[-1].step} is {self[-1].loss}, where training ends"
        picked = some_of(range(len(self)))
        steps = ["step", *("..." if at is None else str(self[at].step) for at in picked)]
        columns = [["epoch"], ["rows"], ["learning rate"], ["loss"]]
        for at in picked:
            cells = ["..."] * 4
            if at is not None:
                each = self[at]
                cells = [str(each.epoch), _some(each.rows)]
                cells += [cell(each.learning_rate), cell(each.loss)]
            for column, text in zip(columns, cells, strict=True):
                column.append(text)
        tables = [("updates", [steps, *columns])]
        for group in self._groups():
            if group.size > MOST_COLUMNS:
                head += (
                    f"\n{group.title}: {group.size:,} numbers an update, not shown; a step has them"
                )
                continue
            texts = [
                [
                    name.partition(" ")[0],
                    *("..." if at is None else _text(values[at]) for at in picked),
                ]
                for name, values in group.numbers().items()
            ]
            tables += [
                (f"{group.title}{', continued' * (number > 0)}", [steps, *some])
                for number, some in enumerate(_within(texts))
            ]
        return text_and_html(head, tables)

    def __repr__(self) -> str:
        """Show tables with one row an update; of many, the first and the last."""
        return self._shown()[0]

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        return self._shown()[1]


class _Group(NamedTuple):
    """Arrays of all updates, by name.

    `most` is the number of rows in the largest batch, for what has one entry a row: the first axis.
    """

    title: str
    arrays: dict[str, list[np.ndarray]]
    most: int | None = None

    def _shape(self, arrays: list[np.ndarray]) -> tuple[int, ...]:
        return arrays[0].shape if self.most is None else (self.most, *arrays[0].shape[1:])

    @property
    def size(self) -> int:
        """How many numbers an update has."""
        return sum(prod(self._shape(each)) for each in self.arrays.values())

    def numbers(self) -> dict[str, list[float | None]]:
        """Return every number, a list with one of each update; None for a row that is not there."""
        found: dict[str, list[float | None]] = {}
        for name, arrays in self.arrays.items():
            letter, space, end = name.partition(" ")
            for place in np.ndindex(self._shape(arrays)):
                # Of one row at a time, nobody asks which.
                shown = place[1:] if self.most == 1 else place
                column = f"{letter}[{','.join(map(str, shown))}]{space}{end}"
                found[column] = [
                    float(each[place]) if place[0] < len(each) else None for each in arrays
                ]
        return found


def _text(value: float | None) -> str:
    return "" if value is None else cell(value + 0.0)


def _some(rows: np.ndarray) -> str:
    texts = [str(each) for each in rows[:8]]
    return " ".join(texts + ["..."] * (len(rows) > 8))


def _within(columns: list[list[str]]) -> Iterator[list[list[str]]]:
    """Yield columns in parts that are no wider than a page."""
    part: list[list[str]] = []
    room = _WIDTH
    for column in columns:
        width = max(map(len, column)) + 2
        if part and width > room:
            yield part
            part, room = [], _WIDTH
        part.append(column)
        room -= width
    if part:
        yield part
