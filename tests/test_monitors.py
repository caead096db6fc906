"""What EarlyStopping, ReduceOnPlateau and Checkpoint watch, and which way is better."""

import math
import pickle

import numpy as np
import pytest
from trainer_cases import BINARY, LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Checkpoint,
    CSVLogger,
    Dense,
    EarlyStopping,
    InvalidInput,
    ReduceOnPlateau,
    Trainer,
    sweep,
)
from fastnn.storage.callback_states import CallbackState
from fastnn.training import loop
from fastnn.training.callbacks.states import states_of

VALIDATION = (X[:19], LABELS[:19])
LARGER = ("accuracy", "auc", "f1")


def negative_gap(y, outputs):
    return -float(np.abs(outputs[np.arange(len(y)), y]).mean())


def hits(y, outputs):
    return float((outputs.argmax(axis=1) == y).mean())


def fit(callbacks, epochs=12, metrics=(), **settings):
    trainer = trainer_of(optimizer=SGD(1.5), **settings)
    return trainer, trainer.fit(X, LABELS, epochs, VALIDATION, None, callbacks, 1, metrics)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["accuracy", "loss", "auc", "f1", "log_loss"])
def test_the_best_epoch_is_that_of_the_best_value(name, target):
    stopping = EarlyStopping(patience=2, monitor=f"validation_{name}")
    trainer, history = fit(stopping, epochs=20, target=target)
    values = history[f"validation_{name}"]
    index = int(np.argmax(values) if name in LARGER else np.argmin(values))
    assert history.best == index == stopping.best.epoch - 1
    assert len(history) < 20 and trainer.epoch == index + 1  # it stopped, and went back
    other, _ = fit((), epochs=trainer.epoch, target=target)
    assert [a.tobytes() for pair in trainer.parameters for a in pair] == [
        a.tobytes() for pair in other.parameters for a in pair
    ]


@pytest.mark.parametrize(
    ("function", "mode"), [(hits, "max"), (negative_gap, "max"), (hits, "min")]
)
def test_a_function_is_watched_and_is_in_the_history(function, mode):
    _, history = fit(EarlyStopping(patience=1, monitor=function, mode=mode))
    values = history[f"validation_{function.__name__}"]
    choose = np.argmax if mode == "max" else np.argmin
    assert None not in values and history.best == choose(values)
    if function is hits:
        assert values == history.validation_accuracy


def test_a_metric_of_the_callers_own_is_watched_by_its_name():
    stopping = EarlyStopping(patience=1, monitor="validation_h", mode="max")
    _, history = fit(stopping, metrics={"h": hits})
    assert history.best == np.argmax(history["validation_h"])


def test_a_mode_that_is_given_is_heeded_for_known_names():
    _, history = fit(EarlyStopping(100, "validation_auc", mode="min"))
    assert history.best == np.argmin(history["validation_auc"])


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("max", [0.5, 0.6, 0.65, 0.7, 0.71], 3),
        ("min", [0.5, 0.4, 0.35, 0.3, 0.29], 3),
        ("max", [math.nan, 0.2, math.nan, 0.1, 0.0], 1),
        ("max", [math.nan, -1.0, -3.0, -2.0, -0.5], 4),
    ],
)
def test_a_better_value_is_better_by_min_delta_and_nan_is_none(mode, values, best, monkeypatch):
    given = iter(values)

    def measured(problem, forward, data, metrics, take):
        return {"loss": 1.0, "accuracy": 0.5, "auc": next(given)}, None

    monkeypatch.setattr(loop, "measured", measured)
    trainer = trainer_of(target="numpy")  # one epoch at a time
    stopping = EarlyStopping(10, "validation_auc", 0.15, mode=mode)
    history = trainer.fit(X, LABELS, 5, VALIDATION, callbacks=stopping)
    assert history.best == best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.05])
