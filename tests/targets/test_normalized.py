"""Normalization on the CPU target: hostile shapes against the NumPy target, and many threads."""

from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from simulator import SIMULATED
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    assert_layers_near,
    assert_near,
    assert_runs_near,
    data_of,
    needs_jit,
    problem_of,
    run,
    started,
    train,
)

from fastnn.inputs.data import Data
from fastnn.network import BatchNorm, Dense, Dropout, LayerNorm
from fastnn.targets import numpy as reference
from fastnn.targets.cpu import engine as cpu

pytestmark = pytest.mark.skipif(SIMULATED, reason="CUDA does not have normalization yet")

TARGETS = cpu.Engine, reference.Engine
# A panel is 32 or 16 numbers wide in float32 with AVX-512, and 16 or 8 in float64.
WIDTHS = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65]
NORMS = {"batch": BatchNorm, "layer": LayerNorm}
# inputs, layers made of a norm, batch size, rows
NETWORKS = {
    "first": (37, lambda norm: [norm(), Dense(33, "relu"), Dense(3)], 16, 50),
    "narrow first layer": (97, lambda norm: [Dense(3), norm(activation="tanh"), Dense(2)], 33, 99),
    "two in a row": (9, lambda norm: [Dense(17), norm(), norm(activation="elu"), Dense(3)], 8, 26),
    "dropped": (
        20,
        lambda norm: [
            Dropout(0.2), norm(), Dropout(0.3), Dense(33), norm(activation="relu"), Dropout(0.5),
            Dense(3),
        ],
        16,
        50,
    ),
    "dropped twice": (
        20, lambda norm: [Dense(33), Dropout(0.3), norm(activation="gelu"), Dropout(0.1), Dense(3)],
        16, 50,
    ),
    "slopes": (
        13, lambda norm: [Dense(17, "prelu"), norm(activation="prelu"), Dense(9, "prelu")], 8, 34,
    ),
    "drawn slopes": (
        13, lambda norm: [Dense(17, "rrelu"), norm(activation="rrelu"), Dense(9)], 8, 34,
    ),
    "softmax": (
        13, lambda norm: [Dense(35, "softmax"), norm(activation="softmax"), Dense(9)], 8, 34,
    ),
    "max_norm": (
        13, lambda norm: [Dense(35, max_norm=1.0), norm(activation="relu"), Dense(9)], 8, 34,
    ),
    "large layers": (
        131,
        lambda norm: [
            norm(), Dense(260), norm(activation="relu"), Dense(263), norm(activation="silu"),
            Dense(9),
        ],
        70,
        212,
    ),
    "large layers of softmax": (
        131,
        lambda norm: [Dense(200, "softmax"), norm(), Dense(210, "softmax"), norm(), Dense(9)],
        64,
        150,
    ),
    "both kinds": (
        30,
        lambda norm: [LayerNorm(), Dense(40), norm(), Dense(35, "tanh"), LayerNorm(), Dense(3)],
        16,
        60,
    ),
}  # fmt: skip
TOLERANCE = {"float32": 3e-4, "float64": 1e-10}


def assert_follows(problem, data, **settings):
    """Check a few epochs in float64, and in float32 the first step.

    After a batch normalization the gradient of some parameters is zero but for rounding, such as of
    a bias before it: state slots then have nothing but that, and Adam makes steps of it.
    """
    if problem.dtype == np.float64:
        found, expected = (run(each, problem, data, **settings) for each in TARGETS)
        assert_runs_near(found, expected, TOLERANCE["float64"])
        return
    first = Data(
        *(
            each if each is None else each[: problem.batch_size]
            for each in (data.X, data.targets, data.weights)
        )
    )
    runs = [run(each, problem, first, epochs=1, **settings) for each in TARGETS]
    found, expected = (each._replace(slots=[]) for each in runs)
    assert_runs_near(found, expected, TOLERANCE["float32"])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_width_follows_the_numpy_target(width, dtype, norm):
    layers = [Dense(width, "tanh"), NORMS[norm](activation="relu"), Dense(3)]
    problem = problem_of(5, layers, batch_size=6, dtype=dtype, optimizer=OPTIMIZERS["momentum"])
    assert_follows(problem, data_of(problem, 20))


