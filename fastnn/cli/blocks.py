"""The rows of a table as a model reads them, some thousand after another."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastnn.cli.data import called, read_blocks
from fastnn.cli.model import Described, labelled, remarks, said_of_unlabelled, weights_of
from fastnn.errors import InvalidInput
from fastnn.tabular.met import Met
from fastnn.tabular.table import Matrix, Table, WrongCell, counted, in_file


class Blocks:
    """The rows of DATA for a model, with the model's names, and what was met in them so far.

    Attributes
    ----------
    rows
        How many.
    weighted
        Whether they count by the column of weights of the training, which those to evaluate may
        lack.
    """

    def __init__(self, model: Described, options: argparse.Namespace) -> None:
        self._model, self._options = model, options
        self.rows, self._met = 0, Met()
        self._said: list[str] = []  # of how they were read
        self._absent: Counter[str] = Counter()  # texts that stand for no label
        self._new: Counter[str] = Counter()  # labels that the model does not know
        self.weighted = bool(model.plan.weight)
        self._spelt: list[str] = []  # an example of labels that are written otherwise

    def __iter__(self) -> Iterator[Table | Matrix]:
        """Yield the blocks, in order."""
        model = self._model
        for data in read_blocks(self._options, model, self._said):
            remarked: list[str] = []
            data = model.aligned(data, remarked)
            self._said += [each for each in remarked if each not in self._said]
            yield data

    def outputs(self, data: Table | Matrix) -> np.ndarray:
        """Return what the model gives for a block."""
        self.rows += data.rows
        X, met = self._model.read(data, self._options.decimal)
        self._met.join(met)
        return self._model.outputs(X)

    def labelled(self, data: Table | Matrix) -> tuple[Table | Matrix, np.ndarray]:
        """Return the rows of a block that have a label, and what the model is to answer.

        Raises
        ------
        InvalidInput
            No column of labels, or a label that is no number where it is due.
        """
        model = self._model
        name = model.label.name
        if model.labels(data) is None:
            read = f" ({'; '.join(self._said)})" if self._said else ""
            raise InvalidInput(
                f"{called(self._options.data)} has no column {name!r}, the label to compare with"
                f"{read}; fastnn predict needs none"
            )
        data, absent = labelled(data, name)
        self._absent += absent
        values, spelt = model.labels(data), list[str]()
        assert values is not None
        with in_file(data.places):
            targets, new = model.targets(values, self._options.decimal, spelt)
        self._new += new
        self._spelt = self._spelt or spelt
        return data, targets

    def weights(self, data: Table | Matrix) -> np.ndarray | None:
        """Return the weights of a block; None where its rows count alike.

        Raises
        ------
        InvalidInput
            One that is no number, or negative.
        """
        name = self._model.plan.weight
        if not self.weighted:
            return None
        if isinstance(data, Matrix) or name not in data.columns:
            self.weighted = False
            self._said.append(
                f"warning: {called(self._options.data)} has no column {name!r}, the weights of the "
                "training: rows count alike"
            )
            return None
        with in_file(data.places):
            try:
                return weights_of(data, name, self._options.decimal)
            except WrongCell as error:
                rest = f"{error.rest}; correct it, or leave the column out to count rows alike"
                raise WrongCell(error.row, rest) from None

    def remarks(self) -> list[str]:
        """Return what there is to say of all of them."""
        said = [*self._said, *filter(None, [said_of_unlabelled(self._absent)]), *self._spelt]
        said += remarks(self._met, self._model.preparation, self.rows)
        if new := self._new:
            said.append(
                f"warning: {counted(new.total(), 'row')} of {self.rows} "
                f"{'has' if new.total() == 1 else 'have'} labels that the model does not know, "
                f"such as {next(iter(new))!r}; they count as wrong, and are left out of all but "
                "the accuracy"
            )
        return said


def all_of(parts: list[Any]) -> np.ndarray:
    """Return some arrays one after another; they are let go."""
    found: np.ndarray = np.concatenate(parts)
    parts.clear()
    return found
