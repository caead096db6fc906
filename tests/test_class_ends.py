"""Linear models of several classes: each ends for itself, as if it had been trained alone."""

import copy
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import make_blobs
from sklearn.linear_model import Perceptron as TheirPerceptron
from sklearn.linear_model import SGDClassifier as TheirClassifier

from fastnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    MLPClassifier,
    Nadam,
    Perceptron,
    RMSProp,
    SGDClassifier,
    SGDRegressor,
    Trainer,
)
from fastnn.estimators import linear_classifier

X, Y = make_blobs(300, 6, centers=4, cluster_std=4.0, random_state=0)
X = (X - X.mean(axis=0)) / X.std(axis=0)
STILL = {"shuffle": False, "max_iter": 400}


@pytest.fixture(autouse=True)
def without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    "settings",
    [
        {},
        # With a smaller alpha the first steps are so long that roundings grow beyond all bounds.
        {"loss": "log_loss", "alpha": 0.03},
        {"loss": "modified_huber", "alpha": 0.03},
        {"average": True},
        {"penalty": "l1"},
        {"class_weight": "balanced"},
        {"fit_intercept": False},
        {"learning_rate": "adaptive", "eta0": 0.01},
        {"batch_size": 4},
        {"target": "numpy", "max_iter": 30},
        {"standardize": True, "loss": "log_loss", "alpha": 0.03},
    ],
    ids=str,
)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_each_class_has_the_weights_of_a_model_of_its_own(settings, sparse):
    given = scipy.sparse.csr_array(np.where(np.abs(X) < 0.4, 0.0, X)) if sparse else X
    fitted = SGDClassifier(**{**STILL, **settings}).fit(given, Y)
    epochs = []
    for place, label in enumerate(fitted.classes_):
        own = {**STILL, **settings}
        if "class_weight" in own:
            own["class_weight"] = {True: len(Y) / (len(fitted.classes_) * (label == Y).sum())}
        alone = SGDClassifier(**own).fit(given, label == Y)
        np.testing.assert_allclose(fitted.coef_[place], alone.coef_[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(fitted.intercept_[place], alone.intercept_[0], rtol=1e-6)
        epochs.append(alone.n_iter_)
    assert fitted.n_iter_ == max(epochs)
    assert len(set(epochs)) > 1 or settings.get("target") == "numpy"
    assert len(fitted.loss_curve_) == fitted.n_iter_


@pytest.mark.parametrize(
    "ours, theirs, settings",
    [
        (SGDClassifier, TheirClassifier, {"penalty": None}),
        (SGDClassifier, TheirClassifier, {"penalty": None, "loss": "log_loss"}),
        (Perceptron, TheirPerceptron, {}),
    ],
    ids=str,
)
def test_epochs_and_weights_are_scikit_learns(ours, theirs, settings):
    fitted, expected = ours(**STILL, **settings).fit(X, Y), theirs(**STILL, **settings).fit(X, Y)
    assert fitted.n_iter_ == expected.n_iter_ < STILL["max_iter"]
    np.testing.assert_allclose(fitted.coef_, expected.coef_, rtol=1e-6, atol=1e-9)


def test_what_follows_a_fit_sees_all_classes_and_changes_no_end():
    plain, seen = SGDClassifier(**STILL).fit(X, Y), []
    followed = SGDClassifier(**STILL, callbacks=lambda *_: seen.append(1)).fit(X, Y)
    validated = SGDClassifier(**STILL).fit(X, Y, X_val=X[:50], y_val=Y[:50])
    np.testing.assert_array_equal(plain.coef_, followed.coef_)
    np.testing.assert_array_equal(plain.coef_, validated.coef_)
    assert plain.loss_curve_ == followed.loss_curve_ == validated.loss_curve_
    assert len(seen) == plain.n_iter_ == len(validated.validation_scores_)


def test_a_callback_may_end_all_classes_before_their_own_ends():
    stopping = SGDClassifier(**STILL, callbacks=lambda trainer, _: trainer.epoch == 4).fit(X, Y)
    expected = SGDClassifier(shuffle=False, max_iter=4, tol=None).fit(X, Y)
    assert stopping.n_iter_ == 4
    np.testing.assert_array_equal(stopping.coef_, expected.coef_)


def test_a_fit_leaves_no_ends_behind_for_what_comes_after_it():
    fitted = SGDClassifier(**STILL, learning_rate="constant", eta0=0.01).fit(X, Y)
    before = fitted.coef_.copy()
    trainer = fitted.to_trainer()
    trainer.fit(X, (Y[:, None] == np.arange(4)).astype(float), epochs=1)
    assert (trainer.parameters[0][0].T != before).any(axis=1).all(), "all classes are trained"


def test_of_several_fits_each_has_its_own_ends():
    several = SGDClassifier(max_iter=400, n_restarts=3, random_state=0).fit(X, Y)
    assert several.n_iter_ < 400
    assert len(several.loss_curve_) == several.n_iter_


def test_classes_of_dense_rows_are_not_fitted_one_after_another(monkeypatch):
    calls = []
    monkeypatch.setattr(linear_classifier, "fit_each", lambda *_: calls.append(1))
    SGDClassifier(**STILL).fit(X, Y)
    Perceptron(**STILL).fit(X.astype(np.float32), Y)
    assert not calls, "dense rows are trained side by side"


def test_a_number_of_epochs_is_the_same_for_all():
    settings = {"tol": None, "max_iter": 20, "shuffle": False}
    together, theirs = SGDClassifier(**settings), TheirClassifier(penalty=None, **settings)
    together.set_params(penalty=None).fit(X, Y)
    np.testing.assert_allclose(together.coef_, theirs.fit(X, Y).coef_, rtol=1e-6, atol=1e-9)


def test_training_goes_on_from_the_weights_of_each_end():
    settings = {**STILL, "learning_rate": "constant", "eta0": 1e-3}
    fitted = SGDClassifier(**settings).fit(X, Y)
    np.testing.assert_allclose(fitted.to_trainer().parameters[0][0].T, fitted.coef_)
    fitted.partial_fit(X, Y)
    for place, label in enumerate(fitted.classes_):
        alone = SGDClassifier(**settings).fit(X, label == Y).partial_fit(X, label == Y)
        np.testing.assert_allclose(fitted.coef_[place], alone.coef_[0], rtol=1e-6, atol=1e-9)


def test_a_fit_that_fails_leaves_all_classes_as_they_were():
    fitted = SGDClassifier(**STILL).fit(X, Y)
    before, expected = fitted.coef_.copy(), fitted.predict(X)
    fitted.set_params(learning_rate="constant", eta0=1e300, loss="squared_error")
    with pytest.raises(ValueError, match="overflow"):
        fitted.fit(1e10 * X, Y)
    np.testing.assert_array_equal(fitted.coef_, before)
    np.testing.assert_array_equal(fitted.predict(X), expected)


@pytest.fixture
def trained_epochs(monkeypatch):
    """Return how many epochs each call of the engine has done."""
    from fastnn.targets.cpu.engine import Engine

    found, train = [], Engine.train_epochs

    def counted(engine, data, orders, *more, **named):
        found.append(len(orders))
        return train(engine, data, orders, *more, **named)

    monkeypatch.setattr(Engine, "train_epochs", counted)
    return found


@pytest.mark.parametrize("labels", [Y, Y == 1], ids=["classes", "two"])
def test_epochs_of_models_that_end_for_themselves_are_done_once(labels, trained_epochs):
    fitted = SGDClassifier(**STILL).fit(X, labels)
    assert 32 < fitted.n_iter_ < 64, "for the third call"
    assert trained_epochs == [16, 16, 32], "as many as are done already, and none again"


def test_few_epochs_are_done_again_where_a_fit_ends(trained_epochs):
    settings = {"hidden_layer_sizes": (9,), "learning_rate_init": 0.05, "random_state": 0}
    fitted = MLPClassifier(tol=1e-3, n_iter_no_change=6, max_iter=2000, **settings).fit(X, Y)
    assert 40 < fitted.n_iter_ < 2000
    assert sum(trained_epochs) < 1.6 * fitted.n_iter_
    first, again = trained_epochs[:4], trained_epochs[-1]
    assert max(first) <= 7 and again <= max(7, fitted.n_iter_ // 4)


def test_objectives_of_sparse_rows_have_their_l1_penalty():
    settings = {
        "penalty": "l1", "alpha": 0.1, "average": 20, "learning_rate": "constant", "eta0": 1e-2,
        "shuffle": False, "max_iter": 20, "tol": None, "fit_intercept": False,
    }  # fmt: skip
    y = X @ np.arange(6.0)  # without an intercept, which moves less on sparse rows
    dense, sparse = (
        SGDRegressor(**settings).fit(each, y) for each in (X, scipy.sparse.csr_array(X))
    )
    np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-9)


KINDS_OF_STATE = {
    "adaptive": {"learning_rate": "adaptive", "eta0": 0.05, "average": True},
    "mean of a part": {"batch_size": 4, "average": 100},
    "momentum": {"batch_size": 4, "optimizer": SGD(0.01, momentum=0.9)},
    "nesterov": {"batch_size": 4, "optimizer": SGD(0.01, momentum=0.9, nesterov=True)},
    "adam": {"batch_size": 4, "optimizer": Adam(0.01, epsilon=1e-12)},
    "nadam": {"batch_size": 4, "optimizer": Nadam(0.01, epsilon=1e-12)},
    "rmsprop": {"batch_size": 4, "optimizer": RMSProp(0.01, epsilon=1e-12)},
    "adagrad": {"batch_size": 4, "optimizer": Adagrad(0.01, epsilon=1e-12)},
    "lion": {"batch_size": 4, "optimizer": Lion(0.01)},
    "ema": {"batch_size": 4, "optimizer": AdamW(0.01, epsilon=1e-12, ema=0.9)},
    "schedule": {"batch_size": 4, "schedule": lambda step: 0.1 / (1.0 + step)},
}


@pytest.mark.parametrize("name", KINDS_OF_STATE)
@pytest.mark.parametrize("weights", [None, {0: 5.0, 2: 0.3}], ids=["alike", "weighted"])
def test_partial_fit_goes_on_with_the_state_of_classes_fitted_one_after_another(name, weights):
    given = {"class_weight": weights, "max_iter": 3, "target": "numpy", "shuffle": False}
    side_by_side, in_turn = (
        SGDClassifier(**given, tol=tol, n_iter_no_change=9, **KINDS_OF_STATE[name]).fit(X, Y)
        for tol in (None, 1e-9)
    )
    for _ in range(3):
        for model in (side_by_side, in_turn):
            model.partial_fit(X[:90], Y[:90])
        np.testing.assert_allclose(in_turn.coef_, side_by_side.coef_, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(in_turn.intercept_, side_by_side.intercept_, rtol=1e-6)
    ours, theirs = in_turn.to_trainer(), side_by_side.to_trainer()
    assert (ours.step, ours.epoch) == (theirs.step, theirs.epoch)


def test_the_means_of_classes_that_end_apart_go_on_as_in_scikit_learn():
    kinds = SGDClassifier, TheirClassifier
    given = {**STILL, "learning_rate": "adaptive", "eta0": 0.01, "alpha": 0.01, "average": True}
    ours, theirs = (kind(**given, loss="log_loss", tol=0.01).fit(X, Y) for kind in kinds)
    alone = [
        TheirClassifier(**given, loss="log_loss", tol=0.01).fit(X, label == Y).n_iter_
        for label in ours.classes_
    ]
    assert len(set(alone)) > 1
    for _ in range(2):
        assert ours.t_ == theirs.t_
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9)
        for model in (ours, theirs):
            model.partial_fit(X, Y)


@pytest.mark.parametrize("optimizer", [Adam(0.01), Nadam(0.01), AdamW(0.01, ema=0.9)], ids=str)
def test_moments_of_a_class_that_ended_sooner_keep_their_corrected_size(optimizer):
    given = {"tol": 0.02, "n_iter_no_change": 1, "batch_size": 4, "shuffle": False}
    model = SGDClassifier("log_loss", optimizer=optimizer, target="numpy", **given)
    epochs = [copy.copy(model).fit(X, label == Y).n_iter_ for label in range(4)]
    assert len(set(epochs)) > 1
    model.fit(X, Y)
    state = model.to_trainer().__getstate__()
    alone = SGDClassifier("log_loss", optimizer=optimizer, target="numpy", **given)
    for place in range(4):
        own = copy.copy(alone).fit(X, place == Y).to_trainer().__getstate__()
        for number, decay in enumerate(optimizer.constants[:2]):
            of_all = state.slots[number][0][0][:, place] / (1.0 - decay**state.step)
            of_one = own.slots[number][0][0][:, 0] / (1.0 - decay**own.step)
            np.testing.assert_allclose(of_all * 4.0 ** (number + 1), of_one, rtol=1e-9)
    assert model.t_ == state.step + 1


def test_the_trainer_of_classes_fitted_one_after_another_is_saved(tmp_path):
    model = SGDClassifier(batch_size=4, max_iter=3, optimizer=Adam(0.01), target="numpy")
    trainer = model.fit(X, Y).to_trainer()
    trainer.save(tmp_path / "model.safetensors")
    same = Trainer.load(tmp_path / "model.safetensors")
    assert (same.step, same.epoch) == (trainer.step, trainer.epoch) == (225, 3)
    trainer.fit(X, np.eye(4)[Y] > 0, epochs=1)
    same.fit(X, np.eye(4)[Y] > 0, epochs=1)
    np.testing.assert_array_equal(same.parameters[0][0], trainer.parameters[0][0])
