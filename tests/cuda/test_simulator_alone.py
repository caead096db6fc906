"""Numba's simulator as users have it, without what tests put into it (see `simulator`)."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from simulator import SIMULATED

TRAINING = """
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastnn import Dense, Network, Trainer

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)


def losses(target, seed):
    network = Network(3, [Dense(4, "tanh"), Dense(1)])
    trainer = Trainer(network, target=target, loss="mse", batch_size=4, seed=seed)
    trainer.fit(X, X[:, :1], epochs=3)
    assert len(trainer.predict(X)) == 8
    return trainer.history.loss


with ThreadPoolExecutor(3) as pool:
    found = [*pool.map(losses, ["cuda"] * 3, range(3))]
for seed, each in enumerate(found):
    np.testing.assert_allclose(each, losses("numpy", seed), rtol=1e-4)
"""


@pytest.mark.skipif(SIMULATED, reason="needs a simulator that no other test has changed")
@pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="no numba_cuda here: pip install numba-cuda[cu13]"
)
def test_threads_train_side_by_side_in_a_new_process() -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", TRAINING],
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
