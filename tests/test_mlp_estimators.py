"""MLPClassifier and MLPRegressor: the fits of scikit-learn's to rounding, and what is new."""

import copy
import pickle
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastnn
from fastnn.schedules import StepDecay

sklearn = pytest.importorskip("sklearn", "1.6")
from scipy.sparse import csr_array  # noqa: E402
from sklearn import neural_network as theirs  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402

# A fit of a few epochs has not converged, and says so.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMES = np.array(["setosa", "versicolor", "virginica"])[y]
RNG = np.random.default_rng(0)
WEIGHTS = RNG.uniform(0.5, 2.0, len(y))


def several_labels():
    features, labels = make_multilabel_classification(150, 4, n_classes=3, random_state=0)
    return (features - features.mean(axis=0)) / features.std(axis=0), labels


def diabetes():
    data, numbers = load_diabetes(return_X_y=True)
    return data / data.std(axis=0), (numbers - 150) / 77


FITS = {
    "adam": ("MLPClassifier", {}, y),
    "two classes": ("MLPClassifier", {"alpha": 1.0}, y == 1),
    "several labels": ("MLPClassifier", {"alpha": 0.5}, several_labels()[1]),
    "several labels, sgd": ("MLPClassifier", {"solver": "sgd"}, several_labels()[1]),
    "sgd": ("MLPClassifier", {"solver": "sgd", "batch_size": 30, "alpha": 0.1}, y),
    "momentum": ("MLPClassifier", {"solver": "sgd", "nesterovs_momentum": False}, y),
    "no momentum": ("MLPClassifier", {"solver": "sgd", "momentum": 0.0}, y),
    "invscaling": (
        "MLPClassifier", {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 50}, y
    ),
    "adaptive": (
        "MLPRegressor",
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
        y + 1.0,
    ),
    "regression": ("MLPRegressor", {"activation": "tanh"}, X[:, 0] * X[:, 1]),
    "numbers": ("MLPRegressor", {"solver": "sgd", "alpha": 0.3}, X[:, :2] * X[:, 2:]),
    "poisson": ("MLPRegressor", {"loss": "poisson"}, y + 1.0),
    "logistic": (
        "MLPClassifier", {"activation": "logistic", "hidden_layer_sizes": (5, 4), "alpha": 2.0}, y
    ),
    "early stopping": ("MLPClassifier", {"early_stopping": True, "n_iter_no_change": 3}, y),
    "early stopping, regression": ("MLPRegressor", {"early_stopping": True}, X[:, 0] ** 2),
}  # fmt: skip


def both(name, case, target="numpy", **more):
    kind, settings, labels = FITS[case]
    settings = {"max_iter": 15, "random_state": 0, "shuffle": False, **settings, **more}
    ours = getattr(fastnn, kind)(target=target, **settings)
    return ours, getattr(theirs, kind)(**settings), labels


def assert_same_fit(ours, other):
    assert ours.n_iter_ == other.n_iter_ and ours.t_ == other.t_
    assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=1e-5)  # penalties change evenly
    for mine, its in zip(
        [*ours.coefs_, *ours.intercepts_], [*other.coefs_, *other.intercepts_], strict=True
    ):
        assert_allclose(mine, its, atol=1e-8)
    for name in ("best_loss_", "loss_", "best_validation_score_", "validation_scores_"):
        mine, its = getattr(ours, name), getattr(other, name)
        assert (mine is None) == (its is None)
        if mine is not None:
            assert_allclose(mine, its, rtol=1e-5)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(other, name)


@pytest.mark.parametrize("case", FITS)
def test_a_fit_in_order_is_that_of_scikit_learn(case):
    ours, other, labels = both("", case)
    assert_same_fit(ours.fit(X, labels), other.fit(X, labels))
    assert_array_equal(np.shape(ours.predict(X)), np.shape(other.predict(X)))
    assert_allclose(ours.score(X, labels), other.score(X, labels))


