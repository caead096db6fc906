"""What a training says of data that are not scaled: when it diverges, when it learns nothing."""

import copy
import pickle
import re
import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse
from trainer_cases import TARGETS

from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Dense,
    Diverged,
    EpsilonInsensitive,
    Huber,
    Margin,
    Network,
    Quantile,
    Scaling,
    SquaredEpsilonInsensitive,
    Trainer,
    TrainingWarning,
)
from fastnn.inputs.data import Data, check_data
from fastnn.inputs.magnitudes import large_numbers, magnitudes_of, out_of_scale
from fastnn.inputs.sparse_rows import SparseRows
from fastnn.training import learning_check
from fastnn.training.history import History

RANDOM = np.random.default_rng(0)
ROWS = 200
X = RANDOM.normal(size=(ROWS, 3))
Y = X @ [1.0, 2.0, -1.0] + 0.1 * RANDOM.normal(size=ROWS)
LABELS = (Y > 0).astype(int)
HIDDEN = (Dense(16, "relu"), Dense(1))
RATE = SGD(0.1)
CLASSES = (Dense(16, "relu"), Dense(2))


def trainer_of(loss="mse", layers=HIDDEN, optimizer=RATE, inputs=3, **settings):
    settings = {"target": "numpy", "batch_size": 32} | settings
    return Trainer(Network(inputs, layers), loss, optimizer, **settings)


def message_of(X, y, *arguments, epochs=20, restarts=1, **settings):
    trainer = trainer_of(*arguments, inputs=X.shape[1], **settings)
    with pytest.raises(Diverged) as caught:
        trainer.fit(X, y, epochs, restarts=restarts)
    assert caught.value.cause in str(caught.value)
    return str(caught.value)


