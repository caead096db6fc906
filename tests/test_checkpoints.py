"""What `Checkpoint` writes where, what stays, and what it refuses."""

import os
import sys

import numpy as np
import pytest
from trainer_cases import LABELS, X, state_of, trainer_of

from fastnn import (
    SGD,
    Checkpoint,
    CorruptFile,
    EarlyStopping,
    FastnnError,
    InvalidInput,
    MissingFile,
    Trainer,
    sweep,
)

VALIDATION = {"validation_data": (X[:9], LABELS[:9])}


def names(folder):
    return sorted(os.listdir(folder))


def fit(trainer, epochs, *callbacks, **more):
    return trainer.fit(X, LABELS, epochs, callbacks=list(callbacks), **more)


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("model-{epoch:04d}.safetensors", ["model-0002.safetensors", "model-0003.safetensors"]),
        ("{epoch}", ["2", "3"]),
        ("a{{b}}{epoch:02d}.nn", ["a{b}02.nn", "a{b}03.nn"]),
        ("model.safetensors", ["model-0002.safetensors", "model-0003.safetensors"]),
        ("", ["model-0002.safetensors", "model-0003.safetensors"]),
    ],
)
def test_the_last_files_stay_under_the_names_that_the_path_gives(path, files, tmp_path):
    path = os.path.join(tmp_path / "new" / "folder", path)
    trainer = trainer_of()
    fit(trainer, 3, Checkpoint(path, keep=2))
    assert names(tmp_path / "new" / "folder") == files
    resumed = Trainer.resume(path)
    assert state_of(resumed) == state_of(trainer) and resumed.remaining == 0


def test_one_file_is_written_again_and_again(tmp_path):
    path = tmp_path / "model.safetensors"
    trainer = trainer_of()
    fit(trainer, 3, Checkpoint(path, keep=1, best="loss"))
    assert names(tmp_path) == ["model-best.safetensors", "model.safetensors"]
    assert state_of(Trainer.resume(path)) == state_of(trainer)
    assert state_of(Trainer.resume(tmp_path)) == state_of(trainer)


def test_every_second_epoch_and_the_last_are_saved_and_all_can_stay(tmp_path):
    trainer = trainer_of()
    fit(trainer, 5, Checkpoint(f"{tmp_path}/{{epoch}}", every=2, keep=None))
    assert names(tmp_path) == ["2", "4", "5"]
    fit(trainer, 1, Checkpoint(f"{tmp_path}/{{epoch}}", every=2, keep=None))
    assert names(tmp_path) == ["2", "4", "5", "6"]
    assert Trainer.resume(tmp_path / "4").epoch == 4
    assert Trainer.resume(f"{tmp_path}/{{epoch}}").epoch == 6


@pytest.mark.parametrize("best", ["loss", "validation_loss", "validation_accuracy"])
def test_the_best_epoch_stays_too(best, tmp_path):
    trainer = trainer_of(optimizer=SGD(1.0))
    every = [None]

    def keep(trainer, history):
        every.append(state_of(trainer))

    fit(trainer, 12, keep, Checkpoint(tmp_path, best=best), **VALIDATION)
    series = np.array(getattr(trainer.history, best))
    first = np.argmax(series) if best == "validation_accuracy" else np.argmin(series)
    found = Trainer.load(tmp_path / "model-best.safetensors")
    assert found.epoch == first + 1 and state_of(found) == every[first + 1]


@pytest.mark.parametrize("first", [1, 3, 5])
def test_which_epoch_is_best_is_known_after_a_resume(first, tmp_path):
    """Losses go up and down, and only the best of all epochs stays."""
    trainer = trainer_of(optimizer=SGD(2.0))
    fit(trainer, first, Checkpoint(tmp_path, best="loss"))
    resumed = Trainer.resume(tmp_path)
    fit(resumed, 8 - first, Checkpoint(tmp_path, best="loss"))
    best = Trainer.load(tmp_path / "model-best.safetensors")
    assert best.epoch == 1 + np.argmin(resumed.history.loss)


@pytest.mark.parametrize("restore", [True, False])
def test_what_early_stopping_ends_with_is_saved(restore, tmp_path):
    trainer = trainer_of()
    stopping = EarlyStopping(1, "loss", 10.0, restore)
    fit(trainer, 20, Checkpoint(tmp_path), stopping)
    resumed = Trainer.resume(tmp_path)
    assert names(tmp_path)[-1] == "model-0003.safetensors"
    assert state_of(resumed) == state_of(trainer)
    assert resumed.epoch == (1 if restore else 3) and len(resumed.history) == 3
    assert resumed.remaining == trainer.remaining == 0


