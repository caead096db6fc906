"""What an estimator notes of each epoch, and scikit-learn's rule of when a fit ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.output_ends import going, objective
from fastnn.training.callbacks.bundled import Bundled

if TYPE_CHECKING:
    from fastnn.inputs.problem import EpochResult
    from fastnn.training.history import History


class Monitor(Bundled):
    """Notes loss and validation score of each epoch, and stops a fit that makes no progress.

    The loss that is noted is  multiple data loss + constant + share penalty,  the penalty being the
    mean of what it is before each step, if it changes evenly in the epoch. An epoch is no progress
    where its loss > best loss - tol, or its score < best score + tol. After more than `patience` of
    them in a row, or as many where `at_once`, `plateau` decides.

    Parameters
    ----------
    tol
        How much better is better; None never stops.
    patience
        How many epochs without progress are borne.
    by_score
        Whether scores decide, instead of losses.
    plateau
        (trainer, message) -> whether to stop, called then; None stops.
    at_once
        Whether `patience` epochs without progress are enough, or it takes one more.
    multiple, constant, share
        What the noted loss is made with.
    penalty
        Before the first epoch.
    steps
        In an epoch.
    series
        The series of the history that has the score on the validation data, larger is better; "":
        none has, and `score_of` gives it.
    score_of
        trainer -> its score, where no series has it; None: there are no validation data.
    after_epoch
        trainer -> None, called after each epoch; None: nothing has to be done there.
    restore_best
        Whether the parameters of the best score are kept, in `best`.
    verbose
        Whether scikit-learn's lines are printed.
    ends
        By what each output ends for itself, before the first epoch: then the loss that is noted is
        the mean of their objectives, and the fit ends with the last of them. None: all together.

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
    best
        What gives the parameters of the best score; None without.
    """

    turn = 2  # what other callbacks do belongs to the epoch
    follows = True
    tol: float | None
    patience: float
    best_loss: float
    best_score: float
    waited: int
    epochs: int
    stopped: bool

    def __init__(
        self,
        tol: float | None,
        patience: float,
        *,
        by_score: bool = False,
        plateau: Callable[[Any, str], bool] | None = None,
        at_once: bool = False,
        multiple: float = 1.0,
        constant: float = 0.0,
        share: float = 0.0,
        penalty: float = 0.0,
        steps: int = 1,
        series: str = "",
        score_of: Callable[[Any], float] | None = None,
        after_epoch: Callable[[Any], None] | None = None,
        restore_best: bool = False,
        verbose: bool = False,
        ends: np.ndarray | None = None,
    ) -> None:
        self.tol, self.patience, self.by_score = tol, patience, by_score
        self.plateau, self.at_once = plateau, at_once
        self.multiple, self.constant, self.share = multiple, constant, share
        self.penalty, self.steps = penalty, steps
        self._series, self.score_of, self.after_epoch = series, score_of, after_epoch
        self.restore_best, self.verbose, self.ends = restore_best, verbose, ends
        self.by_results = score_of is None and after_epoch is None
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best_loss, self.best_score = math.inf, -math.inf
        self.waited = self.epochs = 0
        self.stopped = False
        self.best: Callable[[], Any] | None = None

    def series(self) -> str:
        """Return the series that has the score, or ""."""
        return self._series

    @property
    def scored(self) -> bool:
        """Whether there are scores."""
        return bool(self._series) or self.score_of is not None

    @property
    def rank(self) -> tuple[float, float]:
        """What the best of several fits has least of: the best score, negated, or else the loss."""
        if self.by_score and self.best_score > -math.inf:
            return -self.best_score, 0.0
        last = self.losses[-1] if self.losses else math.inf
        # It is NaN for a penalty that overflows.
        return math.inf, math.inf if math.isnan(last) else last

    def calls_after(self, trainer: Any, results: Sequence[EpochResult]) -> int:
        """Return after how many of the next epochs there has been no progress for too long."""
        if self.ends is not None:
            resting = (not going(each.ends) for each in results if each.ends is not None)
            return next((at for at, over in enumerate(resting, 1) if over), len(results))
        waited, penalty = self.waited, self.penalty
        loss, score = self.best_loss, self.best_score
        for number, result in enumerate(results, 1):
            if self.by_score:
                found = result.of(self._series)
                waited, score = self._waited_score(waited, score, found), max(score, found)
            else:
                found, penalty = self._loss_of(result, penalty)
                waited, loss = self._waited(waited, loss, found), min(loss, found)
            if self._enough(waited):
                return number
        return len(results)

    def calls_not_before(self, trainer: Any) -> float:
        """Return after how many of the next epochs there can have been no progress for too long."""
        if self.tol is None or self.ends is not None:
            return math.inf
        return max(1, self.patience + (not self.at_once) - self.waited)

    def take(
        self, trainer: Any, results: Sequence[EpochResult], anew: Callable[[int], Any]
    ) -> None:
        """Note the losses of epochs that are done, and the scores in a series."""
        self.ends = results[-1].ends
        for number, result in enumerate(results, 1):
            loss, self.penalty = self._loss_of(result, self.penalty)
            self.epochs += 1
            self.losses.append(loss)
            if self.verbose:
                print(f"Iteration {self.epochs}, loss = {loss:.8f}")
            if self._series:
                last = number == len(results)
                later = trainer.parameters_later if last else partial(_later, anew, number)
                self._take_score(result.of(self._series), later)
            if not self.by_score:
                self.waited = self._waited(self.waited, self.best_loss, loss)
                self.best_loss = min(self.best_loss, loss)

    def __call__(self, trainer: Any, history: History) -> bool:
        """Return whether the epoch that has been noted is to be the last."""
        if self.score_of is not None:
            self._take_score(self.score_of(trainer), trainer.parameters_later)
        if self.after_epoch is not None:
            self.after_epoch(trainer)
        if self.ends is not None:
            self.stopped = not going(self.ends)
            return self.stopped
        if not self._enough(self.waited):
            return False
        what = "Validation score" if self.by_score else "Training loss"
        message = (
            f"{what} did not improve more than tol={self.tol:f} for {self.patience} consecutive "
            "epochs."
        )
        if self.plateau is None:
            if self.verbose:
                print(f"{message} Stopping.")
            self.stopped = True
        else:
            self.stopped = self.plateau(trainer, message)
        if not self.stopped:
            self.waited = 0
        return self.stopped

    def diverge(self) -> None:
        """Note an epoch that came to nothing, and that there will be no other."""
        self.epochs += 1
        self.losses.append(math.nan)
        self.scores.append(math.nan)
        self.stopped = True

    def _loss_of(self, result: EpochResult, before: float) -> tuple[float, float]:
        """Return the loss that is noted of an epoch, and the penalty after it."""
        if result.ends is not None:
            return objective(result.ends), before
        assert result.penalty is not None, "those who follow results are told it"
        passed = (self.steps - 1) / (2 * self.steps)
        penalty = self.share * (before + (result.penalty - before) * passed)
        return self.multiple * result.loss + self.constant + penalty, result.penalty

    def _waited(self, waited: int, best: float, loss: float) -> int:
        worse = self.tol is not None and loss > best - self.tol
        return waited + 1 if worse else 0

    def _enough(self, waited: int) -> bool:
        enough = waited >= self.patience if self.at_once else waited > self.patience
        return self.tol is not None and enough

    def _waited_score(self, waited: int, best: float, score: float) -> int:
        worse = self.tol is not None and score < best + self.tol
        return waited + 1 if worse else 0

    def _take_score(self, score: float, later: Callable[[], Callable[[], Any]]) -> None:
        """Note a score, of an epoch of which `later` gives what gives the parameters."""
        self.scores.append(score)
        if self.verbose:
            print(f"Validation score: {score:f}")
        if self.by_score:
            self.waited = self._waited_score(self.waited, self.best_score, score)
        if score > self.best_score:
            self.best_score = score
            if self.restore_best:
                self.best = later()


class Lines(Bundled):
    """Prints scikit-learn's lines of each epoch, and that a fit has converged."""

    turn = 3  # when its score is known, and whether it is the last

    def __init__(self, rows: int, monitor: Monitor) -> None:
        """Begin before the first epoch, of so many rows, whose objective the monitor notes."""
        self.rows, self.monitor, self.epochs = rows, monitor, 0
        self.begun = time.perf_counter()

    def __call__(self, trainer: Any, history: Any) -> None:
        """Print what an epoch came to."""
        self.epochs += 1
        W, *rest = trainer.parameters[0]
        bias = float(rest[0][0]) if rest else 0.0
        print(f"-- Epoch {self.epochs}")
        print(
            f"Norm: {np.linalg.norm(W):.2f}, NNZs: {np.count_nonzero(W)}, Bias: {bias:.6f}, "
            f"T: {self.epochs * self.rows}, Avg. loss: {history.loss[-1]:f}, "
            f"Objective: {self.monitor.losses[-1]:f}{self._score()}"
        )
        passed = time.perf_counter() - self.begun
        print(f"Total training time: {passed:.2f} seconds.")
        if self.monitor.stopped:
            print(f"Convergence after {self.epochs} epochs took {passed:.2f} seconds")

    def _score(self) -> str:
        monitor = self.monitor
        return f", Validation score: {monitor.scores[-1]:f}" if monitor.scored else ""


def _later(anew: Callable[[int], Any], number: int) -> Callable[[], Any]:
    """Return what gives the parameters after the first so many of some epochs."""
    return lambda: anew(number).parameters
