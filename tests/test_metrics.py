"""Metrics: scikit-learn's numbers, in the history and in all that is made of it, or a refusal."""

import copy
import csv
import json
import math
import pickle
import time

import numpy as np
import pytest
from numpy.testing import assert_allclose
from simulator import SIMULATED
from trainer_cases import BINARY, LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    CorruptFile,
    CSVLogger,
    Dense,
    InvalidInput,
    Trainer,
    TrainerBusy,
    sweep,
)
from fastnn.training.history import History

RANDOM = np.random.default_rng(3)
CLASSES = {"loss": "softmax_cross_entropy", "layers": [Dense(6, "tanh"), Dense(3)]}
TWO = {"loss": "softmax_cross_entropy", "layers": [Dense(2)]}
YES = {"loss": "binary_cross_entropy", "layers": [Dense(1)]}
HINGE = {"loss": "hinge", "layers": [Dense(1)]}
MANY = {"loss": "binary_cross_entropy", "layers": [Dense(3)]}
NUMBER = {"loss": "mse", "layers": [Dense(1)]}
NUMBERS = {"loss": "mse", "layers": [Dense(2)]}
# Settings and targets of each kind of problem.
KINDS = {
    "classes": (CLASSES, LABELS),
    "two classes": (TWO, BINARY),
    "binary": (YES, BINARY),
    "hinge": (HINGE, BINARY),
    "labels": (MANY, RANDOM.integers(0, 2, (37, 3))),
    "number": (NUMBER, REAL),
    "numbers": (NUMBERS, RANDOM.normal(size=(37, 2))),
}
LABELLED = ["classes", "two classes", "binary", "hinge", "labels"]
CASES = [(kind, "auc") for kind in LABELLED]
CASES += [(kind, "f1") for kind in LABELLED]
CASES += [(kind, "log_loss") for kind in LABELLED if kind != "hinge"]
CASES += [(kind, name) for kind in ("number", "numbers") for name in ("rmse", "mae", "r2")]


def trainer_for(kind, **settings):
    settings = KINDS[kind][0] | settings
    return trainer_of(**settings)


def expected(name, kind, y, outputs, predicted, weights):
    """Return what scikit-learn makes of it."""
    from sklearn import metrics

    z = outputs.astype(np.float64)
    if kind in ("classes", "two classes"):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p = p[:, 1] if kind == "two classes" else p
    else:
        z = z[:, 0] if z.shape[1] == 1 else z
        p = 1 / (1 + np.exp(-z))
    more = {"sample_weight": weights}
    if name == "auc":
        return metrics.roc_auc_score(y, p, multi_class="ovr", **more)
    if name == "f1":
        average = "binary" if kind in ("two classes", "binary", "hinge") else "macro"
        return metrics.f1_score(y, predicted, average=average, zero_division=0, **more)
    if name == "log_loss" and kind == "labels":
        each = [metrics.log_loss(y[:, j], p[:, j], **more) for j in range(3)]
        return np.mean(each)
    functions = {
        "log_loss": metrics.log_loss,
        "rmse": metrics.root_mean_squared_error,
        "mae": metrics.mean_absolute_error,
        "r2": metrics.r2_score,
    }
    return functions[name](y, p if name == "log_loss" else predicted, **more)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_metric_is_that_of_scikit_learn(kind, name, weighted):
    pytest.importorskip("sklearn", reason="compares with scikit-learn, which is not installed")
    y, weights = KINDS[kind][1], np.where(X[:, 0] > 1, 0, WEIGHTS) if weighted else None
    trainer = trainer_for(kind, dtype="float64")
    trainer.fit(X, y, epochs=3)
    found = trainer.evaluate(X, y, weights, metrics=[name])[name]
    wanted = expected(name, kind, y, trainer.forward(X), trainer.predict(X), weights)
    assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_equal_scores_count_half_in_the_area(weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    trainer = trainer_of(inputs=1, layers=[Dense(1)], loss="binary_cross_entropy")
    trainer.set_parameters([(np.ones((1, 1)), np.zeros(1))])
    for seed in range(20):
        random = np.random.default_rng(seed)
        z = random.integers(0, 4, (50, 1)).astype(float)
        y = np.append(random.integers(0, 2, 48), [0, 1])
        weights = random.integers(0, 3, 50) + (random.random(50) < 2) * 0.5 if weighted else None
        found = trainer.evaluate(z, y, weights, metrics="auc")["auc"]
        assert_allclose(found, metrics.roc_auc_score(y, z[:, 0], sample_weight=weights))
    assert trainer.evaluate([[1], [1]], [0, 1], metrics="auc")["auc"] == 0.5
    assert trainer.evaluate([[1], [2]], [0, 1], metrics="auc")["auc"] == 1.0


def test_probabilities_that_round_to_one_are_told_apart():
    trainer = trainer_of(inputs=1, layers=[Dense(3, bias=False)])
    trainer.set_parameters([(np.array([[100.0, 0.0, -5.0]]), np.zeros(3))])
    rows, y = [[1.0], [2.0], [3.0], [4.0], [-1], [-2]], [1, 0, 0, 0, 2, 1]
    # Rows 0 to 3 all have the probability 1 of class 0, but not the same one.
    assert trainer.evaluate(rows, y, metrics="auc")["auc"] == pytest.approx(
        np.mean([1, 3 / 4, 4 / 5])
    )


def test_a_perfect_and_a_hopeless_regression_have_these_r2():
    trainer = trainer_of(inputs=1, layers=[Dense(1)], loss="mse")
    trainer.set_parameters([(np.ones((1, 1)), np.zeros(1))])
    assert trainer.evaluate([[1], [2], [3]], [1, 2, 3], metrics="r2")["r2"] == 1
    trainer.set_parameters([(np.zeros((1, 1)), np.full(1, 2.0))])
    assert trainer.evaluate([[1], [2], [3]], [1, 2, 3], metrics="r2")["r2"] == 0


def mean_gap(y, outputs):
    return float(np.abs(y - outputs).mean())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["classes", "number"])
