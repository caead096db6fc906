"""What fastnn brings along to be called after each epoch."""

import copy
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from trainer_cases import LABELS, TARGETS, X, state_of, trainer_of

from fastnn import SGD, Adam, EarlyStopping, InvalidInput, ReduceOnPlateau, Trainer
from fastnn.schedules import Exponential
from fastnn.training import loop
from fastnn.training.history import History

VALIDATION = {"validation_data": (X[:9], LABELS[:9])}


@pytest.fixture
def losses_are(monkeypatch):
    """Return a function that decides the validation loss of every epoch, by its number."""

    def decide(*losses):
        def measured(problem, engine, results, *more):
            found = []
            for number, result in enumerate(results, trainers[-1].epoch):
                own = {"validation_loss": losses[number % len(losses)], "validation_accuracy": 0.5}
                found.append(result._replace(measured=own))
            return found, None

        def train_block(trainer, *arguments):
            trainers.append(trainer)
            return original(trainer, *arguments)

        trainers, original = [], loop._train_block
        monkeypatch.setattr(loop, "_measured", measured)
        monkeypatch.setattr(loop, "_train_block", train_block)

    return decide


def arrays_of(trainer):
    """Return all that `restore` brings back, to the bit."""
    model = trainer.__getstate__()
    arrays = [
        array.tobytes()
        for layers in (model.parameters, *model.slots)
        for pair in layers
        for array in pair
    ]
    return model.epoch, model.step, model.rate_factor, arrays


def plateau_rates(callback, losses, rate):
    """Return the rate before each epoch and after the last, where epochs have these losses."""
    trainer, history, rates = SimpleNamespace(rate_factor=1.0), History(), [rate]
    for loss in losses:
        history.append(1.0, 0.1, rates[-1], loss, 0.5)
        callback(trainer, history)
        rates.append(rate * trainer.rate_factor)
    return rates


def test_the_rate_falls_after_one_epoch_too_many_without_a_better_loss():
    callback = ReduceOnPlateau(factor=0.5, patience=1, threshold=0.1)
    #             best  best  worse too little  -> count again  best
    losses = [1.0, 0.85, 0.86, 0.80, 0.9, 0.9, 0.5]
    assert plateau_rates(callback, losses, 0.4) == [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]


def test_the_rate_does_not_fall_below_the_minimum():
    callback = ReduceOnPlateau(factor=0.1, patience=0, min_lr=0.03)
    assert_allclose(plateau_rates(callback, [1.0] * 5, 1.0), [1, 1, 0.1, 0.03, 0.03, 0.03])
    assert plateau_rates(callback, [1.0] * 3, 0.01) == [0.01] * 4


def test_epochs_without_validation_and_losses_that_are_nan_are_no_better():
    callback = ReduceOnPlateau(factor=0.5, patience=1)
    rates = plateau_rates(callback, [1.0, None, math.nan, None, 1.0, None, 1.0], 1.0)
    assert rates == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5]


class Counted(list):
    """A list that counts how many of its entries have been read."""

    read = 0

    def __iter__(self):
        """Count all of them."""
        self.read += len(self)
        return super().__iter__()

    def __getitem__(self, index):
        """Count one, or those of a slice."""
        found = super().__getitem__(index)
        self.read += len(found) if isinstance(index, slice) else 1
        return found


def test_each_epoch_is_read_once():
    callback, trainer = ReduceOnPlateau(patience=3), SimpleNamespace(rate_factor=1.0)
    history = History()
    vars(history)["validation_loss"] = Counted()
    for epoch in range(300):
        history.append(1.0, 0.1 * epoch, 0.5, 1.0, 0.5)
        callback(trainer, history)
    assert history.validation_loss.read <= 600


