"""Where a training diverged, it can go on from the last good epoch with half the rate."""

import copy
import math

import pytest
from trainer_cases import REAL, TARGETS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Checkpoint,
    CorruptFile,
    Dense,
    Diverged,
    EarlyStopping,
    InvalidInput,
    Trainer,
    sweep,
)
from fastnn.schedules import Exponential
from fastnn.training.history import History, Restore

RISING = SGD(Exponential(0.01, 1.25), 0.9)


def diverging(**settings):
    """Return a trainer whose rate rises until the loss overflows."""
    defaults = {"layers": [Dense(1)], "loss": "mse", "optimizer": RISING}
    return trainer_of(**(defaults | settings))


@pytest.mark.parametrize("target", TARGETS)
def test_the_default_is_an_error(target):
    trainer = diverging(target=target)
    with pytest.raises(Diverged):
        trainer.fit(X, REAL, 40)
    assert not trainer.history.restores


@pytest.mark.parametrize("target", TARGETS)
def test_training_goes_on_from_the_last_good_epoch_with_half_the_rate(target):
    """As one would do it by hand, with a copy of the trainer made before each epoch."""
    trainer, by_hand = (
        diverging(target=target, on_divergence=on, max_restores=30) for on in ("restore", "raise")
    )
    history = trainer.fit(X, REAL, 22)
    assert len(history) == 22 and trainer.rate_factor == 0.5 ** len(history.restores)
    assert all(map(math.isfinite, history.loss))
    restores, failed, before = [], False, None
    while by_hand.epoch < 22:
        start = copy.copy(by_hand)
        try:
            by_hand.fit(X, REAL, 1)
            failed, before = False, start
        except Diverged as error:
            factor = by_hand.rate_factor
            rate = by_hand.problem.optimizer.learning_rate(by_hand.step + error.step) * factor
            if (failed or error.step == 0) and before is not None:
                by_hand.restore(before)
                by_hand.history.truncate(by_hand.epoch)
                before = None
            by_hand.rate_factor, failed = factor / 2, True
            restores.append(Restore(error.epoch, error.step, by_hand.epoch, rate, rate / 2))
    assert history.restores == restores and len(restores) > 2
    assert any(each.back_to < each.epoch for each in restores)
    vars(by_hand.history)["restores"] = restores
    assert state_of(trainer) == state_of(by_hand)


def test_so_often_and_no_more():
    trainer = diverging(on_divergence="restore", max_restores=2)
    with pytest.raises(Diverged, match="last good epoch left it, after 2 restores with half") as e:
        trainer.fit(X, REAL, 40)
    assert len(trainer.history.restores) == 2 and trainer.rate_factor == 0.25
    assert trainer.epoch == len(trainer.history) == e.value.epoch
    with pytest.raises(Diverged, match="after 2 restores"):
        trainer.fit(X, REAL, 40)
    trainer.max_restores = 3
    with pytest.raises(Diverged, match="after 3 restores"):
        trainer.fit(X, REAL, 40)


def test_the_history_tells():
    trainer = diverging(on_divergence="restore", max_restores=30)
    history = trainer.fit(X, REAL, 22)
    first = history.restores[0]
    line = f"epoch {first.epoch + 1} diverged, done anew from epoch {first.back_to + 1}: learning"
    assert line in repr(history)
    assert History.from_dict(history.to_dict()) == history
    copied = history.copy()
    copied.truncate(0)
    assert len(history.restores) > 2


@pytest.mark.parametrize("bad", [3, [3], [{"epoch": 1}], [{"epoch": -1, "step": 0}]])
def test_restores_that_cannot_have_been_saved_are_a_damaged_file(bad):
    values = History().to_dict() | {"restores": bad}
    with pytest.raises(CorruptFile, match="restores cannot be"):
        History.from_dict(values)


@pytest.mark.parametrize("first", range(1, 21))
def test_a_file_and_another_call_keep_the_bits(first, tmp_path):
    """Wherever training is cut, what to go back to is still known."""
    whole, parts = (diverging(on_divergence="restore", max_restores=30) for _ in range(2))
    whole.fit(X, REAL, 22)
    parts.fit(X, REAL, first, callbacks=Checkpoint(tmp_path))
    for again in (Trainer.resume(tmp_path), parts):
        again.fit(X, REAL, 22 - first)
        assert state_of(again) == state_of(whole)


def test_with_early_stopping_the_best_epoch_has_its_own_rate():
    trainer = diverging(on_divergence="restore", max_restores=30)
    trainer.fit(X, REAL, 30, callbacks=EarlyStopping(8, "loss"))
    before = [each for each in trainer.history.restores if each.back_to < trainer.epoch]
    assert len(before) < len(trainer.history.restores)
    assert trainer.rate_factor == 0.5 ** len(before)


@pytest.mark.parametrize("callbacks", [[], [lambda *_: None]], ids=["blocks", "epochs"])
@pytest.mark.parametrize("target", TARGETS)
def test_each_restart_restores_itself(callbacks, target):
    settings = {"target": target, "on_divergence": "restore", "max_restores": 30, "threads": 1}
    trainer = diverging(**settings)
    history = trainer.fit(X, REAL, 22, restarts=3, callbacks=callbacks)
    assert not any(each.diverged for each in history.restarts)
    assert [each.epochs for each in history.restarts] == [22] * 3
    alone = diverging(**settings, seed=trainer.problem.seed)
    alone.fit(X, REAL, 22)
    assert alone.history.restores == history.restores
    assert state_of(alone)[3] == state_of(trainer)[3]


def test_each_run_of_a_sweep_restores_itself():
    trainer = diverging(max_restores=30)
    result = sweep(trainer, X, REAL, 22, grid={"on_divergence": ["raise", "restore"]})
    assert [run.diverged for run in result] == [True, False]
    assert [run.epochs == 22 for run in result] == [False, True]


def test_divergence_before_any_update_stays_an_error():
    trainer = diverging(on_divergence="restore")
    trainer.set_parameters([(1e30 * W, b) for W, b in trainer.parameters])
    before = state_of(trainer)
    with pytest.raises(Diverged, match="diverged at once"):
        trainer.fit(X, REAL, 2)
    assert state_of(trainer) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on_divergence": "restored"}, "did you mean 'restore'"),
        ({"on_divergence": None}, "unknown on_divergence None"),
        ({"max_restores": 0}, "max_restores must be a whole number of at least 1, not 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidInput, match=message):
        trainer_of(**settings)
    trainer = trainer_of()
    for name, value in settings.items():
        before = getattr(trainer, name)
        with pytest.raises(InvalidInput, match=message):
            setattr(trainer, name, value)
        assert getattr(trainer, name) == before
