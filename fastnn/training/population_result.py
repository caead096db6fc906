"""What came of a population: its members, and the epochs of each that were kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastnn.tables import Items
from fastnn.training.history import History
from fastnn.training.snapshot import Snapshot
from fastnn.training.text_table import Tabled, cell
from fastnn.training.views import View

if TYPE_CHECKING:
    from fastnn.training.trainer import Trainer

Ending = Literal["epochs", "patience", "callback", "time", "diverged", "failed", "not begun"]


@dataclass(frozen=True, eq=False)
class PopulationMember:
    """What came of one member of `fastnn.train_population`.

    Attributes
    ----------
    trainer
        As the best epoch left it, optimizer state and all; where no epoch is kept, as the last good
        one did.
    view
        Which features it reads.
    snapshots
        The epochs kept, each a `Snapshot` with ``epoch``, ``score``, ``parameters`` and
        ``outputs``, the best first. Empty where it never began, or no epoch had a score.
    ended
        Why its training is over: "epochs": all are done; "patience": no better one came;
        "callback": one returned True; "time": `time_limit`; "diverged"; "failed", where `failed`
        says why; or "not begun", for which the time was over already.
    failed
        Why nothing has come of it, and its trainer is as it was given: the error that ended it, or
        how the worker of an executor died that trained it; else None.
    """

    trainer: Trainer
    view: View
    snapshots: tuple[Snapshot, ...]
    ended: Ending
    failed: str | None = None

    @property
    def history(self) -> History:
        """The `History` of all epochs, those after the best one included; `best` says which."""
        return self.trainer.history

    @property
    def diverged(self) -> bool:
        """Whether a loss or a parameter became NaN or infinite."""
        return self.ended == "diverged"

    @property
    def score(self) -> float:
        """That of its best epoch, the smaller the better; infinite where none is kept.

        Of a metric or a `scoring` of which larger is better it is the negative.
        """
        score = self.snapshots[0].score if self.snapshots else None
        return math.inf if score is None else score


class Population(Tabled, Items[PopulationMember, list[PopulationMember]]):
    """The members of `fastnn.train_population`, in the order of the trainers; printed, a table.

    Attributes
    ----------
    members
        A list of `PopulationMember`.
    y_val, sample_weight
        Of the validation data, as they were given; where they named columns of a file, these.
    larger_is_better
        Whether what members were compared by is larger for better ones, whose `score` it is
        negated; printed, it is as `scoring` gives it.
    """

    def __init__(
        self,
        members: Sequence[PopulationMember],
        y_val: Any,
        sample_weight: Any = None,
        larger_is_better: bool = False,
    ) -> None:
        self.members = list(members)
        self.y_val, self.sample_weight = y_val, sample_weight
        self.larger_is_better = larger_is_better

    @property
    def _items(self) -> list[PopulationMember]:
        return self.members

    @property
    def best(self) -> PopulationMember:
        """The member with the smallest score, the first of equals."""
        return min(self.members, key=lambda each: each.score)

    @property
    def snapshots(self) -> list[Snapshot]:
        """The snapshots of all members, in order."""
        return [snapshot for member in self.members for snapshot in member.snapshots]

    def value(self, member: PopulationMember) -> float:
        """Return what a member was compared by, as the loss or `scoring` gives it."""
        return -member.score if self.larger_is_better else member.score

    def _table(self) -> tuple[str, list[list[str]]]:
        """Return how many there are, and every member in a row, the best one marked."""
        head = f"{len(self)} member{'s' * (len(self) != 1)}"
        best = self.best
        rows: list[list[str]] = []
        for number, each in enumerate(self.members):
            network = each.trainer.problem.network
            history = each.history
            sizes = network.inputs or "?", *(dense.units for dense in network.dense)
            rows.append(
                [
                    str(number),
                    "-".join(map(str, sizes)),
                    "" if each.view is None else f"{each.view!r:.24}",
                    str(len(history)),
                    str(each.snapshots[0].epoch) if each.snapshots else "",
                    cell(self.value(each)) if each.snapshots else "",
                    cell(sum(history.seconds)),
                    each.ended,
                    each.failed or "",
                    "<- best" * (each is best),
                ]
            )
        names = [
            "member", "network", "view", "epochs", "best", "score", "seconds", "ended", "failed",
            "",
        ]  # fmt: skip
        columns = [list(column) for column in zip(names, *rows, strict=True)]
        return head, [column for column in columns if any(column[1:])]
