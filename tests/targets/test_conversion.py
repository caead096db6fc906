"""X of bytes, integers and half precision is read where it lies, to the bits of its floats."""

import tracemalloc

import numpy as np
import pytest
from checker import unchecked
from pairs import all_pairs
from target_cases import DTYPES, OPTIMIZERS, data_of, few, problem_of, run, started
from test_inputs import KINDS, LAYOUTS, sparse

from fastnn.inputs.data import READABLE, Data
from fastnn.network import BatchNorm, Dense, Dropout, LayerNorm

SMALL = [dtype.name for dtype in READABLE if dtype.name not in DTYPES]
PLACES = [layout for layout in LAYOUTS if layout != "the other float"]
# By what reads the rows: a linear model, few outputs, panels of every kind, and dropout.
FIRST = {
    "one output": [Dense(1)],
    "one output that is not linear": [Dense(1, "tanh")],
    "few outputs": [Dense(3)],
    "a few hidden units": [Dense(5, "tanh"), Dense(3)],
    "hidden units": [Dense(few(70, 20), "relu"), Dense(3)],
    "many hidden units": [Dense(few(520, 40), "relu"), Dense(3)],
    "dropout": [Dropout(0.3), Dense(20, "relu"), Dense(3)],
    "LayerNorm": [LayerNorm(), Dense(9, "relu"), Dense(3)],
    "BatchNorm": [BatchNorm(), Dense(9, "relu"), Dense(3)],
}


def small_numbers(dtype, shape, seed=0):
    """Return an array of a dtype that has its least, its largest, and all between."""
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return random.random(shape) < 0.5
    if dtype == "float16":
        X = random.normal(size=shape).astype(dtype)
        X.flat[:4] = 0.0, -0.0, np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).tiny / 2
        return X
    limits = np.iinfo(dtype)
    return random.integers(max(limits.min, -9), min(limits.max, 9), shape, dtype, endpoint=True)


def pair_of(problem, n, dtype, layout="C", kind="all used"):
    """Return two data of the same numbers: in the dtype as they lie, and as floats."""
    data = data_of(problem, n)
    X = sparse(small_numbers(dtype, data.X.shape), kind)
    lying = LAYOUTS[layout](X)
    assert lying.dtype == dtype
    floats = lying.astype(problem.dtype)
    return Data(lying, data.targets, None), Data(floats, data.targets, None)


def assert_same_bits(engine, problem, pair, **settings):
    """Check that two data that are the same numbers come to the same bits."""
    found, expected = (run(engine, problem, data, rate=1e-4, **settings) for data in pair)
    assert found.bits() == expected.bits()


@pytest.mark.parametrize(
    ("dtype", "first", "layout", "batch_size", "own"),
    all_pairs(SMALL, FIRST, PLACES, few([1, 33, 64, 100], [1, 8]), DTYPES),
)
def test_small_numbers_train_to_the_bits_of_floats(
    engine_class, target, dtype, first, layout, batch_size, own
):
    normalized = first in ("LayerNorm", "BatchNorm")
    if normalized and target.startswith("cuda"):
        pytest.skip("CUDA has no normalization")
    batch_size = max(2, batch_size) if first == "BatchNorm" else batch_size
    problem = problem_of(few(150, 13), FIRST[first], batch_size=batch_size, dtype=own)
    assert_same_bits(engine_class, problem, pair_of(problem, few(134, 20), dtype, layout))


@pytest.mark.parametrize("inputs", few([1, 2, 15, 16, 17, 31, 33, 127, 129, 300], [1, 7, 17]))
@pytest.mark.parametrize("first", ["one output", "few outputs", "hidden units", "dropout"])
def test_rows_of_every_width_are_converted(engine_class, first, inputs):
    problem = problem_of(inputs, FIRST[first], batch_size=few(32, 8))
    assert_same_bits(engine_class, problem, pair_of(problem, few(75, 20), "uint8"))