def test_metrics_are_series_of_the_history(kind, target):
    y, names = KINDS[kind][1], ["auc", "f1"] if kind == "classes" else ["rmse", mean_gap]
    plain, watched = trainer_for(kind, target=target), trainer_for(kind, target=target)
    values = []
    plain.fit(X, y, 3, (X, y), callbacks=lambda t, h: values.append(t.evaluate(X, y, None, names)))
    history = watched.fit(X, y, 3, (X, y), metrics=names)
    for name in names:
        name = getattr(name, "__name__", name)
        series = history[f"validation_{name}"]
        assert series == history.metrics[f"validation_{name}"] == [each[name] for each in values]
    assert state_of(watched)[2] | {"metrics": {}} == state_of(plain)[2]
    assert state_of(watched)[3] == state_of(plain)[3]


def test_epochs_without_a_metric_have_none():
    trainer, validation = trainer_for("number"), (X, REAL)
    trainer.fit(X, REAL, 2)
    trainer.fit(X, REAL, 1, validation, metrics="rmse")
    trainer.fit(X, REAL, 2, validation)
    history = trainer.fit(X, REAL, 1, validation, metrics=["mae", "rmse"])
    rmse, mae = history["validation_rmse"], history["validation_mae"]
    assert [value is None for value in rmse] == [True, True, False, True, True, False]
    assert [value is None for value in mae] == [True] * 5 + [False]
    earlier = copy.copy(trainer)
    trainer.fit(X, REAL, 2)
    trainer.restore(earlier)
    trainer.fit(X, REAL, 1)
    assert [len(history[name]) for name in history.names] == [7] * 7
    assert history["validation_mae"][-2:] == [mae[5], None]


@pytest.mark.parametrize("other", ["pickle", "copy", "file", "json"])
def test_metrics_go_wherever_a_history_goes(other, tmp_path):
    trainer = trainer_for("number")
    trainer.fit(X, REAL, 2, (X, REAL), metrics=["rmse"])
    trainer.fit(X, REAL, 1)
    before = trainer.history
    if other == "pickle":
        after = pickle.loads(pickle.dumps(trainer)).history
    elif other == "copy":
        after = copy.copy(trainer).history
    elif other == "file":
        trainer.save(tmp_path / "model.safetensors")
        after = Trainer.load(tmp_path / "model.safetensors").history
    else:
        after = History.from_dict(json.loads(json.dumps(before.to_dict())))
    assert after == before and after is not before
    after.append(1.0, 1.0, 1.0)
    assert len(before["validation_rmse"]) == 3
    assert "validation_rmse" in repr(before).splitlines()[1].split()


@pytest.mark.parametrize(
    "damage", [[], {"a": 1}, {"a": [1.0]}, {"a": ["b", "c"]}, {"loss": [1.0, 1.0]}, {1: [1.0, 1.0]}]
)
def test_a_damaged_list_of_metrics_is_noticed(damage):
    history = History()
    for _ in range(2):
        history.append(1.0, 1.0, 1.0)
    with pytest.raises(CorruptFile):
        History.from_dict(history.to_dict() | {"metrics": damage})