@pytest.mark.parametrize("case", ["adam", "invscaling", "several labels, sgd", "poisson"])
def test_warm_starts_and_partial_fits_are_those_of_scikit_learn(case):
    ours, other, labels = both("", case, warm_start=True)
    for each in (ours, other):
        each.fit(X, labels).fit(X, labels)
    assert_same_fit(ours, other)
    for each in (ours, other):
        each.partial_fit(X, labels).partial_fit(X, labels)
    assert_same_fit(ours, other)


@pytest.mark.parametrize("case", ["adam", "adaptive", "sgd"])
def test_a_fit_on_the_cpu_stops_in_the_epoch_in_which_that_in_numpy_does(case):
    ours, other, labels = both("", case, "cpu", max_iter=400, tol=1e-3, n_iter_no_change=2)
    slow = clone(ours).set_params(callbacks=lambda trainer, history: None)
    assert_same_fit(ours.fit(X, labels), other.fit(X, labels))
    slow.fit(X, labels)  # epoch after epoch, to the same bits
    assert slow.loss_curve_ == ours.loss_curve_
    assert_array_equal(slow.coefs_[0], ours.coefs_[0])


def classifier(**settings):
    settings = {"random_state": 0, "max_iter": 20, "target": "numpy"} | settings
    return fastnn.MLPClassifier((8,), **settings)


def regressor(**settings):
    settings = {"random_state": 0, "max_iter": 20, "target": "numpy"} | settings
    return fastnn.MLPRegressor(hidden_layer_sizes=(8,), **settings)


@pytest.mark.parametrize(
    "labels",
    [
        NAMES,
        y,
        NAMES.astype(object),
        y == 2,
        np.where(y == 0, -1, 1),
        y * 2.0,
        NAMES.astype(np.dtypes.StringDType()),
    ],
)
def test_labels_of_any_kind_are_given_back(labels):
    model = classifier(learning_rate_init=0.05, max_iter=100).fit(X, labels)
    assert_array_equal(model.classes_, np.unique(labels))
    assert np.mean(model.predict(X) == labels) == model.score(X, labels) > 0.9
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))


def test_class_weights_are_sample_weights():
    by_class = classifier(class_weight={"setosa": 3.0, "virginica": 0.5}).fit(X, NAMES, WEIGHTS)
    weights = WEIGHTS * np.array([3.0, 1.0, 0.5])[y]
    by_row = classifier().fit(X, NAMES, weights)
    assert_allclose(by_class.coefs_[0], by_row.coefs_[0])
    few = np.arange(150)[: 150 - 30]
    balanced = classifier(class_weight="balanced").fit(X[few], NAMES[few])
    counts = np.bincount(y[few])
    by_row = classifier().fit(X[few], NAMES[few], (len(few) / (3 * counts))[y[few]])
    assert_allclose(balanced.coefs_[0], by_row.coefs_[0])


def test_class_weights_of_several_labels_are_weights_of_each():
    features, labels = several_labels()
    weighted = [{0: 1.0, 1: 4.0}, {}, {0: 0.0}]
    model = classifier(class_weight=weighted, shuffle=False).fit(features, labels)
    weights = np.where(labels == 1, [4.0, 1.0, 1.0], [1.0, 1.0, 0.0])
    trainer = classifier(shuffle=False).fit(features, labels).to_trainer()
    assert model.loss_curve_[0] == pytest.approx(
        3 * first_loss(features, labels, weights), rel=1e-3
    )
    assert trainer.network.outputs == 3
    with pytest.raises(ValueError, match="a list of dicts, one for each of the 3 labels"):
        classifier(class_weight={0: 1}).fit(features, labels)


def first_loss(features, labels, weights):
    model = classifier(shuffle=False, max_iter=1, learning_rate_init=1e-12).fit(features, labels)
    p = np.clip(model.predict_proba(features), 1e-12, 1 - 1e-12)
    losses = -np.where(labels == 1, np.log(p), np.log(1 - p))
    return (weights * losses).sum() / weights.sum()


