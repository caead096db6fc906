"""Losses with parameters and of several kinds of targets, as a trainer has them."""

import copy
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from trainer_cases import LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import CorruptFile, Dense, Huber, InvalidInput, Network, Quantile, Trainer
from fastnn.training.plain_values import loss_from_plain, loss_to_plain

SOFT = np.random.default_rng(8).dirichlet([0.6, 0.6, 0.6], 37)
COUNTS = np.random.default_rng(9).poisson(3.0, 37)
ONE = [Dense(1)]


@pytest.mark.parametrize("target", TARGETS)
def test_the_quantile_loss_is_that_of_scikit_learn_and_finds_the_quantile(target):
    metrics = pytest.importorskip("sklearn.metrics")
    y = np.random.default_rng(1).exponential(size=4000)
    ones = np.ones((4000, 1))
    trainer = trainer_of(ONE, 1, loss=Quantile(0.9), target=target, batch_size=100, dtype="float64")
    trainer.fit(ones, y, 20)
    found = trainer.predict(ones)
    assert found[0] == pytest.approx(np.quantile(y, 0.9), abs=0.1)
    expected = metrics.mean_pinball_loss(y, found, alpha=0.9)
    assert trainer.evaluate(ones, y) == {"loss": pytest.approx(expected, rel=1e-12)}


def test_a_linear_quantile_regression_comes_near_the_best_one():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(2)
    X = random.normal(size=(600, 3))
    y = X @ [1.0, -2.0, 0.5] + random.exponential(size=600) * 2
    best = linear_model.QuantileRegressor(quantile=0.7, alpha=0).fit(X, y)
    trainer = trainer_of(ONE, 3, loss=Quantile(0.7), batch_size=30, dtype="float64")
    trainer.fit(X, y, 60)
    ((W, b),) = trainer.parameters
    assert_allclose([*W[:, 0], *b], [*best.coef_, best.intercept_], atol=0.2)


@pytest.mark.parametrize("q", [0, 1, -0.5, 2, np.nan, "0.9", None, True])
def test_a_quantile_is_between_0_and_1(q):
    with pytest.raises(InvalidInput, match=r"the quantile q must be a finite number in \(0, 1\)"):
        Quantile(q)


def test_the_name_of_the_quantile_loss_is_the_median():
    named, made = (trainer_of(ONE, loss=loss) for loss in ("quantile", Quantile()))
    for trainer in (named, made):
        trainer.fit(X, REAL, 2)
    assert state_of(named) == state_of(made)
    with pytest.raises(InvalidInput, match="did you mean 'quantile'"):
        trainer_of(ONE, loss="pinball")


@pytest.mark.parametrize("target", TARGETS)
def test_poisson_predicts_rates(target):
    trainer = trainer_of(ONE, loss="poisson", target=target)
    trainer.fit(X, COUNTS, 3, (X, COUNTS))
    z = trainer.forward(X).astype(np.float64)[:, 0]
    assert_allclose(trainer.predict(X), np.exp(z), rtol=1e-6)
    assert trainer.evaluate(X, COUNTS) == {"loss": pytest.approx(np.mean(np.exp(z) - COUNTS * z))}
    with pytest.raises(InvalidInput, match="'poisson' gives no probabilities"):
        trainer.predict_proba(X)
    with pytest.raises(
        InvalidInput, match="y value -1 at row 3 is negative, but poisson takes cou"
    ):
        trainer.fit(X, np.where(np.arange(37) == 3, -1, COUNTS))
    with pytest.raises(InvalidInput, match="applies the exponential itself"):
        trainer_of([Dense(1, "softplus")], loss="poisson")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("y", [SOFT, LABELS], ids=["soft", "labels"])
def test_scores_are_those_of_the_loss_that_is_trained(target, y):
    trainer = trainer_of(target=target, label_smoothing=0.2)
    history = trainer.fit(X, y, 2, (X, y, WEIGHTS), WEIGHTS)
    z = trainer.forward(X).astype(np.float64)
    logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = 0.8 * (np.eye(3)[y] if y.ndim == 1 else y) + 0.2 / 3
    loss = np.average(-(t * logs).sum(axis=1), weights=WEIGHTS)
    right = np.average(z.argmax(axis=1) == t.argmax(axis=1), weights=WEIGHTS)
    expected = {"loss": pytest.approx(loss, rel=1e-6), "accuracy": pytest.approx(right)}
    assert trainer.evaluate(X, y, WEIGHTS) == expected
    assert history.validation_loss[-1] == expected["loss"]


