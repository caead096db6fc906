"""What a trainer has, and how it is read and replaced: whole, whoever interrupts it."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import CodeType
from typing import Any, NamedTuple, TypeVar

from fastnn.errors import InvalidInput, TrainerBusy, number, shown
from fastnn.inputs.parameters import Parameters, check_parameters, copy_of, start_slots
from fastnn.inputs.problem import Problem
from fastnn.network import unknown_inputs
from fastnn.ranks.group import Group, check_synchronise
from fastnn.rules.table import update_row
from fastnn.targets.engine import Engine
from fastnn.targets.selection import Target, choose, new_engine
from fastnn.threads.atomic import Turn, at_once, new_lock
from fastnn.training.history import History
from fastnn.training.model_files import Stored
from fastnn.training.predictor import Predictor
from fastnn.training.saved_trainer import Earlier, Model, OnDivergence, start


class Run(NamedTuple):
    """How a trainer trains, beside its `Problem`; as the arguments of `Trainer`."""

    target: Target
    threads: int | None
    shuffle: bool | int
    on_divergence: OnDivergence
    max_restores: int
    synchronise: Any


class State(NamedTuple):
    """All that training and settings change, as the last whole epoch left it, or the last of some.

    Of short ones `fit` does some in one call.

    A trainer has one of these in one attribute, so whoever reads that has values that belong
    together, and whoever is interrupted has changed all of them or none. Parameters and optimizer
    state are on the host (`arrays`) until an engine has them (`snapshot`); neither is written to.

    Attributes
    ----------
    problem, history, epoch, step, rate_factor
        As the attributes of `fastnn.training.trainer.Trainer`.
    run
        All other settings.
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
    begun
        The problems that the trainer has had before any epoch: copies of it then may be gone back
        to, and no history tells them from those of others.
    feature_names
        Of the first frame that `fit` was given; None: of none yet.
    preparation
        What made the features of a table, as plain values; None: nobody said.
    """

    problem: Problem
    run: Run
    history: History
    epoch: int
    step: int
    rate_factor: float
    arrays: tuple[Parameters, list[Parameters]] | None
    engine: Any = None
    snapshot: Any = None
    goal: int = 0
    earlier: State | None = None
    begun: tuple[Problem, ...] = ()
    feature_names: tuple[str, ...] | None = None
    preparation: dict[str, Any] | None = None

    def read(self) -> tuple[Parameters, list[Parameters]]:
        """Return parameters and optimizer state; arrays that are not to be written to."""
        return self.engine.unpack(self.snapshot) if self.arrays is None else self.arrays

    def under(self, problem: Problem, arrays: tuple[Parameters, list[Parameters]]) -> State:
        """Return the state with another problem, and parameters and optimizer state for it."""
        begun = self.begun if self.epoch else (*self.begun, problem)
        return self._replace(
            problem=problem, arrays=arrays, engine=None, snapshot=None, earlier=None, begun=begun
        )


def _assignable(name: str, doc: str) -> Any:
    """Return the attribute of a setting in `Run`, which is assigned as `Adjustable.set` does it."""

    def assign(trainer: Any, value: Any) -> None:
        trainer.set(**{name: value})

    return property(lambda trainer: getattr(trainer._state.run, name), assign, doc=doc)


_AT_WORK: set[CodeType] = set()
Function = TypeVar("Function", bound=Callable[..., Any])


def works(function: Function) -> Function:
    """Mark a function that has a trainer's engine at work, with the trainer among its variables."""
    _AT_WORK.add(function.__code__)
    return function