@pytest.mark.parametrize(
    ("network", "norm", "rule", "dtype"),
    # Of Lion one rounding decides on a sign, where a gradient is nothing but that.
    all_pairs(NETWORKS, NORMS, [rule for rule in OPTIMIZERS if rule != "lion"], DTYPES),
)
def test_every_place_follows_the_numpy_target_with_every_optimizer(network, norm, rule, dtype):
    inputs, layers, batch_size, rows = NETWORKS[network]
    problem = problem_of(
        inputs, layers(NORMS[norm]), optimizer=OPTIMIZERS[rule], batch_size=batch_size, dtype=dtype
    )
    assert_follows(problem, data_of(problem, rows, weighted=True), rate=0.01)


@pytest.mark.parametrize("norm", NORMS)
def test_lion_follows_the_numpy_target(norm):
    layers = [NORMS[norm](), Dense(17, "tanh"), Dense(3)]
    problem = problem_of(5, layers, optimizer=OPTIMIZERS["lion"], batch_size=6)
    assert_follows(problem, data_of(problem, 20))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "limits", [{"clip_norm": 0.1}, {"clip_value": 0.01}, {"l1": 0.01}], ids=str
)
@pytest.mark.parametrize("network", ["slopes", "large layers"])
def test_limits_and_penalties_follow_the_numpy_target(network, limits, norm):
    inputs, layers, batch_size, rows = NETWORKS[network]
    problem = problem_of(inputs, layers(NORMS[norm]), batch_size=batch_size, **limits)
    assert_follows(problem, data_of(problem, rows))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("batch_size", "rows"), [(2, 2), (2, 6), (3, 5), (50, 2)])
def test_batches_of_two_rows_follow_the_numpy_target(batch_size, rows, norm):
    layers = [Dense(9), NORMS[norm](epsilon=0.1, activation="tanh"), Dense(3)]
    problem = problem_of(5, layers, batch_size=batch_size)
    assert_follows(problem, data_of(problem, rows))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("network", ["first", "dropped", "slopes", "drawn slopes", "large layers"])
@pytest.mark.parametrize("rule", ["adam", "averaged"])
def test_gradients_over_all_rows_are_those_of_the_numpy_target(rule, network, norm):
    inputs, layers, _, rows = NETWORKS[network]
    problem = problem_of(inputs, layers(NORMS[norm]), optimizer=OPTIMIZERS[rule], l2=0.1)
    data = data_of(problem, rows, weighted=True)
    with (
        closing(started(cpu.Engine, problem)) as engine,
        closing(started(reference.Engine, problem)) as expected,
    ):
        loss, gradients = engine.gradients(data)
        wanted_loss, wanted = expected.gradients(data)
    assert loss == pytest.approx(wanted_loss, rel=1e-12)
    assert_layers_near(gradients, wanted, 1e-10)


@needs_jit
@pytest.mark.parametrize(
    ("network", "norm", "rule", "dtype"), all_pairs(NETWORKS, NORMS, ["sgd", "adamw"], DTYPES)
)
def test_every_number_of_threads_gives_the_same_bits(network, norm, rule, dtype):
    inputs, layers, batch_size, rows = NETWORKS[network]
    problem = problem_of(
        inputs, layers(NORMS[norm]), optimizer=OPTIMIZERS[rule], batch_size=batch_size, dtype=dtype,
        clip_norm=1.0 if rule == "adamw" else None,
    )  # fmt: skip
    data = data_of(problem, rows)
    expected = run(cpu.Engine, problem, data, rate=0.01).bits()
    for threads in (2, 3, 5):
        found = run(cpu.Engine, problem, data, threads=threads, rate=0.01).bits()
        assert found == expected, f"{threads} threads"


def test_statistics_of_columns_far_from_zero_keep_their_digits():
    # Mean 1e4 and deviation 1: squares less the mean's square would have lost all of it.
    problem = problem_of(3, [BatchNorm(momentum=1.0), Dense(2)], batch_size=500, dtype="float32")
    data = data_of(problem, 500)
    data.X[:] += 1e4
    for target in TARGETS:
        with closing(started(target, problem)) as engine:
            train(engine, problem, data)
            _, _, mean, variance = engine.parameters()[0]
        X = data.X.astype(np.float64)
        assert_near([mean], [X.mean(axis=0).astype(np.float32)], 1e-7)
        assert_near([variance], [X.var(axis=0, ddof=1).astype(np.float32)], 1e-4)
