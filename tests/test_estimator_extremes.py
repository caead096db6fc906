"""Estimators on numbers whose squares no float holds: right numbers or an error, and no warning."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from numpy.testing import assert_allclose  # noqa: E402
from scipy import sparse  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.metrics import r2_score  # noqa: E402

import fastnn  # noqa: E402
from fastnn.estimators.scoring import is_extreme, r2  # noqa: E402

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(80, 3))
LABELS, NUMBERS = (ROWS[:, 0] > 0).astype(int), ROWS @ [1.0, 2.0, -1.0]
FEATURES = {
    "usual": ROWS,
    "1e30 in float32": (ROWS * 1e30).astype(np.float32),
    "1e37 in float32": (ROWS * 1e37).astype(np.float32),
    "1e-40 in float32": (ROWS * 1e-40).astype(np.float32),
    "1e200": ROWS * 1e200,
    "1e300": ROWS * 1e300,
    "1e-200": ROWS * 1e-200,
    "one column": ROWS * [1, 1e200, 1e-200],
    "sparse": sparse.csr_matrix(ROWS * 1e200),
    "sparse in float32": sparse.csr_matrix((ROWS * 1e30).astype(np.float32)),
}
TARGETS = {
    "usual": NUMBERS,
    "1e200": NUMBERS * 1e200,
    "the largest": NUMBERS / np.abs(NUMBERS).max() * 1.7e308,
    "1e30 in float32": (NUMBERS * 1e30).astype(np.float32),
    "1e-200": NUMBERS * 1e-200,
    "integers": (NUMBERS * 1e17).astype(np.int64),
}
KINDS = {
    "MLPClassifier": [{}, {"standardize": True, "early_stopping": True}],
    "MLPRegressor": [
        {}, {"early_stopping": True}, {"standardize": True}, {"loss": "huber"},
        {"standardize": True, "early_stopping": True},
    ],
    "SGDClassifier": [
        {}, {"loss": "log_loss", "early_stopping": True}, {"loss": "squared_hinge"},
        {"loss": "modified_huber"}, {"standardize": True},
    ],
    "SGDRegressor": [
        {}, {"early_stopping": True}, {"standardize": True, "early_stopping": True},
        {"loss": "huber"}, {"average": True}, {"penalty": "elasticnet"},
    ],
    "Perceptron": [{}, {"early_stopping": True}],
}  # fmt: skip


def use(model, X, y):
    """Fit and ask for everything; errors that say what is too large are an answer, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            model.fit(X, y)
        except ValueError as error:  # Diverged, too
            assert str(error)
            assert X is not ROWS or (y is not LABELS and y is not NUMBERS)
            return
        assert np.isfinite(model.predict(X)).all() or y is LABELS
        assert not np.isnan(model.score(X, y))
        for name in ("predict_proba", "predict_log_proba", "decision_function"):
            if hasattr(model, name):
                found = getattr(model, name)(X)
                assert sparse.issparse(X) or not np.isnan(found).any()
        if getattr(model, "early_stopping", True) is False:
            try:
                model.partial_fit(X, y)
            except fastnn.Diverged:
                return


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_overflows_without_an_error(kind, features, target):
    for settings in KINDS[kind]:
        more = {"hidden_layer_sizes": (5,)} if kind.startswith("MLP") else {}
        for y in TARGETS.values() if "Regressor" in kind else [LABELS]:
            model = getattr(fastnn, kind)(
                target=target, random_state=0, max_iter=4, **more, **settings
            )
            use(model, FEATURES[features], y)


@pytest.mark.parametrize("targets", TARGETS)
def test_a_table_overflows_nowhere(targets):
    model = fastnn.TabularRegressor(random_state=0, time_limit=1)
    use(model, FEATURES["one column"], TARGETS[targets])


class Given(fastnn.SGDRegressor):
    """Predicts what it was given."""

    def predict(self, X):
        """Return that."""
        return self.given