def test_histories_from_before_there_were_metrics_are_read():
    history = History()
    history.append(1.0, 0.5, 0.1)
    values = history.to_dict()
    del values["metrics"]
    assert History.from_dict(values) == history
    state = dict(vars(history))
    del state["metrics"]
    older = History.__new__(History)
    older.__setstate__(state)
    assert older == history


def test_a_history_is_read_by_names():
    history = trainer_of().fit(X, LABELS, 2, (X, LABELS), metrics="auc")
    assert history["loss"] is history.loss
    assert "validation_auc" in history and "auc" not in history and 0 not in history
    with pytest.raises(InvalidInput, match="unknown series of the history 'auc'.*validation_auc"):
        history["auc"]
    with pytest.raises(TypeError):
        list(history)


def test_a_log_has_a_column_for_each_metric(tmp_path):
    path, trainer = tmp_path / "log.csv", trainer_for("number")
    trainer.fit(X, REAL, 2, (X, REAL), callbacks=CSVLogger(path))
    trainer.fit(X, REAL, 2, (X, REAL), callbacks=CSVLogger(path), metrics={"a, b": mean_gap})
    history = trainer.fit(X, REAL, 1, (X, REAL), callbacks=CSVLogger(path))
    with open(path, newline="") as log:
        head, *rows = csv.reader(log)
    assert head[-2:] == ["seconds", "validation_a, b"] and len(rows) == 5
    found = [row[-1] for row in rows]
    assert found == ["", "", *map(repr, history["validation_a, b"][2:4]), ""]


def test_progress_shows_the_metrics(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "fastnn.training.progress.Progress.end_epoch", lambda self, *each: shown.append(each)
    )
    history = trainer_for("number").fit(X, REAL, 2, (X, REAL), metrics="mae")
    assert [each[2] for each in shown] == [{"mae": value} for value in history["validation_mae"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_is_given_targets_and_outputs_of_one_shape(kind):
    settings, y = KINDS[kind]
    given = []

    def look(y, outputs):
        given.append((y, outputs))
        return 1

    trainer = trainer_for(kind)
    trainer.fit(X, y, 1, (X, y), metrics=look)
    (labels, outputs), outputs_now = given[0], trainer.forward(X)
    assert labels.dtype == (np.float32 if "number" in kind else np.int64)
    assert_allclose(labels, y)
    assert (outputs.reshape(outputs_now.shape) == outputs_now).all()
    assert outputs.shape == (
        labels.shape if settings["layers"][-1].units == 1 else (37, *outputs_now.shape[1:])
    )
    for array in given[0]:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_callers_own_targets_stay_writable():
    y = np.ascontiguousarray(REAL.reshape(-1, 1))
    trainer_for("number").fit(X, y, 1, (X, y, WEIGHTS), metrics=lambda_named)
    assert y.flags.writeable and WEIGHTS.flags.writeable


def lambda_named(y, outputs, sample_weight=None):
    assert sample_weight is None or (sample_weight == WEIGHTS).all()
    return len(y)


def test_a_function_is_given_the_weights_if_there_are_some():
    sklearn = pytest.importorskip("sklearn.metrics")
    trainer = trainer_for("number")
    history = trainer.fit(
        X, REAL, 2, (X, REAL, WEIGHTS), metrics=[sklearn.mean_squared_error, "rmse"]
    )
    assert_allclose(
        np.sqrt(history["validation_mean_squared_error"]), history["validation_rmse"], rtol=1e-6
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: 1 / 0, "the metric 'mine' failed: ZeroDivisionError: division by zero"),
        (lambda: math.nan, "what the metric 'mine' returns must be a finite number.*nan"),
        (lambda: math.inf, "what the metric 'mine' returns must be a finite number.*inf"),
        (lambda: "good", "what the metric 'mine' returns must be a finite number.*'good'"),
        (lambda: None, "what the metric 'mine' returns must be a finite number.*None"),
        (lambda: np.ones(2), "what the metric 'mine' returns must be a finite number"),
        (lambda: True, "what the metric 'mine' returns must be a finite number.*True"),
    ],
)
def test_a_metric_that_fails_leaves_its_epoch_done(answer, message, target):
    calls = []

    def mine(y, outputs):
        calls.append(1)
        return 0.5 if len(calls) < 3 else answer()

    stopped, other = (trainer_for("number", target=target) for _ in range(2))
    with pytest.raises(InvalidInput, match=message):
        stopped.fit(X, REAL, 5, (X, REAL), metrics=["mae", mine])
    other.fit(X, REAL, 3, (X, REAL), metrics="mae")
    assert stopped.history["validation_mine"] == [0.5, 0.5, None]
    dict.pop(stopped.history.metrics, "validation_mine")
    assert state_of(stopped) == state_of(other)
    assert stopped.remaining == 2


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), np.int64(1), 1])
def test_any_number_will_do(value):
    history = trainer_for("number").fit(X, REAL, 1, (X, REAL), metrics={"it": lambda y, z: value})
    assert history["validation_it"] == [float(value)]
    assert type(history["validation_it"][0]) is float


