"""A network that is trained beside others, and how some of them are trained in one place."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

import numpy as np

from fastnn.errors import Diverged, InvalidInput, StrayAccess, WorkerFailed, shown
from fastnn.inputs.data import Data
from fastnn.inputs.parameters import initial_parameters, start_slots
from fastnn.targets.selection import describe, is_cuda, parse
from fastnn.training.callbacks import Bundled, Callback, own_callbacks
from fastnn.training.loop import Training
from fastnn.training.metrics import Metric
from fastnn.training.progress import Watch
from fastnn.training.saved_trainer import Model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from fastnn.targets.cuda.batched_models import Seat
    from fastnn.training.trainer_state import Run, State, Stateful

OnError = Literal["continue", "raise"]
Found = TypeVar("Found")
# (number of the member, its training, itself) -> what is to be known of it.
Done = Callable[[int, Training, "Member"], Found]


@dataclass(frozen=True)
class Failure:
    """Why nothing has come of a training.

    Attributes
    ----------
    why
        The type and the message of an error, or how a worker died.
    error
        What was raised where it was trained; None where its worker died.
    """

    why: str
    error: Exception | None = None

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return what an error says."""
        return cls(said(error), error)


def said(error: BaseException) -> str:
    """Return the type and the message of an error."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Failures:
    """Trainings of a call that errors ended: what is raised or warned of, in the end or at once.

    Attributes
    ----------
    count
        How many there are.
    """

    def __init__(self, on_error: OnError, name: Callable[[int], str]) -> None:
        """Take what is to be done, and what a training is called."""
        self._on_error, self._name = on_error, name
        self._adding = threading.Lock()
        # Of the others' errors, each of which has a traceback and with it a network, nothing stays.
        self._first: tuple[int, Exception] | None = None
        self.count = 0

    def add(self, index: int, failure: Failure) -> None:
        """Take note of one, or raise its error.

        Raises
        ------
        Exception
            That of the training, with a note of its name, where `on_error` is "raise".
        """
        if failure.error is None:
            return
        failure.error.add_note(f"It was raised in {self._name(index)}")
        if self._on_error == "raise":
            raise failure.error
        with self._adding:
            self.count += 1
            if self._first is None or index < self._first[0]:
                self._first = index, failure.error

    def raise_first(self) -> None:
        """Raise the error of the first one, if there is any."""
        if self._first is not None:
            raise self._first[1]

    def text(self, total: int, what: str) -> str:
        """Return what to warn of, or "" where no error was raised."""
        if self._first is None:
            return ""
        index, error = self._first
        others = f", and {self.count - 1} more of {total} {what}" * (self.count > 1)
        return (
            f"an error ended {self._name(index)}{others}: {said(error)}. There is no result of it, "
            'and `failed` says why; on_error="raise" raises the first error instead'
        )


def check_any_left(
    found: Sequence[Any],
    errors: Mapping[int, Diverged],
    failures: Failures,
    what: str,
    after: str = "",
) -> None:
    """Raise an error where nothing has come of any of several trainings.

    Parameters
    ----------
    found
        What has become of each; those of which nothing came say why in `failed`.
    errors
        Of those that diverged, by their numbers.
    what, after
        What messages call the trainings, and what they end with.

    Raises
    ------
    Diverged
        All diverged.
    Exception
        The first one in `failures`, where there is any, and none is left.
    WorkerFailed
        Workers died in all that did not diverge.
    """
    count, dead = len(found), [each.failed for each in found if each.failed is not None]
    if len(errors) == count:
        error = errors[0]
        raise Diverged(
            f"all {count} {what} diverged, the first in epoch {error.epoch}, step {error.step} "
            f"(both counted from 0); {f'{error.cause}; or ' if error.cause else ''}lower the "
            f"learning rate{after}",
            error.epoch,
            error.step,
            error.cause,
        ) from error
    if len(errors) + len(dead) == count:
        failures.raise_first()
        others = f", and {len(errors)} diverged" if errors else ""
        raise WorkerFailed(
            f"the workers of {len(dead)} of {count} {what} died{others}: {dead[0]}{after}"
        )


def check_on_error(on_error: Any) -> OnError:
    """Return what is to be done where an error ends one of several trainings."""
    if on_error not in ("continue", "raise"):
        raise InvalidInput(f'on_error must be "continue" or "raise", not {shown(on_error):.80}')
    return cast(OnError, on_error)


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
    keeper
        Is called after its epochs before all other callbacks, or None.
    """

    model: Model
    data: Data
    validation: Data | None
    metrics: tuple[Metric, ...]
    run: Run
    keeper: Keeper | None = None

    def trainer(self, kind: type[Stateful]) -> Stateful:
        """Return the trainer, one of a kind, with parameters and optimizer state."""
        model, problem = self.model, self.model.problem
        start = model.parameters or initial_parameters(problem.network, problem.seed, problem.dtype)
        trainer = kind.__new__(kind)
        slots = model.slots or start_slots(problem, start)
        trainer.__setstate__(replace(model, parameters=start, slots=slots))
        return trainer

    def compile(self, kind: type[Stateful]) -> None:
        """Compile what it needs, before any clock runs and several threads want it.

        What it needs on a device depends on how many train together: `train_group` compiles that.
        """
        if is_cuda(self.model.history.target):
            return
        engine = self.trainer(kind)._open()
        engine.prepare(self.data.form)
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
    numbers: Sequence[int],
    group: Sequence[Member],
    setup: Setup,
    new_watch: Callable[[], Watch],
    done: Done[Found],
) -> list[Found | Failure]:
    """Train one member, or those that one launch of a device trains; return what `done` does.

    That is called while their engines are still there, for those that diverged, too. Any other
    error ends the training in which it is raised, and no other one.

    Raises
    ------
    StrayAccess
        Memory was touched that may be that of another one.
    """
    try:
        return _train_group(numbers, group, setup, new_watch, done)
    except StrayAccess:
        raise
    except Exception as error:  # in what they have in common
        return [Failure.of(error)] * len(group)


