"""Columns and targets that are far from 0 for their deviation, in the units that are given."""

import pickle
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from numpy.testing import assert_allclose  # noqa: E402
from scipy import sparse  # noqa: E402

from fastnn import (  # noqa: E402
    Dense,
    MLPClassifier,
    MLPRegressor,
    Network,
    RoundingWarning,
    Scaling,
    SGDClassifier,
    SGDRegressor,
    Trainer,
)
from fastnn.estimators.units import numbers_outside  # noqa: E402

RANDOM = np.random.default_rng(0)
Z = RANDOM.normal(size=(150, 2))
Y = Z @ [1.0, -0.5]
KINDS = {
    "SGDClassifier": (SGDClassifier, Y > 0),
    "three classes": (SGDClassifier, np.digitize(Y, [-0.5, 0.5])),
    "SGDRegressor": (SGDRegressor, Y),
    "MLPClassifier": (MLPClassifier, Y > 0),
    "MLPRegressor": (MLPRegressor, Y),
}
FAR = {"seconds": 1.7e9 + 60 * Z, "1e7": 1e7 + Z, "both": np.c_[1e8 + Z[:, 0], Z[:, 1]]}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(case, X, y, dtype=np.float32, **settings):
    kind = KINDS[case][0]
    network = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.02}
    settings |= network if kind in (MLPClassifier, MLPRegressor) else {}
    return kind(
        **settings, standardize=True, dtype=dtype and np.dtype(dtype), random_state=0, max_iter=20,
        target="numpy",
    ).fit(X, y)  # fmt: skip


def outputs(model, X):
    for name in ("decision_function", "predict_proba"):
        if hasattr(model, name):
            return getattr(model, name)(X)
    return model.predict(X)


@pytest.mark.parametrize("X", FAR.values(), ids=FAR)
@pytest.mark.parametrize("case", KINDS)
def test_what_is_trained_on_standardized_columns_predicts_in_every_form(case, X):
    y = KINDS[case][1]
    model, near = fitted(case, X, y), fitted(case, Z, y)
    assert model._trainer.dtype == np.float32
    assert_allclose(outputs(model, X), outputs(near, Z), rtol=1e-3, atol=1e-3)
    theirs, trainer = model.to_sklearn(), model.to_trainer()
    assert_allclose(outputs(theirs, X), outputs(model, X), rtol=1e-4, atol=1e-4)
    raw = trainer.predict_proba(X) if case == "MLPClassifier" else trainer.forward(X)
    raw = raw if case == "three classes" or case == "MLPClassifier" else raw[:, 0]
    assert_allclose(raw, outputs(model, X), rtol=1e-4, atol=1e-4)
    assert trainer.dtype == np.float64 and trainer.epoch == model.n_iter_ * ("MLP" in case)


@pytest.mark.parametrize("given", [np.float32, np.float64])
@pytest.mark.parametrize("case", ["SGDClassifier", "three classes", "SGDRegressor"])
def test_linear_weights_go_on_from_units_far_from_zero(case, given):
    y, rows = KINDS[case][1], (5e3 + Z).astype(given)
    model = fitted(case, rows, y, dtype=None if given == np.float32 else np.float32)
    assert model._trainer.dtype == np.float32 and model.coef_.dtype == np.float64
    before = model.score(rows, y)
    again = pickle.loads(pickle.dumps(model))
    inside = [array.copy() for array in model._trainer.parameters[0]]
    for kept in (again, again.sparsify()):
        if case == "SGDRegressor" and kept is not again:
            continue
        for mine, was in zip(kept._trainer_now().parameters[0], inside, strict=True):
            assert (mine == was).all()
    step = again._trainer.step
    again.partial_fit(rows, y)
    assert again._trainer.step == step + len(y) and again.score(rows, y) > before - 0.05
    # From coef_ and intercept_ alone, as a warm start does: a rate that moves nothing.
    model.set_params(warm_start=True, learning_rate="constant", eta0=1e-12, max_iter=1).fit(rows, y)
    for mine, was in zip(model._trainer.parameters[0], inside, strict=True):
        assert_allclose(mine, was, rtol=1e-4, atol=1e-4)


def test_weights_of_an_earlier_version_are_those_of_the_trainer_inside():
    model = fitted("SGDRegressor", 100 + Z, Y)
    inside = model._trainer.parameters[0][0]
    model.coef_, model.intercept_ = np.float32(model.coef_), np.float32(model.intercept_)
    step = model._trainer.step
    model.partial_fit(100 + Z, Y)
    assert model._trainer.step == step + len(Y)  # not from 0, as for weights that are written
    assert_allclose(model._trainer.parameters[0][0], inside, atol=0.1)
    model.coef_ = np.array([1, 2])
    assert model._trainer_now().step == 0


