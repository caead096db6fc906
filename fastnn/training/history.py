"""What happened in training: one entry an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from fastnn.errors import CorruptFile, shown
from fastnn.rules.table import unknown_name
from fastnn.threads.atomic import at_once
from fastnn.training.restart_results import Restarts
from fastnn.training.text_table import aligned, cell

_SERIES = ("loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds")
_LISTS = (*_SERIES, "restores")
_OPTIONAL = ("validation_loss", "validation_accuracy")
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
    """

    epoch: int
    step: int
    back_to: int
    rate_before: float
    rate_after: float


@dataclass(repr=False)
class History:
    """Lists with one entry an epoch, and where the epochs ran.

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
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float | None] = field(default_factory=list)
    validation_accuracy: list[float | None] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best: int | None = None
    restarts: Restarts = Restarts()
    restores: list[Restore] = field(default_factory=list)
    metrics: dict[str, list[float | None]] = field(default_factory=dict)

    __iter__ = None  # by name there is more than one list, and none of them is the first

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a pickle has; older ones have no metrics."""
        self.__dict__.update({"metrics": {}} | state)

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
            raise unknown_name("series of the history", name, self.names)
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
        metrics: Mapping[str, float | None] | None = None,
    ) -> list[Callable[[], None]]:
        """Return what keeps the first `epochs` and adds rows to them, for `at_once`.

        A row has loss, validation_loss, validation_accuracy, learning_rate and seconds of an epoch;
        `metrics` are those of the last one, by the names of their lists.
        """
        place = slice(epochs, None)
        steps: list[Callable[[], None]] = []
        for index, name in enumerate(_SERIES):
            column = [row[index] for row in rows]
            values = [None if value is None else float(value) for value in column]
            steps.append(partial(getattr(self, name).__setitem__, place, values))
        for name in {**self.metrics, **(metrics or {})}:
            values = [None] * len(rows)
            measured = metrics.get(name) if metrics else None
            if measured is not None:
                values[-1] = float(measured)
            if name in self.metrics:
                steps.append(partial(self.metrics[name].__setitem__, place, values))
            else:
                whole = [None] * epochs + values
                steps.append(partial(self.metrics.__setitem__, name, whole))
        if self.best is not None and self.best >= epochs:
            steps.append(partial(setattr, self, "best", None))
        if epochs == 0 and self.restarts:
            steps.append(partial(setattr, self, "restarts", Restarts()))
        return steps

    def enter_last(self, values: Mapping[str, float]) -> None:
        """Enter what was measured after the last epoch, by the names of the lists."""
        for name, value in values.items():
            if name not in self:
                self.metrics[name] = [None] * len(self)
            self[name][-1] = value

    def copy(self) -> History:
        """Return a history of its own with the same entries."""
        # In one call of C, or an epoch might be entered meanwhile.
        while True:
            names = list(self.metrics)
            own = [getattr(self, name) for name in _LISTS] + [self.metrics[each] for each in names]
            lists: list[Any] = list(map(list.copy, own))
            if names == list(self.metrics):  # else a metric has been entered for the first time
                break
        series = dict(zip(_LISTS, lists, strict=False))
        metrics = dict(zip(names, lists[len(_LISTS) :], strict=True))
        return replace(self, **series, metrics=metrics)

    def agrees(self, other: History, epochs: int) -> bool:
        """Return whether the first `epochs` of both are the same, as in copies of one history."""
        if min(len(self), len(other)) < epochs:
            return False
        last = slice(max(epochs - 1, 0), epochs)
        # One row will do: two runs hardly ever take the same time to the last digit.
        return all(
            getattr(self, name)[last] == getattr(other, name)[last]
            for name in ("loss", "learning_rate", "seconds")
        )

    @property
    def where(self) -> str:
        """The target in words, with its threads where those are a processor's."""
        if self.target == "cuda":
            return self.target
        return f"{self.target}, {self.threads} thread{'s' * (self.threads != 1)}"

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return a copy as plain values that `json` can write."""
        return asdict(self) | {"restarts": self.restarts.to_list()}

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
        history.restores = _restores(values.pop("restores", []))
        metrics = values.pop("metrics", {})
        if not isinstance(metrics, dict) or not all(
            isinstance(name, str) and name not in _LISTS and _is_series(name, value, optional=True)
            for name, value in metrics.items()
        ):
            raise CorruptFile(
                f"the saved history is damaged: metrics cannot be {shown(metrics):.80}"
            )
        history.metrics = {name: list(value) for name, value in metrics.items()}
        lengths = set(map(len, metrics.values()))
        for name, value in values.items():
            fits = _is_series if name in _SERIES else _same_kind
            if name != "best" and not fits(name, value):
                raise CorruptFile(
                    f"the saved history is damaged: {name} cannot be {shown(value):.80}"
                )
            if name in _SERIES:
                lengths.add(len(value))
                value = list(value)
            setattr(history, name, value)
        if len(lengths) != 1:
            raise CorruptFile("the saved history is damaged: its lists differ in length")
        best = history.best
        if best is not None and not (type(best) is int and 0 <= best < len(history)):
            raise CorruptFile(f"the saved history is damaged: best cannot be {best!r:.80}")
        return history

    def __repr__(self) -> str:
        """Show the epochs as a table: all, or evenly spaced ones with the first and the last."""
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
            for each in self.restores
        ]
        if not count:
            return "\n".join((head, *lines))
        shown = min(count, _ROWS)
        picked = [round(row * (count - 1) / max(1, shown - 1)) for row in range(shown)]
        columns = [["epoch", *(str(self.first_epoch + index + 1) for index in picked)]]
        for name in self.names:
            series = self[name]
            if any(value is not None for value in series):
                columns.append([name, *(cell(series[i]) for i in picked)])
        return "\n".join((head, *aligned(columns), *lines))


def _restores(values: Any) -> list[Restore]:
    """Return the restores that `History.to_dict` gave."""
    counts = dict.fromkeys(("epoch", "step", "back_to"), int)
    kinds = counts | dict.fromkeys(("rate_before", "rate_after"), float)
    if not isinstance(values, list) or not all(
        isinstance(each, dict)
        and each.keys() == kinds.keys()
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