def _train_group(
    numbers: Sequence[int],
    group: Sequence[Member],
    setup: Setup,
    new_watch: Callable[[], Watch],
    done: Done[Found],
) -> list[Found | Failure]:
    kind, paces = setup.kind, setup.paces
    this_call = object()  # whose callbacks may no more than those of fit
    trainers = [member.trainer(kind) for member in group]
    if group[0].keeper is not None and not group[0].keeper.may_begin():
        return [
            done(number, Training(
                trainer, member.data, member.validation, 0, (), new_watch(), over=True
            ), member)
            for number, member, trainer in zip(numbers, group, trainers, strict=True)
        ]  # fmt: skip
    shape = trainers[0].problem.network, trainers[0].problem.batch_size
    trainings: list[Training] = []
    with ExitStack() as ending:
        seats = _seat_together(trainers, ending)
        with ExitStack() as begun:
            for member, trainer in zip(group, trainers, strict=True):
                trainer._fitting.take(this_call)
                engine, watch = trainer._open(), new_watch()
                engine.prepare(member.data.form, len(member.data), member.validation is not None)
                # An engine that knows its epochs to be short does them in this thread; a thread
                # more than there are processors is put anywhere, and takes a twentieth of the
                # time of all.
                engine.seconds_per_row = paces.get(shape, engine.seconds_per_row)
                trainer.history.reason = describe(trainer.history.reason, engine)
                calls, keep = own_callbacks(setup.callbacks), None
                if member.keeper is not None:
                    calls, keep = (member.keeper, *calls), member.keeper.keep
                training = Training(
                    trainer, member.data, member.validation, setup.epochs, calls, watch,
                    member.metrics, calling=setup.calling, keep=keep,
                )  # fmt: skip
                trainings.append(training)
                with _errors_end(training):
                    context = training.begun()
                    context.__enter__()
                    begun.push(partial(_leave, training, context))
            for seat, training in zip(seats, trainings, strict=False):
                seat.forecast = training.forecast
            while left := [training for training in trainings if not training.over]:
                for training in left:
                    with _errors_end(training):
                        training.go_on()
        paces[shape] = min(paces.get(shape, math.inf), engine.seconds_per_row)
        return [
            done(number, training, member)
            if training.failure is None
            else Failure.of(training.failure)
            for number, training, member in zip(numbers, trainings, group, strict=True)
        ]


@contextmanager
def _errors_end(training: Training) -> Iterator[None]:
    """Have an error end a training, and none of those beside it."""
    try:
        yield
    except StrayAccess:
        raise
    except Diverged as error:
        training.error, training.over = error, True
    except Exception as error:
        training.failure, training.over = error, True


def _leave(training: Training, context: AbstractContextManager[Any], *raised: Any) -> bool | None:
    """Leave a context of a training, whose own errors end that alone."""
    with _errors_end(training):
        return context.__exit__(*raised)
    return None


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

    device = parse(trainers[0].history.target).device or 0
    several = Several([each.problem for each in trainers], device)
    ending.callback(several.close)
    for trainer, seat in zip(trainers, several.seats, strict=True):
        trainer._state = trainer._state._replace(engine=seat)
    return several.seats
