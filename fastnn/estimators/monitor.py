"""What an estimator notes of each epoch, and scikit-learn's rule of when a fit ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fastnn.training.callbacks.bundled import Bundled

if TYPE_CHECKING:
    from fastnn.training.history import History
    from fastnn.training.trainer_state import Stateful


class Plateau(Protocol):
    """What is done when there has been no progress for too long; whether that ends the fit."""

    def __call__(self, trainer: Stateful, message: str) -> bool:
        """Return whether to stop."""


class Monitor(Bundled):
    """Notes loss and validation score of each epoch, and stops a fit that makes no progress.

    An epoch is no progress where its loss > best loss - tol, or its score < best score + tol. After
    more than `patience` of them in a row, or as many where `at_once`, `plateau` decides.

    Parameters
    ----------
    tol
        How much better is better; None never stops.
    patience
        How many epochs without progress are borne.
    by_score
        Whether scores decide, instead of losses.
    plateau
        What is done then; None stops.
    at_once
        Whether `patience` epochs without progress are enough, or it takes one more.
    loss_of
        (data loss of an epoch, trainer) -> the loss that is noted; None: the data loss.
    score_of
        trainer -> its score on the validation data, larger is better; None: there are none.
    restore_best
        Whether the parameters of the best score are kept, as `best_parameters`.
    verbose
        Whether scikit-learn's lines are printed.

    Attributes
    ----------
    losses, scores
        Of each epoch so far.
    best_loss, best_score
        The smallest and the largest.
    waited
        Epochs without progress since the last that made some.
    epochs
        How many this fit has done.
    stopped
        Whether the rule has ended it.
    best_parameters
        Those of the best score, or None.
    """

    turn = 2  # what other callbacks do belongs to the epoch

    def __init__(
        self,
        tol: float | None,
        patience: float,
        *,
        by_score: bool = False,
        plateau: Plateau | None = None,
        at_once: bool = False,
        loss_of: Callable[[float, Stateful], float] | None = None,
        score_of: Callable[[Stateful], float] | None = None,
        restore_best: bool = False,
        verbose: bool = False,
    ) -> None:
        self.tol, self.patience, self.by_score = tol, patience, by_score
        self.plateau, self.at_once = plateau, at_once
        self.loss_of, self.score_of = loss_of, score_of
        self.restore_best, self.verbose = restore_best, verbose
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best_loss, self.best_score = math.inf, -math.inf
        self.waited = self.epochs = 0
        self.stopped = False
        self.best_parameters: Any = None

    @property
    def rank(self) -> float:
        """What the best of several fits has least of: the best score, negated, or the loss."""
        if self.by_score:
            return -self.best_score
        return self.losses[-1] if self.losses else math.inf

    def __call__(self, trainer: Stateful, history: History) -> bool:
        """Note an epoch, and return whether it is to be the last."""
        loss = history.loss[-1]
        self.epochs += 1
        self.losses.append(loss if self.loss_of is None else self.loss_of(loss, trainer))
        if self.verbose:
            print(f"Iteration {self.epochs}, loss = {self.losses[-1]:.8f}")
        if self.score_of is not None:
            self.scores.append(self.score_of(trainer))
            if self.verbose:
                print(f"Validation score: {self.scores[-1]:f}")
        if self.by_score:
            self._judge_score(trainer)
        else:
            self._judge_loss()
        enough = self.waited >= self.patience if self.at_once else self.waited > self.patience
        if self.tol is None or not enough:
            return False
        what = "Validation score" if self.by_score else "Training loss"
        message = (
            f"{what} did not improve more than tol={self.tol:f} for {self.patience} consecutive "
            "epochs."
        )
        self.waited = 0
        if self.plateau is None:
            if self.verbose:
                print(f"{message} Stopping.")
            self.stopped = True
        else:
            self.stopped = self.plateau(trainer, message)
        return self.stopped

    def _judge_loss(self) -> None:
        loss = self.losses[-1]
        worse = self.tol is not None and loss > self.best_loss - self.tol
        self.waited = self.waited + 1 if worse else 0
        self.best_loss = min(self.best_loss, loss)

    def _judge_score(self, trainer: Stateful) -> None:
        score = self.scores[-1]
        worse = self.tol is not None and score < self.best_score + self.tol
        self.waited = self.waited + 1 if worse else 0
        if score > self.best_score:
            self.best_score = score
            if self.restore_best:
                self.best_parameters = trainer.parameters