@pytest.mark.parametrize("form", [np.array, np.ndarray.tolist, csr_array])
def test_the_classes_of_several_labels_are_those_that_were_given(form):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    labels = (rows > 0).astype(int)
    ours = fastnn.MLPClassifier((4,), target="numpy")
    for model in (ours, theirs.MLPClassifier((4,))):
        model.partial_fit(rows, form(labels), classes=[0, 1, 2]).partial_fit(rows, form(labels))
        assert model.classes_.tolist() == [0, 1, 2] and model.predict(rows).shape == (20, 3)
        more = form(np.column_stack([labels, labels[:, 0]]))
        with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
            model.partial_fit(rows, more)
        with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
            type(model)((4,)).partial_fit(rows, more, classes=[0, 1, 2])


def test_weights_of_0_leave_rows_out_of_a_score():
    model = classifier().fit(X, y)
    weights = (y != 1).astype(float)
    assert model.score(X, y, weights) == model.score(X[y != 1], y[y != 1])


def test_validation_data_of_the_caller_decide_when_to_stop():
    model = classifier(early_stopping=True, max_iter=60, n_iter_no_change=2)
    model.fit(X[::2], NAMES[::2], X_val=X[1::2], y_val=NAMES[1::2])
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.score(X[1::2], NAMES[1::2]) == pytest.approx(model.best_validation_score_)
    noted = classifier().fit(X, y, X_val=X, y_val=y, sample_weight_val=WEIGHTS)
    assert noted.validation_scores_[-1] == pytest.approx(noted.score(X, y, WEIGHTS))
    assert noted.best_loss_ == min(noted.loss_curve_)
    with pytest.raises(ValueError, match="X_val given without y_val"):
        classifier().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="sample_weight_val given without"):
        classifier().fit(X, y, sample_weight_val=WEIGHTS)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "balanced_accuracy", "callable"])
def test_early_stopping_goes_by_any_scorer(scoring):
    if scoring == "callable":

        def scoring(estimator, X, y):
            return -np.log(estimator.predict_proba(X)[np.arange(len(y)), y]).mean()

    model = classifier(scoring=scoring, early_stopping=True).fit(X, y, X_val=X, y_val=y)
    scorer = sklearn.metrics.check_scoring(model, scoring=scoring)
    assert scorer(model, X, y) == pytest.approx(model.best_validation_score_)
    numbers = regressor(scoring="neg_mean_absolute_error", early_stopping=True)
    numbers.fit(*diabetes())
    assert max(numbers.validation_scores_) == numbers.best_validation_score_ < 0


def test_a_network_has_an_activation_and_a_dropout_a_layer():
    model = fastnn.MLPClassifier(
        (8, 6), ["gelu", "logistic"], dropout=[0.25, 0.0], max_iter=2, target="numpy"
    ).fit(X, y)
    described = model.to_trainer().network.layers
    assert [getattr(each, "activation", each) for each in described] == [
        "gelu", fastnn.Dropout(0.25), "sigmoid", "identity"
    ]  # fmt: skip
    assert_allclose(model.predict_proba(X), model.to_trainer().predict_proba(X))
    with pytest.raises(ValueError, match="activation has 1 entries but hidden layers are 2"):
        fastnn.MLPClassifier((8, 6), ["gelu"]).fit(X, y)


@pytest.mark.parametrize(
    "activation", ["prelu", "elu", "softmax", "rrelu", lambda z: z / (1 + z * z)]
)
def test_predictions_of_numpy_are_those_of_the_trainer(activation):
    model = classifier(activation=activation).fit(X, y)
    assert_allclose(model.predict_proba(X), model.to_trainer().predict_proba(X), rtol=1e-10)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "perceptron", "mse", "huber"])
@pytest.mark.parametrize("labels", [y, y == 1, several_labels()[1]], ids=["3", "2", "several"])
def test_other_losses_tell_classes_apart_one_by_one(loss, labels):
    features = several_labels()[0] if labels.ndim == 2 else X
    model = classifier(loss=loss, learning_rate_init=0.02, max_iter=150).fit(features, labels)
    assert np.mean(model.predict(features) == labels) > (0.75 if labels.ndim == 2 else 0.85)
    assert model.n_outputs_ == (1 if labels.dtype == bool else 3)
    assert not hasattr(model, "predict_proba")


