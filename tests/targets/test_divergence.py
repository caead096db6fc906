"""Losses that are not finite: every target finds them in the same step, and can be used again."""

import math
from contextlib import closing

import numpy as np
import pytest
from pairs import all_pairs
from target_cases import DTYPES, OPTIMIZERS, data_of, needs_jit, problem_of, run, started, train

from fastnn.inputs.data import Data
from fastnn.network import SGD, Adam, Dense
from fastnn.rules.table import LOSSES
from fastnn.targets import numpy as reference

LAYERS = {
    "one output": [Dense(1)],
    "linear": [Dense(3)],
    "deep": [Dense(9, "relu"), Dense(9, "elu"), Dense(3)],
    "rules": [Dense(9, "gelu"), Dense(9, "silu"), Dense(9, "softplus"), Dense(3)],
}


def explode(engine_class, problem, data, threads, rate):
    with closing(started(engine_class, problem, threads)) as engine:
        [result] = train(engine, problem, data, rate=rate)
        return result


@pytest.mark.parametrize(
    ("threads", "layers", "loss", "dtype"),
    all_pairs([1, 2], LAYERS, ["mse", "poisson", "mae"], DTYPES),
)
def test_a_rate_that_explodes_is_found_in_the_numpy_targets_step(
    fast_class, threads, layers, loss, dtype
):
    # Each step multiplies errors by thousands, so that rounding cannot put the end off by a step.
    problem = problem_of(5, LAYERS[layers], loss, batch_size=2, dtype=dtype)
    data = data_of(problem, 400)
    rate = 1e4 if dtype == "float32" else 1e12
    found = explode(fast_class, problem, data, threads, rate)
    expected = explode(reference.Engine, problem, data, 1, rate)
    assert found.bad_step == expected.bad_step
    assert math.isfinite(found.loss) == math.isfinite(expected.loss) == (found.bad_step is None)
    assert loss == "mae" or found.bad_step > 0


@pytest.mark.parametrize(
    ("threads", "loss", "step", "dtype"), all_pairs([1, 2], LOSSES, [0, 3, 4], DTYPES)
)
def test_one_number_that_is_not_one_is_found_in_its_own_step(
    engine_class, threads, loss, step, dtype
):
    problem = problem_of(5, [Dense(9, "relu"), Dense(2)], loss, dtype=dtype)
    data = data_of(problem, 33)
    data.X[np.random.default_rng(0).permutation(33)[8 * step], 3] = np.nan
    with closing(started(engine_class, problem, threads)) as engine:
        [result] = train(engine, problem, data)
    assert result.bad_step == step
    assert not math.isfinite(result.loss)


@pytest.mark.parametrize(
    ("loss", "batch_size", "weighted"),
    all_pairs([name for name, row in LOSSES.items() if not row.rowwise], [1, 4], [False, True]),
)
def test_one_output_finds_it_in_its_own_step_too(engine_class, loss, batch_size, weighted):
    problem = problem_of(5, [Dense(1)], loss, batch_size=batch_size)
    data = data_of(problem, 12, weighted=weighted)
    data.X[np.random.default_rng(0).permutation(12)[9], 3] = np.nan
    with closing(started(engine_class, problem)) as engine:
        [result] = train(engine, problem, data)
    assert result.bad_step == 9 // batch_size
    assert not math.isfinite(result.loss)


@pytest.mark.parametrize(("threads", "rule", "layers"), all_pairs([1, 2], OPTIMIZERS, LAYERS))
def test_after_a_bad_step_a_restored_engine_trains_as_if_nothing_had_been(
    engine_class, threads, rule, layers
):
    problem = problem_of(5, LAYERS[layers], "mse", OPTIMIZERS[rule], dtype="float32")
    data = data_of(problem, 40)
    wild = Data(np.where(np.arange(40)[:, None] == 17, 3e38, data.X).astype("f4"), data.targets)
    expected = run(engine_class, problem, data, threads=threads)
    with closing(started(engine_class, problem, threads)) as engine:
        snapshot = engine.snapshot()
        for _ in range(2):
            assert train(engine, problem, wild)[0].bad_step is not None
            engine.restore(snapshot)
        losses = [result.loss for result in train(engine, problem, data, range(2))]
        assert losses == expected.losses
        assert np.array_equal(engine.forward(data.X), expected.outputs)


@needs_jit
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bad", [0, 1])
def test_large_layers_end_in_the_bad_step_and_go_on_after_it(fast_class, threads, bad):
    layers = [Dense(521, "relu"), Dense(523, "relu"), Dense(5)]
    problem = problem_of(20, layers, batch_size=64, dtype="float32")
    data = data_of(problem, 150)
    order = np.random.default_rng(0).permutation(150)
    X = data.X.copy()
    X[order[64 * bad + 63]] = 3e38
    expected = run(fast_class, problem, data, threads=threads, epochs=1)
    with closing(started(fast_class, problem, threads)) as engine:
        snapshot = engine.snapshot()
        assert train(engine, problem, Data(X, data.targets))[0].bad_step == bad
        engine.restore(snapshot)
        assert train(engine, problem, data)[0].loss == expected.losses[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_bad_step_makes_no_update(engine_class, threads):
    problem = problem_of(5, [Dense(9, "relu"), Dense(3)], optimizer=Adam(0.1))
    data = data_of(problem, 8)
    data.X[3] = 1e300
    with closing(started(engine_class, problem, threads)) as engine:
        before = engine.parameters()
        assert train(engine, problem, data)[0].bad_step == 0
        for pair, other in zip(before, engine.parameters(), strict=True):
            assert np.array_equal(pair[0], other[0]) and np.array_equal(pair[1], other[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_epoch_that_ends_well_has_no_bad_step_though_parameters_became_infinite(
    engine_class, dtype
):
    problem = problem_of(5, [Dense(3)], optimizer=SGD(0.1), dtype=dtype, batch_size=20)
    data = data_of(problem, 20)
    data.X[:] *= 1000
    with closing(started(engine_class, problem)) as engine:
        [result] = train(engine, problem, data, rate=float(np.finfo(dtype).max))
        assert result.bad_step is None and math.isfinite(result.loss)
        assert not engine.finite()
