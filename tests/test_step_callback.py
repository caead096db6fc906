"""A look between the steps of an epoch: it changes no bit, and an error takes the epoch back."""

import copy
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pairs import all_pairs
from simulator import SIMULATED
from trainer_cases import BINARY, LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    AveragedSGD,
    Dense,
    Diverged,
    Dropout,
    EarlyStopping,
    InvalidInput,
    Nadam,
    StepCallback,
    TrainerBusy,
    sweep,
)

pytestmark = pytest.mark.skipif(SIMULATED, reason="a launch of CUDA does many steps")
LAYERS = {
    "dropout": [Dropout(0.2), Dense(9, "rrelu"), Dropout(0.4), Dense(3)],
    "narrow": [Dense(2, "prelu"), Dense(3, max_norm=1.0)],
    "own": [Dense(5, lambda z: z * z / (1 + z * z)), Dense(3)],
}
OPTIMIZERS = {
    "sgd": SGD(0.1),
    "nadam": Nadam(0.01),
    "averaged": AveragedSGD(0.1, start=3),
    "adam": Adam(0.01),
}


def nothing(*arguments):
    """Do nothing."""


def use(trainer, step, loss):
    """Do all that a view can do."""
    trainer.predict(X[:5])
    trainer.evaluate(X, LABELS, metrics=["f1"])
    assert trainer.step == step
    for pair in trainer.parameters:
        for array in pair:
            array[:] = 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("layers", "batch_size", "every"), all_pairs(LAYERS, [8, 37, 1], [1, 2, 5, 7, 100])
)
def test_training_comes_to_the_same_bits(layers, batch_size, every, target):
    for number, optimizer in enumerate(OPTIMIZERS.values()):
        settings = {
            "layers": LAYERS[layers], "target": target, "batch_size": batch_size,
            "optimizer": optimizer, "threads": 1 + number % 3,
            "clip_norm": 1.0 if number % 2 else None,
            "dtype": ["float32", "float64"][number % 2],
        }  # fmt: skip
        plain, watched = trainer_of(**settings), trainer_of(**settings)
        weights = WEIGHTS if number > 1 else None
        plain.fit(X, LABELS, 3, sample_weight=weights)
        watched.fit(X, LABELS, 3, sample_weight=weights, callbacks=StepCallback(use, every))
        assert state_of(watched) == state_of(plain)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layers", [[Dense(1)], [Dense(1, "tanh")], [Dense(1, max_norm=0.5)]])
@pytest.mark.parametrize("optimizer", [SGD(0.05), SGD(0.05, momentum=0.9), Nadam(0.01)])
def test_a_linear_model_comes_to_the_same_bits(optimizer, layers, target):
    settings = {"layers": layers, "loss": "mse", "target": target, "optimizer": optimizer}
    plain, watched = trainer_of(**settings), trainer_of(**settings)
    plain.fit(X, REAL, 3)
    watched.fit(X, REAL, 3, callbacks=StepCallback(lambda t, s, loss: t.predict(X), every=2))
    assert state_of(watched) == state_of(plain)


