"""What came of training over a grid of settings: a table of runs, and a picture of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.elsewhere import unknown_measure
from fastnn.errors import InvalidInput
from fastnn.graph.axes import axes_or_new
from fastnn.tables import Items, data_frame
from fastnn.training.text_table import Tabled, cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_SHOWN = 60  # rows of the printed table
_WIDTH, _HEIGHT = 6.0, 4.0  # inches
_MOST_TICKS = 12  # values of a setting that are all written on its axis
_LOGARITHMIC = 8.0  # numbers that span at least this factor are drawn on a logarithmic axis


@dataclass(frozen=True)
class Run:
    """One training of a sweep.

    Attributes
    ----------
    settings
        What it was made with, by name.
    seed
        Its seed.
    epochs
        Epochs done; after `EarlyStopping` has gone back, up to the best one.
    training_loss, validation_loss, validation_accuracy
        Of the last of these epochs, as in a `History`; None where there is none.
    seconds
        Time of all epochs on one thread, validation not included.
    epoch_seconds
        Median time of an epoch; None without an epoch.
    epochs_to_accuracy, seconds_to_accuracy
        Epochs, and their time, until the validation accuracy reached the sweep's `accuracy`; None
        where it did not.
    diverged
        Whether a loss or a parameter became NaN or infinite; the rest is of the last good epoch.
    metrics
        The metrics of the last of these epochs by their names in the history.
    trainer
        The `Trainer` that came of it, with `keep_trainers` of `sweep`; else None.
    failed
        Why there is no result: the error that ended it, or how the worker of an executor died that
        trained it; else None.
    """

    settings: dict[str, Any]
    seed: int
    epochs: int
    training_loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    epoch_seconds: float | None
    epochs_to_accuracy: int | None
    seconds_to_accuracy: float | None
    diverged: bool
    metrics: dict[str, float | None] = field(default_factory=dict)
    trainer: Any = field(default=None, repr=False, compare=False)
    failed: str | None = None

    @property
    def score(self) -> float:
        """The validation loss if there is one, else the loss; infinite if it came to nothing."""
        loss = self.training_loss if self.validation_loss is None else self.validation_loss
        return math.inf if self.diverged or loss is None or math.isnan(loss) else loss

    def to_dict(self) -> dict[str, Any]:
        """Return settings, results and metrics in one flat dict, a copy."""
        return self.settings | {name: getattr(self, name) for name in RESULTS} | self.metrics


_OTHERS = ("settings", "metrics", "trainer")
RESULTS = tuple(each.name for each in fields(Run) if each.name not in _OTHERS)


class SweepResult(Tabled, Items[Run, list[Run]]):
    """The runs of `fastnn.sweep`, a sequence: all seeds of the first settings, then of the next.

    Attributes
    ----------
    rows
        The runs, a list of `Run`.
    names
        The names of the settings, in the order of the grid.
    results
        The names of the results, in the order of the columns.
    accuracy
        As given to `sweep`.
    """

    def __init__(
        self, rows: Sequence[Run], names: Sequence[str], accuracy: float | None = None
    ) -> None:
        self.rows: list[Run] = list(rows)
        self.names: tuple[str, ...] = tuple(names)
        self.accuracy: float | None = accuracy
        self.results: tuple[str, ...] = (
            *RESULTS,
            *dict.fromkeys(name for run in rows for name in run.metrics),
        )

    @property
    def _items(self) -> list[Run]:
        return self.rows

    @property
    def best(self) -> Run:
        """The run that ended with the smallest validation loss; without it, training loss.

        Of many seeds one may be lucky: see `best_settings`. Runs of another `loss` or
        `label_smoothing` do not compare so: measure a metric, and look at its column.
        """
        return min(self.rows, key=lambda run: (run.failed is not None, run.diverged, run.score))

    @property
    def best_settings(self) -> dict[str, Any]:
        """The settings whose median over the seeds of what `best` compares is smallest.

        Runs that failed say nothing of their settings, and are left out.
        """

        def score(runs: list[Run]) -> float:
            return median([run.score for run in runs if run.failed is None] or [math.inf])

        return dict(min(self._groups(), key=score)[0].settings)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of settings and results, those left out in which no run has anything."""
        return (*self.names, *(name for name in self.results if self._tells(name)))

    def column(self, name: str) -> list[Any]:
        """Return one setting or result of every run.

        Raises
        ------
        InvalidInput
            An unknown name.
        """
        if name not in (*self.names, *self.results):
            raise unknown_measure("column", name, (*self.names, *self.results))
        return [run.to_dict().get(name) for run in self.rows]

    def to_frame(self) -> Any:
        """Return a `pandas.DataFrame` with one row a run and all columns.

        Raises
        ------
        MissingExtra
            pandas is not installed.
        """
        return data_frame({name: self.column(name) for name in (*self.names, *self.results)})

    def _table(self) -> tuple[str, list[list[str]]]:
        """Return a line on the whole, and the runs; of many, the first and the last."""
        head = f"{len(self)} run{'s' * (len(self) != 1)}"
        if self.accuracy is not None:
            head += f", to a validation accuracy of {self.accuracy:g}"
        kept = list(range(len(self)))
        if len(kept) > _MOST_SHOWN:
            half = _MOST_SHOWN // 2
            head += f"; the first and the last {half} (all of them: .rows, .to_frame())"
            kept = kept[:half] + kept[-half:]
        table = []
        for name in self.columns:
            if name in self.names:
                texts = _apart(self.column(name))
            else:
                texts = [*map(_yes if name == "diverged" else cell, self.column(name))]
            table.append([name, *(texts[index] for index in kept)])
        return head, table

    def plot(self, x: str | None = None, y: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw a result over a setting: a point for each run, a line through the medians of seeds.

        Each combination of the other settings has a line of its own. Runs without a number there,
        as of an accuracy never reached, and those that diverged are left out.

        Parameters
        ----------
        x
            A column; None for the first setting.
        y
            A column of numbers; None for the time to the accuracy if one was asked for, else the
            validation loss, else the loss.
        ax
            Where to draw; None makes a new figure.

        Raises
        ------
        InvalidInput
            An unknown column, or one in which no run has a number.
        MissingExtra
            Matplotlib is not installed.
        """
        from fastnn.graph.axes import colour, marker

        x = (self.names or ("seed",))[0] if x is None else x
        if y is None:
            wanted = "seconds_to_accuracy" if self.accuracy is not None else "validation_loss"
            y = wanted if self._tells(wanted) else "training_loss"
        across, up = self.column(x), self.column(y)
        shown = [
            index
            for index, run in enumerate(self.rows)
            if not run.diverged
            and run.failed is None
            and _is_number(up[index])
            and (x in self.names or across[index] is not None)
        ]
        if not shown:
            raise InvalidInput(f"no run has a number for {y!r} to draw")
        names = _apart(across)
        ticks = list(dict.fromkeys(names[index] for index in shown))
        numeric = all(_is_number(across[index]) for index in shown)
        places = {index: across[index] if numeric else ticks.index(names[index]) for index in shown}
        others = {name: _apart(self.column(name)) for name in self.names if name not in (x, y)}
        lines: dict[str, dict[float, list[float]]] = {}
        for index in shown:
            label = ", ".join(f"{name} {texts[index]}" for name, texts in others.items())
            lines.setdefault(label, {}).setdefault(places[index], []).append(up[index])
        ax = axes_or_new(ax, _WIDTH, _HEIGHT)
        for number, (label, points) in enumerate(lines.items()):
            style: dict[str, Any] = {"color": colour(number), "marker": marker(number)}
            order = sorted(points)
            ax.plot(order, [median(points[at]) for at in order], "-", label=label, **style)
            each = [(at, value) for at in order for value in points[at] if len(points[at]) > 1]
            if each:
                ax.plot(*zip(*each, strict=True), linestyle="", alpha=0.35, ms=4, **style)
        if not numeric:
            ax.set_xticks(range(len(ticks)), ticks)
        else:
            if _spans(places.values()):
                ax.set_xscale("log")
            if x in self.names and len(ticks) <= _MOST_TICKS:
                values = list(dict.fromkeys(places.values()))
                ax.set_xticks(values, [short(value) for value in values])
                ax.set_xticks([], minor=True)
        if _spans(up[index] for index in shown):
            ax.set_yscale("log")
        ax.set_xlabel(x)
        ax.set_ylabel(y)
        ax.grid(alpha=0.3)
        if any(lines):
            ax.legend()
        return ax

    def _groups(self) -> list[list[Run]]:
        """Return the runs of each combination of settings."""
        groups: dict[int, list[Run]] = {}
        for run in self.rows:
            groups.setdefault(id(run.settings), []).append(run)  # shared by the seeds
        return list(groups.values())

    def _tells(self, name: str) -> bool:
        """Return whether a result was asked for, or is there in any run."""
        asked = self.accuracy is not None and name.endswith("_to_accuracy")
        values = (run.to_dict().get(name) for run in self.rows)
        return asked or any(value is not None and value is not False for value in values)


def short(value: Any) -> str:
    """Return a setting as a table shows it."""
    if isinstance(value, float):
        return f"{value:g}"
    name = getattr(value, "__name__", None)
    text = name if isinstance(name, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _apart(values: Sequence[Any]) -> list[str]:
    """Return settings as a table shows them, different ones of the same text numbered.

    >>> _apart([abs, 1, abs]), _apart([lambda: 1, lambda: 2])
    (['abs', '1', 'abs'], ['<lambda>', '<lambda> (2)'])
    """
    found: dict[str, list[Any]] = {}
    texts = []
    for value in values:
        text = short(value)
        same = found.setdefault(text, [])
        number = next((at for at, other in enumerate(same) if _equal(other, value)), len(same))
        if number == len(same):
            same.append(value)
        texts.append(text if number == 0 else f"{text} ({number + 1})")
    return texts


def _equal(a: Any, b: Any) -> bool:
    """Return whether two settings are one; arrays, whose == is no answer, if they are the same."""
    try:
        return a is b or (type(a) is type(b) and bool(a == b))
    except ValueError:
        return False


def _yes(value: object) -> str:
    return "yes" if value else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _spans(values: Any) -> bool:
    """Return whether numbers are all above 0 and far apart."""
    found = np.array(list(values), np.float64)
    return bool(found.min() > 0 and found.max() >= _LOGARITHMIC * found.min())
