"""Restarts of estimators: what diverges is left out, and all are compared on the same rows."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastnn import Diverged, MLPClassifier, MLPRegressor, SGDClassifier, SGDRegressor
from fastnn.estimators import restarts

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(60, 4)) * 3
Y = X[:, 0] * X[:, 1]
UNSTEADY = {
    "hidden_layer_sizes": (16,), "solver": "sgd", "learning_rate_init": 0.05, "momentum": 0,
    "max_iter": 30, "batch_size": 10, "target": "numpy", "random_state": 1,
}  # fmt: skip


def told(fit):
    """Return what a fit returns, and what it warns of."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fitted = fit()
    return fitted, [str(each.message) for each in seen]


def test_a_network_that_diverges_does_not_lose_those_that_were_fine():
    three, quiet = told(lambda: MLPRegressor(**UNSTEADY, n_restarts=3).fit(X, Y))
    four, said = told(lambda: MLPRegressor(**UNSTEADY, n_restarts=4).fit(X, Y))
    assert four.loss_ == three.loss_
    np.testing.assert_array_equal(four.predict(X), three.predict(X))
    assert not any("diverged" in each for each in quiet)
    assert [each for each in said if each.startswith("1 of 4 fits (n_restarts) diverged")]


def test_a_network_that_diverges_first_does_not_keep_the_next_from_being_fitted():
    def diverges(state):
        try:
            told(lambda: MLPRegressor(**{**UNSTEADY, "random_state": state}).fit(X, Y))
        except Diverged:
            return True
        return False

    state = next(filter(diverges, range(20)))
    model = MLPRegressor(**{**UNSTEADY, "random_state": state}, n_restarts=8)
    fitted, said = told(lambda: model.fit(X, Y))
    assert np.isfinite(fitted.loss_)
    assert any("of 8 fits (n_restarts) diverged" in each for each in said)


@pytest.mark.parametrize("kind", [MLPRegressor, MLPClassifier])
def test_networks_that_all_diverge_are_an_error(kind):
    settings = {**UNSTEADY, "learning_rate_init": 1e30, "alpha": 1.0}
    y = Y if kind is MLPRegressor else Y > 0
    with pytest.raises(Diverged, match=r"all 3 fits \(n_restarts\) diverged, the first so: "):
        kind(**settings, n_restarts=3).fit(X, y)


def test_one_network_that_diverges_says_what_it_did():
    with pytest.raises(ValueError, match="^Solver produced non-finite parameter weights"):
        MLPRegressor(**{**UNSTEADY, "learning_rate_init": 1e30}).fit(X, Y)


def steep(diverging):
    """Return a callback that has some of several fits diverge, by their number."""
    begun = []

    def call(trainer, history):
        if trainer.epoch == 1:
            begun.append(trainer)
            if len(begun) - 1 in diverging:
                trainer.rate_factor = 1e308

    return call


@pytest.mark.parametrize("kind", [SGDRegressor, SGDClassifier])
@pytest.mark.parametrize("diverging", [{0}, {1}, {2}, {0, 2}])
def test_a_linear_model_that_diverges_does_not_lose_the_others(kind, diverging):
    settings = {
        "loss": "squared_error", "learning_rate": "constant", "eta0": 1e-3, "max_iter": 3,
        "tol": None, "random_state": 0, "target": "numpy", "n_restarts": 3,
    }  # fmt: skip
    y = Y if kind is SGDRegressor else Y > 0
    model = kind(**settings, callbacks=steep(diverging))
    fitted, said = told(lambda: model.fit(X, y))
    assert np.isfinite(fitted.coef_).all() and np.isfinite(fitted.loss_curve_[-1])
    number = len(diverging)
    assert [each for each in said if each.startswith(f"{number} of 3 fits (n_restarts) diverged")]


def test_linear_models_that_all_diverge_are_an_error():
    model = SGDRegressor(
        learning_rate="constant", eta0=1e-3, max_iter=3, tol=None, target="numpy", n_restarts=3,
        callbacks=steep({0, 1, 2}),
    )  # fmt: skip
    with pytest.raises(Diverged, match=r"all 3 fits \(n_restarts\) diverged"):
        model.fit(X, Y)


def test_a_linear_model_whose_outputs_overflow_is_one_that_diverged(monkeypatch):
    from fastnn.estimators import linear

    answers = iter(["an output overflows", "", ""])
    monkeypatch.setattr(linear, "overflow_of_fit", lambda *_: next(answers))
    model = SGDRegressor(eta0=1e-3, max_iter=3, tol=None, target="numpy", n_restarts=3)
    fitted, said = told(lambda: model.fit(X, Y))
    assert np.isfinite(fitted.coef_).all()
    assert [each for each in said if each.startswith("1 of 3 fits (n_restarts) diverged")]


@pytest.mark.parametrize("kind", [MLPRegressor, MLPClassifier])
def test_networks_are_compared_on_the_same_rows(kind, monkeypatch):
    y = Y if kind is MLPRegressor else Y > 0
    watched = []

    class Watched(kind):
        def _monitor(self, trainer, task, targets, *rest):
            watched.append(targets.copy())
            return super()._monitor(trainer, task, targets, *rest)

    settings = {**UNSTEADY, "learning_rate_init": 1e-3, "early_stopping": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        Watched(**settings, n_restarts=3).fit(X, y)
        first = kind(**settings).fit(X, y)
        fits = []
        best = restarts.best_fit

        def keep(times, fit_once):
            def once():
                fits.append(fit_once())
                return fits[-1]

            return best(times, once)

        monkeypatch.setattr("fastnn.estimators.mlp_base.best_fit", keep)
        kind(**settings, n_restarts=3).fit(X, y)
    assert len(watched) == 3
    for targets in watched[1:]:
        np.testing.assert_array_equal(targets, watched[0])
    assert fits[0].monitor.scores == first.validation_scores_  # as without restarts
    assert fits[1].monitor.losses != fits[0].monitor.losses  # which are other networks
