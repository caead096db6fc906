"""SGDClassifier, SGDRegressor and Perceptron: the textbook's steps, and scikit-learn's numbers."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pairs import all_pairs

sklearn = pytest.importorskip("sklearn")

import scipy.sparse  # noqa: E402
from scipy.optimize import minimize  # noqa: E402
from sklearn import linear_model  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris  # noqa: E402
from sklearn.ensemble import VotingClassifier  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler, scale  # noqa: E402

import fastnn  # noqa: E402
from fastnn import InvalidInput, MLPClassifier, Perceptron, SGDClassifier, SGDRegressor  # noqa: E402
from fastnn.targets.engine import Engine  # noqa: E402

RANDOM = np.random.default_rng(0)
CLASSIFICATIONS = ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron")
REGRESSIONS = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
X = RANDOM.normal(size=(40, 5)) / 8
SIGNS = np.where(X @ RANDOM.normal(size=5) + RANDOM.normal(size=40) / 16 > 0, 1, -1)
NUMBERS = X @ RANDOM.normal(size=5) + 0.02 * RANDOM.normal(size=40)
WEIGHTS = RANDOM.uniform(0, 0.4, 40)
WEIGHTS[7] = 0.0
ORDER = RANDOM.permutation(150)[:50]
IRIS = scale(load_iris().data)[ORDER] / 4
FLOWERS = load_iris().target[ORDER]
NAMES = np.array(["setosa", "versicolor", "virginica"])[FLOWERS]


def derivative(loss, p, y, epsilon=0.1):
    """Return dl/dp by the formulas of scikit-learn's guide; y is -1 or 1, or a number."""
    m, e = p * y, p - y
    return {
        "hinge": -y if m <= 1 else 0.0,
        "perceptron": -y if m <= 0 else 0.0,
        "log_loss": -y / (1 + np.exp(m)),
        "squared_hinge": -2 * y * max(0.0, 1 - m),
        "modified_huber": -4 * y if m < -1 else -2 * y * max(0.0, 1 - m),
        "squared_error": e,
        "huber": float(np.clip(e, -epsilon, epsilon)),
        "epsilon_insensitive": float(np.sign(e) * (abs(e) > epsilon)),
        "squared_epsilon_insensitive": 2 * np.sign(e) * max(0.0, abs(e) - epsilon),
    }[loss]


def textbook(loss, y, penalty, learning_rate, weights, epochs=2, alpha=0.05, eta0=0.02):
    """Return w and b after steps on one row after another, each written out."""
    ratio = {None: 0.0, "l2": 0.0, "l1": 1.0, "elasticnet": 0.15}[penalty]
    strength = 0.0 if penalty is None else alpha
    w, b, t = np.zeros(X.shape[1]), 0.0, 1
    for _ in range(epochs):
        for row, target, weight in zip(X, y, weights, strict=True):
            eta = {
                "constant": eta0,
                "optimal": 1 / (alpha * (alpha**-0.75 + t - 1)),
                "invscaling": eta0 / t**0.25,
            }[learning_rate]
            change = eta * weight * derivative(loss, w @ row + b, target)
            w = w * (1 - eta * strength * (1 - ratio)) - change * row
            w = np.sign(w) * np.maximum(np.abs(w) - eta * strength * ratio, 0)
            b, t = b - change, t + 1
    return w, b