class Stateful(Predictor, Stored):
    """A predictor with a `State`, and with an engine that works from it.

    Training makes a new state beside the old one and puts it into its place in one step, after each
    whole epoch, or after as many short ones as `fit` does in one call. An engine's own memory is a
    means to that end: whatever is left in it, the next call begins from the state.
    """

    target: Target = _assignable("target", "The target, as it was asked for.")
    threads: int | None = _assignable("threads", "The most threads that train, or None.")
    shuffle: bool | int = _assignable("shuffle", "Whether rows are shuffled, or how many together.")
    on_divergence: OnDivergence = _assignable(
        "on_divergence", "What is done about NaN and infinity."
    )
    max_restores: int = _assignable("max_restores", "How often that may be to go back.")

    # The processes that train it together; None: this one alone, as copies and files are.
    _group: Group | None = None
    _communicator: Any = None
    _before: State | None = None  # the state at the beginning of an epoch that they do together

    def __setstate__(self, model: Model) -> None:
        """Become the trainer that `model` describes; its engine is made when it is first needed."""
        self._using = new_lock()  # while the engine is at work, or `_state` is replaced
        self._fitting = Turn()
        self._told: set[Any] = set()  # what `fit` has warned of, see `learning_check.warn`
        self._callback_states = model.callbacks  # until `fit` hands them over
        # All else: whoever reads or replaces it does so once, and so in whole.
        run = Run(*(getattr(model, name) for name in Run._fields))
        state = State(
            model.problem, run, model.history, model.epoch, model.step, model.rate_factor,
            (model.parameters, model.slots), goal=model.epoch + model.remaining,
            begun=() if model.epoch else (model.problem,), feature_names=model.feature_names,
            preparation=model.preparation,
        )  # fmt: skip
        if (before := model.earlier) is not None:
            arrays = before.parameters, before.slots
            earlier = state._replace(epoch=before.epoch, step=before.step, arrays=arrays)
            state = state._replace(earlier=earlier)
        self._state = state

    def __getstate__(self) -> Model:
        """Return all but the engine, for `save`, `pickle` and `copy`.

        While an epoch, or a call for some short ones, is under way in another thread, that is the
        trainer as before it.
        """
        while True:
            state = self._state
            history = state.history.copy()
            if state is self._state:  # else an epoch has been entered since
                break
        before = state.earlier
        earlier = None if before is None else Earlier(before.epoch, before.step, *before.read())
        run = state.run
        return Model(
            state.problem, run.target, run.threads, run.shuffle, state.epoch, state.step,
            state.rate_factor, history, *state.read(), run.on_divergence, run.max_restores,
            max(0, state.goal - state.epoch), self._callback_states, earlier, state.feature_names,
            state.preparation, run.synchronise,
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
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the columns of the first frame that `fit` was given, or None."""
        return self._state.feature_names

    @property
    def preparation(self) -> dict[str, Any] | None:
        """What made the features of the columns of a table, as plain values; None: nobody said.

        ``fastnn train`` keeps it here, so that a model's file has all that ``fastnn predict``
        needs. `fit`, `predict` and others take features that are made, whatever this says.
        """
        return copy.deepcopy(self._state.preparation)

    def keep_preparation(self, values: dict[str, Any] | None) -> None:
        """Keep, with the network and in its files, what makes features of a table.

        Raises
        ------
        InvalidInput
            No dictionary of what JSON can write.
        """
        try:
            if values is not None:
                if not isinstance(values, dict):
                    raise TypeError(f"it is a {type(values).__name__}")
                values = json.loads(json.dumps(values, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(
                f"values must be None or a dictionary that json can write ({error}), not "
                f"{shown(values):.80}"
            ) from error
        with self._using:
            self._state = self._state._replace(preparation=values)

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
        these; a `Periodic` has (c, b), both (columns, frequencies). They are what predicts: of
        `AveragedSGD`, and of an optimizer with an `ema`, the mean.
        """
        return self.parameters_later()()

    def parameters_later(self) -> Callable[[], Parameters]:
        """Return what gives `parameters` as they are now, whenever it is called.

        They are not copied until then: it is for keeping the best of many epochs.
        """
        state = self._state
        if state.problem.network.inputs is None:
            raise unknown_inputs("have parameters")

        def parameters() -> Parameters:
            mean = update_row(state.problem.optimizer).mean
            if state.arrays is None:
                return state.engine.unpack_copy(state.snapshot, -1 if mean else 0)
            found, slots = state.arrays
            return copy_of(slots[-1] if mean else found)

        return parameters

    def set_parameters(self, parameters: Parameters) -> None:
        """Take other parameters, as `parameters` gives them; copies.

        W is (inputs, outputs), for rows as samples: Z = X W + b. PyTorch's Linear, and texts in
        which columns are samples, have its transpose (outputs, inputs), so pass W.T of those, above
        all of a square W, whose shape cannot tell. `Trainer.from_torch` takes a whole module of
        PyTorch.

        The optimizer starts anew: its state becomes zero (the mean of `AveragedSGD`, a copy of the
        parameters), `step` 0, which Adam's correction of its bias and a schedule of the learning
        rate depend on, and `rate_factor` 1. `epoch` and `history` go on. What `fit` has warned of
        was of the parameters before: it warns of the same anew.

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
            self._told = set()

    def _replace_parameters(self, parameters: Parameters) -> None:
        """Take other parameters, and go on with the optimizer's state, `step` and `rate_factor`.

        An optimizer that keeps a mean of the parameters starts anew, but for `rate_factor`: that
        mean would be one of parameters that are gone.
        """
        if update_row(self.problem.optimizer).mean:
            factor = self.rate_factor
            self.set_parameters(parameters)
            self.rate_factor = factor
            return
        checked = check_parameters(self.problem, parameters)
        self._refuse_within()
        with self._using:
            _, slots = self._state.read()
            self._state = self._state._replace(arrays=(checked, slots), earlier=None)
            self._told = set()

    def scale_state(self, factor: float) -> None:
        """Multiply the optimizer's state by a number.

        The velocity of `SGD` with momentum is a sum of gradients, so that a new learning rate
        changes the steps that earlier ones go on with at once. After ``scale_state(old / new)``
        these are as long as they were, as in libraries whose velocity has the rate in it (Keras,
        scikit-learn; Sutskever et al. 2013). The mean of the weights, of `AveragedSGD` or an `ema`,
        stays as it is.

        Raises
        ------
        InvalidInput
            No finite number, or one that is not above 0.
        """
        factor = number(factor, "factor", 0.0, open_low=True)
        self._refuse_within()
        with self._using:
            parameters, slots = self._state.read()
            means = slots[-1:] if update_row(self._state.problem.optimizer).mean else []
            scaled = [
                [tuple(array * array.dtype.type(factor) for array in layer) for layer in slot]
                for slot in slots[: len(slots) - len(means)]
            ]
            self._state = self._state._replace(arrays=(parameters, scaled + means))

    def restore(self, earlier: Stateful) -> None:
        """Go back to what this trainer was when ``earlier = copy.copy(trainer)`` was made.

        That is parameters, optimizer state, `epoch`, `step`, `rate_factor` and, where they have
        been changed since, all settings of `problem`: what is to be another one is set afterwards.
        `history` keeps the epochs done since, until training goes on and does them anew.

        Raises
        ------
        InvalidInput
            Not a copy of this trainer, or of epochs that have been done anew since; or settings
            that the target of today cannot have. Nothing has changed.
        TrainerBusy
            The trainer is in `fit`, with data for which that other network, loss or dtype is not.
        """
        then = earlier._state if isinstance(earlier, Stateful) else None
        # Of epochs that two trainers share, the history knows; before any, only settings do.
        if (
            then is None
            or not (then.epoch or then.problem in self._state.begun)
            or not self.history.agrees(then.history, then.epoch)
        ):
            raise InvalidInput(
                "restore takes an earlier copy.copy(trainer) of the trainer itself, "
                f"not {earlier!r:.80}"
            )
        this_call, other_data = object(), not then.problem.takes_data_of(self.problem)
        if other_data and not self._fitting.take(this_call):
            raise TrainerBusy(
                "the earlier copy has another network, loss or dtype than the data of the fit "
                "that this is called in are for; restore it when that has returned"
            )
        try:
            arrays = then.read()
            self._refuse_within()
            with self._using:
                state = self._state
                if then.problem != state.problem:
                    choose(state.run.target, then.problem)
                    state = state.under(then.problem, arrays)
                self._state = state._replace(
                    epoch=then.epoch, step=then.step, rate_factor=then.rate_factor, arrays=arrays,
                    goal=max(then.goal, then.epoch), earlier=None,
                    feature_names=then.feature_names,
                )  # fmt: skip
        finally:
            if other_data:
                self._fitting.give_back()

    @contextmanager
    def unless_it_fails(self) -> Iterator[None]:
        """Be as before where what is done meanwhile raises, settings and epochs done included.

        Nothing is copied for it.
        """
        before = self._state
        try:
            yield
        except BaseException:
            with self._using:
                before.history.truncate(before.epoch - before.history.first_epoch)
                self._state = before
            raise

    def _begin(self, inputs: int | None, names: tuple[str, ...] | None) -> None:
        """Take what a first X says: the number of inputs, and the names of its columns.

        What is known already stays, and so does what is None here.
        """
        with self._using:
            state = self._state
            if state.problem.network.inputs is None and inputs is not None:
                network = state.problem.network.with_inputs(inputs)
                problem = state.problem.changed(network=network)
                choose(state.run.target, problem)
                state = state.under(problem, start(problem))
            if state.feature_names is None:
                state = state._replace(feature_names=names)
            self._state = state

    def _forget(self, before: State) -> None:
        """Undo `_begin`, of a fit that has done no epoch."""
        with self._using:
            state = self._state
            if state.epoch != before.epoch:
                return
            if before.problem.network.inputs is None:
                state = before._replace(goal=state.goal, rate_factor=state.rate_factor)
            self._state = state._replace(feature_names=before.feature_names)

    def _join(self, communicator: Any, synchronise: Any) -> None:
        """Train with the processes of a communicator from now on; None: alone."""
        synchronise = check_synchronise(synchronise)
        nobody = communicator is None and self._communicator is None
        if nobody and synchronise == self._state.run.synchronise:
            return
        group = None if communicator is None else Group(communicator, synchronise)
        with self._using:
            state = self._state
            if state.engine is not None:
                state = state._replace(arrays=state.read(), engine=None, snapshot=None)
            object.__setattr__(self, "_communicator", communicator)
            # One process has nobody to wait for.
            object.__setattr__(self, "_group", group if group and group.size > 1 else None)
            self._state = state._replace(run=state.run._replace(synchronise=synchronise))

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
            target = choose(state.run.target, state.problem)[0]
            others = {} if self._group is None else {"group": self._group}
            engine = new_engine(target, state.problem, state.run.threads, **others)
            state = state._replace(engine=engine)
        if state.arrays is not None:
            state = state._replace(arrays=None, snapshot=state.engine.pack(*state.arrays))
        self._state = state
        state.engine.restore(state.snapshot)
        return state

    def _advance(
        self,
        after: State,
        rows: Sequence[tuple[float | None, ...]],
        metrics: Mapping[str, Sequence[float | None]] | None = None,
    ) -> None:
        """Be in a state some epochs later, whose rows enter the history in the same moment.

        They follow the epochs that are done, in the place of those that `restore` has gone back
        behind. To be called under `_using`.
        """
        # By object's own method, which is one of C: a trainer's is not.
        history = after.history
        done = self._state.epoch - history.first_epoch
        steps = history.entering(done, rows, metrics)
        at_once([*steps, partial(object.__setattr__, self, "_state", after)])

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
                    "by a metric, a StepCallback or a signal's handler; save, copy or pickle the "
                    "trainer there, which give its last whole epoch, or have a callback do this"
                )
            frame = frame.f_back

    def _outputs(self, if_finite: bool = False) -> Callable[[Any], Any]:
        self._refuse_within()

        with self._using:
            state = self._ready()

        @works
        def forward(X: Any) -> Any:
            self._refuse_within()
            with self._using:
                engine = state.engine
                engine.restore(state.snapshot)
                return engine.forward_if_finite(X) if if_finite else engine.outputs(X)

        return forward