def test_labels_may_be_soft_in_training_alone():
    trainer = trainer_of()
    history = trainer.fit(X, SOFT, 1, (X, LABELS))
    trainer.fit(X, LABELS, 1, (X, SOFT))
    assert len(history) == 2 and trainer.evaluate(X, LABELS)["loss"] != history.validation_loss[-1]


def test_integer_and_half_precision_rows_are_probabilities():
    expected = trainer_of()
    expected.fit(X, np.eye(3, dtype=np.float32)[LABELS], 1)
    for dtype in (np.int64, bool, np.float16, np.float64):
        found = trainer_of()
        found.fit(X, np.eye(3, dtype=dtype)[LABELS], 1)
        assert state_of(found) == state_of(expected)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("settings", "y"),
    [({"label_smoothing": 0.1}, LABELS), ({"loss": Quantile(0.8), "layers": ONE}, REAL)],
    ids=["smoothing", "quantile"],
)
def test_a_saved_trainer_goes_on_to_the_same_bits(target, settings, y, tmp_path):
    trainer = trainer_of(target=target, **settings)
    trainer.fit(X, y, 2)
    trainer.save(tmp_path / "a.safetensors")
    others = [
        Trainer.load(tmp_path / "a.safetensors"),
        pickle.loads(pickle.dumps(trainer)),
        copy.deepcopy(trainer),
    ]
    trainer.fit(X, y, 2)
    for other in others:
        assert other.problem == trainer.problem
        other.fit(X, y, 2)
        assert state_of(other) == state_of(trainer)


@pytest.mark.parametrize(
    "values", [{"kind": "Quantile"}, {"kind": "Quantile", "q": 2}, {"kind": 3}]
)
def test_a_damaged_loss_is_refused(values):
    with pytest.raises(CorruptFile, match="^own.fastnn is damaged"):
        loss_from_plain(values, "own.fastnn")
    plain = json.loads(json.dumps(loss_to_plain(Quantile(0.25))))
    assert loss_from_plain(plain) == Quantile(0.25)


@pytest.mark.parametrize("smoothing", [1, -0.1, np.nan, "0.1", None])
def test_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(InvalidInput, match=r"label_smoothing must be a finite number in \[0, 1\)"):
        trainer_of(label_smoothing=smoothing)


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy", Quantile(), lambda z, y: z * y])
def test_only_the_softmax_has_its_labels_smoothed(loss):
    with pytest.raises(InvalidInput, match=r"label_smoothing 0.1 is for loss 'softmax_cross_entr"):
        trainer_of(ONE, loss=loss, label_smoothing=0.1)


def test_restarts_and_sweeps_take_them():
    from fastnn import sweep

    trainer = trainer_of(target=TARGETS[-1], label_smoothing=0.1)
    trainer.fit(X, SOFT, 2, (X, SOFT), restarts=2)
    grid = {"label_smoothing": [0.0, 0.3]}
    rows = sweep(trainer_of(), X, LABELS, 1, grid=grid)
    assert rows[0].training_loss != rows[1].training_loss
    quantiles = sweep(
        trainer_of(ONE, loss="mse"), X, REAL, 1, grid={"loss": [Quantile(0.1), Quantile(0.9)]}
    )
    assert quantiles[0].training_loss != quantiles[1].training_loss


def test_the_network_of_a_loss_is_shown():
    assert "loss=Quantile(q=0.9)" in repr(Trainer(Network(3, ONE), loss=Quantile(0.9)))


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_a_huber_loss_that_is_0_for_every_error_is_not_trained_with(target):
    trainer = Trainer(Network(2, [Dense(1)]), Huber(0), target=target)
    with pytest.raises(InvalidInput, match=r"Huber\(delta=0.0\) is 0 whatever the error is"):
        trainer.fit(np.eye(2), [1.0, 2.0])
    assert trainer.evaluate(np.eye(2), [1.0, 2.0])["loss"] == 0
