"""scikit-learn: MLPClassifier with solver="sgd", and SGDClassifier for the logistic regression."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import sklearn
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from workloads import Data, Parameters, Workload

sklearn.set_config(assume_finite=True)


class Clocked(MLPClassifier):
    """MLPClassifier that notes the seconds of each epoch, its checks of X and y left out."""

    seconds: list[float]

    def _fit_stochastic(self, *arguments: Any) -> None:
        start = perf_counter()
        super()._fit_stochastic(*arguments)
        self.seconds.append(perf_counter() - start)


class Contender:
    """MLPClassifier with a constant rate and no penalty: one `partial_fit` is one epoch.

    It has one logistic output for two classes. Where the others have two outputs, it starts from
    the difference of their weights: the same function, and a little less work.
    """

    def __init__(
        self, workload: Workload, data: Data, start: Parameters, threads: int | None
    ) -> None:
        self.data = data
        self.model = Clocked(
            workload.widths[1:-1],
            {"sigmoid": "logistic"}.get(workload.activation, workload.activation),
            solver="adam" if workload.adam else "sgd",
            alpha=0.0,
            batch_size=workload.batch,
            learning_rate_init=workload.learning_rate,
            momentum=workload.momentum,
            nesterovs_momentum=False,
            random_state=np.random.RandomState(workload.seed),
        )
        self.model.seconds = []
        # Parameters exist only after some training: one batch, whose traces are then overwritten.
        few = slice(workload.batch)
        self.model.partial_fit(data.X[few], data.y[few], classes=np.unique(data.y))
        for (W, b), (W_start, b_start) in zip(self.parameters(), start, strict=True):
            one_of_two = W.shape[1] == 1 and W_start.shape[1] == 2
            W[...] = np.diff(W_start) if one_of_two else W_start
            b[...] = np.diff(b_start) if one_of_two else b_start
        optimizer = self.model._optimizer
        for kept in ("velocities", "ms", "vs"):
            for array in getattr(optimizer, kept, ()):
                array[...] = 0.0
        optimizer.t = 0

    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        for _ in range(epochs):
            self.model.partial_fit(self.data.X, self.data.y)
        return self.model.seconds[-epochs:]

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))


class Linear:
    """SGDClassifier with the logistic loss and no penalty, which always takes one row a step.

    Of several classes it trains one against the rest, each by itself, side by side on threads; of
    two it has one output, which starts from the difference of the others' two.
    """

    def __init__(
        self, workload: Workload, data: Data, start: Parameters, threads: int | None
    ) -> None:
        self.data = data
        self.rate = workload.learning_rate
        self.W, self.b = (np.diff(each) if workload.widths[-1] == 2 else each for each in start[0])
        self.calls, self.jobs = 0, threads or -1
        self.same_loss = workload.binary

    def train(self, epochs: int) -> list[float]:
        """Train on in one call; return its mean seconds an epoch, once for each epoch."""
        self.calls += 1
        model = SGDClassifier(
            loss="log_loss",
            penalty=None,
            learning_rate="constant",
            eta0=self.rate,
            max_iter=epochs,
            tol=None,
            random_state=self.calls,
            n_jobs=self.jobs,
        )
        start = perf_counter()
        model.fit(self.data.X, self.data.y, coef_init=self.W.T, intercept_init=self.b)
        seconds = (perf_counter() - start) / epochs
        self.W, self.b = model.coef_.T, model.intercept_
        return [seconds] * epochs

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        return [(self.W, self.b)]