@pytest.mark.parametrize("target", TARGETS)
def test_a_view_is_the_network_after_so_many_steps(target):
    # One row a step, and what remains of the epoch left out: an epoch of the first rows alone.
    settings = {"target": target, "batch_size": 5, "shuffle": False, "optimizer": Adam(0.01)}
    seen = {}

    def look(trainer, step, loss):
        seen[step] = trainer.parameters, trainer.forward(X), trainer.epoch, len(trainer.history)

    trainer_of(**settings).fit(X, LABELS, 1, callbacks=StepCallback(look, 1))
    assert list(seen) == list(range(1, 9))
    for step, (parameters, outputs, epoch, epochs) in seen.items():
        short = trainer_of(**settings)
        short.fit(X[: 5 * step], LABELS[: 5 * step], 1)
        for found, wanted in zip(parameters, short.parameters, strict=True):
            for a, b in zip(found, wanted, strict=True):
                assert (a == b).all()
        assert (outputs == short.forward(X)).all()
        assert (epoch, epochs) == (0, 0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("every", [1, 3, 4, 5, 9, 20])
def test_the_loss_is_the_mean_since_the_last_call(every, weights, target):
    def losses(every):
        found = []
        trainer = trainer_of(target=target, dtype="float64")
        look = StepCallback(lambda t, step, loss: found.append((step, loss)), every)
        trainer.fit(X, LABELS, 4, sample_weight=weights, callbacks=[look])
        return found, trainer

    each, trainer = losses(1)
    assert [step for step, _ in each] == list(range(1, 21))
    order = np.concatenate([trainer._open().orders(range(4), 37)[e] for e in range(4)])
    weights = np.ones(37) if weights is None else weights
    steps = [
        weights[order[37 * e + a : 37 * e + min(a + 8, 37)]].sum()
        for e in range(4)
        for a in range(0, 37, 8)
    ]
    found, _ = losses(every)
    assert [step for step, _ in found] == list(range(every, 21, every))
    for step, loss in found:
        part = slice(step - every, step)
        assert_allclose(loss, np.average([loss for _, loss in each][part], weights=steps[part]))


def test_two_functions_have_their_own_turns():
    calls = []
    callbacks = [
        StepCallback(lambda t, step, loss: calls.append(("a", step)), 2),
        StepCallback(lambda t, step, loss: calls.append(("b", step)), 3),
        lambda trainer, history: calls.append(("epoch", trainer.step)),
    ]
    trainer_of().fit(X, LABELS, 2, callbacks=callbacks)
    assert calls == [
        ("a", 2), ("b", 3), ("a", 4), ("epoch", 5),
        ("a", 6), ("b", 6), ("a", 8), ("b", 9), ("a", 10), ("epoch", 10),
    ]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
def test_an_error_takes_the_epoch_back_and_comes_out(error, threads, target):
    def fail(trainer, step, loss):
        if step == 8:
            raise error

    settings = {"target": target, "threads": threads, "optimizer": Adam(0.01)}
    stopped, other = trainer_of(**settings), trainer_of(**settings)
    with pytest.raises(type(error)):
        stopped.fit(X, LABELS, 5, callbacks=StepCallback(fail, 1))
    other.fit(X, LABELS, 1)
    assert state_of(stopped) == state_of(other) and stopped.remaining == 4
    stopped.fit(X, LABELS, 2)
    other.fit(X, LABELS, 2)
    assert state_of(stopped) == state_of(other)


@pytest.mark.parametrize("target", TARGETS)
def test_the_trainer_itself_is_as_before_the_epoch_and_may_not_be_used(target):
    trainer = trainer_of(target=target)
    seen = []

    def look(view, step, loss):
        assert trainer.epoch == view.epoch and trainer.step < view.step
        seen.append(copy.copy(trainer).epoch)
        for use in (
            lambda: trainer.predict(X),
            lambda: trainer.set_parameters(trainer.parameters),
            lambda: setattr(trainer, "rate_factor", 0.5),
            lambda: trainer.fit(X, LABELS, 1),
        ):
            with pytest.raises(TrainerBusy):
                use()
        assert not hasattr(view, "set_parameters") and not hasattr(view, "fit")
        with pytest.raises(AttributeError):
            view.parameters = []

    trainer.fit(X, LABELS, 2, callbacks=StepCallback(look, 3))
    assert seen == [0, 1, 1]


def test_a_view_is_over_when_the_function_returns():
    kept = []
    trainer_of().fit(X, LABELS, 1, callbacks=StepCallback(lambda *all: kept.append(all[0]), 5))
    assert kept[0].step == 5
    for use in (lambda: kept[0].parameters, lambda: kept[0].predict(X)):
        with pytest.raises(TrainerBusy, match="keep view.parameters"):
            use()


@pytest.mark.parametrize("target", TARGETS)
def test_whoever_ends_training_is_asked_between_short_parts(target, monkeypatch):
    monkeypatch.setattr("fastnn.targets.cpu.engine.TICK_SECONDS", 0.0)
    monkeypatch.setattr("fastnn.targets.numpy.epoch.PROGRESS_SECONDS", 0.0)
    steps = []

    def update(self, step, loss):
        steps.append((step, np.isfinite(loss)))
        if len(steps) == 3:
            raise KeyboardInterrupt

    trainer = trainer_of(target=target, threads=1)
    trainer.fit(X, LABELS, 2)
    monkeypatch.setattr("fastnn.training.trainer.Progress.shown", True)
    monkeypatch.setattr("fastnn.training.trainer.Progress.update", update)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, LABELS, 2, callbacks=StepCallback(nothing, 1))
    assert steps == [(1, True), (2, True), (3, True)] and trainer.epoch == 2


def test_what_a_function_returns_stops_nothing():
    trainer = trainer_of()
    trainer.fit(X, LABELS, 2, callbacks=StepCallback(lambda *all: True, 1))
    assert trainer.epoch == 2


def test_a_function_hears_of_numbers_that_overflow_as_elsewhere():
    def warn(trainer, step, loss):
        np.float32(3e38) * np.float32(10)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="overflow"):
            trainer_of().fit(X, LABELS, 1, callbacks=StepCallback(warn, 1))


