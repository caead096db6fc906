"""Training over a grid of settings: every run as if alone."""

import functools
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse
from ctrl_c import interrupted, needs_signals
from numba import config
from trainer_cases import LABELS, REAL, TARGETS, X, trainer_of

from fastnn import (
    SGD,
    Adam,
    Dense,
    Dropout,
    EarlyStopping,
    InvalidInput,
    Network,
    Trainer,
    sweep,
    train_population,
)

VALIDATION = {"validation_data": (X[:9], LABELS[:9])}
GRID = {"batch_size": [4, 16], "learning_rate": [0.05, 0.2]}


def without_times(run):
    return {name: value for name, value in run.to_dict().items() if "seconds" not in name}


@pytest.mark.parametrize("target", TARGETS)
def test_every_run_is_what_its_settings_give_alone(target):
    result = sweep(trainer_of(target=target), X, LABELS, 3, grid=GRID, seeds=2, **VALIDATION)
    assert [(run.settings, run.seed) for run in result] == [
        ({"batch_size": size, "learning_rate": rate}, seed)
        for size in (4, 16)
        for rate in (0.05, 0.2)
        for seed in (0, 1)
    ]
    for run in result:
        size, rate = run.settings.values()
        alone = trainer_of(target=target, batch_size=size, optimizer=SGD(rate), seed=run.seed)
        history = alone.fit(X, LABELS, epochs=3, **VALIDATION)
        assert run.training_loss == history.loss[-1]
        assert run.validation_loss == history.validation_loss[-1]
        assert run.validation_accuracy == history.validation_accuracy[-1]
        assert (run.epochs, run.diverged, run.epochs_to_accuracy) == (3, False, None)
        assert 0 < run.epoch_seconds <= run.seconds


def test_runs_with_different_losses_have_the_targets_of_their_own():
    def make(loss):
        outputs = 1 if loss == "mse" else 3
        return Trainer(Network(X.shape[1], [Dense(outputs)]), loss=loss, target="numpy")

    losses = ["softmax_cross_entropy", "mse"]
    for run in sweep(make, X, LABELS, 2, grid={"loss": losses}):
        alone = make(run.settings["loss"]).fit(X, LABELS, epochs=2)
        assert run.training_loss == alone.loss[-1]


