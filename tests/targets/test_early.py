"""Two threads, each of which begins its columns of the next step before the other ends this one."""

import os
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import DTYPES, OPTIMIZERS, data_of, needs_jit, problem_of, run

from fastnn.network import BatchNorm, Dense, Dropout
from fastnn.targets.cpu.plan import FIRST_TRAINED, LEFT_OVER, MIDDLE, make_plan
from fastnn.targets.layout import Layout
from fastnn.threads import crowding

LAYOUTS = {"wide": Layout(16, 32), "double": Layout(8, 16), "narrow": Layout(4, 8)}
BEGUN = {
    "even": [Dense(128, "relu"), Dense(10)],
    "of which the first has more": [Dense(100, "sigmoid"), Dense(10)],
    "of which the second has more": [Dense(144, "gelu"), Dense(10)],
    "two hidden layers": [Dense(200, "tanh"), Dense(130, "relu"), Dense(3)],
    "dropout": [Dropout(0.2), Dense(145, "relu"), Dropout(0.4), Dense(9)],
    "random slopes": [Dense(97, "rrelu"), Dense(64, "silu"), Dense(6)],
    "normalized": [Dense(111, "relu"), BatchNorm(), Dense(40, "tanh"), Dense(7)],
}
NOT_BEGUN = {
    "softmax of the layer": [Dense(128, "softmax"), Dense(10)],
    "trainable slopes": [Dense(128, "prelu"), Dense(10)],
    "limited columns": [Dense(128, "relu", max_norm=1.0), Dense(10)],
    "not trained": [Dense(128, "relu", trainable=False), Dense(10)],
    "small": [Dense(8, "relu"), Dense(10)],
}


def case(layers, batch_size=50, dtype="float32", rule="momentum", **settings):
    return problem_of(
        301, layers, "softmax_cross_entropy", OPTIMIZERS[rule], batch_size=batch_size,
        dtype=dtype, **settings,
    )  # fmt: skip


@contextmanager
def one_processor():
    """Hold all threads to one processor, so that each is stopped anywhere."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("threads cannot be held to one processor here")
    before = os.sched_getaffinity(0)

    def hold(processors):
        for thread in threading.enumerate():
            os.sched_setaffinity(thread.native_id, processors)

    hold({min(before)})
    try:
        yield
    finally:
        hold(before)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("network", BEGUN)
def test_both_threads_do_as_much_and_what_is_early_is_their_own(network, layout):
    layout = LAYOUTS[layout]
    problem = case(BEGUN[network])
    plan = make_plan(problem, 220, layout, 2)
    middle, (start, cut, end) = plan.head[MIDDLE], plan.owners.tolist()
    assert 0 < middle < layout.panels(problem.network.widths[0][1])
    count = np.zeros((301, layout.panels(problem.network.widths[0][1])), int)
    for who, tiles in enumerate((plan.tiles[start:cut], plan.tiles[cut:end])):
        first = tiles[:, 0] == 0
        # The other layers come first, then columns of the other, then its own.
        assert (np.diff(first.astype(int)) >= 0).all()
        own = [(p0 >= middle) == (who == 1) for _, _, _, p0, _ in tiles[first].tolist()]
        assert own == sorted(own) and own[-1]
        for _, k0, k1, p0, p1 in tiles[first].tolist():
            assert p1 <= middle or p0 >= middle
            count[k0:k1, p0:p1] += 1
    assert (count == 1).all()
    # Vectors of columns times inputs, of the first layer and its update together.
    vectors = layout.padded(problem.network.widths[0][1]) // layout.lanes
    before = min(vectors, 2 * middle)
    forward = np.array([before, vectors - before]) * 301
    update = [
        sum(
            (k1 - k0) * (min(vectors, 2 * p1) - 2 * p0)
            for layer, k0, k1, p0, p1 in tiles.tolist()
            if layer == 0
        )
        for tiles in (plan.tiles[start:cut], plan.tiles[cut:end])
    ]
    both = forward + update
    assert abs(both[0] - both[1]) <= 2 * layout.panel * max(forward) / 301
    assert (plan.head[LEFT_OVER] > 0) == (2 * before != vectors)


@pytest.mark.parametrize("network", NOT_BEGUN)
def test_what_another_may_want_is_not_begun_early(network):
    plan = make_plan(case(NOT_BEGUN[network]), 220, LAYOUTS["wide"], 2)
    assert plan.head[MIDDLE] == 0
    if network == "not trained":
        assert plan.head[FIRST_TRAINED] == 1


def test_a_gradient_that_is_limited_as_a_whole_or_three_threads_begin_nothing_early():
    assert make_plan(case(BEGUN["even"], clip_norm=1.0), 220, LAYOUTS["wide"], 2).head[MIDDLE] == 0
    assert make_plan(case(BEGUN["even"]), 220, LAYOUTS["wide"], 3).head[MIDDLE] == 0


@needs_jit
@pytest.mark.parametrize(
    ("network", "rule", "dtype", "batch_size"),
    all_pairs(BEGUN | NOT_BEGUN, ["sgd", "momentum", "adamw"], DTYPES, [16, 50, 97]),
)
def test_two_threads_give_the_bits_of_one(fast_class, network, rule, dtype, batch_size):
    problem = case((BEGUN | NOT_BEGUN)[network], batch_size, dtype, rule, l2=1e-4)
    data = data_of(problem, 220, weighted=True)
    expected = run(fast_class, problem, data, epochs=4, rate=0.01).bits()
    for _ in range(3):
        found = run(fast_class, problem, data, threads=2, epochs=4, rate=0.01).bits()
        assert found == expected


@needs_jit
@pytest.mark.parametrize("network", BEGUN)
def test_threads_that_are_stopped_anywhere_give_the_same_bits(fast_class, network, monkeypatch):
    monkeypatch.setattr(crowding.CROWDING, "wants_one", lambda now: False)
    problem = case(BEGUN[network], 16)
    data = data_of(problem, 220)
    expected = run(fast_class, problem, data, epochs=60, rate=0.01).bits()
    with one_processor():
        found = run(fast_class, problem, data, threads=2, epochs=60, rate=0.01).bits()
    assert found == expected
