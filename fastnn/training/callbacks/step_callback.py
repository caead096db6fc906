"""A look at a training between the steps of an epoch, by functions that only read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastnn.arguments import explained
from fastnn.errors import InvalidInput, TrainerBusy, check_takes, shown, whole
from fastnn.inputs.parameters import Parameters, copy_of
from fastnn.inputs.problem import Problem
from fastnn.rules.table import update_row
from fastnn.targets.selection import check_reads, choose, engine_class
from fastnn.training.callbacks.bundled import Bundled
from fastnn.training.history import History
from fastnn.training.predictor import Predictor

if TYPE_CHECKING:
    from fastnn.targets.engine import Engine
    from fastnn.training.trainer_state import Stateful


class TrainerView(Predictor):
    """A trainer in the middle of an epoch, to be read during the call that it was made for.

    It predicts and evaluates as the trainer would if it stopped here.

    Attributes
    ----------
    epoch
        Epochs done.
    step
        Updates done since the optimizer's state was zero, those of the epoch under way included.
    """

    def __init__(self, trainer: Stateful, engine: Engine, step: int) -> None:
        self._trainer, self._engine, self._over = trainer, engine, False
        self.epoch: int = trainer.epoch
        self.step: int = step

    @property
    def problem(self) -> Problem:
        """The settings that decide what is computed."""
        return self._trainer.problem

    @property
    def history(self) -> History:
        """A copy of the `History` of the epochs done."""
        return self._trainer.history.copy()

    @property
    def parameters(self) -> Parameters:
        """Copies of the parameters that predict, as `Trainer.parameters` has them."""
        engine = self._opened()
        parameters, slots = engine.unpack(engine.snapshot())
        return copy_of(slots[-1] if update_row(self.problem.optimizer).mean else parameters)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The trainer's."""
        return self._trainer.feature_names

    def _outputs(self, if_finite: bool = False) -> Callable[[Any], Any]:
        if if_finite:
            return lambda X: self._opened().forward_if_finite(X)
        return lambda X: self._opened().outputs(X)

    def _reader(self, *values: Any) -> None:
        check_reads("cpu", self.problem, values[0])
        return None  # the targets on which this is possible read no device

    def _opened(self) -> Engine:
        if self._over:
            raise TrainerBusy(
                "this is a view of a trainer for a StepCallback's function, and that has returned: "
                "training has gone on since; keep view.parameters, which are copies, instead"
            )
        return self._engine

    def close(self) -> None:
        """Show nothing any more."""
        self._over = True


@explained
@dataclass
class StepCallback(Bundled):
    """Call a function that only reads after every n-th step, within epochs too.

    An epoch is one compiled call, and so are the steps between two calls of the function here:
    training comes to the same bits as without it, at the cost of some hundredths of a millisecond a
    call. What is to change anything belongs into a callback after the epoch.

    >>> from fastnn import Dense, Network, StepCallback, Trainer, datasets
    >>> X, y = datasets.xor(400)
    >>> def watch(trainer, step, loss):
    ...     print(step, trainer.epoch, trainer.parameters[0][0].shape)
    >>> trainer = Trainer(Network(2, [Dense(2)]), batch_size=10, target="numpy")
    >>> history = trainer.fit(X, y, epochs=2, callbacks=StepCallback(watch, every=30))
    30 0 (2, 2)
    60 1 (2, 2)

    Parameters
    ----------
    function
        Called as ``function(trainer, step, loss)``. `trainer` is a read-only view of the trainer as
        it is after so many steps, with `predict`, `predict_proba`, `forward`, `evaluate`,
        `parameters` (copies), `problem`, `epoch`, `step` and `history`; it is good until the
        function returns. The trainer itself, and whoever reads it in another thread, is as its last
        whole epoch left it until this one is done. `step` counts the updates, as `Trainer.step`
        does. `loss` is the mean of the rows of the steps since the last call, or since `fit` began,
        each measured just before its own update. What the function returns means nothing. An error
        in it comes out of `fit`, and takes the epoch back.
    every
        After how many steps, at least 1; steps count over the epochs.

    Raises
    ------
    InvalidInput
        No function, or a number out of range. In `fit`: restarts or a sweep; target "cuda", where
        one launch does many steps; or, on the CPU, a linear model with plain SGD on one row at a
        time, whose steps overlap.
    """

    function: Callable[[TrainerView, int, float], object]
    every: int = 100
    one_training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings."""
        if not callable(self.function) or isinstance(self.function, type):
            raise InvalidInput(
                "StepCallback takes a function (trainer, step, loss), "
                f"not {shown(self.function):.80}"
            )
        check_takes(self.function, "trainer, step, loss", "the function of a StepCallback")
        self.every = whole(self.every, "every", 1)

    def __call__(self, trainer: Stateful, history: History) -> None:
        """Do nothing after an epoch."""

    def check(self, trainer: Stateful) -> None:
        """Refuse a training whose steps cannot be told apart."""
        engine: Any = engine_class(choose(trainer.target, trainer.problem)[0])
        if reason := engine.hides_steps(trainer.problem):
            raise InvalidInput(
                f"a StepCallback cannot look on between the steps of {reason}; or leave it out, "
                "and have a callback (trainer, history) after each epoch"
            )


class Looks:
    """Calls the functions of `StepCallback` during one call of `fit`."""

    def __init__(self, callbacks: tuple[Any, ...]) -> None:
        self.callbacks: list[StepCallback] = [
            each for each in callbacks if isinstance(each, StepCallback)
        ]
        # Sums of weight times loss, and of weight, since the last call of each function: those of
        # the epochs done.
        self._before = [(0.0, 0.0)] * len(self.callbacks)

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.callbacks)

    def begin(self, trainer: Stateful, engine: Engine, step: int, steps: int) -> Look:
        """Return what looks on at an epoch of `steps` steps, before which `step` were done."""
        return Look(self, trainer, engine, step, steps)


class Look:
    """Looks on at one epoch; what it adds up counts if the epoch is done.

    Attributes
    ----------
    stops
        After how many of the epoch's steps it is to be called: whenever a function is, and last.
    """

    def __init__(
        self, looks: Looks, trainer: Stateful, engine: Engine, step: int, steps: int
    ) -> None:
        found = {steps}
        for callback in looks.callbacks:
            first = callback.every - step % callback.every
            found.update(range(first, steps + 1, callback.every))
        self.stops: list[int] = sorted(found)
        self._looks, self._trainer, self._engine, self._step = looks, trainer, engine, step
        self._since = list(looks._before)  # to be added to what the epoch has come to since
        self._sums = 0.0, 0.0
        self._heeded = np.geterr()

    def __call__(self, done: int, loss_sum: float, weight_sum: float) -> None:
        """Call those functions whose turn it is after so many steps of the epoch."""
        step, self._sums = self._step + done, (loss_sum, weight_sum)
        for index, callback in enumerate(self._looks.callbacks):
            if step % callback.every:
                continue
            loss, weight = self._since[index]
            loss, weight = loss + loss_sum, weight + weight_sum
            self._since[index] = -loss_sum, -weight_sum
            view = TrainerView(self._trainer, self._engine, step)
            try:
                with np.errstate(**self._heeded):
                    callback.function(view, step, loss / weight if weight > 0 else 0.0)
            finally:
                view.close()

    def end(self) -> None:
        """Take note that the epoch is done."""
        before = [(loss + self._sums[0], weight + self._sums[1]) for loss, weight in self._since]
        self._looks._before = before
