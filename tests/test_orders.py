"""The order of the rows follows from seed, epoch and number of rows, whoever makes it and when."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastnn.orders import AHEAD_ROWS, Orders, epoch_order

SIZES = [1, 2, 50, AHEAD_ROWS - 1, AHEAD_ROWS, AHEAD_ROWS + 1]


@pytest.mark.parametrize("n", SIZES)
def test_orders_are_those_of_each_epoch_alone(n):
    with Orders(7, n, shuffle=True) as orders:
        for epoch in range(3, 7):
            order = orders.take(epoch, more=epoch < 6)
            expected = np.random.Generator(np.random.PCG64([7, epoch])).permutation(n)
            assert order.dtype == np.int64 and order.flags.c_contiguous
            assert np.array_equal(order, expected)


@pytest.mark.parametrize("n", [50, AHEAD_ROWS])
def test_an_epoch_that_was_not_made_ahead_is_made_at_once(n):
    with Orders(7, n, shuffle=True) as orders:
        for epoch in (0, 5, 5, 2):
            assert np.array_equal(orders.take(epoch, more=True), epoch_order(7, epoch, n))


def test_seed_epoch_and_rows_each_change_the_order():
    assert not np.array_equal(epoch_order(0, 0, 50), epoch_order(1, 0, 50))
    assert not np.array_equal(epoch_order(0, 0, 50), epoch_order(0, 1, 50))
    assert not np.array_equal(epoch_order(0, 0, 51)[:50], epoch_order(0, 0, 50))


@pytest.mark.parametrize("n", [50, AHEAD_ROWS])
def test_without_shuffling_rows_come_as_they_are(n):
    with Orders(7, n, shuffle=False) as orders:
        assert np.array_equal(orders.take(0, more=True), np.arange(n))
        assert orders.take(1, more=False).dtype == np.int64


def test_a_helper_thread_is_started_only_where_there_is_something_to_make_ahead(monkeypatch):
    started = []

    class Helper(ThreadPoolExecutor):
        def __init__(self, *arguments):
            started.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr("fastnn.orders.ThreadPoolExecutor", Helper)
    with Orders(7, AHEAD_ROWS - 1, shuffle=True) as orders:
        orders.take(0, more=True)
    with Orders(7, AHEAD_ROWS, shuffle=True) as orders:
        orders.take(0, more=False)
        assert not started
        orders.take(0, more=True)
        orders.take(1, more=True)
        assert len(started) == 1
