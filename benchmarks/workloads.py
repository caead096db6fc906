"""What peers.py trains: the workloads, their data, and the parameters to start from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Parameters = list[tuple[np.ndarray, np.ndarray]]  # (W (n_in, n_out), b (n_out,)) of each layer


@dataclass(frozen=True)
class Workload:
    """A network and how it is trained: softmax cross-entropy; binary where one output is."""

    name: str
    widths: tuple[int, ...]
    batch: int
    rows: int
    learning_rate: float
    momentum: float = 0.0
    dense: bool = False  # random inputs without a zero in the place of MNIST
    activation: str = "relu"  # of the hidden layers; or "sigmoid", "tanh"
    adam: bool = False  # Adam as it is published, instead of SGD
    seed: int = 0  # of the orders of the rows

    @property
    def title(self) -> str:
        """The workload in words, for a row of a table."""
        kind = "MNIST " if self.is_mnist else ""
        activation = f" {self.activation}" if self.activation != "relu" else ""
        momentum = f", momentum {self.momentum:g}" if self.momentum else ", Adam" * self.adam
        return f"{kind}{'-'.join(map(str, self.widths))}{activation}, batch {self.batch}{momentum}"

    @property
    def is_mnist(self) -> bool:
        """Whether the data are MNIST."""
        return self.widths[0] == 784 and not self.dense

    @property
    def binary(self) -> bool:
        """Whether the loss is the binary cross-entropy of one output."""
        return self.widths[-1] == 1


WORKLOADS = {
    row.name: row
    for row in (
        Workload("dense-64", (784, 128, 10), 64, 60_000, 0.01, dense=True),
        Workload("dense-512", (784, 128, 10), 512, 60_000, 0.01, dense=True),
        Workload("dense-deep", (784, 256, 256, 10), 128, 60_000, 0.002, 0.9, dense=True),
        Workload("dense-100", (784, 100, 10), 100, 60_000, 0.05, dense=True, activation="sigmoid"),
        Workload("wide", (2048, 2048, 2048, 10), 512, 4_096, 0.01),
        Workload("adam-64", (784, 128, 10), 64, 60_000, 0.0002, dense=True, adam=True),
        Workload("adam-deep", (784, 256, 256, 10), 128, 60_000, 0.0002, dense=True, adam=True),
        Workload("tiny", (20, 32, 16, 2), 32, 20_000, 0.05),
        Workload("small", (54, 33, 17, 7), 50, 20_000, 0.05, activation="tanh"),
        Workload("rows", (30, 10), 1, 50_000, 0.01),
        Workload("pair", (30, 2), 1, 50_000, 0.01),
        Workload("logistic", (30, 1), 1, 50_000, 0.01),
        Workload("mnist-64", (784, 128, 10), 64, 60_000, 0.1),
        Workload("mnist-512", (784, 128, 10), 512, 60_000, 0.1),
        Workload("mnist-deep", (784, 256, 256, 10), 128, 60_000, 0.02, 0.9),
        Workload("softmax", (784, 10), 32, 60_000, 0.05),
    )
}

# All but what is asked for by name: of two classes scikit-learn has one output.
REPORTED = [name for name in WORKLOADS if name != "pair"]

# The steadiest of twenty settings: 5 to 9 epochs to 98 % on the test data, as the order of the
# rows has it. With 128 hidden units, training often ends just below.
TO_ACCURACY = Workload("to-accuracy", (784, 256, 10), 128, 60_000, 0.1, 0.9)

# What resident memory is measured of.
MEMORY = WORKLOADS["mnist-64"]

# What a new process is timed with, whose cache of kernels is empty or filled.
# A first process by library: prints the processor's time that it took, children included.
_FIRST = """
import numpy as np
{imports}
X = np.random.default_rng(0).random((2000, 784), np.float32)
y = np.arange(2000) % 10
model = {model}
model.fit(X, y{epochs})
model.predict(X)
import os
print(sum(os.times()[:4]))
"""
FIRST_TRAINING = {
    "fastnn": _FIRST.format(
        imports="from fastnn import Dense, Network, Trainer",
        model="Trainer(Network(784, [Dense(128, 'relu'), Dense(10)]))",
        epochs=", epochs=1",
    ),
    "sklearn": _FIRST.format(
        imports="from sklearn.neural_network import MLPClassifier",
        model="MLPClassifier((128,), solver='sgd', batch_size=64, max_iter=1)",
        epochs="",
    ),
}


@dataclass(frozen=True)
class Data:
    """float32 inputs (n, k), C-ordered, and int64 labels (n,), to train on and to test with."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    note: str = ""  # what a reader of the figures has to know


