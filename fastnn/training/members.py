"""A network that is trained beside others, and how some of them are trained in one place."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastnn.errors import Diverged
from fastnn.inputs.data import Data
from fastnn.inputs.parameters import initial_parameters, start_slots
from fastnn.targets.selection import describe
from fastnn.training.callbacks import Bundled, Callback, own_callbacks
from fastnn.training.loop import Training
from fastnn.training.metrics import Metric
from fastnn.training.progress import Watch
from fastnn.training.saved_trainer import Model

if TYPE_CHECKING:
    from fastnn.targets.cuda.batched_models import Seat
    from fastnn.training.trainer_state import Run, State, Stateful

Found = TypeVar("Found")
Result = TypeVar("Result")
# (number of the member, its training, settings for its trainer) -> what is to be known of it.
Done = Callable[[int, Training, "Run"], Found]


class Keeper(Bundled):
    """Follows one of several trainings, and may keep it from beginning."""

    def may_begin(self) -> bool:
        """Return whether the training is to begin."""
        return True

    def keep(self, trainer: Stateful, epochs: list[tuple[np.ndarray, State]]) -> None:
        """Take epochs that the trainer has done, as `Training.keep` gives them."""


@dataclass
class Member:
    """A network that is to be trained.

    Attributes
    ----------
    model
        Its settings, and a history that says on which target. Where there are no parameters, they
        are made from the seed when its turn comes, since of all members there may be many.
    data, validation, metrics
        Checked for its problem, as `fastnn.training.loop.begun` takes them.
    run
        Settings that its trainer has afterwards, in the place of those that it trains with.
    """

    model: Model
    data: Data
    validation: Data | None
    metrics: tuple[Metric, ...]
    run: Run

    def trainer(self, kind: type[Stateful]) -> Stateful:
        """Return the trainer, one of a kind, with parameters and optimizer state."""
        model, problem = self.model, self.model.problem
        start = model.parameters or initial_parameters(problem.network, problem.seed, problem.dtype)
        trainer = kind.__new__(kind)
        slots = model.slots or start_slots(problem, start)
        trainer.__setstate__(replace(model, parameters=start, slots=slots))
        return trainer

    def compile(self, kind: type[Stateful]) -> None:
        """Compile what it needs, before any clock runs and several threads want it."""
        engine = self.trainer(kind)._open()
        engine.prepare()
        if self.validation is not None:
            engine.forward(self.validation.X[:1])
        engine.close()


@dataclass
class Setup:
    """What all trainings of one call have in common.

    Attributes
    ----------
    epochs, callbacks, kind
        As `fastnn.training.many.train_many` takes them.
    calling
        A lock for callbacks, which may be shared.
    paces
        Seconds that a row takes, by network and batch size, as far as they are known.
    """

    epochs: int
    callbacks: tuple[Callback, ...]
    kind: type[Stateful]
    calling: Any = field(default_factory=threading.Lock)
    paces: dict[Any, float] = field(default_factory=dict)


def train_group(
    group: Sequence[Member],
    setup: Setup,
    new_watch: Callable[[], Watch],
    done: Callable[[Sequence[Training]], Result],
    keeping: Sequence[Keeper] = (),
) -> Result:
    """Train one member, or those that one launch of a device trains, and return what `done` does.

    That is called while their engines are still there. Where a training diverges, it has the error;
    every other one comes out.
    """
    kind, paces = setup.kind, setup.paces
    this_call = object()  # whose callbacks may no more than those of fit
    trainers = [member.trainer(kind) for member in group]
    if keeping and not keeping[0].may_begin():
        return done([
            Training(trainer, member.data, member.validation, 0, (), new_watch(), over=True)
            for member, trainer in zip(group, trainers, strict=True)
        ])  # fmt: skip
    shape = trainers[0].problem.network, trainers[0].problem.batch_size
    trainings: list[Training] = []
    with ExitStack() as ending:
        seats = _seat_together(trainers, ending)
        with ExitStack() as begun:
            for member, trainer, keeper in zip_longest(group, trainers, keeping):
                trainer._fitting.take(this_call)
                engine, watch = trainer._open(), new_watch()
                engine.prepare(member.data.form)
                # An engine that knows its epochs to be short does them in this thread; a thread
                # more than there are processors is put anywhere, and takes a twentieth of the
                # time of all.
                engine.seconds_per_row = paces.get(shape, engine.seconds_per_row)
                trainer.history.reason = describe(trainer.history.reason, engine)
                calls, keep = own_callbacks(setup.callbacks), None
                if keeper is not None:
                    calls, keep = (keeper, *calls), keeper.keep
                training = Training(
                    trainer, member.data, member.validation, setup.epochs, calls, watch,
                    member.metrics, calling=setup.calling, keep=keep,
                )  # fmt: skip
                begun.enter_context(training.begun())
                trainings.append(training)
            for seat, training in zip(seats, trainings, strict=False):
                seat.forecast = training.forecast
            while left := [training for training in trainings if not training.over]:
                for training in left:
                    try:
                        training.go_on()
                    except Diverged as error:
                        training.error, training.over = error, True
        paces[shape] = min(paces.get(shape, math.inf), engine.seconds_per_row)
        return done(trainings)


def at_rest(trainer: Any, run: Run) -> Any:
    """Return a trainer that has been trained, without its engine, and with settings as given."""
    with trainer._using:
        state = trainer._state
        trainer._state = state._replace(
            run=run, arrays=state.read(), engine=None, snapshot=None, goal=state.epoch
        )
    trainer._fitting.give_back()
    return trainer


def _seat_together(trainers: list[Stateful], ending: ExitStack) -> list[Seat]:
    """Give several trainers, which one launch may train, engines that share it; return these."""
    if len(trainers) == 1:
        return []
    from fastnn.targets.cuda.batched_models import Several

    several = Several([each.problem for each in trainers])
    ending.callback(several.close)
    for trainer, seat in zip(trainers, several.seats, strict=True):
        trainer._state = trainer._state._replace(engine=seat)
    return several.seats
