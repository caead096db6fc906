"""What a network reads in the place of numbers and categories, learnt from the rows to train on.

A `Coded` table has numbers and codes of categories. An `Encoding` is made of parts that give
features of it, row by row: parts that fill columns, and parts of which a row has one 1 for
each column that they come from. What a part has learnt is arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from fastnn.errors import CorruptFile, shown
from fastnn.tabular.curve import interpolated
from fastnn.tabular.edges import quantile_edges, spread_edges, tree_edges

Cuts = Literal["quantile", "spread", "tree"]

KNOTS = 1000  # of the curve from a number to its normal score
DENSEST = 0.25  # share of features other than 0 up to which rows are stored sparse
_LEAST_SPARSE = 64  # features, below which rows are dense whatever they hold
_BLOCK = 4096  # rows encoded at a time


@dataclass(frozen=True, eq=False)
class Coded:
    """A table as numbers and codes.

    Attributes
    ----------
    numbers
        (rows, columns), float64; NaN where one is missing, and no infinity.
    codes
        (rows, columns of categories), int64; -1 for a category that was not there in training.
    """

    numbers: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.numbers)

    def take(self, rows: np.ndarray | slice) -> Self:
        """Return some rows."""
        return type(self)(self.numbers[rows], self.codes[rows])


@dataclass(frozen=True, eq=False)
class Ragged:
    """Arrays of several lengths in one.

    Attributes
    ----------
    values
        One after another, float64.
    starts
        Where each begins, and where the last ends.
    """

    values: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, arrays: Sequence[ArrayLike]) -> Self:
        """Return some arrays as one.

        >>> Ragged.of([[1.0, 2.0], [], [3.0]])[2]
        array([3.])
        """
        parts = [np.asarray(each, np.float64) for each in arrays]
        ends = np.cumsum([len(each) for each in parts], dtype=np.int64)
        return cls(np.concatenate([np.empty(0), *parts]), np.concatenate([[0], ends]))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.starts) - 1

    def __getitem__(self, place: int) -> np.ndarray:
        """Return one of them."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.values[self.starts[place] : self.starts[place + 1]]


