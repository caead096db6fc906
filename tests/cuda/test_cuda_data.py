"""Data on the device: moved, used in place, and streamed in chunks. Runs in Numba's simulator too.

What the simulator cannot show: copies and kernels that overlap, and events that hold them apart.
"""

import math

import numpy as np
import pytest

from fastnn.data import Data
from fastnn.errors import DeviceFailure, InvalidInput
from fastnn.problem import Problem
from fastnn.spec import SGD, Dense, Dropout, Network

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install fastnn[cuda]")
pytestmark = pytest.mark.usefixtures("running")

LOSSES = {
    "classes": ("softmax_cross_entropy", 3),
    "binary": ("binary_cross_entropy", 2),
    "real": ("mse", 1),
}
X = np.random.default_rng(0).normal(size=(11, 3))
LABELS = np.arange(11) % 3


def problem_for(kind="classes", dtype="float64"):
    loss, outputs = LOSSES[kind]
    network = Network(3, [Dense(4, "tanh"), Dropout(0.3), Dense(outputs)])
    return Problem(network, loss, SGD(0.1, 0.9), 8, 0.0, 0.0, dtype, 7)


def data_of(problem, n, *, weighted=False):
    random, outputs = np.random.default_rng(0), problem.network.outputs
    targets = random.integers(0, 2, (n, outputs)).astype(problem.dtype)
    if problem.loss == LOSSES["classes"][0]:
        targets = random.integers(0, outputs, n)
    rows = random.normal(size=(n, problem.network.inputs)).astype(problem.dtype)
    return Data(rows, targets, random.uniform(0.1, 3, n) if weighted else None)


def to_device(array):
    from fastnn.cuda.device import cuda

    return cuda.to_device(np.ascontiguousarray(array))


def to_device_as_it_lies(array):
    """Return the array on the device with the strides that it has here."""
    from fastnn.cuda.reader import DeviceReader

    ends = [step * (size - 1) for step, size in zip(array.strides, array.shape, strict=True)]
    up = array[tuple(slice(None, None, -1 if end < 0 else 1) for end in ends)]
    span = sum(map(abs, ends)) // array.itemsize + 1
    memory = to_device(np.lib.stride_tricks.as_strided(up, (span,), (array.itemsize,)))
    offset = -sum(end for end in ends if end < 0)
    return DeviceReader().strided(memory, offset, array.shape, array.strides)


def checked(problem, *data, **options):
    from fastnn.cuda.reader import DeviceReader
    from fastnn.data import check_data

    return check_data(problem, *data, reader=DeviceReader(), **options)


def host(placed):
    return [each.copy_to_host() for each in placed]


def placed(problem, data):
    from fastnn.cuda.data import place
    from fastnn.cuda.device import cuda

    return place(data, problem, cuda.stream())


def strided(array):
    """Return the same values with gaps between them."""
    return np.repeat(np.repeat(array, 2, 0), 3, 1)[::2, ::3]


