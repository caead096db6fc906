"""Probabilities that `TabularClassifier` gives: whether they come true as often as they say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastnn

pytest.importorskip("sklearn", "1.6")
pd = pytest.importorskip("pandas")
from sklearn.calibration import calibration_curve  # noqa: E402

from fastnn.estimators.tabular.calibration import divided  # noqa: E402


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_come_true_as_often_as_they_say(classes):
    """The reliability curve of rows of known probabilities that were not trained on."""
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(6000, 3)), columns=["a", "b", "c"])
    X["d"] = random.choice(["u", "v", "w"], 6000)
    scores = np.stack([X["a"], np.sin(2 * X["b"]), (X["d"] == "u") - 0.5][:classes], axis=1)
    shares = np.exp(1.5 * scores) / np.exp(1.5 * scores).sum(axis=1, keepdims=True)
    y = (random.uniform(size=(6000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    model = fastnn.TabularClassifier(4, random_state=0, n_jobs=1).fit(X[:3000], y[:3000])
    found = model.predict_proba(X[3000:])
    for place in range(classes):
        observed, predicted = calibration_curve(
            y[3000:] == place, found[:, place], n_bins=8, strategy="quantile"
        )
        assert len(observed) == 8 and np.ptp(predicted) > 0.5
        assert_allclose(observed, predicted, atol=0.1)
    assert np.abs(found - shares[3000:]).mean() < 0.06


def test_a_probability_close_to_1_leaves_the_other_one_what_it_is():
    """In float32, 1 minus the probability of an output above 17 would be 0."""
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 2))
    y = (X[:, 0] + 0.5 * random.normal(size=400) > 0).astype(int)
    model = fastnn.TabularClassifier(2, max_iter=20, random_state=0, n_jobs=1).fit(X, y)
    surer = [divided(each, 0.1) for each in model.ensemble_.members]
    model.ensemble_ = fastnn.Ensemble(surer, model.ensemble_.weights)
    found = model.predict_proba(X)
    assert ((found > 0) & (found < 0.5)).any(axis=1).all()
    rare = found[:, 0] < 1e-8
    assert rare.sum() > 20 and len(np.unique(found[rare, 0])) > 0.9 * rare.sum()
    logs = model.predict_log_proba(X)
    np.testing.assert_allclose(logs, np.log(found), rtol=1e-12)
    loss = -logs[np.arange(400), y].mean()
    assert model.measured(model.mean(X), y, ())["loss"] == pytest.approx(loss, rel=1e-6)
    assert model.forward(X).shape == (400, 1)
    assert_allclose(model.forward(X)[:, 0], found[:, 1], rtol=1e-6)
