"""What the linear models have in common: scikit-learn's stochastic gradient descent, by a Trainer.

One step of theirs on row r is w *= 1 - eta alpha (1 - l1_ratio), then w -= eta w_r dl_r, and the
l1 penalty. The engine divides a gradient by the mean weight, and by the number of outputs where the
loss is a mean over them; so rates are multiplied by both, and penalties divided: the steps are the
same. Of several classes each output is a model of its own, one class against the rest, and the
models are trained side by side, on the same rows: they share the rates and the order of the rows,
and each ends for itself, by its own objective.
"""

from __future__ import annotations

import copy
import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fastnn.errors import Diverged, InvalidInput
from fastnn.estimators.base import (
    OF_CLASSES,
    SET_ASIDE,
    NonFiniteParameters,
    Rows,
    TrainedEstimator,
    float_of,
    parted,
    refuse_no_weight,
    scaled,
    scaling_of,
    seeds_of,
)
from fastnn.estimators.description import PowerScaling
from fastnn.estimators.files import opened, window_of
from fastnn.estimators.finite_weights import refuse_not_finite
from fastnn.estimators.linear_losses import LOSSES, PLAIN_LOSSES, WITH_EPSILON, losses_of
from fastnn.estimators.linear_outputs import outputs_of, overflow_of_fit, refuse_overflow
from fastnn.estimators.monitor import Lines, Monitor
from fastnn.estimators.own_units import in_own_units
from fastnn.estimators.restarts import Fit, best_fit
from fastnn.estimators.scoring import remedy_for_spread, scorer_of, without_spread
from fastnn.estimators.sklearn_callbacks import CallbackSupportMixin, Hooks
from fastnn.estimators.units import are_now, inside, numbers_outside, outside
from fastnn.estimators.weights import check_steps
from fastnn.inputs.arrays import refuse_apparent_numbers
from fastnn.inputs.output_ends import first_ends
from fastnn.inputs.parameters import Parameters
from fastnn.inputs.problem import penalty_of
from fastnn.inputs.scaling import Scaling
from fastnn.inputs.sparse_rows import ReadRows, is_sparse
from fastnn.layers import rule_of
from fastnn.losses import KINDS
from fastnn.network import SGD, Dense, Network, Optimizer
from fastnn.optimizers import AveragedSGD
from fastnn.rules.table import loss_row
from fastnn.schedules import InverseScaling
from fastnn.training.callbacks import watches_validation
from fastnn.training.learning_check import warn
from fastnn.training.scores import is_finite
from fastnn.training.trainer import Trainer

_LEAST_RATE = 1e-6  # down to which "adaptive" divides
_INTERCEPT_OF_SPARSE = 0.01  # scikit-learn's factor of the intercept's rate on sparse rows
_OVERFLOW = (
    "Floating-point under-/overflow occurred at epoch #%d. Scaling input data with StandardScaler "
    "or MinMaxScaler might help, and so does standardize=True."
)
_NO_SCORE = (
    "early_stopping has nothing to go by, so that the fit ends after max_iter epochs: it goes by %s"
)
Penalty = Literal["l2", "l1", "elasticnet"]
LinearRate = Literal["constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"]