def load(workload: Workload) -> Data:
    """Return the data of a workload, the same in every process.

    Where MNIST cannot be had, they are random data of its shape, and the note says so. That
    FASTNN_DATA names no folder is an error all the same: somebody wants MNIST.
    """
    if not workload.is_mnist:
        return synthetic(workload)
    try:
        from fastnn import FastnnError, InvalidInput
        from fastnn.datasets import mnist
    except ImportError:
        return synthetic(workload, "random data: fastnn, which reads MNIST, is not installed")
    try:
        (X, y), (X_test, y_test) = mnist()
    except InvalidInput:
        raise
    except FastnnError as error:
        folder = os.environ.get("FASTNN_DATA", "")
        if folder and not os.path.isdir(folder):
            raise InvalidInput(f"FASTNN_DATA is {folder!r}, which is not a folder") from error
        return synthetic(workload, "random data: MNIST is not here")
    return Data(X, y, X_test, y_test)


def synthetic(workload: Workload, note: str = "") -> Data:
    """Return normal inputs, labelled by a random linear teacher whose scores are noisy."""
    generator = np.random.Generator(np.random.PCG64(20))
    inputs, classes = workload.widths[0], max(workload.widths[-1], 2)
    rows = workload.rows + workload.rows // 10
    X = generator.standard_normal((rows, inputs), dtype=np.float32)
    teacher = generator.standard_normal((inputs, classes), dtype=np.float32)
    noise = generator.standard_normal((rows, classes), dtype=np.float32)
    y = np.argmax(X @ teacher / np.sqrt(inputs) + 0.3 * noise, axis=1).astype(np.int64)
    cut = workload.rows
    return Data(X[:cut], y[:cut], X[cut:], y[cut:], note)


def initial_parameters(workload: Workload, start: int = 0) -> Parameters:
    """Return He-normal weights and zero biases, float32, the same in every process."""
    generator = np.random.Generator(np.random.PCG64(21 + start))
    parameters = []
    for inputs, outputs in zip(workload.widths[:-1], workload.widths[1:], strict=True):
        W = generator.standard_normal((inputs, outputs), dtype=np.float32)
        W *= np.float32(np.sqrt(2 / inputs))
        parameters.append((W, np.zeros(outputs, np.float32)))
    return parameters


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 0.5 + 0.5 * np.tanh(0.5 * z),
    "tanh": np.tanh,
}


def raw_outputs(parameters: Parameters, X: np.ndarray, activation: str = "relu") -> np.ndarray:
    """Return the outputs (m, n) of the network, before softmax or sigmoid."""
    a = X
    for W, b in parameters[:-1]:
        a = ACTIVATIONS[activation](a @ W + b)
    W, b = parameters[-1]
    return a @ W + b


def mean_loss(
    parameters: Parameters, X: np.ndarray, y: np.ndarray, activation: str = "relu"
) -> float:
    """Return the mean cross-entropy of the rows, binary where there is one output."""
    z = raw_outputs(parameters, X, activation).astype(np.float64)
    if z.shape[1] == 1:
        return float(np.mean(np.logaddexp(0.0, z[:, 0]) - y * z[:, 0]))
    z -= z.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]))


def accuracy(parameters: Parameters, X: np.ndarray, y: np.ndarray) -> float:
    """Return the fraction of rows whose class the network gets right."""
    z = raw_outputs(parameters, X)
    predicted = z[:, 0] >= 0 if z.shape[1] == 1 else np.argmax(z, axis=1)
    return float(np.mean(predicted == y))
