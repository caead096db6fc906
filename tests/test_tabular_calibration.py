"""How sure classifiers of tables are: the temperature that their outputs are divided by."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastnn
from fastnn.training.snapshot import Snapshot

pytest.importorskip("sklearn", "1.6")
from fastnn.estimators.tabular.calibration import (  # noqa: E402
    calibrated,
    cooled,
    divided,
    sharpened,
)
from fastnn.estimators.tabular.members import draw  # noqa: E402


def labelled(rows, classes, temperature, seed=0):
    """Return outputs, and classes that have their probabilities at a temperature."""
    random = np.random.default_rng(seed)
    outputs = 4 * random.normal(size=(rows, classes))
    shares = np.exp(outputs / temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    places = (shares.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return outputs, places


def log_loss(outputs, places, weights=None):
    """Return the mean of -log p, in float64."""
    logs = outputs - np.logaddexp.reduce(outputs, axis=1)[:, None]
    return -np.average(logs[np.arange(len(places)), places], weights=weights)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_temperature_is_that_of_the_least_loss(classes, temperature):
    """Of many rows the prior tells nothing; weights of rows count."""
    outputs, places = labelled(20_000, classes, temperature)
    found = calibrated(outputs, places)
    assert_allclose(found.temperature, temperature, rtol=0.06)
    assert_allclose(found.loss, log_loss(outputs / found.temperature, places), atol=2e-4)
    near = [log_loss(outputs / (found.temperature * each), places) for each in (0.9, 1.1)]
    assert found.loss < min(near)
    weights = np.where(np.arange(20_000) < 10_000, 1.0, 0.0)
    other = np.concatenate([outputs[:10_000], -outputs[10_000:]])
    weighed = calibrated(other, places, weights)
    assert_allclose(weighed.temperature, temperature, rtol=0.08)
    assert_allclose(weighed.loss, log_loss(other / weighed.temperature, places, weights), atol=2e-4)


def test_one_output_is_the_second_class_against_the_first():
    """In any shape that a network or a metric has it in."""
    outputs, places = labelled(500, 2, 2.0)
    expected = calibrated(outputs, places)
    margin = outputs[:, 1] - outputs[:, 0]
    for given in (margin, margin[:, None], margin.astype(np.float32)):
        for targets in (places, places[:, None].astype(np.float64)):
            assert_allclose(calibrated(given, targets), expected, rtol=1e-4)


def test_few_rows_that_are_all_right_do_not_make_a_classifier_certain():
    """Their loss is the smaller, the smaller the temperature is: the prior holds against it."""
    places = np.arange(20) % 2
    outputs = 3.0 * np.eye(2)[places]
    found = calibrated(outputs, places)
    assert 0.5 < found.temperature < 1.0
    assert 0.5 < calibrated(100 * outputs, places).temperature <= 1.0


def test_outputs_of_any_size_are_finite():
    """As those of a network that is about to diverge."""
    outputs, places = labelled(50, 3, 1.0)
    for size in (0.0, 1e-30, 1e4, 1e30):
        assert np.isfinite(calibrated(size * outputs, places)).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_a_snapshot_is_divided_by_its_last_layer(classes):
    """So that it needs nothing beside a network, and a file has nothing more."""
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 4)).astype(np.float32)
    outputs = 1 if classes == 2 else classes
    loss = "binary_cross_entropy" if classes == 2 else "softmax_cross_entropy"
    network = fastnn.Network(4, [fastnn.Dense(8, "relu"), fastnn.Dense(outputs)])
    trainer = fastnn.Trainer(network, loss=loss, target="numpy")
    snapshot = Snapshot.of(trainer, outputs=trainer.forward(X))
    found = divided(snapshot, 2.5)
    expected = np.reshape(snapshot.forward(X), (60, -1)) / 2.5
    assert_allclose(np.reshape(found.forward(X), (60, -1)), expected, rtol=1e-5, atol=1e-6)
    assert_allclose(np.reshape(found.outputs, (60, -1)), expected, rtol=1e-5, atol=1e-6)
    assert np.reshape(snapshot.forward(X), (60, -1)) == pytest.approx(expected * 2.5)
    assert (found.epoch, found.view, found.target) == (
        snapshot.epoch, snapshot.view, snapshot.target,
    )  # fmt: skip


def test_a_mean_of_members_becomes_as_sure_as_it_should_be():
    """Members that are each calibrated and err apart are right more often than their mean says."""
    random = np.random.default_rng(0)
    X = random.normal(size=(2000, 6)).astype(np.float32)
    places = (X[:, :2].sum(axis=1) > 0).astype(np.int64)
    members = []
    for seed in range(4):
        network = fastnn.Network(6, [fastnn.Dense(1)])
        trainer = fastnn.Trainer(
            network, loss="binary_cross_entropy", optimizer=fastnn.AdamW(0.01), seed=seed,
            target="numpy",
        )  # fmt: skip
        trainer.fit(X[:60], places[:60], 3, progress=False)
        snapshot = Snapshot.of(trainer, outputs=trainer.forward(X))
        members.append(cooled(snapshot, places))
    ensemble = fastnn.Ensemble(members, [4, 2, 1, 1])
    found = sharpened(ensemble, members, places)
    before, after = (each.evaluate(X, places)["loss"] for each in (ensemble, found))
    assert after < before
    assert_allclose(found.weights, ensemble.weights)


@pytest.mark.parametrize("scoring", [None, "accuracy"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_is_as_sure_as_is_best_for_the_rows_to_validate_on(classes, scoring, tmp_path):
    """Whatever it is chosen by, and however networks go on learning labels that are wrong."""
    random = np.random.default_rng(0)
    X = random.normal(size=(800, 4))
    right = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0) * (classes - 2)
    y = np.where(random.random(800) < 0.2, (right + 1) % classes, right)
    model = fastnn.TabularClassifier(
        n_members=2, max_iter=15, scoring=scoring, random_state=0, n_jobs=1
    )
    model.fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    found = calibrated(np.log(model.predict_proba(X[400:])), y[400:])
    assert_allclose(found.temperature, 1.0, atol=0.15)
    if scoring is None:
        assert_allclose(-model.validation_score_, found.loss, rtol=0.01)
    model.save(tmp_path / "model.safetensors")
    again = fastnn.TabularClassifier.load(tmp_path / "model.safetensors")
    assert (again.predict_proba(X) == model.predict_proba(X)).all()


@pytest.mark.parametrize("kind", ["smooth", "steps"])
def test_some_members_of_several_classes_smooth_labels(kind):
    """Two classes have one output, which the engine smooths nothing of, and numbers none."""
    random = np.random.default_rng(0)
    drawn = [draw(random, kind, classes, False).smoothing for classes in (0, 2, 3) * 20]
    assert set(drawn[0::3]) == set(drawn[1::3]) == {0.0}
    assert set(drawn[2::3]) == {0.0, 0.1}