def test_regressions_have_the_losses_of_fastnn():
    features, numbers = diabetes()
    for loss in ("mae", "huber", fastnn.Quantile(0.9), lambda p, y: (p - y) ** 4):
        model = regressor(loss=loss, max_iter=200, learning_rate_init=0.01).fit(features, numbers)
        assert model.out_activation_ == "identity"
        if isinstance(loss, fastnn.Quantile):
            assert np.mean(model.predict(features) >= numbers) == pytest.approx(0.9, abs=0.05)
    with pytest.raises(ValueError, match="The 'loss' parameter of MLPRegressor"):
        regressor(loss="hinge").fit(features, numbers)
    with pytest.raises(ValueError, match="has several labels a row"):
        classifier(loss="softmax_cross_entropy").fit(*several_labels())


def test_optimizer_schedule_and_dtype_are_honoured():
    model = classifier(optimizer=fastnn.RMSProp(0.01), dtype="float32").fit(X, y)
    trainer = model.to_trainer()
    assert trainer.optimizer == fastnn.RMSProp(0.01) and model.coefs_[0].dtype == np.float32
    assert classifier().fit(X.astype(np.float32), y).coefs_[0].dtype == np.float32
    model = classifier(schedule=StepDecay(0.1, every=5), solver="sgd").fit(X, y)
    assert model.to_trainer().history.learning_rate[-1] == pytest.approx(0.1**4)
    again = classifier(optimizer=fastnn.AveragedSGD(0.1), warm_start=True)
    assert_allclose(again.fit(X, y).fit(X, y).coefs_[0], again.to_trainer().parameters[0][0])


def test_the_best_of_several_restarts_is_kept():
    losses = [classifier(n_restarts=count).fit(X, y).loss_curve_[-1] for count in (1, 4)]
    assert losses[1] < losses[0]


def test_callbacks_of_fastnn_follow_a_fit_and_end_it():
    seen = []

    def stop(trainer, history):
        seen.append(history.loss[-1])
        return len(seen) == 7

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = classifier(callbacks=[stop]).fit(X, y)
    assert model.n_iter_ == len(seen) == len(model.loss_curve_) == 7


def test_callbacks_of_scikit_learn_follow_a_fit_and_end_it():
    pytest.importorskip("sklearn.callback")
    calls = []

    class Follow:
        def setup(self, estimator, context):
            calls.append("setup")

        def teardown(self, estimator, context):
            calls.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            calls.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            calls.append(f"end {context.task_name} {fitted_estimator.score(X, y) > 0.1}")
            return context.task_name == "epoch" and context.task_id == 2

    model = classifier().set_callbacks(Follow()).fit(X, y)
    assert model.n_iter_ == 3
    epoch = ["begin epoch", "end epoch True"]
    assert calls == ["setup", "begin fit", *epoch * 3, "end fit True", "teardown"]


def test_standardized_columns_and_targets_are_in_the_units_of_the_caller():
    features, numbers = diabetes()
    scale, shift = np.logspace(-3, 6, features.shape[1]), 1e3
    model = regressor(standardize=True, max_iter=200, learning_rate_init=0.01)
    plain = clone(model).set_params(standardize=False)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    plain.fit((features - mean) / spread, (numbers - numbers.mean()) / numbers.std())
    units = features * scale + shift
    model.fit(units, numbers * 1e5 + 7)
    assert_allclose(model.loss_curve_, plain.loss_curve_, rtol=1e-6)
    predicted = plain.predict((features - mean) / spread) * numbers.std() + numbers.mean()
    assert_allclose(model.predict(units), predicted * 1e5 + 7, rtol=1e-5)
    for other in (model.to_trainer(), model.to_sklearn(), pickle.loads(pickle.dumps(model))):
        assert_allclose(other.predict(units), model.predict(units), rtol=1e-4)
    model.partial_fit(units, numbers * 1e5 + 7)
    stopped = clone(model).set_params(early_stopping=True).fit(units, numbers * 1e5)
    assert stopped.best_validation_score_ > 0.2
    assert classifier(standardize=True, max_iter=200).fit(X * 1e6 + 1e7, y).score(
        X * 1e6 + 1e7, y
    ) > 0.8  # fmt: skip


