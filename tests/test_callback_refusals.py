"""What a callback of fastnn could not do, `fit` refuses before it compiles anything."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from trainer_cases import LABELS, X, trainer_of

from fastnn import SGD, Checkpoint, CSVLogger, InvalidInput, MissingExtra, TensorBoard, UnusableFile
from fastnn.training.callbacks import tensorboard

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")
SOMEBODY = 54321


@pytest.fixture
def uncompiled(monkeypatch):
    """Return a trainer that must not come as far as compiling."""
    trainer = trainer_of()

    def compile_now():
        raise AssertionError("refused too late")

    monkeypatch.setattr(trainer, "_open", compile_now)
    return trainer


@pytest.fixture(autouse=True)
def writer(monkeypatch):
    """Have a library that writes for TensorBoard."""
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: name)


@pytest.fixture
def shut():
    """Return a folder with a log and a model, nothing of which this process may write."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "log.csv").write_text("epoch,loss")
        folder.chmod(0o555)
        if root:
            os.seteuid(SOMEBODY)
        yield folder
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@needs_posix
@pytest.mark.parametrize(
    "make",
    [
        lambda folder: CSVLogger(folder / "new.csv"),
        lambda folder: CSVLogger(folder / "log.csv"),
        lambda folder: CSVLogger(folder / "new" / "log.csv"),
        Checkpoint,
        lambda folder: Checkpoint(folder / "model.safetensors", keep=1),
        lambda folder: Checkpoint(folder / "new"),
        TensorBoard,
        lambda folder: TensorBoard(folder / "new"),
    ],
)
def test_a_folder_that_may_not_be_written_is_refused(make, shut, uncompiled):
    with pytest.raises(UnusableFile) as caught:
        uncompiled.fit(X, LABELS, 1, callbacks=make(shut))
    assert isinstance(caught.value, PermissionError)
    assert str(shut) in caught.value.filename
    assert os.listdir(shut) == ["log.csv"]


@needs_posix
def test_a_log_that_may_not_be_written_is_refused_though_its_folder_may(shut, uncompiled):
    log = shut / "log.csv"
    euid = os.geteuid()
    os.seteuid(os.getuid())
    log.chmod(0o444)
    shut.chmod(0o777)
    os.seteuid(euid)
    with pytest.raises(UnusableFile):
        uncompiled.fit(X, LABELS, 1, callbacks=CSVLogger(log))
    assert os.listdir(shut) == ["log.csv"]


@needs_posix
@pytest.mark.parametrize("kind", [CSVLogger, Checkpoint, TensorBoard])
@pytest.mark.parametrize("place", ["pipe", "file/new", "n" * 300])
def test_a_place_where_there_can_be_no_file_is_refused(kind, place, uncompiled, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    with pytest.raises(UnusableFile):
        uncompiled.fit(X, LABELS, 1, callbacks=kind(tmp_path / place))
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_files_of_somebody_else_are_refused(uncompiled, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("a,b\n")
    trainer_of().fit(X, LABELS, 1, callbacks=Checkpoint(tmp_path / "model.safetensors"))
    for callback in (CSVLogger(log), Checkpoint(tmp_path / "model.safetensors")):
        with pytest.raises(InvalidInput, match="another path"):
            uncompiled.fit(X, LABELS, 1, callbacks=callback)


def test_a_learning_rate_that_no_checkpoint_can_keep_is_refused(uncompiled, tmp_path):
    trainer = trainer_of(optimizer=SGD(lambda step: 0.1))
    trainer._open = uncompiled._open
    with pytest.raises(InvalidInput, match="learning_rate"):
        trainer.fit(X, LABELS, 1, callbacks=Checkpoint(tmp_path))


def test_a_library_that_is_there_no_longer_is_missed(uncompiled, tmp_path, monkeypatch):
    board = TensorBoard(tmp_path)
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="neither is installed"):
        uncompiled.fit(X, LABELS, 1, callbacks=board)


def test_a_refusal_leaves_what_a_resumed_training_goes_on_from(tmp_path):
    (tmp_path / "file").write_text("")
    trainer = trainer_of()
    trainer._callback_states = states = [object()]
    with pytest.raises(UnusableFile):
        trainer.fit(X, LABELS, 1, callbacks=CSVLogger(tmp_path / "file" / "log.csv"))
    assert trainer._callback_states is states


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_the_name_of_no_folder_is_refused_for_tensorboard(path):
    with pytest.raises(InvalidInput, match="folder must be the path of one"):
        TensorBoard(path)


def test_a_folder_in_the_cloud_is_left_to_the_writer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TensorBoard("gs://bucket/run").check(trainer_of())
    assert not os.listdir(tmp_path)