def test_a_target_is_chosen_for_as_many_as_one_launch_could_train(monkeypatch):
    asked = []

    def choose(name, problem, count):
        asked.append((name, problem.batch_size, count))
        return "numpy", f"of {count}"

    monkeypatch.setattr("fastnn.training.many.choose", choose)
    trainer = trainer_of(target="auto")
    result = sweep(trainer, X, LABELS, 1, grid=GRID, seeds=3, keep_trainers=True)
    assert asked == [("auto", size, 6) for size in (4, 16) for _ in range(6)]
    assert {run.trainer.history.reason for run in result} == {"of 6"}
    asked.clear()
    several = [trainer_of(target="auto", seed=seed) for seed in (1, 2)]
    views = [[0, 1, 2, 3], [1, 0, 2, 3]]
    train_population(several, X, LABELS, epochs=1, **VALIDATION)
    train_population(several, X, LABELS, epochs=1, views=views, **VALIDATION)
    sweep(trainer, scipy.sparse.csr_array(X), LABELS, 1, grid={"learning_rate": [0.1]}, seeds=2)
    assert [count for _, _, count in asked] == [2, 2, 1, 1, 1, 1]
    asked.clear()
    here = trainer_of(target="numpy", seed=1)
    sparse = {"validation_data": (scipy.sparse.csr_array(X[:9]), LABELS[:9])}
    with ThreadPoolExecutor(1) as executor:
        train_population(several, X, LABELS, epochs=1, executor=executor, **VALIDATION)
    train_population([*several, here], X, LABELS, epochs=1, **VALIDATION)
    sweep(trainer, X, LABELS, 1, grid={"learning_rate": [0.1]}, seeds=2, **sparse)
    assert [count for _, _, count in asked] == [1, 1, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("workers", [2, 5, None])
def test_results_are_the_same_bits_for_any_number_of_workers(workers):
    trainer = trainer_of(target="cpu")
    one, many = (
        sweep(trainer, X, LABELS, 4, grid=GRID, seeds=3, workers=each, **VALIDATION)
        for each in (1, workers)
    )
    assert list(map(without_times, one)) == list(map(without_times, many))


def test_settings_reach_trainer_optimizer_and_layers():
    layers = [Dense(6, "leaky_relu", alpha=0.2), Dropout(0.5), Dense(5, "tanh"), Dense(3)]
    trainer = trainer_of(layers, optimizer=Adam(0.01), seed=4, l2=0.5)
    seen = []

    def look(trainer, history):
        seen.append(trainer)

    grid = {
        "l2": [0.25], "beta1": [0.5], "units": [7], "activation": ["relu"], "dropout": [0.1],
        "shuffle": [False], "optimizer": [Adam(0.02, beta2=0.9)],
    }  # fmt: skip
    result = sweep(trainer, X, LABELS, 1, grid=grid, callbacks=[look])
    assert len(result) == 1 and result[0].seed == 4
    problem = seen[0].problem
    assert problem.network.layers == (Dense(7, "relu"), Dropout(0.1), Dense(7, "relu"), Dense(3))
    assert problem.optimizer == Adam(0.02, beta1=0.5, beta2=0.9)
    assert (problem.l2, problem.seed, problem.batch_size) == (0.25, 4, 8)
    assert not seen[0].shuffle and trainer.epoch == 0 and trainer.shuffle


def make(units, seed, batch_size=8):
    network = Network(4, [Dense(units, "tanh"), Dense(3)])
    return Trainer(network, batch_size=batch_size, seed=seed, target="numpy", threads=2)


def test_a_function_takes_the_settings_that_it_names_and_the_rest_is_changed():
    grid = {"units": [2, 5], "batch_size": [4], "learning_rate": [0.3], "momentum": [0.9]}
    result = sweep(make, X, LABELS, 2, grid=grid, seeds=[3, 9])
    assert [run.seed for run in result] == [3, 9, 3, 9]
    for run in result:
        network = Network(4, [Dense(run.settings["units"], "tanh"), Dense(3)])
        alone = Trainer(network, "softmax_cross_entropy", SGD(0.3, 0.9), 4, seed=run.seed)
        alone.target = "numpy"
        assert run.training_loss == alone.fit(X, LABELS, 2).loss[-1]


def test_only_runs_under_way_need_memory_for_training():
    trainer = trainer_of([Dense(20_000), Dense(3)], target="numpy", optimizer=Adam(1e-3))
    grids = [{"l2": np.linspace(0, 1, count)} for count in (2, 30)]
    peaks = []
    for grid in grids:
        tracemalloc.start()
        try:
            sweep(trainer, X[:2], LABELS[:2], 1, grid=grid)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_what_a_function_returns_is_trained_as_it_is_if_nothing_is_changed():
    given = trainer_of(shuffle=False)
    given.set_parameters([(0 * W, b + 1) for W, b in given.parameters])
    result = sweep(lambda seed: given, X, LABELS, 1, grid={}, seeds=2)
    assert given.epoch == 0
    assert result[0].training_loss == result[1].training_loss
    given.fit(X, LABELS, 1)
    assert result[0].training_loss == given.history.loss[0]


def test_a_class_and_a_partial_function_make_trainers_too():
    network = Network(4, [Dense(3)])
    result = sweep(
        functools.partial(Trainer, network, target="numpy"), X, LABELS, 1, grid={"batch_size": [4]}
    )
    assert len(result) == 1
    networks = [network, Network(4, [Dense(5), Dense(3)])]
    grid = {"network": networks, "target": ["numpy"]}
    assert len(sweep(Trainer, X, LABELS, 1, grid=grid)) == 2

    def takes_all(**settings):
        return trainer_of(**settings)

    assert len(sweep(takes_all, X, LABELS, 1, grid={"l2": [0.1, 0.2]})) == 2


def test_numbers_of_numpy_are_taken_as_numbers():
    grid = {"batch_size": np.array([4, 8]), "learning_rate": [np.float32(0.5)]}
    result = sweep(trainer_of(), X, LABELS, 1, grid=grid)
    assert [type(value) for value in result[0].settings.values()] == [int, float]


def separated(n=60):
    X = np.random.default_rng(1).normal(size=(n, 4)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("stop", [False, True])
def test_epochs_and_seconds_to_an_accuracy_are_those_of_the_history(stop):
    A, labels = separated()
    trainer = trainer_of([Dense(2)], optimizer=SGD(0.02))
    more = {"validation_data": (A, labels)}
    grid = {"batch_size": [4, 60]}
    result = sweep(trainer, A, labels, 12, grid=grid, accuracy=0.9, stop=stop, workers=1, **more)
    reached, never = result
    alone = trainer_of([Dense(2)], optimizer=SGD(0.02), batch_size=4)
    found = alone.fit(A, labels, 12, **more).validation_accuracy
    first = next(epoch for epoch, value in enumerate(found, start=1) if value >= 0.9)
    assert 1 < first < 12 and reached.epochs_to_accuracy == first
    assert reached.epochs == (first if stop else 12)
    assert 0 < reached.seconds_to_accuracy <= reached.seconds
    assert (reached.seconds_to_accuracy == reached.seconds) == stop
    assert (never.epochs, never.epochs_to_accuracy, never.seconds_to_accuracy) == (12, None, None)
    assert "to a validation accuracy of 0.9" in repr(result)


@pytest.mark.parametrize("target", TARGETS)
def test_a_run_that_diverges_is_a_row_that_says_so(target):
    trainer = trainer_of([Dense(1)], loss="mse", target=target)
    result = sweep(trainer, X, REAL, 50, grid={"learning_rate": [0.1, 1e6, 1e36]})
    assert [run.diverged for run in result] == [False, True, True]
    assert result[2].epochs < 50
    assert result.best is result[0] and result.best_settings == {"learning_rate": 0.1}
    assert repr(result).splitlines()[1].split()[-1] == "diverged"
    assert repr(result).splitlines()[-1].endswith("yes")


def test_every_run_has_an_early_stopping_of_its_own():
    stopping = EarlyStopping(patience=0)
    grid = {"learning_rate": [0.1, 2.0, 5.0]}
    trainer = trainer_of(target="cpu")
    result = sweep(trainer, X, LABELS, 40, grid=grid, callbacks=[stopping], **VALIDATION)
    assert stopping.best is None
    for run in result:
        alone = trainer_of(target="cpu", optimizer=SGD(run.settings["learning_rate"]))
        alone.fit(X, LABELS, 40, callbacks=[EarlyStopping(patience=0)], **VALIDATION)
        assert run.epochs == alone.epoch
        assert run.validation_loss == alone.history.validation_loss[alone.epoch - 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batchsize": [1]}, "unknown setting 'batchsize'; did you mean 'batch_size'"),
        ({"unit": [1]}, "unknown setting 'unit'; did you mean 'units'"),
        ({"beta1": [0.5]}, "with beta1=0.5: unknown setting of SGD 'beta1'.* learning_rate"),
        ({"batch_size": [4, 0]}, "with batch_size=0: batch_size must be a whole number"),
        ({"units": [0]}, "with units=0: units of a Dense layer must be"),
        ({"precision": ["float32", "tf23"]}, "with precision=tf23: .* did you mean 'tf32'"),
        ({"dropout": [1.0]}, "with dropout=1: dropout rate must be"),
        ({"batch_size": 4}, r"grid\['batch_size'\] must be a list of values, not 4"),
        ({"loss": "mse"}, r"grid\['loss'\] must be a list of values, not 'mse'"),
        ({"batch_size": []}, r"grid\['batch_size'\] is empty"),
        ([1], "grid must map names to lists"),
        ({1: [2]}, "grid must map names to lists"),
        ({"seed": [1, 2]}, r"give seeds=\[...\] instead"),
        ({"threads": [1, 2]}, "every run of a sweep has one thread"),
        ({"epochs": [1, 2]}, "'epochs', but that is an argument of sweep"),
        ({"seconds": [1, 2]}, "'seconds', which is the name of a result"),
        ({"units": {1: 2}}, r"grid\['units'\] must be a list of values, not \{1: 2\}"),
        ({"units": {4, 2}}, r"grid\['units'\] must be a list of values"),
        ({"loss": ["mse"]}, "with loss=mse: y has"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    trainer = trainer_of((Dense(6), Dropout(0.3), Dense(3)))
    y = np.stack([LABELS, LABELS], axis=1)[:, 0] if settings != {"loss": ["mse"]} else LABELS
    with pytest.raises(InvalidInput, match=message):
        sweep(trainer, X, y, 1, grid=settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs of a sweep must be a whole number of at least 1, not 0"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1"),
        ({"seeds": []}, "seeds must be at least one, all of them different"),
        ({"seeds": [1, 1]}, "seeds must be at least one, all of them different"),
        ({"seeds": "12"}, "seeds must be a whole number"),
        ({"seeds": [-1]}, "a seed must be a whole number of at least 0"),
        ({"workers": 0}, "workers must be a whole number of at least 1"),
        ({"accuracy": 0.9}, "of which there are none; pass validation_data"),
        ({"accuracy": 0.0, **VALIDATION}, r"accuracy must be a finite number in \(0, 1\]"),
        ({"accuracy": 97, **VALIDATION}, "accuracy must be a finite number"),
        ({"stop": True}, "give accuracy, such as 0.97"),
        ({"stop": 1}, "stop must be True or False"),
        ({"make": 3}, "make must be a Trainer, or a function"),
        ({"make": lambda: None}, "make must return a Trainer, not None"),
        ({"make": lambda width, /: None}, "make must take its settings by name, but 'width'"),
        ({"make": lambda width: None}, "make needs 'width', which the grid does not have"),
        ({"callbacks": 3}, "callbacks must be a function"),
        ({"callbacks": [EarlyStopping()]}, "watches the validation_loss"),
        ({"validation_data": 3}, "validation_data must be"),
        ({"X": X[:, :2]}, "X has 2 columns"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(changes, message):
    arguments = {"make": trainer_of(), "X": X, "y": LABELS, "epochs": 1, "grid": {}} | changes
    with pytest.raises(InvalidInput, match=message):
        sweep(**arguments)


def test_a_trainer_that_has_trained_is_no_new_one_but_has_settings():
    trained = trainer_of()
    trained.fit(X, LABELS, 1)
    with pytest.raises(InvalidInput, match="make must return a new Trainer, but this one has done"):
        sweep(lambda seed: trained, X, LABELS, 1, grid={})
    again = sweep(trained, X, LABELS, 1, grid={})
    assert again[0].training_loss == trained.history.loss[0]


def test_units_need_a_hidden_layer_and_an_accuracy_needs_labels():
    trainer = trainer_of([Dense(1)], loss="mse")
    with pytest.raises(InvalidInput, match="'units' is a setting of every hidden layer"):
        sweep(trainer, X, REAL, 1, grid={"units": [3]})
    with pytest.raises(InvalidInput, match="'dropout' is a setting of every Dropout"):
        sweep(trainer, X, REAL, 1, grid={"dropout": [0.3]})
    with pytest.raises(InvalidInput, match="loss 'mse' has no accuracy to reach"):
        sweep(trainer, X, REAL, 1, grid={}, accuracy=0.5, validation_data=(X, REAL))


def test_an_error_in_the_callback_of_every_run_comes_out():
    def fail(trainer, history):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        sweep(trainer_of(target="cpu"), X, LABELS, 50, grid=GRID, callbacks=[fail], workers=2)
    assert not [each for each in threading.enumerate() if each.name.startswith("fastnn-worker")]


LONG = """
import numpy as np
from fastnn import SGD, Dense, Network, Trainer, sweep

row = np.linspace(-1, 1, 64, dtype=np.float32)
X = np.broadcast_to(row, (4_000_000, 64))
y = np.zeros(len(X), np.int64)
trainer = Trainer(Network(64, [Dense(64, "relu"), Dense(10)]), optimizer=SGD(1e-3))
sweep(trainer, X[:640], y[:640], 1, grid={"batch_size": [32, 64]})
print("ready", flush=True)
try:
    sweep(trainer, X, y, 10**6, grid={"batch_size": [32, 64, 128]}, seeds=2)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@needs_signals
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="an epoch of this size takes minutes")
def test_ctrl_c_ends_all_runs_soon():
    assert interrupted(LONG) == ""
