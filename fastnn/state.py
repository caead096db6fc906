"""What a trainer is at one moment, in one record that is replaced and never changed."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastnn.history import History
from fastnn.parameters import Parameters
from fastnn.problem import Problem


class State(NamedTuple):
    """All that training changes, as the last whole epoch left it.

    A trainer has one of these in one attribute, so whoever reads that has values that belong
    together, and whoever is interrupted has changed all of them or none. Parameters and optimizer
    state are on the host (`arrays`) until an engine has them (`snapshot`); neither is written to.

    Attributes
    ----------
    problem, history, epoch, step, rate_factor
        As the attributes of `fastnn.trainer.Trainer`.
    arrays
        Parameters and optimizer state as `fastnn.target.Engine.pack` takes them, or None.
    engine
        Computes, from any snapshot of its own; None until it is needed.
    snapshot
        Parameters and optimizer state as `engine` has them, where `arrays` is None.
    goal
        Epochs done when the last call of `fit` has done all of its own.
    earlier
        What this was an epoch before, where divergence may take it back.
    """

    problem: Problem
    history: History
    epoch: int
    step: int
    rate_factor: float
    arrays: tuple[Parameters, list[Parameters]] | None
    engine: Any = None
    snapshot: Any = None
    goal: int = 0
    earlier: State | None = None

    def read(self) -> tuple[Parameters, list[Parameters]]:
        """Return parameters and optimizer state; arrays that are not to be written to."""
        return self.engine.unpack(self.snapshot) if self.arrays is None else self.arrays