@dataclass(frozen=True, eq=False)
class Part(ABC):
    """Some features of a `Coded` table; `kind` is its name in a file."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def width(self) -> int:
        """How many features it has."""

    @property
    @abstractmethod
    def filled(self) -> float:
        """How many of its features are other than 0 in a row, about."""

    @property
    @abstractmethod
    def sources(self) -> np.ndarray:
        """The column that each feature comes from, int64 (width,)."""


class Filling(Part):
    """A part all of whose features may be other than 0."""

    @abstractmethod
    def fill(self, coded: Coded, out: np.ndarray) -> None:
        """Write the features of some rows to `out` (rows, width), float32."""


class Choosing(Part):
    """A part of which a row has one feature for each column that it comes from, a 1."""

    @abstractmethod
    def choose(self, coded: Coded) -> np.ndarray:
        """Return which features are 1, int64 (rows, columns); -1 for none."""


@dataclass(frozen=True, eq=False)
class NormalScores(Filling):
    """Numbers by the normal scores of their ranks, straight between knots.

    z(x) = weight Phi^-1((rows below x + rows up to x) / (2 rows))

    Equal numbers have the middle of their ranks, and a missing one has the score of the median.
    Beyond what there was in training z stays what it is at the end, so that no number is too large
    (the quantile transformation of Bogner et al. 2012). scikit-learn's puts what equals the least
    or the greatest number at -5.2 or 5.2, however many they are, unless x has noise while it is
    fitted (the code of Gorishniy et al. 2022). Here noise of 1e-3 of a column's deviation was
    tried: of six tables the loss on rows to validate with changed by -0.5 to +1.2 %, 0.1 % on
    average, and on rows to test by 0.2 %, both for the worse; so there is none.

    Attributes
    ----------
    columns
        Of `Coded.numbers`.
    exponents
        Of each: numbers are first divided by 2^exponent, with which differences neither overflow
        nor vanish.
    x, score
        The knots of each.
    fill_with
        The median of each.
    weight
        Of all features: the network's steps for them are this much shorter.
    """

    kind: ClassVar[str] = "normal scores"
    columns: np.ndarray
    exponents: np.ndarray
    x: Ragged
    score: Ragged
    fill_with: np.ndarray
    weight: float

    @classmethod
    def learn(cls, numbers: np.ndarray, columns: np.ndarray, weight: float = 1.0) -> Self:
        """Return the part for some columns of numbers (rows, all), none of them without any."""
        from scipy.special import ndtri

        exponents, x, score, medians = [], [], [], []
        for column in columns:
            ordered = np.sort(_present(numbers[:, column]))
            exponents.append(_exponent(ordered))
            medians.append(_median(ordered))
            ordered = _divided(ordered, exponents[-1])
            places = np.linspace(0, len(ordered) - 1, min(KNOTS, len(ordered))).astype(np.int64)
            knots = np.unique(ordered[places])
            below = np.searchsorted(ordered, knots, "left")
            up_to = np.searchsorted(ordered, knots, "right")
            x.append(knots)
            score.append(ndtri((below + up_to) / (2 * len(ordered))))
        return cls(
            columns,
            np.array(exponents, np.int64),
            Ragged.of(x),
            Ragged.of(score),
            np.array(medians, np.float64),
            weight,
        )

    @property
    def width(self) -> int:
        """One feature a column."""
        return len(self.columns)

    @property
    def sources(self) -> np.ndarray:
        """The column of each feature."""
        return self.columns

    @property
    def filled(self) -> float:
        """All of them."""
        return self.width

    def fill(self, coded: Coded, out: np.ndarray) -> None:
        """Write the scores."""
        for place, column in enumerate(self.columns):
            values = _filled(coded.numbers[:, column], self.fill_with[place])
            values = _divided(values, self.exponents[place])
            score = interpolated(values, self.x[place], self.score[place])
            out[:, place] = score * self.weight


@dataclass(frozen=True, eq=False)
class PiecewiseLinear(Filling):
    """Numbers by how far they reach into each of some bins (Gorishniy et al. 2022, section 3.2).

    f_k(x) = weight clip((x - e_(k-1)) / (e_k - e_(k-1)), 0, 1),   k = 1 ... bins

    A missing number is the median.

    Attributes
    ----------
    columns
        Of `Coded.numbers`.
    exponents
        As of `NormalScores`.
    edges
        e_0 < ... < e_bins of each.
    fill_with
        The median of each.
    weight
        Of all features: the network's steps for them are this much shorter.
    """

    kind: ClassVar[str] = "piecewise linear"
    columns: np.ndarray
    exponents: np.ndarray
    edges: Ragged
    fill_with: np.ndarray
    weight: float

    @classmethod
    def learn(
        cls, numbers: np.ndarray, columns: np.ndarray, cuts: Ragged, weight: float = 1.0
    ) -> Self:
        """Return the part for some columns, which are cut into bins at `cuts`, not at their ends.

        Columns without a cut are left out.
        """
        chosen, exponents, edges, medians = [], [], [], []
        for place, column in enumerate(columns):
            ordered = np.sort(_present(numbers[:, column]))
            exponent = _exponent(ordered)
            inner = _divided(cuts[place], exponent)
            own = np.unique([*inner, *_divided(ordered[[0, -1]], exponent)])
            if len(own) > 1:
                chosen.append(column)
                exponents.append(exponent)
                edges.append(own)
                medians.append(_median(ordered))
        return cls(
            np.array(chosen, np.int64),
            np.array(exponents, np.int64),
            Ragged.of(edges),
            np.array(medians, np.float64),
            weight,
        )

    @property
    def width(self) -> int:
        """One feature a bin."""
        return len(self.edges.values) - len(self.edges)

    @property
    def sources(self) -> np.ndarray:
        """The column of each feature."""
        return np.repeat(self.columns, np.diff(self.edges.starts) - 1)

    @property
    def filled(self) -> float:
        """Half of them."""
        return self.width / 2

    def fill(self, coded: Coded, out: np.ndarray) -> None:
        """Write how far each number reaches."""
        first = 0
        for place, column in enumerate(self.columns):
            low, high = self.edges[place][:-1], self.edges[place][1:]
            values = _filled(coded.numbers[:, column], self.fill_with[place])
            values = _divided(values, self.exponents[place])
            last = first + len(low)
            share = (np.clip(values[:, None], low, high) - low) / (high - low)
            out[:, first:last] = share * self.weight
            first = last


@dataclass(frozen=True, eq=False)
class Flags(Filling):
    """Whether a number is missing, 0 or 1.

    Attributes
    ----------
    columns
        Of `Coded.numbers`.
    """

    kind: ClassVar[str] = "flags"
    columns: np.ndarray

    @property
    def width(self) -> int:
        """One feature a column."""
        return len(self.columns)

    @property
    def sources(self) -> np.ndarray:
        """The column of each feature."""
        return self.columns

    @property
    def filled(self) -> float:
        """As if half of them were missing."""
        return self.width / 2

    def fill(self, coded: Coded, out: np.ndarray) -> None:
        """Write where numbers are missing."""
        out[:] = np.isnan(coded.numbers[:, self.columns])


@dataclass(frozen=True, eq=False)
class Bins(Choosing):
    """The bin that a number lies in, one hot; one bin more for missing ones, where there were any.

    A number that is missing though none was in training is the median.

    Attributes
    ----------
    columns
        Of `Coded.numbers`.
    cuts
        Between the bins of each; a number on a cut lies in the upper bin.
    fill_with
        The median of each, NaN where missing numbers have a bin.
    """

    kind: ClassVar[str] = "bins"
    columns: np.ndarray
    cuts: Ragged
    fill_with: np.ndarray

    @classmethod
    def learn(cls, numbers: np.ndarray, columns: np.ndarray, cuts: Ragged) -> Self:
        """Return the part for some columns; those without a cut and without a gap are left out."""
        chosen, found, medians = [], [], []
        for place, column in enumerate(columns):
            present = _present(numbers[:, column])
            gaps = len(present) < len(numbers)
            if len(cuts[place]) or gaps:
                chosen.append(column)
                found.append(cuts[place])
                medians.append(np.nan if gaps else _median(np.sort(present)))
        return cls(np.array(chosen, np.int64), Ragged.of(found), np.array(medians, np.float64))

    @property
    def _widths(self) -> np.ndarray:
        return np.diff(self.cuts.starts) + 1 + np.isnan(self.fill_with)

    @property
    def width(self) -> int:
        """One feature a bin."""
        return int(self._widths.sum())

    @property
    def sources(self) -> np.ndarray:
        """The column of each feature."""
        return np.repeat(self.columns, self._widths)

    @property
    def filled(self) -> float:
        """One a column."""
        return len(self.columns)

    def choose(self, coded: Coded) -> np.ndarray:
        """Return the bins."""
        found = np.empty((len(coded), len(self.columns)), np.int64)
        first = np.cumsum(self._widths) - self._widths
        for place, column in enumerate(self.columns):
            values = _filled(coded.numbers[:, column], self.fill_with[place])
            cuts = self.cuts[place]
            bins = np.searchsorted(cuts, values, "right")
            bins[np.isnan(values)] = len(cuts) + 1
            found[:, place] = bins + first[place]
        return found


@dataclass(frozen=True, eq=False)
class OneHot(Choosing):
    """The category of each column, one hot.

    Attributes
    ----------
    counts
        How many codes each column of `Coded.codes` has.
    """

    kind: ClassVar[str] = "one hot"
    counts: np.ndarray

    @property
    def width(self) -> int:
        """One feature a category."""
        return int(self.counts.sum())

    @property
    def sources(self) -> np.ndarray:
        """The column of each feature."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def filled(self) -> float:
        """One a column."""
        return len(self.counts)

    def choose(self, coded: Coded) -> np.ndarray:
        """Return the categories."""
        first = np.cumsum(self.counts) - self.counts
        return np.where(coded.codes < 0, -1, coded.codes + first)


