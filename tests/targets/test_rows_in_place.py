"""Predictions whose first layer reads the caller's rows where they lie."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastnn import BatchNorm, Dense, InvalidInput, Network, Trainer
from fastnn.inputs.arrays import check_finite
from fastnn.targets.cpu.forward import rows_of_a_call
from fastnn.training.predictor import FEW_NUMBERS

ROWS = 1, 5, 63, 64, 65, 129, 257
SHAPES = [(200, 17), (160, 100), (161, 16), (31, 40), (784, 48), (1, 20), (500, 33)]


def trainer_of(k, n, dtype="float32", threads=2):
    network = Network(k, [Dense(n, "relu"), Dense(3)])
    trainer = Trainer(network, dtype=dtype, threads=threads)
    trainer.fit(features(8, k, dtype), np.arange(8) % 3, epochs=1)
    return trainer


def features(m, k, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal((m, k)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_rows_in_place_come_to_the_bits_of_copies(k, n, dtype):
    trainer = trainer_of(k, n, dtype)
    for m in ROWS:
        X = features(m, k, dtype, m)
        # Columns that lie one after another are copied.
        assert np.array_equal(trainer.forward(X), trainer.forward(np.asfortranarray(X)))


@pytest.mark.parametrize(
    "view",
    [
        lambda X: X[::2],
        lambda X: X[::-1],
        lambda X: X[:, 3:],
        lambda X: X[7:, 5:-1],
        lambda X: np.broadcast_to(X[:1], X.shape),
    ],
)
def test_strides_of_rows_are_any(view):
    X = view(features(300, 150))
    trainer = trainer_of(X.shape[1], 50)
    expected = trainer.forward(np.asfortranarray(X))
    assert np.array_equal(trainer.forward(X), expected)
    assert_allclose(expected, reference(trainer, X), rtol=2e-4, atol=2e-5)


def reference(trainer, X):
    other = Trainer(trainer.network, target="numpy")
    other.set_parameters(trainer.parameters)
    return other.forward(np.ascontiguousarray(X))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (63, 159), (64, 0), (255, 31), (256, 159), (130, 77)])
def test_a_number_that_is_not_finite_is_named_as_ever(bad, place):
    trainer, X = trainer_of(160, 48), features(257, 160)
    assert X.size > FEW_NUMBERS
    X[place] = bad
    with pytest.raises(InvalidInput) as expected:
        check_finite(X, X.dtype, "X")
    for ask in (trainer.predict, trainer.predict_proba, trainer.forward):
        with pytest.raises(InvalidInput, match=re.escape(str(expected.value))):
            ask(X)


def test_it_is_named_where_its_weights_are_zero():
    trainer, X = trainer_of(160, 48), features(257, 160)
    weights = trainer.parameters
    weights[0][0][:] = 0.0
    trainer.set_parameters(weights)
    X[200, 100] = np.inf
    with pytest.raises(InvalidInput, match="row 200, column 100"):
        trainer.predict(X)


def test_sums_that_overflow_are_no_error():
    trainer, X = trainer_of(160, 48), features(257, 160)
    X[40] = np.finfo(np.float32).max
    found = trainer.forward(X)
    assert not np.isfinite(found[40]).all()
    others = np.arange(257) != 40
    assert np.array_equal(found[others], trainer.forward(X[others]))


@pytest.mark.parametrize("layers", [[BatchNorm()], []], ids=["normalized", "plain"])
def test_large_arrays_that_are_copied_are_checked_too(layers):
    network = Network(160, [*layers, Dense(4)])  # of few units: along the inputs
    trainer = Trainer(network)
    trainer.fit(features(8, 160), np.arange(8) % 4, epochs=1)
    X = features(257, 160)
    expected = trainer.forward(X)
    assert np.array_equal(trainer.forward(np.asfortranarray(X)), expected)
    X[3, 3] = np.nan
    with pytest.raises(InvalidInput, match="row 3, column 3"):
        trainer.forward(X)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads_gives_the_same_bits(threads):
    X = features(5000, 300)
    few = np.concatenate([trainer_of(300, 100).forward(X[i : i + 40]) for i in range(0, 5000, 40)])
    assert np.array_equal(trainer_of(300, 100, threads=threads).forward(X), few)


@pytest.mark.parametrize("rows", [1, 7, 16, 40, 64, 65, 96, 130, 192, 1000, 4097])
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_no_thread_has_more_blocks_than_an_even_share(rows, threads):
    """Also where they are few rows, of a network so large that each is worth a call."""
    count = rows_of_a_call(rows, 1 << 17, threads)
    assert count < rows / threads + 8
    assert rows_of_a_call(rows, 0, threads) <= 64
    assert rows_of_a_call(100_000, 130, threads) == 192


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "n"), SHAPES)
def test_the_first_sums_say_whether_all_rows_are_finite(k, n, dtype):
    """So that X is not gone over once more: where they say nothing, it only takes longer."""
    engine, X = trainer_of(k, n, dtype)._open(), features(130, k, dtype)
    assert np.array_equal(engine.forward_if_finite(X), engine.forward(X))
    X[-1, -1] = np.nan
    assert engine.forward_if_finite(X) is None


@pytest.mark.parametrize("layers", [[BatchNorm()], [Dense(2)]], ids=["normalized", "narrow"])
def test_layers_that_read_no_rows_in_place_say_nothing(layers):
    trainer, X = Trainer(Network(160, [*layers, Dense(4)])), features(257, 160)
    trainer.fit(X[1:], np.arange(256) % 4, epochs=1)
    assert trainer._open().forward_if_finite(X) is None
    assert trainer._open().forward_if_finite(np.asfortranarray(X)) is None