@pytest.mark.parametrize("weights", [None, np.linspace(0, 1, 80)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_r2_has_no_units(dtype, weights):
    """It is scikit-learn's for usual numbers, and the same for those that are a power of 2 away."""
    y, predicted = NUMBERS.astype(dtype), (NUMBERS + ROWS[:, 1]).astype(dtype)
    usual, model = r2_score(y, predicted, sample_weight=weights), Given()
    model.given = predicted
    assert model.score(ROWS, y, weights) == usual
    limits = np.finfo(dtype)
    for power in range(limits.minexp + limits.nmant + 3, limits.maxexp - 3, 7):
        mine, model.given = np.ldexp(y, power), np.ldexp(predicted, power)
        assert model.score(ROWS, mine, weights) == pytest.approx(usual, rel=1e-5)
        assert r2(mine[:, None], model.given[:, None], weights) == pytest.approx(usual, rel=1e-5)


def test_r2_of_predictions_out_of_all_proportion():
    y = NUMBERS[:, None] * 1e-200
    assert r2(y, np.full_like(y, 1e200), None) == -np.inf
    assert r2(y * 0 + 7.0, y * 0 + 7.0, None) == 1.0
    assert r2(y * 0, y * 0 + 1e200, None) == 0.0
    assert np.isnan(r2(y, y * np.nan, None))
    assert not is_extreme(NUMBERS) and not is_extreme(np.ones(3)) and not is_extreme(np.zeros(3))
    model = Given()
    model.given = NUMBERS[:-1]
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(ROWS, NUMBERS * 1e200)
    model.given = NUMBERS
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="Input"):
            model.score(ROWS, np.where(NUMBERS > 1, wrong, NUMBERS * 1e200))


def test_r2_of_a_column_is_that_of_its_numbers():
    model = Given()
    model.given = NUMBERS[::-1] * 1e200
    row = model.score(ROWS, NUMBERS * 1e200)
    assert np.isfinite(row)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.score(ROWS, NUMBERS[:, None] * 1e200) == row


def test_targets_that_float32_does_not_hold_are_refused_before_they_are_standardized():
    with pytest.raises(fastnn.InvalidInput, match=r"y value .* at row 0 is too large for float32"):
        fastnn.MLPRegressor(standardize=True, target="numpy").fit(
            ROWS.astype(np.float32), NUMBERS * 1e200
        )


LINEAR = [
    fastnn.SGDClassifier(random_state=0),
    fastnn.SGDClassifier(random_state=0, max_iter=1, tol=None),
    fastnn.SGDClassifier("modified_huber", average=True, random_state=0),
    fastnn.SGDClassifier(penalty="l1", max_iter=3, tol=None, random_state=0),
    fastnn.SGDRegressor("epsilon_insensitive", random_state=0),
    fastnn.Perceptron(random_state=0),
]


@pytest.mark.parametrize("model", LINEAR, ids=str)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("scale", ["1e200", "1e300", "1e25 in float32"])
def test_a_fit_whose_outputs_overflow_in_its_last_updates_is_refused(model, form, labels, scale):
    """Each row has columns of its own: no later step reads what it has left."""
    kind, X = np.dtype("f4" if "32" in scale else "f8"), np.eye(6)
    y = np.arange(6) % labels
    X = (X * float(scale.split()[0])).astype(kind)
    model = clone(model).set_params(dtype=kind)  # or a mean of weights would be in float64
    with pytest.raises(fastnn.errors.Diverged, match="overflow.*row [0-5] of X|overflow.*loss"):
        model.fit(form(X), y)
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_a_part_whose_outputs_overflow_leaves_the_model_as_it_was(form):
    model = fastnn.SGDClassifier(random_state=0).partial_fit(form(ROWS), LABELS, classes=[0, 1])
    before, steps = model.coef_.copy(), model.t_
    with pytest.raises(fastnn.errors.Diverged, match="overflow"):
        model.partial_fit(form(np.eye(3) * 1e250), [0, 1, 0])
    np.testing.assert_array_equal(model.coef_, before)
    assert model.t_ == steps
    model.partial_fit(form(ROWS), LABELS)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("ask", ["decision_function", "predict", "predict_proba", "score"])
@pytest.mark.parametrize("labels", [LABELS, np.arange(80) % 3], ids=["two", "three"])
def test_outputs_that_no_float_holds_are_refused_by_their_row(form, ask, labels):
    model = fastnn.SGDClassifier("log_loss", random_state=0).fit(form(ROWS), labels)
    X = ROWS.copy()
    X[7] = 1.7e308 * np.sign(model.coef_[0])
    more = [labels] if ask == "score" else []
    with pytest.raises(fastnn.errors.InvalidInput, match="for row 7 of X is -?inf.*scale X"):
        getattr(model, ask)(form(X), *more)
    assert np.isfinite(model.decision_function(form(X[:7]))).all()


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight", [1e-8, 1e-30, 1e-45, 1e-200, 1e-310, 5e-324])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_penalty_that_small_weights_make_huge_is_told(kind, dtype, weight):
    """As in scikit-learn it is divided by them; without one they may be of any size."""
    y = NUMBERS if kind == "MLPRegressor" else LABELS
    weights = np.full(len(y), weight)
    settings = {"random_state": 0, "max_iter": 2, "target": "numpy", "dtype": dtype}
    model = getattr(fastnn, kind)(hidden_layer_sizes=(5,), **settings)
    message = f"have the mean {weight:.3g}, by which alpha=0.0001 is divided: the penalty outweighs"
    if weight >= (1e-8 if dtype == "float32" else 1e-45):
        with pytest.warns(fastnn.TrainingWarning, match=message):
            model.fit(ROWS, y, weights)
    else:
        with pytest.raises(fastnn.InvalidInput, match=f"{message}.*{dtype} does not hold"):
            model.fit(ROWS, y, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error", fastnn.TrainingWarning)
        plain = model.set_params(alpha=0.0).fit(ROWS, y)
        expected = plain.coefs_
        found = model.fit(ROWS, y, weights).coefs_
        model.set_params(alpha=1e-4).fit(ROWS, y, weights / weight)
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["SGDClassifier", "SGDRegressor"])
@pytest.mark.parametrize("penalty", ["l1", "l2", "elasticnet"])
@pytest.mark.parametrize(
    ("dtype", "weight"),
    [("float32", 1e-44), ("float32", 1e-200), ("float32", 5e-324), ("float64", 1e-320)],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_linear_model_says_which_weights_are_too_small_for_its_penalty(
    kind, penalty, dtype, weight
):
    y = NUMBERS if kind == "SGDRegressor" else LABELS
    weights = np.full(len(y), weight)
    message = rf"weights of rows.* have the mean {weight:.3g}, by which alpha=.* {dtype} does not"
    settings = {"max_iter": 2, "target": "numpy", "dtype": dtype, "penalty": penalty}
    model = getattr(fastnn, kind)(alpha=1e-3, **settings)
    with pytest.raises(fastnn.InvalidInput, match=message):
        model.fit(ROWS, y, sample_weight=weights)
    model.fit(ROWS, y)
    with pytest.raises(fastnn.InvalidInput, match=message):
        model.partial_fit(ROWS, y, sample_weight=weights)
    model.set_params(penalty=None).fit(ROWS, y, sample_weight=weights)
    if dtype == "float32":  # which alone cannot be, of weights that all count 1
        with pytest.raises(fastnn.InvalidInput, match="l[12] must be finite in float32"):
            model.set_params(penalty=penalty, alpha=1e40).fit(ROWS, y)


@pytest.mark.parametrize("kind", ["SGDClassifier", "SGDRegressor"])
def test_a_linear_model_says_which_weights_are_too_large(kind):
    y = NUMBERS if kind == "SGDRegressor" else LABELS
    model = getattr(fastnn, kind)(target="numpy", max_iter=2)
    with pytest.raises(fastnn.InvalidInput, match="weights of rows.*the product overflows; divide"):
        model.fit(ROWS, y, sample_weight=np.full(len(y), 1e308))
