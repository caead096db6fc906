"""Finite rows whose outputs overflow: no label, probability or number is made of these."""

import warnings

import numpy as np
import pytest
from scipy import sparse

import fastnn
from fastnn import (
    SGD,
    BatchNorm,
    Dense,
    Ensemble,
    InvalidInput,
    LayerNorm,
    Network,
    Periodic,
    Snapshot,
    Trainer,
)
from fastnn.rules.table import ACTIVATIONS
from fastnn.training.reach import largest, reach_of
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


def given(loss, last, target="numpy", hidden=(), inputs=2, dtype="float32"):
    """Return a trainer of which the last layer has these weights, and zeros as biases."""
    last = np.array(last)
    network = Network(inputs, [*hidden, Dense(last.shape[1])])
    trainer = Trainer(network, loss, SGD(0.01), target=target, dtype=dtype)
    several = [list(each) for each in trainer.parameters]
    several[-1] = [last, np.zeros(last.shape[1])]
    trainer.set_parameters(several)
    return trainer


def wide(rows=9):
    X = np.array(RANDOM.normal(size=(rows, 2)), np.float32)
    X[4] = [1e30, 0]
    return X


# Weights of the last layer: of 1e30 they make an output that overflows, and finite ones of others.
LINKS = {
    "+ binary": ("binary_cross_entropy", [[1e10], [1]]),
    "- binary": ("binary_cross_entropy", [[-1e10], [1]]),
    "labels": ("binary_cross_entropy", [[0, -1e10, 1e10], [1, 1, 1]]),
    "- classes": ("softmax_cross_entropy", [[0, -1e10, 0], [1, 2, 3]]),
    "+ classes": ("softmax_cross_entropy", [[0, 1e10], [1, 2]]),
    "- counts": ("poisson", [[-1e10], [0]]),
    "counts": ("poisson", [[-1e10, 0], [0, 1]]),
}


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("case", LINKS)
def test_an_ensemble_refuses_what_any_member_refuses(case, target, tmp_path):
    loss, last = LINKS[case]
    scale = 1e-12 if "counts" in case else 1
    usual = given(loss, np.sign(last) * 1e-32, target)
    infinite = given(loss, np.array(last), target)
    X, good = wide(), np.abs(wide()[:4]) * scale
    if "counts" in case:  # of other rows no rate is to overflow
        X = np.abs(X)
    np.save(tmp_path / "rows.npy", X)
    many = np.concatenate([X, np.repeat(X[:1], 9000, axis=0)])
    message = r"output \d for row 4 of X is -?(inf|nan): no float32 holds it, .*; scale X"
    for members, weights in (([infinite] * 2, None), ([usual, infinite], [0.9, 0.1])):
        ensemble = Ensemble(members, weights)
        calls = [ensemble.predict, infinite.predict]
        if "counts" not in case:
            calls += [ensemble.predict_proba, infinite.predict_proba]
        for call in calls:
            for rows in (X, X.tolist(), np.asfortranarray(X), tmp_path / "rows.npy", many):
                with pytest.raises(InvalidInput, match=message):
                    call(rows)
            assert len(call(good)) == 4
        ensemble.forward(X)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_a_member_that_reads_columns_or_sparse_rows_is_looked_at(target):
    one = given("binary_cross_entropy", [[1.0]], target, inputs=1)
    other = given("binary_cross_entropy", [[1e10]], target, inputs=1)
    with pytest.raises(InvalidInput, match="output 0 for row 4 of X is inf"):
        Ensemble([one, other], views=[[1], [0]]).predict_proba(wide())
    Ensemble([one, other], views=[[0], [1]]).predict_proba(wide())
    trainer = given("binary_cross_entropy", [[1e10], [1]], target)
    with pytest.raises(InvalidInput, match="output 0 for row 4 of X is inf"):
        Ensemble([trainer]).predict(sparse.csr_array(wide()))


