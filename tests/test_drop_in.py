"""What scikit-learn's users do with its estimators, and what they would notice first."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse

joblib = pytest.importorskip("joblib")
linear_model = pytest.importorskip("sklearn.linear_model")
from sklearn.datasets import (  # noqa: E402
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_regression,
)
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils._param_validation import InvalidParameterError  # noqa: E402

import fastnn  # noqa: E402
from fastnn import (  # noqa: E402
    MLPClassifier,
    MLPRegressor,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)


def scaled(load):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def test_a_search_over_the_losses_of_linear_classifiers_has_no_nan():
    X, y = scaled(load_breast_cancer)
    losses = {"loss": ["hinge", "log_loss", "squared_hinge", "squared_epsilon_insensitive"]}
    search = GridSearchCV(SGDClassifier(random_state=0), losses, cv=3).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.cv_results_["mean_test_score"][2] > 0.9


@pytest.mark.parametrize("load", [load_wine, load_digits], ids=lambda load: load.__name__)
@pytest.mark.parametrize("average", [False, True])
def test_squared_hinge_learns_at_its_defaults_as_scikit_learns_does(load, average):
    X, y = scaled(load)
    loss = {"loss": "squared_hinge", "average": average}
    found, theirs = (
        np.mean([kind(random_state=seed, **loss).fit(X, y).score(X, y) for seed in range(3)])
        for kind in (SGDClassifier, linear_model.SGDClassifier)
    )
    assert found > theirs - 0.1


@pytest.mark.parametrize("rate", ["optimal", "constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("loss", ["squared_error", "squared_epsilon_insensitive"])
def test_regressions_that_go_far_off_end_in_finite_numbers(loss, rate):
    X, y = make_regression(200, 5, random_state=0)
    for kind in (SGDRegressor, linear_model.SGDRegressor):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = kind(loss, learning_rate=rate, eta0=0.5, random_state=0).fit(100 * X, y)
        assert np.isfinite(model.coef_).all()


class Narrow(MLPClassifier):
    """What has fewer parameters."""

    def __init__(self, alpha=1e-3):
        super().__init__(alpha=alpha, max_iter=5, random_state=0)


class NarrowRegressor(MLPRegressor):
    """What has fewer parameters."""

    def __init__(self, hidden_layer_sizes=(3,)):
        super().__init__(hidden_layer_sizes=hidden_layer_sizes, max_iter=5, random_state=1)


class NarrowLinear(SGDClassifier):
    """What has fewer parameters."""

    def __init__(self, loss="log_loss"):
        super().__init__(loss, random_state=3)


class NarrowLinearRegressor(SGDRegressor):
    """What has fewer parameters."""

    def __init__(self):
        super().__init__(random_state=3)


class NarrowPerceptron(Perceptron):
    """What has fewer parameters."""

    def __init__(self, tol=1e-3):
        super().__init__(tol=tol, random_state=2)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    "kind", [Narrow, NarrowRegressor, NarrowLinear, NarrowLinearRegressor, NarrowPerceptron]
)
def test_a_subclass_may_leave_parameters_out(kind):
    X, y = scaled(load_iris)
    assert kind().fit(X, y).predict(X).shape == (150,)
    assert GridSearchCV(kind(), {}, cv=2).fit(X, y).best_score_ > -99


def kept(model, how, tmp_path):
    if how == "pickle":
        return pickle.loads(pickle.dumps(model))
    if how == "deepcopy":
        return copy.deepcopy(model)
    file = tmp_path / "model"
    joblib.dump(model, file, compress=3 if how == "compressed" else 0)
    return joblib.load(file, mmap_mode="r" if how == "mapped" else None)


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "joblib", "compressed", "mapped"])
@pytest.mark.parametrize(
    "settings",
    [{"average": True}, {"optimizer": fastnn.Adam(0.01)}, {"optimizer": fastnn.SGD(0.01, 0.9)}],
    ids=str,
)
@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor])
def test_training_goes_on_after_a_file_as_without_it(kind, settings, how, tmp_path):
    X, y = scaled(load_iris)
    first = {"classes": [0, 1, 2]} if kind is SGDClassifier else {}
    model = kind(random_state=0, **settings).partial_fit(X, y, **first)
    other = kept(model, how, tmp_path)
    for each in (model, other):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(model.coef_, other.coef_)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("kind", [SGDClassifier, SGDRegressor, Perceptron])
def test_weights_that_are_changed_in_place_stay_so(kind, scale):
    X, y = scaled(load_breast_cancer)
    settings = {} if kind is Perceptron else {"standardize": scale, "learning_rate": "constant"}
    model = kind(random_state=0, max_iter=5, tol=None, eta0=1e-9, **settings).fit(X, y)
    model.coef_[..., :5] = 1.0
    expected = model.decision_function(X) if kind is not SGDRegressor else model.predict(X)
    trainer = model.to_trainer()
    W, b = trainer.parameters[0]
    np.testing.assert_allclose((X @ W + b)[:, 0], expected, rtol=1e-6)
    if kind is not Perceptron:  # whose steps are as long as an eta0 of any size makes them
        model.partial_fit(X, y)
        found = model.decision_function(X) if kind is SGDClassifier else model.predict(X)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_regression_of_counts_predicts_and_scores_rates(early_stopping):
    X = np.random.default_rng(0).normal(size=(3000, 2))
    y = np.random.default_rng(1).poisson(np.exp(1.5 + 0.5 * X[:, 0]))
    model = SGDRegressor("poisson", random_state=0, early_stopping=early_stopping).fit(X, y)
    assert abs(model.predict(X).mean() - y.mean()) < 0.3
    np.testing.assert_allclose(model.predict(X), model.to_trainer().predict(X), rtol=1e-6)
    assert model.score(X, y) > 0.4
    if early_stopping:
        assert max(model.validation_scores_) > 0.4


@pytest.mark.parametrize(
    "loss",
    ["hinge", "log_loss", "squared_hinge", "modified_huber", "perceptron", fastnn.Margin(1.0)]
    + ["softmax_cross_entropy", "binary_cross_entropy", "margin"],
    ids=str,
)
def test_a_regression_refuses_losses_of_classes(loss):
    with pytest.raises(InvalidParameterError, match="The 'loss' parameter of SGDRegressor must be"):
        SGDRegressor(loss).fit([[0.0], [1.0]], [0, 1])


def test_a_classifier_refuses_a_loss_of_counts():
    with pytest.raises(InvalidParameterError, match="The 'loss' parameter of SGDClassifier must"):
        SGDClassifier("poisson").fit([[0.0], [1.0]], [0, 1])


def own_score(estimator, X, y):
    return estimator.score(X, y)


@pytest.mark.parametrize(
    "scoring", [own_score, "adjusted_rand_score", "accuracy", None], ids=lambda each: str(each)[:9]
)
@pytest.mark.parametrize("kind", [MLPClassifier, SGDClassifier])
def test_scores_that_know_no_weights_are_taken_without(kind, scoring):
    X, y = scaled(load_iris)
    model = kind(early_stopping=True, scoring=scoring, max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y, sample_weight=np.ones(len(X)))
    assert np.isfinite(model.validation_scores_).all()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_what_becomes_scikit_learns_can_be_fitted_further(kind):
    X, y = scaled(load_iris)
    model = kind(early_stopping=True, max_iter=30, random_state=0).fit(X, y)
    theirs = model.to_sklearn().set_params(warm_start=True, max_iter=3)
    assert theirs.fit(X, y).coefs_[0].shape == (4, 100)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_sparse_labels_stay_sparse_when_they_become_scikit_learns():
    X, y = scaled(load_iris)
    Y = sparse.csr_matrix(np.column_stack([y == 0, y > 0]).astype(int))
    model = MLPClassifier((5,), max_iter=20, random_state=0).fit(X, Y)
    for each in (model, model.to_sklearn()):
        assert sparse.issparse(each.predict(X))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("labels", ["two", "several labels", "one against the rest"])
def test_probabilities_far_from_zero_are_exact_and_silent(labels):
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 4)).astype(np.float32)
    y = {
        "two": (X[:, 0] > 0).astype(int),
        "several labels": (X[:, :2] > 0).astype(int),
        "one against the rest": np.digitize(X[:, 0], [-0.5, 0.5]),
    }[labels]
    loss = {"loss": "binary_cross_entropy"} if labels == "one against the rest" else {}
    model = MLPClassifier((4,), max_iter=30, random_state=0, **loss).fit(X, y)
    with np.errstate(all="raise", under="ignore"):
        found = model.predict_proba(-3e4 * X)
    assert np.isfinite(found).all() and (0 <= found).all() and (found <= 1).all()
    if labels != "several labels":
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_weights_of_rows_held_out_are_not_all_zero(kind):
    X, y = np.arange(40.0)[:, None], np.arange(40) % 2
    model = kind(early_stopping=True, max_iter=3, random_state=0)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        model.fit(X, y, sample_weight=np.r_[np.zeros(39), 1])


def test_labels_to_validate_on_have_as_many_columns():
    X, Y = np.arange(12.0)[:, None], np.eye(3, dtype=int)[np.arange(12) % 3]
    with pytest.raises(ValueError, match="y_val has 2 columns, but y has 3"):
        MLPClassifier(max_iter=2).fit(X, Y, X_val=X, y_val=Y[:, :2])


@pytest.mark.parametrize("target", ["cpu", "numpy"])
@pytest.mark.parametrize("eta0", [0.7, 0.1, 3.0])
def test_a_perceptron_on_sparse_rows_takes_scikit_learns_steps_of_any_length(target, eta0):
    for seed in range(25):
        random = np.random.default_rng(seed)
        X = random.integers(-2, 3, (30, 2)) * (random.random((30, 2)) < 0.4) * 1.0
        y = random.permutation(np.arange(30) % 2)
        settings = {"eta0": eta0, "shuffle": False, "max_iter": 3, "tol": None}
        mine = Perceptron(**settings, target=target).fit(sparse.csr_matrix(X), y)
        theirs = linear_model.Perceptron(**settings).fit(sparse.csr_matrix(X), y)
        np.testing.assert_allclose(mine.coef_, theirs.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(mine.intercept_, theirs.intercept_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("row", [2, 10, 12, 28, 32, 44])
@pytest.mark.parametrize("kind", [MLPRegressor, SGDRegressor])
def test_negative_counts_are_refused_in_rows_set_aside_too(kind, row):
    X, y = np.random.default_rng(0).normal(size=(50, 4)), np.ones(50)
    y[row] = -1.0
    model = kind(loss="poisson", early_stopping=True, random_state=0, max_iter=2)
    with pytest.raises(ValueError, match=rf"-1\.0.*row {row}\b"):
        model.fit(X, y)


@pytest.mark.filterwarnings("ignore:Maximum number of iteration")
def test_sparse_numbers_in_another_dtype_are_looked_through_once(monkeypatch):
    from fastnn.inputs import sparse_rows

    looks = []
    look = sparse_rows.ReadRows.of.__func__
    noted = classmethod(lambda cls, *given: looks.append(given) or look(cls, *given))
    monkeypatch.setattr(sparse_rows.ReadRows, "of", noted)
    X = sparse.random(200, 30, 0.2, format="csr", random_state=0)
    SGDClassifier(dtype="float32", max_iter=2, tol=1e-3).fit(X, np.arange(200) % 20)
    assert len(looks) <= 2  # in the dtype that it has, and in the one that is trained


@pytest.mark.parametrize("target", ["cpu", "numpy"])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    ("loss", "label", "sign"),
    [
        ("squared_hinge", 1.0, 1),
        ("squared_hinge", 0.0, -1),
        ("squared_epsilon_insensitive", 0.0, -1),
        ("squared_epsilon_insensitive", 1e15, 1),
    ],
)
def test_a_step_of_a_square_is_held_within_1e12(loss, label, sign, batch_size, target):
    network = fastnn.Network(1, [fastnn.Dense(1)])
    trainer = fastnn.Trainer(
        network, loss=loss, optimizer=fastnn.SGD(1.0), batch_size=batch_size, dtype="float64",
        target=target,
    )  # fmt: skip
    begin = -sign * 1e14
    trainer.set_parameters([(np.array([[begin]]), np.zeros(1))])
    trainer.fit(np.ones((batch_size, 1)), np.full(batch_size, label), epochs=1)
    (W, b) = trainer.parameters[0]
    np.testing.assert_allclose([W[0, 0] - begin, b[0]], sign * 1e12, rtol=1e-3)