@dataclass(frozen=True, eq=False)
class Encoding:
    """How a `Coded` table becomes features.

    Attributes
    ----------
    filling, choosing
        Its parts; the features of the first come first.
    dense
        Whether rows are never stored sparse.
    scale
        What features are multiplied with, float32 (width,); None: with nothing.
    """

    filling: tuple[Filling, ...]
    choosing: tuple[Choosing, ...]
    dense: bool = False
    scale: np.ndarray | None = None

    def weighed(self, numbers: np.ndarray, codes: np.ndarray) -> Self:
        """Return it with features in proportion to weights of the columns that they come from.

        Parameters
        ----------
        numbers, codes
            The weights of the columns of `Coded.numbers` and `Coded.codes`.
        """
        parts = (*self.filling, *self.choosing)
        found = [(codes if isinstance(p, OneHot) else numbers)[p.sources] for p in parts]
        scale = np.concatenate([*found, np.ones(0)]).astype(np.float32)
        return replace(self, scale=scale if len(scale) else None)

    @property
    def width(self) -> int:
        """How many features there are: one that is 0 where there is nothing to learn from."""
        return max(1, sum(part.width for part in (*self.filling, *self.choosing)))

    @property
    def sparse(self) -> bool:
        """Whether so many features are 0 that rows are stored sparse."""
        filled = sum(part.filled for part in (*self.filling, *self.choosing))
        return not self.dense and self.width >= _LEAST_SPARSE and filled <= DENSEST * self.width

    def apply(self, coded: Coded) -> Any:
        """Return the features (rows, width), float32: an array, or a CSR where `sparse`."""
        if self.sparse:
            return self._sparse(coded)
        out = np.empty((len(coded), self.width), np.float32)
        for start in range(0, len(coded), _BLOCK):
            block = coded.take(slice(start, start + _BLOCK))
            rows = out[start : start + _BLOCK]
            first = self._fill(block, rows)
            rows[:, first:] = 0
            for part in self.choosing:
                chosen = part.choose(block)
                row, column = np.nonzero(chosen >= 0)
                rows[row, first + chosen[row, column]] = 1
                first += part.width
        if self.scale is not None:
            out *= self.scale
        return out

    def _fill(self, block: Coded, rows: np.ndarray) -> int:
        first = 0
        for part in self.filling:
            part.fill(block, rows[:, first : first + part.width])
            first += part.width
        return first

    def _sparse(self, coded: Coded) -> Any:
        from scipy.sparse import csr_array

        filled = sum(part.width for part in self.filling)
        values, places, lengths = [], [], []
        for start in range(0, len(coded), _BLOCK):
            block = coded.take(slice(start, start + _BLOCK))
            dense = np.empty((len(block), filled), np.float32)
            first = self._fill(block, dense)
            columns = [np.broadcast_to(np.arange(filled), dense.shape)]
            blocks = [dense]
            for part in self.choosing:
                chosen = part.choose(block)
                columns.append(np.where(chosen < 0, -1, chosen + first))
                blocks.append(np.ones(chosen.shape, np.float32))
                first += part.width
            where, numbers = np.concatenate(columns, axis=1), np.concatenate(blocks, axis=1)
            if self.scale is not None:
                numbers *= self.scale[where]
            stored = (where >= 0) & (numbers != 0)
            values.append(numbers[stored])
            places.append(where[stored].astype(np.int32))
            lengths.append(stored.sum(axis=1))
        starts = np.concatenate([[0], *lengths]).cumsum()
        kind = np.int32 if starts[-1] < 2**31 else np.int64
        return csr_array(
            (
                np.concatenate([np.empty(0, np.float32), *values]),
                np.concatenate([np.empty(0, np.int32), *places]).astype(kind, copy=False),
                starts.astype(kind),
            ),
            shape=(len(coded), self.width),
        )

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return it as plain values and arrays by name."""
        plain: list[dict[str, Any]] = []
        arrays: dict[str, np.ndarray] = {}
        for number, part in enumerate((*self.filling, *self.choosing)):
            values: dict[str, Any] = {"kind": part.kind}
            for each in fields(part):
                value = getattr(part, each.name)
                name = f"{number}.{each.name}"
                if isinstance(value, Ragged):
                    arrays[f"{name}.values"], arrays[f"{name}.starts"] = value.values, value.starts
                elif isinstance(value, np.ndarray):
                    arrays[name] = value
                else:
                    values[each.name] = value
            plain.append(values)
        if self.scale is not None:
            arrays["scale"] = self.scale
        return {"dense": self.dense, "parts": plain}, arrays

    @classmethod
    def from_arrays(cls, plain: Any, arrays: dict[str, np.ndarray]) -> Self:
        """Return the encoding that `to_arrays` gave, or raise `CorruptFile`."""
        parts: list[Any] = []
        try:
            for number, values in enumerate(plain["parts"]):
                kind = _KINDS[values["kind"]]
                given: dict[str, Any] = {}
                for each in fields(kind):
                    name = f"{number}.{each.name}"
                    if each.type == "Ragged":
                        starts = arrays[f"{name}.starts"]
                        given[each.name] = Ragged(arrays[f"{name}.values"], starts)
                    elif each.type == "np.ndarray":
                        given[each.name] = arrays[name]
                    else:
                        given[each.name] = values[each.name]
                parts.append(kind(**given))
            dense = bool(plain["dense"])
        except (KeyError, TypeError) as error:
            raise CorruptFile(f"an encoding cannot be {shown(plain):.80} ({error})") from error
        return cls(
            tuple(part for part in parts if isinstance(part, Filling)),
            tuple(part for part in parts if isinstance(part, Choosing)),
            dense,
            arrays.get("scale"),
        )


_KINDS: dict[Any, Any] = {
    part.kind: part for part in (NormalScores, PiecewiseLinear, Flags, Bins, OneHot)
}


def varied(numbers: np.ndarray) -> np.ndarray:
    """Return which columns of numbers (rows, columns) have two different ones, their numbers.

    >>> varied(np.array([[1.0, 2.0, np.nan], [1.0, 3.0, 4.0]]))
    array([1])
    """
    with np.errstate(invalid="ignore"):
        low = np.fmin.reduce(numbers, axis=0, initial=np.inf)
        high = np.fmax.reduce(numbers, axis=0, initial=-np.inf)
    return np.flatnonzero(low < high)


def gaps(numbers: np.ndarray) -> np.ndarray:
    """Return which columns of numbers (rows, columns) have some missing and some not.

    >>> gaps(np.array([[1.0, 2.0, np.nan], [1.0, np.nan, np.nan]]))
    array([1])
    """
    missing = np.isnan(numbers).sum(axis=0)
    return np.flatnonzero((missing > 0) & (missing < len(numbers)))


def cuts_of(
    numbers: np.ndarray,
    columns: np.ndarray,
    how: Cuts,
    bins: int,
    targets: np.ndarray,
    least: int = 1,
) -> Ragged:
    """Return where some columns of numbers are cut into bins, at most so many of each.

    Parameters
    ----------
    numbers
        (rows, all columns), NaN where one is missing.
    columns
        Which are to be cut.
    how
        "quantile": as many rows in each bin. "spread": half of the cuts so, half with as many
        different numbers between them. "tree": where a decision tree of the column cuts.
    bins
        The most.
    targets
        (rows,), or (rows, outputs): what the tree learns.
    least
        The fewest rows of a leaf of the tree.
    """
    found = []
    for column in columns:
        values = numbers[:, column]
        there = ~np.isnan(values)
        if how == "tree":
            found.append(tree_edges(values[there], targets[there], bins, least))
        else:
            found.append(
                (quantile_edges if how == "quantile" else spread_edges)(values[there], bins)
            )
    return Ragged.of(found)


def _present(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _median(ordered: np.ndarray) -> float:
    """Return the lower median, which is one of the values."""
    return float(ordered[(len(ordered) - 1) // 2])


def _filled(values: np.ndarray, median: float) -> np.ndarray:
    return np.where(np.isnan(values), median, values)


def _exponent(ordered: np.ndarray) -> int:
    """Return by which power of 2 numbers are divided, so that no difference over- or underflows.

    That of the largest, by magnitude, where it is small. Large numbers are halved, if at all: small
    ones beside them would vanish.
    """
    exponent = int(np.frexp(np.abs(ordered[[0, -1]]).max())[1])
    return min(exponent, max(0, exponent - (np.finfo(np.float64).maxexp - 1)))


def _divided(values: np.ndarray, exponent: int) -> np.ndarray:
    """Return ``values / 2**exponent``, infinite where it is too large."""
    with np.errstate(over="ignore", under="ignore"):
        found: np.ndarray = np.ldexp(values, -exponent)
    return found