FORMS = {
    "as it is": lambda x: x,
    "float64": lambda x: x.astype(np.float64),
    "float32": lambda x: x.astype(np.float32),
    "by columns": np.asfortranarray,
    "reversed": lambda x: x[::-1].copy()[::-1],
    "strided": strided,
    "one value": lambda x: np.broadcast_to(x[:1, :1], x.shape),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
def test_rows_arrive_as_kernels_read_them(monkeypatch, kind, weighted, dtype):
    from fastnn.cuda import data as module

    monkeypatch.setattr(module, "STAGING_BYTES", 100)  # several copies of a few rows
    problem = problem_for(kind, dtype=dtype)
    data = data_of(problem, 11, weighted=weighted)
    found = host(placed(problem, data))
    used = kind == "classes"
    expected = [
        data.X,
        data.targets if used else np.zeros(1, np.int64),
        np.zeros((1, 1), dtype) if used else data.targets,
        data.weights if weighted else np.zeros(1),
    ]
    for mine, its in zip(found, expected, strict=True):
        assert mine.dtype == its.dtype and mine.flags.c_contiguous
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_features_of_any_form_arrive(form):
    problem = problem_for(dtype="float32")
    data = checked(problem, form(X), LABELS)
    np.testing.assert_array_equal(placed(problem, data).X.copy_to_host(), np.float32(form(X)))


def test_arrays_on_the_device_are_used_in_place():
    problem = problem_for("real", dtype="float32")
    features, targets = to_device(X.astype("f4")), to_device(np.ones((11, 1), "f4"))
    data = checked(problem, features, targets)
    assert len(data) == 11
    found = placed(problem, data)
    assert found.X is features
    assert found.targets is targets


def test_labels_on_the_device_are_used_in_place():
    problem = problem_for()
    labels = to_device(LABELS)
    found = placed(problem, checked(problem, X, labels)).classes
    labels[3] = 2 - labels[3]
    np.testing.assert_array_equal(found.copy_to_host(), labels.copy_to_host())


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_arrays_on_the_device_are_converted_there(form):
    problem = problem_for(dtype="float32")
    data = checked(problem, to_device_as_it_lies(form(X)), LABELS)
    assert data.X.strides == form(X).strides
    np.testing.assert_array_equal(placed(problem, data).X.copy_to_host(), np.float32(form(X)))
    np.testing.assert_array_equal(data.X.to_host(), form(X))
    np.testing.assert_array_equal(data.X[3:5].to_host(), form(X)[3:5])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u8", "f4", "f8"])
@pytest.mark.parametrize("shape", [(11,), (11, 1)])
def test_labels_on_the_device_become_int64(dtype, shape):
    problem = problem_for()
    data = checked(problem, X, to_device(LABELS.astype(dtype).reshape(shape)))
    found = placed(problem, data).classes.copy_to_host()
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, LABELS)


def broken(array, place, value):
    array = np.array(array, np.float64)
    array[place] = value
    return array


BAD = {
    "NaN": ("classes", broken(X, (4, 1), np.nan), LABELS),
    "infinity": ("classes", broken(broken(X, (9, 0), np.inf), (4, 2), -np.inf), LABELS),
    "large": ("classes", broken(X, (4, 1), 1e39), LABELS),
    "width": ("classes", X[:, :2], LABELS),
    "rank": ("classes", X[:, 0], LABELS),
    "no rows": ("classes", X[:0], LABELS),
    "dtype": ("classes", X.astype(complex), LABELS),
    "fewer": ("classes", X, LABELS[:-1]),
    "label": ("classes", X, broken(LABELS, 5, 3)),
    "negative label": ("classes", X, broken(LABELS, 0, -1).astype(int)),
    "fraction": ("classes", X, broken(LABELS, 5, 0.5)),
    "NaN label": ("classes", X, broken(LABELS, 5, np.nan)),
    "one-hot": ("classes", X, np.eye(3)[LABELS]),
    "binary": ("binary", X, broken(np.zeros((11, 2)), (7, 1), -1)),
    "NaN target": ("real", X, broken(np.zeros(11), 10, np.nan)),
    "weight": ("classes", X, LABELS, broken(np.ones(11), 3, -2)),
    "NaN weight": ("classes", X, LABELS, broken(np.ones(11), 3, np.nan)),
    "weights": ("classes", X, LABELS, np.ones(10)),
    "no weight": ("classes", X, LABELS, np.zeros(11)),
}


