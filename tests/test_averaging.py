"""Averaged SGD: predictions from the mean of the weights, training from the weights themselves."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose
from trainer_cases import LABELS, LAYERS, REAL, TARGETS, X, state_of, trainer_of

from fastnn import SGD, AveragedSGD, Dense, EarlyStopping, Network, Trainer, TrainingWarning

STEPS = 5  # of an epoch: 37 rows in batches of 8
NETWORKS = [
    {"layers": [Dense(1)], "loss": "mse"},
    {"layers": [Dense(2), Dense(1, bias=False)], "loss": "mse"},
    {"layers": [Dense(5, "tanh"), Dense(1)], "loss": "mse"},
]


def flat(parameters):
    return [array for pair in parameters for array in pair]


def pair_of(target, start, network, **settings):
    """Return a trainer of averaged SGD, and one of SGD that is the same otherwise."""
    common = {"target": target, "dtype": "float64", "seed": 3} | network | settings
    return (
        trainer_of(optimizer=AveragedSGD(0.1, start), **common),
        trainer_of(optimizer=SGD(0.1), **common),
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("start", [0, 1, 3, 4, 5])
def test_parameters_are_the_mean_of_those_of_sgd(target, network, start):
    """One batch is all rows, so that every epoch is an update and SGD's path can be seen."""
    averaged, plain = pair_of(target, start, network, batch_size=37)
    path = []
    for _ in range(5):
        averaged.fit(X, REAL, epochs=1)
        plain.fit(X, REAL, epochs=1)
        path.append(flat(plain.parameters))
        counted = path[start:] or path[-1:]
        mean = [np.mean(arrays, axis=0) for arrays in zip(*counted, strict=True)]
        for found, expected in zip(flat(averaged.parameters), mean, strict=True):
            assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert_allclose(averaged.history.loss, plain.history.loss, rtol=1e-9)  # of w, not of the mean


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", NETWORKS)
def test_all_that_predicts_predicts_with_the_mean(target, network):
    averaged, plain = pair_of(target, 2, network)
    averaged.fit(X, REAL, epochs=3, validation_data=(X[:9], REAL[:9]))
    plain.set_parameters(averaged.parameters)
    assert_allclose(averaged.forward(X), plain.forward(X), rtol=1e-12, atol=1e-14)
    assert averaged.evaluate(X, REAL)["loss"] == pytest.approx(plain.evaluate(X, REAL)["loss"])
    expected = plain.evaluate(X[:9], REAL[:9])["loss"]
    assert averaged.history.validation_loss[-1] == pytest.approx(expected)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", NETWORKS)
def test_before_the_start_it_is_sgd(target, network):
    averaged, plain = pair_of(target, 2 * STEPS, network)
    for trainer in (averaged, plain):
        trainer.fit(X, REAL, epochs=2)
    for found, expected in zip(flat(averaged.parameters), flat(plain.parameters), strict=True):
        assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    averaged.fit(X, REAL, epochs=1)
    plain.fit(X, REAL, epochs=1)
    assert not np.allclose(averaged.parameters[0][0], plain.parameters[0][0], rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("opened", [False, True])
def test_parameters_that_are_set_predict_and_are_trained_from(target, opened):
    trainer = trainer_of(LAYERS, optimizer=AveragedSGD(0.1), target=target)
    start = trainer.parameters
    if opened:
        trainer.fit(X, LABELS, epochs=2)
    other = [(W + 1, b + 2) for W, b in start]
    trainer.set_parameters(other)
    for found, expected in zip(flat(trainer.parameters), flat(other), strict=True):
        assert np.array_equal(found, expected)
    plain = trainer_of(LAYERS, target=target)
    plain.set_parameters(other)
    assert np.array_equal(trainer.forward(X), plain.forward(X))
    assert trainer.step == 0
    trainer.fit(X[:8], LABELS[:8], epochs=1)
    assert not np.array_equal(trainer.parameters[0][0], other[0][0])


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_and_a_copy_keep_weights_and_mean(target, tmp_path):
    trainer = trainer_of(LAYERS, optimizer=AveragedSGD(0.1, start=3), target=target)
    trainer.fit(X, LABELS, epochs=2)
    trainer.save(tmp_path / "model")
    for other in (Trainer.load(tmp_path / "model"), copy.copy(trainer), copy.deepcopy(trainer)):
        assert np.array_equal(other.parameters[0][0], trainer.parameters[0][0])
        assert np.array_equal(other.forward(X), trainer.forward(X))
        assert state_of(other) == state_of(trainer)


@pytest.mark.parametrize("target", TARGETS)
def test_early_stopping_goes_back_to_the_best_mean(target):
    trainer = trainer_of(LAYERS, optimizer=AveragedSGD(3.0, start=4), target=target)
    validation = (X[:9], LABELS[:9])
    stop = EarlyStopping(patience=2)
    trainer.fit(X, LABELS, epochs=60, validation_data=validation, callbacks=[stop])
    best = trainer.history.validation_loss[trainer.history.best]
    assert len(trainer.history) < 60
    assert trainer.evaluate(*validation)["loss"] == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "rows"), [(AveragedSGD(1e-3), 2**20 + 9), (SGD(1e-3, ema=0.999999), 150_000)]
)
def test_a_mean_that_rounding_keeps_from_moving_is_told(optimizer, rows):
    many = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    y = many @ [1.0, 2.0] + 5
    settings = {"loss": "mse", "optimizer": optimizer, "batch_size": 1, "target": "cpu"}
    trainer = Trainer(Network(2, [Dense(1)]), **settings)
    with pytest.warns(TrainingWarning, match='mean of the weights.*hardly moves.*"float64"'):
        trainer.fit(many, y, 1)
    precise = Trainer(Network(2, [Dense(1)]), dtype="float64", **settings)
    precise.fit(many, y, 1)
    late = AveragedSGD(1e-3, start=rows // 2)
    Trainer(Network(2, [Dense(1)]), **settings | {"optimizer": late}).fit(many, y, 1)
