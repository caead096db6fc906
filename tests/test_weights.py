"""Weights of rows and of targets, and missing targets, as a user of the Trainer has them."""

import copy
import pickle

import numpy as np
import pytest
from simulator import needs_speed
from trainer_cases import TARGETS, state_of, trainer_of

from fastnn import SGD, Adam, AveragedSGD, Dense, InvalidInput, Network, Trainer, sweep
from fastnn.inputs.data import check_data
from fastnn.inputs.weights import check_weights
from fastnn.rules.table import LOSSES
from fastnn.storage import tensor_file

RANDOM = np.random.default_rng(4)
N = 256
X = RANDOM.normal(size=(N, 3))
Y = (X @ [1.0, -0.5, 0.0] + RANDOM.logistic(size=N) > 0).astype(float)
WEIGHTS = np.where(Y == 1, 3.0, 1.0) * RANDOM.gamma(0.5, 2.0, N)
PAIR = np.column_stack([Y, 1 - Y[::-1]])
PAIR_WEIGHTS = RANDOM.gamma(0.7, 2.0, (N, 2)) * (RANDOM.random((N, 2)) < 0.9)
HOLES = RANDOM.random((N, 2)) < 0.3
MISSING = np.where(HOLES, np.nan, PAIR)


def logistic(units=1, **settings):
    """Return a logistic regression in float64."""
    defaults = {"loss": "binary_cross_entropy", "dtype": "float64", "batch_size": 32}
    return trainer_of([Dense(units)], 3, **(defaults | settings))


