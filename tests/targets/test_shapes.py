"""Shapes around the sizes of tiles, vectors and caches, on every target."""

from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import all_pairs
from target_cases import (
    DTYPES,
    OPTIMIZERS,
    TOLERANCE,
    assert_follows_numpy,
    assert_layers_near,
    assert_near,
    assert_same_but_for_rounding,
    data_of,
    few,
    needs_jit,
    problem_of,
    run,
    started,
)

from fastnn.network import Dense, Dropout
from fastnn.rules.table import ACTIVATIONS
from fastnn.targets import numpy as reference

SIZES = few(
    [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 131],
    [1, 2, 7, 8, 9, 15, 16, 17, 31, 33],
)
# More than 1 MiB of weights in a layer: layers then become phases of their own, even on one thread.
LARGE = {
    "first": (521, [Dense(523, "relu"), Dense(10)]),
    "second": (20, [Dense(521, "relu"), Dense(523, "tanh"), Dense(10)]),
    "last": (521, [Dense(523)]),
    "before small ones": (521, [Dense(523, "gelu"), Dense(30, "silu"), Dense(7, "elu"), Dense(5)]),
    "two": (521, [Dense(523, "relu"), Dense(541, "softplus"), Dense(10)]),
    "softmax": (50, [Dense(521, "relu"), Dense(523, "softmax"), Dense(541, "softmax"), Dense(5)]),
    "dropout": (
        521,
        [
            Dropout(0.2),
            Dense(523, "relu"),
            Dropout(0.5),
            Dense(541, "relu"),
            Dropout(0.5),
            Dense(9),
        ],
    ),
    "no bias": (521, [Dense(523, "leaky_relu", bias=False), Dense(541, bias=False)]),
}


@pytest.mark.parametrize(
    ("size", "place", "dtype"),
    all_pairs(SIZES, ["inputs", "hidden", "outputs", "batch", "rows", "all"], DTYPES),
)
def test_any_size_follows_the_numpy_target(fast_class, size, place, dtype):
    sizes = {"inputs": 13, "hidden": 18, "outputs": 5, "batch": 10, "rows": 37}
    sizes |= dict.fromkeys(sizes, size) if place == "all" else {place: size}
    if place == "batch":
        sizes["rows"] = 2 * size + 1
    layers = [Dense(sizes["hidden"], "sigmoid"), Dense(sizes["outputs"])]
    problem = problem_of(sizes["inputs"], layers, batch_size=sizes["batch"], dtype=dtype)
    data = data_of(problem, sizes["rows"])
    assert_follows_numpy(fast_class, problem, data)


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_classes_follows_the_numpy_target(fast_class, size, dtype):
    layers = [Dense(9, "softmax"), Dense(size)]
    problem = problem_of(5, layers, "softmax_cross_entropy", dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 37, weighted=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_inputs_to_one_output_follows_the_numpy_target(fast_class, size, dtype):
    for batch_size in (1, 9, 32):
        problem = problem_of(
            size, [Dense(1)], "binary_cross_entropy", batch_size=batch_size, dtype=dtype
        )
        assert_follows_numpy(fast_class, problem, data_of(problem, 37))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_deep_network_follows_the_numpy_target(fast_class, dtype):
    layers = [Dense(3 + depth % 5, "tanh") for depth in range(60)]
    problem = problem_of(4, [*layers, Dense(2)], dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 19))


@needs_jit
@pytest.mark.parametrize(("rule", "dtype"), [("sgd", "float32"), ("adamw", "float64")])
@pytest.mark.parametrize("case", LARGE)
def test_large_layers_follow_the_numpy_target(fast_class, case, rule, dtype):
    inputs, layers = LARGE[case]
    problem = problem_of(
        inputs, layers, "huber", OPTIMIZERS[rule], batch_size=50, dtype=dtype, l2=0.01
    )
    data = data_of(problem, 70, weighted=True)
    expected = run(reference.Engine, problem, data, rate=0.01)
    for threads in (1, 2):
        found = run(fast_class, problem, data, threads=threads, rate=0.01)
        assert_same_but_for_rounding(found, expected, dtype)


@needs_jit
@pytest.mark.parametrize(("threads", "case", "rows"), all_pairs([1, 2], LARGE, [1, 9]))
def test_gradients_of_large_layers_are_the_numpy_targets(fast_class, case, threads, rows):
    inputs, layers = LARGE[case]
    problem = problem_of(inputs, layers, dtype="float32", l1=0.01)
    data = data_of(problem, rows)
    answers = []
    for each in (fast_class, reference.Engine):
        with closing(started(each, problem, threads)) as engine:
            answers.append(engine.gradients(data))
    assert answers[0][0] == pytest.approx(answers[1][0], rel=TOLERANCE["float32"])
    assert_layers_near(answers[0][1], answers[1][1], TOLERANCE["float32"])


