"""Networks of the estimators whose products are rounded: as a Trainer's, in all that is kept."""

import copy
import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from numpy.testing import assert_allclose, assert_array_equal  # noqa: E402
from scipy import sparse  # noqa: E402
from sklearn.base import clone  # noqa: E402

from fastnn import Dense, InvalidInput, MLPClassifier, MLPRegressor, Network, SGDRegressor, Trainer  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 8))
LABELS = np.where(X[:, 0] > 0, "right", "left")
NUMBERS = X @ RANDOM.normal(size=8)
SETTINGS = {
    "hidden_layer_sizes": (9, 5), "max_iter": 3, "random_state": 0, "dtype": "float32",
    "target": "numpy",
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(
    params=[(MLPClassifier, LABELS), (MLPRegressor, NUMBERS)], ids=["labels", "numbers"]
)
def fitted(request):
    kind, y = request.param
    return kind(**SETTINGS, precision="bfloat16").fit(X, y), y


def test_products_are_rounded_as_a_trainers_are(fitted):
    model, y = fitted
    exact = type(model)(**SETTINGS).fit(X, y)
    trainer = model.to_trainer()
    assert trainer.precision == "bfloat16" and exact.to_trainer().precision == "float32"
    away = np.abs(model.coefs_[0] - exact.coefs_[0]).max()
    assert 1e-6 < away < 1e-2
    raw = trainer.forward(X).ravel()
    if isinstance(model, MLPClassifier):
        assert_allclose(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-raw)), rtol=1e-5, atol=1e-6)
    else:
        assert_allclose(model.predict(X), raw, rtol=1e-6)
    # One row and many are rounded alike.
    assert_array_equal(model.predict(X[:1]), model.predict(X)[:1])


def test_the_precision_is_a_parameter_like_others(fitted):
    model, y = fitted
    assert model.get_params()["precision"] == "bfloat16"
    assert clone(model).precision == "bfloat16"
    assert "precision='bfloat16'" in repr(model)
    for other in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        assert_array_equal(other.predict(X), model.predict(X))
        assert other.to_trainer().precision == "bfloat16"
    again = clone(model).fit(X, y)
    assert_array_equal(again.coefs_[0], model.coefs_[0])
    back = clone(model).set_params(precision="float32").fit(X, y)
    assert_array_equal(back.coefs_[0], type(model)(**SETTINGS).fit(X, y).coefs_[0])


def test_a_fit_that_goes_on_takes_the_precision_that_is_set(fitted, tmp_path):
    model, y = fitted
    model.set_params(precision="float32").partial_fit(X, y)
    assert model.to_trainer().precision == "float32"
    model.set_params(precision="bfloat16", warm_start=True).fit(X, y)
    trainer = model.to_trainer()
    assert trainer.precision == "bfloat16"
    trainer.save(tmp_path / "model.safetensors")
    loaded = Trainer.load(tmp_path / "model.safetensors")
    assert loaded.precision == "bfloat16"
    assert_array_equal(loaded.forward(X), trainer.forward(X))


@pytest.mark.parametrize("kind, y", [(MLPClassifier, LABELS), (MLPRegressor, NUMBERS)])
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bf16"},
        {"precision": 16},
        {"precision": None},
        {"precision": "bfloat16", "dtype": "float64"},
        {"precision": "tf32", "target": "cpu"},
    ],
)
def test_what_a_trainer_refuses_is_refused_in_its_words(kind, y, settings):
    settings = {"dtype": "float32", "target": "numpy", **settings}
    with pytest.raises(InvalidInput) as theirs:
        Trainer(Network(8, [Dense(1)]), "mse", **settings)
    model = kind(hidden_layer_sizes=(9,), max_iter=2).fit(X, y)
    before = model.predict(X)
    for method in ("fit", "partial_fit"):
        other, more = clone(model).set_params(**settings), {}
        if method == "partial_fit" and kind is MLPClassifier:
            more = {"classes": np.unique(y)}
        with pytest.raises(InvalidInput) as error:
            getattr(other, method)(X, y, **more)
        assert str(error.value) == str(theirs.value)
    with pytest.raises(InvalidInput):
        model.set_params(**settings).fit(X, y)
    assert_array_equal(model.predict(X), before)


def test_float64_features_ask_for_a_dtype_and_sparse_ones_are_refused():
    settings = {**SETTINGS, "precision": "bfloat16"}
    with pytest.raises(InvalidInput, match="set dtype='float32', or leave precision='float32'"):
        MLPRegressor(**{**settings, "dtype": None}).fit(X, NUMBERS)
    kept = MLPRegressor(**{**settings, "dtype": None}).fit(X.astype(np.float32), NUMBERS)
    assert kept.coefs_[0].dtype == np.float32
    with pytest.raises(InvalidInput, match="sparse rows are not rounded to bfloat16"):
        MLPRegressor(**settings).fit(sparse.csr_array(X), NUMBERS)
    with pytest.raises(InvalidInput, match="sparse rows are not rounded to bfloat16"):
        kept.predict(sparse.csr_array(X))


def test_early_stopping_scores_what_predicts():
    settings = {**SETTINGS, "precision": "bfloat16", "early_stopping": True, "max_iter": 6}
    for kind, y in ((MLPClassifier, LABELS), (MLPRegressor, NUMBERS)):
        model = kind(**settings).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
        assert_allclose(model.best_validation_score_, model.score(X[40:], y[40:]), rtol=1e-6)


@pytest.mark.parametrize("kind", [MLPRegressor, SGDRegressor])
@pytest.mark.parametrize("dtype", ["float32", "float64", np.float64, np.dtype("float32")])
@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_a_dtype_by_its_name_is_gone_on_with_after_standardizing(kind, dtype, how):
    settings = {"random_state": 0, "target": "numpy", "standardize": True, "max_iter": 2}
    model = kind(dtype=dtype, warm_start=how == "warm_start", **settings)
    table = np.random.default_rng(1).normal(size=(30, 2))
    model.fit(table, table[:, 0])
    (model.fit if how == "warm_start" else model.partial_fit)(table, table[:, 0])
    assert model.to_trainer().dtype == dtype