@pytest.mark.parametrize(
    ("kind", "rule", "dtype"), all_pairs(KINDS, OPTIMIZERS, ["int8", "uint16", "float16"])
)
def test_columns_of_zeros_are_left_out_of_copies_too(fast_class, kind, rule, dtype):
    problem = problem_of(
        few(200, 13), FIRST["hidden units"], optimizer=OPTIMIZERS[rule], batch_size=few(70, 8),
        l2=0.1,
    )  # fmt: skip
    assert_same_bits(fast_class, problem, pair_of(problem, few(200, 20), dtype, kind=kind))


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("units", few([15, 70, 300], [5, 20]))
@pytest.mark.parametrize("kind", ["all used", "margin", "rare"])
def test_threads_share_converted_rows(fast_class, kind, units, threads):
    layers = [Dense(units, "tanh"), Dense(3)]
    problem = problem_of(few(400, 13), layers, batch_size=few(128, 16))
    pair = pair_of(problem, few(300, 40), "uint8", kind=kind)
    assert_same_bits(fast_class, problem, pair, threads=threads)
    alone, together = (run(fast_class, problem, pair[0], threads=t) for t in (1, threads))
    assert alone.bits() == together.bits()


@pytest.mark.parametrize("own", DTYPES)
@pytest.mark.parametrize("dtype", SMALL)
def test_every_number_becomes_what_numpy_makes_of_it(fast_class, dtype, own):
    """Through a model that gives its input back."""
    bits = np.arange(1 << min(16, 8 * np.dtype(dtype).itemsize), dtype=np.uint32)
    if dtype in ("int32", "uint32"):
        random = np.random.default_rng(0).integers(0, 1 << 32, 1000, np.uint32)
        X = np.concatenate([random, [0, 2**31 - 1, 2**31, 2**32 - 1, 2**24 + 1]]).astype(np.uint32)
        X = X.view(dtype)
    else:
        X = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    X = X[:: few(1, 37)].reshape(-1, 1)
    problem = problem_of(1, [Dense(1)], dtype=own)
    engine = started(fast_class, problem)
    engine.load([(np.ones((1, 1)), np.zeros(1))], [])
    found = engine.forward(X)
    engine.close()
    with np.errstate(invalid="ignore"):  # of signalling NaN
        expected = X.astype(own) + np.dtype(own).type(0)
    assert np.array_equal(found, expected, equal_nan=True)


def test_the_target_reads_all_that_the_inputs_leave_as_it_is():
    from fastnn.targets.cpu.dtypes import SOURCES

    assert set(SOURCES) == set(READABLE)


def test_the_weights_of_rows_and_a_second_fit_change_nothing(engine_class):
    problem = problem_of(few(40, 9), [Dense(3)], batch_size=8)
    bytes_, floats = pair_of(problem, 30, "int8")
    weights = np.random.default_rng(1).random(30)
    pair = [Data(data.X, data.targets, weights) for data in (bytes_, floats)]
    assert_same_bits(engine_class, problem, pair, epochs=3)


@unchecked
@pytest.mark.parametrize("first", ["one output", "few outputs", "hidden units"])
def test_no_array_of_floats_is_made_of_bytes(first):
    from fastnn.targets.selection import engine_class

    problem = problem_of(100, FIRST[first], batch_size=64)
    pair = pair_of(problem, 20_000, "uint8")
    with_bytes = pair[0]
    run(engine_class("cpu"), problem, with_bytes, epochs=1, rate=1e-6)
    tracemalloc.start()
    try:
        with_engine = started(engine_class("cpu"), problem)
        order, rates = np.arange(20_000), np.full(-(-20_000 // 64), 1e-6)
        with_engine.train_epoch(with_bytes, order, rates, 0, 0)
        peak = tracemalloc.get_traced_memory()[1]
        with_engine.close()
    finally:
        tracemalloc.stop()
    assert peak < with_bytes.X.nbytes
