"""Small networks and data for the faults, and what tells two trainers apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import Adam, Dense, Network, Trainer

ROWS = 2000
_RANDOM = np.random.default_rng(0)
X = _RANDOM.normal(size=(ROWS, 20)).astype(np.float32)
LABELS = _RANDOM.integers(0, 3, ROWS)
BINARY = _RANDOM.integers(0, 2, ROWS)
KINDS = ("deep", "linear")


def trainer_of(kind: str = "deep", threads: int | None = None, **settings: Any) -> Trainer:
    """Return a trainer of one of `KINDS`, whose epoch takes some milliseconds."""
    settings = {"optimizer": Adam(0.01), "threads": threads, "batch_size": 32} | settings
    if kind == "linear":
        return Trainer(Network(20, [Dense(1)]), "binary_cross_entropy", **settings)
    return Trainer(Network(20, [Dense(32, "relu"), Dense(16, "tanh"), Dense(3)]), **settings)


def labels_of(kind: str) -> np.ndarray:
    """Return labels for a kind of network."""
    return BINARY if kind == "linear" else LABELS


def bits(trainer: Trainer) -> list[Any]:
    """Return all that training changes, but for the times, in a form that compares by value."""
    model = trainer.__getstate__()
    history = model.history
    arrays = [
        array.tobytes().hex()
        for layers in (model.parameters, *model.slots)
        for layer in layers
        for array in layer
    ]
    lengths = [len(history.seconds), len(history.validation_loss), len(history.validation_accuracy)]
    return [model.epoch, model.step, model.rate_factor, history.loss, lengths, arrays]
