"""Problems and data for the tests of data on the device."""

import numpy as np

from fastnn.graph import logsumexp
from fastnn.inputs.data import Data
from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Dropout, Network

LOSSES = {
    "classes": ("softmax_cross_entropy", 3),
    "binary": ("binary_cross_entropy", 2),
    "real": ("mse", 1),
    "of a row": (lambda z, y: logsumexp(z) - 0.7 * z[0] * y[1], 3),
}
X = np.random.default_rng(0).normal(size=(11, 3))
LABELS = np.arange(11) % 3


def problem_for(kind="classes", dtype="float64"):
    loss, outputs = LOSSES[kind]
    network = Network(3, [Dense(4, "tanh"), Dropout(0.3), Dense(outputs)])
    return Problem(network, loss, SGD(0.1, 0.9), 8, 0.0, 0.0, dtype, 7)


def data_of(problem, n, *, weighted=False):
    random, outputs = np.random.default_rng(0), problem.network.outputs
    targets = random.integers(0, 2, (n, problem.target_columns)).astype(problem.dtype)
    if problem.loss == LOSSES["classes"][0]:
        targets = random.integers(0, outputs, n)
    rows = random.normal(size=(n, problem.network.inputs)).astype(problem.dtype)
    shape = (n, outputs) if weighted == "targets" else n
    return Data(rows, targets, random.uniform(0.1, 3, shape) if weighted else None)


def to_device(array):
    from fastnn.targets.cuda.host.numba_cuda import cuda

    return cuda.to_device(np.ascontiguousarray(array))


def to_device_as_it_lies(array):
    """Return the array on the device with the strides that it has here."""
    from fastnn.targets.cuda.host.reader import DeviceReader

    ends = [step * (size - 1) for step, size in zip(array.strides, array.shape, strict=True)]
    up = array[tuple(slice(None, None, -1 if end < 0 else 1) for end in ends)]
    span = sum(map(abs, ends)) // array.itemsize + 1
    memory = to_device(np.lib.stride_tricks.as_strided(up, (span,), (array.itemsize,)))
    offset = -sum(end for end in ends if end < 0)
    return DeviceReader().strided(memory, offset, array.shape, array.strides)


def checked(problem, *data, **options):
    from fastnn.inputs.data import check_data
    from fastnn.targets.cuda.host.reader import DeviceReader

    return check_data(problem, *data, reader=DeviceReader(), **options)


def host(placed):
    return [each.copy_to_host() for each in placed]


def placed(problem, data):
    from fastnn.targets.cuda.host.data import place
    from fastnn.targets.cuda.host.numba_cuda import cuda

    return place(data, problem, cuda.stream())


def strided(array):
    """Return the same values with gaps between them."""
    return np.repeat(np.repeat(array, 2, 0), 3, 1)[::2, ::3]


FORMS = {
    "as it is": lambda x: x,
    "float64": lambda x: x.astype(np.float64),
    "float32": lambda x: x.astype(np.float32),
    "by columns": np.asfortranarray,
    "reversed": lambda x: x[::-1].copy()[::-1],
    "strided": strided,
    "one value": lambda x: np.broadcast_to(x[:1, :1], x.shape),
}
