"""What a trainer has, and how it is read and replaced: whole, whoever interrupts it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import CodeType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastnn.errors import InvalidInput, TrainerBusy, number
from fastnn.inputs.parameters import Parameters, check_parameters, copy_of, start_slots
from fastnn.inputs.problem import Problem
from fastnn.rules.table import UPDATES
from fastnn.targets.engine import Engine
from fastnn.targets.selection import choose, engine_class
from fastnn.threads.atomic import Turn, at_once, new_lock
from fastnn.training.history import History
from fastnn.training.model_files import Stored
from fastnn.training.predictor import Predictor
from fastnn.training.saved_trainer import Earlier, Model


class State(NamedTuple):
    """All that training changes, as the last whole epoch left it.

    A trainer has one of these in one attribute, so whoever reads that has values that belong
    together, and whoever is interrupted has changed all of them or none. Parameters and optimizer
    state are on the host (`arrays`) until an engine has them (`snapshot`); neither is written to.

    Attributes
    ----------
    problem, history, epoch, step, rate_factor
        As the attributes of `fastnn.training.trainer.Trainer`.
    arrays
        Parameters and optimizer state as `fastnn.targets.engine.Engine.pack` takes them, or
        None.
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


_AT_WORK: set[CodeType] = set()
Function = TypeVar("Function", bound=Callable[..., Any])


def works(function: Function) -> Function:
    """Mark a function that has a trainer's engine at work, with the trainer among its variables."""
    _AT_WORK.add(function.__code__)
    return function


