"""Losses whose parameter is out of scale beside y: a fit that learns nothing by them says so."""

import warnings

import numpy as np
import pytest

import fastnn
from fastnn import SGD, Adam, Dense, Huber, MLPRegressor, Network, SGDRegressor, Trainer

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(200, 3))
LINE = X @ [1.0, 0.5, 0.2]
PRICES, SMALL = 3e5 + 1e5 * LINE, 0.5 + 1e-3 * LINE
GIVEN = {"random_state": 0, "target": "numpy", "max_iter": 10}
WITHIN = "epsilon_insensitive", "squared_epsilon_insensitive"


def told(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    found = [each for each in caught if issubclass(each.category, fastnn.TrainingWarning)]
    return [str(each.message) for each in found]


@pytest.mark.parametrize("average", [False, True])
def test_an_epsilon_that_is_nothing_beside_y_is_told_with_what_it_is_in_deviations(average):
    model = SGDRegressor("huber", standardize=True, average=average, **GIVEN)
    (said,) = told(lambda: model.fit(X, PRICES))
    assert "no better than a constant" in said
    assert f"{0.1 / PRICES.std():.3g} standard deviations of y" in said
    assert said.endswith(
        "epsilon=0.1 is in the units of y, so set it to about the standard deviation of y, "
        f"{PRICES.std():.3g}"
    )
    model.set_params(epsilon=PRICES.std())
    assert not told(lambda: model.fit(X, PRICES))
    assert model.score(X, PRICES) > 0.8


def test_without_standardize_the_epsilon_is_told_as_standardizing_alone_would_not_help():
    (said,) = told(lambda: SGDRegressor("huber", **GIVEN).fit(X, PRICES))
    assert said.endswith("set it to about the standard deviation of y")


@pytest.mark.parametrize("loss", WITHIN)
@pytest.mark.parametrize("standardize", [False, True])
def test_an_epsilon_that_all_of_y_is_within_is_told(loss, standardize):
    model = SGDRegressor(loss, standardize=standardize, **GIVEN)
    (said,) = told(lambda: model.fit(X, SMALL))
    assert f"{loss!r} is 0 where an output is within epsilon of y" in said
    assert "epsilon=0.1 is in the units of y, so set it to less than the standard dev" in said
    model.set_params(epsilon=1e-4, standardize=True)
    assert not told(lambda: model.fit(X, SMALL))


def test_what_learns_or_has_nothing_to_learn_is_not_told():
    for loss in ("huber", *WITHIN):
        assert not told(lambda loss=loss: SGDRegressor(loss, **GIVEN).fit(X, LINE))
        still = SGDRegressor(loss, standardize=True, **GIVEN)
        assert not told(lambda model=still: model.fit(X, np.full(200, 3e5)))
    noise = SGDRegressor("huber", epsilon=0.5, **GIVEN)
    assert not told(lambda: noise.fit(X, DRAWN.normal(size=200)))


@pytest.mark.parametrize(("optimizer", "count"), [(SGD(0.01), 1), (Adam(0.05), 0)])
def test_a_trainer_has_the_remedy_of_a_delta_where_steps_go_by_the_gradient(optimizer, count):
    trainer = Trainer(
        Network(3, [Dense(1)]), "huber", optimizer, batch_size=16, target="numpy", seed=1
    )
    trainer.set(loss=Huber(1e-5))
    said = told(lambda: trainer.fit(X, LINE, epochs=15))
    assert len(said) == count
    assert all(each.endswith("take a delta of about one standard deviation of y") for each in said)


def test_a_network_by_plain_sgd_is_told_as_well():
    model = MLPRegressor(Huber(1e-6), (4,), solver="sgd", **GIVEN)
    (said,) = told(lambda: model.fit(X, LINE))
    assert "the slope of 'huber' is at most its delta" in said
