"""Gradients of large batches in single precision, whose rows are much alike."""

import numpy as np
import pytest
import scipy.sparse
from simulator import SIMULATED

from fastnn import SGD, BatchNorm, Dense, LayerNorm, Network, Periodic, Trainer

# So many rows take CUDA's simulator too long.
TARGETS = ["numpy"] if SIMULATED else ["numpy", "cpu"]
ROWS = 150_000
RANDOM = np.random.default_rng(0)
X = (RANDOM.random((ROWS, 4)) < [0.9, 0.5, 0.1, 0.01]).astype(np.float32)
Y = (RANDOM.random(ROWS) < 0.03).astype(int)
CLASSES, BINARY = "softmax_cross_entropy", "binary_cross_entropy"
NETWORKS = {
    "one output": ([Dense(1, init="zeros")], BINARY),
    "three": ([Dense(3, init="zeros")], CLASSES),
    "forty": ([Dense(40, init="zeros")], CLASSES),
    "hidden": ([Dense(5, "tanh"), Dense(1, init="normal")], BINARY),
    "wide": ([Dense(64, "tanh"), Dense(3, init="normal")], CLASSES),
    "batch norm": ([Dense(5, bias=False), BatchNorm(activation="tanh"), Dense(1)], BINARY),
    "layer norm": ([Dense(5), LayerNorm(activation="tanh"), Dense(2)], CLASSES),
    "prelu": ([Dense(5, "prelu"), Dense(2)], CLASSES),
    "periodic": ([Periodic(3), Dense(2)], CLASSES),
}


def changes(target, layers, loss, rows, dtype, **settings):
    """Return by how much one step with all rows changes each array, relative to its largest."""
    trainer = Trainer(
        Network(4, layers), loss, SGD(1.0, **settings), batch_size=ROWS, target=target,
        dtype=dtype, seed=1,
    )  # fmt: skip
    before = [array.astype(float) for arrays in trainer.parameters for array in arrays]
    trainer.fit(rows, Y, 1)
    after = [array for arrays in trainer.parameters for array in arrays]
    return [new - old for old, new in zip(before, after, strict=True)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("layers", "loss"), NETWORKS.values(), ids=NETWORKS)
def test_the_step_of_a_large_batch_is_that_in_double_precision(layers, loss, momentum, target):
    exact = changes(target, layers, loss, X, "float64", momentum=momentum)
    found = changes(target, layers, loss, X, "float32", momentum=momentum)
    for wanted, given in zip(exact, found, strict=True):
        by_blas = target == "numpy" and wanted.ndim == 2  # which adds up in an order of its own
        near = 2e-3 if by_blas else 2e-4
        np.testing.assert_allclose(given, wanted, atol=near * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["one output", "three", "hidden", "wide"])
def test_so_is_that_of_sparse_rows_but_for_a_longer_sum(name):
    layers, loss = NETWORKS[name]
    rows = scipy.sparse.csr_array(X)
    exact = changes("cpu", layers, loss, rows, "float64")
    found = changes("cpu", layers, loss, rows, "float32")
    for wanted, given in zip(exact, found, strict=True):
        np.testing.assert_allclose(given, wanted, atol=2e-3 * np.abs(wanted).max())
