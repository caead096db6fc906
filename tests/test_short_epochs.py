"""Short epochs of a plain `fit` are done many in a call: all is as if they were done one by one."""

import copy
import itertools
import math
import pickle
import threading
import time

import numpy as np
import pytest
from ctrl_c import interrupted, needs_signals
from numba import config
from scipy.sparse import csr_array
from simulator import SIMULATED
from trainer_cases import LABELS, REAL, TARGETS, WEIGHTS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    Dense,
    Diverged,
    Dropout,
    EarlyStopping,
    InvalidInput,
    Nadam,
    ReduceOnPlateau,
    Trainer,
)
from fastnn.inputs.data import Data
from fastnn.schedules import Exponential
from fastnn.training import loop
from fastnn.training.progress import Progress

TARGET = "cuda" if SIMULATED else "cpu"


def few(usual, simulated):
    """Return how many of something, or in Numba's simulator how many take a second."""
    return simulated if SIMULATED else usual


SETTINGS = {
    "adam": {"optimizer": Adam(0.01)},
    "nadam": {"optimizer": Nadam(Exponential(0.01, 0.99)), "layers": [Dense(3)]},
    "dropout": {"layers": [Dropout(0.2), Dense(7, "rrelu"), Dense(3)], "batch_size": 5},
    "in order": {"shuffle": False, "optimizer": SGD(lambda step: 0.1 / (1 + step))},
    "restore": {"on_divergence": "restore", "optimizer": Adam(0.01)},
    "team": {"threads": 2},
}
EPOCHS = few(29, 5)  # the last call does more than one


def one_by_one(trainer, history):
    """Do nothing, as a callback, with which every epoch is a call of its own."""


def trained(epochs=EPOCHS, callbacks=(), y=LABELS, A=X, **settings):
    trainer = trainer_of(**({"target": TARGET} | settings))
    trainer.fit(A, y, epochs, callbacks=callbacks)
    return trainer


@pytest.fixture
def calls(monkeypatch):
    """Return the numbers of epochs of all calls so far; what is known to be short goes by seven."""
    found = []

    def train_block(trainer, data, validation, count, *more, **named):
        found.append(count)
        return block(trainer, data, validation, count, *more, **named)

    block = loop._train_block
    monkeypatch.setattr(loop, "BLOCK_EPOCHS", 7)
    monkeypatch.setattr("fastnn.training.trainer.BLOCK_SECONDS", 1000.0)
    monkeypatch.setattr(loop, "_train_block", train_block)
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", SETTINGS)
def test_many_in_a_call_are_the_same_as_one_by_one(case, target, calls):
    settings = {"target": target} | SETTINGS[case]
    many, one = trained(**settings), trainer_of(**settings)
    assert sum(calls) == EPOCHS
    alone = target == "numpy"
    assert many._open().threads == 1 or case == "team"
    assert max(calls) == (1 if alone else min(7, EPOCHS - 1))
    one.fit(X, LABELS, EPOCHS, callbacks=one_by_one)
    assert state_of(many) == state_of(one)
    assert many.remaining == one.remaining == 0
    before = [trainer.__getstate__().earlier for trainer in (many, one)]
    assert (before[0] is None) == (before[1] is None) == (case != "restore")
    if before[0] is not None:
        assert before[0].epoch == before[1].epoch == EPOCHS - 1
        assert before[0].step == before[1].step
        for a, b in zip(before[0].parameters, before[1].parameters, strict=True):
            assert all((p == q).all() for p, q in zip(a, b, strict=True))


def followed(trainer, more, weights, epochs):
    """Return what a fit with validation data comes to, but for the time it takes."""
    stop = EarlyStopping(patience=4, monitor="validation_f1", min_delta=0.01)
    slower = ReduceOnPlateau(patience=1, factor=0.5, monitor="validation_auc")
    validation = X[:9], LABELS[:9], *weights
    callbacks = [stop, slower, *more]
    trainer.fit(X, LABELS, epochs, validation, metrics=["f1", "auc"], callbacks=callbacks)
    return state_of(trainer), trainer.history.best, state_of(stop.best), trainer.rate_factor


