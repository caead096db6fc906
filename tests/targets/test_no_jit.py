"""The CPU target with Numba switched off: the same lines as plain Python, which can be traced."""

import pytest
from target_cases import run_python

TRAIN = """
import numba
import numpy as np
from target_cases import DTYPES, OPTIMIZERS, assert_follows_numpy, data_of, problem_of
from fastnn.inputs.data import Data
from fastnn.targets.cpu.engine import Engine
from fastnn.targets.cpu.step import epoch
from fastnn.network import Dense, Dropout

assert numba.config.DISABLE_JIT and not hasattr(epoch.train_epoch_float32, "stats")
NETWORKS = [
    ([Dense(1)], "binary_cross_entropy"),
    ([Dense(5, "tanh"), Dense(2)], "mse"),
    ([Dense(33, "gelu", max_norm=0.5), Dense(2, "softplus", l1=0.1)], "huber"),
    ([Dense(33, "prelu", max_norm=0.5), Dense(2, "prelu")], "huber"),
    ([Dropout(0.3), Dense(7, "softmax"), Dropout(0.5), Dense(19)], "softmax_cross_entropy"),
]
RULES = ("nesterov", "sgd", "adam", "adam", "adamw")
for dtype in DTYPES:
    for (layers, loss), rule in zip(NETWORKS, RULES, strict=True):
        problem = problem_of(
            3, layers, loss, OPTIMIZERS[rule], batch_size=4, l1=0.01, l2=0.1, dtype=dtype,
            clip_norm=None if rule == "sgd" else 0.5,
        )
        for n in (1, 6):
            data = data_of(problem, n, weighted=n > 1)
            assert_follows_numpy(Engine, problem, data, epochs=2)
            small = Data((data.X > 0).astype(np.int8), data.targets, data.weights)
            assert_follows_numpy(Engine, problem, small, epochs=2)
        if loss == "mse":
            data = data_of(problem, 6, weighted="targets")
            assert_follows_numpy(Engine, problem, data, epochs=2)
print("same")
"""


COSINES = """
import numpy as np
from fastnn import Dense, Network, Periodic, Trainer

X, y = np.random.default_rng(0).normal(size=(2, 9, 3))
for dtype in ("float32", "float64"):
    found = []
    for target in ("numpy", "cpu"):
        network = Network(3, [Periodic(7, 1.0, 2), Dense(5, "tanh"), Dense(3)])
        trainer = Trainer(
            network, loss="mse", batch_size=4, seed=1, target=target, threads=1, dtype=dtype
        )
        trainer.fit(X, y, 2, progress=False)
        found.append(trainer.forward(X))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5 if dtype == "float32" else 1e-12)
print("same")
"""


@pytest.mark.parametrize("warnings", ["error", "ignore"])
def test_plain_python_trains_as_the_numpy_target_does(warnings):
    assert run_python(TRAIN, "-W", warnings, NUMBA_DISABLE_JIT="1") == "same\n"


def test_plain_python_has_the_cosines_of_the_numpy_target():
    assert run_python(COSINES, NUMBA_DISABLE_JIT="1") == "same\n"
