"""`Trainer.resume` finds the newest good checkpoint, and goes on as if nothing had happened."""

import os
import shutil
import sys

import numpy as np
import pytest
from faults.resuming import failures_of
from pairs import in_turns
from trainer_cases import LABELS, TARGETS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Adam,
    Checkpoint,
    CorruptFile,
    EarlyStopping,
    InvalidInput,
    MissingFile,
    ReduceOnPlateau,
    Trainer,
)
from fastnn.schedules import Exponential

VALIDATION = {"validation_data": (X[:9], LABELS[:9])}


class Counter:
    """A user-defined callback, with state: it stops after so many epochs."""

    def __init__(self, most):
        self.most, self.count, self.seen = most, 0, np.zeros(2)

    def __call__(self, trainer, history):
        """Count."""
        self.count += 1
        self.seen = self.seen + [history.loss[-1], 1]
        return self.count >= self.most

    def state_dict(self):
        """Return the count."""
        return {"count": self.count, "seen": self.seen}

    def load_state_dict(self, state):
        """Go on counting."""
        self.count, self.seen = state["count"], state["seen"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimizer", [SGD(0.3, 0.9), Adam(Exponential(0.05, 0.99))], ids=repr)
@pytest.mark.parametrize("first", [1, 4, 8])
def test_a_resumed_training_is_the_one_that_was_not_interrupted(first, optimizer, target, tmp_path):
    def callbacks():
        stopping = EarlyStopping(7), EarlyStopping(12, "loss", 0.01)
        return [Counter(15), *stopping, ReduceOnPlateau(0.5, patience=1), Checkpoint(tmp_path)]

    whole = trainer_of(optimizer=optimizer, target=target)
    before = callbacks()
    whole.fit(X, LABELS, 20, callbacks=before, **VALIDATION)
    for name in os.listdir(tmp_path):
        os.unlink(tmp_path / name)
    parts = trainer_of(optimizer=optimizer, target=target)
    stop = [*callbacks(), lambda trainer, history: trainer.epoch == first]
    parts.fit(X, LABELS, 20, callbacks=stop, **VALIDATION)
    assert parts.remaining == 0
    resumed, after = Trainer.resume(tmp_path), callbacks()
    resumed.fit(X, LABELS, 20 - first, callbacks=after, **VALIDATION)
    assert state_of(resumed) == state_of(whole)
    assert resumed.history.best == whole.history.best
    assert after[0].count == before[0].count and (after[0].seen == before[0].seen).all()
    for old, new in zip(before[1:3], after[1:3], strict=True):
        assert state_of(new.best) == state_of(old.best)


def test_states_go_to_the_callbacks_of_their_class_and_only_once(tmp_path):
    trainer = trainer_of()
    trainer.fit(X, LABELS, 2, callbacks=[Counter(9), Counter(8), Checkpoint(tmp_path)])
    resumed = Trainer.resume(tmp_path)
    resumed.save(tmp_path / "copy")  # with what has not been handed over yet
    for again in (resumed, Trainer.load(tmp_path / "copy")):
        counters = [Counter(9), Counter(9), Counter(9)]
        again.fit(X, LABELS, 1, callbacks=counters)
        assert [each.count for each in counters] == [3, 3, 1]
        counters = [Counter(9)]
        again.fit(X, LABELS, 1, callbacks=counters)
        assert counters[0].count == 1


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3, dtype=">f4"),
        np.arange(3, dtype=">i8")[::2],
        np.array(2.5, dtype=">f8"),
        np.int64(3),
        np.bool_(True),
        [float("nan"), {"a": [np.float32(0.5), None]}],
    ],
)
def test_a_state_is_read_back_as_it_was(value, tmp_path):
    counter = Counter(9)
    counter.state_dict = lambda: {"count": 1, "seen": value}
    trainer_of().fit(X, LABELS, 2, callbacks=[counter, Checkpoint(tmp_path)])
    counter = Counter(9)
    counter.load_state_dict = lambda state: setattr(counter, "found", state["seen"])
    Trainer.resume(tmp_path).fit(X, LABELS, 1, callbacks=[counter])
    if isinstance(value, list):
        assert repr(counter.found) == "[nan, {'a': [0.5, None]}]"
    else:
        np.testing.assert_array_equal(counter.found, value)


@pytest.mark.parametrize(
    "bad",
    [
        3, {"x": object()}, {"x": {1: 2}}, {1: 2}, {"x": np.array("a")},
        {"x": np.zeros(2, np.longdouble)}, {"x": np.complex64(1)},
    ],
)  # fmt: skip
def test_a_state_that_no_file_can_keep_is_refused(bad, tmp_path):
    counter = Counter(9)
    counter.state_dict = lambda: bad
    trainer = trainer_of()
    with pytest.raises(InvalidInput, match="callback .*Counter"):
        trainer.fit(X, LABELS, 2, callbacks=[counter, Checkpoint(tmp_path)])
    assert trainer.epoch == 1 and not os.listdir(tmp_path)