def warnings_of(X, y, *arguments, epochs=20, fit=None, **settings):
    trainer = trainer_of(*arguments, inputs=X.shape[1], **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(X, y, epochs, **(fit or {}))
    assert all(each.category is TrainingWarning for each in caught)
    assert all(each.filename == __file__ for each in caught)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_column_of_x_is_named_with_its_row(target, dtype):
    wide = X * [1.0, 1e5, 1.0]
    row = int(np.abs(wide[:, 1]).argmax())
    text = message_of(wide, Y, target=target, dtype=dtype, epochs=60, layers=[Dense(1)])
    assert f"X is large: column 1 has mean {wide[:, 1].mean():.3g}, standard deviation" in text
    assert f"{wide[:, 1].std():.3g} and the value {np.float64(wide[row, 1]):g} in row {row}" in text
    assert f"the other 2 columns are within {np.abs(wide[:, ::2]).max():.3g}" in text
    assert "fastnn.Scaling.fit(X)" in text and "y is" not in text
    assert "or lower the learning rate, which was 0.1" in text


@pytest.mark.parametrize("target", TARGETS)
def test_prices_as_targets_are_told_of_y_and_not_of_x(target):
    prices = 3e5 + 1e5 * Y
    text = message_of(X, prices, target=target)
    assert f"y is large, with mean {prices.mean():.3g}, standard deviation" in text
    assert f"in row {np.abs(prices).argmax()}" in text
    assert "divide y by 1e+06" in text and "Scaling.fit(y)" in text
    assert "X" not in text


def test_counts_are_divided_and_not_standardized():
    text = message_of(X, np.abs(1e3 * Y).round(), "poisson")
    assert "y is large" in text and "divide y by 1000, and multiply" in text
    assert "standardize" not in text


def test_both_are_told_where_both_are_large():
    text = message_of(1e5 * X, 1e6 * Y)
    assert text.index("X is large") < text.index("y is large") < text.index("learning rate")


@pytest.mark.parametrize("value", [1e25, -1e25, -1e12])
def test_one_huge_row_is_an_outlier(value):
    wild = X.copy()
    wild[17] = [0.5, 0.5, value]
    rest = np.sqrt(np.mean(np.delete(wild[:, 2], 17) ** 2))
    text = message_of(wild, Y, layers=[Dense(1)], epochs=100)
    assert f"X has an outlier: column 2 has the value {value:g} in row 17, while the root" in text
    assert f"other rows is {rest:.3g}" in text and "leave it out or clip it" in text


def test_where_neither_is_large_it_is_the_rate():
    text = message_of(X, Y, optimizer=SGD(1e3))
    assert "lower the learning rate, which was 1000" in text
    assert not any(word in text for word in ("large:", "outlier", "Scaling", "y is"))


def test_labels_are_never_large():
    many = RANDOM.integers(0, 500, ROWS)
    text = message_of(1e5 * X, many, "softmax_cross_entropy", [Dense(16, "relu"), Dense(500)])
    assert "X is large" in text and "y" not in text.split("; ")[2].split()


def test_rare_soft_labels_are_not_small():
    rare = RANDOM.random(ROWS) / 200
    data = Data(X, np.column_stack([rare, 1 - rare]))
    assert out_of_scale(trainer_of("softmax_cross_entropy", CLASSES).problem, data) == ""
    assert "y is small" in out_of_scale(trainer_of(layers=[Dense(2)]).problem, data)


def test_epochs_later_and_in_a_call_of_many_the_same_is_told():
    trainer = trainer_of(layers=[Dense(1)], optimizer=SGD(0.03))
    trainer.fit(X, Y, 5)
    with pytest.raises(Diverged, match="X is large: column 0") as caught:
        trainer.fit(X * [12.0, 1.0, 1.0], Y, 400)
    assert caught.value.epoch > 5 and trainer.epoch == caught.value.epoch


def test_all_restarts_tell_the_cause():
    text = message_of(X, 3e5 + 1e5 * Y, restarts=2)
    assert text.startswith("all 2 restarts diverged") and "y is large" in text


def test_a_restore_records_the_cause():
    trainer = trainer_of(on_divergence="restore", max_restores=2)
    with pytest.raises(Diverged, match="y is large.*after 2 restores"):
        trainer.fit(X, 3e5 + 1e5 * Y, 20)
    history = trainer.history
    assert all(each.cause.startswith("y is large") for each in history.restores)
    assert "(y is large, with" in repr(history)
    values = history.to_dict()
    assert History.from_dict(values) == history
    for each in values["restores"]:
        del each["cause"]  # as files of earlier versions have them
    assert [each.cause for each in History.from_dict(values).restores] == ["", ""]
    values["restores"][0]["cause"] = 3
    with pytest.raises(ValueError, match="damaged"):
        History.from_dict(values)


def test_the_cause_travels_with_the_error():
    error = Diverged("no", 1, 2, "X is large")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert again.cause == "X is large"


def test_names_of_columns_are_told_where_the_data_have_them():
    data = Data(1e5 * X, Y.reshape(-1, 1))
    object.__setattr__(data, "names", ("age", "income", "rooms"))
    column = int(np.abs(X).max(axis=0).argmax())
    name = ("age", "income", "rooms")[column]
    assert f"column {column} ({name!r}) has mean" in large_numbers(trainer_of().problem, data)


@pytest.mark.parametrize("form", ["C", "F", "int8", "csr", "csc", "rows"])
@pytest.mark.parametrize("weighted", [False, True])
def test_magnitudes_are_those_of_the_rows_that_count(form, weighted):
    dense = RANDOM.integers(-128, 128, (90, 5)) * (RANDOM.random((90, 5)) < 0.5)
    weights = np.where(RANDOM.random(90) < 0.4, 0.0, 1.0) if weighted else None
    if form == "int8":
        array = dense.astype(np.int8)
    elif form == "rows":
        matrix = scipy.sparse.csr_array(np.vstack([np.ones((3, 5)), dense]))  # but for the first 3
        array = SparseRows(matrix.data, matrix.indices, matrix.indptr[3:], 5)
    elif form in ("csr", "csc"):
        array = scipy.sparse.csr_array(dense.astype(float)).asformat(form)
    else:
        array = np.asarray(dense, float, order=form)
    found = magnitudes_of(array, weights)
    rows = np.arange(90) if weights is None else weights.nonzero()[0]
    some = dense[rows].astype(float)
    at = np.abs(some).argmax(axis=0)
    np.testing.assert_allclose(found.mean, some.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.deviation, some.std(axis=0))
    assert (found.largest == some[at, np.arange(5)]).all() and (found.row == rows[at]).all()
    far = int(np.abs(found.largest).argmax())
    others = np.delete(some[:, far], at[far])
    np.testing.assert_allclose(found.rest, np.sqrt(np.mean(others**2)))


def test_missing_targets_and_weights_of_0_are_not_large():
    y = np.column_stack([Y, Y])
    weights = np.where(np.arange(ROWS)[:, None] == [3, 5], 0.0, 1.0)
    y[3, 0] = y[5, 1] = 1e9
    assert large_numbers(trainer_of().problem, Data(X, y, weights)) == ""
    y[5, 0] = 1e9
    text = large_numbers(trainer_of().problem, Data(X, y, weights))
    assert "column 0 has the value 1e+09 in row 5" in text


UNSCALED = {
    "a column of 1e5": (X * [1e5, 1, 1], Y, {"clip_norm": 1.0}, "X is large: column 0"),
    "pixels": (
        255 * RANDOM.random((ROWS, 50)), LABELS,
        {"loss": "softmax_cross_entropy", "layers": CLASSES},
        "all 16 units of Dense layer 0 .'relu'. give 0 for all 200 rows.*X is large",
    ),
    "prices": (X, 3e5 + 1e5 * Y, {"optimizer": Adam(0.001)}, "y is large, with mean"),
    "prices, huber": (X, 3e5 + 1e5 * Y, {"loss": "huber", "optimizer": SGD(1e-3)}, "y is large"),
    "counts": (
        X, np.abs(1e3 * Y).round(), {"loss": "poisson", "optimizer": Adam(1e-4)},
        "y is large.*divide y",
    ),
    "tiny columns": (1e-8 * X, Y, {}, "X is small: column .* no value beyond .*e-08"),
    "tiny columns, linear": (1e-8 * X, Y, {"layers": [Dense(1)]}, "X is small"),
    "tiny columns, classes": (
        1e-8 * X, LABELS, {"loss": "softmax_cross_entropy", "layers": CLASSES}, "X is small",
    ),
    "tiny targets": (X, 1e-8 * Y, {"optimizer": SGD(1e-4)}, "y is small"),
    "an outlier": (
        np.where(np.arange(ROWS)[:, None] == 17, [-1e6, 0.0, 0.0], X), Y,
        {"optimizer": SGD(1e-12)}, "X has an outlier: column 0 has the value -1e.06 in row 17",
    ),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("X", "y", "settings", "text"), UNSCALED.values(), ids=UNSCALED)
def test_a_fit_that_learns_nothing_of_unscaled_data_warns_once(X, y, settings, text, target):
    (found,) = warnings_of(X, y, target=target, **settings)
    assert found.startswith("the network does no better than a constant")
    assert re.search(text, found), found


def test_restarts_warn_once_of_the_best():
    (found,) = warnings_of(1e-8 * X, Y, fit={"restarts": 2})
    assert "X is small" in found


@pytest.mark.parametrize("fit", [{}, {"callbacks": [lambda *_: None]}])
def test_units_that_died_are_told_though_all_is_scaled(fit):
    trainer = trainer_of(layers=[Dense(4, "relu", init="zeros"), Dense(1)])
    (W, b), last = trainer.parameters
    trainer.set_parameters([(W, b - 1), last])
    text = "all 4 units of Dense layer 0.*lower the learning"
    with pytest.warns(TrainingWarning, match=text) as caught:
        trainer.fit(X, Y, 3, **fit)
    assert len(caught) == 1


def test_saturated_units_let_no_gradient_pass_either():
    trainer = trainer_of(layers=[Dense(4, "sigmoid"), Dense(1)], optimizer=SGD(1e-6))
    (W, b), last = trainer.parameters
    trainer.set_parameters([(W, b + 1e3), last])
    with pytest.warns(TrainingWarning, match="all 4 units of Dense layer 0 .'sigmoid'. give 1"):
        trainer.fit(X, Y, 2)


ONE_HOT = np.eye(12)[RANDOM.integers(0, 12, ROWS)]
AGE = RANDOM.integers(18, 90, ROWS).astype(float)
INCOME = np.exp(10 + RANDOM.normal(size=ROWS))
TABLE = np.column_stack([ONE_HOT, Scaling.fit(AGE).apply(AGE), Scaling.fit(INCOME).apply(INCOME)])
NOISE, PRICES = RANDOM.normal(size=ROWS), 3e5 + 1e5 * Y
USUAL = {
    "learnt": (X, Y, {}),
    "one short epoch": (X, Y, {"optimizer": SGD(1e-6)}),
    "noise": (X, NOISE, {}),
    "noise of labels": (X, (NOISE > 1).astype(int), {"loss": "perceptron", "layers": [Dense(1)]}),
    "one class": (
        1e3 * X, np.zeros(ROWS, int),
        {"loss": "softmax_cross_entropy", "layers": CLASSES, "optimizer": SGD(1e-9)},
    ),
    "a constant target": (1e3 * X, np.ones(ROWS), {"optimizer": SGD(1e-9)}),
    "a constant column": (np.column_stack([X, np.ones(ROWS), np.zeros(ROWS)]), NOISE, {}),
    "a table": (TABLE, LABELS, {"loss": "softmax_cross_entropy", "layers": CLASSES}),
    "a table, noise": (TABLE, NOISE, {"optimizer": SGD(1e-4)}),
    "an age": (np.column_stack([X, AGE / 10]), NOISE, {"optimizer": SGD(1e-4)}),
    "many labels": (
        X, RANDOM.integers(0, 500, ROWS),
        {"loss": "softmax_cross_entropy", "layers": [Dense(500)], "optimizer": SGD(1e-3)},
    ),
    "rare labels": (
        X, (np.arange(ROWS) == 7).astype(int), {"loss": "binary_cross_entropy"},
    ),
    "normalized": (X * [1e5, 1, 1], Y, {"layers": [BatchNorm(), *HIDDEN]}),
    "scaled": (Scaling.fit(X * 1e9).apply(X * 1e9), Scaling.fit(PRICES).apply(PRICES), {}),
    "missing": (X, np.where(RANDOM.random(ROWS) < 0.3, np.nan, Y), {"ignore_nan": True}),
}  # fmt: skip


@pytest.mark.parametrize("epochs", [1, 20])
@pytest.mark.parametrize(("X", "y", "settings"), USUAL.values(), ids=USUAL)
def test_usual_data_give_no_warning(X, y, settings, epochs):
    assert warnings_of(X, y, epochs=epochs, **settings) == []


@pytest.mark.parametrize("epochs", [1, 3])
def test_unscaled_columns_that_do_no_harm_give_no_warning(epochs):
    assert warnings_of(X * [1.0, 1.0, 1e-8], X @ [1.0, 1.0, 0.0], epochs=epochs) == []


def test_a_few_updates_are_too_few_to_blame_the_scale():
    assert warnings_of(1e-8 * X, Y, epochs=9, batch_size=ROWS, layers=[Dense(1)]) == []
    assert len(warnings_of(1e-8 * X, Y, epochs=10, batch_size=ROWS, layers=[Dense(1)])) == 1


@pytest.mark.parametrize("parts", [False, True])
def test_a_loop_that_goes_on_is_warned_once(parts):
    """Of the same data, and of parts of them, whose numbers differ."""
    trainer = trainer_of(layers=[Dense(1)])
    with pytest.warns(TrainingWarning) as caught:
        for number in range(12):
            some = slice(number, ROWS - number) if parts else slice(None)
            trainer.fit(1e-8 * X[some] * (1 + number * parts), Y[some], 1)
    assert len(caught) == 1


def test_a_network_with_other_parameters_is_warned_again():
    trainer = trainer_of(layers=[Dense(1)])
    first = trainer.parameters
    with pytest.warns(TrainingWarning) as caught:
        for number in range(6):
            if number % 2 == 0:
                trainer.set_parameters(first)
            trainer.fit(1e-8 * X, Y, 20)
    assert len(caught) == 3


def test_another_call_and_another_trainer_are_warned_again():
    trainer = trainer_of(layers=[Dense(1)])

    def go_on(which):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            which.fit(1e-8 * X, Y, 20)
        return len(caught)

    assert [go_on(trainer), go_on(trainer), go_on(copy.copy(trainer))] == [1, 0, 1]
    with pytest.warns(TrainingWarning):
        trainer.fit(1e-8 * X, Y, 1)
    # What was an error has not been told.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = trainer_of(layers=[Dense(1)])
        for _ in range(2):
            with pytest.raises(TrainingWarning):
                other.fit(1e-8 * X, Y, 20)


@pytest.mark.parametrize("classes", [False, True])
def test_rows_of_weight_0_say_nothing(classes):
    """Where the one row that counts is not among those that are looked at."""
    rows, weights = np.repeat(X, 15, axis=0), np.zeros(15 * ROWS)
    weights[1] = 1.0
    y = np.repeat(LABELS if classes else Y, 15)
    settings = {"loss": "softmax_cross_entropy", "layers": CLASSES} if classes else {}
    assert warnings_of(rows, y, epochs=1, fit={"sample_weight": weights}, **settings) == []


def test_targets_whose_squares_overflow_are_looked_at():
    (found,) = warnings_of(X, 1e300 * Y, "mae", dtype="float64", optimizer=SGD(1e-3))
    assert "y is large" in found


def test_no_epochs_give_no_warning():
    assert warnings_of(1e-8 * X, Y, epochs=0) == []


def test_a_user_defined_loss_is_looked_at_too():
    def loss(z, y):
        return (z - y) ** 4

    assert warnings_of(X, Y, loss, optimizer=SGD(1e-3)) == []
    (found,) = warnings_of(1e-8 * X, Y, loss, optimizer=SGD(1e-3))
    assert "X is small" in found


def test_the_warning_leaves_the_trainer_as_trained():
    with_error, quiet = trainer_of(), trainer_of()
    with pytest.raises(TrainingWarning):  # as all warnings are errors in tests
        with_error.fit(1e-8 * X, Y, 3)
    with pytest.warns(TrainingWarning):
        quiet.fit(1e-8 * X, Y, 3)
    assert with_error.epoch == 3 and with_error.remaining == 0
    assert all((a == b).all() for a, b in zip(*(
        [array for layer in each.parameters for array in layer] for each in (with_error, quiet)
    ), strict=True))  # fmt: skip


LOSSES = {
    "mse": Y, "mae": Y, "huber": 3 * Y, "quantile": Y, "poisson": np.abs(Y).round(),
    "binary_cross_entropy": LABELS, "hinge": LABELS, "squared_hinge": LABELS,
    "perceptron": LABELS, "softmax_cross_entropy": LABELS,
}  # fmt: skip


WITH_A_NUMBER = [
    (Huber(0.1), Y), (Huber(0.5), Y), (Huber(3), 2 * Y), (Huber(1e12), Y), (Quantile(0.8), Y),
    (EpsilonInsensitive(0.3), Y), (SquaredEpsilonInsensitive(0.3), Y), (Margin(0.5), LABELS),
]  # fmt: skip


@pytest.mark.parametrize("delta", [0.01, 0.3, 20.0])
def test_units_that_died_are_told_whatever_the_delta_of_huber(delta):
    trainer = trainer_of(Huber(delta), [Dense(4, "relu"), Dense(1)], SGD(0.01))
    (W, b), last = trainer.parameters
    trainer.set_parameters([(W, b - 100), last])
    with pytest.warns(TrainingWarning, match="all 4 units of Dense layer 0"):
        trainer.fit(X, Y, 20)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "y"), [*LOSSES.items(), *WITH_A_NUMBER])
