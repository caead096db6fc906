"""Rows shuffled within windows: which orders there are, and that they can be made in parts."""

import numpy as np
import pytest
from reference_cases import problem_of
from scipy.stats import chi2
from trainer_cases import LABELS, TARGETS, X, state_of, trainer_of

from fastnn import Dense, Diverged, InvalidInput, Network, Trainer, sweep
from fastnn.random import shuffling
from fastnn.random.keys import random_key
from fastnn.random.row_orders import epoch_order, shuffled
from fastnn.random.shuffling import make_orders
from fastnn.random.windows import BLOCKS_IN_WINDOW, InOrder, WindowOrder
from fastnn.targets.numpy import Engine

SIZES = [(3, 2), (7, 2), (50, 49), (1000, 100), (1000, 999), (1001, 128), (5000, 640)]
SHUFFLES = {"definition": shuffled, "compiled": shuffling.shuffled}


def by_hand(seed, epoch, n, window):
    """Return the order in whole numbers and lists: blocks in random order, windows shuffled."""

    def in_order(key, count):
        return shuffled(np.array([key], np.uint64), count)[0].tolist()

    size = max(1, window // 64)
    offset = (random_key(seed, epoch, int.from_bytes(b"blocks", "big") + 1) >> 11) * size >> 53
    blocks, row = [], 0
    while row < n:
        length = offset if row == 0 and offset else size
        blocks.append(list(range(n))[row : row + length])
        row += length
    places = in_order(random_key(seed, epoch, int.from_bytes(b"blocks", "big")), len(blocks))
    rows = [row for place in places for row in blocks[place]]
    order = []
    for k in range(-(-n // window)):
        own = rows[k * window : (k + 1) * window]
        key = random_key_of_window(seed, epoch, k)
        order += [own[place] for place in in_order(key, len(own))]
    return order


def random_key_of_window(seed, epoch, window):
    """Return the key of a window: the one after as many in the sequence of its epoch's."""
    from fastnn.random.keys import WORD, splitmix64

    first = random_key(seed, epoch, int.from_bytes(b"window", "big"))
    return splitmix64((first + window) % WORD)


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize(("n", "window"), SIZES)
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_orders_are_blocks_in_random_order_shuffled_within_windows(seed, n, window, shuffle):
    for epoch in (0, 1, 10**6):
        order = WindowOrder(seed, epoch, n, window, SHUFFLES[shuffle])[:]
        assert order.dtype == np.int64 and order.tolist() == by_hand(seed, epoch, n, window)


@pytest.mark.parametrize(("n", "window"), SIZES)
def test_every_row_comes_once_and_from_the_runs_of_its_window(n, window):
    order = WindowOrder(5, 2, n, window, shuffled)
    assert sorted(order[:].tolist()) == list(range(n)) and len(order) == n
    for k in range(order.windows):
        rows = [row for start, stop in order.runs(k, k + 1) for row in range(start, stop)]
        assert sorted(order[k * window : (k + 1) * window].tolist()) == sorted(rows)
        assert len(order.runs(k, k + 1)) <= 2 * BLOCKS_IN_WINDOW + 2
    for first, last in ((0, order.windows), (1, 3)):
        lengths = np.diff(order.runs(first, last)).sum()
        assert lengths == max(0, min(n, last * window) - first * window)


@pytest.mark.parametrize("step", [1, 13, 700])
@pytest.mark.parametrize(("n", "window"), SIZES)
def test_parts_of_an_order_are_the_order(n, window, step):
    whole = WindowOrder(1, 0, n, window, shuffled)[:]
    order = WindowOrder(1, 0, n, window, shuffled)
    ascending = range(0, n, step)
    for first in (*ascending, *reversed(ascending)):
        for more in (0, 1, window + 3):
            rows = order[first : first + step + more]
            assert np.array_equal(rows, whole[first : first + step + more])
    assert np.array_equal(InOrder(n, window)[3:step], np.arange(n)[3:step])


def test_seed_epoch_rows_and_window_each_change_the_order():
    arguments = {"seed": 0, "epoch": 0, "n": 500, "window": 100}
    first = WindowOrder(**arguments, shuffle=shuffled)[:]
    for name, value in (("seed", 1), ("epoch", 1), ("n", 501), ("window", 101)):
        other = WindowOrder(**(arguments | {name: value}), shuffle=shuffled)[:500]
        assert not np.array_equal(first, other), name


@pytest.mark.parametrize("window", [None, 50, 51, 10**9])
def test_a_window_of_all_rows_shuffles_them_as_ever(window):
    orders = make_orders(3, range(4, 6), 50, window)
    assert np.array_equal(orders, [epoch_order(3, epoch, 50) for epoch in (4, 5)])


def test_targets_make_the_same_orders_within_windows():
    reference = Engine(problem_of(seed=9))
    expected = reference.orders(range(3), 777, 130)
    assert np.array_equal(make_orders(9, range(3), 777, 130), expected)


def test_every_row_comes_at_every_place_as_often():
    n, window, draws = 40, 8, 20_000
    orders = make_orders(5, range(draws), n, window)
    counts = np.stack([np.bincount(column, minlength=n) for column in orders.T])
    statistic = ((counts - draws / n) ** 2 / (draws / n)).sum() * (n - 1) / n
    assert 0.001 < chi2.sf(statistic, (n - 1) ** 2) < 0.999


def test_neighbours_part_where_the_offset_of_blocks_does():
    n, window = 6400, 1280  # blocks of 20 rows: their edges are drawn anew each epoch
    edges = []
    for epoch in range(200):
        runs = WindowOrder(0, epoch, n, window, shuffled).runs(0, 5)
        edges.append(runs[:, 0][runs[:, 0] > 0].min() % 20)
    counts = np.bincount(edges, minlength=20)
    assert counts.min() > 0 and counts.max() < 30  # 10 each, give or take 3


def test_a_window_has_its_share_of_every_class_of_sorted_rows():
    n, window = 60_000, 6000  # 64 blocks of 93 rows, of ten classes
    classes, counts = np.arange(n) * 10 // n, []
    for epoch in range(50):
        rows = WindowOrder(0, epoch, n, window, shuffling.shuffled)[:]
        counts += [np.bincount(classes[own], minlength=10) for own in rows.reshape(10, window)]
    assert np.mean(counts) == 600
    # 93 sqrt(64 0.1 0.9 (1 - 64 / 645)): of 645 blocks 64 are drawn, and not put back.
    assert 190 < np.std(counts) < 235


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("settings", [{}, {"batch_size": 1}, {"threads": 2}, {"batch_size": 37}])
def test_epochs_use_the_order_of_the_window(target, settings):
    trainer = trainer_of(target=target, shuffle=9, seed=4, **settings)
    trainer.fit(X, LABELS, epochs=3)
    other = trainer_of(target=target, shuffle=False, seed=4, **settings)
    for epoch in range(3):  # rows put in order beforehand; without dropout all else is the same
        rows = WindowOrder(4, epoch, len(X), 9, shuffled)[:]
        other.fit(X[rows], LABELS[rows], epochs=1)
    assert state_of(trainer)[:2] == state_of(other)[:2]
    for layer, expected in zip(trainer.parameters, other.parameters, strict=True):
        for array, wanted in zip(layer, expected, strict=True):
            np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_parts_of_a_training_are_the_training(target, tmp_path):
    whole, parts = (trainer_of(target=target, shuffle=10) for _ in range(2))
    whole.fit(X, LABELS, epochs=5)
    parts.fit(X, LABELS, epochs=2)
    parts.save(tmp_path / "model")
    later = Trainer.load(tmp_path / "model")
    assert later.shuffle == 10 and type(later.shuffle) is int
    later.fit(X, LABELS, epochs=3)
    assert state_of(later) == state_of(whole)


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_have_windows_of_their_own(target):
    together = trainer_of(target=target, shuffle=np.int64(10))
    together.fit(X, LABELS, epochs=3, restarts=3)
    alone = trainer_of(target=target, shuffle=10, seed=together.seed)
    alone.fit(X, LABELS, epochs=3)
    assert together.shuffle == 10
    np.testing.assert_allclose(together.history.loss, alone.history.loss, rtol=1e-5)


def test_windows_are_set_and_swept():
    trainer = trainer_of()
    assert trainer.set(shuffle=20) == "shuffle True -> 20"
    trainer.shuffle = 30
    result = sweep(trainer, X, LABELS, 2, grid={"shuffle": [True, False, 10]})
    assert len({run.training_loss for run in result}) == 3
    with pytest.raises(InvalidInput, match="at least 2.* not 0"):
        trainer.shuffle = 0
    assert trainer.shuffle == 30


def test_chunks_one_after_another_have_orders_of_their_own():
    trainer = trainer_of(layers=[Dense(3)], shuffle=10)
    for chunk in range(3):
        rows = slice(chunk * 12, chunk * 12 + 12)
        trainer.fit(X[rows], LABELS[rows], epochs=1)
    assert trainer.epoch == 3
    orders = [WindowOrder(0, epoch, 12, 10, shuffled)[:].tolist() for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 3


def test_divergence_within_windows_is_found_in_its_own_step():
    huge = Trainer(Network(4, [Dense(3)]), loss="mse", batch_size=5, shuffle=10, target="numpy")
    with pytest.raises(Diverged):
        huge.fit(X * 1e19, np.zeros((37, 3)), epochs=3)
    assert huge.epoch == 0