@pytest.mark.parametrize("target", TARGETS)
def test_divergence_is_found_in_the_same_step(target):
    def diverge(**more):
        trainer = trainer_of([Dense(1)], loss="mse", target=target, optimizer=SGD(1e6))
        with pytest.raises(Diverged) as caught:
            trainer.fit(1e3 * X, REAL, 3, **more)
        return caught.value.epoch, caught.value.step, state_of(trainer)

    steps = []
    look = StepCallback(lambda t, step, loss: steps.append(step), 1)
    found = diverge(callbacks=look)
    assert found == diverge() and steps == list(range(1, 5 * found[0] + found[1] + 1))


def test_other_callbacks_and_metrics_go_with_it():
    settings = {"optimizer": SGD(1.5)}
    plain, watched = trainer_of(**settings), trainer_of(**settings)
    for trainer, more in ((plain, []), (watched, [StepCallback(use, 2)])):
        callbacks = [EarlyStopping(1, "validation_auc"), *more]
        trainer.fit(X, LABELS, 9, (X, LABELS), callbacks=callbacks, metrics="f1")
    assert state_of(plain) == state_of(watched)


@pytest.mark.parametrize(
    ("function", "every", "message"),
    [
        (3, 1, "takes a function .*, not 3"),
        (EarlyStopping, 1, "takes a function"),
        (print, 0, "every must be a whole number of at least 1, not 0"),
        (print, 1.5, "every must be"),
        (print, True, "every must be"),
    ],
)
def test_settings_out_of_range_are_refused(function, every, message):
    with pytest.raises(InvalidInput, match=message):
        StepCallback(function, every)


def test_trainings_whose_steps_cannot_be_told_apart_are_refused():
    look = StepCallback(print)
    with pytest.raises(InvalidInput, match="follows one training"):
        trainer_of().fit(X, LABELS, 1, callbacks=look, restarts=2)
    with pytest.raises(InvalidInput, match="follows one training"):
        sweep(trainer_of(), X, LABELS, 1, grid={"l2": [0]}, callbacks=look)
    linear = trainer_of([Dense(1)], loss="hinge", batch_size=1, target="cpu")
    with pytest.raises(InvalidInput, match="batch_size=2, a momentum, or target='numpy'"):
        linear.fit(X, BINARY, 1, callbacks=look)
    assert linear.epoch == 0


def test_a_launch_of_cuda_cannot_be_looked_into(monkeypatch):
    from fastnn.targets.cuda.engine import Engine
    from fastnn.training.callbacks import step_callback

    monkeypatch.setattr(step_callback, "choose", lambda target, problem: ("cuda", ""))
    monkeypatch.setattr(step_callback, "engine_class", lambda target: Engine)
    with pytest.raises(InvalidInput, match="target 'cuda', where one launch does many steps"):
        trainer_of().fit(X, LABELS, 1, callbacks=StepCallback(print))


@pytest.mark.parametrize(
    "hook",
    [
        "on_batch_end", "on_batch_begin", "on_train_batch_end", "on_train_batch_begin",
        "on_train_batch_start", "on_before_backward", "on_after_backward", "on_before_zero_grad",
        "on_before_optimizer_step", "on_step_end", "after_batch", "before_step",
    ],
)  # fmt: skip
@pytest.mark.parametrize("callable_too", [False, True])
def test_callbacks_once_a_batch_are_refused_with_the_reason(hook, callable_too):
    methods = {hook: nothing, "on_epoch_end": nothing}
    kind = type("Hooks", (), methods | ({"__call__": nothing} if callable_too else {}))
    trainer = trainer_of()
    for call in (
        lambda: trainer.fit(X, LABELS, 1, callbacks=[print, kind()]),
        lambda: sweep(trainer, X, LABELS, 1, grid={"l2": [0]}, callbacks=[print, kind()]),
    ):
        with pytest.raises(
            InvalidInput,
            match=rf"callbacks\[1\], .*has {hook}.*one compiled call.*StepCallback",
        ):
            call()
    assert trainer.epoch == 0


def test_objects_with_other_methods_are_callbacks():
    kind = type("Other", (), {"__call__": nothing, "on_epoch_end": nothing, "batch": nothing})
    assert len(trainer_of().fit(X, LABELS, 1, callbacks=kind())) == 1
    simple = SimpleNamespace(on_epoch_end=nothing)
    with pytest.raises(InvalidInput, match="must be a function"):
        trainer_of().fit(X, LABELS, 1, callbacks=simple)