def test_another_watch_starts_anew(tmp_path):
    trainer = trainer_of()
    more = {"callbacks": [EarlyStopping(3), Checkpoint(tmp_path)]} | VALIDATION
    trainer.fit(X, LABELS, 2, **more)
    resumed, stopping = Trainer.resume(tmp_path), EarlyStopping(3, "loss")
    resumed.fit(X, LABELS, 1, callbacks=[stopping])
    assert stopping.best.epoch == 3


def test_remaining_epochs_are_those_that_a_call_of_fit_has_not_done(tmp_path):
    trainer = trainer_of()
    assert trainer.remaining == 0

    def fail(trainer, history):
        if trainer.epoch == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        trainer.fit(X, LABELS, 5, callbacks=[fail])
    assert trainer.remaining == 2
    trainer.save(tmp_path / "model")
    assert Trainer.load(tmp_path / "model").remaining == 2
    trainer.fit(X, LABELS, trainer.remaining)
    assert trainer.epoch == 5 and trainer.remaining == 0


def damage(file, kind):
    content = file.read_bytes()
    file.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "empty": b"",
            "flipped": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        }[kind]
    )


@pytest.mark.parametrize("kind", ["cut", "empty", "flipped"])
@pytest.mark.parametrize("path", ["", "model.safetensors", "model-{epoch:04d}.safetensors"])
def test_a_damaged_file_is_passed_over_with_a_warning(path, kind, tmp_path):
    whole, trainer = trainer_of(), trainer_of()
    whole.fit(X, LABELS, 7)
    trainer.fit(X, LABELS, 5, callbacks=Checkpoint(tmp_path))
    path = os.path.join(tmp_path, path)
    damage(tmp_path / "model-0005.safetensors", kind)
    with pytest.warns(UserWarning, match="model-0005.* passed over and .*model-0004") as warned:
        resumed = Trainer.resume(path)
    assert warned[0].filename == __file__
    assert resumed.epoch == 4 and resumed.remaining == 1
    resumed.fit(X, LABELS, 3, callbacks=Checkpoint(tmp_path))
    assert state_of(resumed) == state_of(whole)
    assert Trainer.resume(path).epoch == 7


def test_the_best_file_is_the_last_resort_and_all_damaged_is_an_error(tmp_path):
    trainer = trainer_of()
    trainer.fit(X, LABELS, 2, callbacks=Checkpoint(tmp_path, best="loss"))
    for number in (1, 2):
        damage(tmp_path / f"model-000{number}.safetensors", "cut")
    with pytest.warns(UserWarning, match=r"passed over and .*model-best"):
        assert Trainer.resume(tmp_path).epoch in (1, 2)
    damage(tmp_path / "model-best.safetensors", "cut")
    with pytest.raises(CorruptFile, match="all 3 checkpoints at .* are damaged"):
        Trainer.resume(tmp_path)
    with pytest.raises(CorruptFile, match="model-0001"):
        Trainer.resume(tmp_path / "model-0001.safetensors")


@pytest.mark.parametrize("path", ["", "nowhere/model.safetensors", "{epoch}", "nowhere/"])
def test_nothing_to_resume_is_a_missing_file(path, tmp_path):
    with pytest.raises(MissingFile, match="there is no checkpoint"):
        Trainer.resume(os.path.join(tmp_path, path))


def test_a_folder_of_several_trainings_needs_a_path(tmp_path):
    for name in "ab":
        trainer_of().fit(X, LABELS, 1, callbacks=Checkpoint(tmp_path / name))
        trainer_of().fit(X, LABELS, 1, callbacks=Checkpoint(tmp_path / f"{name}.safetensors"))
    with pytest.raises(InvalidInput, match=r"several trainings \(a-, b-\)"):
        Trainer.resume(tmp_path)
    assert Trainer.resume(tmp_path / "a.safetensors").epoch == 1


def test_numbers_are_compared_as_numbers(tmp_path):
    trainer = trainer_of()
    trainer.fit(X, LABELS, 11, callbacks=Checkpoint(f"{tmp_path}/n{{epoch}}.safetensors"))
    assert Trainer.resume(tmp_path).epoch == 11
    shutil.copy(tmp_path / "n9.safetensors", tmp_path / "n99x.safetensors")
    assert Trainer.resume(f"{tmp_path}/n{{epoch}}.safetensors").epoch == 11


def test_another_target_may_go_on(tmp_path):
    trainer_of(target="cpu").fit(X, LABELS, 1, callbacks=Checkpoint(tmp_path))
    resumed = Trainer.resume(tmp_path, target="numpy", threads=2)
    assert (resumed.target, resumed.threads) == ("numpy", 2)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("kind", "how", "target"),
    in_turns(["momentum", "adam", "diverging"], ["SIGKILL", "SIGTERM"], ["cpu", "numpy"]),
)
def test_a_killed_training_that_is_resumed_ends_in_the_same_bits(target, how, kind):
    import signal

    assert failures_of(target, kind, getattr(signal, how), kills=1) == 0