@pytest.mark.parametrize("weights", [(), (WEIGHTS[:9],)])
@pytest.mark.parametrize("case", SETTINGS)
def test_many_with_validation_data_are_the_same_as_one_by_one(case, weights, calls):
    epochs, settings = few(60, 5), {"target": TARGET} | SETTINGS[case]
    many = followed(trainer_of(**settings), [], weights, epochs)
    assert SIMULATED or max(calls) == (1 if case == "restore" else 2)  # a patience of 1, and one
    calls.clear()
    assert many == followed(trainer_of(**settings), [one_by_one], weights, epochs)
    assert set(calls) == {1}


@pytest.mark.parametrize("more", [(), (one_by_one,)])
def test_a_callback_after_one_that_stops_keeps_its_best_epoch(more, calls):
    stop = EarlyStopping(patience=3)
    other = EarlyStopping(20, "validation_accuracy", restore_best=False)
    trainer = trainer_of(target=TARGET, optimizer=SGD(3.0))
    trainer.fit(X, LABELS, 40, (X[:9], LABELS[:9]), callbacks=[stop, other, *more])
    best = np.argmax(trainer.history.validation_accuracy)
    assert other.best.epoch == other.best.history.best + 1
    assert other.best.epoch == best + 1
    assert stop.best.history.best == stop.best.epoch - 1


def test_a_fit_that_is_validated_without_callbacks_is_the_same_as_one_by_one(calls):
    many, one = (trainer_of(target=TARGET, optimizer=Adam(0.01)) for _ in range(2))
    start = time.perf_counter()
    many.fit(X, LABELS, EPOCHS, (X, LABELS))
    elapsed = time.perf_counter() - start
    assert max(calls) == (1 if SIMULATED else 7)
    one.fit(X, LABELS, EPOCHS, (X, LABELS), callbacks=one_by_one)
    assert state_of(many) == state_of(one)
    # Each epoch has a time of its own, and all of them are within that of the fit. Two that took as
    # many ticks of the clock are no wonder, of ten microseconds each.
    seconds = many.history.seconds
    assert len(set(seconds)) > EPOCHS // 2 and min(seconds) > 0 and sum(seconds) < elapsed


@pytest.mark.skipif(SIMULATED, reason="CUDA reads no sparse rows")
@pytest.mark.parametrize("sparse", [(False, True), (True, False), (True, True)])
def test_rows_of_two_kinds_are_validated_as_one_by_one(sparse, calls):
    own, held = (csr_array(A) if each else A for each, A in zip(sparse, (X, X[:9]), strict=True))
    many, one = (trainer_of(target="cpu", optimizer=Adam(0.01)) for _ in range(2))
    many.fit(own, LABELS, 15, (held, LABELS[:9]))
    assert max(calls) == 7
    one.fit(own, LABELS, 15, (held, LABELS[:9]), callbacks=one_by_one)
    assert state_of(many) == state_of(one)


def test_metrics_that_may_fail_are_called_once_an_epoch(calls):
    def own(y, outputs):
        seen.append(1)
        if len(seen) == 12:
            raise ValueError("no more")
        return 1.0

    seen, trainer = [], trainer_of(target=TARGET)
    with pytest.raises(InvalidInput, match="no more"):
        trainer.fit(X, LABELS, 30, (X, LABELS), metrics=own)
    assert trainer.epoch == len(seen) == len(calls) == 12


@pytest.mark.skipif(SIMULATED, reason="of the CPU's engine")
def test_ctrl_c_between_epochs_that_are_validated_takes_the_call_back(calls, monkeypatch):
    stopped, other = (trainer_of(target="cpu") for _ in range(2))
    engine, begun = stopped._open(), []
    predicting = engine._predicting

    def predict_but_once(X):
        predict = predicting(X)

        def once():
            begun.append(1)
            if len(begun) == 12:
                raise KeyboardInterrupt
            return predict()

        return once

    monkeypatch.setattr(engine, "_predicting", predict_but_once)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X, LABELS, 30, (X, LABELS))
    assert stopped.epoch == len(stopped.history) == 7
    other.fit(X, LABELS, 7, (X, LABELS))
    assert state_of(stopped) == state_of(other)
    stopped.fit(X, LABELS, 5, (X, LABELS))
    other.fit(X, LABELS, 5, (X, LABELS))
    assert state_of(stopped) == state_of(other)