def test_epochs_done_anew_and_other_histories_are_read_from_the_start():
    random, kept = np.random.default_rng(0), ReduceOnPlateau(0.5, patience=1, threshold=0.1)
    histories = [History(), History()]
    for _ in range(600):
        history = histories[random.integers(2)]
        if random.random() < 0.1:
            history.truncate(int(random.integers(len(history) + 1)))
        for _ in range(random.integers(1, 3)):  # the callback may be left out of a call of fit
            history.append(*random.random(4))
        rates = []
        for callback in (kept, ReduceOnPlateau(0.5, patience=1, threshold=0.1)):
            trainer = SimpleNamespace(rate_factor=1.0)
            callback(trainer, history)
            rates.append(trainer.rate_factor)
        assert rates[0] == rates[1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("factor", "patience", "threshold", "minimum"),
    [(0.1, 10, 1e-4, 0.0), (0.5, 0, 0.0, 0.0), (0.3, 2, 0.05, 0.01), (0.7, 1, 1e-4, 0.2)],
)
def test_the_rate_falls_where_pytorchs_does(factor, patience, threshold, minimum, seed):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    random = np.random.default_rng(seed)
    losses = (1 / np.sqrt(np.arange(1, 61)) + 0.4 * random.random(60)).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "min", factor, patience, threshold, min_lr=minimum, eps=0.0
    )
    expected = [0.5]
    for loss in losses:
        schedule.step(loss)
        expected.append(optimizer.param_groups[0]["lr"])
    found = plateau_rates(ReduceOnPlateau(factor, patience, threshold, minimum), losses, 0.5)
    assert_allclose(found, expected, rtol=1e-9)
    assert expected[-1] < 0.5


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("between", ["nothing", "file", "pickle"])
def test_two_epochs_and_four_are_six_to_the_bit_on_a_plateau(between, target, tmp_path):
    optimizer = Adam(Exponential(0.1, 0.99))
    whole, parts = (trainer_of(optimizer=optimizer, target=target) for _ in range(2))
    more = VALIDATION | {"callbacks": [ReduceOnPlateau(0.5, patience=1, threshold=0.3)]}
    whole.fit(X, LABELS, epochs=6, **more)
    parts.fit(X, LABELS, epochs=2, **more)
    if between == "file":
        parts.save(tmp_path / "model")
        parts = Trainer.load(tmp_path / "model")
    elif between == "pickle":
        parts, more = pickle.loads(pickle.dumps((parts, more)))
    parts.fit(X, LABELS, epochs=4, **more)
    assert whole.rate_factor <= 0.25
    assert parts.rate_factor == whole.rate_factor
    assert state_of(parts) == state_of(whole)


@pytest.mark.parametrize("target", TARGETS)
def test_every_rate_is_multiplied_by_the_rate_factor(target):
    half, plain = trainer_of(optimizer=SGD(0.5), target=target), trainer_of(target=target)
    half.rate_factor = 0.2
    half.fit(X, LABELS, epochs=2)
    plain.fit(X, LABELS, epochs=2)
    assert half.history.learning_rate == [0.1, 0.1]
    assert state_of(half) == state_of(plain)
    half.set_parameters(half.parameters)
    assert half.rate_factor == 1.0


def test_one_callback_needs_no_list():
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=20, callbacks=EarlyStopping(1, "loss", 10.0))
    assert trainer.epoch == 1 and len(trainer.history) == 3
    assert len(trainer_of().fit(X, LABELS, epochs=20, callbacks=lambda *_: True)) == 1


@pytest.mark.parametrize("factor", [-1.0, math.nan, math.inf, None])
def test_a_rate_factor_that_is_none_is_refused(factor):
    trainer = trainer_of()
    with pytest.raises(InvalidInput, match="rate_factor must be a finite number"):
        trainer.rate_factor = factor
    assert trainer.rate_factor == 1.0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("plateau_last", [False, True])
def test_training_stops_and_the_trainer_is_as_the_best_epoch_left_it(
    plateau_last, target, losses_are
):
    losses_are(0.9, 0.8, 0.85, 0.5, 0.6, 0.5, 0.7, 0.1)
    optimizer = Adam(Exponential(0.1, 0.99))
    stopped, other = (trainer_of(optimizer=optimizer, target=target) for _ in range(2))
    plateau, stopping = ReduceOnPlateau(0.5, patience=0), EarlyStopping(patience=2)
    both = [stopping, plateau] if plateau_last else [plateau, stopping]
    history = stopped.fit(X, LABELS, epochs=20, callbacks=both, **VALIDATION)
    other.fit(X, LABELS, epochs=4, callbacks=[plateau], **VALIDATION)
    assert arrays_of(stopped) == arrays_of(other) == arrays_of(stopping.best)
    assert stopped.rate_factor == 0.5
    assert history.validation_loss == [0.9, 0.8, 0.85, 0.5, 0.6, 0.5, 0.7]
    assert history.best == 3 and "the best is epoch 4" in repr(history)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("between", ["nothing", "file", "pickle"])
