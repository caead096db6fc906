"""The Trainer: holds a network's parameters, trains them epoch by epoch, and predicts."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastnn import checkpoint
from fastnn.data import Data, check_data, check_features
from fastnn.errors import CorruptFile, Diverged, InvalidInput
from fastnn.history import History
from fastnn.initialisers import initial_parameters
from fastnn.orders import Orders
from fastnn.parameters import Parameters, check_parameters, from_tensors, to_tensors, zero_slots
from fastnn.predictions import check_probabilistic, predictions, probabilities, scores
from fastnn.problem import EpochResult, Problem
from fastnn.progress import Progress
from fastnn.serialise import (
    network_from_dict,
    network_to_dict,
    optimizer_from_dict,
    optimizer_to_dict,
)
from fastnn.spec import SGD, Network, Optimizer, whole
from fastnn.target import Engine, choose, engine_class

Callback = Callable[["Trainer", History], object]

MOST_THREADS = 1024
_SETTINGS = ("loss", "batch_size", "l1", "l2", "seed")  # of a Problem, plain in a file as they are


class Trainer:
    """Trains a network by minibatch SGD, and predicts with it.

    minimise  sum_r w_r loss(network(x_r), y_r) / sum_r w_r  +  l1 sum|W| + l2/2 sum W^2

    >>> from fastnn import Dense, Network, datasets
    >>> X, y = datasets.xor(400)
    >>> network = Network(2, [Dense(8, "tanh"), Dense(2)])
    >>> trainer = Trainer(network, optimizer=SGD(0.5), batch_size=16, target="numpy")
    >>> len(trainer.fit(X, y, epochs=30))
    30
    >>> trainer.evaluate(X, y)["accuracy"] > 0.95
    True

    Parameters
    ----------
    network, loss, optimizer, batch_size, l1, l2, dtype, seed
        As for `fastnn.problem.Problem`. Initial weights, order and dropout follow from `seed`.
    target
        "cpu", "numpy" or "auto".
    threads
        How many threads train, 1 to 1024; None chooses from the work in a step. The results are
        the same bits for any number.
    shuffle
        Whether each epoch goes through the rows in an order of its own.

    Attributes
    ----------
    problem
        The settings that decide what is computed, checked.
    target, threads, shuffle
        As given.
    epoch
        Epochs done.
    step
        Updates done since the optimizer's state was zero.
    history
        The `History` of all epochs done.

    Raises
    ------
    InvalidInput
        A setting out of range, or an unknown name.
    TargetUnavailable
        A target that cannot run here.
    """

    def __init__(
        self,
        network: Network,
        loss: str = "softmax_cross_entropy",
        optimizer: Optimizer = SGD(0.1),  # noqa: B008 - frozen
        batch_size: int = 64,
        l1: float = 0.0,
        l2: float = 0.0,
        target: str = "cpu",
        dtype: Any = "float32",
        threads: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        problem = Problem(network, loss, optimizer, batch_size, l1, l2, dtype, seed)
        self._set_up(problem, target, threads, shuffle)
        start = initial_parameters(problem.network, problem.seed, problem.dtype)
        self._waiting = (start, zero_slots(problem))

    def _set_up(self, problem: Problem, target: Any, threads: Any, shuffle: Any) -> None:
        """Check and keep the settings; nothing is trained yet."""
        chosen, reason = choose(target)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise InvalidInput(f"shuffle must be True or False, not {shuffle!r}")
        self.problem = problem
        self.target: str = target
        self.threads = _check_threads(threads)
        self.shuffle = bool(shuffle)
        self.epoch = self.step = 0
        self.history = History(chosen, self.threads or 1, reason)
        # Parameters and state wait here as arrays until the engine is needed, and are its own then.
        self._waiting: tuple[Parameters, list[Parameters]] | None = None
        self._engine: Engine | None = None
        self._opening = threading.Lock()