@pytest.mark.parametrize(
    ("loss", "penalty", "learning_rate", "weighted", "target"),
    all_pairs(
        CLASSIFICATIONS + REGRESSIONS,
        [None, "l2", "l1", "elasticnet"],
        ["constant", "optimal", "invscaling"],
        [False, True],
        ["numpy", "cpu"],
    ),
)
def test_steps_on_one_row_are_the_textbooks(loss, penalty, learning_rate, weighted, target):
    weights = WEIGHTS if weighted else None
    settings = dict(
        loss=loss, penalty=penalty, learning_rate=learning_rate, alpha=0.05, eta0=0.02,
        power_t=0.25, max_iter=2, tol=None, shuffle=False, target=target,
    )  # fmt: skip
    own = np.ones(40) if weights is None else weights
    fitted = SGDClassifier(**settings).fit(X, SIGNS, sample_weight=weights)
    w, b = textbook(loss, SIGNS, penalty, learning_rate, own)
    assert_allclose(fitted.coef_[0], w, rtol=0, atol=1e-10)
    assert_allclose(fitted.intercept_, b, rtol=0, atol=1e-10)
    if loss in REGRESSIONS:
        regressor = SGDRegressor(**settings).fit(X, NUMBERS, sample_weight=weights)
        w, b = textbook(loss, NUMBERS, penalty, learning_rate, own)
        assert_allclose(regressor.coef_, w, rtol=0, atol=1e-10)
        assert_allclose(regressor.intercept_, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("loss", "learning_rate", "average", "class_weight"),
    all_pairs(
        CLASSIFICATIONS + REGRESSIONS,
        ["constant", "optimal", "invscaling", "adaptive"],
        [False, True, 20],
        [None, "balanced", {0: 2.0, 1: 0.5, 2: 1.0}],
    ),
)
def test_unshuffled_epochs_are_scikit_learns(loss, learning_rate, average, class_weight):
    settings = dict(
        loss=loss, learning_rate=learning_rate, average=average, class_weight=class_weight,
        alpha=0.05, eta0=0.02, max_iter=3, tol=None, shuffle=False,
    )  # fmt: skip
    weights = RANDOM.uniform(0.2, 2, len(IRIS))
    mine = SGDClassifier(**settings, target="numpy").fit(IRIS, FLOWERS, sample_weight=weights)
    theirs = linear_model.SGDClassifier(**settings).fit(IRIS, FLOWERS, sample_weight=weights)
    for each in () if average else (mine, theirs):  # theirs loses the intercepts of a mean
        each.partial_fit(IRIS[:20], FLOWERS[:20])
    assert_allclose(mine.coef_, theirs.coef_, rtol=1e-8, atol=1e-10)
    assert_allclose(mine.intercept_, theirs.intercept_, rtol=1e-8, atol=1e-10)
    assert (mine.t_, mine.n_iter_) == (theirs.t_, theirs.n_iter_)
    found = mine.decision_function(IRIS)
    assert_allclose(found, theirs.decision_function(IRIS), rtol=1e-7, atol=1e-9)
    assert np.array_equal(mine.predict(IRIS), theirs.predict(IRIS))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("learning_rate", ["optimal", "adaptive"])