@pytest.mark.skipif(SIMULATED or TARGET != "cpu", reason="of the CPU target's threads")
def test_what_takes_less_than_waking_a_thread_is_done_by_one(monkeypatch):
    from fastnn.targets.cpu import engine as cpu

    woken = []
    task_of = cpu.Engine._run_task
    monkeypatch.setattr(
        cpu.Engine, "_run_task", lambda self, *given: (woken.append(1), task_of(self, *given))[1]
    )
    two, one = (trainer_of(target="cpu", threads=count) for count in (2, 1))
    for alone, expected in ((0.0, 1), (10.0, 0), (0.0, 1)):
        monkeypatch.setattr(cpu, "ALONE_SECONDS", alone)
        woken.clear()
        for trainer in (two, one):
            trainer.fit(X, LABELS, 1)
        assert (len(woken) > 0) == expected
    for mine, others in zip(two.parameters, one.parameters, strict=True):
        assert all(map(np.array_equal, mine, others))


def test_seconds_are_shared_evenly(calls):
    history = trained().history
    ends = list(itertools.accumulate(calls))
    for start, end in zip([0, *ends], ends, strict=False):
        assert len(set(history.seconds[start:end])) == 1
    assert len(set(history.seconds)) == len(calls)


def test_weights_and_several_calls_of_fit_are_the_same(calls):
    whole, parts = (trainer_of(target=TARGET, optimizer=Adam(0.01)) for _ in range(2))
    whole.fit(X, LABELS, 20, sample_weight=WEIGHTS, callbacks=one_by_one)
    for epochs in (1, 0, 9, 10):
        parts.fit(X, LABELS, epochs, sample_weight=WEIGHTS)
    assert state_of(parts) == state_of(whole) and max(calls) == 7


def test_epochs_of_which_nothing_is_known_are_done_one_by_one(calls, monkeypatch):
    trained(epochs=3)
    assert calls == ([1, 2] if SIMULATED else [3])  # the CPU's knows how long a row may take
    calls.clear()
    numpy = trained(epochs=3, target="numpy")
    assert calls == [1, 1, 1] and numpy.epoch == 3
    calls.clear()
    opened = Trainer._open

    def unknown(self):
        engine = opened(self)
        engine.slow_row = math.inf
        return engine

    monkeypatch.setattr(Trainer, "_open", unknown)
    trained(epochs=3)
    assert calls == [1, 2]


@pytest.mark.parametrize(
    ("pace", "rows", "count"),
    [(1e-7, 100, 256), (1e-5, 100, 40), (1e-5, 1000, 4), (1e-5, 10_000, 1), (0.0, 10, 256)],
)
def test_a_call_takes_a_few_hundredths_of_a_second(pace, rows, count):
    trainer = trainer_of(target="cpu")
    trainer._open().seconds_per_row = pace
    data = Data(np.zeros((rows, 4), np.float32), np.zeros(rows, np.int64))
    watch = Progress(999, 1, 8, rows, wanted=False)
    training = loop.Training(trainer, data, None, 999, (), watch, (), loop.BLOCK_SECONDS)
    with training.begun():
        assert training._count() in (count, count - 1)


@pytest.mark.filterwarnings("ignore::fastnn.TrainingWarning")  # of units that a rate saturates
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rate", [5.0, 30.0, 300.0, 1e9])
def test_divergence_is_found_in_the_same_place(rate, target, calls):
    settings = {
        "layers": [Dense(4, "tanh"), Dense(1)],
        "loss": "mse",
        "optimizer": SGD(lambda step: rate if step > 60 else 0.01),
    }
    found = []
    for callbacks in ((), one_by_one):
        trainer = trainer_of(target=target, **settings)
        try:
            trainer.fit(X, REAL, few(40, 16), callbacks=callbacks)
            where = None
        except Diverged as error:
            where = error.epoch, error.step, str(error)
        found.append((where, state_of(trainer), trainer.remaining))
    assert found[0] == found[1]
    assert rate < 1e9 or found[0][0] is not None


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("most", [1, 3, 20])
@pytest.mark.parametrize("start", [0, 7, few(61, 13)])
def test_restores_are_the_same(start, most, target, calls):
    def rate(step):
        return 1e4 if step >= start else 0.01

    settings = {
        "layers": [Dense(4, "relu"), Dense(1)], "loss": "mse", "optimizer": SGD(rate),
        "on_divergence": "restore", "max_restores": most,
    }  # fmt: skip
    found = []
    for callbacks in ((), one_by_one):
        trainer = trainer_of(target=target, **settings)
        try:
            trainer.fit(X, REAL, EPOCHS, callbacks=callbacks)
            where = None
        except Diverged as error:
            where = error.epoch, error.step, str(error)
        found.append((where, state_of(trainer), trainer.rate_factor, trainer.remaining))
    assert found[0] == found[1]
    assert found[0][1][2]["restores"]


