"""Where linear models are to do, print and refuse what scikit-learn's do."""

import re

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.linear_model  # noqa: E402
from scipy import sparse  # noqa: E402

import fastnn  # noqa: E402
from fastnn import MLPClassifier, MLPRegressor, Perceptron, SGDClassifier, SGDRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*(aximum|MAXIMUM).*")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
LABELS, NUMBERS = (X[:, 0] > 0).astype(int), X @ [1.0, -1.0, 2.0]
KINDS = {"SGDClassifier": LABELS, "SGDRegressor": NUMBERS, "Perceptron": LABELS}


def both(name, **settings):
    """Return scikit-learn's estimator, and ours."""
    theirs = getattr(sklearn.linear_model, name)(random_state=0, **settings)
    return theirs, getattr(fastnn, name)(random_state=0, target="numpy", **settings)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "settings",
    [
        {"early_stopping": True, "max_iter": 50, "n_iter_no_change": 2},
        {"max_iter": 200, "tol": 1e-2},
        {"tol": None, "max_iter": 3},
    ],
)
def test_the_lines_printed_are_those_of_scikit_learn(name, settings, capsys):
    printed = []
    for model in both(name, verbose=1, **settings):
        model.fit(X, KINDS[name])
        lines = capsys.readouterr().out.splitlines()
        # Numbers and lengths are those of another order of rows.
        shapes = [re.sub(r"-?(\d[\d.]*|inf|nan)", "#", line) for line in lines]
        printed.append((sorted(set(shapes)), shapes[:3], shapes[-1:]))
        assert sum(line.startswith("-- Epoch") for line in lines) == model.n_iter_
    theirs, mine = printed
    assert [line.rstrip(".") for line in mine[0]] == [line.rstrip(".") for line in theirs[0]]
    assert mine[1:] == theirs[1:]


def test_rows_to_validate_on_are_scored_in_the_lines(capsys):
    SGDClassifier(max_iter=3, tol=None, verbose=1, target="numpy").fit(
        X, LABELS, X_val=X, y_val=LABELS
    )
    assert capsys.readouterr().out.count("Validation score") == 3


TARGETS = {
    "numbers": NUMBERS,
    "numbers in objects": np.array([1.5, 2.5, 1.5] * 20, object),
    "words and numbers": np.array(["a", 1] * 30, object),
    "None": np.array([None, 1] * 30, object),
    "bytes and words": np.array([b"a", "b"] * 30, object),
    "bytes": np.array([b"a", b"b"] * 30),
    "one": np.ones(60),
    "words": np.array(["a", "b", "b"] * 20, object),
}


@pytest.mark.parametrize("name", ["SGDClassifier", "Perceptron"])
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("case", TARGETS)
def test_labels_are_refused_with_scikit_learns_errors(name, call, case):
    more = {"classes": np.array([0, 1])} if call == "partial_fit" else {}
    found = []
    for model in both(name, max_iter=2):
        try:
            getattr(model, call)(X, TARGETS[case], **more)
        except Exception as error:  # of whatever kind it is
            found.append((type(error), str(error)))
        else:
            found.append((None, str(model.classes_)))
    theirs, mine = found
    if call == "partial_fit" and theirs[0] is not None:  # it may compare labels, a TypeError
        assert issubclass(mine[0], (ValueError, TypeError))
        if theirs[0] is ValueError:
            assert mine[1].startswith(theirs[1]), mine
        return
    if case in ("words and numbers", "None", "bytes and words"):  # theirs is Python's own message
        assert issubclass(mine[0], TypeError) and theirs[0] is TypeError
        assert re.search("no value in row 0|values of several types", mine[1]), mine
        return
    assert mine == theirs


PLACES = np.digitize(X[:, 0], [-0.5, 0.5])
ARGUMENTS = {
    "SGDClassifier": {"learning_rate": "constant", "eta0": 0.25},
    "SGDRegressor": {"learning_rate": "constant", "eta0": 0.03125},
    "Perceptron": {},
}
CASES = {
    **{name: (name, KINDS[name], {}) for name in KINDS},
    "three classes": ("SGDClassifier", PLACES, {}),
    "three of a perceptron": ("Perceptron", PLACES, {}),
    "no penalty": ("SGDClassifier", LABELS, {"penalty": None}),
    "average": ("SGDRegressor", NUMBERS, {"average": True}),
    "average of classes": ("SGDClassifier", PLACES, {"average": True}),
    "log_loss": ("SGDClassifier", LABELS, {"loss": "log_loss"}),
}


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("begun", ["fit", "partial_fit", "intercept_init"])
@pytest.mark.parametrize("call", ["warm_start", "partial_fit", "fit"])
@pytest.mark.parametrize("case", CASES)
def test_an_intercept_that_is_not_fitted_stays_what_it_is(case, call, begun, form, target):
    """As scikit-learn's does; a fit without warm_start begins without one."""
    name, y, more = CASES[case]
    begin = np.linspace(0.5, 2.0, len(np.unique(y)) if "three" in case or "classes" in case else 1)
    found = []
    for model in both(name, max_iter=3, tol=None, shuffle=False, **ARGUMENTS[name], **more):
        if isinstance(model, fastnn.estimators.base.TrainedEstimator):
            model.set_params(target=target)
        if begun == "intercept_init":
            model.fit(form(X), y, intercept_init=begin.copy())
        else:
            classes = {} if y is NUMBERS or begun == "fit" else {"classes": np.unique(y)}
            getattr(model, begun)(form(X), y, **classes)
        first = np.copy(model.intercept_)
        model.set_params(fit_intercept=False, warm_start=call == "warm_start")
        for _ in range(2):
            (model.partial_fit if call == "partial_fit" else model.fit)(form(X), y)
        found.append((model.coef_.copy(), model.intercept_.copy()))  # which theirs writes to
        if not more.get("average"):
            np.testing.assert_array_equal(model.intercept_, first if call != "fit" else 0.0)
        # And it goes on from there when it is fitted again.
        model.set_params(fit_intercept=True).partial_fit(form(X), y)
        found[-1] += model.coef_, model.intercept_
    # Means of several calls are not scikit-learn's: see the guide.
    if not more.get("average"):
        for theirs, mine in zip(*found, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("dtype", "given"), [("float64", 8), ("float32", 8), (None, 8), (None, 4)])