@pytest.mark.parametrize("case", ["SGDRegressor", "MLPRegressor"])
def test_targets_far_from_zero_are_predicted_where_they_are(case):
    model, near = fitted(case, Z, 1e9 + Y), fitted(case, Z, Y)
    assert_allclose(model.predict(Z) - 1e9, near.predict(Z), atol=1e-3)
    assert model.score(Z, 1e9 + Y) == pytest.approx(near.score(Z, Y), abs=1e-3)
    rows = Z.astype(np.float32)
    single = fitted(case, rows, 1e9 + Y, dtype=None)
    assert single._trainer.dtype == np.float32
    assert_allclose(single.predict(rows) - 1e9, near.predict(Z), atol=1e-3)
    trainer = model.to_trainer()
    assert trainer.dtype == np.float64
    for other in (trainer, model.to_sklearn()):
        assert_allclose(other.predict(Z).ravel() - 1e9, near.predict(Z), atol=1e-3)
    scored = model.set_params(early_stopping=True, warm_start=False).fit(
        Z, 1e9 + Y, X_val=Z, y_val=1e9 + Y
    )
    assert max(scored.validation_scores_) == pytest.approx(scored.score(Z, 1e9 + Y), abs=1e-3)


@pytest.mark.parametrize("case", KINDS)
def test_a_trainer_of_usual_columns_keeps_its_dtype(case):
    model = fitted(case, 20 + Z, KINDS[case][1])
    trainer = model.to_trainer()
    assert trainer.dtype == np.float32
    found = outputs(model, 20 + Z)
    raw = trainer.predict_proba(20 + Z) if case == "MLPClassifier" else trainer.forward(20 + Z)
    assert_allclose(raw.reshape(found.shape), found, rtol=1e-3, atol=1e-4)
    other = fitted(case, sparse.csr_array(Z), KINDS[case][1]).to_trainer()
    assert other.dtype == np.float32


def test_a_precision_that_would_round_columns_in_their_units_is_not_kept():
    settings = {"precision": "bfloat16", "learning_rate_init": 0.02, "hidden_layer_sizes": (8,)}
    settings |= {"standardize": True, "dtype": np.dtype("float32"), "random_state": 0}
    for mean, kinds in ((0, "float32 bfloat16"), (30, "float32 float32"), (1e7, "float64 float32")):
        model = MLPRegressor(**settings, target="numpy", max_iter=30).fit(
            mean + Z - Z.mean(axis=0), Y - Y.mean()
        )
        trainer = model.to_trainer()
        assert f"{trainer.dtype} {trainer.precision}" == kinds
        rows = mean + Z - Z.mean(axis=0)
        assert_allclose(trainer.predict(rows), model.predict(rows), atol=0.05)


def test_scales_beyond_those_of_float32_take_float64():
    single = np.dtype(np.float32)
    layers = [(np.ones((1, 1), np.float32), np.zeros(1, np.float32))]
    for scale, dtype in ((1.0, single), (1e-35, np.float64), (1e35, np.float64)):
        scaling = Scaling([0.0], [scale])
        assert numbers_outside(layers, scaling, None, single)[0] == dtype
        assert numbers_outside(layers, Scaling([0.0], [1.0]), scaling, single)[0] == dtype


@pytest.mark.parametrize("fold, what", [("fold_inputs", "sums of the first"), ("fold_outputs", "")])
def test_parameters_that_take_in_columns_far_from_zero_say_what_rounding_does(fold, what):
    network = Network(2, [Dense(2)])
    single = Trainer(network, "mse", target="numpy", seed=1).parameters
    double = [tuple(array.astype(np.float64) for array in layer) for layer in single]
    for mean in (0.0, 100.0, -100.0):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            getattr(Scaling([mean, 0.0], [1.0, 1.0]), fold)(single)
            getattr(Scaling([mean * 1e5, 0.0], [1.0, 1.0]), fold)(double)
    scaling = Scaling([0.0, -1e6], [1.0, 0.1])
    with pytest.warns(RoundingWarning, match="Trainer of dtype .float64., or keep") as caught:
        found = getattr(scaling, fold)(single)
    assert what in str(caught[0].message) and caught[0].filename == __file__
    assert found[0][0].dtype == np.float32
    with pytest.warns(RoundingWarning, match="since float64 rounds numbers.*; keep the scaling"):
        getattr(Scaling([0.0, 1e15], [1.0, 0.1]), fold)(double)
    wide = Trainer(network, "mse", target="numpy", dtype="float64")
    wide.set_parameters(getattr(scaling, fold)(double))
    narrow = Trainer(network, "mse", target="numpy")
    narrow.set_parameters(single)
    if fold == "fold_inputs":
        assert_allclose(wide.forward(scaling.undo(Z)), narrow.forward(Z), atol=1e-5)
    else:
        assert_allclose(scaling.apply(wide.forward(Z)), narrow.forward(Z), atol=1e-5)


def test_whole_numbers_as_parameters_are_not_cut_off():
    folded = Scaling([1.0], [4.0]).fold_inputs([(np.array([[1]]), np.array([0]))])
    assert folded[0][0].item() == 0.25 and folded[0][1].item() == -0.25
