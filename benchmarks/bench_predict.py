"""Prediction: how long one row takes, and how long many do."""

from __future__ import annotations

import numpy as np
from timing import best_seconds, of_calls

from fastnn import Dense, Network, Trainer

ROWS = 20_000
WIDTHS = {"784-128-10": (784, 128, 10), "20-32-16-2": (20, 32, 16, 2), "30-1": (30, 1)}


class Predict:
    """`Trainer.predict` of a relu network, float32, threads chosen by fastnn."""

    params = list(WIDTHS)
    param_names = ["network"]

    def setup(self, name: str) -> None:
        """Make rows and network, and predict them all."""
        widths = WIDTHS[name]
        layers = [*(Dense(n, "relu") for n in widths[1:-1]), Dense(widths[-1])]
        loss = "binary_cross_entropy" if widths[-1] == 1 else "softmax_cross_entropy"
        self.trainer = Trainer(Network(widths[0], layers), loss)
        self.X = np.random.default_rng(0).standard_normal((ROWS, widths[0]), np.float32)
        self.trainer.predict(self.X)

    def track_one_row(self, name: str) -> float:
        """Microseconds of a call for one row: the latency."""
        row = self.X[:1]
        seconds = best_seconds(of_calls(lambda: self.trainer.predict(row)), 0.05)
        return round(1e6 * seconds, 2)

    def time_many_rows(self, name: str) -> None:
        """Seconds of a call for 20000 rows: their number over it is the throughput."""
        self.trainer.predict(self.X)

    track_one_row.unit = "us"