@pytest.mark.parametrize("case", ["adam", "two classes", "several labels", "numbers", "poisson"])
def test_models_go_to_scikit_learn_and_come_from_it(case):
    ours, other, labels = both("", case, warm_start=True)
    other.fit(X, labels)
    taken = type(ours).from_sklearn(other)
    assert taken.get_params()["warm_start"] and taken.n_iter_ == other.n_iter_
    before = {name: copy.copy(value) for name, value in vars(other).items()}
    copy.deepcopy(taken).fit(X, labels)
    taken = type(ours).from_sklearn(other)
    type(ours).from_sklearn(other).partial_fit(X, labels)
    for name in ("loss_curve_", "n_iter_", "validation_scores_"):
        assert vars(other).get(name) == before.get(name)  # nothing of it is shared
    given = ours.fit(X, labels).to_sklearn()
    for mine, its in ((taken, other), (ours, given)):
        assert_array_equal(mine.predict(X), its.predict(X)) if hasattr(
            mine, "classes_"
        ) else assert_allclose(mine.predict(X), its.predict(X), rtol=1e-12)
        if hasattr(mine, "predict_proba"):
            assert_allclose(mine.predict_proba(X), its.predict_proba(X), atol=1e-12)
        assert_same_fit(mine.fit(X, labels), its.fit(X, labels))  # both go on


def test_what_scikit_learn_does_not_have_does_not_go_to_it():
    with pytest.raises(ValueError, match="has one activation for all hidden layers"):
        classifier(activation="gelu").fit(X, y).to_sklearn()
    with pytest.raises(ValueError, match="has no loss 'hinge'"):
        classifier(loss="hinge").fit(X, y).to_sklearn()
    with pytest.raises(ValueError, match="tells several classes apart by a softmax"):
        classifier(loss="binary_cross_entropy").fit(X, y).to_sklearn()
    two = classifier(loss="softmax_cross_entropy").fit(X, y == 1)
    assert_allclose(two.to_sklearn().predict_proba(X), two.predict_proba(X), atol=1e-12)
    with pytest.raises(ValueError, match="takes a fitted sklearn.neural_network.MLPClassifier"):
        fastnn.MLPClassifier.from_sklearn(theirs.MLPRegressor())
    with pytest.raises(NotFittedError):
        fastnn.MLPClassifier.from_sklearn(theirs.MLPClassifier())
    lbfgs = theirs.MLPClassifier(solver="lbfgs", max_iter=5).fit(X, y)
    assert_array_equal(fastnn.MLPClassifier.from_sklearn(lbfgs).predict(X), lbfgs.predict(X))


