"""Sparse X wherever a trainer takes X: the same as the dense array of it."""

import copy
import os

import numpy as np
import pytest
from scipy import sparse
from simulator import SIMULATED

from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    EarlyStopping,
    InvalidInput,
    LayerNorm,
    Network,
    StepCallback,
    Trainer,
    sweep,
)
from fastnn.errors import Diverged, TargetUnavailable

random = np.random.default_rng(0)
MATRIX = sparse.csr_array(sparse.random(120, 200, 0.03, "csr", random_state=0))
MATRIX.data[:] = random.normal(size=MATRIX.nnz)
X = MATRIX.toarray()
LABELS = (X @ random.normal(size=200) > 0).astype(int) + (X[:, 0] > 0)
TARGETS = ["numpy"] if SIMULATED else ["cpu", "numpy"]


def trainer_of(layers=None, optimizer=SGD(0.2, momentum=0.9), **settings):  # noqa: B008
    network = Network(200, layers or [Dense(16, "tanh"), Dense(3)])
    return Trainer(
        network, optimizer=optimizer, **{"batch_size": 16, "dtype": "float64"} | settings
    )


def bits(trainer):
    return b"".join(array.tobytes() for layer in trainer.parameters for array in layer)


def assert_alike(one, other, tolerance=1e-10):
    for a, b in zip(one.parameters, other.parameters, strict=True):
        for u, v in zip(a, b, strict=True):
            np.testing.assert_allclose(u, v, rtol=0, atol=tolerance)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("matrix", [MATRIX, sparse.csc_matrix(MATRIX), sparse.coo_array(MATRIX)])