def test_the_rate_falls_where_pytorchs_does_for_larger_values(threshold, seed):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    from types import SimpleNamespace

    from fastnn.training.history import History

    random = np.random.default_rng(seed)
    values = (1 - 1 / np.sqrt(np.arange(1, 61)) + 0.4 * random.random(60)).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", 0.5, 2, threshold, min_lr=0.01, eps=0.0
    )
    callback = ReduceOnPlateau(0.5, 2, threshold, 0.01, "validation_accuracy")
    trainer, history = SimpleNamespace(rate_factor=1.0), History()
    for value in values:
        history.append(1.0, 0.1, 0.5 * trainer.rate_factor, 0.5, value)
        callback(trainer, history)
        schedule.step(value)
        assert 0.5 * trainer.rate_factor == pytest.approx(optimizer.param_groups[0]["lr"])
    assert trainer.rate_factor < 1


def test_the_rate_falls_by_a_metric():
    trainer, history = fit(ReduceOnPlateau(0.5, 0, 0.0, monitor="validation_auc"))
    values, rate, best = history["validation_auc"], 1.0, -math.inf
    for value in values:
        rate, best = (rate, value) if value > best else (rate / 2, best)
    assert trainer.rate_factor == rate < 1


@pytest.mark.parametrize(
    ("best", "mode"),
    [("validation_auc", "auto"), ("validation_f1", "auto"), ("validation_log_loss", "auto"),
     (hits, "max"), ("validation_auc", "min")],
)  # fmt: skip
def test_the_checkpoint_of_the_best_epoch_is_that_of_the_best_value(best, mode, tmp_path):
    checkpoint = Checkpoint(tmp_path, best=best, mode=mode)
    _, history = fit(checkpoint)
    values = history[checkpoint.series()]
    smallest = mode == "min" or best == "validation_log_loss"
    saved = Trainer.load(tmp_path / "model-best.safetensors")
    assert saved.epoch == 1 + int(np.argmin(values) if smallest else np.argmax(values))
    assert saved.history[checkpoint.series()] == values[: saved.epoch]


@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_resumed_training_is_the_same_as_one_without_a_break(after, tmp_path):
    def callbacks(folder):
        return [
            EarlyStopping(3, "validation_auc", restore_best=True),
            ReduceOnPlateau(0.5, 1, monitor=hits, mode="max"),
            Checkpoint(tmp_path / folder, best="validation_f1"),
        ]

    class Killed(BaseException):
        pass

    def kill(trainer, history):
        if trainer.epoch == after + 1:
            raise Killed

    whole, _ = fit(callbacks("whole"))
    broken = trainer_of(optimizer=SGD(1.5))
    with pytest.raises(Killed):
        broken.fit(X, LABELS, 12, VALIDATION, callbacks=[*callbacks("broken"), kill])
    broken = Trainer.resume(tmp_path / "broken")
    assert broken.epoch == after
    broken.fit(X, LABELS, broken.remaining, VALIDATION, callbacks=callbacks("broken"))
    assert state_of(broken) == state_of(whole)
    assert broken.history.best == whole.history.best
    best = [
        Trainer.load(tmp_path / name / "model-best.safetensors") for name in ("whole", "broken")
    ]
    assert state_of(best[0]) == state_of(best[1])


def test_a_state_is_taken_only_by_what_watches_the_same():
    stopping = EarlyStopping(3, "validation_auc")
    trainer, _ = fit(stopping, epochs=3)
    (state,) = states_of((stopping,), trainer)
    same = EarlyStopping(5, "validation_auc", mode="max")
    same.take_state(state.values, trainer)
    assert same.best is not None
    for other in (
        EarlyStopping(3, "validation_auc", mode="min"),
        EarlyStopping(3, "validation_f1"),
        EarlyStopping(3),
    ):
        other.take_state(state.values, trainer)
        assert other.best is None


def test_states_from_before_there_were_modes_are_read(tmp_path):
    stopping = EarlyStopping(3)
    trainer, _ = fit([stopping, checkpoint := Checkpoint(tmp_path, best="loss")], epochs=3)
    stop, check = (state.values for state in states_of((stopping, checkpoint), trainer))
    del stop["sign"], check["sign"]
    assert check.keys() == {"by", "epoch"} and stop["monitor"] == "validation_loss"
    trainer._callback_states = [
        CallbackState("EarlyStopping", stop),
        CallbackState("Checkpoint", check),
    ]
    new = [EarlyStopping(3), Checkpoint(tmp_path, best="loss")]
    trainer.fit(X, LABELS, 0, VALIDATION, callbacks=new)
    assert new[0].best.epoch == stopping.best.epoch and new[1]._best == checkpoint._best


