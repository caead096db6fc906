"""Many networks trained side by side: each does what `fit` does, on a core or a block of a device.

`fit` trains one; its restarts and sweeps are many that differ in seeds and settings.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import zip_longest
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastnn.errors import Diverged, InvalidInput, shown
from fastnn.inputs.data import Data
from fastnn.inputs.parameters import initial_parameters, start_slots
from fastnn.targets.selection import describe
from fastnn.threads.tasks import run_tasks
from fastnn.training.callbacks import Bundled, Callback, own_callbacks
from fastnn.training.loop import Training
from fastnn.training.metrics import Metric
from fastnn.training.progress import Progress, Watch
from fastnn.training.saved_trainer import Model

if TYPE_CHECKING:
    from fastnn.targets.cuda.batched_models import Seat
    from fastnn.training.trainer_state import Run, State, Stateful

Result = TypeVar("Result")


class Keeper(Bundled):
    """Follows one of several trainings, and may keep it from beginning."""

    def may_begin(self) -> bool:
        """Return whether the training is to begin."""
        return True

    def keep(self, trainer: Stateful, epochs: list[tuple[np.ndarray, State]]) -> None:
        """Take epochs that the trainer has done, as `Training.keep` gives them."""


MOST_TOGETHER = 1024  # networks in a launch: those of several rounds, all of which are in memory


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


# (number of the member, its training) -> what is to be known of it.
Done = Callable[[int, Training], Result]


def train_many(
    members: Sequence[Member],
    epochs: int,
    callbacks: tuple[Callback, ...],
    workers: int,
    done: Done[Result],
    kind: type[Stateful],
    name: str,
    progress_bar: bool = True,
    keepers: Sequence[Keeper] = (),
) -> list[Result]:
    """Train every member as if alone, and return what `done` has made of each, in their order.

    Those that need the same code are trained in one launch of a device where that is quicker; all
    others as one task each.

    Parameters
    ----------
    members
        At least one.
    epochs
        Of each; one that a callback ends, or that diverges, makes room for the next.
    callbacks
        Checked; those of fastnn that keep state are every member's own, and all others are called
        from several threads, but once at a time.
    workers
        How many tasks at a time, each on one thread.
    done
        Called with each training that is over, in any order and from several threads; the trainer
        lives no longer, unless that keeps it with `at_rest`.
    kind
        The class of the trainers.
    name
        What the progress bar calls them.
    progress_bar
        Whether there is to be one.
    keepers
        None, or one for each member, called after its epochs before all other callbacks.
    """
    groups = _groups(members)
    watches: list[Watch] = []
    calling, paces = threading.Lock(), dict[Any, float]()

    def train(number: int, check: Callable[[], None]) -> list[Result]:
        this_call = object()  # whose callbacks may no more than those of fit
        group = [members[index] for index in groups[number]]
        trainers = [member.trainer(kind) for member in group]
        keeping = [keepers[index] for index in groups[number]] if keepers else []
        if keeping and not keeping[0].may_begin():
            unbegun = [
                Training(trainer, member.data, member.validation, 0, (), Watch(check), over=True)
                for member, trainer in zip(group, trainers, strict=True)
            ]
            return [done(*each) for each in zip(groups[number], unbegun, strict=True)]
        shape = trainers[0].problem.network, trainers[0].problem.batch_size
        trainings: list[Training] = []
        with ExitStack() as ending:
            seats = _seat_together(trainers, ending)
            with ExitStack() as begun:
                for member, trainer, keeper in zip_longest(group, trainers, keeping):
                    trainer._fitting.take(this_call)
                    engine, watch = trainer._open(), Watch(check)
                    engine.prepare(member.data.X)
                    # An engine that knows its epochs to be short does them in this thread; a thread
                    # more than there are processors is put anywhere, and takes a twentieth of the
                    # time of all.
                    engine.seconds_per_row = paces.get(shape, engine.seconds_per_row)
                    trainer.history.reason = describe(trainer.history.reason, engine)
                    watches.append(watch)
                    calls, keep = own_callbacks(callbacks), None
                    if keeper is not None:
                        calls, keep = (keeper, *calls), keeper.keep
                    training = Training(
                        trainer, member.data, member.validation, epochs, calls, watch,
                        member.metrics, calling=calling, keep=keep,
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
            return [done(*each) for each in zip(groups[number], trainings, strict=True)]

    rows = len(members[0].data)
    progress = Progress(len(members) * epochs, 1, rows, rows, wanted=progress_bar)

    def tick() -> None:
        progress.show(name, sum(watch.epochs for watch in watches))

    try:
        found = run_tasks(train, len(groups), workers, tick)
        tick()  # what the last ones did since it was drawn
    finally:
        progress.close()
    places = [index for group in groups for index in group]
    in_groups = [result for results in found for result in results]
    return [result for _, result in sorted(zip(places, in_groups, strict=True), key=itemgetter(0))]


def check_keep(keep_trainers: Any) -> None:
    """Raise `InvalidInput` where that does not say whether to keep trainers."""
    if not isinstance(keep_trainers, (bool, np.bool_)):
        raise InvalidInput(f"keep_trainers must be True or False, not {shown(keep_trainers)}")


def at_rest(trainer: Any, run: Run) -> Any:
    """Return a trainer that has been trained, without its engine, and with settings as given."""
    with trainer._using:
        state = trainer._state
        trainer._state = state._replace(
            run=run, arrays=state.read(), engine=None, snapshot=None, goal=state.epoch
        )
    trainer._fitting.give_back()
    return trainer


def _groups(members: Sequence[Member]) -> list[list[int]]:
    """Return the numbers of the members, those together that one launch of a device trains."""
    groups: list[list[int]] = []
    on_device: list[list[int]] = []
    for index, member in enumerate(members):
        if member.model.history.target != "cuda" or member.data.unequal_weights is not None:
            groups.append([index])
            continue
        alike = (group for group in on_device if _alike(members[group[0]], member))
        if (group := next(alike, None)) is None:
            on_device.append(group := [])
        group.append(index)
    for group in on_device:
        for first in range(0, len(group), MOST_TOGETHER):
            part = group[first : first + MOST_TOGETHER]
            groups += [part] if _together(members, part) else [[index] for index in part]
    return groups


def _alike(member: Member, other: Member) -> bool:
    """Return whether one launch may train both."""
    from fastnn.targets.cuda.batched_models import one_launch

    return (
        member.data is other.data
        and member.model.shuffle == other.model.shuffle
        and one_launch(member.model.problem, other.model.problem)
    )


def _together(members: Sequence[Member], group: list[int]) -> bool:
    """Return whether a device trains so many networks side by side, or one after another."""
    from fastnn.targets.cuda.batched_models import worth_it

    first = members[group[0]]
    return len(group) == 1 or worth_it(first.model.problem, len(group), first.data)


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
