"""What a Trainer predicts, in which form, and how it scores predictions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from trainer_cases import BINARY, LABELS, REAL, TARGETS, WEIGHTS, X, trainer_of

from fastnn import Dense, InvalidInput, Network, Trainer
from fastnn.rules.table import LOSSES
from fastnn.training.scores import SCORED_ROWS

ONE = [Dense(5, "tanh"), Dense(1)]
TWO = [Dense(5, "tanh"), Dense(2)]


@pytest.mark.parametrize(
    ("loss", "layers"),
    [(loss, TWO) for loss in LOSSES]
    + [(loss, ONE) for loss, row in LOSSES.items() if row.targets != "classes"],
)
def test_predictions_have_the_form_of_the_targets(loss, layers):
    kind, outputs = LOSSES[loss].targets, layers[-1].units
    trainer = trainer_of(layers, loss=loss)
    raw, found = trainer.forward(X), trainer.predict(X)
    assert raw.shape == (37, outputs)
    assert found.shape == ((37,) if kind == "classes" or outputs == 1 else (37, outputs))
    assert found.dtype == (np.float32 if kind in ("real", "counts") else np.int64)
    if kind == "classes":
        assert np.array_equal(found, raw.argmax(axis=1))
    elif kind == "binary":
        assert np.array_equal(found.reshape(raw.shape), raw >= 0)
        assert set(np.unique(found)) == {0, 1}
    elif kind == "counts":
        assert np.array_equal(found.reshape(raw.shape), np.exp(raw))
    else:
        assert np.array_equal(found.reshape(raw.shape), raw)


@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if row.targets == "binary"])
def test_an_output_of_zero_is_label_one(loss):
    trainer = trainer_of([Dense(1, init="zeros")], loss=loss)
    assert np.array_equal(trainer.predict(X), np.ones(37, np.int64))


def test_probabilities_of_classes_are_the_softmax():
    trainer = trainer_of()
    raw = trainer.forward(X).astype(np.float64)
    expected = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    found = trainer.predict_proba(X)
    assert found.shape == (37, 3) and found.dtype == np.float32
    assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("layers", [ONE, TWO])
def test_probabilities_of_binary_outputs_are_the_sigmoid(layers):
    trainer = trainer_of(layers, loss="binary_cross_entropy")
    sigmoid = 1 / (1 + np.exp(-trainer.forward(X).astype(np.float64)))
    expected = np.hstack((1 - sigmoid, sigmoid)) if layers is ONE else sigmoid
    assert_allclose(trainer.predict_proba(X), expected, rtol=1e-5)


def test_probabilities_of_a_certain_network_lose_no_digits():
    trainer = trainer_of([Dense(1)], inputs=1, loss="binary_cross_entropy", dtype="float64")
    trainer.set_parameters([(np.ones((1, 1)), np.zeros(1))])
    assert_allclose(trainer.predict_proba([[100.0]]), [[np.exp(-100), 1.0]], rtol=1e-12)


@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if not row.from_logits])
def test_other_losses_have_no_probabilities(loss):
    with pytest.raises(InvalidInput, match=f"loss '{loss}' gives no probabilities.*use predict"):
        trainer_of(ONE, loss=loss).predict_proba(X)


def mean(values, weights):
    return np.average(values, weights=weights)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_scores_of_classes_are_cross_entropy_and_share_of_right_labels(weights, target):
    trainer = trainer_of(target=target)
    raw = trainer.forward(X).astype(np.float64)
    rows = np.log(np.exp(raw).sum(axis=1)) - raw[np.arange(37), LABELS]
    found = trainer.evaluate(X, LABELS, weights)
    assert found.keys() == {"loss", "accuracy"}
    assert found["loss"] == pytest.approx(mean(rows, weights), rel=1e-5)
    right = raw.argmax(axis=1) == LABELS
    assert found["accuracy"] == pytest.approx(mean(right, weights), rel=1e-12)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_scores_of_several_labels_are_means_over_labels(weights):
    trainer = trainer_of(TWO, loss="binary_cross_entropy")
    y = np.column_stack((BINARY, 1 - BINARY[::-1]))
    raw = trainer.forward(X).astype(np.float64)
    rows = (np.log1p(np.exp(raw)) - y * raw).mean(axis=1)
    found = trainer.evaluate(X, y, weights)
    assert found["loss"] == pytest.approx(mean(rows, weights), rel=1e-5)
    right = ((raw >= 0) == y).mean(axis=1)
    assert found["accuracy"] == pytest.approx(mean(right, weights), rel=1e-12)


@pytest.mark.parametrize("loss", ["perceptron", "hinge", "squared_hinge"])
def test_scores_of_one_binary_output_count_its_side_of_zero(loss):
    trainer = trainer_of(ONE, loss=loss)
    right = (trainer.forward(X)[:, 0] >= 0) == BINARY
    assert trainer.evaluate(X, BINARY)["accuracy"] == pytest.approx(right.mean(), rel=1e-12)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_scores_of_a_regression_are_the_loss_alone_without_penalty(weights):
    trainer = trainer_of(ONE, loss="mse", l1=10.0, l2=10.0)
    error = trainer.forward(X)[:, 0].astype(np.float64) - REAL
    found = trainer.evaluate(X, REAL, weights)
    assert found.keys() == {"loss"}
    assert found["loss"] == pytest.approx(mean(error**2 / 2, weights), rel=1e-5)


def test_scores_of_many_rows_are_those_of_all_rows_together():
    n = 2 * SCORED_ROWS + 5
    many, labels, weights = np.resize(X, (n, 4)), np.resize(LABELS, n), np.arange(n) / n
    weights[:SCORED_ROWS] = 0  # a whole block without weight
    trainer = trainer_of()
    raw = trainer.forward(many).astype(np.float64)
    rows = np.log(np.exp(raw).sum(axis=1)) - raw[np.arange(n), labels]
    found = trainer.evaluate(many, labels, weights)
    assert found["loss"] == pytest.approx(mean(rows, weights), rel=1e-5)
    right = raw.argmax(axis=1) == labels
    assert found["accuracy"] == pytest.approx(mean(right, weights), rel=1e-12)


def test_a_few_rows_are_seen_to_be_fine_and_are_refused_in_the_same_words_where_they_are_not():
    network = Network(3, [Dense(4, "relu"), Dense(2)])
    trainer = Trainer(network)
    few = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    whole = trainer.forward(np.tile(few, (4000, 1)))  # more than are looked at so
    for view in (few, few[:, ::-1].copy()[:, ::-1], np.asfortranarray(few), few.tolist()):
        assert np.array_equal(trainer.forward(view), whole[:5])
    assert np.array_equal(trainer.forward(few[3::-2]), whole[3::-2])
    for bad in (np.nan, np.inf, -np.inf):
        wrong = few.copy()
        wrong[3, 1] = bad
        with pytest.raises(InvalidInput, match="at row 3, column 1 is not a finite number"):
            trainer.predict(wrong)
    for wrong, why in (
        (few[:0], "no rows"),
        (few[0], "two-dimensional"),
        (few[:, :2], "2 columns"),
    ):
        with pytest.raises(InvalidInput, match=why):
            trainer.predict(wrong)


def test_predictions_of_a_few_rows_follow_every_change_of_the_weights():
    rows, y = np.eye(3, dtype=np.float32), np.arange(3)
    trainer = Trainer(Network(3, [Dense(8, "tanh"), Dense(3)]), batch_size=2)
    seen = []
    for _ in range(3):
        seen.append(trainer.forward(rows).copy())
        trainer.fit(rows, y, epochs=1)
        reference = Trainer(trainer.network, target="numpy")
        reference.set_parameters(trainer.parameters)
        assert_allclose(trainer.forward(rows), reference.forward(rows), 1e-5, 1e-6)
    assert not np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[1], seen[2])
    trainer.fit(np.tile(rows, (50, 1)), np.tile(y, 50), epochs=1)  # other working memory
    reference.set_parameters(trainer.parameters)
    assert_allclose(trainer.forward(rows), reference.forward(rows), 1e-5, 1e-6)