def test_everything_that_takes_features_takes_sparse_ones(target, matrix):
    one, other = trainer_of(l2=0.01, target=target), trainer_of(l2=0.01, target=target)
    weights = np.linspace(0.5, 2, 120)
    history = one.fit(matrix, LABELS, 3, (matrix, LABELS), weights, metrics=["log_loss"])
    expected = other.fit(X, LABELS, 3, (X, LABELS), weights, metrics=["log_loss"])
    assert_alike(one, other)
    for name in ("loss", "validation_loss", "validation_accuracy", "validation_log_loss"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-10)
    np.testing.assert_allclose(one.forward(matrix), other.forward(X), rtol=1e-9)
    np.testing.assert_allclose(one.predict_proba(matrix), other.predict_proba(X), rtol=1e-9)
    assert one.predict(matrix).tolist() == other.predict(X).tolist()
    for name, value in other.evaluate(X, LABELS).items():
        assert one.evaluate(matrix, LABELS)[name] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_and_sweeps_share_sparse_features(target):
    one, other = trainer_of(target=target), trainer_of(target=target)
    history = one.fit(MATRIX, LABELS, 2, (MATRIX, LABELS), restarts=3)
    expected = other.fit(X, LABELS, 2, (X, LABELS), restarts=3)
    assert [row.seed for row in history.restarts] == [row.seed for row in expected.restarts]
    assert one.problem.seed == other.problem.seed
    assert_alike(one, other)
    grid = {"batch_size": [8, 32], "units": [4, 20], "learning_rate": [0.1]}
    found, wanted = (
        sweep(trainer_of(target=target), each, LABELS, 2, grid=grid, validation_data=(each, LABELS))
        for each in (MATRIX, X)
    )
    np.testing.assert_allclose(
        [run.validation_loss for run in found], [run.validation_loss for run in wanted], rtol=1e-9
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", [SGD(0.2), SGD(0.2, momentum=0.9), Adam(0.01)])
@pytest.mark.parametrize("layers", [[Dense(3)], [Dense(16, "tanh"), Dense(3)]])
def test_training_goes_on_to_the_same_bits(target, optimizer, layers, tmp_path):
    def new():
        return trainer_of(layers, optimizer, l1=0.001, l2=0.01, target=target)

    whole, parts, saved = new(), new(), new()
    whole.fit(MATRIX, LABELS, 5)
    parts.fit(MATRIX, LABELS, 2)
    parts = copy.copy(parts)
    parts.fit(MATRIX, LABELS, 3)
    saved.fit(MATRIX, LABELS, 2, callbacks=Checkpoint(tmp_path))
    saved = Trainer.resume(tmp_path)
    saved.fit(MATRIX, LABELS, 3)
    assert bits(whole) == bits(parts) == bits(saved)


@pytest.mark.parametrize("target", TARGETS)
def test_callbacks_see_a_sparse_fit_as_a_dense_one(target):
    seen = []
    one, other = trainer_of(l2=0.01, target=target), trainer_of(l2=0.01, target=target)

    def look(trainer, step, loss):
        seen.append((step, loss, trainer.parameters[0][0], trainer.forward(MATRIX)))

    callbacks = [StepCallback(look, every=3), EarlyStopping(2)]
    one.fit(MATRIX, LABELS, 3, (MATRIX, LABELS), callbacks=callbacks)
    from_sparse, seen[:] = list(seen), []
    other.fit(X, LABELS, 3, (X, LABELS), callbacks=[StepCallback(look, every=3), EarlyStopping(2)])
    assert len(seen) == len(from_sparse) == 8
    for found, expected in zip(from_sparse, seen, strict=True):
        assert found[0] == expected[0]
        for a, b in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    plain = trainer_of(l2=0.01, target=target)
    plain.fit(MATRIX, LABELS, 3, (MATRIX, LABELS), callbacks=EarlyStopping(2))
    assert bits(plain) == bits(one)  # looking on changes nothing


@pytest.mark.parametrize("target", TARGETS)
def test_a_fit_that_diverges_leaves_the_last_good_epoch(target):
    trainer = trainer_of([Dense(16), Dense(3)], SGD(0.05), loss="mse", target=target)
    y = np.tile(LABELS[:, None] * 1.0, 3)
    trainer.fit(MATRIX, y, 1)
    before = bits(trainer)
    trainer.set(learning_rate=1e8)
    with pytest.raises(Diverged, match="epoch"):
        trainer.fit(MATRIX, y, 50)
    trainer = trainer_of([Dense(16), Dense(3)], SGD(1e8), loss="mse", target=target)
    first = bits(trainer)
    with pytest.raises(Diverged):
        trainer.fit(MATRIX, y, 50)
    assert bits(trainer) == first or before != first


@pytest.mark.parametrize("target", TARGETS)
def test_an_error_changes_nothing(target):
    trainer = trainer_of(target=target)
    trainer.fit(MATRIX, LABELS, 1)
    before = bits(trainer)
    bad = MATRIX.copy()
    bad.data[7] = np.nan
    with pytest.raises(InvalidInput, match="X value nan at row"):
        trainer.fit(bad, LABELS, 1)
    with pytest.raises(InvalidInput, match="in validation_data, X value nan"):
        trainer.fit(MATRIX, LABELS, 1, (bad, LABELS))
    with pytest.raises(InvalidInput, match=r"y is sparse .*y\.toarray\(\)"):
        trainer.fit(MATRIX, sparse.csr_array(LABELS[:, None]), 1)
    assert bits(trainer) == before


@pytest.mark.parametrize("norm", [LayerNorm(), BatchNorm()])
@pytest.mark.parametrize("target", TARGETS)
def test_a_norm_before_the_first_dense_layer_is_refused_by_name(norm, target):
    trainer = trainer_of([norm, Dense(3)], target=target)
    name = type(norm).__name__
    message = rf"X is sparse \(csr_array\), but the first layer is a {name}.*X\.toarray\(\)"
    for call in (
        lambda: trainer.fit(MATRIX, LABELS, 1),
        lambda: trainer.fit(X, LABELS, 1, (MATRIX, LABELS)),
        lambda: trainer.predict(MATRIX),
        lambda: trainer.evaluate(MATRIX, LABELS),
        lambda: sweep(trainer, MATRIX, LABELS, 1, grid={"learning_rate": [0.1]}),
    ):
        with pytest.raises(InvalidInput, match=message):
            call()


def test_cuda_refuses_sparse_features_by_name():
    try:
        trainer = trainer_of(target="cuda", dtype="float32")
    except TargetUnavailable as error:
        pytest.skip(str(error))
    for call in (lambda: trainer.fit(MATRIX, LABELS, 1), lambda: trainer.predict(MATRIX)):
        with pytest.raises(InvalidInput, match=r"target 'cuda' does not read; use target='cpu'"):
            call()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("target", TARGETS)
def test_a_forked_child_trains_on_sparse_features_as_its_parent_does(target):
    trainer, expected = trainer_of(target=target, threads=2), trainer_of(target=target)
    trainer.fit(MATRIX, LABELS, 1)
    expected.fit(MATRIX, LABELS, 2)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            trainer.fit(MATRIX, LABELS, 1)
            code = 0 if bits(trainer) == bits(expected) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(SIMULATED, reason="auto takes the CPU")
def test_auto_trains_sparse_features_on_the_cpu():
    trainer = trainer_of(target="auto")
    assert trainer.fit(MATRIX, LABELS, 1).target == "cpu"
