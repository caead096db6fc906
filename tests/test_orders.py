"""The order of the rows follows from seed, epoch and number of rows, and is a fair shuffle."""

import itertools
import math

import numpy as np
import pytest
from reference_cases import problem_of
from scipy.stats import chi2, norm

from fastnn.random.keys import random_key, splitmix64
from fastnn.random.many_keys import random_keys
from fastnn.random.row_orders import epoch_order, order_key
from fastnn.random.shuffling import make_orders
from fastnn.targets.numpy import Engine

SIZES = [1, 2, 3, 50, 1001]
SEEDS = [0, 7, 2**63 - 1]
GOLDEN = 0x9E3779B97F4A7C15  # by which splitmix64 steps from one number to the next


def shuffled(seed, epoch, n):
    """Fisher and Yates' shuffle in whole numbers of any size."""
    order = list(range(n))
    for i in reversed(range(1, n)):
        u = splitmix64((order_key(seed, epoch) + (i - 1) * GOLDEN) % 2**64) >> 11
        j = u * (i + 1) >> 53
        order[i], order[j] = order[j], order[i]
    return order


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", SIZES)
def test_the_definition_is_fisher_and_yates_with_splitmix64(seed, n):
    for epoch in (0, 1, 10**6):
        order = epoch_order(seed, epoch, n)
        assert order.dtype == np.int64 and order.tolist() == shuffled(seed, epoch, n)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", SIZES)
def test_both_targets_make_the_same_orders(seed, n):
    reference = Engine(problem_of(seed=seed))
    epochs = range(3, 7)
    expected = np.stack([epoch_order(seed, epoch, n) for epoch in epochs])
    for orders in (make_orders(seed, epochs, n), reference.orders(epochs, n)):
        assert orders.dtype == np.int64 and orders.flags.c_contiguous
        assert np.array_equal(orders, expected)


def test_large_orders_are_permutations_and_the_same():
    (order,) = make_orders(3, range(5, 6), 70_001)
    assert np.array_equal(order, epoch_order(3, 5, 70_001))
    assert np.array_equal(np.sort(order), np.arange(70_001))


def test_seed_epoch_and_rows_each_change_the_order():
    orders = [epoch_order(0, 0, 50), epoch_order(1, 0, 50), epoch_order(0, 1, 50)]
    orders.append(epoch_order(0, 0, 51)[:50])
    for one, other in itertools.combinations(orders, 2):
        assert not np.array_equal(one, other)


def test_no_layer_draws_with_the_key_of_the_order():
    assert order_key(1, 2) not in {random_key(1, 2, use) for use in range(1000)}


def test_the_largest_draw_stays_within_the_order():
    rows = np.arange(1, 2**20, dtype=np.float64)
    assert np.array_equal(np.floor((1 - 2.0**-53) * rows), rows - 1)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("along", ["epochs", "seeds"])
def test_every_permutation_of_a_few_rows_is_as_likely(n, along):
    draws = 400 * math.factorial(n)
    if along == "epochs":
        orders = make_orders(11, range(draws), n)
    else:
        orders = np.vstack([make_orders(seed, range(1), n) for seed in range(draws)])
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == math.factorial(n)
    statistic = ((counts - 400) ** 2 / 400).sum()
    assert 0.001 < chi2.sf(statistic, len(counts) - 1) < 0.999


def test_every_row_comes_at_every_place_as_often():
    n, draws = 64, 20_000
    orders = make_orders(5, range(draws), n)
    counts = np.stack([np.bincount(column, minlength=n) for column in orders.T])
    statistic = ((counts - draws / n) ** 2 / (draws / n)).sum() * (n - 1) / n
    assert 0.001 < chi2.sf(statistic, (n - 1) ** 2) < 0.999


@pytest.mark.parametrize("lag", [1, 2, 7, 64])
def test_rows_near_each_other_are_not_alike(lag):
    # Of a fair shuffle, the correlation at any lag is -1/n, give or take 1/sqrt(n).
    n, epochs = 50_000, 8
    for order in make_orders(2, range(epochs), n):
        places = (order - order.mean()) / order.std()
        correlation = float(np.mean(places[lag:] * places[:-lag]))
        assert 2 * norm.sf(abs(correlation) * math.sqrt(n)) > 1e-4
    one, other = make_orders(2, range(2), n).astype(float)
    assert abs(np.corrcoef(one, other)[0, 1]) * math.sqrt(n) < 4


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("epochs", [range(0), range(3, 4), range(31), range(7, 39), range(100)])
def test_keys_of_many_epochs_are_those_of_each(seed, epochs):
    keys = random_keys(seed, epochs, 5)
    assert keys.dtype == np.uint64
    assert keys.tolist() == [random_key(seed, epoch, 5) for epoch in epochs]
    late = range(2**53 - 40, 2**53)
    assert random_keys(seed, late, 0).tolist() == [random_key(seed, each, 0) for each in late]