def test_settings_that_cannot_be_are_refused_by_name():
    with pytest.raises(ValueError, match="use solver='adam'"):
        classifier(solver="lbfgs").fit(X, y)
    assert not hasattr(classifier(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
        fastnn.MLPClassifier((3, 0)).fit(X, y)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        classifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        classifier(class_weight="balanced").fit(X, y).partial_fit(X[:9], y[:9])
    with pytest.raises(ValueError, match="n_jobs must be a number of threads"):
        classifier(n_jobs=0).fit(X, y)
    with pytest.raises(NotFittedError):
        classifier().predict(X)
    model = classifier().fit(X, y)
    for wrong in (X[:, :2], np.full((1, 4), np.nan), X[0], X[:0]):
        with pytest.raises(ValueError) as mine:
            model.predict(wrong)
        with pytest.raises(ValueError) as its:
            theirs.MLPClassifier(max_iter=2).fit(X, y).predict(wrong)
        assert str(mine.value) == str(its.value)


def test_a_fit_that_diverges_is_an_error_of_both_families():
    numbers = regressor(solver="sgd", learning_rate_init=1e3, activation="identity")
    with pytest.raises(ValueError, match="Solver produced non-finite") as caught:
        numbers.fit(X * 1e3, y)
    assert isinstance(caught.value, fastnn.Diverged)
    assert not hasattr(numbers, "coefs_")


def test_an_edited_weight_predicts_and_trains():
    model = classifier().fit(X, y)
    before = model.predict_proba(X)
    model.coefs_[0][:] = 0.0
    assert_allclose(np.ptp(model.predict_proba(X), axis=0), 0, atol=1e-12)
    assert_allclose(model.to_trainer().predict_proba(X), model.predict_proba(X))
    model.partial_fit(X, y)
    assert np.abs(model.coefs_[0]).max() < 0.01 and np.ptp(before, axis=0).min() > 0.01


def test_a_prediction_of_one_row_needs_neither_numba_nor_a_long_time():
    code = (
        "import sys, pickle, time, warnings; warnings.simplefilter('ignore')\n"
        "model, row = pickle.load(sys.stdin.buffer); model.predict(row)\n"
        "assert 'numba' not in sys.modules\n"
        "times = []\n"
        "for _ in range(300):\n"
        "    start = time.perf_counter(); model.predict(row); model.predict_proba(row)\n"
        "    times.append(time.perf_counter() - start)\n"
        "print(min(times))"
    )
    content = pickle.dumps((classifier(target="cpu").fit(X, NAMES), X[:1]))
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3 * 2 * 60e-6  # of a busy machine


def test_without_scikit_learn_the_extra_is_named():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import fastnn; assert 'MLPClassifier' in dir(fastnn)\n"
        "try:\n    fastnn.MLPClassifier\n"
        "except fastnn.MissingExtra as error:\n    assert 'fastnn[sklearn]' in str(error)\n"
        "else:\n    raise SystemExit('no error')"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_copies_clones_and_files_are_the_model(tmp_path):
    joblib = pytest.importorskip("joblib")
    model = classifier(activation="gelu").fit(X, NAMES)
    joblib.dump(model, tmp_path / "model")
    for other in (
        joblib.load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    ):  # fmt: skip
        assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        other.partial_fit(X, NAMES)
    with pytest.raises(NotFittedError):
        clone(model).predict(X)
    assert clone(model).get_params() == model.get_params()


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_skops_keeps_a_model(tmp_path):
    skops = pytest.importorskip("skops.io")
    model = classifier().fit(X, NAMES)
    skops.dump(model, tmp_path / "model.skops")
    trusted = skops.get_untrusted_types(file=tmp_path / "model.skops")
    assert all(name.startswith(("fastnn.", "numpy.")) for name in trusted)
    other = skops.load(tmp_path / "model.skops", trusted=trusted)
    assert_array_equal(other.predict(X), model.predict(X))
    other.partial_fit(X, NAMES)


@pytest.mark.parametrize("kind", [fastnn.MLPClassifier, fastnn.SGDClassifier])
def test_what_is_wrong_with_the_data_names_the_column_and_the_labels(kind):
    pandas = pytest.importorskip("pandas")
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    table = pandas.DataFrame(X, columns=["age", "size", "rooms"])
    for value in (np.nan, np.inf):
        table.iloc[7, 1] = value
        with pytest.raises(ValueError, match=r"(?s)Input X contains.*column 'size', row 7"):
            kind().fit(table, y)
    arrow = pytest.importorskip("pyarrow").table({"age": [1.0, 2.0] * 20, "size": [1, None] * 20})
    with pytest.raises(ValueError, match=r"(?s)Input X contains.*column 'size', row 1"):
        kind().fit(arrow, y)
    with pytest.raises(ValueError, match=r"y_val has labels that y does not have: \[7, 8, 9\]"):
        kind(early_stopping=True).fit(X, y, X_val=X, y_val=y + 7)
    with pytest.raises(fastnn.InvalidInput, match="gave nan"):
        kind(early_stopping=True, scoring=lambda *_: np.nan).fit(X, y)


def test_other_hidden_layers_than_those_of_the_last_fit_are_refused_with_warm_start():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    model = fastnn.MLPClassifier((4,), warm_start=True, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(5,\).*warm_start"):
        model.set_params(hidden_layer_sizes=(5,)).fit(X, y)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be whole numbers.* has 3.5 at"):
        fastnn.MLPClassifier((3.5,)).fit(X, y)


def fail(trainer, history):
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor"])
def test_a_fit_that_fails_in_any_place_leaves_the_estimator_as_it_was(kind):
    model = getattr(fastnn, kind)(random_state=0, max_iter=3, target="numpy")
    labels = NAMES if "Classifier" in kind else y
    for fit in (model.fit, model.partial_fit):
        fit(X, labels)
    expected = pickle.loads(pickle.dumps(model)).partial_fit(X[:40], labels[:40])
    before, predicted = pickle.dumps(model), model.predict(X)
    others = np.where(labels == labels[0], labels[-1], labels)
    for failing, settings in (
        (lambda: model.fit(X[:, :3], others, sample_weight=-WEIGHTS), {}),
        (lambda: model.fit(X[:, :3], others, X_val=X), {}),
        (lambda: model.fit(X[:, :3], others), {"callbacks": fail}),
        (lambda: model.fit(X, labels), {"callbacks": fail, "warm_start": True}),
        (lambda: model.partial_fit(X[40:], labels[40:]), {"callbacks": fail}),
    ):
        model.set_params(**settings)
        with pytest.raises((ValueError, ZeroDivisionError)):
            failing()
        model.set_params(callbacks=None, warm_start=False)
        assert pickle.dumps(model) == before
        assert_array_equal(model.predict(X), predicted)
    again = model.partial_fit(X[:40], labels[:40])
    assert_array_equal(again.coefs_[0] if "MLP" in kind else again.coef_,
                       expected.coefs_[0] if "MLP" in kind else expected.coef_)  # fmt: skip


@pytest.mark.parametrize("kind", ["MLPRegressor", "SGDRegressor"])
def test_a_copy_is_fitted_further_without_the_one_it_is_of(kind):
    model = getattr(fastnn, kind)(random_state=0, max_iter=3, target="numpy").fit(X, y)
    expected = copy.deepcopy(model).partial_fit(X[:50], y[:50])
    other = copy.copy(model).partial_fit(X, y).partial_fit(X, y)
    assert len(model.loss_curve_) == 3 and other.t_ > model.t_
    assert_array_equal(model.partial_fit(X[:50], y[:50]).predict(X), expected.predict(X))


@pytest.mark.parametrize("kind", ["MLPRegressor", "SGDRegressor", "Perceptron"])
def test_names_of_columns_are_gone_after_a_fit_without_them(kind):
    pandas = pytest.importorskip("pandas")
    model = getattr(fastnn, kind)(max_iter=2, target="numpy")
    model.fit(pandas.DataFrame(X, columns=list("abcd")), y).fit(X, y)
    assert not hasattr(model, "feature_names_in_")
    model.predict(X)  # a warning would be an error


@pytest.mark.parametrize("kind", ["MLPRegressor", "SGDRegressor"])
def test_what_a_fit_cannot_go_on_with_is_refused(kind):
    model = getattr(fastnn, kind)(random_state=0, max_iter=2, target="numpy").fit(X, y)
    with pytest.raises(ValueError, match="dtype='float32', but partial_fit .* float64; set"):
        model.set_params(dtype="float32").partial_fit(X, y)
    assert model.set_params(dtype=np.float64).partial_fit(X, y).predict(X).dtype == np.float64
    with pytest.raises(ValueError, match="standardize=True, but .* with standardize=False"):
        model.set_params(standardize=True).partial_fit(X, y)
    model.set_params(standardize=False, dtype="float32", warm_start=True).fit(X, y)
    assert model.predict(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("kind", ["MLPRegressor", "SGDRegressor"])
def test_names_of_columns_are_known_to_the_trainer_inside(kind):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X * [1, 1e5, 1, 1], columns=list("abcd"))
    model = getattr(fastnn, kind)(max_iter=12, target="numpy", random_state=0)
    with pytest.warns(fastnn.TrainingWarning, match=r"X is large: column 1 \('b'\)"):
        model.fit(table, y)
    trainer = model.to_trainer()
    assert trainer.feature_names == tuple("abcd")
    with pytest.raises(fastnn.InvalidInput, match="in another order, from column 0 on"):
        trainer.predict(table[list("bacd")])
    scaled = clone(model).set_params(standardize=True).fit(table, y).to_trainer()
    assert scaled.feature_names == tuple("abcd")
    if kind == "MLPRegressor":
        again = fastnn.MLPRegressor.from_sklearn(model.to_sklearn())
        assert again.to_trainer().feature_names == tuple("abcd")


@pytest.mark.parametrize("kind", ["MLPClassifier", "SGDClassifier"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "int32"])
@pytest.mark.filterwarnings("ignore::fastnn.errors.TrainingWarning")
def test_small_integers_train_in_place_to_the_bits_of_numbers(kind, dtype):
    data = RNG.integers(0, 2 if dtype == "bool" else 90, (8000, 400)).astype(dtype)
    labels = data[:, 0] > data[:, 1]
    model = getattr(fastnn, kind)(max_iter=2, random_state=0, batch_size=10, tol=0.0, n_jobs=1)
    if kind == "MLPClassifier":
        model.set_params(hidden_layer_sizes=(4,))
    model.fit(data[:10], labels[:10])  # what is imported once
    expected = clone(model).fit(data.astype(float), labels)
    tracemalloc.start()
    found = clone(model).fit(data, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8000 * 400 * 4
    name = "coefs_" if kind == "MLPClassifier" else "coef_"
    for mine, its in zip(getattr(found, name), getattr(expected, name), strict=True):
        assert mine.dtype == np.float64
        assert_array_equal(mine, its)
    assert_array_equal(found.predict(data), expected.predict(data.astype(float)))
    if kind == "MLPClassifier":
        assert_array_equal(found.predict_proba(data[:5]), expected.predict_proba(data[:5] * 1.0))


@pytest.mark.parametrize("rows", [1, 17, 40, 41, 1000])
def test_rows_are_predicted_in_pieces_as_together(rows, monkeypatch):
    from fastnn.estimators import forward

    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 64)), random.integers(0, 3, 60)
    model = fastnn.MLPClassifier((100,), max_iter=2, random_state=0).fit(X, y)
    new = random.normal(size=(rows, 64))
    found = model.predict_proba(new)
    monkeypatch.setattr(forward, "SHORT", 0)
    np.testing.assert_allclose(found, model.predict_proba(new), rtol=1e-12)
    np.testing.assert_allclose(model.to_trainer().predict_proba(new), found, rtol=1e-9)


def test_sparse_rows_are_predicted_together(monkeypatch):
    from fastnn.estimators import forward

    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 64)), random.integers(0, 3, 60)
    model = fastnn.MLPClassifier((100,), max_iter=2, random_state=0).fit(X, y)
    counts = []
    once = forward._forward
    monkeypatch.setattr(forward, "_forward", lambda *given: counts.append(1) or once(*given))
    sparse = csr_array(random.normal(size=(500, 64)))
    found = model.predict_proba(sparse)
    assert len(counts) <= 1
    np.testing.assert_allclose(found, model.predict_proba(sparse.toarray()), rtol=1e-12)


@pytest.mark.parametrize("rows, engine", [(1, False), (13, False), (14, True), (150, True)])
def test_wide_layers_are_predicted_by_the_engine_where_numpy_would_wake_threads(
    rows, engine, monkeypatch
):
    from fastnn.estimators import mlp_base

    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 100)), random.integers(0, 3, 60)
    model = fastnn.MLPClassifier((200,), max_iter=2, random_state=0).fit(X, y)
    counts, by_numpy = [], mlp_base.forward
    monkeypatch.setattr(mlp_base, "forward", lambda *given: counts.append(1) or by_numpy(*given))
    new = random.normal(size=(rows, 100))
    found = model.predict_proba(new)
    assert len(counts) == (not engine)
    np.testing.assert_allclose(model.to_trainer().predict_proba(new), found, rtol=1e-9)
