"""A trace: the updates of `fit` one by one, to the bit, and every number of them by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from simulator import SIMULATED
from trainer_cases import BINARY, LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    BatchNorm,
    Dense,
    Dropout,
    InvalidInput,
    LayerNorm,
    Nadam,
    StepCallback,
)
from fastnn.random.row_orders import epoch_order
from fastnn.schedules import StepDecay
from fastnn.targets.numpy.layers import dropout_mask

NORMS = [] if SIMULATED else [BatchNorm(), LayerNorm()]
CASES = {
    "dropout": ({"layers": [Dropout(0.2), Dense(5, "rrelu"), Dropout(0.4), Dense(3)]}, LABELS),
    "norms": ({"layers": [Dense(4, "tanh"), *NORMS, Dense(3)], "optimizer": Adam(0.01)}, LABELS),
    "averaged": ({"optimizer": AveragedSGD(0.1, start=3), "clip_norm": 0.5}, LABELS),
    "l1": ({"l1": 0.01, "l2": 0.1, "optimizer": Nadam(0.01), "dtype": "float64"}, LABELS),
    "unshuffled": ({"shuffle": False, "batch_size": 37}, LABELS),
    "windows": ({"shuffle": 9, "batch_size": 10, "optimizer": SGD(0.1, momentum=0.9)}, LABELS),
    "one output": ({"layers": [Dense(1)], "loss": "mse"}, REAL),
    "one row": ({"layers": [Dense(1)], "loss": "mse", "batch_size": 1}, REAL),
    "one row, hidden": (
        {
            "layers": [Dense(2, "sigmoid"), Dense(1)],
            "loss": "binary_cross_entropy",
            "batch_size": 1,
        },
        BINARY,
    ),
    "own": (
        {
            "layers": [Dense(3, lambda z: z * z / (1 + z * z), max_norm=0.8), Dense(1)],
            "loss": lambda p, y: (p - y) ** 4 / 50,
        },
        REAL,
    ),
    "frozen": (
        {"layers": [Dense(5, "prelu", trainable=False), Dense(3, rate_factor=0.5)]},
        LABELS,
    ),
}


def assert_same(one, other):
    for arrays, same in zip(one, other, strict=True):
        for array, equal in zip(arrays, same, strict=True):
            assert_array_equal(array, equal)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_a_trace_goes_the_way_of_fit_to_the_bit(case, weights, target):
    settings, y = CASES[case]
    trainer = trainer_of(**settings | {"target": target, "threads": 2})
    trainer.fit(X, y, 1, sample_weight=weights)
    before = state_of(trainer)
    each = -(-len(X) // trainer.batch_size)
    count = 2 * each + min(2, each)
    found = trainer.trace(X, y, count, weights)
    assert state_of(trainer) == before
    assert len(found) == count and not found.diverged
    assert [step.step for step in found] == list(range(each + 1, each + 1 + count))
    assert [step.epoch for step in found] == [2 + index // each for index in range(count)]
    assert_same(found[0].before, trainer.parameters)
    for epoch in range(2):
        trainer.fit(X, y, 1, sample_weight=weights)
        assert_same(found[(epoch + 1) * each - 1].after, trainer.parameters)
        losses = [step.loss for step in found[epoch * each : (epoch + 1) * each]]
        sizes = [
            len(step.rows) if weights is None else weights[step.rows].sum()
            for step in found[epoch * each : (epoch + 1) * each]
        ]
        assert trainer.history.loss[-1] == pytest.approx(
            np.average(losses, weights=sizes), rel=1e-4
        )
    for step, following in zip(found, found[1:], strict=False):
        assert_same(step.after, following.before)


@pytest.mark.parametrize("target", TARGETS)
def test_every_step_is_where_a_StepCallback_finds_fit(target):
    if target == "cuda":
        pytest.skip("a launch of CUDA does many steps")
    trainer, seen = trainer_of(target=target, optimizer=Adam(0.01)), []
    found = trainer.trace(X, LABELS, 7)
    watch = StepCallback(lambda view, step, loss: seen.append(view.parameters), every=1)
    trainer.fit(X, LABELS, 2, callbacks=watch)
    for step, parameters in zip(found, seen, strict=False):
        assert_same(step.after, parameters)


@pytest.mark.skipif(SIMULATED, reason="of the CPU")
@pytest.mark.parametrize("rows", [1, 2, 3, 37])
@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, sparse.csr_matrix])
def test_steps_that_overlap_are_each_the_last_of_an_epoch(form, rows):
    settings = {"layers": [Dense(1)], "loss": "mse", "batch_size": 1, "target": "cpu"}
    trainer = trainer_of(**settings, shuffle=False)
    found = trainer.trace(form(X), REAL, rows)
    trainer.fit(form(X[:rows]), REAL[:rows], 1)
    assert_same(found[-1].after, trainer.parameters)


def test_every_number_of_plain_sgd_is_that_of_the_formulas():
    layers = [Dense(5, "tanh"), Dropout(0.3), Dense(1)]
    rate = StepDecay(0.2, every=5, factor=0.5)
    trainer = trainer_of(layers, optimizer=SGD(rate), loss="mse", dtype="float64", l2=0.01)
    found = trainer.trace(X, REAL, 9)
    orders = [epoch_order(0, epoch, len(X)) for epoch in range(2)]
    for step in found:
        index = (step.step - 1) % 5
        rows = orders[step.epoch - 1][index * 8 : index * 8 + 8]
        assert_array_equal(step.rows, rows)
        assert step.learning_rate == (0.2 if step.epoch == 1 else 0.1)
        (W1, b1), (W2, b2) = step.before
        first, dropped, last = step.layers
        x, y = X[rows].astype(np.float64), REAL[rows, None].astype(np.float64)
        assert_allclose(first.z, x @ W1 + b1, rtol=1e-14, atol=1e-15)
        assert_array_equal(first.a, np.tanh(first.z))
        mask = dropout_mask(
            0.3, first.a.shape, seed=0, epoch=step.epoch - 1, step=index, layer=1, batch_size=8,
            dtype=np.dtype(np.float64),
        )  # fmt: skip
        assert_array_equal(dropped.z, first.a)
        assert_array_equal(dropped.a, first.a * mask)
        assert_allclose(last.a, dropped.a @ W2 + b2, rtol=1e-13, atol=1e-15)
        assert step.loss == pytest.approx(np.square(last.a - y).mean() / 2, rel=1e-13)
        dz2 = (last.a - y) / len(rows)
        dz1 = dz2 @ W2.T * mask * (1 - first.a**2)
        assert_allclose(step.dz[1], dz2, rtol=1e-12, atol=1e-15)
        assert_allclose(step.dz[0], dz1, rtol=1e-12, atol=1e-15)
        assert_allclose(step.gradients[0].dW, x.T @ dz1 + 0.01 * W1, rtol=1e-12, atol=1e-14)
        assert_allclose(step.gradients[1].db, dz2.sum(axis=0), rtol=1e-12, atol=1e-15)
        assert step.gradients[1].names == ("dW", "db") and step.before[0].names == ("W", "b")
        for place, gradients in enumerate(step.gradients):
            for number, gradient in enumerate(gradients):
                array = step.before[place][number]
                assert_array_equal(step.after[place][number], array - step.learning_rate * gradient)


def test_gradients_have_l2_as_it_counts_in_the_step():
    trainer = trainer_of([Dense(1)], optimizer=SGD(0.5), loss="mse", dtype="float64", l2=10.0)
    for step in trainer.trace(X, REAL, 3):
        (W, _), (after, _) = step.before[0], step.after[0]
        assert_allclose(after, W - 0.5 * step.gradients[0].dW, rtol=1e-12, atol=1e-14)


def test_of_averaged_sgd_the_weights_that_learn_are_there_too():
    trainer = trainer_of([Dense(1)], optimizer=AveragedSGD(0.1, start=2), loss="mse")
    found = trainer.trace(X, REAL, 4)
    for step, following in zip(found, found[1:], strict=False):
        learnt = step.at[0].W - step.learning_rate * step.gradients[0].dW
        assert_array_equal(following.at[0].W, learnt)
    mean = (found[3].at[0].W + found[3].at[0].W - 0.1 * found[3].gradients[0].dW) / 2
    assert_allclose(found[3].after[0].W, mean, rtol=1e-6)
    assert "W1[0,0] learning" in found.to_frame().columns


@pytest.mark.parametrize("target", TARGETS)
def test_a_loss_that_is_not_finite_ends_a_trace(target):
    trainer = trainer_of([Dense(1)], loss="mse", optimizer=SGD(1e25), target=target)
    before = state_of(trainer)
    found = trainer.trace(X, REAL, 30)
    assert found.diverged and 1 < len(found) < 30
    assert not np.isfinite(found[-1].loss)
    assert all(np.isfinite(step.loss) for step in found[:-1])
    assert found[-1].after is found[-1].before or np.array_equal(
        found[-1].after[0].W, found[-1].before[0].W, equal_nan=True
    )
    assert "where training ends" in repr(found)
    assert state_of(trainer) == before


@pytest.mark.skipif(SIMULATED, reason="CUDA reads no sparse features")
@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.01)])
def test_sparse_rows_are_traced_to_the_bit(optimizer):
    kept = sparse.csr_matrix(np.where(np.abs(X) > 0.8, X, 0))
    trainer = trainer_of(target="cpu", optimizer=optimizer, l2=0.01)
    found = trainer.trace(kept, LABELS, 12)
    trainer.fit(kept, LABELS, 2)
    assert_same(found[9].after, trainer.parameters)
    one, other = (
        found[4],
        trainer_of(optimizer=optimizer, l2=0.01).trace(kept.toarray(), LABELS, 5)[4],
    )
    assert_allclose(one.after[0].W, other.after[0].W, rtol=1e-4, atol=1e-6)


def test_a_trace_of_course_notes_prints_as_tables():
    layers = [Dense(2, "sigmoid"), Dense(1)]
    trainer = trainer_of(layers, 2, loss="binary_cross_entropy", batch_size=1, dtype="float64")
    found = trainer.trace([[0, 1], [1, 1]], [1, 0], 3)
    lines = repr(found).splitlines()
    assert lines[0] == "Trace of 3 updates on numpy"
    assert max(map(len, lines)) <= 100
    headings = [line for line in lines[1:] if line[:1].isalpha() and not line.startswith("step")]
    assert headings == [
        "updates", "values of the batch", "gradients", "parameters before", "parameters after",
    ]  # fmt: skip
    assert lines[3].split() == ["step", "epoch", "rows", "learning", "rate", "loss"]
    W, b = found[2].after[1]
    shown = [f"{number:.4g}" for number in (*W[:, 0], *b)]
    assert lines[-1].split()[0] == "3" and lines[-1].split()[-3:] == shown
    html = found._repr_html_()
    assert html.count("<table>") == 5 and "<th>dW2[1,0]</th>" in html
    frame = found.to_frame()
    assert frame.index.name == "step" and list(frame.index) == [1, 2, 3]
    assert list(frame.columns[:8]) == [
        "epoch", "rows", "learning_rate", "loss", "z1[0]", "z1[1]", "a1[0]", "a1[1]",
    ]  # fmt: skip
    assert frame.shape == (3, 4 + 9 + 3 * 9)
    assert frame.loc[2, "W2[1,0] after"] == found[1].after[1].W[1, 0]
    assert frame.loc[3, "dW1[0,1]"] == found[2].gradients[0].dW[0, 1]
    assert frame.loc[3, "z1[1]"] == found[2].layers[0].z[0, 1]


def test_batches_of_several_rows_have_a_column_a_row_and_large_ones_arrays():
    found = trainer_of(batch_size=20).trace(X, LABELS, 2)
    frame = found.to_frame()
    assert {"z1[19,5]", "x2[0,0]", "a2[16,2]"} <= {*frame.columns}
    assert (
        np.isnan(frame.loc[2, "z1[17,0]"])
        and frame.loc[2, "z1[16,0]"] == found[1].layers[0].z[16, 0]
    )
    arrays = found.to_frame(flat=False)
    assert_array_equal(arrays.loc[2, "dW2"], found[1].gradients[1].dW)
    assert "values of the batch: 660 numbers an update, not shown; a step has them" in repr(found)
    large = trainer_of([Dense(3000), Dense(3)]).trace(X, LABELS, 1)
    with pytest.raises(InvalidInput, match="flat=False"):
        large.to_frame()
    assert len(repr(large)) < 2000
    assert large.to_frame(False).shape == (1, 4 + 6 + 12)


def test_a_trace_of_many_updates_shows_the_first_and_the_last():
    found = trainer_of([Dense(1, bias=False)], 4, loss="mse").trace(X, REAL, 30)
    shown = [line.split()[0] for line in repr(found).splitlines()[3:24]]
    assert shown == ["step", *map(str, range(1, 11)), "...", *map(str, range(21, 31))][:21]
    assert "db1" not in repr(found)
    assert found[-1] is found.steps[29] and found[:2] == found.steps[:2]