class Stateful(Predictor, Stored):
    """A predictor with a `State`, and with an engine that works from it.

    Training makes a new state beside the old one and puts it into its place in one step, after each
    whole epoch. An engine's own memory is a means to that end: whatever is left in it, the next
    call begins from the state.

    Attributes
    ----------
    target, threads, shuffle
        As for `fastnn.training.trainer.Trainer`.
    """

    target: str
    threads: int | None
    shuffle: bool

    def __setstate__(self, model: Model) -> None:
        """Become the trainer that `model` describes; its engine is made when it is first needed."""
        self.target, self.threads, self.shuffle = model.target, model.threads, model.shuffle
        self._using = new_lock()  # while the engine is at work, or `_state` is replaced
        self._fitting = Turn()
        self.on_divergence, self.max_restores = model.on_divergence, model.max_restores
        self._callback_states = model.callbacks  # until `fit` hands them over
        # All else: whoever reads or replaces it does so once, and so in whole.
        state = State(
            model.problem, model.history, model.epoch, model.step, model.rate_factor,
            (model.parameters, model.slots), goal=model.epoch + model.remaining,
        )  # fmt: skip
        if (before := model.earlier) is not None:
            arrays = before.parameters, before.slots
            earlier = state._replace(epoch=before.epoch, step=before.step, arrays=arrays)
            state = state._replace(earlier=earlier)
        self._state = state

    def __getstate__(self) -> Model:
        """Return all but the engine, for `save`, `pickle` and `copy`.

        While an epoch is under way in another thread, that is the trainer as before it.
        """
        while True:
            state = self._state
            history = state.history.copy()
            if state is self._state:  # else an epoch has been entered since
                break
        before = state.earlier
        earlier = None if before is None else Earlier(before.epoch, before.step, *before.read())
        return Model(
            state.problem, self.target, self.threads, self.shuffle, state.epoch, state.step,
            state.rate_factor, history, *state.read(), self.on_divergence, self.max_restores,
            max(0, state.goal - state.epoch), self._callback_states, earlier,
        )  # fmt: skip

    @property
    def problem(self) -> Problem:
        """The settings that decide what is computed."""
        return self._state.problem

    @property
    def history(self) -> History:
        """The `History` of all epochs done."""
        return self._state.history

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._state.epoch

    @property
    def step(self) -> int:
        """Updates done since the optimizer's state was zero."""
        return self._state.step

    @property
    def rate_factor(self) -> float:
        """What every learning rate is multiplied by: 1, or what `ReduceOnPlateau` made of it."""
        return self._state.rate_factor

    @rate_factor.setter
    def rate_factor(self, factor: float) -> None:
        factor = number(factor, "rate_factor", 0.0)
        self._refuse_within()
        with self._using:
            self._state = self._state._replace(rate_factor=factor)

    @property
    def remaining(self) -> int:
        """Epochs that the last call of `fit` has not done, since a signal or an error ended it.

        ``fit(X, y, epochs=trainer.remaining)`` does them. 0 where a callback ended it.
        """
        state = self._state
        return max(0, state.goal - state.epoch)

    @property
    def parameters(self) -> Parameters:
        """Copies of [(W (n_in, n_out), b (n_out,)), ...], one tuple a layer, in the dtype.

        A Dense with prelu has (W, b, slopes), slopes (n_out,) being those below zero; a `LayerNorm`
        has (gamma, beta) and a `BatchNorm` (gamma, beta, mean, variance), with prelu slopes after
        these. They are what predicts: of `AveragedSGD`, the mean.
        """
        mean = UPDATES[self.problem.optimizer.rule].mean
        parameters, slots = self._state.read()
        return copy_of(slots[-1] if mean else parameters)

    def set_parameters(self, parameters: Parameters) -> None:
        """Take other parameters, as `parameters` gives them; copies.

        The optimizer starts anew: its state becomes zero (the mean of `AveragedSGD`, a copy of the
        parameters), `step` 0, which Adam's correction of its bias and a schedule of the learning
        rate depend on, and `rate_factor` 1. `epoch` and `history` go on.

        Raises
        ------
        InvalidInput
            Another number of layers, another shape, numbers that are not finite, a negative
            variance, or a bias for a layer that has none; nothing has changed.
        """
        checked = check_parameters(self.problem, parameters)
        arrays = checked, start_slots(self.problem, checked)
        self._refuse_within()
        with self._using:
            self._state = self._state._replace(step=0, rate_factor=1.0, arrays=arrays, earlier=None)

    def restore(self, earlier: Stateful) -> None:
        """Go back to what this trainer was when ``earlier = copy.copy(trainer)`` was made.

        That is parameters, optimizer state, `epoch`, `step` and `rate_factor`. `history` keeps the
        epochs done since, until training goes on and does them anew.

        Raises
        ------
        InvalidInput
            Not a copy of this trainer, or of epochs that have been done anew since; nothing has
            changed.
        """
        then = earlier._state if isinstance(earlier, Stateful) else None
        if (
            then is None
            or then.problem != self.problem
            or not self.history.agrees(then.history, then.epoch)
        ):
            raise InvalidInput(
                "restore takes an earlier copy.copy(trainer) of the trainer itself, "
                f"not {earlier!r:.80}"
            )
        arrays = then.read()
        self._refuse_within()
        with self._using:
            self._state = self._state._replace(
                epoch=then.epoch, step=then.step, rate_factor=then.rate_factor, arrays=arrays,
                goal=max(then.goal, then.epoch), earlier=None,
            )  # fmt: skip

    def _aim_at(self, goal: int) -> None:
        """Have so many epochs to be done in all."""
        with self._using:
            self._state = self._state._replace(goal=goal)

    def _finish(self) -> None:
        """Leave no epochs to be done: all are, or a callback wants no more."""
        self._aim_at(self.epoch)

    def _open(self) -> Engine:
        """Return the engine, made at the first call: it imports, and may compile."""
        with self._using:
            return self._ready().engine

    def _ready(self) -> State:
        """Return the state, with an engine that works from it; to be called under `_using`."""
        state = self._state
        if state.engine is None:
            make = engine_class(choose(self.target, state.problem)[0])
            state = state._replace(engine=make(state.problem, self.threads))
        if state.arrays is not None:
            state = state._replace(arrays=None, snapshot=state.engine.pack(*state.arrays))
        self._state = state
        state.engine.restore(state.snapshot)
        return state

    def _advance(self, after: State, rows: Sequence[tuple[float | None, ...]]) -> None:
        """Be in a state some epochs later, whose rows enter the history in the same moment.

        They follow the epochs that are done, in the place of those that `restore` has gone back
        behind. To be called under `_using`.
        """
        history = after.history
        done = self._state.epoch - history.first_epoch
        at_once([*history.entering(done, rows), partial(setattr, self, "_state", after)])

    def _refuse_within(self) -> None:
        """Refuse what would use the engine while this thread has it at work already.

        That is a handler of a signal, which Python calls in the middle of an epoch. That this
        thread has the lock says little, for what was interrupted may have left it taken.
        """
        frame = sys._getframe(1).f_back if self._using._is_owned() else None
        while frame is not None:
            if frame.f_code in _AT_WORK and any(each is self for each in frame.f_locals.values()):
                raise TrainerBusy(
                    "this is called in the middle of an epoch or a prediction of the same trainer, "
                    "by a signal's handler; save, copy or pickle the trainer there, which give its "
                    "last whole epoch, or have a callback do this"
                )
            frame = frame.f_back

    def _outputs(self) -> Callable[[Any], np.ndarray]:
        self._refuse_within()

        with self._using:
            state = self._ready()

        @works
        def forward(X: Any) -> np.ndarray:
            self._refuse_within()
            with self._using:
                state.engine.restore(state.snapshot)
                return state.engine.forward(X)

        return forward
