"""What `MLPClassifier` and `MLPRegressor` have in common: a fit, from parameters to attributes."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.special
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastnn.errors import InvalidInput
from fastnn.estimators.base import Rows, TrainedEstimator, check_weights, split, train
from fastnn.estimators.description import (
    EpochScaling,
    draw_parameters,
    hidden_sizes,
    network_of,
)
from fastnn.estimators.forward import forward
from fastnn.estimators.monitor import Monitor
from fastnn.network import SGD, Adam, Network, Optimizer
from fastnn.rules.table import ACTIVATIONS, loss_row
from fastnn.threads.processors import available_threads
from fastnn.training.trainer import Trainer

if TYPE_CHECKING:
    from fastnn.inputs.parameters import Parameters

_LEAST_RATE = 1e-6  # from which on "adaptive" stops instead of dividing
# What scikit-learn calls what a loss makes of the outputs.
OUT_ACTIVATIONS = {
    "softmax_cross_entropy": "softmax",
    "binary_cross_entropy": "logistic",
    "poisson": "exp",
}
# Up to so many products NumPy predicts, which needs neither the engine nor its threads.
_NUMPY_PRODUCTS = 1 << 22


@dataclass(frozen=True)
class Fit:
    """A fit that has ended: what was trained, what was noted, on how many rows, how it ended."""

    trainer: Trainer
    monitor: Monitor
    rows: int
    interrupted: bool


class MultilayerPerceptron(TrainedEstimator):
    """A network of hidden layers, fitted as scikit-learn's are."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"logistic", *ACTIVATIONS}), list, tuple, callable],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
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
        "target": [StrOptions({"cpu", "cuda", "auto", "numpy"})],
        "dtype": "no_validation",
        "n_jobs": [Integral, None],
    }

    # What a fit leaves, for the type checker.
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    best_loss_: float | None
    best_validation_score_: float | None
    validation_scores_: list[float] | None
    t_: int

    def __sklearn_tags__(self) -> Any:
        """Say that X may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_solver(self) -> bool:
        """Raise for the solver that there is not."""
        if self.solver == "lbfgs" and self.optimizer is None:
            raise InvalidInput(
                "solver='lbfgs' is not one of fastnn's, which trains by minibatches; use "
                "solver='adam', or sklearn.neural_network for a fit by L-BFGS"
            )
        return True

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation: tuple[Any, Any, Any] = (None, None, None),
        incremental: bool = False,
    ) -> Any:
        """Fit, or with `incremental` go on for one epoch."""
        self._check_solver()
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        sizes = hidden_sizes(self.hidden_layer_sizes)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._check_rows(X, y, first)
        self._take_classes(y, incremental)
        rows = Rows(X, y, check_weights(sample_weight, X))
        held_out = self._validate_held_out(*validation)
        random = check_random_state(self.random_state)
        loss, outputs = self._loss_and_outputs(y)
        network = network_of(X.shape[1], sizes, self.activation, self.dropout, outputs)
        fits = [
            self._fit_once(rows, held_out, network, loss, random, first, incremental)
            for _ in range(self.n_restarts if first else 1)
        ]
        fit = min(fits, key=lambda each: each.monitor.rank)
        self._take(fit, first)
        if not (incremental or fit.monitor.stopped or fit.interrupted):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _fit_once(
        self,
        rows: Rows,
        held_out: Rows | None,
        network: Network,
        loss: Any,
        random: np.random.RandomState,
        first: bool,
        incremental: bool,
    ) -> Fit:
        """Return one fit; of the estimator itself nothing has changed.

        What is random comes in scikit-learn's order: initial parameters, rows to validate on, and
        then the order of the rows.
        """
        dtype = self._dtype(rows.X) if first else self._trainer.dtype
        start = draw_parameters(random, network, self.activation, dtype) if first else None
        if self.early_stopping and held_out is None:
            rows, held_out = split(rows, random, self.validation_fraction, self._stratifies(rows.y))
        targets, weights = self._encode(rows.y, loss), self._weights(rows.y, rows.sample_weight)
        settings = self._settings(len(rows), weights, network, loss, first, incremental)
        if first or not incremental:
            seed = int(random.randint(np.iinfo(np.int32).max))
            trainer = Trainer(seed=seed, dtype=dtype, **settings)
            trainer.set_parameters(self._parameters() if start is None else start)
            trainer.rate_factor = self._rate_factor(network, loss)
        else:
            trainer = self._trainer_now()
            changed = {
                name: value for name, value in settings.items() if getattr(trainer, name) != value
            }
            factor = trainer.rate_factor
            trainer.set(**changed)
            trainer.rate_factor = factor
        monitor = self._monitor(trainer, targets, weights, held_out, first)
        epochs = 1 if incremental else self.max_iter
        interrupted = train(
            trainer, rows.X, targets, weights, epochs, monitor, self._callbacks(),
            progress=int(self.verbose) > 1,
        )  # fmt: skip
        return Fit(trainer, monitor, len(rows), interrupted)

    def _settings(
        self,
        rows: int,
        weights: np.ndarray | None,
        network: Network,
        loss: Any,
        first: bool,
        incremental: bool,
    ) -> dict[str, Any]:
        """Return the settings of the Trainer for so many rows and these weights."""
        size = min(200, rows) if self.batch_size == "auto" else int(self.batch_size)
        if size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=6,
            )
            size = rows
        mean_weight = 1.0 if weights is None else float(weights.mean())
        steps = -(-rows // size)
        return {
            "network": network,
            "loss": loss,
            "optimizer": self._optimizer_for(rows, steps, first, incremental),
            "batch_size": size,
            "l2": float(self.alpha) / (size * mean_weight * summed_outputs(network, loss)),
            "target": self.target,
            "threads": self._threads(),
            "shuffle": bool(self.shuffle),
        }

    def _optimizer_for(self, rows: int, steps: int, first: bool, incremental: bool) -> Optimizer:
        """Return the optimizer that the parameters describe, for epochs of so many rows."""
        rate: Any = float(self.learning_rate_init) if self.schedule is None else self.schedule
        if self.optimizer is not None:
            found: Optimizer = self.optimizer
            return found if self.schedule is None else replace(found, learning_rate=rate)
        if self.solver == "adam":
            return Adam(rate, self.beta_1, self.beta_2, self.epsilon)
        if self.learning_rate == "invscaling" and self.schedule is None:
            seen = 0 if first else self.t_
            done = self._trainer.step if incremental and not first else 0
            fresh = first or not incremental
            rate = EpochScaling(rate, self.power_t, rows, steps, done, seen, fresh)
        return SGD(rate, self.momentum, bool(self.nesterovs_momentum and self.momentum > 0))

    def _rate_factor(self, network: Network, loss: Any) -> float:
        """Return what rates are multiplied by: scikit-learn sums gradients over outputs.

        The engine takes their mean, which an optimizer that divides by their size does not notice.
        """
        by_size = self.optimizer is not None or self.solver != "sgd"
        return 1.0 if by_size else float(summed_outputs(network, loss))

    def _monitor(
        self,
        trainer: Trainer,
        targets: np.ndarray,
        weights: np.ndarray | None,
        held_out: Rows | None,
        first: bool,
    ) -> Monitor:
        """Return what follows a fit, which goes on from what earlier ones have left."""
        row = loss_row(trainer.loss)
        multiple = trainer.network.outputs if row.targets in ("binary", "counts") else 1
        constant = 0.0
        if row.name == "poisson":  # scikit-learn's is 0 for a perfect prediction
            own = (scipy.special.xlogy(targets, targets) - targets).reshape(len(targets), -1)
            constant = float(np.average(own.sum(axis=1), weights=weights))
        penalty = trainer.l2 * summed_outputs(trainer.network, trainer.loss) / 2
        before = squares(trainer.parameters, trainer.network)

        def loss_of(loss: float, trainer: Any) -> float:
            nonlocal before
            after = squares(trainer.parameters, trainer.network)
            mean, before = (before + after) / 2, after
            return float(multiple * loss + constant + penalty * mean)

        adaptive = (
            self.optimizer is None and self.solver == "sgd" and self.learning_rate == "adaptive"
        )
        monitor = Monitor(
            self.tol,
            self.n_iter_no_change,
            by_score=self.early_stopping,
            plateau=self._divide_rate if adaptive else None,
            loss_of=loss_of,
            score_of=None if held_out is None else self._score_on(held_out),
            restore_best=self.early_stopping,
            verbose=bool(self.verbose),
        )
        if not first:
            monitor.losses, monitor.waited = self.loss_curve_, self._waited
            if self.best_loss_ is not None:
                monitor.best_loss = self.best_loss_
            if self.validation_scores_ is not None and self.best_validation_score_ is not None:
                monitor.scores = self.validation_scores_
                monitor.best_score = self.best_validation_score_
            monitor.best_parameters = self._parameters()
        return monitor

    def _divide_rate(self, trainer: Any, message: str) -> bool:
        """Divide the learning rate by 5, or stop where it is small: "adaptive"."""
        base = self._rate_factor(trainer.network, trainer.loss)
        rate = trainer.rate_factor / base * self.learning_rate_init
        stop = rate <= _LEAST_RATE
        if self.verbose:
            what = "Learning rate too small. Stopping."
            print(message, what if stop else f"Setting learning rate to {rate / 5:f}")
        if not stop:
            trainer.rate_factor /= 5.0
        return bool(stop)

    def _take(self, fit: Fit, first: bool) -> None:
        """Become what a fit has come to."""
        monitor = fit.monitor
        seen = 0 if first else self.t_
        self._waited = monitor.waited
        self.loss_curve_ = monitor.losses
        self.loss_ = monitor.losses[-1] if monitor.losses else np.inf
        scored = monitor.score_of is not None
        self.validation_scores_ = monitor.scores if scored else None
        self.best_validation_score_ = monitor.best_score if scored else None
        self.best_loss_ = None if self.early_stopping else monitor.best_loss
        self.t_ = seen + monitor.epochs * fit.rows
        self.n_iter_ = monitor.epochs
        self._show(fit.trainer, monitor.best_parameters if self.early_stopping else None)

    def _show(self, trainer: Trainer, parameters: Parameters | None = None) -> None:
        """Have the attributes of a trainer; with `parameters`, those instead of its own."""
        network = trainer.network
        self._trainer = trainer
        self.n_outputs_, self.n_layers_ = network.outputs, len(network.dense) + 1
        self.out_activation_ = OUT_ACTIVATIONS.get(loss_row(trainer.loss).name, "identity")
        parameters = trainer.parameters if parameters is None else parameters
        self.coefs_ = [layer[0] for layer in parameters]
        self.intercepts_ = [layer[1] for layer in parameters]
        self._slopes = [layer[2:] for layer in parameters]

    def _parameters(self) -> Parameters:
        """Return `coefs_` and `intercepts_`, as they are now, as a Trainer takes them."""
        own = zip(self.coefs_, self.intercepts_, self._slopes, strict=True)
        return [(np.asarray(W), np.asarray(b), *slopes) for W, b, slopes in own]

    def _trainer_now(self) -> Trainer:
        """Return the trainer inside, with `coefs_` and `intercepts_` as they are now."""
        parameters = self._parameters()
        if not all(
            np.array_equal(mine, its)
            for layer, its_layer in zip(parameters, self._trainer.parameters, strict=True)
            for mine, its in zip(layer, its_layer, strict=True)
        ):
            factor = self._trainer.rate_factor
            self._trainer.set_parameters(parameters)
            self._trainer.rate_factor = factor
        return self._trainer

    def to_trainer(self) -> Trainer:
        """Return a Trainer that predicts and trains as this fitted estimator does; a copy.

        Its classes are the places in `classes_`: 0 and 1 where there are two.
        """
        check_is_fitted(self)
        return copy.copy(self._trainer_now())

    def _raw(self, X: Any) -> np.ndarray:
        """Return the outputs (m, outputs) of checked features before `out_activation_`."""
        trainer = self._trainer
        products = X.shape[0] * sum(W.size for W in self.coefs_)
        if products <= _NUMPY_PRODUCTS or trainer.target == "numpy":
            return forward(trainer.problem, self._parameters(), X)
        return self._trainer_now().forward(X)

    def _dtype(self, X: Any) -> Any:
        """Return the dtype of parameters and arithmetic: `dtype`, or that of X."""
        return X.dtype if self.dtype is None else self.dtype

    def _threads(self) -> int | None:
        """Return how many threads `n_jobs` means, -1 being all there are."""
        if self.n_jobs is None:
            return None
        if self.n_jobs < 0:
            return max(1, available_threads() + 1 + self.n_jobs)
        return int(self.n_jobs)

    def _callbacks(self) -> tuple[Callable[..., Any], ...]:
        if self.callbacks is None:
            return ()
        return (self.callbacks,) if callable(self.callbacks) else tuple(self.callbacks)

    def _validate_held_out(self, X: Any, y: Any, sample_weight: Any) -> Rows | None:
        """Return the rows that `fit` was given to validate on, checked; None without."""
        if X is None and y is None:
            if sample_weight is not None:
                raise InvalidInput("sample_weight_val needs X_val and y_val, which are None")
            return None
        if X is None or y is None:
            missing = "X_val" if X is None else "y_val"
            raise InvalidInput(f"validation data are X_val and y_val, but {missing} is None")
        X, y = self._check_rows(X, y, reset=False)
        return Rows(X, y, check_weights(sample_weight, X))

    @abstractmethod
    def _check_rows(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Return X and y as scikit-learn checks them."""

    @abstractmethod
    def _take_classes(self, y: Any, incremental: bool) -> None:
        """Take over the classes that there are, or refuse those that are new."""

    @abstractmethod
    def _loss_and_outputs(self, y: Any) -> tuple[Any, int]:
        """Return the engine's loss, and how many outputs it has for `y`."""

    @abstractmethod
    def _encode(self, y: Any, loss: Any) -> np.ndarray:
        """Return what a loss of the engine's reads for `y`."""

    @abstractmethod
    def _weights(self, y: Any, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of rows or of targets."""

    @abstractmethod
    def _score_on(self, rows: Rows) -> Callable[[Any], float]:
        """Return what gives the score of a trainer on some rows; larger is better."""

    @abstractmethod
    def _stratifies(self, y: Any) -> bool:
        """Return whether rows to validate on are drawn with the classes' shares."""


def summed_outputs(network: Network, loss: Any) -> int:
    """Return over how many outputs the engine takes a mean where scikit-learn takes a sum."""
    return 1 if loss_row(loss).rowwise else network.outputs


def squares(parameters: Parameters, network: Network) -> float:
    """Return the sum of the squares of all weights."""
    return sum(float(np.vdot(layer[0], layer[0])) for layer in parameters)