def test_the_loss_of_the_best_constant_is_found(loss, y, weighted):
    """Of all constants tried, none is better by more than a grid and half-way medians leave."""
    from fastnn.inputs.data import check_data
    from fastnn.targets.numpy.losses import loss_of
    from fastnn.training.learning_check import _loss_of_constant

    outputs = 2 if loss == "softmax_cross_entropy" else 1
    problem = trainer_of(loss, [Dense(outputs)]).problem
    data = check_data(problem, X, y, RANDOM.random(ROWS) if weighted else None)
    tried = []
    for constant in np.linspace(-4, 4, 801):
        row = np.array([constant, 0.0])[:outputs]
        tried.append(loss_of(problem, np.tile(row, (ROWS, 1)), data.targets, data.weights))
    found = _loss_of_constant(problem, data.targets, data.weights)
    assert found == pytest.approx(min(tried), rel=0.02, abs=1e-9)


def test_out_of_scale_says_nothing_of_columns_without_numbers():
    data = Data(np.zeros((4, 2)), np.zeros((4, 1)))
    assert out_of_scale(trainer_of(inputs=2).problem, data) == ""


def test_wide_sparse_rows_take_little_memory_to_look_at():
    rows = scipy.sparse.random(2000, 20_000, density=0.003, format="csr", random_state=0)
    trainer = Trainer(
        Network(20_000, [Dense(4, "relu"), Dense(2)]), "softmax_cross_entropy", SGD(0.0),
        threads=1,
    )  # fmt: skip
    data = check_data(trainer.problem, rows, np.arange(2000) % 2)
    trainer.fit(rows, np.arange(2000) % 2, epochs=1)
    tracemalloc.start()
    assert learning_check.reason_against(trainer, data) == ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # the 1,024 rows alone would be 82 MB
    taken = data.X.taken(np.array([7, 3, 7]))
    assert np.array_equal(taken.dense(slice(None), np.dtype(float)), rows[[7, 3, 7]].toarray())


