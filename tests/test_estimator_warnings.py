"""What estimators warn of where nothing is learnt, and what Ctrl-C leaves behind."""

import copy
import inspect
import sys
import threading
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402

import fastnn  # noqa: E402
from fastnn import MLPClassifier, MLPRegressor, Perceptron, SGDClassifier, SGDRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(aximum|MAXIMUM).*")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 3))
LARGE = X * [1.0, 1e6, 1.0]
LABELS, NUMBERS = RANDOM.integers(0, 2, 120), RANDOM.normal(size=120)
PLAIN = {"target": "numpy", "random_state": 0, "max_iter": 12}


def told(call):
    """Return the warnings of a call that are of learning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [each for each in caught if issubclass(each.category, fastnn.TrainingWarning)]


def unlearnt(kind=MLPClassifier, **settings):
    """Return an estimator that learns nothing from `LARGE`."""
    return kind(**{**PLAIN, **settings})


def test_a_fit_that_learns_nothing_warns_as_scikit_learn_would():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        unlearnt().fit(LARGE, LABELS)
    (each,) = told(lambda: unlearnt().fit(LARGE, LABELS))
    assert issubclass(each.category, ConvergenceWarning)
    # A trainer's is not, which scikit-learn has nothing to do with.
    trainer = unlearnt().fit(X, LABELS).to_trainer()
    for each in told(lambda: trainer.fit(LARGE, LABELS, epochs=20)):
        assert not issubclass(each.category, ConvergenceWarning)


@pytest.mark.parametrize("through", ["fit", "pipeline", "grid", "score", "partial_fit"])
def test_the_warning_names_the_line_of_the_caller(through):
    model = unlearnt()
    calls = {
        "fit": lambda: model.fit(LARGE, LABELS),
        "pipeline": lambda: make_pipeline(FunctionTransformer(), model).fit(LARGE, LABELS),
        "grid": lambda: GridSearchCV(model, {"alpha": [0.1]}, cv=2).fit(LARGE, LABELS),
        "score": lambda: cross_val_score(model, LARGE, LABELS, cv=2),
        "partial_fit": lambda: [
            model.partial_fit(LARGE, LABELS, classes=[0, 1]) for _ in range(12)
        ],
    }
    line = inspect.getsourcelines(test_the_warning_names_the_line_of_the_caller)[1]
    found = told(calls[through])
    assert found
    for each in found:
        assert each.filename == __file__
        assert line < each.lineno < line + 15


@pytest.mark.parametrize("kind", [MLPRegressor, SGDRegressor])
def test_a_large_y_is_scaled_by_standardize_which_is_said(kind):
    settings = {"loss": "huber"} if kind is SGDRegressor else {}
    (each,) = told(lambda: unlearnt(kind, **settings).fit(X, NUMBERS * 10 + 3e6))
    said = str(each.message)
    assert "y is large" in said and "standardize=True" in said.partition("y is large")[2]


def test_dead_units_are_no_reason_for_a_new_trainer():
    model = unlearnt(MLPClassifier, hidden_layer_sizes=(4,), activation="relu", max_iter=4)
    model.set_params(solver="sgd", learning_rate_init=1e4)
    for scale in (1.0, 1e3, -1e3):
        for each in told(lambda scale=scale: model.fit(X * scale, LABELS)):
            assert "Trainer" not in str(each.message)
    dead = copy.copy(model)
    dead.coefs_ = [dead.coefs_[0] * 0, dead.coefs_[1] * 0]
    dead.intercepts_ = [dead.intercepts_[0] * 0 - 1.0, dead.intercepts_[1]]
    (each,) = told(lambda: dead.set_params(warm_start=True).fit(X, LABELS))
    assert "all 4 units" in str(each.message)
    assert "Then fit anew" in str(each.message) and "Trainer" not in str(each.message)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, SGDClassifier])
def test_parts_of_the_data_are_not_warned_of_again_for_other_numbers(kind):
    settings = {"batch_size": 10} if kind is not SGDClassifier else {"loss": "log_loss"}
    model = unlearnt(kind, **settings)
    if kind is MLPRegressor:
        more, y = {}, NUMBERS
    else:
        more, y = {"classes": [0, 1]}, LABELS

    def parts():
        for part in range(12):
            chosen = RANDOM.permutation(120)[: 60 + part]
            model.partial_fit(LARGE[chosen] * (1 + part), y[chosen], **more)

    first = told(parts)
    assert len(first) <= 2, [str(each.message) for each in first]
    if kind is not SGDClassifier:
        assert len(first) >= 1
        assert not told(parts)
        again = told(lambda: model.fit(LARGE, y))
        assert again and told(lambda: model.fit(LARGE, y))


def test_one_warning_is_enough_for_several_classes_and_restarts():
    many = sparse.csr_matrix(LARGE * 1e-12)
    kinds = RANDOM.integers(0, 4, 120)
    model = SGDClassifier("log_loss", **PLAIN, tol=1e-9, eta0=1e-3, learning_rate="constant")
    assert len(told(lambda: model.fit(many, kinds))) <= 1
    assert len(told(lambda: unlearnt(n_restarts=3).fit(LARGE, LABELS))) <= 1


ESTIMATORS = {
    MLPClassifier: LABELS,
    MLPRegressor: NUMBERS,
    SGDClassifier: LABELS,
    SGDRegressor: NUMBERS,
    Perceptron: LABELS,
}


def trainer_that_learns_nothing(X=LARGE):
    """Fit a Trainer of its own."""
    layers = [fastnn.Dense(4, "tanh"), fastnn.Dense(2)]
    trainer = fastnn.Trainer(fastnn.Network(3, layers), target="numpy", batch_size=8)
    trainer.fit(X, LABELS, 2)


INSIDE = {
    "trainer": trainer_that_learns_nothing,
    "estimator": lambda: unlearnt().fit(LARGE, LABELS),
    "parts": lambda: unlearnt(batch_size=10).partial_fit(LARGE, LABELS, classes=[0, 1]),
    "restarts": lambda: fastnn.Trainer(
        fastnn.Network(3, [fastnn.Dense(4, "tanh"), fastnn.Dense(2)]), target="numpy"
    ).fit(LARGE, LABELS, 8, restarts=2),
    "population": lambda: fastnn.train_population(
        [fastnn.Trainer(fastnn.Network(3, [fastnn.Dense(4, "tanh"), fastnn.Dense(2)]))],
        LARGE, LABELS, epochs=8, validation_data=(LARGE, LABELS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_a_callback_trains_warns_for_itself(kind, inside):
    """What is trained there and the estimator each have the warnings that they have alone."""
    settings = {"target": "numpy", "random_state": 0, "max_iter": 3}
    alone = told(INSIDE[inside])
    assert len(alone) == 1
    scaled = kind(**settings).fit(X, ESTIMATORS[kind])

    def call(trainer, history):
        if len(history) == 1:
            INSIDE[inside]()

    nested = told(lambda: kind(**settings, callbacks=call).fit(X, ESTIMATORS[kind]))
    assert [(each.category, str(each.message)) for each in nested] == [
        (each.category, str(each.message)) for each in alone
    ]
    assert nested[0].lineno == alone[0].lineno
    again = kind(**settings, callbacks=call)
    told(lambda: again.fit(X, ESTIMATORS[kind]))
    name = scaled._weights_name
    for mine, other in zip(getattr(scaled, name), getattr(again, name), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_an_estimator_keeps_its_warning_where_a_callback_trains():
    def call(trainer, history):
        if len(history) == 1:
            fastnn.Trainer(trainer.network, trainer.loss, target="numpy").fit(X, LABELS, 1)

    def texts(model):
        return [str(each.message) for each in told(lambda: model.fit(LARGE, LABELS))]

    assert texts(unlearnt()) == texts(unlearnt(callbacks=call)) != []


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, SGDClassifier, Perceptron])
def test_fits_in_threads_have_each_their_own_warnings(kind):
    """As many as there would be one after another, of each; and the filters stay."""
    y = ESTIMATORS[kind]
    given = {False: X, True: LARGE}
    settings = {"target": "numpy", "random_state": 0, "max_iter": 12}
    large = len(told(lambda: kind(**settings).fit(LARGE, y)))
    gate, fits = threading.Barrier(4), 6

    def work(unscaled):
        gate.wait()
        for _ in range(fits):
            kind(**settings).fit(given[unscaled], y)

    before = warnings.filters, [*warnings.filters], warnings.showwarning
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            inside = warnings.filters, warnings.showwarning
            threads = [threading.Thread(target=work, args=(n % 2 == 0,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert (warnings.filters, warnings.showwarning) == inside
    finally:
        sys.setswitchinterval(interval)
    own = [each for each in caught if issubclass(each.category, fastnn.TrainingWarning)]
    assert len(own) == 2 * fits * large
    assert (warnings.filters, [*warnings.filters], warnings.showwarning) == before


def test_a_search_in_threads_warns_as_one_without():
    import joblib

    def search(jobs):
        grid = GridSearchCV(unlearnt(), {"alpha": [0.1, 0.2, 0.3]}, cv=3, n_jobs=jobs, refit=False)
        with joblib.parallel_backend("threading"):
            return sorted(str(each.message) for each in told(lambda: grid.fit(LARGE, LABELS)))

    assert search(2) == search(1) and len(search(2)) == 9


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_large_batch_is_warned_of_once_whatever_the_restarts(kind):
    model = kind(**PLAIN, batch_size=500, n_restarts=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, ESTIMATORS[kind])
    found = [each for each in caught if "batch_size" in str(each.message)]
    assert len(found) == 1 and found[0].filename == __file__


class Interrupted:
    """Presses Ctrl-C after so many epochs of a callback's life."""

    def __init__(self, epochs):
        self.left = epochs

    def __call__(self, trainer, history):
        """Count."""
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


