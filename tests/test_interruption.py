"""Whatever ends an epoch early, the trainer is as the last whole epoch left it."""

import copy

import numpy as np
import pytest
from ctrl_c import LONG_EPOCH, interrupted, needs_signals
from numba import config
from trainer_cases import LABELS, REAL, TARGETS, X, state_of, trainer_of

from fastnn import SGD, Adam, Dense, Diverged
from fastnn.graph import sqrt
from fastnn.inputs.data import check_data
from fastnn.targets.numpy import epoch as reference_epoch
from fastnn.threads.atomic import at_once
from fastnn.threads.pool import Task
from fastnn.training import trainer_state
from fastnn.training.loop import Training
from fastnn.training.progress import Watch

ONE = [Dense(1)]


def after(method, error, calls=1):
    """Return `method`, but for raising `error` at the end of call number `calls`."""
    count = 0

    def wrapped(*arguments):
        nonlocal count
        count += 1
        result = method(*arguments)
        if count == calls:
            raise error
        return result

    return wrapped


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no room")])
@pytest.mark.parametrize("method", ["train_epochs", "finite", "forward"])
def test_an_error_inside_an_epoch_takes_it_back(method, error, target, monkeypatch):
    stopped, other = (trainer_of(target=target, optimizer=Adam(0.01)) for _ in range(2))
    other.fit(X, LABELS, epochs=2, validation_data=(X, LABELS))
    engine = stopped._open()
    with monkeypatch.context() as patch:
        patch.setattr(engine, method, after(getattr(engine, method), error, calls=3))
        with pytest.raises(type(error)):
            stopped.fit(X, LABELS, 5, validation_data=(X, LABELS), callbacks=lambda *_: None)
    assert state_of(stopped) == state_of(other)
    stopped.fit(X, LABELS, epochs=1, validation_data=(X, LABELS))
    other.fit(X, LABELS, epochs=1, validation_data=(X, LABELS))
    assert state_of(stopped) == state_of(other)


@pytest.mark.parametrize("after", [False, True])
def test_an_epoch_is_entered_all_at_once(after, monkeypatch):
    stopped, other = trainer_of(), trainer_of()
    other.fit(X, LABELS, epochs=1 + after)
    stopped.fit(X, LABELS, epochs=1)

    def interrupted(steps):
        if after:
            at_once(steps)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer_state, "at_once", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data = check_data(stopped.problem, X, LABELS)
            Training(stopped, data, None, 1, (), Watch(lambda: None)).run()
    assert state_of(stopped) == state_of(other)


def test_an_interruption_while_progress_is_drawn_takes_the_epoch_back(monkeypatch):
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=1)
    before = state_of(trainer)
    drawn = []

    def draw(progress, steps_done, loss):
        drawn.append(steps_done)
        if len(drawn) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.training.trainer.Progress.shown", True)
    monkeypatch.setattr("fastnn.training.trainer.Progress.update", draw)
    monkeypatch.setattr(reference_epoch, "PROGRESS_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, LABELS, epochs=1)
    assert drawn == [1, 2, 3]
    assert state_of(trainer) == before


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("mine")])
def test_an_error_in_a_callback_leaves_its_epoch_done(error, target):
    stopped, other = trainer_of(target=target), trainer_of(target=target)

    def fail(trainer, history):
        if trainer.epoch == 2:
            raise error

    with pytest.raises(type(error)):
        stopped.fit(X, LABELS, epochs=5, callbacks=[fail])
    other.fit(X, LABELS, epochs=2)
    assert state_of(stopped) == state_of(other)


UNTIL_CTRL_C = """
try:
    trainer.fit(X, y, epochs=1)
except KeyboardInterrupt:
    print("stopped", flush=True)
print(unchanged(), trainer.epoch, trainer.step, len(trainer.history))
"""


@needs_signals
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="a step of this size takes seconds")
def test_ctrl_c_ends_a_long_epoch_of_the_cpu_target_soon():
    assert interrupted(LONG_EPOCH + UNTIL_CTRL_C, "cpu") == "True 2 20 2\n"