def test_pickles_from_before_there_were_modes_watch_losses():
    for callback in (EarlyStopping(3), ReduceOnPlateau()):
        older = type(callback).__new__(type(callback))
        older.__setstate__({k: v for k, v in vars(callback).items() if k != "mode"})
        assert older == callback
        trainer, history = fit(older, epochs=3)
        assert len(history) == 3
    again = pickle.loads(pickle.dumps(EarlyStopping(1, hits, mode="max")))
    assert again.monitor is hits


def rows(y, predictions):
    return len(predictions)


@pytest.mark.parametrize("monitor", ["validation_auc", "validation_loss", rows])
@pytest.mark.parametrize("target", TARGETS)
def test_a_rate_falls_by_what_an_earlier_fit_did_not_measure(monitor, target, tmp_path):
    settings = {"patience": 0, "threshold": 0.9, "monitor": monitor}
    trainer = trainer_of([Dense(1)], loss="binary_cross_entropy", target=target)
    trainer.fit(X, BINARY, 2)
    trainer.save(tmp_path / "m.safetensors")
    loaded = Trainer.load(tmp_path / "m.safetensors")
    for each in (trainer, loaded):
        watching = ReduceOnPlateau(**settings, mode="max" if monitor is rows else "auto")
        each.fit(X, BINARY, 3, validation_data=(X, BINARY), callbacks=watching)
        assert each.rate_factor == pytest.approx(0.01)  # the first of three is the best


@pytest.mark.parametrize("monitor", ["validation_loss", "loss"])
def test_losses_with_another_smoothing_are_not_compared(monitor):
    trainer, watching = trainer_of(), EarlyStopping(3, monitor=monitor)
    validation = {"validation_data": (X, LABELS)}
    trainer.fit(X, LABELS, 20, callbacks=watching, **validation)
    done = trainer.epoch
    trainer.set(label_smoothing=0.5)  # all losses are larger than before
    trainer.fit(X, LABELS, 8, callbacks=watching, **validation)
    assert trainer.label_smoothing == 0.5 and trainer.epoch > done


def test_an_object_that_watches_something_else_now_starts_anew():
    stopping = EarlyStopping(5, "loss")
    trainer, _ = fit(stopping, epochs=2)
    stopping.monitor = "validation_auc"
    history = trainer.fit(X, LABELS, 2, VALIDATION, callbacks=stopping)
    assert history.best >= 2 and history["validation_auc"][:2] == [None, None]


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceOnPlateau, Checkpoint])
@pytest.mark.parametrize(
    ("monitor", "mode", "message"),
    [
        ("val_loss", "auto", "must be one of loss, validation_loss, .*, not 'val_loss'"),
        ("auc", "max", "must be one of .*validation_auc.*, not 'auc'"),
        ("seconds", "max", "must be one of .*, not 'seconds'"),
        ("validation_mine", "auto", "must be one of .*with mode='min' or mode='max', .*not 'val"),
        ("validation_", "max", "must be one of"),
        (3, "max", "must be one of .*, not 3"),
        (hits, "auto", "function .*hits.*give mode='max' if it is"),
        ("loss", "least", "unknown mode 'least'"),
        ("loss", None, "unknown mode None"),
    ],
)
def test_monitors_that_cannot_be_watched_are_refused_at_once(kind, monitor, mode, message):
    with pytest.raises(InvalidInput, match=message):
        if kind is Checkpoint:
            Checkpoint("model", best=monitor, mode=mode)
        else:
            kind(monitor=monitor, mode=mode)