def test_a_rate_that_cannot_be_leaves_the_epochs_before_it_done(calls, monkeypatch):
    monkeypatch.setattr("fastnn.training.trainer.check_ahead", lambda *arguments: None)

    def rate(step):
        if step >= 5 * 17 + 2:
            raise OSError("no more rates")
        return 0.1

    for wrong in (rate, lambda step: -1.0 if step >= 5 * 17 + 2 else 0.1):
        trainer = trainer_of(target=TARGET, optimizer=SGD(wrong))
        with pytest.raises((OSError, InvalidInput)):
            trainer.fit(X, LABELS, 30)
        assert trainer.epoch == len(trainer.history) == 17 and trainer.remaining == 13


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no room")])
def test_what_ends_a_call_takes_its_epochs_back(error, calls, monkeypatch):
    stopped, other = trainer_of(target=TARGET), trainer_of(target=TARGET)
    engine = stopped._open()
    train_epochs, failing = engine.train_epochs, []

    def train(data, orders, *more):
        results = train_epochs(data, orders, *more)
        if failing or len(calls) == 3:
            failing.append(len(orders))
            raise error
        return results

    monkeypatch.setattr(engine, "train_epochs", train)
    with pytest.raises(type(error)):
        stopped.fit(X, LABELS, 30)
    done = 8 if SIMULATED else 14
    assert failing[0] == 7 and stopped.epoch == done and stopped.remaining == 30 - done
    other.fit(X, LABELS, done)
    assert state_of(stopped) == state_of(other)
    monkeypatch.setattr(engine, "train_epochs", train_epochs)
    stopped.fit(X, LABELS, 2)
    other.fit(X, LABELS, 2)
    assert state_of(stopped) == state_of(other)


def test_an_error_in_what_follows_a_call_does_no_epochs_twice(calls, monkeypatch):
    def end_epoch(self, *arguments):
        if len(calls) == 3:
            raise OSError("the terminal is gone")

    monkeypatch.setattr(Progress, "end_epoch", end_epoch)
    trainer = trainer_of(target=TARGET)
    with pytest.raises(OSError, match="gone"):
        trainer.fit(X, LABELS, 30)
    assert calls == [1 if SIMULATED else 7, 7, 7]
    assert trainer.epoch == len(trainer.history) == sum(calls)


CTRL_C = """
import numpy as np
from fastnn import Dense, Network, Trainer

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
trainer, other = (Trainer(Network(4, [Dense(9, "tanh"), Dense(2)]), batch_size=8) for _ in range(2))
trainer.fit(X, y, 2)
print("ready", flush=True)
try:
    trainer.fit(X, y, 1_000_000)
except KeyboardInterrupt:
    print("stopped", flush=True)
other.fit(X, y, trainer.epoch)
same = zip(trainer.parameters, other.parameters)
print(trainer.epoch > 100, trainer.epoch == len(trainer.history), trainer.step == 7 * trainer.epoch,
      trainer.remaining == 1_000_002 - trainer.epoch, trainer.history.loss == other.history.loss,
      all((a == b).all() for p, q in same for a, b in zip(p, q)))
"""


@needs_signals
@pytest.mark.skipif(bool(config.DISABLE_JIT or SIMULATED), reason="epochs are not short")
def test_ctrl_c_among_short_epochs_leaves_whole_ones():
    assert interrupted(CTRL_C).split() == ["True"] * 6


