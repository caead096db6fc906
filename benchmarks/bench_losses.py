"""Epochs with each loss."""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer
from fastnn.rules.table import LOSSES


class Losses:
    """64-10 without a hidden layer, plain SGD, batch 64, float32, one thread, 64000 rows.

    The targets are 10 labels of 0 or 1 a row, and a class for softmax_cross_entropy.
    """

    params = list(LOSSES)
    param_names = ["loss"]

    def setup(self, name: str) -> None:
        """Make data and network, and train an epoch."""
        random = np.random.default_rng(0)
        self.X = random.standard_normal((64_000, 64), np.float32)
        classes = random.integers(0, 10, len(self.X))
        labels = random.integers(0, 2, (len(self.X), 10))
        self.y = classes if LOSSES[name].targets == "classes" else labels.astype(np.float32)
        network = Network(64, [Dense(10)])
        self.trainer = Trainer(network, name, SGD(1e-3), batch_size=64, threads=1)
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_epoch(self, name: str) -> None:
        """Seconds of `fit` for one epoch of 1000 steps."""
        self.trainer.fit(self.X, self.y, epochs=1)
