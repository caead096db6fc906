"""The NumPy target's linear layer, and the random numbers of its dropout."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastnn.random.keys import splitmix64
from fastnn.targets.numpy.layers import (
    dropout_key,
    dropout_mask,
    linear_backward,
    linear_forward,
    squares32,
)

RANDOM = np.random.default_rng(0)
SHAPES = [(1, 1, 1), (1, 5, 3), (7, 1, 2), (6, 4, 1), (9, 8, 7)]


def mask(rate=0.5, shape=(8, 6), **changes) -> np.ndarray:
    settings = {"seed": 0, "epoch": 0, "step": 0, "layer": 0, "batch_size": 8, "dtype": np.float64}
    return dropout_mask(rate, shape, **(settings | changes))


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_linear_forward_is_a_dot_product_an_output(m, k, n):
    X, W, b = RANDOM.normal(size=(m, k)), RANDOM.normal(size=(k, n)), RANDOM.normal(size=n)
    expected = [[b[j] + sum(X[r] * W[:, j]) for j in range(n)] for r in range(m)]
    assert_allclose(linear_forward(X, W, b), expected, rtol=1e-12)


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_linear_backward_sums_over_paths(m, k, n):
    X, W, dZ = RANDOM.normal(size=(m, k)), RANDOM.normal(size=(k, n)), RANDOM.normal(size=(m, n))
    dX, dW, db = linear_backward(X, W, dZ)
    assert_allclose(dX, np.einsum("rj,ij->ri", dZ, W), atol=1e-12)
    assert_allclose(dW, np.einsum("ri,rj->ij", X, dZ), atol=1e-12)
    assert_allclose(db, [sum(dZ[:, j]) for j in range(n)], atol=1e-12)


def test_linear_layers_keep_float32():
    X, W, b = (np.ones(shape, np.float32) for shape in ((3, 2), (2, 4), 4))
    Z = linear_forward(X, W, b)
    assert {Z.dtype, *(each.dtype for each in linear_backward(X, W, Z))} == {np.dtype("f4")}


def test_splitmix64_gives_the_published_sequence():
    # The first numbers of Vigna's splitmix64.c from state 1234567.
    states = [1234567 + k * 0x9E3779B97F4A7C15 for k in range(5)]
    assert [splitmix64(state % 2**64) for state in states] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_squares32_gives_the_published_numbers():
    # Made with Widynski's C source: the test set of the package randomgen, two numbers a row.
    counter = np.array([0, 1, 2, 3, 1996, 1997, 1998, 1999], np.uint64)
    assert squares32(counter, 0x3BC8BCA4D301945B).tolist() == [
        0x5167EA8B,
        0x0E03102B,
        0xE59F61D7,
        0x943AC4D0,
        0x67870E15,
        0xCC703E83,
        0x433F318A,
        0x6210044B,
    ]


def test_dropout_keys_are_odd_and_differ_by_seed_epoch_and_layer():
    seeds = [0, 1, 2, 2**63 - 1]
    keys = [dropout_key(seed, e, layer) for seed in seeds for e in range(20) for layer in range(5)]
    assert len(set(keys)) == len(keys) == 400
    assert all(key % 2 == 1 and 0 < key < 2**64 for key in keys)


def test_dropout_key_mixes_seed_then_epoch_then_layer():
    inner = splitmix64((splitmix64(7) + 3) % 2**64)
    assert dropout_key(7, 3, 1) == splitmix64((inner + 1) % 2**64) | 1


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_mask_drops_its_share_and_scales_the_rest(rate):
    found = mask(rate, (500, 400), batch_size=500, seed=3)
    assert np.unique(found).tolist() == [0.0, 1 / (1 - rate)]
    deviation = np.sqrt(rate * (1 - rate) / found.size)
    assert abs(np.mean(found == 0) - rate) < 4 * deviation


def test_mask_drops_rows_and_units_alike_and_neighbours_independently():
    dropped = mask(0.3, (400, 500), batch_size=400) == 0
    for axis, count in ((0, 400), (1, 500)):
        shares = dropped.mean(axis=axis)
        # A binomial's spread: neither even, as in a pattern, nor wide, as with lines kept whole.
        assert shares.std() == pytest.approx(np.sqrt(0.3 * 0.7 / count), rel=0.15)
    assert np.mean(dropped[:, 1:] & dropped[:, :-1]) == pytest.approx(0.09, abs=0.003)
    assert np.mean(dropped[1:] & dropped[:-1]) == pytest.approx(0.09, abs=0.003)


def test_mask_is_the_same_whenever_it_is_asked_for():
    assert np.array_equal(mask(), mask())


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"step": 1}, {"layer": 1}])
def test_mask_changes_with_each_of_its_keys(change):
    assert not np.array_equal(mask(), mask(**change))


def test_mask_of_a_short_batch_is_the_top_of_a_full_one():
    assert np.array_equal(mask(shape=(3, 6), step=5), mask(step=5)[:3])


def test_mask_element_follows_the_documented_counter():
    key = dropout_key(7, 3, 1)
    found = mask(0.25, (5, 6), seed=7, epoch=3, step=11, layer=1)
    for r in range(5):
        for u in range(6):
            bits = int(squares32(np.array([11 * 8 * 6 + r * 6 + u], np.uint64), key)[0])
            assert (found[r, u] != 0) == (bits >= 2**30)


def test_mask_keeps_an_element_whose_bits_equal_the_threshold():
    bits = int(squares32(np.array([0], np.uint64), dropout_key(0, 0, 0))[0])
    assert mask(bits / 2**32, (1, 1)) != 0
    assert mask((bits + 1) / 2**32, (1, 1)) == 0


def test_mask_in_float32_drops_the_same_elements():
    narrow, wide = mask(0.2, dtype=np.float32), mask(0.2)
    assert narrow.dtype == np.float32
    assert np.array_equal(narrow == 0, wide == 0)
    assert np.array_equal(narrow, wide.astype(np.float32))


def test_mask_with_the_largest_rate_below_one_and_the_largest_seed_is_finite():
    found = mask(np.nextafter(1.0, 0.0), seed=2**63 - 1, epoch=10**6, step=10**6)
    assert np.isfinite(found).all()


def test_mask_of_rate_zero_keeps_everything_as_it_is():
    assert np.array_equal(mask(0.0), np.ones((8, 6)))