@needs_jit
@pytest.mark.parametrize(("units", "dtype"), [(3, "float64"), (3, "float32"), (75, "float32")])
def test_long_sums_over_inputs_and_over_rows_follow_the_numpy_target(fast_class, units, dtype):
    # Longer than the block of a sum that stays in a cache.
    problem = problem_of(2100, [Dense(units, "tanh"), Dense(2)], batch_size=1500, dtype=dtype)
    assert_follows_numpy(fast_class, problem, data_of(problem, 2000))


@needs_jit
@pytest.mark.parametrize("batch_size", [24, 25, 48, 49, 57, 63, 64, 65, 79, 80, 81, 129])
@pytest.mark.parametrize("columns", [1000, 9])
def test_any_number_of_rows_shares_a_list_of_inputs(fast_class, batch_size, columns):
    """Where all inputs are used, and where each row uses few."""
    problem = problem_of(1000, [Dense(40, "tanh"), Dense(3)], batch_size=batch_size)
    data = data_of(problem, 2 * batch_size + 5)
    random = np.random.default_rng(0)
    for row in data.X:
        row[random.permutation(1000)[columns:]] = 0
    assert_follows_numpy(fast_class, problem, data)


@needs_jit
@pytest.mark.parametrize(
    ("dtype", "activation", "threads"), all_pairs(DTYPES, ["gelu", "softmax"], [1, 2, 3])
)
def test_many_rows_are_predicted_as_the_numpy_target_does(fast_class, dtype, activation, threads):
    # Enough work for more than one thread to take part, many times over: races would show.
    problem = problem_of(100, [Dense(100, activation), Dense(60, "softmax")], dtype=dtype)
    X = data_of(problem, 10_007).X
    with closing(started(reference.Engine, problem)) as engine:
        expected = engine.forward(X)
    with closing(started(fast_class, problem, threads)) as engine:
        found = engine.forward(X)
        assert_near([found], [expected], TOLERANCE[dtype])
        for _ in range(3):
            assert np.array_equal(engine.forward(X), found)


@pytest.mark.parametrize("rows", [1, 62, 63, 64, 126, 127])
def test_rows_are_predicted_one_by_one_as_together(engine_class, rows):
    problem = problem_of(7, [Dense(20, "gelu"), Dense(5, "softmax")])
    X = data_of(problem, rows).X
    with closing(started(engine_class, problem)) as engine:
        together = engine.forward(X)
        alone = np.vstack([engine.forward(X[r : r + 1]) for r in range(rows)])
    np.testing.assert_allclose(together, alone, rtol=1e-13)


SIZE = st.integers(1, few(40, 9))
HIDDEN = st.tuples(SIZE, st.sampled_from(sorted(ACTIVATIONS)))


@settings(derandomize=True, max_examples=few(60, 30))
@given(
    inputs=SIZE,
    hidden=st.lists(HIDDEN, max_size=3),
    outputs=SIZE,
    rows=st.integers(1, few(70, 20)),
    batch_size=st.integers(1, few(80, 25)),
    steps=st.tuples(st.sampled_from([1, 2, -1, -3]), st.sampled_from([1, 2, -1])),
    rule=st.sampled_from(sorted(OPTIMIZERS)),
    rate=st.sampled_from([0.0, 0.4]),
    dtype=st.sampled_from(DTYPES),
    threads=st.integers(1, 3),
)
def test_any_network_follows_the_numpy_target(
    fast_class, inputs, hidden, outputs, rows, batch_size, steps, rule, rate, dtype, threads
):
    layers = [Dense(units, activation) for units, activation in hidden]
    problem = problem_of(
        inputs,
        [*layers, Dropout(rate), Dense(outputs)],
        optimizer=OPTIMIZERS[rule],
        batch_size=batch_size,
        dtype=dtype,
    )
    data = data_of(problem, rows)
    spread = np.zeros((rows * abs(steps[0]), inputs * abs(steps[1])), dtype)
    view = spread[:: steps[0], :: steps[1]]
    view[:] = data.X
    assert_follows_numpy(
        fast_class, problem, type(data)(view, data.targets), threads=threads, rate=0.02
    )