HIDDEN = {
    "all": [[Dense(7, name)] for name in ACTIVATIONS],
    "norms": [
        [Dense(4, "gelu"), BatchNorm(activation="relu")],
        [LayerNorm(), Dense(5, "tanh"), LayerNorm()],
    ],
    "periodic": [[Periodic(3), Dense(4, "prelu")]],
    "own": [[Dense(5, lambda z: z * 3)]],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", sum(HIDDEN.values(), []), ids=lambda each: each[0].kind)
def test_features_within_reach_never_overflow(layers, dtype):
    network = Network(2, [*layers, Dense(3)])
    trainer = Trainer(network, "softmax_cross_entropy", SGD(0.01), target="numpy", dtype=dtype)
    parameters = [
        [np.abs(RANDOM.normal(0, 50, array.shape)) + 0.1 for array in own]
        for own in trainer.parameters
    ]
    trainer.set_parameters(parameters)
    reach = reach_of(trainer.problem, trainer.parameters)
    if callable(layers[0].activation) or not isinstance(layers[0].activation, str):
        assert reach == 0
        return
    assert 1e8 < reach < np.inf
    for size in (1.0, reach / 1e5, reach * 0.999):
        X = np.array(RANDOM.choice([-size, 0, size], (50, 2)), dtype)
        assert largest(X) >= np.abs(X).max() and is_finite(trainer.forward(X))
    member = Snapshot.of(trainer)
    looked = []
    member._outputs = lambda: looked.append  # what looks at outputs once more
    ensemble = Ensemble([trainer])
    assert ensemble._open().reaches[0][0] == reach
    ensemble._open().reaches[0] = reach, [member]
    ensemble.predict(RANDOM.normal(size=(100, 2)))  # usual features take no second look
    assert not looked


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int32"])
def test_no_feature_is_above_the_largest(dtype):
    for shape in ((1, 1), (3, 5), (400, 7)):
        X = (RANDOM.normal(size=shape) * 50).astype(np.int8).astype(dtype)
        X[-1, -1] = np.iinfo(dtype).min if np.dtype(dtype).kind in "iu" else -np.finfo(dtype).max
        for each in (X, X[::-1], X.T, X[:, ::2], X[::2]):
            assert largest(each) >= np.abs(each.astype(float)).max()
    assert largest(np.full((9, 2), 1e-30, np.float32)) >= 1e-30


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rate_that_overflows_is_refused_by_the_row(dtype, target, tmp_path):
    edge = {"float32": 89.0, "float64": 710.0}[dtype]
    trainer = given("poisson", [[1, 0.5], [0, 0.3]], target, dtype=dtype)
    one = given("poisson", [[1], [0]], target, dtype=dtype)
    X = np.zeros((9, 2), dtype)
    X[6] = edge
    np.save(tmp_path / "rows.npy", X)
    message = f"output 0 for row 6 of X is inf: no {dtype} holds it, .*; scale X"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in (trainer, one):
            for predictor in (each, Snapshot.of(each), Ensemble([each])):
                for rows in (X, X.tolist(), np.tile(X, (2000, 1))):
                    with pytest.raises(InvalidInput, match=message):
                        predictor.predict(rows)
                assert np.isfinite(predictor.predict(X * 0.98)).all()
            with pytest.raises(InvalidInput, match=message):
                each.predict(tmp_path / "rows.npy")
            assert is_finite(each.forward(X))


@pytest.mark.parametrize("target", ["numpy", "cpu"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_estimators_refuse_rates_that_overflow(outputs, target):
    pytest.importorskip("sklearn", "1.6")
    X = np.abs(RANDOM.normal(size=(40, 1)))
    y = np.tile(np.exp(X), (1, outputs))
    mlp = fastnn.MLPRegressor("poisson", (), max_iter=2, random_state=0, target=target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [(mlp.fit(X, y if outputs > 1 else y[:, 0]), r"output \d")]
        if outputs == 1:
            linear = fastnn.SGDRegressor(loss="poisson", max_iter=2, target=target)
            models.append((linear.fit(X, y[:, 0]), r"exp\(x . coef_ \+ intercept_\)"))
    large = X[:9].copy()
    large[5] = 5000
    models[0][0].coefs_[0][:] = 1
    models[-1][0].coef_ = np.array([1.0])
    for model, what in models:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            message = f"^{what} for row 5 of X is inf: no float64 holds it.*StandardScaler"
            for call in (model.predict, lambda X, model=model: model.score(X, y[:9])):
                with pytest.raises(InvalidInput, match=message):
                    call(large)
            assert np.isfinite(model.predict(X)).all()


def test_a_difference_of_outputs_that_overflows_is_a_probability_of_0():
    pytest.importorskip("sklearn", "1.6")
    trainer = given("softmax_cross_entropy", [[1e8, -1e8], [0, 0]])
    X, y = RANDOM.normal(size=(30, 2)), np.arange(30) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp = fastnn.MLPClassifier(
            (), loss="softmax_cross_entropy", max_iter=2, target="numpy"
        ).fit(X, y)
        sgd = fastnn.SGDClassifier("softmax_cross_entropy", max_iter=2, target="numpy").fit(X, y)
    mlp.coefs_[0][:] = np.array([[1, -1, 0], [0, 0, 0]])
    sgd.coef_ = np.array([[1.0, 0], [-1, 0], [0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trainer.predict_proba(np.array([[3e30, 0]], np.float32)).tolist() == [[1, 0]]
        for each in (mlp, sgd):
            assert each.predict_proba([[1.2e308, 0]]).tolist() == [[1, 0, 0]]


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