def test_training_on_after_a_stop_does_the_later_epochs_anew(between, target, losses_are, tmp_path):
    losses_are(0.9, 0.5, 0.6, 0.7, 0.4)
    stopped, other = (trainer_of(optimizer=Adam(0.01), target=target) for _ in range(2))
    stopped.fit(X, LABELS, epochs=20, callbacks=[EarlyStopping(patience=1)], **VALIDATION)
    assert (stopped.epoch, len(stopped.history)) == (2, 4)
    if between == "file":
        stopped.save(tmp_path / "model")
        stopped = Trainer.load(tmp_path / "model")
        assert (len(stopped.history), stopped.history.best) == (4, 1)
    elif between == "pickle":
        stopped = pickle.loads(pickle.dumps(stopped))
    stopped.fit(X, LABELS, epochs=1, **VALIDATION)
    other.fit(X, LABELS, epochs=3, **VALIDATION)
    assert stopped.history.best == 1
    stopped.history.best = None
    assert state_of(stopped) == state_of(other)


@pytest.mark.parametrize("between", ["nothing", "file", "pickle"])
@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_the_same_object_goes_on_counting_in_the_next_call(first, between, losses_are, tmp_path):
    losses_are(0.9, 0.5, 0.6, 0.7, 0.8)
    whole, parts = trainer_of(), trainer_of()
    whole.fit(X, LABELS, 9, callbacks=[EarlyStopping(patience=2)], **VALIDATION)
    stopping = EarlyStopping(patience=2)
    parts.fit(X, LABELS, first, callbacks=[stopping], **VALIDATION)
    assert parts.epoch == first
    if between == "file":
        parts.save(tmp_path / "model")
        parts = Trainer.load(tmp_path / "model")
    elif between == "pickle":
        parts, stopping = pickle.loads(pickle.dumps((parts, stopping)))
    parts.fit(X, LABELS, 9 - first, callbacks=[stopping], **VALIDATION)
    assert state_of(parts) == state_of(whole)
    assert (parts.epoch, len(parts.history)) == (2, 5)


def test_another_trainer_is_counted_anew(losses_are):
    losses_are(0.1, 0.9, 0.8, 0.7, 0.6)
    stopping = EarlyStopping(patience=1)
    first, second = trainer_of(seed=1), trainer_of(seed=2)
    first.fit(X, LABELS, epochs=1, callbacks=[stopping], **VALIDATION)
    second.fit(X, LABELS, epochs=1, **VALIDATION)
    second.fit(X, LABELS, epochs=4, callbacks=[stopping], **VALIDATION)
    assert second.epoch == 5 and second.history.best == 4


def test_without_restore_best_the_trainer_stays_where_it_stopped(losses_are):
    losses_are(0.5, 0.6, 0.7)
    trainer, other = trainer_of(), trainer_of()
    stopping = EarlyStopping(patience=1, restore_best=False)
    trainer.fit(X, LABELS, epochs=20, callbacks=[stopping], **VALIDATION)
    other.fit(X, LABELS, epochs=3)
    assert arrays_of(trainer) == arrays_of(other)
    assert trainer.history.best == 0 and stopping.best.epoch == 1


def test_where_the_epochs_run_out_the_trainer_stays_as_the_last_one_left_it(losses_are):
    losses_are(0.5, 0.6, 0.7)
    trainer, stopping = trainer_of(), EarlyStopping(patience=2)
    trainer.fit(X, LABELS, epochs=3, callbacks=[stopping], **VALIDATION)
    assert (trainer.epoch, trainer.history.best, stopping.best.epoch) == (3, 0, 1)


