"""What became of each of several trainings that started from different seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from fastnn.errors import CorruptFile, shown
from fastnn.tables import aligned, html_table
from fastnn.training.series import ByName
from fastnn.training.text_table import cell

_NUMBERS = ("loss", "validation_loss", "validation_accuracy")  # None where there is none


@dataclass(frozen=True)
class Restart:
    """How one training ended.

    Attributes
    ----------
    seed
        A new `Trainer` with this seed and the same settings trains to the same bits. For the first
        one that holds where its parameters were those of its seed.
    epochs
        Epochs done; after `EarlyStopping` has gone back, up to the best one.
    loss, validation_loss, validation_accuracy
        Of the last of these epochs, as in the history; None where there is none.
    seconds
        Time of all epochs, validation not included, on one thread beside the others.
    diverged
        Whether a loss or a parameter became NaN or infinite; it then ends with the last good epoch.
    metrics
        The metrics of the last of these epochs by their names in the history.
    trainer
        The `Trainer` that came of it, with `keep_trainers` of `fit`; else None, as in a file.
    failed
        How the worker of an executor died that trained it, so that there is no result; else None.
    """

    seed: int
    epochs: int
    loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    diverged: bool
    metrics: dict[str, float | None] = field(default_factory=ByName)
    trainer: Any = field(default=None, repr=False, compare=False)
    failed: str | None = None

    def __post_init__(self) -> None:
        """Have metrics that are only read, as all else is."""
        object.__setattr__(self, "metrics", ByName(self.metrics))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled, where they are a plain dict."""
        vars(self).update(state | {"metrics": ByName(state.get("metrics", {}))})

    @property
    def score(self) -> float:
        """The validation loss if there is one, else the loss; infinite if it came to nothing."""
        found = self.loss if self.validation_loss is None else self.validation_loss
        return math.inf if self.diverged or found is None or math.isnan(found) else found


_OTHERS = ("metrics", "trainer", "failed")
_PLAIN = tuple(each.name for each in fields(Restart) if each.name not in _OTHERS)


class Restarts(tuple[Restart, ...]):
    """All trainings of one call of `fit`, in order; printed, a table."""

    __slots__ = ()

    @property
    def best(self) -> int:
        """Index of the one that was kept: the smallest score, and the first of equals."""

        def rank(r: int) -> tuple[bool, bool, float, int]:
            return self[r].failed is not None, self[r].diverged, self[r].score, r

        return min(range(len(self)), key=rank)

    def __repr__(self) -> str:
        """Show every training in a row, the best one marked."""
        if not self:
            return "Restarts()"
        lines = [line.rstrip() for line in aligned(self._columns())]
        return "\n".join((f"{len(self)} restarts", *lines))

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        return html_table(self._columns(), f"{len(self)} restarts") if self else "Restarts()"

    def _columns(self) -> list[list[str]]:
        best = self.best
        columns = [["restart", *map(str, range(len(self)))]]
        metrics = {name: None for each in self for name in each.metrics}
        for name in (*_PLAIN, *metrics):
            values = [
                each.metrics.get(name) if name in metrics else getattr(each, name) for each in self
            ]
            if name == "diverged":
                if any(values):
                    columns.append([name, *("yes" if value else "" for value in values)])
            elif name not in (*_NUMBERS, *metrics) or any(value is not None for value in values):
                columns.append([name, *map(cell, values)])
        if any(each.failed is not None for each in self):
            columns.append(["failed", *(each.failed or "" for each in self)])
        columns.append(["", *("<- best" if r == best else "" for r in range(len(self)))])
        return columns

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain values that `json` can write: all but trainers."""
        return [
            {name: getattr(each, name) for name in _PLAIN}
            | {"metrics": dict(each.metrics)}
            | ({} if each.failed is None else {"failed": each.failed})
            for each in self
        ]

    @classmethod
    def from_list(cls, values: Any) -> Restarts:
        """Return the restarts that `to_list` gave.

        Raises
        ------
        CorruptFile
            Values that `to_list` cannot have given.
        """
        if not isinstance(values, list) or not all(
            isinstance(each, dict)
            and each.keys() | {"metrics"} == {*_PLAIN, "metrics"} | ({"failed"} & each.keys())
            and _fits(each)
            for each in values
        ):
            raise CorruptFile(
                f"the saved history is damaged: restarts cannot be {shown(values):.80}; "
                "use another copy of the file, or save the model again"
            )
        return cls(Restart(**each) for each in values)


def _fits(values: dict[str, Any]) -> bool:
    """Return whether these can be the attributes of a `Restart`."""
    return (
        all(type(values[name]) is int and values[name] >= 0 for name in ("seed", "epochs"))
        and all(values[name] is None or type(values[name]) in (int, float) for name in _NUMBERS)
        and type(values["seconds"]) in (int, float)
        and type(values["diverged"]) is bool
        and isinstance(metrics := values.get("metrics", {}), dict)
        and all(value is None or type(value) in (int, float) for value in metrics.values())
        and isinstance(values.get("failed", ""), str)
    )
