"""Data on the device: moved, used in place, checked there. Runs in Numba's simulator too."""

import math

import numpy as np
import pytest
from data_cases import (
    FORMS,
    LABELS,
    LOSSES,
    X,
    checked,
    data_of,
    host,
    placed,
    problem_for,
    strided,
    to_device,
    to_device_as_it_lies,
)

from fastnn.errors import DeviceFailure, InvalidInput, TargetUnavailable
from fastnn.network import Dense, Network

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install fastnn[cuda]")
pytestmark = pytest.mark.usefixtures("running")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True, "targets"])
@pytest.mark.parametrize("kind", LOSSES)
def test_rows_arrive_as_kernels_read_them(monkeypatch, kind, weighted, dtype):
    from fastnn.targets.cuda.host import data as module

    monkeypatch.setattr(module, "STAGING_BYTES", 100)  # several copies of a few rows
    problem = problem_for(kind, dtype=dtype)
    data = data_of(problem, 11, weighted=weighted)
    found = host(placed(problem, data))
    used = kind == "classes"
    expected = [
        data.X,
        data.targets if used else np.zeros(1, np.int64),
        np.zeros((1, 1), dtype) if used else data.targets,
        data.weights.ravel() if weighted else np.zeros(1),
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
    "one-hot": ("classes", X, np.eye(4)[LABELS]),
    "sums": ("classes", X, broken(np.eye(3)[LABELS], (4, 1), 0.5)),
    "negative": ("classes", X, broken(np.eye(3)[LABELS], (4, 1), -0.5)),
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
    from fastnn.targets.cuda.host.numba_cuda import cuda
    from fastnn.targets.cuda.host.reader import first_place

    numbers, stream = np.arange(math.prod(shape)).reshape(shape), cuda.stream()
    for value in {0, numbers.size // 2, numbers.size - 1}:
        assert first_place(to_device(numbers), "outside", value, stream) == value
    assert first_place(to_device(numbers), "negative", 0, stream) == -1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_that_are_not_finite_are_found(dtype):
    from fastnn.targets.cuda.host.numba_cuda import cuda
    from fastnn.targets.cuda.host.reader import all_finite

    state = np.full((1, 37), np.finfo(dtype).max, dtype)
    assert all_finite(to_device(state), cuda.stream())
    for value in (np.nan, np.inf, -np.inf):
        state[0, 36] = value
        assert not all_finite(to_device(state), cuda.stream())
        assert not all_finite(to_device(state[0]), cuda.stream())


def test_what_is_in_place_needs_no_room():
    from fastnn.targets.cuda.host.data import fits

    problem = problem_for(dtype="float32")
    rows = X.astype("f4")
    assert fits(checked(problem, rows, LABELS), problem, 220) == (True, 11 * (12 + 8))
    assert fits(checked(problem, rows, LABELS), problem, 219) == (False, 220)
    assert fits(checked(problem, to_device(rows), to_device(LABELS)), problem, 0) == (True, 0)
    assert fits(checked(problem, to_device(X), to_device(LABELS)), problem, 0) == (False, 132)


def test_too_little_memory_is_an_error_with_the_bytes(monkeypatch):
    from fastnn.targets.cuda.host import memory

    monkeypatch.setattr(memory, "memory_info", lambda: (100, 1000))
    problem = problem_for(dtype="float64")
    with pytest.raises(DeviceFailure, match="need 264 bytes, 100 of 1,000 are free"):
        placed(problem, checked(problem, X, LABELS))


@pytest.mark.parametrize("family", ["block", "tiled"])
def test_too_little_memory_to_predict_is_no_failure_of_the_device(family, monkeypatch):
    from fastnn.targets.cuda.engine import Engine
    from fastnn.targets.cuda.host import memory

    engine = Engine(problem_for(), family=family)
    expected = engine.forward(X)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "memory_info", lambda: (100, 1000))
        with pytest.raises(DeviceFailure, match=r"need [\d,]+ bytes, 100 of 1,000 are free"):
            engine.forward(X)
    assert np.array_equal(engine.forward(X), expected)


@pytest.mark.parametrize("family", ["block", "tiled"])
def test_an_engine_trains_and_predicts_with_arrays_on_the_device(family):
    from fastnn.inputs.parameters import start_slots
    from fastnn.targets.cuda.engine import Engine
    from fastnn.training.scores import scores

    problem = problem_for(dtype="float32")
    rows, found = X.astype("f4"), []
    for data in (
        checked(problem, rows, LABELS),
        checked(problem, to_device(rows), to_device(LABELS)),
        checked(problem, to_device_as_it_lies(strided(rows)), to_device(LABELS.astype("u1"))),
    ):
        engine, random = Engine(problem, family=family), np.random.default_rng(1)
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


def test_a_trainer_takes_arrays_on_the_device_wherever_it_takes_arrays():
    from fastnn import Trainer
    from fastnn.targets.selection import choose

    try:
        choose("cuda")
    except TargetUnavailable as error:
        pytest.skip(str(error))
    rows, network, found = X.astype("f4"), Network(3, [Dense(4, "tanh"), Dense(3)]), []
    for put in (np.asarray, to_device):
        trainer = Trainer(network, batch_size=4, target="cuda")
        features, labels, weights = put(rows), put(LABELS), put(np.linspace(0.5, 2, 11))
        history = trainer.fit(features, labels, 2, (features, labels, weights), weights)
        scored = trainer.evaluate(features, labels)
        outputs = trainer.predict(features), trainer.predict_proba(features)
        assert all(isinstance(each, np.ndarray) for each in outputs)
        found.append((history.loss, history.validation_loss, scored, *map(bytes, outputs)))
    assert found[0] == found[1]