@pytest.mark.parametrize("target", TARGETS)
def test_a_loss_that_overflows_names_epoch_and_step_and_takes_the_epoch_back(target):
    trainer = trainer_of(ONE, loss="mse", target=target, shuffle=False, optimizer=SGD(0.1, 0.9))
    trainer.fit(X, REAL, epochs=2)
    before = state_of(trainer)
    wild = X.copy()
    wild[17] = 1e25  # in the third batch of eight
    with pytest.raises(
        Diverged, match="epoch 2, step 2 .*loss became inf.*row 17, .*was 0.1"
    ) as found:
        trainer.fit(wild, REAL, epochs=3)
    assert (found.value.epoch, found.value.step) == (2, 2)
    assert state_of(trainer) == before
    trainer.fit(X, REAL, epochs=1)
    other = trainer_of(ONE, loss="mse", target=target, shuffle=False, optimizer=SGD(0.1, 0.9))
    other.fit(X, REAL, epochs=3)
    assert state_of(trainer) == state_of(other)


@pytest.mark.parametrize("target", TARGETS)
def test_a_learning_rate_that_is_too_high_diverges(target):
    trainer = trainer_of(ONE, loss="mse", target=target, optimizer=SGD(100.0))
    with pytest.raises(Diverged, match="lower the learning rate, which was 100"):
        trainer.fit(X, REAL, epochs=100)
    assert trainer.epoch == len(trainer.history) < 100
    assert all(np.isfinite(array).all() for pair in trainer.parameters for array in pair)
    assert np.isfinite(trainer.history.loss).all()


@pytest.mark.parametrize("target", TARGETS)
def test_a_loss_that_is_nan_before_any_update_is_not_blamed_on_the_rate(target):
    trainer = trainer_of([Dense(3, sqrt), Dense(3)], target=target)
    with pytest.raises(
        Diverged, match="nan before any update; X and y are not large.* of your own"
    ) as found:
        trainer.fit(X, LABELS, epochs=1)
    assert "rate" not in str(found.value)


@pytest.mark.parametrize("target", TARGETS)
def test_an_update_that_overflows_after_the_last_loss_diverges_in_the_last_step(target):
    trainer = trainer_of(ONE, loss="mse", target=target, optimizer=SGD(1e38), batch_size=20)
    before = state_of(trainer)
    with pytest.raises(Diverged, match="epoch 0, step 0 .*not finite") as found:
        trainer.fit(1e3 * X[:20], 1e3 * REAL[:20], epochs=3)
    assert (found.value.epoch, found.value.step) == (0, 0)
    assert state_of(trainer) == before


@pytest.mark.parametrize("target", TARGETS)
def test_optimizer_state_that_overflows_diverges_though_the_loss_is_finite(target):
    """Adam's mean of g^2 becomes infinite, and would hold every weight still from then on."""
    trainer = trainer_of(ONE, loss="mae", target=target, optimizer=Adam(0.1))
    before = state_of(trainer)
    with pytest.raises(Diverged, match="state was not finite") as found:
        trainer.fit(1e25 * X, REAL, epochs=1)
    assert found.value.step == 4
    assert state_of(trainer) == before


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="needs compiled kernels")
@pytest.mark.parametrize("threads", [1, 2])
def test_whatever_ctrl_c_interrupts_the_next_call_waits_for_all_threads(threads, monkeypatch):
    from fastnn.targets.cpu import engine

    trainer = trainer_of(target="cpu", threads=threads)
    trainer.fit(X, LABELS, epochs=1)
    before, real_wait, presses = state_of(trainer), Task._wait, iter(range(2))
    monkeypatch.setattr(engine, "SHORT_SECONDS", 0.0)

    def wait(task, seconds):
        if next(presses, None) is not None:
            raise KeyboardInterrupt
        return real_wait(task, seconds)

    monkeypatch.setattr(Task, "_wait", wait)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, LABELS, epochs=1)
    assert state_of(trainer) == before
    again, other = copy.copy(trainer), trainer
    assert other.fit(X, LABELS, epochs=2).loss == again.fit(X, LABELS, epochs=2).loss
    assert next(presses, None) is None


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="needs compiled kernels")
def test_an_epoch_that_diverged_does_not_count_as_a_short_one():
    trainer = trainer_of(ONE, loss="mse", target="cpu", threads=1)
    trainer.fit(X, REAL, epochs=1)
    known, trainer.rate_factor = trainer._open().seconds_per_row, 1e30
    with pytest.raises(Diverged):
        trainer.fit(X, REAL, epochs=1)
    assert trainer._open().seconds_per_row == known