@pytest.mark.parametrize("loss", ["hinge", "log_loss", "modified_huber"])
def test_an_unshuffled_fit_of_two_classes_ends_where_scikit_learns_does(
    loss, learning_rate, early_stopping
):
    data, labels = load_breast_cancer(return_X_y=True)
    data = scale(data)[::2]
    settings = dict(
        loss=loss, learning_rate=learning_rate, eta0=0.01, alpha=0.01, shuffle=False, max_iter=300,
        early_stopping=early_stopping, random_state=3,
        # Theirs scores weights without the scale that l2 has brought them to.
        penalty=None if early_stopping else "l2",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mine = SGDClassifier(**settings, target="numpy").fit(data, labels[::2])
        theirs = linear_model.SGDClassifier(**settings).fit(data, labels[::2])
    # Their penalty is that of each step, ours the mean of before and after an epoch.
    assert abs(mine.n_iter_ - theirs.n_iter_) <= (0 if early_stopping else 2)
    if early_stopping:
        assert_allclose(mine.coef_, theirs.coef_, rtol=0, atol=1e-8)


def test_one_against_the_rest_is_a_model_of_each_class():
    settings = dict(loss="log_loss", max_iter=4, tol=None, shuffle=False, target="numpy")
    together = SGDClassifier(**settings).fit(IRIS, NAMES)
    assert together.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    for place, name in enumerate(together.classes_):
        alone = SGDClassifier(**settings).fit(IRIS, NAMES == name)
        assert_allclose(together.coef_[place], alone.coef_[0], rtol=0, atol=1e-12)
        assert_allclose(together.intercept_[place], alone.intercept_[0], rtol=0, atol=1e-12)


def test_the_perceptron_learns_from_a_first_row_of_either_class():
    for label in (-1, 1):
        y = np.array([label, -label])
        rows = np.array([[1.0, 2.0], [1.0, 2.0]]) * y[:, None] * label
        fitted = Perceptron(max_iter=1, tol=None, shuffle=False, target="numpy").fit(rows, y)
        assert_allclose(fitted.coef_[0], label * np.array([1.0, 2.0]) + (label - y[1]) * 0)


def objective(kind, w, alpha, l1):
    """Return mean loss plus penalty of w, whose last number is the intercept."""
    p = X @ w[:-1] + w[-1]
    m = p * SIGNS
    loss = {
        "hinge": np.maximum(0, 1 - m),
        "log_loss": np.logaddexp(0, -m),
        "squared_hinge": np.maximum(0, 1 - m) ** 2,
        "squared_error": 0.5 * (p - NUMBERS) ** 2,
    }[kind]
    penalty = l1 * np.abs(w[:-1]).sum() + 0.5 * alpha * w[:-1] @ w[:-1]
    return float(np.average(loss, weights=WEIGHTS) + penalty)


@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("loss", ["hinge", "log_loss", "squared_hinge", "squared_error"])
def test_long_averaged_fits_come_to_the_optimum_of_an_exact_solver(loss, penalty):
    alpha = 0.05
    kind = SGDRegressor if loss == "squared_error" else SGDClassifier
    y = NUMBERS if loss == "squared_error" else SIGNS
    weights = WEIGHTS / WEIGHTS.mean()
    fitted = kind(
        loss=loss, penalty=penalty, alpha=alpha, learning_rate="invscaling", eta0=0.5,
        power_t=0.5, max_iter=1500, tol=None, average=20000, random_state=0,
    )  # fmt: skip
    fitted.fit(X, y, sample_weight=weights)
    found = np.append(np.ravel(fitted.coef_), fitted.intercept_)
    l1, l2 = (alpha, 0.0) if penalty == "l1" else (0.0, alpha)
    best = min(
        minimize(lambda w: objective(loss, w, l2, l1), start, method="Powell", tol=1e-12).fun
        for start in (found, np.zeros(6))
    )
    assert objective(loss, found, l2, l1) <= best + (2e-2 if loss == "hinge" else 2e-3)


@pytest.mark.parametrize(
    ("kind", "theirs", "settings"),
    [
        (SGDClassifier, linear_model.SGDClassifier, {"loss": "log_loss"}),
        (SGDClassifier, linear_model.SGDClassifier, {"loss": "modified_huber", "average": 10}),
        (SGDRegressor, linear_model.SGDRegressor, {"loss": "huber", "penalty": "elasticnet"}),
        (Perceptron, linear_model.Perceptron, {"penalty": "l2"}),
    ],
    ids=["log_loss", "averaged", "regression", "perceptron"],
)
def test_weights_move_to_scikit_learn_and_back(kind, theirs, settings):
    y = NUMBERS if kind is SGDRegressor else SIGNS
    settings = {**settings, "max_iter": 5, "tol": None, "random_state": 0}
    mine = kind(**settings, target="numpy").fit(X, y)
    there = mine.to_sklearn()
    assert type(there) is theirs and there.get_params() == theirs(**settings).get_params()
    back = kind.from_sklearn(there)
    assert_allclose(there.predict(X), mine.predict(X), atol=1e-6)
    assert_allclose(back.predict(X), mine.predict(X), atol=1e-6)
    trainer = back.to_trainer()
    assert_allclose(trainer.forward(X)[:, 0], _scores(mine), atol=1e-6)
    assert_allclose(mine.to_trainer().forward(X)[:, 0], _scores(mine), atol=1e-6)
    # Training goes on from the same place, at the same rate.
    for each in (mine, there, back.set_params(target="numpy", shuffle=False)):
        each.set_params(shuffle=False).partial_fit(X, y)
    assert back.t_ == there.t_ == mine.t_
    if settings.get("penalty") != "elasticnet" and not settings.get("average"):
        assert_allclose(back.coef_, there.coef_, atol=1e-10)
        assert_allclose(mine.coef_, there.coef_, atol=1e-10)
    with pytest.raises(InvalidInput, match="from_sklearn takes a fitted"):
        kind.from_sklearn(mine)


def _scores(estimator):
    return (
        estimator.decision_function(X)
        if hasattr(estimator, "decision_function")
        else estimator.predict(X)
    )


def test_probabilities_are_scikit_learns():
    for loss in ("log_loss", "modified_huber"):
        for y in (NAMES, NAMES == "setosa"):
            mine = SGDClassifier(loss, max_iter=5, tol=None, target="numpy").fit(IRIS, y)
            theirs = mine.to_sklearn()
            assert_allclose(mine.predict_proba(IRIS), theirs.predict_proba(IRIS), atol=1e-12)
    with np.errstate(divide="ignore"):
        logs = mine.predict_log_proba(IRIS)
    assert_allclose(np.exp(logs), mine.predict_proba(IRIS), atol=1e-12)
    with pytest.raises(AttributeError, match="not available for loss='hinge'|predict_proba"):
        SGDClassifier().predict_proba(IRIS)
    assert not hasattr(SGDClassifier(), "predict_proba") and not hasattr(
        Perceptron(), "predict_proba"
    )


def test_softmax_is_one_model_of_all_classes():
    settings = {"loss": "softmax_cross_entropy", "alpha": 0.01, "random_state": 0}
    fitted = SGDClassifier(**settings, max_iter=300, batch_size=5, learning_rate="constant",
                           eta0=0.2, tol=None, target="numpy").fit(IRIS, NAMES)  # fmt: skip
    exact = linear_model.LogisticRegression(C=1 / (0.01 * len(IRIS))).fit(IRIS, NAMES)
    assert_allclose(fitted.predict_proba(IRIS), exact.predict_proba(IRIS), atol=0.02)
    two = SGDClassifier(**settings, max_iter=3, tol=None, target="numpy").fit(X, SIGNS)
    binary = SGDClassifier(**settings | {"loss": "log_loss"}, max_iter=3, tol=None, target="numpy")
    assert_allclose(two.coef_, binary.fit(X, SIGNS).coef_)


@pytest.mark.parametrize("regression", [False, True])
def test_standardize_is_a_scaler_before_and_predicts_in_the_callers_units(regression):
    data = IRIS * [1e4, 1, 1e-3, 10] + [1e5, 0, 5, -3]
    settings = dict(max_iter=20, tol=None, random_state=0, target="numpy", dtype="float64")
    if regression:
        y = IRIS @ [3e3, 1e3, 2e3, 0] + 1e5
        mine = SGDRegressor(**settings, standardize=True).fit(data, y)
        scaled = make_pipeline(StandardScaler(), SGDRegressor(**settings))
        expected = scaled.fit(data, scale(y)).predict(data) * y.std() + y.mean()
        assert_allclose(mine.predict(data), expected, rtol=1e-9)
        assert mine.score(data, y) > 0.95
    else:
        settings |= {"learning_rate": "constant", "eta0": 0.05}
        mine = SGDClassifier("log_loss", **settings, standardize=True).fit(data, NAMES)
        scaled = make_pipeline(StandardScaler(), SGDClassifier("log_loss", **settings))
        expected = scaled.fit(data, NAMES).decision_function(data)
        assert_allclose(mine.decision_function(data), expected, rtol=1e-7)
        assert mine.score(data, NAMES) > 0.8
    before = mine.coef_.copy()
    mine.partial_fit(data, y if regression else NAMES)
    assert_allclose(mine.coef_, before, rtol=0.5, atol=abs(before).max() / 2)
    outputs = mine.to_trainer().forward(data)
    scores = mine.predict(data)[:, None] if regression else mine.decision_function(data)
    assert_allclose(outputs, scores, rtol=1e-6, atol=1e-6)


def test_epsilon_is_in_the_units_of_y_where_it_is_standardized():
    data, y = load_diabetes(return_X_y=True)
    settings = dict(loss="huber", epsilon=20.0, max_iter=5, tol=None, random_state=0,
                    target="numpy", standardize=True)  # fmt: skip
    fitted = SGDRegressor(**settings).fit(data, y)
    assert fitted._trainer.loss == fastnn.Huber(20.0 / y.std())


def test_rows_to_validate_on_are_scored_after_each_epoch():
    settings = dict(loss="log_loss", max_iter=50, random_state=0, target="numpy")
    fitted = SGDClassifier(**settings, tol=None).fit(IRIS, NAMES, X_val=IRIS, y_val=NAMES)
    assert len(fitted.validation_scores_) == len(fitted.loss_curve_) == 50
    assert fitted.validation_scores_[-1] == fitted.score(IRIS, NAMES)
    scored = SGDClassifier(**settings, early_stopping=True, scoring="neg_log_loss")
    scored.fit(IRIS, NAMES, X_val=IRIS, y_val=NAMES, sample_weight_val=np.ones(len(IRIS)))
    assert scored.n_iter_ < 50 and max(scored.validation_scores_) < 0
    with pytest.raises(InvalidInput, match="X_val given without y_val"):
        SGDClassifier(**settings).fit(IRIS, NAMES, X_val=IRIS)
    with pytest.raises(InvalidInput, match="sample_weight_val given without"):
        SGDClassifier(**settings).fit(IRIS, NAMES, sample_weight_val=np.ones(len(IRIS)))


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (SGDClassifier(learning_rate="pa1"), "passive-aggressive.*use learning_rate='optimal'"),
        (SGDRegressor(learning_rate="pa2"), "passive-aggressive"),
        (SGDClassifier(alpha=0), "alpha must be > 0 since learning_rate is 'optimal'"),
        (SGDClassifier(average=True, optimizer=fastnn.Adam()), "average=True is the mean"),
        (SGDClassifier(penalty="elasticnet", l1_ratio=None), "l1_ratio must be set"),
        (SGDClassifier("no loss"), "The 'loss' parameter of SGDClassifier"),
        (SGDClassifier(power_t=np.inf), "The 'power_t' parameter"),
        (SGDClassifier(batch_size=0), "The 'batch_size' parameter"),
        (Perceptron(eta0=0.0), "The 'eta0' parameter of Perceptron"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_parameters_that_cannot_be_are_refused_and_nothing_has_changed(estimator, match):
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=match):
        estimator.fit(X, SIGNS)
    assert vars(estimator) == before


def test_a_fit_that_fails_leaves_the_fitted_estimator_as_it_was():
    fitted = SGDRegressor(max_iter=3, tol=None, target="numpy").fit(X, NUMBERS)
    before, predicted = dict(vars(fitted)), fitted.predict(X)
    changed = dict(loss="mse", eta0=1e12, alpha=0.0)
    with pytest.raises(ValueError, match=r"Floating-point under-/overflow occurred at epoch #\d"):
        fitted.set_params(**changed).fit(X * 1e9, NUMBERS)
    assert vars(fitted) == {**before, **changed}
    assert np.array_equal(fitted.predict(X), predicted)
    with pytest.raises(ValueError, match="greater than one; got 1 class"):
        SGDClassifier().fit(X, np.ones(40))
    partial = SGDClassifier(target="numpy").partial_fit(X, SIGNS, classes=[-1, 1])
    with pytest.raises(ValueError, match=r"y has the labels \[5\]"):
        partial.partial_fit(X, np.full(40, 5))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        SGDClassifier().partial_fit(X, SIGNS)
    with pytest.raises(ValueError, match="does not match dataset"):
        SGDClassifier().fit(X, SIGNS, coef_init=np.zeros(4))


def test_chunks_go_on_where_the_last_has_ended():
    whole = SGDClassifier("log_loss", shuffle=False, max_iter=1, tol=None, target="numpy")
    whole.fit(IRIS, NAMES)
    parts = clone(whole)
    for start in range(0, 50, 10):
        part = slice(start, start + 10)
        parts.partial_fit(IRIS[part], NAMES[part], classes=np.unique(NAMES))
        parts = pickle.loads(pickle.dumps(copy.deepcopy(parts)))
    assert parts.t_ == whole.t_ == 51
    assert_allclose(parts.coef_, whole.coef_, rtol=0, atol=1e-12)


def test_weights_set_by_hand_are_gone_on_from():
    fitted = SGDRegressor(shuffle=False, target="numpy").partial_fit(X, NUMBERS)
    expected = fitted.to_sklearn()
    for each in (fitted, expected):
        each.coef_ = np.arange(5.0)
        each.partial_fit(X, NUMBERS)
    assert_allclose(fitted.coef_, expected.coef_, rtol=0, atol=1e-12)


def test_rates_go_on_after_chunks_of_another_optimizer():
    first, second = (slice(0, 20), slice(20, 40))
    fitted = SGDRegressor(shuffle=False, target="numpy", optimizer=fastnn.Adam())
    fitted.partial_fit(X[first], NUMBERS[first])
    fitted.set_params(optimizer=None)
    expected = fitted.to_sklearn()  # which takes its rate from t_
    for each in (fitted, expected):
        each.partial_fit(X[second], NUMBERS[second])
    assert fitted.t_ == expected.t_ == 41
    assert_allclose(fitted.coef_, expected.coef_, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("target", ["cpu", "numpy"])
@pytest.mark.parametrize(
    ("alpha", "settings"),
    [
        (1e5, dict(learning_rate="constant", eta0=0.3)),
        (1e5, dict(learning_rate="optimal")),
        (1000.0, dict(learning_rate="invscaling")),
        (250.0, dict(learning_rate="adaptive")),
        (150.0, dict(learning_rate="invscaling", average=True)),
        (30.0, dict(learning_rate="invscaling", eta0=0.1, power_t=0.0)),
        (300.0, dict(learning_rate="invscaling", batch_size=7)),
    ],
)
def test_l2_that_would_turn_weights_around_leaves_none_as_in_scikit_learn(
    alpha, settings, sparse, target
):
    """scikit-learn's steps are on single rows; of batches there is what the NumPy target does."""
    settings = dict(alpha=alpha, max_iter=20, tol=None, shuffle=False, **settings)
    rows = scipy.sparse.csr_array(X * (np.abs(X) > 0.1)) if sparse else X
    start = dict(coef_init=np.ones(5), intercept_init=0.2)
    mine = SGDRegressor(**settings, target=target).fit(rows, NUMBERS, **start)
    theirs = SGDRegressor(**settings, target="numpy")
    if "batch_size" not in settings:
        theirs = linear_model.SGDRegressor(**settings)
    theirs.fit(rows, NUMBERS, **start)
    # A mean that began with ones has lost digits.
    lost = 1e-11 if settings.get("average") else 1e-14
    assert_allclose(mine.coef_, theirs.coef_, rtol=1e-9, atol=lost)
    assert_allclose(mine.intercept_, theirs.intercept_, rtol=1e-9)
    assert np.abs(mine.coef_).max() < 0.1


@pytest.mark.parametrize("target", ["cpu", "numpy"])
def test_an_elastic_net_of_huge_alpha_leaves_no_weight(target):
    settings = dict(alpha=1e4, penalty="elasticnet", l1_ratio=0.5, max_iter=20, tol=None)
    for rows in (X, scipy.sparse.csr_array(X)):
        assert not SGDRegressor(target=target, **settings).fit(rows, NUMBERS).coef_.any()


def test_what_scikit_learn_makes_of_estimators_works():
    data, y = scale(load_iris().data), load_iris().target
    linear = SGDClassifier("log_loss", random_state=0, max_iter=50, target="numpy", batch_size=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert cross_val_score(linear, data, y).mean() > 0.8
        search = GridSearchCV(linear, {"alpha": [1e-3, 1e-2], "batch_size": [5, 20]}, cv=3)
        assert search.fit(data, y).best_score_ > 0.8
        calibrated = CalibratedClassifierCV(Perceptron(target="numpy"), cv=3).fit(data, y)
    assert calibrated.predict_proba(data).shape == (150, 3)


def test_float32_stays_float32_and_dtype_decides_otherwise():
    small = X.astype(np.float32)
    assert (
        SGDClassifier(target="numpy", max_iter=5, tol=None).fit(small, SIGNS).coef_.dtype
        == np.float32
    )
    wide = SGDClassifier(target="numpy", max_iter=5, tol=None, dtype="float64").fit(small, SIGNS)
    assert wide.coef_.dtype == np.float64


def test_optimizers_schedules_callbacks_and_restarts_are_those_of_a_trainer():
    epochs = []
    fitted = SGDClassifier(
        "log_loss", optimizer=fastnn.Adam(), schedule=fastnn.schedules.Cosine(0.1, 100),
        callbacks=lambda trainer, history: epochs.append(trainer.epoch), batch_size=8, max_iter=20,
        tol=None, n_restarts=2, random_state=0, target="numpy",
    )  # fmt: skip
    fitted.fit(X, SIGNS)
    assert epochs == [*range(1, 21)] * 2 and fitted.score(X, SIGNS) > 0.85
    assert fitted.to_trainer().optimizer == fastnn.Adam(fastnn.schedules.Cosine(0.1, 100))


def test_sparse_weights_predict_the_same():
    fitted = SGDClassifier(penalty="l1", alpha=0.05, target="numpy", max_iter=20, tol=None)
    expected = fitted.fit(X, SIGNS).decision_function(X)
    fitted.sparsify()
    assert_allclose(fitted.decision_function(X), expected)
    fitted.partial_fit(X, SIGNS)
    assert fitted.densify().coef_.shape == (1, 5)


def test_voting_importance_chunks_and_routed_weights():
    data, y = scale(load_iris().data), load_iris().target
    linear = SGDClassifier("log_loss", random_state=0, max_iter=20, tol=None, target="numpy")
    voting = VotingClassifier(
        [("a", linear), ("b", linear_model.LogisticRegression())], voting="soft"
    )
    assert voting.fit(data, y).score(data, y) > 0.8
    importance = permutation_importance(linear.fit(data, y), data, y, n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() in (2, 3)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = (
            clone(linear).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        )
        weights = np.where(y == 0, 1.0, 0.0) + 1e-9
        scores = cross_val_score(routed, data, y, cv=2, params={"sample_weight": weights})
    assert scores.min() > 0.99


def test_dask_fits_chunks_of_rows():
    wrappers = pytest.importorskip("dask_ml.wrappers")
    data, y = scale(load_iris().data), load_iris().target
    wrapped = wrappers.Incremental(SGDClassifier("log_loss", random_state=0, target="numpy"))
    for _ in range(5):
        wrapped.partial_fit(data, y, classes=[0, 1, 2])
    assert wrapped.score(data, y) > 0.6


def test_columns_of_a_frame_have_names_that_are_kept_and_compared():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(IRIS, columns=["a", "b", "c", "d"])
    fitted = SGDClassifier(max_iter=3, tol=None, target="numpy").fit(frame, NAMES)
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[["b", "a", "c", "d"]])


def test_powers_below_0_are_taken_with_the_warning_of_scikit_learn():
    settings = dict(learning_rate="invscaling", power_t=-0.5, eta0=1e-3, max_iter=2, tol=None,
                    shuffle=False)  # fmt: skip
    with pytest.warns(FutureWarning, match="Negative values for `power_t` are deprecated"):
        mine = SGDRegressor(**settings, target="numpy").fit(X, NUMBERS)
    with pytest.warns(FutureWarning):
        theirs = linear_model.SGDRegressor(**settings).fit(X, NUMBERS)
    for each in (mine, theirs):
        each.partial_fit(X, NUMBERS)
    assert_allclose(mine.coef_, theirs.coef_, rtol=0, atol=1e-12)


def test_huge_errors_of_a_regression_end_in_finite_numbers_as_scikit_learns():
    settings = dict(max_iter=2, tol=None, shuffle=False)
    data = 100 + np.random.default_rng(5).normal(size=(60, 3))
    with pytest.warns(fastnn.errors.TrainingWarning, match="X is large"):
        mine = SGDRegressor(**settings, target="numpy").fit(data, data[:, 0])
    theirs = linear_model.SGDRegressor(**settings).fit(data, data[:, 0])
    for each in (mine, theirs):  # of no use: a last bit makes them other ones
        assert np.isfinite(each.coef_).all() and abs(each.coef_).max() > 1e8


def test_losses_with_a_parameter_are_checked_and_named():
    for kind, name in (
        (fastnn.Huber, "delta of Huber"),
        (fastnn.EpsilonInsensitive, "epsilon of EpsilonInsensitive"),
        (fastnn.SquaredEpsilonInsensitive, "epsilon of SquaredEpsilonInsensitive"),
        (fastnn.Margin, "margin of Margin"),
    ):
        for wrong in (-1.0, np.nan, "1"):
            with pytest.raises(InvalidInput, match=f"{name} must be a finite number"):
                kind(wrong)
        trainer = fastnn.Trainer(fastnn.Network(3, [fastnn.Dense(1)]), kind(0.5), target="numpy")
        assert pickle.loads(pickle.dumps(trainer)).loss == kind(0.5)
    with pytest.raises(InvalidInput, match="has activation 'sigmoid', whose outputs lie between"):
        fastnn.Trainer(fastnn.Network(3, [fastnn.Dense(1, "sigmoid")]), fastnn.Margin(0.5))


def test_verbose_lines_are_those_of_scikit_learn(capsys):
    settings = {"loss": "log_loss", "shuffle": False, "max_iter": 3, "tol": None, "verbose": 1}
    printed = []
    kinds = SGDClassifier(target="numpy", **settings), linear_model.SGDClassifier(**settings)
    for kind in kinds:
        kind.fit(X, SIGNS)
        printed.append(re.sub(r"time: \d+\.\d\d", "time: t", capsys.readouterr().out))
    if "Objective" not in printed[1]:  # before 1.9
        printed[0] = re.sub(", Objective: .*", "", printed[0])
    number = re.compile(r"-?\d+\.?\d*")
    assert number.sub("#", printed[0]) == number.sub("#", printed[1])
    mine, its = ([float(each) for each in number.findall(text)] for text in printed)
    assert_allclose(mine, its, rtol=2e-3)  # the penalty changes evenly in an epoch


@pytest.mark.parametrize("name", ["SGDClassifier", "Perceptron"])
def test_labels_that_are_objects_are_kept_as_scikit_learn_keeps_them(name):
    y = np.array(["b", "a", "b", "a"], object)
    X = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    ours, theirs = getattr(fastnn, name)(), getattr(linear_model, name)()
    assert ours.fit(X, y).classes_.dtype == theirs.fit(X, y).classes_.dtype == np.dtype("<U1")
    assert (ours.predict(X) == y).all()
    text = y.astype(np.dtypes.StringDType())
    ours = getattr(fastnn, name)().fit(X, text, X_val=X, y_val=text)
    more = getattr(fastnn, name)().partial_fit(X, text, classes=np.unique(text))
    for model in (ours, more):
        assert model.classes_.dtype == np.dtype("<U1") and model.score(X, text) == 1.0
    assert cross_val_score(ours, X, text, cv=KFold(2)).shape == (2,)


def test_epochs_that_may_end_are_planned_no_further_than_they_have_come(monkeypatch):
    planned, orders = [], Engine.orders

    def noted(engine, epochs, n, window=None):
        planned.append(len(epochs))
        return orders(engine, epochs, n, window)

    monkeypatch.setattr(Engine, "orders", noted)
    X, y = load_iris(return_X_y=True)
    for tol in (1e-1, 1e-3, 1e-6):
        planned.clear()
        epochs = SGDClassifier("log_loss", tol=tol, random_state=0).fit(X, y).n_iter_
        assert planned[0] == 16
        for place, count in enumerate(planned[1:], 1):
            assert count <= max(16, sum(planned[:place]))
        assert epochs <= sum(planned) < 2 * epochs + 16


@pytest.mark.parametrize("kind", [SGDClassifier, Perceptron, MLPClassifier])
def test_classes_given_again_are_compared_as_scikit_learn_does(kind):
    X, y = load_iris(return_X_y=True)
    for labels in (y, np.array(["a", "b", "c"])[y], y - 1.0):
        classes = np.unique(labels)
        fitted = kind(random_state=0).partial_fit(X, labels, classes=classes)
        same = [classes, classes[::-1], [*classes], np.repeat(classes, 2)]
        for given in same:
            fitted.partial_fit(X, labels, classes=given)
            np.testing.assert_array_equal(fitted.classes_, classes)
        for given in (classes[:2], [*classes[:2], 7.0 if labels.dtype.kind != "U" else "d"]):
            with pytest.raises(ValueError, match="is not the same as on last call"):
                fitted.partial_fit(X, labels, classes=given)


def half_square(output, target):
    return (output - target) ** 2 / 2


def half_square_of_labels(output, target):
    return (output - (2 * target - 1)) ** 2 / 2


@pytest.mark.parametrize("classes", [None, 2, 3])
def test_a_user_defined_loss_trains_as_the_same_one_by_its_name(classes):
    generator = np.random.default_rng(4)
    X = generator.normal(size=(90, 3))
    kind = SGDRegressor if classes is None else SGDClassifier
    y = X @ [1.0, -2.0, 0.5] if classes is None else generator.integers(0, classes, 90)
    settings = {"learning_rate": "constant", "random_state": 0, "target": "numpy", "max_iter": 9}
    settings["tol"] = None
    formula = half_square if classes is None else half_square_of_labels
    own, named = (kind(loss=loss, **settings).fit(X, y) for loss in (formula, "squared_error"))
    np.testing.assert_allclose(own.coef_, named.coef_, rtol=1e-12)
    for model in (own, named):
        model.partial_fit(X, y)
    np.testing.assert_allclose(own.coef_, named.coef_, rtol=1e-12)
    assert np.array_equal(pickle.loads(pickle.dumps(own)).predict(X), named.predict(X))
    assert own.to_trainer().loss != "mse" and own.get_params()["loss"] is formula
    with pytest.raises(InvalidInput, match="two variables, the output and the target, not 1"):
        kind(loss=lambda output: output, **settings).fit(X, y)
