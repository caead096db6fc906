"""What a trained network answers: the methods of a trainer that change nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.arguments import explained
from fastnn.inputs.data import check_data, check_features
from fastnn.inputs.pages import by_pieces
from fastnn.inputs.problem import Problem
from fastnn.training.metrics import Metrics, check_measurable, check_metrics, measured
from fastnn.training.scores import (
    check_probabilistic,
    finished,
    is_finite,
    predictions,
    probabilities,
    scores,
)

if TYPE_CHECKING:
    from fastnn.inputs.device_arrays import Reader

# So few numbers are looked at in a microsecond; all that can be asked of features takes twenty.
# More are looked at by what computes with them, where the target can do that.
FEW_NUMBERS = 1 << 14


class Predictor(ABC):
    """Predictions and scores of whatever has a problem and an engine.

    What they return is on the host, NumPy arrays and floats, wherever X and y are.

    """

    @property
    @abstractmethod
    def problem(self) -> Problem:
        """The settings that decide what is computed."""

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...] | None:
        """The names that the columns of a frame have to have, in their order; None: any."""

    @abstractmethod
    def _outputs(self, if_finite: bool = False) -> Callable[[Any], Any]:
        """Return what computes outputs (m, outputs) of checked features (m, inputs).

        That is the network as it is now, however it is trained until the function is called. With
        `if_finite` it is `Engine.forward_if_finite`, for an array of which nothing but that is yet
        to be checked.
        """

    @abstractmethod
    def _reader(self, *values: Any) -> Reader | None:
        """Return what reads these values, if any of them is on a device and the target reads it.

        The first are features. Raises `InvalidInput` where they are sparse and nothing reads that.
        """

    @explained
    def predict(self, X: Any) -> np.ndarray:
        """Return what the network predicts for X (m, inputs).

        Returns
        -------
        ndarray
            Classes: indices, int64 (m,). Binary losses: 0 and 1, int64, where an output of 0 or
            more means 1. Poisson: rates, exp of the outputs. Other regressions: outputs. All but
            the first are (m,) for one output and (m, outputs) for more.

        Raises
        ------
        InvalidInput
            An output or a rate that is infinite or NaN, since numbers overflow, by its row;
            `forward` returns such, too.
        """
        return self._finished(X, predictions)

    @explained
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities that the network gives for X (m, inputs).

        Returns
        -------
        ndarray
            softmax_cross_entropy: (m, classes). binary_cross_entropy: (m, 2) for one output, and
            (m, outputs) of label 1 for more.

        Raises
        ------
        InvalidInput
            Another loss, whose outputs are no probabilities; an output that is not finite.
        """
        check_probabilistic(self.problem)
        return self._finished(X, probabilities)

    @explained
    def forward(self, X: Any) -> np.ndarray:
        """Return the last layer's outputs after its activation, (m, outputs), for X (m, inputs).

        They are infinite or NaN where numbers overflow.
        """
        return self._finished(X, None)

    def _finished(
        self,
        X: Any,
        finish: Callable[[Problem, np.ndarray], np.ndarray] | None,
    ) -> np.ndarray:
        """Return what `finish` makes of finite outputs, or outputs as they are.

        Those of a file are computed by pieces.
        """
        problem = self.problem
        if _is_plain(X, problem):
            if X.size > FEW_NUMBERS:
                found = self._outputs(if_finite=True)(X)
                if found is not None:
                    return found if finish is None else finished(problem, found, finish)
            elif is_finite(X):
                found = self._outputs()(X)
                return found if finish is None else finished(problem, found, finish)
        reader = self._reader(X)
        features = check_features(
            X, problem.network.inputs, problem.dtype, reader=reader, names=self.feature_names
        )
        outputs, done = self._outputs(), 0

        def of_piece(rows: Any) -> np.ndarray:
            nonlocal done
            found = outputs(rows)
            if finish is not None:
                found = finished(problem, found, finish, done)
            done += len(rows)
            return found

        return by_pieces(of_piece, features)

    @explained
    def evaluate(
        self, X: Any, y: Any, sample_weight: Any = None, metrics: Metrics = ()
    ) -> dict[str, float]:
        """Return {"loss", "accuracy"} on data as for `fit`; no accuracy for a regression.

        `metrics`, as for `fit`, are in it by their names; a function that fails is an error.

        loss = sum_r w_r l_r / sum_r w_r, without penalty;  accuracy = sum_r w_r c_r / sum_r w_r,
        where c_r is 1 for a right label; for several binary outputs, the share of right ones. The
        label of a row of class probabilities is the most probable class. With weights of targets
        (m, outputs), sum_rj w_rj l_rj / sum_rj w_rj and sum_rj w_rj c_rj / sum_rj w_rj: what weighs
        more in the loss does so in the accuracy, and without weights it is the share of all labels.
        Missing targets (`ignore_nan`) are left out of both. Where outputs overflow, the loss is
        infinite or NaN, and no label is predicted right.
        """
        reader = self._reader(X, y, sample_weight)
        names = self.feature_names
        data = check_data(self.problem, X, y, sample_weight, reader=reader, names=names)
        asked = check_metrics(self.problem, metrics)
        check_measurable(self.problem, asked, data)
        if not asked:
            return scores(self.problem, self._outputs(), data)
        found, error = measured(self.problem, self._outputs(), data, asked)
        if error is not None:
            raise error
        return found


def _is_plain(X: Any, problem: Problem) -> bool:
    """Return whether of this array `check_features` can only say that a number is not finite."""
    return (
        type(X) is np.ndarray
        and X.dtype == problem.dtype
        and X.ndim == 2
        and X.size > 0
        and X.shape[1] == problem.network.inputs
        and X.flags.aligned
    )