@pytest.mark.parametrize("name", KINDS)
def test_an_intercept_is_none_where_sums_are_rounded(name, dtype, given):
    """With `standardize`, intercept_ is a sum that stands for no intercept inside."""
    rows, y = X.astype(f"f{given}"), KINDS[name]
    far = (rows * [1, 1e3, 1] + [1e3, 2, -5]).astype(rows.dtype)
    model = getattr(fastnn, name)(
        random_state=0, max_iter=3, tol=None, target="numpy", fit_intercept=False, standardize=True,
        warm_start=True, dtype=dtype,
    ).fit(far, y)  # fmt: skip
    for _ in range(3):
        model.fit(far, y)
        assert not model._trainer.network.dense[0].bias
    # One that is there stays, in the units inside, where the scaling is the same.
    model.set_params(fit_intercept=True).fit(rows * 3 + 1, y)
    inside = model._trainer.parameters[0][1]
    model.set_params(fit_intercept=False).fit(rows * 3 + 1, y)
    np.testing.assert_allclose(model._trainer.parameters[0][1], inside, rtol=1e-4)
    assert inside.any()


@pytest.mark.parametrize("name", KINDS)
def test_an_intercept_that_is_written_is_used_and_stays(name):
    y = KINDS[name]
    settings = {"max_iter": 3, "tol": None, "shuffle": False, "fit_intercept": False}
    found = []
    for model in both(name, **settings, **ARGUMENTS[name]):
        model.fit(X, y)
        model.intercept_ = np.array([0.75])
        model.partial_fit(X, y)
        assert model.intercept_ == 0.75
        found.append(model.coef_)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    trainer = model.to_trainer()
    trainer.fit(X, y, 1, progress=False)
    assert trainer.parameters[0][1] == 0.75


@pytest.mark.parametrize(
    "kind", [SGDClassifier, SGDRegressor, Perceptron, MLPClassifier, MLPRegressor]
)
def test_an_unknown_scorer_is_refused_where_none_is_needed(kind):
    y = NUMBERS if kind in (SGDRegressor, MLPRegressor) else LABELS
    for early in (False, True):
        with pytest.raises(ValueError, match="unknown scoring 'acuracy'"):
            kind(scoring="acuracy", early_stopping=early, target="numpy").fit(X, y)
    known = "r2" if y is NUMBERS else "accuracy"
    kind(scoring=known, max_iter=2, target="numpy").fit(X, y)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_what_the_trainer_of_several_classes_gives(form):
    given = form(X)
    kinds = np.argmax(X, axis=1)
    model = SGDClassifier(max_iter=5, tol=None, random_state=0, target="numpy").fit(given, kinds)
    trainer, scores = model.to_trainer(), model.decision_function(given)
    np.testing.assert_allclose(trainer.forward(given), scores)
    np.testing.assert_array_equal(model.predict(given), trainer.forward(given).argmax(axis=1))
    np.testing.assert_array_equal(trainer.predict(given), scores >= 0)


@pytest.mark.parametrize("as_rows", [np.asarray, sparse.csr_matrix])
def test_the_mean_of_weights_moves_on_where_rows_are_float32(as_rows):
    """In float32 an update adds less to the mean than its last place after some 100,000."""
    random = np.random.default_rng(0)
    X = random.standard_normal((200_000, 3)).astype(np.float32)
    y = (X @ [1.0, -2.0, 0.5] + 5 + random.standard_normal(len(X))).astype(np.float32)
    rows = as_rows(X)
    settings = {"average": True, "max_iter": 5, "tol": None, "alpha": 0, "random_state": 0}
    theirs = sklearn.linear_model.SGDRegressor(**settings).fit(rows, y)
    for given in (None, "float64"):
        model = SGDRegressor(dtype=given, **settings).fit(rows, y)
        assert model.intercept_ == pytest.approx(theirs.intercept_, abs=4e-3)
        assert model.coef_ == pytest.approx([1, -2, 0.5], abs=4e-3)


def test_classes_of_float32_rows_have_their_means_in_float64():
    random = np.random.default_rng(1)
    X = random.standard_normal((300, 4)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)
    for rows in (X, sparse.csr_matrix(X)):
        models = [
            SGDClassifier(average=5, max_iter=3, tol=None, dtype=each, random_state=0).fit(rows, y)
            for each in (None, "float64", "float32")
        ]
        assert [each.coef_.dtype for each in models] == [np.float64, np.float64, np.float32]
        np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
        np.testing.assert_allclose(models[2].coef_, models[0].coef_, rtol=1e-3, atol=1e-4)