@pytest.mark.parametrize("make", [EarlyStopping, ReduceOnPlateau])
def test_a_monitor_that_the_history_will_not_have_is_refused_with_those_there_are(make):
    trainer = trainer_of()
    callback = make(monitor="validation_mine", mode="max")
    for call in (
        lambda: trainer.fit(X, LABELS, 2, VALIDATION, None, callback, 1, "auc"),
        lambda: trainer.fit(X, LABELS, 2, VALIDATION, None, callback, 2, "auc"),
        lambda: sweep(
            trainer, X, LABELS, 2, grid={"l2": [0]}, validation_data=VALIDATION,
            callbacks=callback, metrics="auc",
        ),
    ):  # fmt: skip
        with pytest.raises(
            InvalidInput,
            match="watches 'validation_mine'.*loss, validation_loss, validation_accuracy, "
            "validation_auc; watch one of those",
        ):
            call()
    regression = trainer_of([Dense(1)], loss="mse")
    for monitor in ("validation_accuracy", "validation_auc"):
        with pytest.raises(InvalidInput, match="mse|watches 'validation_accuracy'"):
            regression.fit(X, REAL, 1, (X, REAL), callbacks=make(monitor=monitor))
    with pytest.raises(InvalidInput, match="watches the validation_auc, but there are no valid"):
        trainer.fit(X, LABELS, 1, callbacks=make(monitor="validation_auc"))
    with pytest.raises(InvalidInput, match="watches the validation_hits, but there are no valid"):
        trainer.fit(X, LABELS, 1, callbacks=make(monitor=hits, mode="max"))
    with pytest.raises(InvalidInput, match="'hits' takes none"):
        weighted = (X, LABELS, WEIGHTS)
        trainer.fit(X, LABELS, 1, weighted, callbacks=make(monitor=hits, mode="max"))
    with pytest.raises(InvalidInput, match="needs a name"):
        nameless = make(monitor=lambda y, z: 1, mode="max")
        trainer.fit(X, LABELS, 1, VALIDATION, callbacks=nameless)
    assert trainer.epoch == 0 and not trainer.history.metrics


def test_one_function_watched_twice_is_measured_once():
    calls = []

    def counted(y, outputs):
        calls.append(1)
        return 1.0

    both = [
        EarlyStopping(monitor=counted, mode="max"),
        ReduceOnPlateau(monitor=counted, mode="max"),
    ]
    fit(both, epochs=3, metrics=[counted])
    assert len(calls) == 3


@pytest.mark.parametrize("target", TARGETS)
def test_every_restart_stops_by_its_own_metric(target):
    trainer = trainer_of(optimizer=SGD(1.5), target=target)
    stopping = EarlyStopping(2, "validation_auc")
    history = trainer.fit(X, LABELS, 10, VALIDATION, callbacks=stopping, restarts=3)
    for restart in history.restarts:
        alone = trainer_of(optimizer=SGD(1.5), seed=restart.seed, target=target)
        alone.fit(X, LABELS, 10, VALIDATION, callbacks=EarlyStopping(2, "validation_auc"))
        assert restart.epochs == alone.epoch
    losses = [restart.validation_loss for restart in history.restarts]
    assert history.restarts.best == np.argmin(losses)
    assert stopping.best.epoch == history.best + 1


def test_every_run_of_a_sweep_stops_by_its_own_metric():
    stopping = EarlyStopping(1, "validation_auc")
    result = sweep(
        trainer_of(optimizer=SGD(1.5)), X, LABELS, 8, grid={"batch_size": [4, 8]},
        validation_data=VALIDATION, callbacks=stopping,
    )  # fmt: skip
    for run in result:
        alone = trainer_of(optimizer=SGD(1.5), batch_size=run.settings["batch_size"])
        alone.fit(X, LABELS, 8, VALIDATION, callbacks=EarlyStopping(1, "validation_auc"))
        assert run.epochs == alone.epoch
        assert run.metrics["validation_auc"] == alone.history["validation_auc"][alone.epoch - 1]


def test_a_binary_network_stops_by_its_area_and_logs_it(tmp_path):
    trainer = trainer_of([Dense(4, "tanh"), Dense(1)], loss="binary_cross_entropy")
    history = trainer.fit(
        X, BINARY, 6, (X, BINARY),
        callbacks=[EarlyStopping(6, "validation_auc"), CSVLogger(tmp_path / "log.csv")],
    )  # fmt: skip
    assert (tmp_path / "log.csv").read_text().splitlines()[0].endswith(",validation_auc")
    assert history.best == np.argmax(history["validation_auc"])