def test_a_metric_that_uses_its_trainer_is_told_that_it_is_busy():
    trainer = trainer_for("number")

    def predicts(y, outputs):
        return float(trainer.predict(X)[0])

    with pytest.raises(InvalidInput, match="predicts.*TrainerBusy.*a metric") as caught:
        trainer.fit(X, REAL, 2, (X, REAL), metrics=predicts)
    assert isinstance(caught.value.__cause__, TrainerBusy)
    assert trainer.epoch == 1


def test_ctrl_c_in_a_metric_takes_the_epoch_back():
    def interrupted(y, outputs):
        raise KeyboardInterrupt

    trainer = trainer_for("number")
    trainer.fit(X, REAL, 1)
    before = state_of(trainer)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, REAL, 1, (X, REAL), metrics=interrupted)
    assert state_of(trainer) == before


def test_outputs_that_are_nan_make_metrics_nan():
    trainer = trainer_of(inputs=1, layers=[Dense(2, "identity"), Dense(3)], dtype="float32")
    with np.errstate(all="ignore"):
        big = np.full((1, 2), 3e38, np.float32)
        trainer.set_parameters([(big, np.zeros(2)), (np.full((2, 3), 3e38), np.zeros(3))])
    found = trainer.evaluate([[3.0], [-3.0], [3.0]], [0, 1, 2], metrics=["auc", "log_loss"])
    assert math.isnan(found["auc"]) and math.isnan(found["log_loss"])


HALF = (X, BINARY[:37])


