"""Epochs with each update rule, and with limits on the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Dense,
    Lion,
    Nadam,
    Network,
    RMSProp,
    Trainer,
)

# what differs from plain SGD -> settings of the trainer
SETTINGS: dict[str, dict[str, Any]] = {
    "SGD": {},
    "SGD, momentum": {"optimizer": SGD(1e-3, momentum=0.9)},
    "SGD, nesterov": {"optimizer": SGD(1e-3, momentum=0.9, nesterov=True)},
    "Adam": {"optimizer": Adam(1e-4)},
    "AdamW": {"optimizer": AdamW(1e-4)},
    "Nadam": {"optimizer": Nadam(1e-4)},
    "RMSProp": {"optimizer": RMSProp(1e-4)},
    "Adagrad": {"optimizer": Adagrad(1e-3)},
    "Lion": {"optimizer": Lion(1e-5)},
    "AveragedSGD": {"optimizer": AveragedSGD(1e-3)},
    "SGD, l1 and l2": {"l1": 1e-5, "l2": 1e-4},
    "SGD, clip_value": {"clip_value": 1.0},
    "SGD, clip_norm": {"clip_norm": 1.0},
}


class Optimizers:
    """256-256-10, relu, softmax cross-entropy, batch 64, float32, one thread, 6400 rows."""

    params = list(SETTINGS)
    param_names = ["optimizer"]

    def setup(self, name: str) -> None:
        """Make data and network, and train an epoch."""
        random = np.random.default_rng(0)
        self.X = random.standard_normal((6400, 256), np.float32)
        self.y = random.integers(0, 10, len(self.X))
        network = Network(256, [Dense(256, "relu"), Dense(10)])
        settings = {"optimizer": SGD(1e-3), "batch_size": 64, "threads": 1, **SETTINGS[name]}
        self.trainer = Trainer(network, **settings)
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_epoch(self, name: str) -> None:
        """Seconds of `fit` for one epoch of 100 steps."""
        self.trainer.fit(self.X, self.y, epochs=1)
