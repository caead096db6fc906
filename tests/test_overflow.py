"""Finite rows whose outputs overflow: no label, probability or number is made of these."""

import warnings

import numpy as np
import pytest

import fastnn
from fastnn import SGD, Dense, Ensemble, InvalidInput, Network, Snapshot, Trainer
from fastnn.training.scores import is_finite

LOSSES = {"softmax_cross_entropy": 3, "binary_cross_entropy": 1, "hinge": 2, "mse": 1, "poisson": 2}
MESSAGE = r"output \d for row 5 of X is -?(inf|nan): no float32 holds it, .*; scale X"
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(9, 3)).astype(np.float32)
HUGE = ROWS.copy()
HUGE[5:7] = [3e38, -3e38, 3e38]


def trained(loss, target="numpy"):
    outputs = LOSSES[loss]
    y = RANDOM.integers(0, 2, (9, outputs)) if outputs < 3 else np.arange(9) % 3
    trainer = Trainer(
        Network(3, [Dense(8, "relu"), Dense(outputs)]), loss, SGD(0.01), target=target
    )
    trainer.fit(ROWS, y, epochs=2)
    return trainer, y


def predictors(loss, target):
    trainer, y = trained(loss, target)
    return [trainer, Snapshot.of(trainer)], y


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_whose_outputs_overflow_is_refused_and_forward_has_them(loss, target, tmp_path):
    np.save(tmp_path / "rows.npy", HUGE)
    many = np.tile(HUGE, (1000, 1))  # which the engine looks through itself
    several, y = predictors(loss, target)
    for each in several:
        raw = each.forward(HUGE)
        assert np.isfinite(raw[:5]).all() and not np.isfinite(raw[5]).all()
        calls = [each.predict]
        if "entropy" in loss:
            calls.append(each.predict_proba)
        for call in calls:
            for X in (HUGE, HUGE.astype(float), HUGE.tolist(), tmp_path / "rows.npy", many):
                with pytest.raises(InvalidInput, match=MESSAGE):
                    call(X)
            assert len(call(ROWS)) == 9


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "hinge"])
def test_no_label_of_such_a_row_is_right(loss):
    trainer, y = trained(loss)
    X = np.repeat(HUGE[5:6], 9, axis=0)
    with np.errstate(all="ignore"):
        found = trainer.evaluate(X, y)
    assert found["accuracy"] == 0 and not np.isfinite(found["loss"])
    labels = trainer.predict(ROWS).reshape(y.shape)
    found = trainer.evaluate(HUGE, labels)
    assert found["accuracy"] == pytest.approx(7 / 9)


def test_a_piece_of_a_file_counts_rows_of_all_of_it(monkeypatch, tmp_path):
    np.save(tmp_path / "rows.npy", np.concatenate([ROWS, HUGE]))
    from fastnn.training import predictor

    def in_threes(function, array):
        return np.concatenate([function(array[at : at + 3]) for at in range(0, len(array), 3)])

    monkeypatch.setattr(predictor, "by_pieces", in_threes)
    with pytest.raises(InvalidInput, match="for row 14 of X is"):
        trained("hinge")[0].predict(tmp_path / "rows.npy")


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_an_ensemble_refuses_a_mean_that_is_none(target):
    trainer, _ = trained("softmax_cross_entropy", target)
    ensemble = Ensemble([trainer, trainer])
    for call in (ensemble.predict, ensemble.predict_proba):
        with pytest.raises(InvalidInput, match="output 0 for row 5 of X is nan"):
            call(HUGE)
    assert np.isnan(ensemble.forward(HUGE)[5]).all()
    trainer, _ = trained("mse", target)
    with pytest.raises(InvalidInput, match="output 0 for row 5 of X is"):
        Ensemble([trainer]).predict(HUGE)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_estimators_refuse_by_the_row_and_without_a_warning(kind, standardize, target):
    pytest.importorskip("sklearn", "1.6")
    y = np.arange(60) % 3
    X = RANDOM.normal(size=(60, 3))
    model = getattr(fastnn, kind)(
        hidden_layer_sizes=8, max_iter=2, random_state=0, target=target, standardize=standardize
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    large = np.tile(X[:9], (1, 1))
    large[5] = [1.7e308, -1.7e308, 1.7e308]
    calls = [model.predict, lambda X: model.score(X, y[:9])]
    if kind == "MLPClassifier":
        calls += [model.predict_proba, model.predict_log_proba]
    for call in calls:
        if standardize:  # the network's inputs are checked
            with pytest.raises(InvalidInput, match="row 5"):
                call(large)
            continue
        with pytest.raises(
            InvalidInput, match=r"output \d for row 5 of X is .*no float64.*Standard"
        ):
            call(large)


def test_models_of_tables_answer_any_finite_row():
    pytest.importorskip("sklearn", "1.6")
    y = np.arange(60) % 3
    X = RANDOM.normal(size=(60, 3))
    for kind in ("TabularClassifier", "TabularRegressor"):
        model = getattr(fastnn, kind)(2, max_iter=2, random_state=0).fit(X, y)
        for size in (3e38, 1e300):
            mean = model.forward(np.full((2, 3), size))
            assert np.isfinite(mean).all() and len(model.predict(np.full((2, 3), size))) == 2


def test_a_few_numbers_are_looked_at_as_many_are():
    for size in (1, 10, 1024, 1025, 5000):
        for wrong in (np.nan, np.inf, -np.inf):
            numbers = np.zeros(size, np.float32)
            assert is_finite(numbers) and is_finite(numbers[::-1])
            numbers[-1] = wrong
            assert not is_finite(numbers)