def test_epochs_done_anew_replace_those_that_were_gone_back_behind(tmp_path):
    trainer = trainer_of()
    checkpoint = Checkpoint(tmp_path)
    fit(trainer, 20, checkpoint, EarlyStopping(4, "loss", 10.0))
    assert names(tmp_path)[-1] == "model-0006.safetensors"
    fit(trainer, 2, checkpoint)
    assert names(tmp_path) == ["model-0002.safetensors", "model-0003.safetensors"]
    assert state_of(Trainer.resume(tmp_path)) == state_of(trainer)


@pytest.mark.parametrize("path", ["", "model.safetensors", "{epoch}"])
@pytest.mark.parametrize("keep", [1, 2])
def test_files_of_another_training_are_not_replaced(path, keep, tmp_path):
    path = os.path.join(tmp_path, path)
    first, second = trainer_of(), trainer_of(seed=1)
    fit(first, 3, Checkpoint(path, keep=keep))
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    with pytest.raises(InvalidInput, match="is a checkpoint of [23] epochs, but .* has done 0"):
        fit(second, 2, Checkpoint(path, keep=keep))
    assert second.epoch == 0
    assert before == {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    fit(first, 1, Checkpoint(path, keep=keep))
    assert Trainer.resume(path).epoch == 4


def test_an_error_in_a_callback_leaves_its_epoch_done_and_not_saved(tmp_path):
    """A resumed training calls all callbacks again for that epoch."""
    trainer, other = trainer_of(), trainer_of()

    def fail(trainer, history):
        if trainer.epoch == 3:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fit(trainer, 5, Checkpoint(tmp_path), fail)
    fit(other, 3)
    assert state_of(trainer) == state_of(other) and trainer.remaining == 2
    resumed = Trainer.resume(tmp_path)
    assert resumed.epoch == 2 and resumed.remaining == 3


def test_an_error_that_ends_an_epoch_saves_the_one_before(tmp_path, monkeypatch):
    trainer = trainer_of()
    engine = trainer._open()
    train_epochs = engine.train_epochs

    def interrupted(*arguments):
        if trainer.epoch == 3:
            raise KeyboardInterrupt
        return train_epochs(*arguments)

    monkeypatch.setattr(engine, "train_epochs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, 5, Checkpoint(tmp_path, every=10))
    assert names(tmp_path) == ["model-0003.safetensors"]
    resumed = Trainer.resume(tmp_path)
    assert state_of(resumed) == state_of(trainer) and resumed.remaining == 2


def test_an_epoch_is_saved_even_where_its_file_cannot_be_written(tmp_path):
    trainer, other = trainer_of(), trainer_of()

    def vanish(trainer, history):
        if trainer.epoch == 2:
            for name in names(tmp_path / "a"):
                os.unlink(tmp_path / "a" / name)
            os.rmdir(tmp_path / "a")

    with pytest.raises(MissingFile):
        fit(trainer, 5, Checkpoint(tmp_path / "a"), vanish)
    fit(other, 2)
    assert state_of(trainer) == state_of(other) and trainer.remaining == 3


def test_a_function_as_learning_rate_is_refused_before_the_first_epoch(tmp_path):
    trainer = trainer_of(optimizer=SGD(lambda step: 0.1))
    with pytest.raises(InvalidInput, match="cannot be saved"):
        fit(trainer, 2, Checkpoint(tmp_path))
    assert trainer.epoch == 0


def test_several_trainings_at_a_time_are_refused(tmp_path):
    trainer = trainer_of()
    with pytest.raises(InvalidInput, match=r"follows one training, but restarts=2 trains several"):
        fit(trainer, 2, Checkpoint(tmp_path), restarts=2)
    with pytest.raises(InvalidInput, match=r"follows one training, but a sweep trains several"):
        sweep(trainer, X, LABELS, 2, grid={"l2": [0, 1]}, callbacks=[Checkpoint(tmp_path)])
    assert trainer.epoch == 0 and not names(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": 3}, "path must be a path, not 3"),
        ({"path": "{loss}"}, "is no template for checkpoints; it needs one field, epoch"),
        ({"path": "{epoch}{epoch}"}, "is no template"),
        ({"path": "{epoch:+d}"}, "is no template"),
        ({"path": "{epoch:x}"}, "is no template"),
        ({"path": "{epoch:o}"}, "is no template"),
        ({"path": "{epoch:b}"}, "is no template"),
        ({"path": "{epoch:4d}"}, "is no template"),
        ({"path": "{epoch:0<4}"}, "is no template"),
        ({"path": "{epoch:,}"}, "is no template"),
        ({"path": "{epoch!r}"}, "is no template"),
        ({"path": "{epoch"}, "is no template"),
        ({"path": "{}"}, "is no template"),
        ({"path": "{epoch}/model"}, "in the name of a folder"),
        ({"every": 0}, "every must be a whole number of at least 1, not 0"),
        ({"keep": 0}, "keep, where it is not None, must be a whole number"),
        ({"best": "seconds"}, "best must be one of .*, not 'seconds'"),
        ({"on_signal": 1}, "on_signal must be True or False, not 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message, tmp_path):
    with pytest.raises(InvalidInput, match=message):
        Checkpoint(**({"path": tmp_path} | settings))


def test_a_best_validation_loss_needs_validation_data(tmp_path):
    with pytest.raises(InvalidInput, match='pass validation_data=.*, or use best="loss"'):
        fit(trainer_of(), 1, Checkpoint(tmp_path, best="validation_loss"))


def test_the_best_file_of_another_training_is_not_replaced(tmp_path):
    """Where that was killed before its first file with a number, there is no other."""
    path = tmp_path / "model-best.safetensors"
    trainer = trainer_of()
    fit(trainer, 3, Checkpoint(tmp_path, best="loss"))
    for file in set(names(tmp_path)) - {path.name}:
        (tmp_path / file).unlink()
    kept = path.read_bytes()
    for settings in ({}, {"every": 2}):
        with pytest.raises(InvalidInput, match="model-best.safetensors is a checkpoint of 3 ep"):
            fit(trainer_of(), 1, Checkpoint(tmp_path, best="loss", **settings))
    assert path.read_bytes() == kept


@pytest.mark.parametrize("state", [5, ["a"], [1, 0.5], [True, 0.5, 0.1], {"a": 1}])
def test_a_damaged_best_epoch_is_told(state, tmp_path):
    trainer, checkpoint = trainer_of(), Checkpoint(tmp_path, best="loss")
    fit(trainer, 2, checkpoint)
    with pytest.raises(CorruptFile, match="best epoch cannot be"):
        checkpoint.take_state({"by": "loss", "sign": 1, "epoch": state}, trainer)


def test_a_training_resumed_before_its_best_epoch_goes_on(tmp_path):
    trainer = trainer_of()
    fit(trainer, 3, Checkpoint(tmp_path, every=2, best="loss"))
    (tmp_path / "model-0003.safetensors").unlink()  # killed before its last epoch was saved
    resumed = Trainer.resume(tmp_path)
    assert resumed.epoch == 2
    fit(resumed, 1, Checkpoint(tmp_path, every=2, best="loss"))
    assert Trainer.load(tmp_path / "model-best.safetensors").epoch == 3


def test_it_is_refused_outside_fit(tmp_path):
    trainer, checkpoint = trainer_of(), Checkpoint(tmp_path)
    with pytest.raises(InvalidInput, match="can only be called by fit"):
        fit(trainer, 2, lambda *both: checkpoint(*both))
    assert trainer.epoch == 1


@pytest.mark.parametrize("path", ["precious.csv", "model.safetensors"])
def test_a_file_that_is_no_checkpoint_is_not_written_over(tmp_path, path):
    (tmp_path / path).write_text("my,data")
    with pytest.raises(InvalidInput, match="no checkpoint that could be resumed"):
        trainer_of().fit(X, LABELS, 1, callbacks=Checkpoint(tmp_path / path, keep=1))
    assert (tmp_path / path).read_text() == "my,data"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")
def test_paths_that_cannot_be_are_errors_of_the_family(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.safetensors")
    open("file", "w").close()
    for path in ("n" * 300, "file/x", "a\0b", "pipe.safetensors"):
        with pytest.raises(FastnnError):
            trainer_of().fit(X, LABELS, 1, callbacks=Checkpoint(path, keep=1))
        with pytest.raises(FastnnError):
            Trainer.resume(path)