def test_sparse_rows_with_many_numbers_are_looked_at_few_at_a_time():
    rows = scipy.sparse.random(2000, 4000, density=0.1, format="csr", random_state=0)
    labels = np.arange(2000) % 2
    trainer = Trainer(Network(4000, [Dense(2)]), optimizer=SGD(0.0), threads=1)
    data = check_data(trainer.problem, rows, labels)
    trainer.fit(rows, labels, epochs=1)
    tracemalloc.start()
    assert learning_check.reason_against(trainer, data) == ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6  # a copy of the 1,000 rows alone would be 4.8 MB


def test_a_batch_norm_whose_variance_overflows_names_the_column():
    X = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 1e20, 1.0]
    trainer = Trainer(Network(3, [BatchNorm(), Dense(1)]), "mse", SGD(0.1), target="numpy")
    with pytest.raises(Diverged, match="X is large: column 1 has"):
        trainer.fit(X, np.arange(40.0) / 40, epochs=1)


@pytest.mark.parametrize(("dtype", "mean"), [("float32", 0), ("float64", 0), ("float64", 5)])
def test_deviations_that_are_nothing_beside_the_epsilon_of_a_batch_norm_are_told(dtype, mean):
    layers, size = [BatchNorm(), Dense(16, "tanh"), Dense(1)], 1e-7
    settings = {"layers": layers, "optimizer": Adam(0.01), "dtype": dtype}
    (text,) = warnings_of(mean + size * X, Y, **settings)
    assert "X varies little: column 2 has mean" in text and "deviation 9.75e-08 (3" in text
    assert "(3 of 3 columns are like that), which BatchNorm(epsilon=1e-05) divides by" in text
    assert "scaling.apply(X)" in text
    (text,) = warnings_of(X * [size, 1e3, 1e-5], 1e3 * X[:, 0], **settings)
    assert "X varies little: column 0 has" in text and "y is large" in text and "2 of 3" in text
    for epsilon in (1e-5, 1e-12):  # what it is for; and an epsilon that suits the numbers
        settings["layers"] = [BatchNorm(epsilon=epsilon), *layers[1:]]
        rows = X * [1.0, 1e-3, 1e5] if epsilon == 1e-5 else 1e-5 * X
        assert warnings_of(rows, Y, **settings) == []


def test_sparse_columns_of_usual_spans_are_looked_at_no_further(monkeypatch):
    own = np.random.default_rng(1)  # whatever tests before this one have drawn
    dense = np.where(own.random((300, 40)) < 0.1, own.uniform(0.5, 2.0, (300, 40)), 0.0)
    dense[:, 7], dense[150, 7] = 0.0, 1.0
    labels = own.permutation(300) % 2  # of which nothing can be learnt
    settings = dict(optimizer=SGD(1e-3), loss="binary_cross_entropy", seed=0, target="numpy")

    def said(rows):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Trainer(Network(40, [Dense(1)]), **settings).fit(rows, labels, 12)
        return [str(each.message) for each in caught]

    looked, real = [], learning_check.out_of_scale
    monkeypatch.setattr(
        learning_check, "out_of_scale", lambda *data: looked.append(0) or real(*data)
    )
    assert not said(scipy.sparse.csr_array(dense)) and not looked
    for far in (1e-3, 1e5):  # of one row in a rare column, which no sample need have
        dense[150, 7] = far
        found = said(scipy.sparse.csr_array(dense))
        assert looked and (not found or "column 7" in found[0])
        looked.clear()