class LinearModel(CallbackSupportMixin, SparseCoefMixin, TrainedEstimator):
    """A linear model, fitted as scikit-learn's are that train by stochastic gradient descent."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "loss": losses_of("classes", "binary", "real"),
        "penalty": [StrOptions(set(get_args(Penalty))), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean", Interval(Integral, 2, None, closed="left")],
        "verbose": ["verbose"],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "learning_rate": [StrOptions(set(get_args(LinearRate)))],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, None, None, closed="neither")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "average": [Interval(Integral, 0, None, closed="neither"), "boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [Optimizer, None],
        "schedule": [callable, None],
        "scoring": [str, callable, None],
        "standardize": ["boolean"],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "callbacks": [list, tuple, callable, None],
        "target": [str],
        "dtype": "no_validation",
        "n_jobs": [Integral, None],
    }

    loss_functions: ClassVar[dict[str, tuple[Any, ...]]] = LOSSES  # of the class

    _weights_name = "coef_"

    # What some classes have fixed, and what a fit leaves, for the type checker.
    loss: Any
    learning_rate: str
    _trainer: Trainer | None = None
    _scaling: Scaling | None = None
    _y_scaling: Scaling | None = None
    coef_: Any
    intercept_: np.ndarray
    t_: float
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None

    def _more_validate_params(self, first_partial: bool = False) -> None:
        """Raise for parameters that do not go together, or not with the first `partial_fit`."""
        if self.early_stopping and first_partial:
            raise ValueError("early_stopping should be False with partial_fit")
        plain = self.optimizer is None and self.schedule is None
        if plain and self.learning_rate == "optimal" and self.alpha == 0:
            raise ValueError(
                "alpha must be > 0 since learning_rate is 'optimal'. alpha is used to compute the "
                "optimal learning rate."
            )
        if plain and self.learning_rate in ("pa1", "pa2"):
            raise InvalidInput(
                f"learning_rate={self.learning_rate!r}, the passive-aggressive step, whose size "
                "depends on each row, is not one of fastnn's; use learning_rate='optimal' or "
                "'invscaling', or sklearn.linear_model for this one"
            )
        if self.penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError("l1_ratio must be set when penalty is 'elasticnet'")
        if self.optimizer is not None and self.average:
            raise InvalidInput(
                f"average={self.average!r} is the mean of the weights of plain SGD, not of "
                f"{type(self.optimizer).__name__}; leave average=False, or optimizer=None"
            )

    # What a fit is made of.

    def _engine_loss(self, epsilon: float) -> Any:
        """Return the loss as a Trainer takes it."""
        if isinstance(self.loss, KINDS):
            return self.loss
        if not isinstance(self.loss, str):
            return rule_of("loss", self.loss, (), self._outputs())
        if self.loss in WITH_EPSILON:
            return WITH_EPSILON[self.loss](epsilon)
        return PLAIN_LOSSES.get(self.loss, self.loss)

    def _penalties(self) -> tuple[float, float]:
        """Return what alpha is of l1 and of l2."""
        if self.penalty is None:
            return 0.0, 0.0
        fixed = {"l2": 0.0, "l1": 1.0}
        ratio = float(fixed[self.penalty] if self.penalty in fixed else self.l1_ratio)
        return float(self.alpha) * ratio, float(self.alpha) * (1.0 - ratio)

    def _rate(self, done: float) -> Any:
        """Return the learning rate of each update, a number or a schedule, after so many."""
        rate, power, decay = float(self.eta0), float(self.power_t), 1.0
        if self.learning_rate not in ("invscaling", "optimal"):
            return rate
        if self.learning_rate == "optimal":
            # 1 / (alpha (t0 + t)), which is alpha^(-1/4) at first: t0 = alpha^(-3/4).
            first = float(self.alpha) ** 0.25
            rate, power, decay = 1.0 / first, 1.0, float(self.alpha) / first
        later = 1.0 + decay * done
        if power < 0.0:
            return PowerScaling(rate, power, done)
        return InverseScaling(rate / later**power, power, decay / later)

    def _make_optimizer(self, done: float = 0.0) -> Optimizer:
        """Return the optimizer that the parameters describe, after so many updates."""
        if self.optimizer is not None:
            found: Optimizer = self.optimizer
            changed = self.schedule is not None
            return replace(found, learning_rate=self.schedule) if changed else found
        rate = self._rate(done) if self.schedule is None else self.schedule
        start = max(0, int(self.average) - 1 - int(done))
        return AveragedSGD(rate, start) if self.average else SGD(rate)

    def _settings(
        self, inputs: int, mean_weight: float, done: float = 0.0, intercept_factor: float = 1.0
    ) -> tuple[dict[str, Any], float]:
        """Return the settings of a Trainer, and what its rates are multiplied by.

        Parameters
        ----------
        inputs, mean_weight
            Columns of X, and the mean weight of its rows or of their targets.
        done
            Updates done before the trainer's own first.
        intercept_factor
            What the rate of the intercept is multiplied by: see `_intercept_factor`. With 0 there
            is one, whatever `fit_intercept` says.
        """
        units = 1.0 if self._y_scaling is None else float(self._y_scaling.scale[0])
        loss, outputs = self._engine_loss(float(self.epsilon) / units), self._outputs()
        share = mean_weight if loss_row(loss).rowwise else mean_weight * outputs
        l1, l2 = self._penalties()
        # Steps of an optimizer that divides by the gradient's size have the rate's size.
        factor = share if self.optimizer is None or self.optimizer.rule in _BY_GRADIENT else 1.0
        bias = bool(self.fit_intercept) or intercept_factor == 0.0
        settings = {
            "network": _one_layer(inputs, outputs, bias, intercept_factor),
            "loss": loss,
            "optimizer": self._make_optimizer(done),
            "batch_size": int(self.batch_size),
            "l1": l1 / factor,
            "l2": l2 / share,
            "target": self.target,
            "threads": self._threads(),
            "shuffle": window_of(self.shuffle),
        }
        return settings, factor

    def _intercept_factor(self, X: Any, b: np.ndarray) -> float:
        """Return what the rate of an intercept, b at first, is multiplied by; 1 without one.

        Where it is not to be fitted, one that there is stays, as in scikit-learn. Of sparse rows it
        is scikit-learn's factor, of plain SGD alone: an optimizer follows no rule but its own.
        """
        if not self.fit_intercept:
            return 0.0 if np.any(b) else 1.0
        return _INTERCEPT_OF_SPARSE if self.optimizer is None and is_sparse(X) else 1.0

    def _fit_model(
        self,
        X: Any,
        y: Any,
        sample_weight: np.ndarray | None,
        start: tuple[np.ndarray, np.ndarray] | None,
        validation: tuple[Any, Any, Any] = (None, None, None),
        incremental: bool = False,
    ) -> None:
        """Fit on checked data from `start`, or with `incremental` go on for one epoch."""
        held_out = self._check_held_out(*validation)
        read = self.__dict__.pop("_rows", [])
        X = next((each for each in read if each.matrix is X), X)
        self._fit_rows(Rows(X, y, sample_weight), start, held_out, incremental)
        if not incremental and self.tol is not None and self.n_iter_ == self.max_iter:
            warnings.warn(
                "Maximum number of iteration reached before convergence. Consider increasing "
                "max_iter to improve the fit.",
                ConvergenceWarning,
                stacklevel=6,
            )
        if not incremental and self.power_t < 0:
            warnings.warn(
                "Negative values for `power_t` are deprecated in version 1.8 and will raise an "
                "error in 1.10. Use values in the range [0.0, inf) instead.",
                FutureWarning,
                stacklevel=6,
            )

    def _fit_rows(
        self,
        rows: Rows,
        start: tuple[np.ndarray, np.ndarray] | None,
        held_out: Rows | None,
        incremental: bool,
    ) -> None:
        """Do what `_fit_model` does, but for what is warned of in the end."""
        seeds, n = seeds_of(self.random_state), len(rows)
        if self.early_stopping:
            drawn = held_out is None
            rows, held_out = self._split(rows) if held_out is None else (rows, held_out)
            if why := self._without_score(held_out):
                warn(f"{_NO_SCORE % why}; {remedy_for_spread(drawn)}", UndefinedMetricWarning)
        anew = not incremental or self._trainer is None
        if anew:
            self._scaling, self._y_scaling = self._scalings(rows)
        X = scaled(rows.X, self._scaling)
        dtype = self._dtype_for(X)
        matrix = X.matrix if isinstance(X, ReadRows) and X.checked != dtype else X
        X = ReadRows.of(matrix, dtype) if issparse(matrix) else X  # which all classes' fits read
        coded = self._coded(rows.y)
        data = X, self._encode(coded), self._weights(coded, rows.sample_weight)
        validation = self._validation(held_out)
        epochs, times = 1 if incremental else self.max_iter, self.n_restarts if anew else 1
        trainer, mean_weight = self._ready_trainer(X, data[2], start, seeds, incremental)
        begun = trainer.parameters  # which take less time to read before there is an engine
        alone = not incremental and self._outputs_end_alone()
        side_by_side = alone and not self._adapts() and trainer._open().ends_outputs(X)
        if alone and not side_by_side and self._fit_parts(replace(rows, X=X), start, held_out):
            return
        with Hooks(self, rows, epochs * times) as hooks:
            calls = [*self._callbacks(), *hooks.callbacks(self._shown)]
            ready = iter([(trainer, mean_weight)])

            def fit_once() -> Fit:
                first = next(ready, None)
                own, mean = first or self._ready_trainer(X, data[2], start, seeds, False)
                monitor = self._monitor(own, begun, held_out, mean, len(rows), side_by_side)
                lines = [Lines(len(rows), monitor)] if self.verbose else []
                self._train(own, data, epochs, validation, [*calls, *lines, monitor])
                coef, intercept = self._outside(own.parameters)
                done, W = monitor.epochs, np.atleast_2d(coef).T
                if found := overflow_of_fit(rows.X, W, np.ravel(intercept)):
                    raise NonFiniteParameters(f"{_OVERFLOW % done} {found}", done - 1, 0)
                return Fit(own, monitor, n, (self._scaling, self._y_scaling))

            self._take(best_fit(times, fit_once), incremental)

    def _outputs_end_alone(self) -> bool:
        """Return whether each output is a model of its own, which its own objective ends."""
        return self.tol is not None and not self.early_stopping

    def _fit_parts(
        self, rows: Rows, start: tuple[np.ndarray, np.ndarray] | None, held_out: Rows | None
    ) -> bool:
        """Fit outputs that end alone one after another, where that can be, and return whether so.

        X is as it is trained on; `start` is for X in its own units.
        """
        return False

    def _ready_trainer(
        self,
        X: Any,
        weights: np.ndarray | None,
        start: tuple[np.ndarray, np.ndarray] | None,
        seeds: Iterator[int],
        incremental: bool,
        parameters: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[Trainer, float]:
        """Return a trainer that has all settings, and the mean weight of the rows or targets.

        `parameters` are W and b as they are trained, where they are known; `start` as they are
        outside.
        """
        refuse_no_weight(weights, OF_CLASSES)
        with np.errstate(over="ignore"):  # which check_steps tells
            mean = 1.0 if weights is None else float(weights.mean())
        if incremental and self._trainer is not None:
            self._check_going_on(self._trainer, self._scaling is not None, incremental)
            trainer = self._trainer_now()
            factor = self._set_up(trainer, X, mean)
        else:
            done = self.t_ - 1.0 if incremental and hasattr(self, "t_") else 0.0
            dtype, seed, outputs = self._dtype_for(X), next(seeds), self._outputs()
            first = parameters
            if first is None:
                zeros = np.zeros((X.shape[1], outputs)), np.zeros(outputs)
                first = zeros if start is None else self._inside(*start)
            learns = self._intercept_factor(X, first[1])
            settings, factor = self._settings(X.shape[1], mean, done, learns)
            check_steps(settings, factor, mean, self.alpha, dtype)
            trainer = self._new_trainer([first], seed, dtype=dtype, **settings)
        trainer.rate_factor = factor
        return trainer, mean

    def _set_up(self, trainer: Trainer, X: Any, mean_weight: float) -> float:
        """Have a trainer go on as the parameters say, and return what its rates are multiplied by.

        Raises
        ------
        InvalidInput
            Settings that it cannot go on with.
        """
        learns = self._intercept_factor(X, trainer.parameters[0][1])
        while True:
            step = trainer.step
            settings, factor = self._settings(X.shape[1], mean_weight, self.t_ - 1.0 - step, learns)
            check_steps(settings, factor, mean_weight, self.alpha, trainer.problem.dtype)
            trainer.set(
                **{name: new for name, new in settings.items() if getattr(trainer, name) != new}
            )
            if trainer.step == step:
                return factor
            # Another kind of optimizer counts from 0: what was done is done before its first.

    def _validation(self, held_out: Rows | None) -> tuple[Any, ...] | None:
        """Return rows to validate on as a Trainer takes them, where a callback watches them."""
        if held_out is None or not watches_validation(self._callbacks()):
            return None
        found = scaled(held_out.X, self._scaling), self._encode(self._coded(held_out.y))
        weights = held_out.sample_weight
        return found if weights is None else (*found, weights)

    def _train(
        self,
        trainer: Trainer,
        data: tuple[Any, ...],
        epochs: int,
        validation: tuple[Any, ...] | None,
        calls: Any,
    ) -> None:
        """Train up to so many epochs."""
        X, y, weights = data
        done, bar = trainer.epoch, int(self.verbose) > 1
        try:
            self._fit_trainer(trainer, X, y, epochs, validation, weights, calls, progress=bar)
        except Diverged as error:
            raise NonFiniteParameters(
                f"{_OVERFLOW % (error.epoch - done + 1)} {error}",
                error.epoch,
                error.step,
            ) from error

    def _monitor(
        self,
        trainer: Trainer,
        begun: Parameters,
        held_out: Rows | None,
        mean_weight: float,
        rows: int,
        side_by_side: bool,
    ) -> Monitor:
        """Return what follows a fit: the objective or the score of each epoch, and its end.

        That is of each output for itself where they end so side by side. `begun` are the parameters
        before.
        """
        factor, steps, ends = trainer.rate_factor, -(-rows // trainer.batch_size), None
        now = trainer.problem, begun
        if side_by_side:
            share = mean_weight * trainer.network.outputs
            ends = first_ends(*now, self.tol, self.n_iter_no_change, share, steps)

        def divide_rate(trainer: Any, message: str) -> bool:
            small = trainer.rate_factor / factor * self.eta0 <= _LEAST_RATE
            if not small:
                trainer.rate_factor /= 5.0
            return bool(small)

        return Monitor(
            self.tol,
            self.n_iter_no_change,
            by_score=self.early_stopping,
            plateau=divide_rate if self._adapts() else None,
            at_once=True,
            share=mean_weight,
            penalty=penalty_of(*now),
            steps=steps,
            score_of=None if held_out is None else self._score_on(held_out),
            ends=ends,
        )

    def _adapts(self) -> bool:
        """Return whether the learning rate is divided where a fit would else end."""
        own = self.optimizer is not None or self.schedule is not None
        return not own and self.learning_rate == "adaptive"

    def _outputs_for(self, X: Any) -> np.ndarray:
        """Return x . coef + intercept for each row of X, (m, outputs) or, of one output, (m,)."""
        outputs = outputs_of(self._check_X(X), self.coef_, self.intercept_)
        if not is_finite(outputs):
            self._columns()
        return refuse_overflow(outputs)

    def _score_on(self, rows: Rows) -> Callable[[Any], float]:
        """Return what gives the score of a trainer on some rows; larger is better, NaN is none."""
        if self._without_score(rows):
            return lambda trainer: math.nan
        if self.scoring is not None:
            return scorer_of(self, self.scoring, rows, self._shown)
        coded, probe = self._coded(rows.y), copy.copy(self)

        def score(trainer: Any) -> float:
            probe.__dict__.update(self._shown(trainer))
            outputs = outputs_of(rows.X, probe.coef_, probe.intercept_)
            return self._score_of(outputs, coded, rows.sample_weight)

        return score

    def _without_score(self, rows: Rows) -> str:
        """Return which score these rows to validate on do not have, and why, or ""."""
        numbers = isinstance(self, RegressorMixin)
        return without_spread(self.scoring, rows.y, rows.sample_weight) if numbers else ""

    def _shown(self, trainer: Any) -> dict[str, Any]:
        """Return the attributes that make the estimator predict as a trainer does now."""
        coef, intercept = self._outside(trainer.parameters)
        return {"coef_": coef, "intercept_": intercept}

    def _take(self, fit: Fit, incremental: bool) -> None:
        """Become what a fit has come to."""
        monitor = fit.monitor
        self._show(fit.trainer)
        self.n_iter_ = monitor.epochs
        done = self.t_ if incremental and hasattr(self, "t_") else 1.0
        self.t_ = done + monitor.epochs * float(-(-fit.rows // int(self.batch_size)))
        if not incremental:
            self.loss_curve_ = monitor.losses
            self.validation_scores_ = monitor.scores if monitor.scored else None

    def _show(self, trainer: Trainer) -> None:
        """Become what a trainer is now, and predict as it does."""
        self._trainer = trainer
        self.__dict__.update(self._shown(trainer))

    # Weights in the units of X and y, and in those that are trained.

    def _scalings(self, rows: Rows) -> tuple[Scaling | None, Scaling | None]:
        """Return what standardizes X, and y where it is numbers; None for what is left alone."""
        return (scaling_of(rows) if self.standardize else None), None

    def _inside(self, W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return W (features, outputs) and b (outputs,) as they are trained."""
        return inside((W, b), self._scaling, self._y_scaling, bool(self.fit_intercept))

    def _outside(self, parameters: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return coef_ and intercept_ for parameters as they are trained."""
        W, b = outside(parameters[0], self._scaling, self._y_scaling)
        return np.ascontiguousarray(W.T), b

    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return W (features, outputs) and b (outputs,) of coef_ and intercept_ as they are now.

        Raises
        ------
        InvalidInput
            One of them is not finite.
        """
        coef = self.coef_.toarray() if hasattr(self.coef_, "toarray") else np.asarray(self.coef_)
        refuse_not_finite({"coef_": coef, "intercept_": np.ravel(self.intercept_)})
        return np.atleast_2d(coef).T, np.ravel(self.intercept_)

    def _trainer_now(self) -> Trainer:
        """Return the trainer inside, with coef_ and intercept_ as they are now."""
        assert self._trainer is not None
        W, b = self._columns()
        coef, intercept = self._outside(self._trainer.parameters)
        if not are_now((W, b), (np.atleast_2d(coef).T, intercept)):
            factor, layer = self._trainer.rate_factor, self._inside(W, b)
            if not self._trainer.network.dense[0].bias and np.any(layer[1]):
                self._trainer.set(network=_one_layer(*W.shape, True, 0.0))
            self._trainer.set_parameters([layer])
            self._trainer.rate_factor = factor
        return self._trainer

    def to_trainer(self) -> Trainer:
        """Return a Trainer that predicts and trains as this fitted estimator does; a copy.

        Its weights are those of `coef_`, for X and y in their own units, and its classes the places
        in `classes_`: 0 and 1 where there are two. Of more, each against the rest, `forward` gives
        what `decision_function` does, of which the largest is the class; `predict` then says of
        each output whether it is above 0, (m, classes), and not which is the largest.

        After `standardize` the loss is of y in its own units as well, with `epsilon` as written;
        penalty and steps are those for columns as they are, to which other rates may suit. It is
        of dtype float64 where float32 would round columns, or y, too much, as where they are far
        from 0 for their deviation.
        """
        check_is_fitted(self)
        if self._trainer is not None and self._scaling is None:
            return copy.copy(self._trainer_now())
        W, b = self._columns()
        settings, factor = self._settings(len(W), 1.0)
        loss = self._engine_loss(float(self.epsilon))
        named = isinstance(self.loss, str)  # whose epsilon is in the units of y
        settings["loss"] = loss if named else in_own_units(loss, self._y_scaling)
        own = 1.0 if self._trainer is None else self._trainer.network.dense[0].bias_rate_factor
        settings["network"] = Network(len(W), [Dense(W.shape[1], bias_rate_factor=own)])
        dtype = self.dtype or b.dtype
        if self._trainer is not None and self._scaling is not None:
            within: Parameters = [self._inside(W, b)]
            dtype, _ = numbers_outside(within, self._scaling, self._y_scaling, self._trainer.dtype)
        trainer = self._new_trainer([(W, b)], dtype=dtype, **settings)
        trainer.rate_factor = factor
        return trainer

    def _threads(self) -> int | None:
        """Return how many threads `n_jobs` means, -1 being all there are."""
        return None if self.n_jobs is None else self._threads_wanted(self.n_jobs)

    # Data.

    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        return self._check_X_y(X, y, reset=reset, read=self._rows_read(), order="C")

    def _rows_read(self) -> list[ReadRows]:
        """Return what has been looked through for this fit."""
        found: list[ReadRows] = self.__dict__.setdefault("_rows", [])
        return found

    def _checked_weights(self, sample_weight: Any, X: Any) -> np.ndarray | None:
        """Return `sample_weight` (n,) as scikit-learn checks it, or None."""
        if sample_weight is None:
            return None
        sample_weight = opened(sample_weight, "sample_weight")
        refuse_apparent_numbers(sample_weight, "sample_weight")
        zeros = self.early_stopping  # which are refused when rows are set aside
        return np.asarray(
            _check_sample_weight(
                sample_weight, X, dtype=float_of(X), allow_all_zero_weights=zeros,
                ensure_non_negative=True,
            )
        )  # fmt: skip

    def _split(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return the rows to train on and those to validate on, drawn as scikit-learn does."""
        n = len(rows)
        splitter = self._splitter(
            test_size=self.validation_fraction, random_state=self.random_state
        )
        train, test = next(splitter.split(np.zeros((n, 1)), rows.y))
        weights = rows.sample_weight
        if weights is not None and not np.any(weights[test] > 0):
            raise ValueError(
                "The sample weights for validation set are all zero, consider using a different "
                "random state."
            )
        if not len(train) or not len(test):
            raise ValueError(
                f"Splitting {n} samples into a train set and a validation set with "
                f"validation_fraction={self.validation_fraction!r} led to an empty set "
                f"({len(train)} and {len(test)} samples). Please either change "
                "validation_fraction, increase number of samples, or disable early_stopping."
            )
        train, test = np.sort(train), np.sort(test)
        of = [None if weights is None else weights[part] for part in (train, test)]
        refuse_no_weight(of[0], SET_ASIDE)
        of_train, of_test = parted(rows.X, train, test)
        return Rows(of_train, rows.y[train], of[0]), Rows(of_test, rows.y[test], of[1])

    @abstractmethod
    def _outputs(self) -> int:
        """Return how many outputs the network has."""

    @abstractmethod
    def _coded(self, y: Any) -> np.ndarray:
        """Return the place of each label in `classes_`, or numbers as floats."""

    @abstractmethod
    def _encode(self, coded: np.ndarray) -> np.ndarray:
        """Return what the engine reads for the targets that `_coded` returns."""

    @abstractmethod
    def _weights(self, coded: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of rows or of targets."""

    @abstractmethod
    def _score_of(
        self, outputs: np.ndarray, coded: np.ndarray, weights: np.ndarray | None
    ) -> float:
        """Return what `score` would of rows with such outputs, and targets as of `_coded`."""

    @abstractmethod
    def _splitter(self, test_size: float, random_state: Any) -> Any:
        """Return what draws the rows to validate on."""


@lru_cache
def _one_layer(inputs: int, outputs: int, bias: bool, bias_rate_factor: float) -> Network:
    """Return the network of a linear model: the same object each time, with what it has found."""
    return Network(inputs, [Dense(outputs, bias=bias, bias_rate_factor=bias_rate_factor)])


# Rules whose steps are in proportion to the gradient.
_BY_GRADIENT = ("sgd", "momentum", "nesterov", "averaged_sgd")