def optimum(weights, l2):
    """Return the weights and bias that scikit-learn finds for the weighted loss and its penalty."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    # It minimises C sum w l + |W|^2 / 2.
    model = linear_model.LogisticRegression(C=1 / (l2 * weights.sum()), tol=1e-10, max_iter=1000)
    model.fit(X, Y, weights)
    return np.append(model.coef_[0], model.intercept_)


@needs_speed
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch_size", [1, 4, 32, 256])
def test_training_comes_to_the_weighted_optimum_at_every_batch_size(batch_size, target):
    l2 = 0.05
    rate = min(0.5, 0.003 * batch_size)
    epochs = 40 if batch_size < 32 else 150
    start = epochs // 2 * -(-N // batch_size)
    trainer = logistic(
        optimizer=AveragedSGD(rate, start), batch_size=batch_size, l2=l2, target=target
    )
    trainer.fit(X, Y, epochs, sample_weight=WEIGHTS)
    [(W, b)] = trainer.parameters
    found, expected = np.append(W[:, 0], b), optimum(WEIGHTS, l2)
    np.testing.assert_allclose(found, expected, atol=0.015)
    # Of other weights it is somewhere else.
    assert np.abs(optimum(np.ones(N), l2) - expected).max() > 0.3


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("weight", [5e-324, 1e-320, 0.1, 3.0, 1e300, 1e308])
def test_weights_that_are_all_equal_are_as_none(batch_size, weight, target):
    trainers = [logistic(batch_size=batch_size, target=target) for _ in range(2)]
    trainers[0].fit(X, Y, 2, sample_weight=np.full(N, weight))
    trainers[1].fit(X, Y, 2)
    assert state_of(trainers[0]) == state_of(trainers[1])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", [WEIGHTS, PAIR_WEIGHTS], ids=["rows", "targets"])
def test_weights_times_a_constant_are_the_same_weights(weights, target):
    outputs = weights.ndim
    y = (Y, PAIR)[outputs - 1]

    def trained(scale):
        trainer = logistic(outputs, optimizer=SGD(0.05, 0.9), target=target)
        trainer.fit(X, y, 3, (X, y, weights * scale), weights * scale)
        return trainer

    usual = trained(1.0)
    for scale in (2.0**-900, 0.5, 2.0**600):
        assert state_of(trained(scale))[0:2] == state_of(usual)[0:2]
        assert state_of(trained(scale))[3] == state_of(usual)[3]
    for scale in (1e-300, 0.1, 7.0, 1e306):
        for name in ("loss", "validation_loss", "validation_accuracy"):
            found, expected = (getattr(each.history, name) for each in (trained(scale), usual))
            np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_columns_of_weights_are_as_flat_ones():
    trainers = [logistic() for _ in range(2)]
    trainers[0].fit(X, Y, 2, (X, Y, WEIGHTS[:, None]), WEIGHTS[:, None])
    trainers[1].fit(X, Y, 2, (X, Y, WEIGHTS), WEIGHTS)
    assert state_of(trainers[0]) == state_of(trainers[1])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("y", "weights"), [(Y, WEIGHTS), (PAIR, WEIGHTS), (PAIR, PAIR_WEIGHTS)], ids=["1", "2", "each"]
)
def test_the_loss_of_an_epoch_is_the_weighted_mean(y, weights, target):
    trainer = logistic(y.ndim, optimizer=SGD(0.0), target=target)
    trainer.fit(X, y, 1, (X, y, weights), weights)
    z = trainer.forward(X)
    losses = np.logaddexp(0, z) - y.reshape(z.shape) * z
    right = (z >= 0) == (y.reshape(z.shape) == 1)
    each = np.broadcast_to(weights.reshape(N, -1), z.shape)
    assert trainer.history.loss[0] == pytest.approx(np.average(losses, weights=each), rel=1e-12)
    assert trainer.history.validation_loss[0] == pytest.approx(trainer.history.loss[0], rel=1e-12)
    accuracy = trainer.evaluate(X, y, weights)["accuracy"]
    assert accuracy == pytest.approx(np.average(right, weights=each), rel=1e-12)
    assert trainer.history.validation_accuracy[0] == accuracy


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch_size", [1, 7, 300])
def test_weights_of_positive_labels_train_as_pos_weight_in_pytorch(batch_size, target):
    torch = pytest.importorskip("torch")
    positive = np.array([3.0, 0.25])
    weights = np.where(PAIR == 1, positive, 1.0)
    trainer = logistic(
        2, optimizer=SGD(0.05 * weights.mean(), 0.9), batch_size=batch_size, shuffle=False,
        target=target,
    )  # fmt: skip
    W, b = (torch.tensor(each, requires_grad=True) for each in trainer.parameters[0])
    optimizer = torch.optim.SGD([W, b], 0.05, 0.9)
    loss_of = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(positive))
    for _ in range(2):
        for rows in torch.arange(N).split(batch_size):
            optimizer.zero_grad()
            loss_of(torch.tensor(X)[rows] @ W + b, torch.tensor(PAIR)[rows]).backward()
            optimizer.step()
    trainer.fit(X, PAIR, 2, sample_weight=weights)
    for found, expected in zip(trainer.parameters[0], (W, b), strict=True):
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-10)
    whole = loss_of(torch.tensor(X) @ W + b, torch.tensor(PAIR)).item() / weights.mean()
    assert trainer.evaluate(X, PAIR, weights)["loss"] == pytest.approx(whole, rel=1e-10)


def test_weights_of_targets_count_in_a_loss_of_ones_own():
    problem = trainer_of([Dense(2)], 3, loss=lambda z, y: (z - y) ** 4, dtype="float64").problem
    trainer = Trainer(
        problem.network, problem.loss, SGD(0.05), batch_size=N, target="numpy", dtype="float64"
    )
    [(W, b)] = trainer.parameters
    trainer.fit(X, PAIR, 1, sample_weight=PAIR_WEIGHTS)
    slopes = 4 * (X @ W + b - PAIR) ** 3 * PAIR_WEIGHTS / PAIR_WEIGHTS.sum()
    np.testing.assert_allclose(trainer.parameters[0][0], W - 0.05 * X.T @ slopes, rtol=1e-12)


@pytest.mark.parametrize(
    ("weights", "settings", "said"),
    [
        (np.ones((N, 2)), {"units": 3}, r"\(256, 2\) but must be \(256,\),.* or \(256, 3\), one a"),
        (np.ones((2, N)), {"units": 2}, r"\(2, 256\) but must be \(256,\)"),
        (np.ones((N, 2, 1)), {"units": 2}, r"\(256, 2, 1\)"),
        (np.zeros((N, 2)), {"units": 2}, "is 0 in every row; give at least one target"),
        (np.where(HOLES, -1, 1.0), {"units": 2}, "value -1.0 at row [0-9]+, column [01] is neg"),
        (np.where(HOLES, np.nan, 1), {"units": 2}, "value nan at row [0-9]+, column [01] is not a"),
        (np.ones((N, 2)), {"units": 2, "loss": "softmax_cross_entropy"}, "of the whole row.*class"),
    ],
    ids=lambda value: "",
)
def test_weights_that_cannot_be_used_are_refused_and_change_nothing(weights, settings, said):
    trainer = logistic(**settings)
    y = PAIR if settings["units"] == 2 else np.column_stack([PAIR, Y])
    y = y if "loss" not in settings else Y.astype(int)
    before = state_of(trainer)
    for call in (trainer.fit, trainer.evaluate):
        with pytest.raises(InvalidInput, match=f"sample_weight.*{said}"):
            call(X, y, sample_weight=weights)
    with pytest.raises(InvalidInput, match=f"in validation_data, sample_weight.*{said}"):
        trainer.fit(X, y, validation_data=(X, y, weights))
    assert state_of(trainer) == before


@pytest.mark.parametrize("scale", [1e-320, 1e-250, 1.0, 1e250, 1e308])
def test_weights_of_any_size_have_a_mean_and_keep_their_ratios(scale):
    made = check_weights(np.array([1.0, 0.5, 0.0, 1.0]) * scale, 4)
    assert np.isfinite(made.sum()) and made.mean() > 1e-300
    np.testing.assert_allclose(made / made[0], [1.0, 0.5, 0.0, 1.0], rtol=1e-3)


# Missing targets


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", [None, WEIGHTS, PAIR_WEIGHTS], ids=["none", "rows", "targets"])
@pytest.mark.parametrize("batch_size", [1, 8, 256])
def test_missing_targets_are_targets_of_weight_zero(batch_size, weights, target):
    settings = {"optimizer": SGD(0.05, 0.9), "batch_size": batch_size, "target": target}
    leaving, weighing = logistic(2, ignore_nan=True, **settings), logistic(2, **settings)
    leaving.fit(X, MISSING, 2, (X, MISSING), weights)
    each = np.ones((N, 2)) if weights is None else weights.reshape(N, -1)
    each = np.where(HOLES, 0.0, each)
    weighing.fit(X, PAIR, 2, (X, PAIR, np.where(HOLES, 0.0, 1.0)), each)
    assert state_of(leaving) == state_of(weighing)
    assert leaving.evaluate(X, MISSING, weights) == weighing.evaluate(X, PAIR, each)
    there = ~HOLES
    right = (leaving.forward(X) >= 0) == (PAIR == 1)
    assert leaving.evaluate(X, MISSING)["accuracy"] == pytest.approx(right[there].mean(), rel=1e-12)


@pytest.mark.parametrize("loss", [name for name, row in LOSSES.items() if not row.rowwise])
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 2)], ids=str)
def test_every_loss_of_single_targets_can_leave_some_out(loss, shape):
    y = np.resize(Y, shape)
    holes = np.resize(HOLES, shape)
    units = shape[1] if len(shape) > 1 else 1
    trainer = logistic(units, loss=loss, ignore_nan=True, optimizer=SGD(0.0))
    trainer.fit(X, np.where(holes, np.nan, y), 1)
    other = logistic(units, loss=loss, optimizer=SGD(0.0))
    other.fit(X, y, 1, sample_weight=1.0 - holes)
    assert trainer.history.loss == other.history.loss


def test_targets_that_are_all_there_come_to_the_bits_of_the_usual():
    one, other = logistic(2, ignore_nan=True), logistic(2)
    for trainer in (one, other):
        trainer.fit(X, PAIR, 2, (X, PAIR))
    assert state_of(one) == state_of(other)


def test_what_stands_in_the_place_of_missing_targets_leaves_the_callers_array_alone():
    y = MISSING.copy()
    logistic(2, ignore_nan=True).fit(X, y, 1)
    assert np.array_equal(y, MISSING, equal_nan=True)


def test_rows_without_any_target_are_as_rows_of_weight_zero():
    y = PAIR.copy()
    y[::3] = np.nan
    data = check_data(logistic(2, ignore_nan=True).problem, X, y)
    assert np.array_equal(data.row_weights, np.arange(N) % 3 > 0)
    assert data.mean_weight == pytest.approx((np.arange(N) % 3 > 0).mean())


@pytest.mark.parametrize(
    ("y", "weights", "said"),
    [
        (np.full((N, 2), np.nan), None, "^y is NaN everywhere"),
        (MISSING, HOLES * 1.0, "^y is NaN wherever sample_weight is above 0"),
        (np.where(HOLES, np.nan, 3.0), None, "y value 3.0 at row"),
        (np.where(HOLES, np.nan, np.inf), None, "y value inf at row [0-9]+, column [01] is not"),
        (MISSING[:, :1], None, r"y has shape \(256, 1\)"),
        (MISSING[:9], None, "y has 9 rows"),
    ],
    ids=["all", "all that weigh", "three", "infinite", "a column", "short"],
)
def test_targets_that_cannot_be_used_are_refused_where_some_may_be_missing(y, weights, said):
    trainer = logistic(2, ignore_nan=True)
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=said):
        trainer.fit(X, y, 1, sample_weight=weights)
    with pytest.raises(InvalidInput, match=said):
        trainer.evaluate(X, y, weights)
    assert state_of(trainer) == before
    first = np.argwhere(~HOLES)[0]
    if "value" in said:  # the place is that in the caller's array
        with pytest.raises(InvalidInput, match=f"at row {first[0]}, column {first[1]}"):
            trainer.fit(X, y, 1)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse", lambda z, y: (z - y) ** 4])
def test_without_it_missing_targets_are_refused_and_it_is_named(loss):
    trainer = logistic(2, loss=loss)
    with pytest.raises(InvalidInput, match=r"y value nan at row .*ignore_nan=True"):
        trainer.fit(X, MISSING)
    with pytest.raises(InvalidInput, match=r"y value nan at row .*ignore_nan=True"):
        trainer.evaluate(X, MISSING)
    with pytest.raises(InvalidInput, match="y value inf at row .*[^)]$"):
        trainer.fit(X, np.where(HOLES, np.inf, PAIR))


def test_labels_of_classes_cannot_be_missing():
    with pytest.raises(InvalidInput, match="ignore_nan=True .*softmax_cross_entropy.*whole row"):
        logistic(2, loss="softmax_cross_entropy", ignore_nan=True)
    with pytest.raises(InvalidInput, match="ignore_nan must be True or False, not 1"):
        logistic(ignore_nan=1)
    labels = np.where(HOLES[:, 0], np.nan, Y)
    with pytest.raises(InvalidInput, match="y value nan") as error:
        logistic(2, loss="softmax_cross_entropy").fit(X, labels)
    assert "ignore_nan" not in str(error.value)


@pytest.mark.parametrize("way", ["save", "pickle", "copy"])
def test_a_trainer_that_is_kept_still_leaves_out_what_is_missing(tmp_path, way):
    whole, first = (logistic(2, ignore_nan=True, optimizer=Adam()) for _ in range(2))
    whole.fit(X, MISSING, 5, sample_weight=PAIR_WEIGHTS)
    first.fit(X, MISSING, 2, sample_weight=PAIR_WEIGHTS)
    if way == "save":
        first.save(tmp_path / "model")
        second = Trainer.load(tmp_path / "model")
    else:
        second = pickle.loads(pickle.dumps(first)) if way == "pickle" else copy.copy(first)
    assert second.problem.ignore_nan
    second.fit(X, MISSING, 3, sample_weight=PAIR_WEIGHTS)
    assert state_of(second) == state_of(whole)


def test_a_file_from_before_the_setting_has_none_missing(tmp_path):
    path = tmp_path / "model"
    logistic(2).save(path)
    tensors, content = tensor_file.read(path)
    del content["ignore_nan"]
    tensor_file.write(path, tensors, content)
    assert Trainer.load(path).problem.ignore_nan is False


@pytest.mark.parametrize("target", TARGETS)
def test_restarts_and_sweeps_know_weights_of_targets_and_missing_ones(target):
    trainer = logistic(2, ignore_nan=True, target=target, threads=1)
    other = copy.copy(trainer)
    trainer.fit(X, MISSING, 3, sample_weight=PAIR_WEIGHTS, restarts=2)
    best = min(end.loss for end in trainer.history.restarts)
    other.fit(X, MISSING, 3, sample_weight=PAIR_WEIGHTS)
    assert trainer.history.restarts[0].loss == other.history.loss[-1]
    assert trainer.history.loss[-1] == best
    result = sweep(
        logistic(2, target=target), X, MISSING, 3, grid={"ignore_nan": [True]}, seeds=1,
        sample_weight=PAIR_WEIGHTS, validation_data=(X, MISSING),
    )  # fmt: skip
    assert result[0].training_loss == other.history.loss[-1]
    with pytest.raises(InvalidInput, match="with ignore_nan=False: y value nan"):
        sweep(logistic(2, target=target), X, MISSING, 1, grid={"ignore_nan": [True, False]})


def test_points_without_a_label_are_not_drawn():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from fastnn import plots

    trainer = trainer_of([Dense(1)], 2, loss="binary_cross_entropy", ignore_nan=True)
    y = np.array([0.0, np.nan, 1.0, 1.0, np.nan])
    ax = plots.decision_boundary(trainer, X[:5, :2], y, Figure().add_subplot())
    drawn = {each.get_label(): each.get_offsets().data for each in ax.collections}
    points = np.float32(X[:5, :2])  # as the network sees them
    np.testing.assert_array_equal(drawn["class 0"], points[[0]])
    np.testing.assert_array_equal(drawn["class 1"], points[[2, 3]])


def test_resuming_goes_on_to_the_same_bits(tmp_path):
    from fastnn import Checkpoint

    whole, first = (logistic(2, ignore_nan=True) for _ in range(2))
    whole.fit(X, MISSING, 4, sample_weight=PAIR_WEIGHTS)
    first.fit(X, MISSING, 2, sample_weight=PAIR_WEIGHTS, callbacks=Checkpoint(tmp_path / "m"))
    second = Trainer.resume(tmp_path / "m")
    second.fit(X, MISSING, 2, sample_weight=PAIR_WEIGHTS)
    assert state_of(second)[3] == state_of(whole)[3]


def test_a_pickle_from_before_the_setting_has_none_missing():
    problem = logistic(2).problem
    del problem.__dict__["ignore_nan"]
    found = pickle.loads(pickle.dumps(problem))
    assert "ignore_nan" not in found.__dict__ and found == logistic(2).problem
    assert found.ignore_nan is False


def test_a_wild_row_of_weight_zero_does_no_harm():
    network = Network(3, [Dense(1)])
    X_wild, weights = X.astype(np.float32), WEIGHTS.copy()
    X_wild[7], weights[7] = 1e30, 0  # whose squared error is infinite in float32
    for target in TARGETS:
        trainer = Trainer(network, "mse", SGD(0.01), target=target)
        history = trainer.fit(X_wild, Y, 3, sample_weight=weights)
        assert np.isfinite(history.loss).all()
