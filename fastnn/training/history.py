"""What happened in training: one entry an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.elsewhere import HISTORY, meant, refused, unknown_measure
from fastnn.errors import CorruptFile, InvalidInput, NotAssignable, shown
from fastnn.tables import aligned, data_frame, html_table, html_text
from fastnn.targets.selection import is_cuda
from fastnn.threads.atomic import at_once
from fastnn.training.restart_results import Restarts
from fastnn.training.series import ByName, Prefix, Series, pack, unpack
from fastnn.training.text_table import cell

_SERIES = ("loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds")
_PREFIX = {name: f"_{name}_before" for name in _SERIES}  # where a copy has what it shares
_METRICS = "_metrics_before"
_METRIC = "metric-"  # and its place among them: in a file, for a name may be any text
_OPTIONAL = ("validation_loss", "validation_accuracy")
_SETTINGS = ("target", "threads", "reason", "first_epoch")
_LATER = {"restarts", "restores", "metrics"}  # not in files from before there were these
_ROWS = 10  # rows of the printed table; a longer history shows evenly spaced epochs


@dataclass(frozen=True)
class Restore:
    """A return to the last good epoch, with half the learning rate, after divergence.

    Attributes
    ----------
    epoch, step
        Where it diverged, both counted from 0, as `fastnn.Diverged` has them.
    back_to
        How many epochs then remained done: `epoch`, or one less where the one before it had left
        numbers that were too large already.
    rate_before, rate_after
        The learning rate of that step, and what it became.
    cause
        Which of X and y is large, as `fastnn.Diverged` has it; "" where none is.
    """

    epoch: int
    step: int
    back_to: int
    rate_before: float
    rate_after: float
    cause: str = ""


@dataclass(repr=False)
class History:
    """Lists with one entry an epoch, and where the epochs ran.

    The lists are read as any others, and more entries come to them while training goes on. Nobody
    else changes them: what would, such as ``history.loss.append``, raises `NotAssignable`, and a
    list of one's own is ``list(history.loss)``. A copy of the history shares the entries, whatever
    their number, until one of its lists is asked for, which then is its own.

    Attributes
    ----------
    loss
        Mean loss of the epoch's samples, each measured just before its own update.
    validation_loss, validation_accuracy
        After the epoch, on the validation data; None in an epoch without them.
    metrics
        Such lists of the metrics that `fit` was asked for, by name: "validation_auc" and so on.
        ``history["validation_auc"]`` is one of them, and ``history["loss"]`` is `loss`.
    learning_rate
        Of the epoch's last step.
    seconds
        Time of the epoch, validation not included; short epochs that `fit` has done in one call
        share its time evenly.
    first_epoch
        Number of the first entry's epoch; above 0 if training went on from an earlier call.
    target, threads, reason
        What computed, and why that was chosen.
    best
        Index of the best epoch in these lists, which `fastnn.EarlyStopping` finds; otherwise None.
    restarts
        How each of several trainings ended (`Trainer.fit` with ``restarts``), a tuple that prints
        as a table; the lists here are those of the one that was kept. Empty without restarts.
    restores
        A `Restore` for each time that an epoch diverged and was done anew (`Trainer` with
        ``on_divergence="restore"``), in order; they stay where epochs are gone back behind.
    """

    target: str = ""
    threads: int = 1
    reason: str = ""
    first_epoch: int = 0
    loss: list[float] = field(default_factory=Series)
    validation_loss: list[float | None] = field(default_factory=Series)
    validation_accuracy: list[float | None] = field(default_factory=Series)
    learning_rate: list[float] = field(default_factory=Series)
    seconds: list[float] = field(default_factory=Series)
    best: int | None = None
    restarts: Restarts = Restarts()
    restores: list[Restore] = field(default_factory=Series)
    metrics: dict[str, list[float | None]] = field(default_factory=ByName)

    __iter__ = None  # by name there is more than one list, and none of them is the first

    if not TYPE_CHECKING:  # to which a misspelt attribute would be one like any other

        def __getattr__(self, name: str) -> object:
            """Raise for an attribute that is not there, with what to write instead."""
            known = (*_SERIES, *vars(self).get("metrics", ()))
            series = name if name in known else meant(name, known)
            table = {name: f"history[{series!r}] has that of each epoch"} if series else HISTORY
            return refused(self, name, table)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all lists with one entry an epoch."""
        return (*_SERIES, *self.metrics)

    def __getitem__(self, name: str) -> list[Any]:
        """Return the list of that name, such as ``history["validation_loss"]``.

        Raises
        ------
        InvalidInput
            There is none.
        """
        if name not in self:
            raise unknown_measure("series of the history", name, self.names)
        found: list[Any] = self.metrics[name] if name in self.metrics else getattr(self, name)
        return found

    def __contains__(self, name: object) -> bool:
        """Return whether there is a list of that name."""
        return isinstance(name, str) and name in self.names

    def append(
        self,
        loss: float,
        seconds: float,
        learning_rate: float,
        validation_loss: float | None = None,
        validation_accuracy: float | None = None,
    ) -> None:
        """Add one epoch to every list; any of NumPy's numbers will do."""
        row = loss, validation_loss, validation_accuracy, learning_rate, seconds
        at_once(self.entering(len(self), [row]))

    def truncate(self, epochs: int) -> None:
        """Forget what came after the first `epochs`."""
        at_once(self.entering(epochs, []))

    def entering(
        self,
        epochs: int,
        rows: Sequence[tuple[float | None, ...]],
        metrics: Mapping[str, Sequence[float | None]] | None = None,
    ) -> list[Callable[[], None]]:
        """Return what keeps the first `epochs` and adds rows to them, for `at_once`.

        A row has loss, validation_loss, validation_accuracy, learning_rate and seconds of an epoch;
        `metrics` are those of each, by the names of their lists.
        """
        lists = [getattr(self, name) for name in _SERIES]
        columns: list[list[float | None]] = []
        for index in range(len(_SERIES)):
            column = [row[index] for row in rows]
            columns.append([None if value is None else float(value) for value in column])
        measured = dict(metrics or {})
        names = self.metrics | measured
        # Of all epochs before, so only where there is a metric that they lack.
        missing = [None] * min(epochs, len(self)) if len(names) > len(self.metrics) else []
        kept = {name: self.metrics.get(name, missing) for name in names}
        for name in kept:
            values = measured.get(name, [None] * len(rows))
            columns.append([None if value is None else float(value) for value in values])
        lists += kept.values()
        steps: list[Callable[[], None]]
        if all(len(values) == epochs for values in lists) and kept.keys() == self.metrics.keys():
            steps = [partial(list.extend, *pair) for pair in zip(lists, columns, strict=True)]
        else:  # lists in the place of these, of which there may be copies
            joined = [
                Series([*old[:epochs], *new]) for old, new in zip(lists, columns, strict=True)
            ]
            state: dict[str, Any] = dict(zip(_SERIES, joined, strict=False))
            state["metrics"] = ByName(zip(kept, joined[len(_SERIES) :], strict=True))
            steps = [partial(vars(self).update, state)]
        if self.best is not None and self.best >= epochs:
            steps.append(partial(setattr, self, "best", None))
        if epochs == 0 and self.restarts:
            steps.append(partial(setattr, self, "restarts", Restarts()))
        return steps

    def copy(self) -> History:
        """Return a history of its own with the same entries; takes as long for any number."""
        state = dict(vars(self))
        lists = {name: state.pop(name) for name in _SERIES if name in state}
        metrics = state.pop("metrics", None)
        # In one call of C, or an epoch might be entered meanwhile; what is there then stays so.
        counts = iter(list(map(len, [*lists.values(), *(metrics or {}).values()])))
        state |= {_PREFIX[name]: Prefix(values, next(counts)) for name, values in lists.items()}
        if metrics is not None:
            state[_METRICS] = {name: Prefix(each, next(counts)) for name, each in metrics.items()}
        state["restores"] = Series(self.restores)
        other = History.__new__(type(self))
        vars(other).update(state)
        return other

    def agrees(self, other: History, epochs: int) -> bool:
        """Return whether the first `epochs` of both are the same, as in copies of one history."""
        if min(len(self), len(other)) < epochs:
            return False
        last = slice(max(epochs - 1, 0), epochs)
        # One row will do: two runs hardly ever take the same time to the last digit.
        return all(
            self._entries(name)[0][last] == other._entries(name)[0][last]
            for name in ("loss", "learning_rate", "seconds")
        )

    def _entries(self, name: str) -> tuple[list[Any], int]:
        """Return a list that begins with all entries of a series, and their number; no copy."""
        values = vars(self).get(name)
        return vars(self)[_PREFIX[name]] if values is None else (values, len(values))

    @property
    def where(self) -> str:
        """The target in words, with its threads where those are a processor's."""
        if is_cuda(self.target):
            return self.target
        return f"{self.target}, {self.threads} thread{'s' * (self.threads != 1)}"

    def __len__(self) -> int:
        """Return the number of epochs."""
        return self._entries("loss")[1]

    def to_dict(self) -> dict[str, Any]:
        """Return a copy as plain values that `json` can write."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values |= {name: list(values[name]) for name in _SERIES}
        values["metrics"] = {name: list(series) for name, series in self.metrics.items()}
        restores = [asdict(each) for each in self.restores]
        return values | {"restarts": self.restarts.to_list(), "restores": restores}

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return a copy as plain values and arrays, in less room than `to_dict`.

        The losses are there one by one, so that no file says of more epochs than it has room for.

        Raises
        ------
        InvalidInput
            Something was assigned that `from_arrays` would take for a damaged file.
        """
        history = self.copy()
        history._refuse_unreadable()
        values = history.to_dict()
        packed = {name: pack(values.pop(name), name == "loss") for name in _SERIES}
        metrics = values.pop("metrics")
        packed |= {f"{_METRIC}{place}": pack(each) for place, each in enumerate(metrics.values())}
        arrays = {
            f"{name}.{part}": array
            for name, parts in packed.items()
            for part, array in parts.items()
        }
        return values | {"metrics": list(metrics)}, arrays

    def _refuse_unreadable(self) -> None:
        """Raise `InvalidInput` for what no file could have; a file is read again whenever."""
        good = {name: _same_kind(name, getattr(self, name)) for name in _SETTINGS}
        good["best"] = _is_place(self.best, len(self))
        good["restarts"] = isinstance(self.restarts, Restarts)
        for name in self.names:
            series = self[name]
            known = name in _OPTIONAL or name in self.metrics or None not in series
            good[name] = known and len(series) == len(self)
        for name in good:
            if not good[name]:
                value = self[name] if name in self else getattr(self, name)
                raise InvalidInput(
                    f"history.{name} cannot be {shown(value):.80} after {len(self)} epochs, and "
                    "a file with it could not be read; assign what was there before"
                )

    def to_frame(self) -> Any:
        """Return a `pandas.DataFrame` with one row an epoch and a column for each of `names`.

        The index, "epoch", counts from 1 as the printed table does, and goes on where the epochs
        before `first_epoch` are those of another history. What an epoch lacks is NaN.

        Raises
        ------
        MissingExtra
            pandas is not installed.
        """
        values: dict[str, Any] = {
            name: np.array([np.nan if each is None else each for each in self[name]], np.float64)
            for name in self.names
        }
        first = self.first_epoch + 1
        frame = data_frame(values, list(range(first, first + len(self))))
        frame.index.name = "epoch"
        return frame

    @classmethod
    def from_dict(cls, values: Any) -> History:
        """Return the history that `to_dict` gave.

        Raises
        ------
        CorruptFile
            Values that `to_dict` cannot have given.
        """
        history = cls()
        if not isinstance(values, dict) or values.keys() | _LATER != asdict(history).keys():
            raise CorruptFile("the saved history is damaged: entries are missing or unknown")
        values = dict(values)
        history.restarts = Restarts.from_list(values.pop("restarts", []))
        vars(history)["restores"] = Series(_restores(values.pop("restores", [])))
        metrics = values.pop("metrics", {})
        if not isinstance(metrics, dict) or not all(
            isinstance(name, str) and name not in values and _is_series(name, value, optional=True)
            for name, value in metrics.items()
        ):
            raise CorruptFile(
                f"the saved history is damaged: metrics cannot be {shown(metrics):.80}"
            )
        state = vars(history)
        state["metrics"] = ByName((name, Series(value)) for name, value in metrics.items())
        lengths = set(map(len, metrics.values()))
        for name, value in values.items():
            fits = _is_series if name in _SERIES else _same_kind
            if name != "best" and not fits(name, value):
                raise CorruptFile(
                    f"the saved history is damaged: {name} cannot be {shown(value):.80}"
                )
            if name in _SERIES:
                lengths.add(len(value))
                value = Series(value)
            state[name] = value
        if len(lengths) != 1:
            raise CorruptFile("the saved history is damaged: its lists differ in length")
        if not _is_place(history.best, len(history)):
            raise CorruptFile(
                f"the saved history is damaged: best cannot be {shown(history.best):.80}"
            )
        return history

    @classmethod
    def from_arrays(cls, values: Any, arrays: dict[str, np.ndarray]) -> History:
        """Return the history that `to_arrays` gave, or `to_dict` in files of earlier versions.

        Raises
        ------
        CorruptFile
            Values and arrays that neither can have given.
        """
        if not isinstance(values, dict) or values.keys() & {*_SERIES}:
            return cls.from_dict(values)
        count = np.size(arrays.get("loss.numbers", ()))
        names = values.get("metrics", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CorruptFile(f"the saved history is damaged: metrics cannot be {shown(names):.80}")
        places = [f"{_METRIC}{place}" for place in range(len(names))]
        lists: dict[str, Any] = {name: {} for name in (*_SERIES, *places)}
        for place, array in arrays.items():
            name, _, part = place.partition(".")
            if name not in lists:
                raise CorruptFile(f"the saved history is damaged: it has no place for {place!r}")
            lists[name][part] = array
        unpacked = {name: unpack(lists[name], count, name) for name in lists}
        metrics = {name: unpacked.pop(place) for name, place in zip(names, places, strict=True)}
        return cls.from_dict(values | unpacked | {"metrics": metrics})

    def __getstate__(self) -> dict[str, Any]:
        """Return what to pickle: arrays in the place of lists."""
        state = dict(vars(self.copy()))
        lists: dict[str, Prefix] = {name: state.pop(_PREFIX[name]) for name in _SERIES}
        metrics: dict[str, Prefix] = state.pop(_METRICS)
        return state | {"packed": _packed(lists), "packed_metrics": _packed(metrics)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled, by earlier versions as well."""
        state = dict(state)
        state |= _unpacked(state.pop("packed", {}))
        metrics = _unpacked(state.pop("packed_metrics", {}))
        state |= {name: Series(state[name]) for name in _SERIES}
        state["restores"] = Series(state.get("restores", ()))
        state["metrics"] = ByName((name, Series(values)) for name, values in metrics.items())
        vars(self).update(state)

    def __repr__(self) -> str:
        """Show the epochs as a table: all, or evenly spaced ones with the first and the last."""
        head, columns, lines = self._shown()
        return "\n".join((head, *aligned(columns), *lines))

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        head, columns, lines = self._shown()
        table = html_table(columns) if columns else ""
        restarts = self.restarts._repr_html_() if self.restarts else ""
        return html_text(head) + table + html_text("\n".join(lines)) + restarts

    def _shown(self) -> tuple[str, list[list[str]], list[str]]:
        """Return a line on the whole, the columns of the table, and what was done anew."""
        count = len(self)
        head = f"History of {count} epoch{'s' * (count != 1)}"
        if self.target:
            head += f" on {self.where}"
        if self.reason:
            head += f" ({self.reason})"
        if self.best is not None:
            head += f"; the best is epoch {self.first_epoch + self.best + 1}"
        if self.restarts:
            head += f"; the best of {len(self.restarts)} restarts"
        lines = [
            f"epoch {each.epoch + 1} diverged, done anew from epoch {each.back_to + 1}: "
            f"learning rate {cell(each.rate_before)} -> {cell(each.rate_after)}"
            f"{each.cause and f' ({each.cause})'}"
            for each in self.restores
        ]
        if not count:
            return head, [], lines
        shown = min(count, _ROWS)
        picked = [round(row * (count - 1) / max(1, shown - 1)) for row in range(shown)]
        columns = [["epoch", *(str(self.first_epoch + index + 1) for index in picked)]]
        for name in self.names:
            series = self[name]
            if any(value is not None for value in series):
                columns.append([name, *(cell(series[i]) for i in picked)])
        return head, columns, lines


class _ReadOnly:
    """An attribute that has lists, which a copy makes of what it shares once it is asked for.

    They are assigned once, where a history is made.
    """

    def __init__(self, name: str, before: str, lists: Callable[[Any], Any]) -> None:
        self._name, self._before, self._lists = name, before, lists

    def __get__(self, history: History | None, kind: type) -> Any:
        if history is None:
            return self
        state = vars(history)
        if self._name in state:
            return state[self._name]
        if self._before not in state:
            raise AttributeError(f"this History has no {self._name}")
        return state.setdefault(self._name, self._lists(state[self._before]))

    def __set__(self, history: History, value: Any) -> None:
        state = vars(history)
        if self._name in state or self._before in state:
            raise NotAssignable(
                f"history.{self._name} cannot be assigned: training goes on from it, and files "
                "have it; truncate(epochs) forgets the last epochs of a history.copy()"
            )
        state[self._name] = self._lists(value)


def _series(values: list[Any] | Prefix) -> Series:
    return Series(values.to_list() if isinstance(values, Prefix) else values)


def _metrics(values: Mapping[str, list[Any] | Prefix]) -> ByName:
    return ByName((name, _series(each)) for name, each in values.items())


_LISTS = {name: _ReadOnly(name, before, _series) for name, before in _PREFIX.items()}
_LISTS["metrics"] = _ReadOnly("metrics", _METRICS, _metrics)
_LISTS["restores"] = _ReadOnly("restores", "", _series)
for _name, _descriptor in _LISTS.items():
    setattr(History, _name, _descriptor)


def _packed(lists: dict[str, Prefix]) -> dict[str, tuple[int, dict[str, np.ndarray]]]:
    return {name: (each.length, pack(each.to_list())) for name, each in lists.items()}


def _unpacked(packed: dict[str, tuple[int, dict[str, np.ndarray]]]) -> dict[str, list[Any]]:
    return {name: unpack(arrays, count, name) for name, (count, arrays) in packed.items()}


def _restores(values: Any) -> list[Restore]:
    """Return the restores that `History.to_dict` gave."""
    counts = dict.fromkeys(("epoch", "step", "back_to"), int)
    kinds = counts | dict.fromkeys(("rate_before", "rate_after"), float)
    if not isinstance(values, list) or not all(
        isinstance(each, dict)
        and each.keys() | {"cause"} == kinds.keys() | {"cause"}
        and type(each.get("cause", "")) is str  # not in files from before there was one
        and all(type(each[name]) is kind and each[name] >= 0 for name, kind in kinds.items())
        for each in values
    ):
        raise CorruptFile(f"the saved history is damaged: restores cannot be {values!r:.80}")
    return [Restore(**each) for each in values]


def _is_series(name: str, value: Any, optional: bool = False) -> bool:
    """Return whether `value` can be the list called `name`; what is optional has None in places."""
    optional = optional or name in _OPTIONAL
    return isinstance(value, list) and all(
        (entry is None and optional)
        or (isinstance(entry, (int, float)) and not isinstance(entry, bool))
        for entry in value
    )


def _same_kind(name: str, value: Any) -> bool:
    """Return whether `value` can be the attribute called `name`, a string or a count."""
    return type(value) is type(getattr(History, name)) and (isinstance(value, str) or value >= 0)


def _is_place(best: Any, count: int) -> bool:
    """Return whether this can be the index of the best of so many epochs, or None."""
    return best is None or (type(best) is int and 0 <= best < count)
