"""One epoch on a CUDA device, where there is one."""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, TargetUnavailable, Trainer
from fastnn.targets.cuda.host import availability


class Epoch:
    """784-128-10, relu, float32, plain SGD, 12800 rows."""

    params = [64, 512]
    param_names = ["batch size"]

    def setup(self, batch_size: int) -> None:
        """Make data and network, and train an epoch; skip what the machine cannot run."""
        if availability.simulated():
            raise NotImplementedError(
                "Numba's simulator would take hours, and its times say nothing"
            )
        random = np.random.default_rng(0)
        self.X = random.standard_normal((12_800, 784), np.float32)
        self.y = random.integers(0, 10, len(self.X))
        network = Network(784, [Dense(128, "relu"), Dense(10)])
        try:
            self.trainer = Trainer(
                network, optimizer=SGD(0.01), batch_size=batch_size, target="cuda"
            )
        except TargetUnavailable as reason:
            raise NotImplementedError(str(reason)) from reason
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_epoch(self, batch_size: int) -> None:
        """Seconds of `fit` for one epoch."""
        self.trainer.fit(self.X, self.y, epochs=1)