LINEAR = [(SGDClassifier, LABELS), (SGDRegressor, NUMBERS), (Perceptron, LABELS)]


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize(("kind", "y"), LINEAR)
def test_ctrl_c_ends_a_linear_fit_and_leaves_it_as_it_was(kind, y, form):
    given = form(X)
    model = kind(target="numpy", random_state=0, tol=None, max_iter=3)
    stopped = copy.copy(model).set_params(callbacks=Interrupted(2))
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(given, y)
    assert not hasattr(stopped, "coef_") and not hasattr(stopped, "n_features_in_")
    model.fit(given, y)
    before = {
        name: copy.deepcopy(value) for name, value in vars(model).items() if name != "_trainer"
    }
    coef = model.coef_
    for call in ("fit", "partial_fit"):
        for warm in (False, True):
            model.set_params(callbacks=Interrupted(1 if call == "partial_fit" else 2))
            model.set_params(warm_start=warm)
            with pytest.raises(KeyboardInterrupt):
                getattr(model, call)(given[:50], y[:50])
            assert model.coef_ is coef and model.t_ == before["t_"]
            assert model.loss_curve_ == before["loss_curve_"]
            np.testing.assert_array_equal(model.coef_, before["coef_"])
            np.testing.assert_array_equal(model.intercept_, before["intercept_"])
    other = copy.deepcopy(model).set_params(callbacks=None, warm_start=False)
    np.testing.assert_array_equal(
        other.partial_fit(given, y).coef_,
        kind(target="numpy", random_state=0, tol=None, max_iter=3).fit(given, y)
        .partial_fit(given, y).coef_,
    )  # fmt: skip


def test_ctrl_c_ends_a_search():
    model = SGDClassifier(target="numpy", random_state=0, callbacks=Interrupted(1))
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(model, {"alpha": [0.1, 0.01]}, cv=2).fit(X, LABELS)


def test_ctrl_c_ends_a_network_that_is_kept_and_its_restarts():
    calls = Interrupted(3)
    model = MLPClassifier(**PLAIN, callbacks=calls, n_restarts=3)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, LABELS)
    assert calls.left == 0 and model.n_iter_ in (2, 3)
    model.predict(X)
