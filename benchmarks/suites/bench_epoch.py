"""Time of one epoch of training, kernels warm."""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer

# inputs, units of the layers, batch size, rows
SHAPES = {
    "784-128-10": (784, (128, 10), 64, 10_000),
    "20-32-16-2": (20, (32, 16, 2), 32, 10_000),
    "784-10": (784, (10,), 32, 10_000),
    "30-1": (30, (1,), 1, 10_000),
}


class Epoch:
    """One epoch of networks of different sizes, float32, plain SGD, threads chosen by fastnn."""

    params = list(SHAPES)
    param_names = ["network"]
    timeout = 300

    def setup(self, name: str) -> None:
        """Make data and a trainer, and train once so that the kernels are compiled."""
        inputs, units, batch_size, rows = SHAPES[name]
        *hidden, outputs = units
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((rows, inputs), np.float32)
        self.y = rng.integers(0, max(2, outputs), rows)
        layers = [*(Dense(n, "relu") for n in hidden), Dense(outputs)]
        loss = "binary_cross_entropy" if outputs == 1 else "softmax_cross_entropy"
        self.trainer = Trainer(Network(inputs, layers), loss, SGD(0.01), batch_size)
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_epoch(self, name: str) -> None:
        """Train on all rows once."""
        self.trainer.fit(self.X, self.y, epochs=1)
