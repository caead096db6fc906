"""Losses that float32 does not hold, of outputs and targets that it does."""

import numpy as np
import pytest

from fastnn import SGD, Dense, Network, Trainer, losses

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 2)).astype(np.float32)
LARGE = 1e20 * X[:, 0].astype(np.float64)
MOST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("rows", [40, 3000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "outputs", "y"),
    [
        ("mse", 1, LARGE),
        ("mse", 2, np.stack([LARGE, X[:, 1]], axis=1)),
        (losses.Huber(1e20), 1, LARGE),
        (lambda z, y: (z - y) * (z - y), 1, LARGE),
        ("softmax_cross_entropy", 2, (X[:, 0] > 0).astype(int)),
        ("binary_cross_entropy", 1, (X[:, 0] > 0).astype(int)),
    ],
)
def test_a_loss_is_what_it_is_in_float64(loss, outputs, y, weighted, rows):
    features, y = np.resize(X, (rows, 2)), np.resize(y, (rows, *y.shape[1:]))
    weights = RANDOM.uniform(size=rows) if weighted else None
    found = []
    for dtype in ("float32", "float64"):
        network = Network(2, [Dense(outputs)])
        trainer = Trainer(network, loss=loss, dtype=dtype, target="numpy", seed=0)
        W = np.array([[1, -1], [1, -1]], dtype)[:, :outputs]
        W *= 0.2 * MOST if "entropy" in str(loss) else 1
        trainer.set_parameters([(W, np.zeros(outputs, dtype))])
        found.append(trainer.evaluate(features, y, weights)["loss"])
    assert np.isfinite(found).all() and found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.filterwarnings("ignore::fastnn.TrainingWarning")
def test_a_validation_loss_beyond_float32_is_finite_in_the_history():
    trainer = Trainer(
        Network(2, [Dense(1)]), loss="mse", optimizer=SGD(1e-3), target="numpy", seed=0
    )
    history = trainer.fit(X, X[:, 0], 3, validation_data=(X, LARGE))
    expected = float(np.mean(LARGE**2)) / 2
    assert history.validation_loss == pytest.approx([expected] * 3, rel=1e-5)
