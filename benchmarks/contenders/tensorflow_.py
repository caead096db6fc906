"""TensorFlow: Keras's fit, its step compiled by XLA."""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

from workloads import Data, Parameters, Workload

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf


class Clock(keras.callbacks.Callback):
    """Notes the seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.start = perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock."""
        self.seconds.append(perf_counter() - self.start)


class Contender:
    """fit on NumPy arrays, which shuffles and gathers by tf.data, a whole epoch in one execution.

    One step an execution took three times as long; a tf.data.Dataset of resident tensors, with or
    without prefetching, was 20 to 40 % slower. Only fit's epochs are on the clock, not what it does
    before the first.
    """

    def __init__(
        self, workload: Workload, data: Data, start: Parameters, threads: int | None
    ) -> None:
        if threads is not None:
            tf.config.threading.set_inter_op_parallelism_threads(threads)
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        keras.utils.set_random_seed(workload.seed)
        self.data = data
        self.batch = workload.batch
        *hidden, outputs = workload.widths[1:]
        self.model = keras.Sequential(
            [
                keras.Input((workload.widths[0],)),
                *(keras.layers.Dense(units, activation=workload.activation) for units in hidden),
                keras.layers.Dense(outputs),
            ]
        )
        self.model.set_weights([array for pair in start for array in pair])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if workload.binary:
            loss = keras.losses.BinaryCrossentropy(from_logits=True)
        optimizer = keras.optimizers.SGD(workload.learning_rate, workload.momentum)
        if workload.adam:
            optimizer = keras.optimizers.Adam(workload.learning_rate)
        self.model.compile(
            optimizer=optimizer,
            loss=loss,
            jit_compile=True,
            steps_per_execution=-(-len(data.X) // workload.batch),
        )

    def train(self, epochs: int) -> list[float]:
        """Train on; return the seconds of each epoch."""
        clock = Clock()
        self.model.fit(
            self.data.X,
            self.data.y,
            batch_size=self.batch,
            epochs=epochs,
            verbose=0,
            callbacks=[clock],
        )
        return clock.seconds

    def parameters(self) -> Parameters:
        """Return the parameters as they are now."""
        arrays = self.model.get_weights()
        return list(zip(arrays[::2], arrays[1::2], strict=True))
