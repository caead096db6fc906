"""Steps far below the last place of a weight add up, in float32 as they do in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from simulator import SIMULATED

from fastnn import SGD, AdamW, AveragedSGD, Dense, Lion, Network, Trainer, graph
from fastnn.rules.updates import SLIGHT, make_factors
from fastnn.targets.cuda.host.scalars import DECAY, step_table

pytestmark = pytest.mark.skipif(SIMULATED, reason="thousands of steps take too long")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(20_000, 8)).astype(np.float32)
W = np.array([8, -8, 7, -7, 6, -6, 5, -5.0])
Y = X @ W + 1


def distance(rows, batch_size, rate, epochs, layers=(), **settings):
    """Return how far a linear regression ends from what it is to find."""
    network = Network(8, [*layers, Dense(1)])
    trainer = Trainer(network, loss="mse", optimizer=SGD(rate), batch_size=batch_size, **settings)
    trainer.fit(rows, Y, epochs)
    if layers:
        return trainer.evaluate(rows, Y)["loss"]
    (weights, _), *_ = trainer.parameters
    return np.abs(weights.ravel() - W).max()


@pytest.mark.parametrize("batch_size", [16, 17, 64, 1000, 1024, 1025, 20_000])
def test_a_batch_is_summed_before_it_changes_weights(batch_size):
    steps = math.ceil(20_000 / batch_size)
    epochs = math.ceil(20_000 / steps) if batch_size > 64 else 100
    # The last place of 8 is 9.5e-7, so a step is rounded away from a distance of 5e-4 on.
    assert distance(X, batch_size, 1e-3, epochs) < 5e-4


@pytest.mark.parametrize("batch_size", [64, 1000, 10_000])
@pytest.mark.parametrize("optimizer", [SGD, AveragedSGD])
def test_sparse_rows_are_summed_where_many_have_an_input(batch_size, optimizer):
    rate = {64: 1e-3, 1000: 5e-3, 10_000: 1e-2}[batch_size]
    rows = sparse.csr_matrix(X)
    ends = []
    for dtype in ("float32", "float64"):
        trainer = Trainer(
            Network(8, [Dense(1)]), loss="mse", optimizer=optimizer(rate), batch_size=batch_size,
            dtype=dtype,
        )  # fmt: skip
        trainer.fit(rows, Y, 600 if batch_size > 64 else 30)
        ends.append(trainer.parameters[0][0])
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-4)


def test_hidden_layers_follow_large_batches_to_the_end():
    hidden = [Dense(4, "identity")]
    assert distance(X, 10_000, 1e-2, 300, hidden) < 1e-9
    assert distance(sparse.csr_matrix(X), 10_000, 1e-2, 300, hidden) < 1e-9


def small_steps(wanted, rows, batch_size, optimizer=SGD, **settings):
    """Return what a weight becomes whose gradient is that of its penalty alone, and is to."""
    many = np.zeros((200_000, 1), np.float32)
    weights = np.linspace(0.7, 2.6, settings.pop("outputs", 1))
    epochs = 5 * max(1, batch_size // 50)
    network = Network(1, [Dense(len(weights))])
    trainer = Trainer(
        network, loss="mse", optimizer=optimizer, batch_size=batch_size, target="cpu", **settings
    )
    trainer.set_parameters([(weights[None], np.zeros(len(weights)))])
    trainer.fit(rows(many), np.zeros((len(many), len(weights))), epochs)
    steps = epochs * len(many) / batch_size
    return trainer.parameters[0][0][0] / weights, math.exp(-wanted * steps)


@pytest.mark.parametrize("part", [3e-8, 1e-7, 7e-7, 1.3e-5, 2e-5])
@pytest.mark.parametrize(
    ("batch_size", "outputs", "rows"),
    [
        (1, 1, np.asarray),
        (1, 3, np.asarray),
        (1, 12, np.asarray),
        (2, 1, np.asarray),
        (4, 2, np.asarray),
        (4, 1, sparse.csr_matrix),
        (2000, 1, np.asarray),
        (2000, 3, np.asarray),
        (2000, 3, sparse.csr_matrix),
    ],
)
def test_a_penalty_takes_what_it_is_to_take(part, batch_size, outputs, rows):
    found, right = small_steps(part, rows, batch_size, SGD(1e-3), l2=part / 1e-3, outputs=outputs)
    np.testing.assert_allclose(np.log(found), math.log(right), rtol=0.04)


@pytest.mark.parametrize("optimizer", [SGD(1e-3), AveragedSGD(1e-3, start=10**9)])
@pytest.mark.parametrize("l1", [0, 1e-30])
@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_so_it_does_beside_other_parts_of_a_step(optimizer, l1, batch_size):
    found, right = small_steps(1e-7, np.asarray, batch_size, optimizer, l1=l1, l2=1e-4)
    np.testing.assert_allclose(np.log(found), math.log(right), rtol=0.04)


@pytest.mark.parametrize("optimizer", [AdamW(0.5, weight_decay=3.0), Lion(0.5, weight_decay=3.0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decay_of_more_than_all_of_a_weight_is_that_of_every_target(optimizer, dtype):
    ends = []
    for target in ("numpy", "cpu"):
        trainer = Trainer(
            Network(1, [Dense(1)]), "mse", optimizer, target=target, dtype=dtype, batch_size=4
        )
        trainer.set_parameters([(np.ones((1, 1)), np.zeros(1))])
        trainer.fit(np.zeros((8, 1)), np.zeros(8), 1)
        ends.append(trainer.parameters[0][0].item())
    assert ends == [pytest.approx(0.25)] * 2


@pytest.mark.parametrize("rule", [AdamW, Lion])
@pytest.mark.parametrize("part", [3e-8, 2e-7, 4e-5])
def test_decay_takes_what_it_is_to_take(rule, part):
    optimizer = rule(1e-4, weight_decay=part / 1e-4)
    found, right = small_steps(part, np.asarray, 2, optimizer)
    np.testing.assert_allclose(np.log(found), math.log(right), rtol=0.04)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_float64_a_penalty_is_exact_in_each_step(dtype):
    trainer = Trainer(
        Network(1, [Dense(1)]), loss="mse", optimizer=SGD(1e-3), l2=1e-4, batch_size=1, dtype=dtype
    )
    trainer.set_parameters([(np.ones((1, 1)), np.zeros(1))])
    trainer.fit(np.zeros((100, 1)), np.zeros(100), 1)
    lost = 1 - float(trainer.parameters[0][0][0, 0])
    assert lost == pytest.approx(1e-5, rel=1e-5 if dtype == "float64" else 0.1)


@pytest.mark.parametrize("outputs", [1, 2, 12, 40])
@pytest.mark.parametrize("place", [0, 50, 199])
def test_a_row_of_weight_0_may_be_as_large_as_numbers_are(outputs, place):
    rows, weights = 3 * X[:200, :3], np.ones(200)
    targets = (rows @ [1, 2, 3.0])[:, None].repeat(outputs, 1)
    rows[place], weights[place] = 3e38, 0.0
    ends = []
    for target in ("cpu", "numpy"):
        trainer = Trainer(
            Network(3, [Dense(outputs)]), loss="mse", optimizer=SGD(1e-3), batch_size=1,
            target=target,
        )  # fmt: skip
        trainer.fit(rows, targets, 1, sample_weight=weights)
        ends.append(trainer.parameters[0][0])
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logarithm_of_1_minus_1_is_minus_infinity(dtype):
    ends = []
    for target in ("numpy", "cpu"):
        trainer = Trainer(
            Network(1, [Dense(1)]), lambda z, y: graph.maximum(graph.log1p(z), -5) * y, SGD(0.1),
            target=target, dtype=dtype,
        )  # fmt: skip
        trainer.set_parameters([([[1.0]], [0.0])])
        ends += trainer.fit(np.array([[-1.0], [0.5]]), np.ones(2), epochs=1).loss
    assert ends[0] == pytest.approx(ends[1]) and math.isfinite(ends[0])


@pytest.mark.parametrize("part", [0.0, 2.0**-30, 1e-8, 2.0**-20, 1e-6, 1.5e-5, 1e-3])
@pytest.mark.parametrize("first", [1, 10**6, 10**9])
def test_slight_parts_are_lost_in_multiples_whose_mean_they_are(part, first):
    lost = make_factors(np.sqrt, np.maximum).lost
    each = lost(np.full(4096, part), first + np.arange(4096.0))
    assert each.mean() == pytest.approx(part, abs=2.0**-30, rel=1e-3)
    np.testing.assert_array_equal(each, [lost(part, first + t) for t in range(4096)])
    assert lost(1e305, first) == 1e305
    if part < SLIGHT:
        np.testing.assert_array_equal(1 - each, (1 - each).astype(np.float32))


@pytest.mark.parametrize(("dtype", "slight"), [("float32", True), ("float64", False)])
def test_kernels_of_other_targets_are_given_the_same_parts(dtype, slight):
    problem = Trainer(
        Network(1, [Dense(1)]), loss="mse", optimizer=AdamW(1e-4, weight_decay=1e-3), dtype=dtype
    ).problem
    parts = step_table(problem, "adamw", np.full(4096, 1e-4), 0, 4096)[:, DECAY]
    assert parts.mean() == pytest.approx(1e-7, rel=0.02)
    assert np.allclose(parts, 1e-7, rtol=1e-9, atol=0) != slight
    # Kernels multiply them by a layer's own factor.
    slow = replace(problem, network=Network(1, [Dense(1, rate_factor=0.01)]))
    assert np.allclose(step_table(slow, "adamw", np.full(8, 1e-4), 0, 8)[:, DECAY], 1e-7, rtol=1e-9)
