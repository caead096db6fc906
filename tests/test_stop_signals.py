"""A signal ends a call of `fit` that has a `Checkpoint`: soon, cleanly, and with nothing lost."""

import os
import signal
import sys
import threading

import pytest
from ctrl_c import LONG_EPOCH, ended_by
from trainer_cases import LABELS, TARGETS, X, state_of, trainer_of

from fastnn import Adam, Checkpoint, EarlyStopping, Trainer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
SIGNALS = ("SIGTERM", "SIGUSR1")


def send(name):
    os.kill(os.getpid(), getattr(signal, name))


@pytest.fixture(autouse=True)
def handlers():
    """Return the handlers from before, which each test must leave as they were."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield before
    after = {number: signal.getsignal(number) for number in signal.valid_signals()}
    for number, handler in before.items():
        if handler is not after[number]:
            signal.signal(number, handler)
    assert before == after


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_between_epochs_ends_the_call_and_the_epoch_is_saved(name, tmp_path):
    trainer, checkpoint = trainer_of(), Checkpoint(tmp_path, every=10)

    def at_three(trainer, history):
        if trainer.epoch == 3:
            send(name)

    history = trainer.fit(X, LABELS, 9, callbacks=[at_three, checkpoint])
    assert len(history) == 3 and trainer.remaining == 6
    assert checkpoint.signal == getattr(signal, name)
    assert os.listdir(tmp_path) == ["model-0003.safetensors"]
    resumed = Trainer.resume(tmp_path)
    assert state_of(resumed) == state_of(trainer) and resumed.remaining == 6
    resumed.fit(X, LABELS, 6, callbacks=checkpoint)
    assert checkpoint.signal is None


@pytest.mark.parametrize("target", TARGETS)
def test_a_signal_within_an_epoch_takes_it_back(target, tmp_path, monkeypatch):
    trainer, whole = (trainer_of(target=target, optimizer=Adam(0.01)) for _ in range(2))
    whole.fit(X, LABELS, 9, validation_data=(X, LABELS))
    engine = trainer._open()
    train_epochs = engine.train_epochs

    def train_and_report(data, orders, rates, epoch, step, report):
        result = train_epochs(data, orders, rates, epoch, step, report)
        if epoch == 4:
            send("SIGTERM")
            report(3, 0.5)
        return result

    monkeypatch.setattr(engine, "train_epochs", train_and_report)
    stopping = EarlyStopping(5, "loss")
    trainer.fit(X, LABELS, 9, (X, LABELS), callbacks=[stopping, Checkpoint(tmp_path, every=5)])
    assert trainer.epoch == len(trainer.history) == 4 and trainer.remaining == 5
    resumed = Trainer.resume(tmp_path)
    assert state_of(resumed) == state_of(trainer)
    resumed.fit(X, LABELS, 5, (X, LABELS))
    assert [*state_of(resumed)[:2], state_of(resumed)[3]] == [
        *state_of(whole)[:2], state_of(whole)[3],
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["done", "stopped", "error", "Ctrl-C", "refused"])
def test_handlers_are_put_back_whatever_ends_the_call(ending, tmp_path, handlers):
    trainer = trainer_of()

    def end(trainer, history):
        for name in SIGNALS:
            assert signal.getsignal(getattr(signal, name)) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is handlers[signal.SIGINT]
        if ending == "error":
            raise RuntimeError
        if ending == "Ctrl-C":
            signal.raise_signal(signal.SIGINT)
        return ending == "stopped"

    calls = [end, Checkpoint(tmp_path)]
    if ending == "refused":
        trainer_of().fit(X, LABELS, 2, callbacks=Checkpoint(tmp_path))
    try:
        trainer.fit(X, LABELS, 3, callbacks=calls)
    except (RuntimeError, KeyboardInterrupt, ValueError):
        assert ending in ("error", "Ctrl-C", "refused")
    else:
        assert ending in ("done", "stopped")
    for name in SIGNALS:
        assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL


def test_a_callers_own_handlers_are_put_back_and_that_of_sigterm_is_called(tmp_path):
    came, trainer = [], trainer_of()

    def take(number, frame):
        came.append((number, frame is not None, os.listdir(tmp_path), signal.getsignal(number)))

    def both(trainer, history):
        send("SIGUSR1")
        assert came.pop()[0] == signal.SIGUSR1
        send("SIGTERM")
        assert not came

    before = {name: signal.signal(getattr(signal, name), take) for name in SIGNALS}
    try:
        trainer.fit(X, LABELS, 9, callbacks=[both, Checkpoint(tmp_path)])
        assert came == [(signal.SIGTERM, True, ["model-0001.safetensors"], take)]
        assert trainer.remaining == 8
        for name in SIGNALS:
            assert signal.getsignal(getattr(signal, name)) is take
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def test_an_ignored_signal_stays_ignored_and_off_means_off(tmp_path):
    def look(expected):
        return lambda *_: [send("SIGTERM"), seen.append(signal.getsignal(signal.SIGTERM))] and None

    seen = []
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        for on in (True, False):
            trainer = trainer_of()
            calls = [look(signal.SIG_IGN), Checkpoint(tmp_path / str(on), on_signal=on)]
            trainer.fit(X, LABELS, 2, callbacks=calls)
            assert trainer.epoch == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIG_IGN] * 4


def test_another_thread_trains_without_handlers(tmp_path):
    trainer, seen = trainer_of(), []

    def look(trainer, history):
        seen.append(signal.getsignal(signal.SIGTERM))

    calls = [look, Checkpoint(tmp_path)]
    thread = threading.Thread(target=trainer.fit, args=(X, LABELS, 2), kwargs={"callbacks": calls})
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL] * 2 and Trainer.resume(tmp_path).epoch == 2


def test_a_call_within_a_call_ends_both(tmp_path):
    outer, inner = trainer_of(), trainer_of()

    def train(trainer, history):
        def kill(trainer, history):
            send("SIGTERM")

        inner.fit(X, LABELS, 5, callbacks=[kill, Checkpoint(tmp_path / "inner")])

    outer.fit(X, LABELS, 5, callbacks=[train, Checkpoint(tmp_path / "outer")])
    assert (outer.epoch, inner.epoch) == (1, 1)
    assert (outer.remaining, inner.remaining) == (4, 4)


UNTIL_THE_SIGNAL = """
checkpoint = Checkpoint(sys.argv[2])
history = trainer.fit(X, y, epochs=3, callbacks=[checkpoint])
print("stopped", flush=True)
print(unchanged(), len(history), trainer.remaining, int(checkpoint.signal))
"""


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_a_long_epoch_ends_soon(target, tmp_path):
    said = ended_by(
        signal.SIGTERM, LONG_EPOCH + UNTIL_THE_SIGNAL, target, str(tmp_path), seconds=3.0
    )
    assert said == "True 2 3 15\n"
    assert os.listdir(tmp_path) == ["model-0002.safetensors"]  # of the call before