@pytest.mark.parametrize(("change", "best"), [(0.0, 3), (0.05, 3), (0.15, 0), (0.3, 0)])
def test_a_loss_that_is_hardly_smaller_is_no_better(change, best, losses_are):
    losses_are(0.5, 0.499, 0.498, 0.4)
    trainer = trainer_of()
    stopping = EarlyStopping(patience=9, min_delta=change)
    trainer.fit(X, LABELS, epochs=4, callbacks=[stopping], **VALIDATION)
    assert trainer.history.best == best


@pytest.mark.parametrize(
    ("losses", "best"), [((math.nan, 0.5, 0.6), 1), ((0.5, math.nan), 0), ((math.inf, 0.5), 1)]
)
def test_a_loss_that_is_no_number_is_worse_than_any_number(losses, best, losses_are):
    losses_are(*losses)
    trainer = trainer_of()
    trainer.fit(X, LABELS, epochs=len(losses), callbacks=[EarlyStopping()], **VALIDATION)
    assert trainer.history.best == best


def test_the_training_loss_can_be_watched_without_validation_data():
    trainer = trainer_of(optimizer=SGD(0.0), shuffle=False)
    rates = ReduceOnPlateau(0.5, patience=0, monitor="loss")
    trainer.fit(X, LABELS, epochs=20, callbacks=[EarlyStopping(1, "loss", 10.0), rates])
    assert trainer.history.best == 0 and len(trainer.history) == 3


@pytest.mark.parametrize("callback", [EarlyStopping(), ReduceOnPlateau()])
def test_watching_a_validation_loss_without_validation_data_is_refused_at_once(callback):
    trainer = trainer_of()
    before = state_of(trainer)
    with pytest.raises(InvalidInput, match=r"callbacks\[1\], .* pass validation_data=.*\"loss\""):
        trainer.fit(X, LABELS, epochs=1, callbacks=[print, callback])
    assert state_of(trainer) == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReduceOnPlateau(1.0), r"factor must be a finite number in \(0, 1\), not 1.0"),
        (lambda: ReduceOnPlateau(0.0), "factor must be"),
        (lambda: ReduceOnPlateau(patience=-1), "patience must be a whole number of at least 0"),
        (lambda: ReduceOnPlateau(threshold=1.0), "threshold must be"),
        (lambda: ReduceOnPlateau(min_lr=-0.1), "min_lr must be"),
        (lambda: ReduceOnPlateau(monitor="val_loss"), "monitor must be .* not 'val_loss'"),
        (lambda: EarlyStopping(patience=1.5), "patience must be"),
        (lambda: EarlyStopping(monitor="accuracy"), "monitor must be .* not 'accuracy'"),
        (lambda: EarlyStopping(monitor=[]), "monitor must be"),
        (lambda: EarlyStopping(min_delta=-1e-9), "min_delta must be"),
        (lambda: EarlyStopping(restore_best=1), "restore_best must be True or False, not 1"),
    ],
)
def test_settings_of_a_callback_out_of_range_are_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("epochs", [0, 2])
def test_a_copy_brings_a_trainer_back_to_where_it_was_made(epochs, target):
    trainer = trainer_of(optimizer=Adam(0.01), target=target)
    trainer.fit(X, LABELS, epochs)
    earlier = copy.copy(trainer)
    before = arrays_of(trainer)
    trainer.rate_factor = 0.5
    trainer.fit(X, LABELS, epochs=3)
    after = state_of(trainer)
    trainer.restore(earlier)
    assert arrays_of(trainer) == before
    assert len(trainer.history) == epochs + 3
    trainer.rate_factor = 0.5
    trainer.fit(X, LABELS, epochs=3)
    assert state_of(trainer) == after


def test_only_a_copy_of_the_trainer_itself_brings_it_back():
    trainer, wider, other = trainer_of(), trainer_of(batch_size=9), trainer_of()
    trainer.fit(X, LABELS, epochs=2)
    other.fit(X, LABELS, epochs=1)
    first = copy.copy(trainer)
    trainer.fit(X, LABELS, epochs=1)
    third = copy.copy(trainer)
    trainer.restore(first)
    trainer.fit(X, LABELS, epochs=1)
    before = state_of(trainer)
    for wrong in (None, trainer.parameters, wider, other, third):
        with pytest.raises(InvalidInput, match="restore takes an earlier copy.copy"):
            trainer.restore(wrong)
    assert state_of(trainer) == before
