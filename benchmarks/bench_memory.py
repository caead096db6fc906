"""Memory of a process at its peak, in bytes.

That is the interpreter, imports, compiled code and data, of which "data" has no more than NumPy:
what others have above it is fastnn's.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Peak:
    """784-128-10 on float32 rows, batch 64: 31 or 188 MB of data, which fastnn does not copy."""

    params = [10_000, 60_000]
    param_names = ["rows"]

    def setup_cache(self) -> None:
        """Compile the kernels in a process of its own: compilation takes memory too."""
        self.setup(64)
        trainer = self._trainer()
        trainer.fit(self.X, self.y, epochs=1)
        trainer.predict(self.X)

    def setup(self, rows: int) -> None:
        """Make the data."""
        random = np.random.default_rng(0)
        self.X = random.standard_normal((rows, 784), np.float32)
        self.y = random.integers(0, 10, rows)

    def peakmem_data(self, rows: int) -> None:
        """Hold the data alone."""

    def peakmem_fit(self, rows: int) -> None:
        """Train an epoch of plain SGD."""
        self._trainer().fit(self.X, self.y, epochs=1)

    def peakmem_restarts(self, rows: int) -> None:
        """Train an epoch of four networks from four seeds."""
        self._trainer().fit(self.X, self.y, epochs=1, restarts=4)

    def peakmem_predict(self, rows: int) -> None:
        """Predict all rows."""
        self._trainer().predict(self.X)

    def _trainer(self) -> Any:
        from fastnn import SGD, Dense, Network, Trainer

        network = Network(784, [Dense(128, "relu"), Dense(10)])
        return Trainer(network, optimizer=SGD(0.01), batch_size=64)
