"""A network as one epoch left it: it predicts and is not trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.device_arrays import on_device
from fastnn.inputs.parameters import Parameters, copy_of, start_slots
from fastnn.inputs.problem import Problem
from fastnn.targets.engine import Engine
from fastnn.targets.selection import Target, check_reads, choose, new_engine, reader_of
from fastnn.threads.atomic import new_lock
from fastnn.training.combining import without_state
from fastnn.training.predictor import Predictor
from fastnn.training.views import View

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader


class Snapshot(Predictor):
    """A network with the parameters of one epoch, which never change: it only predicts.

    `fastnn.train_population` makes them, and so do `of` and `fastnn.Ensemble`.

    Attributes
    ----------
    problem
        Network, loss and all other settings of the trainer that it was.
    target
        As for `fastnn.Trainer`.
    view
        Which features it reads, of what `fastnn.Ensemble.predict` is given; None: all of an array.
        Its own `predict` takes these features themselves.
    epoch
        After how many epochs that was.
    score
        What the epoch was chosen by: smaller is better. A metric of which larger is better is
        negative here.
    outputs
        What `forward` gives for the rows of the validation data, float32 (n, outputs); None where
        nobody computed it.
    """

    def __init__(
        self,
        problem: Problem,
        target: Target,
        parameters: Parameters,
        view: View = None,
        feature_names: tuple[str, ...] | None = None,
        epoch: int = 0,
        score: float | None = None,
        outputs: np.ndarray | None = None,
    ) -> None:
        """Take parameters that nobody writes to any more."""
        self._problem, self.target, self._parameters = problem, target, parameters
        self.view, self._feature_names = view, feature_names
        self.epoch, self.score, self.outputs = epoch, score, outputs
        self._engine: Engine | None = None
        self._using = new_lock()

    @classmethod
    def of(cls, trainer: Any, view: View = None, outputs: np.ndarray | None = None) -> Snapshot:
        """Return what a `Trainer` is now; of a `Snapshot`, one with another view or outputs."""
        if isinstance(trainer, cls):
            return cls(
                trainer.problem, trainer.target, trainer._parameters, view, trainer.feature_names,
                trainer.epoch, trainer.score, outputs,
            )  # fmt: skip
        return cls(
            trainer.problem, trainer.target, trainer.parameters, view, trainer.feature_names,
            trainer.epoch, None, outputs,
        )  # fmt: skip

    @property
    def problem(self) -> Problem:
        """The settings that decide what is computed."""
        return self._problem

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the columns of the frame that it was trained on, or None."""
        return self._feature_names

    @property
    def parameters(self) -> Parameters:
        """Copies of the arrays of each layer, as `fastnn.Trainer.parameters` gives them."""
        return copy_of(self._parameters)

    def __repr__(self) -> str:
        """Name the network, its epoch and its score."""
        network = self._problem.network
        sizes = "-".join(map(str, (network.inputs, *(dense.units for dense in network.dense))))
        score = "" if self.score is None else f", score={self.score:.6g}"
        view = "" if self.view is None else f", view={self.view!r:.40}"
        return f"Snapshot({sizes}, epoch={self.epoch}{score}{view})"

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the engine."""
        return {k: v for k, v in vars(self).items() if k not in ("_engine", "_using")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become what another one was; its engine is made when it is first needed."""
        vars(self).update(state, _engine=None, _using=new_lock())

    def open(self) -> Engine:
        """Return the engine that holds the parameters, made at the first call."""
        with self._using:
            if self._engine is None:
                problem = self._problem
                if problem.batch_size > 1:  # else the order of sums may be the optimizer's
                    problem = without_state(problem)
                engine = new_engine(choose(self.target, problem)[0], problem)
                engine.load(self._parameters, start_slots(problem, self._parameters))
                self._engine = engine
            return self._engine

    def _outputs(self, if_finite: bool = False) -> Callable[[Any], Any]:
        engine = self.open()

        def forward(X: Any) -> Any:
            with self._using:
                return engine.forward_if_finite(X) if if_finite else engine.outputs(X)

        return forward

    def _reader(self, *values: Any) -> Reader | None:
        check_reads(self.target, self._problem, values[0])
        if not any(map(on_device, values)):
            return None
        return reader_of(choose(self.target, self._problem)[0])