@pytest.mark.skipif(bool(config.DISABLE_JIT or SIMULATED), reason="takes too long")
def test_other_threads_see_whole_epochs_soon():
    trainer = trainer_of(target="cpu", layers=[Dense(32, "tanh"), Dense(3)])
    trainer.fit(X, LABELS, 10)
    failed, seen, waits = [], [], []

    def train():
        try:
            trainer.fit(X, LABELS, 60_000)
        except BaseException as error:
            failed.append(error)

    training = threading.Thread(target=train)
    training.start()
    while training.is_alive() and len(seen) < 30:
        start = time.monotonic()
        now = pickle.loads(pickle.dumps(trainer))
        trainer.predict(X[:3])
        waits.append(time.monotonic() - start)
        seen.append(now)
        time.sleep(0.01)
    trainer_epochs = [each.epoch for each in seen]
    training.join()
    assert not failed and trainer.epoch == 60_010
    assert sorted(trainer_epochs) == trainer_epochs and len(set(trainer_epochs)) > 3
    assert np.median(waits) < 0.5
    for each in seen[:: max(1, len(seen) // 3)]:
        assert each.epoch == len(each.history) and each.step == 5 * each.epoch
        alone = trainer_of(target="cpu", layers=[Dense(32, "tanh"), Dense(3)])
        alone.fit(X, LABELS, each.epoch)
        assert state_of(alone) == state_of(each)


def test_progress_counts_every_epoch(calls, monkeypatch):
    shown = []
    monkeypatch.setattr(Progress, "shown", True)
    monkeypatch.setattr(Progress, "start_epoch", lambda self, epoch: shown.append(epoch))
    monkeypatch.setattr(Progress, "end_epoch", lambda self, loss, *more: shown.append(loss))
    trainer = trained(epochs=20)
    assert shown[::2] == list(range(20)) and shown[1::2] == trainer.history.loss
    assert max(calls) == 7


def test_a_bar_goes_on_over_the_epochs_of_a_call():
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    progress = Progress(epochs=4, steps_per_epoch=10, batch_size=8, n=75, stream=screen)
    progress.start_epoch(0)
    for steps, rows in ((5, 40), (10, 75), (11, 83), (20, 150), (37, 3 * 75 + 56)):
        progress.update(steps, 0.5)
        assert progress._bar.n == rows
        assert f"batch {(steps - 1) % 10 + 1}/10" in progress._bar.postfix
    progress.close()


def test_copies_and_files_go_on_to_the_same_bits(calls, tmp_path):
    trainer, whole = trainer_of(target=TARGET), trained(epochs=16, callbacks=one_by_one)
    trainer.fit(X, LABELS, 9)
    trainer.save(tmp_path / "model.safetensors")
    others = [copy.copy(trainer), Trainer.load(tmp_path / "model.safetensors")]
    for other in (trainer, *others):
        other.fit(X, LABELS, 7)
        assert state_of(other) == state_of(whole)


def test_callbacks_that_were_used_before_may_want_to_be_called_at_once():
    stop = EarlyStopping(patience=2, monitor="loss", min_delta=1.0, restore_best=False)
    trainer = trainer_of(target=TARGET)
    trainer.fit(X, LABELS, 9, callbacks=[stop])
    trainer.fit(X, LABELS, 5)
    done = trainer.epoch
    trainer.fit(X, LABELS, 5, callbacks=[stop])
    assert done < trainer.epoch <= done + 5


@pytest.mark.skipif(SIMULATED, reason="hundreds of epochs take minutes")
def test_rates_that_fall_again_and_again_cost_few_epochs_twice(monkeypatch):
    from fastnn.targets.cpu.engine import Engine

    counted, train = [], Engine.train_epochs
    monkeypatch.setattr(
        Engine, "train_epochs",
        lambda self, data, orders, *more: counted.append(len(orders))
        or train(self, data, orders, *more),
    )  # fmt: skip
    slower = ReduceOnPlateau(patience=2, monitor="loss", threshold=0.5, factor=0.9)
    trainer_of(target="cpu").fit(X, LABELS, 200, callbacks=[slower])
    assert sum(counted) < 1.5 * 200
