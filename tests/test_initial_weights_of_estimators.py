"""Initial weights of networks, which `random_state` decides as it does those of scikit-learn."""

import numpy as np
import pytest
from sklearn import neural_network

import fastnn


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("sizes", [(), (5,)], ids=["none", "one"])
@pytest.mark.parametrize("name", ["MLPRegressor", "MLPClassifier"])
def test_initial_weights_are_those_of_scikit_learn_with_and_without_hidden_layers(
    name, sizes, activation
):
    X = np.random.default_rng(0).normal(size=(30, 4))
    y = X[:, 0] if name == "MLPRegressor" else X[:, 0] > 0
    settings = {"learning_rate_init": 1e-12, "max_iter": 1, "alpha": 0.0, "random_state": 0}
    settings |= {"hidden_layer_sizes": sizes, "activation": activation}
    mine = getattr(fastnn, name)(**settings).fit(X, y)
    theirs = getattr(neural_network, name)(**settings).fit(X, y)
    for one, other in zip(
        mine.coefs_ + mine.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-10)
