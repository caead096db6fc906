"""fastnn, by its public face alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workloads import Data, Parameters, Workload

from fastnn import SGD, Adam, Dense, Network, Trainer


class Contender:
    """A Trainer; its own clock runs from an epoch's order to its last update."""

    def __init__(
        self,
        workload: Workload,
        data: Data,
        start: Parameters,
        threads: int | None,
        **settings: Any,
    ) -> None:
        self.data = data
        self.trainer = trainer_of(workload, threads=threads, **settings)
        self.trainer.set_parameters(start)

    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        return self.trainer.fit(self.data.X, self.data.y, epochs=epochs).seconds[-epochs:]

    def train_until(self, ended: Callable[[], bool], most: int) -> list[float]:
        """Train epochs in one call, so that a device gets the data once; return their seconds."""
        done = len(self.trainer.history)
        history = self.trainer.fit(
            self.data.X, self.data.y, epochs=most, callbacks=lambda *_: ended()
        )
        return history.seconds[done:]

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        return self.trainer.parameters


def trainer_of(workload: Workload, **settings: Any) -> Trainer:
    """Return a new trainer of a workload."""
    *hidden, outputs = workload.widths[1:]
    layers = [*(Dense(n, workload.activation) for n in hidden), Dense(outputs)]
    sgd = SGD(workload.learning_rate, workload.momentum)
    return Trainer(
        Network(workload.widths[0], layers),
        loss="binary_cross_entropy" if workload.binary else "softmax_cross_entropy",
        optimizer=Adam(workload.learning_rate) if workload.adam else sgd,
        batch_size=workload.batch,
        seed=workload.seed,
        **settings,
    )