@pytest.mark.parametrize(
    ("kind", "metrics", "message"),
    [
        ("classes", 3, "metrics must be names and functions"),
        ("classes", None, "metrics must be names and functions"),
        ("classes", [3], r"metrics\[0\] must be a name, a function .*, not 3"),
        ("classes", {"a": 3}, r"metrics\[0\] must be a name, a function .*, not .'a', 3"),
        ("classes", "acuracy", "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ("classes", "rmse", "'rmse' is not for loss 'softmax_cross_entropy', which has accuracy"),
        ("number", "auc", "'auc' is not for loss 'mse', which has mae, r2, rmse"),
        ("number", "accuracy", "'accuracy' is not for loss 'mse'"),
        ("hinge", "log_loss", "'log_loss' is not for loss 'hinge', which has accuracy, auc, f1"),
        ("number", [lambda y, z: 1], "needs a name"),
        ("number", {"loss": mean_gap}, "called 'loss', which is fastnn's name"),
        ("number", {"auc": mean_gap}, "called 'auc', which is fastnn's name"),
        ("number", {"": mean_gap}, "needs a name"),
        ("number", {"a\nb": mean_gap}, "needs a name"),
        ("number", [mean_gap, ("mean_gap", lambda_named)], "and so is another metric"),
    ],
)
def test_metrics_that_cannot_be_are_refused(kind, metrics, message):
    trainer, y = trainer_for(kind), KINDS[kind][1]
    for call in (
        lambda: trainer.fit(X, y, 1, (X, y), metrics=metrics),
        lambda: trainer.evaluate(X, y, metrics=metrics),
        lambda: sweep(trainer, X, y, 1, grid={"l2": [0]}, validation_data=(X, y), metrics=metrics),
    ):
        with pytest.raises(InvalidInput, match=message):
            call()
    assert trainer.epoch == 0 and not trainer.history.metrics


def test_what_is_measured_anyway_and_what_is_named_twice_is_there_once():
    history = trainer_of().fit(
        X, LABELS, 1, (X, LABELS), metrics=["loss", "accuracy", "auc", "auc"]
    )
    assert list(history.metrics) == ["validation_auc"]


@pytest.mark.parametrize("metrics", ["auc", "accuracy", ["loss", "accuracy"], iter(["accuracy"])])
def test_metrics_without_validation_data_are_refused(metrics):
    with pytest.raises(InvalidInput, match="metrics .a.* are measured on the validation data"):
        trainer_of().fit(X, LABELS, 1, metrics=metrics)
    assert trainer_of().fit(X, LABELS, 1, metrics="loss").metrics == {}


def test_one_function_may_come_with_its_name_alone():
    def size(y, outputs):
        return np.abs(outputs).mean()

    history = trainer_of().fit(X, LABELS, 1, (X, LABELS), metrics=("mine", size))
    assert list(history.metrics) == ["validation_mine"]
    history = trainer_of().fit(X, LABELS, 1, (X, LABELS), metrics=("auc", size))
    assert list(history.metrics) == ["validation_auc", "validation_size"]


def test_data_on_which_a_metric_is_undefined_are_refused():
    ones, trainer = np.ones(37, int), trainer_for("binary")
    with pytest.raises(InvalidInput, match="'auc' compares.*the validation data have only one"):
        trainer.fit(X, BINARY, 1, (X, ones), metrics="auc")
    with pytest.raises(InvalidInput, match="'auc' compares"):
        trainer.evaluate(X, BINARY, BINARY, metrics="auc")
    with pytest.raises(InvalidInput, match="class 2"):
        trainer_of().evaluate(X, np.minimum(LABELS, 1), metrics="auc")
    with pytest.raises(InvalidInput, match="'r2' compares.*1 in every row of output 0"):
        trainer_for("number").fit(X, REAL, 1, (X, ones), metrics="r2")
    with pytest.raises(InvalidInput, match="'mean_gap' takes none"):
        trainer_for("number").fit(X, REAL, 1, (X, REAL, WEIGHTS), metrics=mean_gap)


@pytest.mark.parametrize("target", TARGETS)
def test_the_best_restart_keeps_its_metrics_and_all_are_in_the_table(target):
    together = trainer_of(target=target)
    history = together.fit(X, LABELS, 2, (X, LABELS), restarts=3, metrics="auc")
    best = history.restarts[history.restarts.best]
    alone = trainer_of(target=target, seed=best.seed)
    alone.fit(X, LABELS, 2, (X, LABELS), metrics="auc")
    assert_allclose(history["validation_auc"], alone.history["validation_auc"])
    assert best.metrics == {"validation_auc": history["validation_auc"][-1]}
    assert "validation_auc" in repr(history.restarts)
    again = History.from_dict(json.loads(json.dumps(history.to_dict())))
    assert again.restarts == history.restarts


@pytest.mark.parametrize("many", ["restarts", "sweep"])
def test_a_function_is_called_once_at_a_time(many):
    inside, most = [], []

    def slow(y, outputs):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()
        return 1.0

    trainer, validation = trainer_for("number", target="cpu", threads=4), (X, REAL)
    if many == "restarts":
        trainer.fit(X, REAL, 3, validation, restarts=8, metrics=slow)
    else:
        sweep(
            trainer, X, REAL, 3, grid={"l2": [0]}, seeds=8, validation_data=validation,
            workers=4, metrics=slow,
        )  # fmt: skip
    assert len(most) == 24 and max(most) == 1


def test_a_metric_that_fails_in_a_restart_leaves_the_trainer_as_it_was():
    trainer = trainer_for("number")
    with pytest.raises(InvalidInput, match="'fails' failed"):
        trainer.fit(X, REAL, 2, (X, REAL), restarts=2, metrics={"fails": lambda y, z: 1 / 0})
    assert trainer.epoch == 0 and not trainer.history.metrics


@pytest.mark.skipif(SIMULATED, reason="says nothing about a target")
def test_a_sweep_has_columns_for_metrics():
    result = sweep(
        trainer_of(), X, LABELS, 2, grid={"batch_size": [4, 8]}, validation_data=(X, LABELS),
        metrics=["auc", "f1"],
    )  # fmt: skip
    for run, size in zip(result, (4, 8), strict=True):
        alone = trainer_of(batch_size=size)
        alone.fit(X, LABELS, 2, (X, LABELS), metrics=["auc", "f1"])
        assert run.metrics == {name: alone.history[name][-1] for name in alone.history.metrics}
    assert {"validation_auc", "validation_f1"} < {*result.columns}
    assert result.column("validation_auc") == [run.metrics["validation_auc"] for run in result]
    assert "validation_auc" in repr(result)
