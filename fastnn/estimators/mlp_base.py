"""What `MLPClassifier` and `MLPRegressor` have in common: a fit, from parameters to attributes."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
import scipy.special
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastnn.errors import InvalidInput
from fastnn.estimators import conversion
from fastnn.estimators.attributes import check_written, parameters_of, shown
from fastnn.estimators.base import (
    OF_CLASSES,
    Rows,
    TrainedEstimator,
    check_weights,
    drawing,
    fitting,
    refuse_no_weight,
    scaled,
    scaling_of,
    split,
    train,
)
from fastnn.estimators.description import (
    HIDDEN_ACTIVATIONS,
    EpochScaling,
    draw_parameters,
    hidden_sizes,
    network_of,
)
from fastnn.estimators.files import window_of
from fastnn.estimators.forward import SCALE_X, forward, in_dtype, parts_of, wakes_threads
from fastnn.estimators.monitor import Monitor
from fastnn.estimators.own_units import in_own_units
from fastnn.estimators.rates import Rates, go_on_with
from fastnn.estimators.restarts import Fit, Scalings, best_fit
from fastnn.estimators.sklearn_callbacks import CallbackSupportMixin, Hooks
from fastnn.estimators.task import Task
from fastnn.estimators.units import folded, in_numbers, numbers_outside
from fastnn.estimators.weights import check_penalty, mean_of
from fastnn.inputs.arrays import numbered
from fastnn.inputs.data import check_targets
from fastnn.inputs.problem import check_precision, penalty_of
from fastnn.inputs.scaling import Scaling
from fastnn.network import SGD, Adam, Network, Optimizer
from fastnn.rules.table import loss_row
from fastnn.training.callbacks import watches_validation
from fastnn.training.metrics import PREFIX, MetricName
from fastnn.training.scores import refuse_overflow
from fastnn.training.trainer import Trainer

if TYPE_CHECKING:
    from fastnn.inputs.parameters import Parameters

Solver = Literal["lbfgs", "sgd", "adam"]  # the first is known, and refused
SolverRate = Literal["constant", "invscaling", "adaptive"]

_LEAST_RATE = 1e-6  # from which on "adaptive" stops instead of dividing
# Up to so many products NumPy predicts, which needs neither the engine nor its threads.
_NUMPY_PRODUCTS = 1 << 22
_SCALED = 1 << 20  # numbers of X that are standardized at a time
# An epoch of fewer takes some 0.3 ms: a second thread would save less than a call for it costs.
_SHORT_PRODUCTS = 5e6


class MultilayerPerceptron(CallbackSupportMixin, TrainedEstimator):
    """A network of hidden layers, fitted as scikit-learn's are."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": HIDDEN_ACTIVATIONS,
        "solver": [StrOptions(set(get_args(Solver)))],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions(set(get_args(SolverRate)))],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean", Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "optimizer": [Optimizer, None],
        "schedule": [callable, None],
        "scoring": [str, callable, None],
        "standardize": ["boolean"],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "callbacks": [list, tuple, callable, None],
        "target": [str],
        "dtype": "no_validation",
        "precision": "no_validation",  # a Trainer does that
        "n_jobs": [Integral, None],
    }

    # What a fit leaves, for the type checker.
    _trainer: Trainer
    _rated: Rates | None = None  # of the last call
    _goes_back = True
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_curve_: list[float]
    loss_: float
    n_iter_: int
    best_loss_: float | None
    best_validation_score_: float | None
    validation_scores_: Any  # a list, or None
    t_: int

    @fitting
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the network, anew unless `warm_start`.

        Parameters
        ----------
        X
            Rows (n, features): an array, a list, a frame, or sparse, CSR or CSC.
        y
            Labels (n,) of any kind, or an indicator of several labels (n, labels), maybe sparse;
            of a regression numbers (n,) or (n, outputs).
        sample_weight
            Weight of each row (n,), at least 0; None: all count 1.
        X_val, y_val, sample_weight_val
            Rows to score on after each epoch. With `early_stopping` they are in the place of rows
            of X; without, the scores are noted and decide nothing.

        Returns
        -------
        estimator
            Itself.

        Raises
        ------
        ValueError
            Data or settings that cannot be; or the fit diverged, as `fastnn.Diverged`.
        """
        with self._draft() as fitted:
            fitted._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val))
        return self

    def _check_goes_on(self) -> bool:
        """Raise where there is no `partial_fit`, in scikit-learn's words."""
        if self.solver == "lbfgs" and self.optimizer is None:
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
            )
        return True

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation: tuple[Any, Any, Any] = (None, None, None),
        incremental: bool = False,
    ) -> None:
        """Fit, or with `incremental` go on for one epoch."""
        if self.solver == "lbfgs" and self.optimizer is None:
            raise InvalidInput(
                "solver='lbfgs' is not one of fastnn's, which trains by minibatches; use "
                "solver='adam', or sklearn.neural_network for a fit by L-BFGS"
            )
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        sizes = hidden_sizes(self.hidden_layer_sizes)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._check_rows(X, y, first)
        self._take_classes(y, incremental)
        rows = Rows(X, y, check_weights(sample_weight, X))
        held_out = self._check_held_out(*validation)
        loss, outputs = self._loss_and_outputs(y)
        network = network_of(X.shape[1], sizes, self.activation, self.dropout, outputs)
        task = Task(network, loss, first, incremental)
        if not first and self._trainer.network.shapes != network.shapes:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} and the {outputs} outputs are not "
                f"those of the last fit, whose layers are {[*self._trainer.network.shapes]}: "
                "warm_start and partial_fit go on with its weights; use warm_start=False, or set "
                "hidden_layer_sizes back"
            )
        times = self.n_restarts if first else 1
        epochs = 1 if incremental else self.max_iter * times
        with drawing(self.random_state) as random, Hooks(self, rows, epochs) as hooks:
            # Which all restarts are compared on.
            parted = cache(partial(self._parted, rows, held_out, random))
            fit = best_fit(times, partial(self._fit_once, rows, parted, task, random, hooks))
            self._take(fit, first)
            self._rated = self._rates(task)
        if self.batch_size != "auto" and self.batch_size > fit.rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=5,
            )
        monitor = fit.monitor
        if not (incremental or monitor.stopped) and monitor.epochs == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _fit_once(
        self,
        rows: Rows,
        parted: Callable[[], tuple[Rows, Rows | None]],
        task: Task,
        random: np.random.RandomState,
        hooks: Hooks,
    ) -> Fit:
        """Return one fit; of the estimator itself nothing has changed.

        What is random comes in scikit-learn's order: initial parameters, rows to validate on, which
        `parted` draws the first time, and then the order of the rows.
        """
        if not task.first:
            self._check_going_on(self._trainer, self.x_scaling_ is not None, task.incremental)
        dtype = self._dtype_for(rows.X, None if task.first else self._trainer)
        if self.dtype is None and self.precision != "float32" and dtype == np.float64:
            check_precision(self.precision)
            raise InvalidInput(
                f"precision {self.precision!r} is for dtype 'float32', but X is computed with in "
                "float64; set dtype='float32', or leave precision='float32'"
            )
        if self.standardize and self._of_numbers(task.loss):  # which predictions come back to
            check_targets(self._coded(rows.y), task.loss, task.network.outputs, len(rows), dtype)
        start: Any = None
        if task.first:
            start = draw_parameters(random, task.network, self.activation, dtype)
        elif task.anew:
            start = self._checked_parameters()
        rows, held_out = parted()
        scalings = self._scalings(rows, task)
        X = scaled(rows.X, scalings[0])
        coded = self._coded(rows.y)
        targets, weights = self._encode(coded, task.loss), self._weights(coded, rows.sample_weight)
        refuse_no_weight(weights, OF_CLASSES)
        if scalings[1] is not None:
            targets = scalings[1].apply(targets)
        settings = self._settings(len(rows), weights, task)
        check_penalty(settings["l2"], self.alpha, weights, dtype)
        if task.anew:
            seed = int(random.randint(np.iinfo(np.int32).max))
            trainer = self._new_trainer(start, seed, dtype=dtype, **settings)
            penalty = penalty_of(trainer.problem, start)
            start = None  # which the trainer has a copy of
            trainer.rate_factor = self._rate_factor(task)
        else:
            trainer = self._trainer_now()
            go_on_with(trainer, settings, self._rated, self._rates(task))
            penalty = penalty_of(trainer.problem, self._parameters())
        metrics: tuple[MetricName, ...] = ()
        validation, score_of = None, None
        if held_out is not None:
            given = scaled(held_out.X, scalings[0])
            own = self._encode(self._coded(held_out.y), task.loss)
            own = own if scalings[1] is None else scalings[1].apply(own)
            validation = (
                given,
                numbered(own, held_out.numbers),
                *[held_out.sample_weight][held_out.sample_weight is None :],
            )
            metrics = self._metric(trainer, own, held_out.sample_weight)
            if not metrics:
                score_of = self._score_on(held_out, scalings)
                if not watches_validation(self._callbacks()):
                    validation = None
        series = PREFIX + metrics[0] if metrics else ""
        monitor = self._monitor(trainer, task, targets, weights, penalty, series, score_of)
        calls: list[Any] = [
            *self._callbacks(),
            *hooks.callbacks(lambda each: shown(each, scalings)),
        ]
        epochs, bar = 1 if task.incremental else self.max_iter, int(self.verbose) > 1
        interrupted = train(
            self, trainer, X, targets, weights, epochs, monitor, calls, bar, validation, metrics
        )
        return Fit(trainer, monitor, len(rows), scalings, interrupted)

    def _parted(
        self, rows: Rows, held_out: Rows | None, random: np.random.RandomState
    ) -> tuple[Rows, Rows | None]:
        """Return the rows to train on and those to validate on, of `rows` where none are given."""
        if held_out is not None or not self.early_stopping:
            return rows, held_out
        windows = type(window_of(self.shuffle)) is int
        rows, held_out = split(rows, random, self.validation_fraction, self._stratifies(), windows)
        if held_out.sample_weight is not None and not np.any(held_out.sample_weight):
            raise ValueError("Sample weights must contain at least one non-zero number.")
        self._check_scored(held_out)
        return rows, held_out

    def _of_numbers(self, loss: Any) -> bool:
        """Return whether `standardize` is for y, too: a regression, by a loss of plain numbers."""
        return loss_row(loss).targets == "real" and self._scales_targets

    def _scalings(self, rows: Rows, task: Task) -> Scalings:
        """Return what standardizes X and the targets of a regression, each None where nothing."""
        if not task.first:
            return self.x_scaling_, self.y_scaling_
        if not self.standardize:
            return None, None
        of_targets = None
        if self._of_numbers(task.loss):
            of_targets = Scaling.fit(rows.y.reshape(len(rows), -1), rows.sample_weight)
        return scaling_of(rows), of_targets

    def _settings(self, rows: int, weights: np.ndarray | None, task: Task) -> dict[str, Any]:
        """Return the settings of the Trainer for so many rows and these weights."""
        size = min(200 if self.batch_size == "auto" else int(self.batch_size), rows)
        return {
            "network": task.network,
            "loss": task.loss,
            "optimizer": self._optimizer_for(rows, -(-rows // size), task),
            "batch_size": size,
            # scikit-learn divides the penalty by the rows of a batch, and by their mean weight.
            "l2": float(self.alpha) / (size * mean_of(weights) * task.summed),
            "target": self.target,
            "threads": self._threads(rows, task.network),
            "precision": self.precision,
            "shuffle": window_of(self.shuffle),
        }

    def _optimizer_for(self, rows: int, steps: int, task: Task) -> Optimizer:
        """Return the optimizer that the parameters describe, for epochs of so many rows."""
        rate: Any = float(self.learning_rate_init) if self.schedule is None else self.schedule
        if self.optimizer is not None:
            found: Optimizer = self.optimizer
            return found if self.schedule is None else replace(found, learning_rate=rate)
        if self.solver != "sgd":
            epsilon = self.epsilon / task.summed
            return Adam(rate, self.beta_1, self.beta_2, epsilon, epsilon_hat=True)
        if self._scales_rate("invscaling") and self.schedule is None:
            seen = 0 if task.first else self.t_
            done = 0 if task.anew else self._trainer.step
            rate = EpochScaling(rate, self.power_t, rows, steps, done, seen, task.anew)
        return SGD(rate, self.momentum, bool(self.nesterovs_momentum and self.momentum > 0))

    def _scales_rate(self, how: str) -> bool:
        """Return whether the learning rate of SGD changes in one of scikit-learn's ways."""
        return self.optimizer is None and self.solver == "sgd" and self.learning_rate == how

    def _rate_factor(self, task: Task) -> float:
        """Return what rates are multiplied by: scikit-learn sums gradients over outputs.

        The engine takes their mean, which an optimizer that divides by their size does not notice.
        """
        return float(task.summed) if self.optimizer is None and self.solver == "sgd" else 1.0

    def _rates(self, task: Task) -> Rates:
        """Return `_rate_factor`, and the parameters that decide on rates."""
        schedule = self.schedule, self.learning_rate, self.learning_rate_init
        return Rates(self._rate_factor(task), (self.optimizer, self.solver, *schedule))

    def _monitor(
        self,
        trainer: Trainer,
        task: Task,
        targets: np.ndarray,
        weights: np.ndarray | None,
        penalty: float,
        series: str,
        score_of: Callable[[Any], float] | None,
    ) -> Monitor:
        """Return what follows a fit, which goes on from what earlier ones have left."""
        row = loss_row(trainer.loss)
        multiple = trainer.network.outputs if row.targets in ("binary", "counts") else 1
        constant = 0.0
        if row.name == "poisson":  # scikit-learn's is 0 for a perfect prediction
            own = (scipy.special.xlogy(targets, targets) - targets).sum(axis=1)
            constant = float(np.average(own, weights=weights))
        divides = self._scales_rate("adaptive")
        momentum = trainer.optimizer.rule in ("momentum", "nesterov")
        follows = momentum and self._scales_rate("invscaling")
        monitor = Monitor(
            self.tol,
            self.n_iter_no_change,
            by_score=self.early_stopping,
            plateau=self._divide_rate(task) if divides else None,
            multiple=multiple,
            constant=constant,
            share=task.summed,
            penalty=penalty,
            steps=-(-len(targets) // trainer.batch_size),
            series=series,
            score_of=score_of,
            after_epoch=_keep_velocity if follows else None,
            restore_best=self.early_stopping,
            verbose=bool(self.verbose),
        )
        if not task.first:
            # partial_fit adds one entry, when the epoch is done; a fit may fail in the middle.
            own = copy.copy if task.anew else lambda each: each
            monitor.losses, monitor.waited = own(self.loss_curve_), self._no_improvement_count
            if self.best_loss_ is not None:
                monitor.best_loss = self.best_loss_
            if self.validation_scores_ is not None and self.best_validation_score_ is not None:
                monitor.scores = own(self.validation_scores_)
                monitor.best_score = self.best_validation_score_
            monitor.best = self._parameters
        return monitor

    def _divide_rate(self, task: Task) -> Callable[[Any, str], bool]:
        """Return what divides the learning rate by 5, or stops where it is small: "adaptive"."""
        base = self.learning_rate_init / self._rate_factor(task)

        def divide(trainer: Any, message: str) -> bool:
            rate = trainer.rate_factor * base
            stop = bool(rate <= _LEAST_RATE)
            if self.verbose:
                what = f"Setting learning rate to {rate / 5:f}"
                print(message, "Learning rate too small. Stopping." if stop else what)
            if not stop:
                trainer.rate_factor /= 5.0
                if trainer.optimizer.rule != "sgd":
                    trainer.scale_state(5.0)
            return stop

        return divide

    def _take(self, fit: Fit, first: bool) -> None:
        """Become what a fit has come to."""
        monitor = fit.monitor
        self.t_ = (0 if first else self.t_) + monitor.epochs * fit.rows
        self._no_improvement_count = monitor.waited
        self.loss_curve_ = monitor.losses
        self.loss_ = monitor.losses[-1] if monitor.losses else np.inf
        self.validation_scores_ = monitor.scores if monitor.scored else None
        self.best_validation_score_ = monitor.best_score if monitor.scored else None
        self.best_loss_ = None if self.early_stopping else monitor.best_loss
        self.n_iter_ = monitor.epochs
        best = monitor.best if self.early_stopping else None
        parameters = None if best is None else best()
        for name, value in shown(fit.trainer, fit.scalings, parameters).items():
            setattr(self, name, value)

    def _parameters(self) -> Parameters:
        """Return `coefs_` and `intercepts_`, as they are now, as a Trainer takes them."""
        written = self.coefs_, self.intercepts_, self._slopes
        return parameters_of(self._trainer.problem, *written)

    def _checked_parameters(self) -> Parameters:
        """Return what `_parameters` does, if all of it is finite."""
        check_written(self._trainer.problem, self.coefs_, self.intercepts_)
        return self._parameters()

    def _trainer_now(self) -> Trainer:
        """Return the trainer inside, with `coefs_` and `intercepts_` as they are now."""
        parameters, trainer = self._parameters(), self._trainer
        if not all(
            np.array_equal(mine, its)
            for layer, its_layer in zip(parameters, trainer.parameters, strict=True)
            for mine, its in zip(layer, its_layer, strict=True)
        ):
            trainer._replace_parameters(self._checked_parameters())
        return trainer

    def to_trainer(self) -> Trainer:
        """Return a Trainer that predicts as this fitted estimator does, and trains on; a copy.

        Its classes are the places in `classes_`: 0 and 1 where there are two. With `standardize` it
        takes, and a regression gives, numbers in the caller's units, and its optimizer is at its
        start. Its loss is then in these units, too: delta and epsilon are those of the estimator
        times the deviation of y, of several outputs the mean of these, while a function for several
        outputs gets them as they are. Its dtype is float64, and its precision "float32", where its
        own would round too much, as where columns are far from 0 for their deviation.

        Warns
        -----
        RoundingWarning
            float64 rounds them too much, too.
        """
        check_is_fitted(self)
        trainer = copy.copy(self._trainer_now())
        if isinstance(trainer.learning_rate, EpochScaling):
            rate = trainer.learning_rate(trainer.step)
            trainer.set(optimizer=replace(trainer.optimizer, learning_rate=rate))
        if self.x_scaling_ is not None:
            if (loss := in_own_units(trainer.loss, self.y_scaling_)) != trainer.loss:
                trainer.set(loss=loss)
            units = self.x_scaling_, self.y_scaling_
            within = self._checked_parameters()
            kinds = numbers_outside(within, *units, trainer.dtype, trainer.precision)
            trainer = in_numbers(trainer, self._folded(), *kinds)
        trainer.rate_factor = self._trainer.rate_factor
        return trainer

    @classmethod
    def from_sklearn(cls, fitted: Any) -> Self:
        """Return an estimator with the parameters and weights of a fitted one of scikit-learn's.

        It predicts the same to rounding. What was fitted by L-BFGS predicts, too; to fit it further
        give it another solver. ``partial_fit`` and ``warm_start`` go on with an optimizer at its
        start.

        Raises
        ------
        InvalidInput
            Not an estimator of scikit-learn's of the same name.
        sklearn.exceptions.NotFittedError
            It has not been fitted.
        """
        if not isinstance(fitted, cls._sklearn_kind()):
            raise InvalidInput(
                f"from_sklearn takes a fitted sklearn.neural_network.{cls.__name__}, not "
                f"{fitted!r:.80}"
            )
        found = cls(**fitted.get_params(deep=False))
        conversion.take_over(found, fitted)
        return found

    def to_sklearn(self) -> Any:
        """Return scikit-learn's fitted estimator of the same name, which predicts the same.

        What it does not have is left out where only a fit needs it, such as `dropout`, and so is
        `precision`: its products are not those of rounded factors. With `standardize` its weights
        are for the caller's units, in float64: float32 would round sums of columns that are far
        from 0.

        Raises
        ------
        InvalidInput
            An activation or a loss that it does not have.
        sklearn.exceptions.NotFittedError
            This one has not been fitted.
        """
        return conversion.fitted_sklearn(self, self._sklearn_kind())

    @classmethod
    def _sklearn_kind(cls) -> type[Any]:
        """Return the class of scikit-learn's that has this one's name and parameters."""
        import sklearn.neural_network

        name = "MLPClassifier" if issubclass(cls, ClassifierMixin) else "MLPRegressor"
        found: type[Any] = getattr(sklearn.neural_network, name)
        return found

    def _begin_with(self, parameters: Parameters) -> None:
        """Become a fitted estimator with these parameters, and with attributes set already."""
        loss, outputs = self._loss_and_outputs(np.empty((0, parameters[-1][1].size)))
        sizes = [W.shape[1] for W, *_ in parameters[:-1]]
        inputs = len(parameters[0][0])
        network = network_of(inputs, sizes, self.activation, self.dropout, outputs)
        task = Task(network, loss, True, False)
        size = 1 if self.batch_size == "auto" else self.batch_size
        settings = self._settings(size, None, task)
        trainer = self._new_trainer(parameters, dtype=parameters[0][0].dtype, **settings)
        trainer.rate_factor, self._rated = self._rate_factor(task), self._rates(task)
        for name, value in shown(trainer, (None, None)).items():
            setattr(self, name, value)

    def _folded(self) -> Parameters:
        """Return parameters for the caller's units, in float64 where others are inside."""
        return folded(self._checked_parameters(), self.x_scaling_, self.y_scaling_)

    def _outputs_of(self, X: Any) -> np.ndarray:
        """Return finite outputs (m, outputs) of any X before `out_activation_`."""
        with np.errstate(over="ignore", invalid="ignore"):
            raw = self._raw(self._check_X(X))
        try:
            return refuse_overflow(raw, remedy=SCALE_X)
        except InvalidInput:
            check_written(self._trainer.problem, self.coefs_, self.intercepts_)
            raise

    def _raw(self, X: Any) -> np.ndarray:
        """Return the outputs (m, outputs) of checked features before `out_activation_`."""
        trainer, scaling = self._trainer, self.x_scaling_
        problem = trainer.problem
        products = X.shape[0] * sum(k * n for k, n in problem.network.shapes)
        exact, small = problem.precision == "float32", products <= _NUMPY_PRODUCTS
        if small and trainer.target == "cpu":
            small = not wakes_threads(X, problem.network.shapes)
        if exact and (small or trainer.target == "numpy"):
            predicted: Callable[[Any], np.ndarray] = partial(forward, problem, self._parameters())
        else:
            predicted = self._trainer_now().forward
        if scaling is None:
            raw = predicted(X)
        else:  # of which there is to be no scaled copy
            found: list[np.ndarray] = []
            for part in parts_of(X, _SCALED):
                done = sum(map(len, found))
                found.append(predicted(in_dtype(scaling.apply(part), problem.dtype, done)))
            raw = np.concatenate(found)
        # In float64, since float32 has few digits left where numbers are far from 0.
        return raw if self.y_scaling_ is None else self.y_scaling_.undo(raw, np.float64)

    def _threads(self, rows: int, network: Network) -> int | None:
        """Return how many threads `n_jobs` means, -1 being all there are.

        None leaves it to the engine, but for short epochs: one thread does many of them in a call.
        """
        if self.n_jobs is None:
            short = rows * sum(k * n for k, n in network.shapes) < _SHORT_PRODUCTS
            return 1 if short and self.target == "cpu" else None
        return self._threads_wanted(self.n_jobs)

    _scales_targets = False  # whether `standardize` is for y, too

    @abstractmethod
    def _take_classes(self, y: Any, incremental: bool) -> None:
        """Take over the classes that there are, or refuse those that are new."""

    @abstractmethod
    def _loss_and_outputs(self, y: Any) -> tuple[Any, int]:
        """Return the engine's loss, and how many outputs it has for `y`."""

    @abstractmethod
    def _coded(self, y: Any) -> np.ndarray:
        """Return labels as numbers, see `Labels.coded`, or numbers as (n, outputs)."""

    @abstractmethod
    def _encode(self, coded: np.ndarray, loss: Any) -> np.ndarray:
        """Return what a loss of the engine's reads for the targets that `_coded` returns."""

    @abstractmethod
    def _weights(self, coded: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of rows or of targets."""

    @abstractmethod
    def _metric(
        self, trainer: Trainer, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[MetricName, ...]:
        """Return the metric of a Trainer's that is the score on these targets; () for none."""

    @abstractmethod
    def _score_on(self, rows: Rows, scalings: Scalings) -> Callable[[Any], float]:
        """Return what gives the score of a trainer on some rows; larger is better."""

    @abstractmethod
    def _stratifies(self) -> bool:
        """Return whether rows to validate on are drawn with the classes' shares."""


def _keep_velocity(trainer: Any) -> None:
    """Have the next epoch's first step keep the size that momentum had given the last one.

    scikit-learn's velocity is a step, of which the rate is a part; the engine's is a gradient.
    """
    rate, step = trainer.learning_rate, trainer.step
    trainer.scale_state(rate(step - 1) / rate(step))