@pytest.mark.parametrize(("kind", "arrays"), [(k, a) for k, *a in BAD.values()], ids=BAD)
def test_bad_arrays_on_the_device_have_the_messages_of_numpy_arrays(kind, arrays):
    problem = problem_for(kind, dtype="float32")
    with pytest.raises(InvalidInput) as expected:
        checked(problem, *arrays)
    with pytest.raises(InvalidInput) as found:
        checked(problem, *map(to_device, arrays))
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (7, 13)])
def test_the_first_wrong_value_is_the_first_row_by_row(shape):
    from fastnn.cuda.device import cuda
    from fastnn.cuda.reader import first_place

    numbers, stream = np.arange(math.prod(shape)).reshape(shape), cuda.stream()
    for value in {0, numbers.size // 2, numbers.size - 1}:
        assert first_place(to_device(numbers), "outside", value, stream) == value
    assert first_place(to_device(numbers), "negative", 0, stream) == -1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_that_are_not_finite_are_found(dtype):
    from fastnn.cuda.device import cuda
    from fastnn.cuda.reader import all_finite

    state = np.full((1, 37), np.finfo(dtype).max, dtype)
    assert all_finite(to_device(state), cuda.stream())
    for value in (np.nan, np.inf, -np.inf):
        state[0, 36] = value
        assert not all_finite(to_device(state), cuda.stream())
        assert not all_finite(to_device(state[0]), cuda.stream())


def test_what_is_in_place_needs_no_room():
    from fastnn.cuda.data import fits

    problem = problem_for(dtype="float32")
    rows = X.astype("f4")
    assert fits(checked(problem, rows, LABELS), problem, 220) == (True, 11 * (12 + 8))
    assert fits(checked(problem, rows, LABELS), problem, 219) == (False, 220)
    assert fits(checked(problem, to_device(rows), to_device(LABELS)), problem, 0) == (True, 0)
    assert fits(checked(problem, to_device(X), to_device(LABELS)), problem, 0) == (False, 132)


def test_too_little_memory_is_an_error_with_the_bytes(monkeypatch):
    from fastnn.cuda import memory

    monkeypatch.setattr(memory, "memory_info", lambda: (100, 1000))
    problem = problem_for(dtype="float64")
    with pytest.raises(DeviceFailure, match="need 264 bytes, 100 of 1,000 are free"):
        placed(problem, checked(problem, X, LABELS))


def test_no_room_for_two_batches_is_an_error_with_the_bytes():
    from fastnn.cuda.device import cuda
    from fastnn.cuda.streaming import Streamed

    problem = problem_for(dtype="float64")
    data = checked(problem, X, LABELS)
    with pytest.raises(DeviceFailure, match=r"two batches of 8 rows.*need 640 bytes, 600 of"):
        Streamed(data, problem, cuda.stream(), free_bytes=600)
    assert Streamed(data, problem, cuda.stream(), free_bytes=640).chunk_rows == 8


def trained(problem, data, chunk_rows, family="block"):
    """Return state and results after two epochs, with all rows on the device or some at a time."""
    from fastnn.cuda.choice import choose_family
    from fastnn.cuda.data import place
    from fastnn.cuda.device import cuda, limits
    from fastnn.cuda.job import Job
    from fastnn.cuda.plan import WEIGHTED
    from fastnn.cuda.steps import step_table
    from fastnn.cuda.streaming import Streamed
    from fastnn.keys import random_key
    from fastnn.orders import epoch_order

    rule, n, stream = problem.optimizer.rule, len(data), cuda.stream()
    family = choose_family(problem, rule, limits(), family)
    plan = family.plan(n)
    plan.words[0, WEIGHTED] = data.weights is not None
    orders = np.stack([epoch_order(problem.seed, epoch, n) for epoch in range(2)])
    each = -(-n // problem.batch_size)
    tables = [
        step_table(problem, rule, np.full(each, 0.1), e * each, order, data.weights)
        for e, order in enumerate(orders)
    ]
    uses = range(2 * len(problem.network.dense))
    keys = [[random_key(problem.seed, epoch, use) | 1 for use in uses] for epoch in range(2)]
    start = np.random.default_rng(1).normal(0, 0.3, (1, plan.state_size)).astype(problem.dtype)
    state, results = to_device(start), to_device(np.zeros((2, 2)))

    def run(rows, order, begin, end):
        job = Job(
            state, to_device(np.zeros((1, plan.scratch_size), problem.dtype)),
            to_device(plan.words), to_device(plan.numbers), to_device(np.concatenate(tables)),
            to_device(np.array(keys, np.uint64)), *rows, to_device(order.astype(np.int32)),
            results, to_device(np.full(1, -1)),
        )  # fmt: skip
        family.train(job, plan, begin, end, stream)

    if chunk_rows is None:
        run(place(data, problem, stream), orders, 0, 2 * each)
    else:
        streamed = Streamed(data, problem, stream, chunk_rows)
        seen = []
        for chunk in streamed.chunks(orders):
            run(chunk.placed, streamed.positions(2), chunk.begin, chunk.end)
            seen.append((chunk.begin, chunk.end))
            assert chunk.placed is streamed.placed[(len(seen) - 1) % 2]
        assert [begin for begin, _ in seen] == [0, *(end for _, end in seen[:-1])]
        assert seen[-1][1] == 2 * each
        assert len(seen) == 2 * -(-n // streamed.chunk_rows)
        streamed.close()
    return state.copy_to_host(), results.copy_to_host()


@pytest.mark.parametrize("chunk_rows", [1, 8, 20, 1000])
@pytest.mark.parametrize(
    ("family", "kind"), [*(("block", kind) for kind in LOSSES), ("tiled", "classes")]
)
def test_training_in_chunks_gives_the_same_numbers(family, kind, chunk_rows):
    problem = problem_for(kind)
    data = data_of(problem, 37, weighted=kind == "real")
    expected = trained(problem, data, None, family)
    for mine, its in zip(trained(problem, data, chunk_rows, family), expected, strict=True):
        assert np.array_equal(mine, its)
        assert np.isfinite(mine).all()


def test_an_engine_trains_and_predicts_with_arrays_on_the_device():
    from fastnn.cuda.engine import Engine
    from fastnn.parameters import start_slots
    from fastnn.predictions import scores

    problem = problem_for(dtype="float32")
    rows, found = X.astype("f4"), []
    for data in (
        checked(problem, rows, LABELS),
        checked(problem, to_device(rows), to_device(LABELS)),
        checked(problem, to_device_as_it_lies(strided(rows)), to_device(LABELS.astype("u1"))),
    ):
        engine, random = Engine(problem), np.random.default_rng(1)
        start = [
            (random.normal(size=shape).astype("f4"), np.zeros(shape[1], "f4"))
            for shape in problem.network.shapes
        ]
        engine.load(start, start_slots(problem, start))
        result = engine.train_epoch(data, np.arange(11)[::-1], np.full(2, 0.1), 0, 0)
        outputs = engine.forward(data.X)
        assert isinstance(outputs, np.ndarray)
        scored = scores(problem, engine.forward, data)
        found.append((result, scored, engine.snapshot().tobytes(), outputs.tobytes()))
        engine.close()
    assert found[0] == found[1] == found[2]


def test_chunks_may_be_left_and_begun_again():
    from fastnn.cuda.device import cuda
    from fastnn.cuda.streaming import Streamed

    problem = problem_for()
    data = data_of(problem, 37)
    streamed = Streamed(data, problem, cuda.stream(), 8)
    orders = np.arange(37)[::-1][None]
    next(streamed.chunks(orders))
    for chunk in streamed.chunks(orders):
        rows = orders[0, chunk.begin * 8 : chunk.end * 8]
        found = chunk.placed.X.copy_to_host()[: len(rows)]
        np.testing.assert_array_equal(found, data.X[rows])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_rows_of_any_form_are_gathered(form):
    from fastnn.cuda.streaming import gather

    rows, source = np.array([3, 0, 10, 3]), form(X)
    out = np.empty((4, 3), np.float32)
    gather(source, rows, out)
    np.testing.assert_array_equal(out, source[rows].astype(np.float32))


def test_rows_are_gathered_from_a_memory_map(tmp_path):
    from fastnn.cuda.device import cuda
    from fastnn.cuda.streaming import Streamed

    np.save(tmp_path / "X.npy", X)
    problem = problem_for()
    data = checked(problem, np.load(tmp_path / "X.npy", mmap_mode="r"), LABELS)
    streamed = Streamed(data, problem, cuda.stream(), 8)
    first = next(streamed.chunks(np.arange(11)[None]))
    np.testing.assert_array_equal(first.placed.X.copy_to_host(), X[:8])
