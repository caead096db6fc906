"""The log has each epoch of the history once, whatever has come between."""

import csv
import os
import sys

import pytest
from trainer_cases import LABELS, X, trainer_of

from fastnn import Checkpoint, CSVLogger, EarlyStopping, InvalidInput, Trainer, UnusableFile, sweep

HEADER = ["epoch", "loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds"]
VALIDATION = {"validation_data": (X[:9], LABELS[:9])}


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as log:
        header, *rows = csv.reader(log)
    assert header == HEADER
    return rows


def assert_same(path, history):
    """Check the log against the history, every number with all its digits."""
    rows = rows_of(path)
    assert [int(row[0]) for row in rows] == [*range(1, len(history) + 1)]
    for column, name in enumerate(HEADER[1:], start=1):
        values = [float(row[column]) if row[column] else None for row in rows]
        assert values == getattr(history, name)


def test_each_epoch_is_a_row_before_the_next_begins(tmp_path):
    seen = []

    def look(trainer, history):
        assert_same(tmp_path / "log.csv", history)
        seen.append((tmp_path / "log.csv").read_text("utf-8"))

    calls = [CSVLogger(tmp_path / "log.csv"), look]
    trainer = trainer_of()
    trainer.fit(X, LABELS, 3, callbacks=calls, **VALIDATION)
    trainer.fit(X, LABELS, 2, callbacks=calls)
    assert len(seen) == 5 and all(b.startswith(a) for a, b in zip(seen, seen[1:], strict=False))


def test_rows_are_appended_and_what_is_there_is_not_written_again(tmp_path):
    path = tmp_path / "log.csv"
    files = set()
    note = [CSVLogger(path), lambda *_: files.add(os.stat(path).st_ino) and None]
    trainer_of().fit(X, LABELS, 5, callbacks=note)
    assert len(files) == 1


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5])
def test_a_resumed_training_goes_on_with_the_log(rows, tmp_path):
    """It may lack epochs, have some that are done anew, or end in half a row."""
    path, trainer = tmp_path / "log.csv", trainer_of()
    trainer.fit(X, LABELS, 2, callbacks=[CSVLogger(path), Checkpoint(tmp_path)])
    ahead = trainer_of()
    ahead.fit(X, LABELS, 5, callbacks=CSVLogger(tmp_path / "ahead.csv"))
    lines = (tmp_path / "ahead.csv").read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[: rows + 1]) + "6,0.4", "utf-8")
    resumed = Trainer.resume(f"{tmp_path}/model.safetensors")
    resumed.fit(X, LABELS, 2, callbacks=CSVLogger(path))
    assert len(resumed.history) == 4
    assert_same(path, resumed.history)


def test_epochs_that_were_gone_back_behind_stay_until_they_are_done_anew(tmp_path):
    path, trainer = tmp_path / "log.csv", trainer_of()
    calls = [CSVLogger(path), EarlyStopping(3, "loss", 10.0)]
    trainer.fit(X, LABELS, 20, callbacks=calls)
    assert trainer.epoch == 1 and len(trainer.history) == 5
    assert_same(path, trainer.history)
    trainer.fit(X, LABELS, 0, callbacks=calls)
    assert_same(path, trainer.history)
    trainer.fit(X, LABELS, 1, callbacks=calls[:1])
    assert len(trainer.history) == 2
    assert_same(path, trainer.history)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_no_row_is_cut_off_where_the_disk_is_full(tmp_path):
    import resource

    path, before = tmp_path / "log.csv", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(trainer, history):
        if len(history) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))

    trainer = trainer_of()
    try:
        with pytest.raises(UnusableFile, match="log.csv"):
            trainer.fit(X, LABELS, 5, callbacks=[CSVLogger(path), fill])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [row[0] for row in rows_of(path)] == ["1", "2"]
    trainer.fit(X, LABELS, 2, callbacks=CSVLogger(path))
    assert_same(path, trainer.history)


def test_a_log_that_vanishes_is_written_again(tmp_path):
    path, trainer = tmp_path / "log.csv", trainer_of()
    calls = [CSVLogger(path), lambda trainer, _: path.unlink() if trainer.epoch == 2 else None]
    trainer.fit(X, LABELS, 4, callbacks=calls)
    assert_same(path, trainer.history)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "epoch,loss\n1,2\n", "\0\1"])
def test_a_file_that_is_no_log_is_refused_and_stays(text, tmp_path):
    path, trainer = tmp_path / "log.csv", trainer_of()
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidInput, match=r"is there and no log of fastnn: it starts with"):
        trainer.fit(X, LABELS, 1, callbacks=CSVLogger(path))
    assert trainer.epoch == 0 and path.read_text("utf-8") == text


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")
def test_a_file_of_any_other_kind_is_refused_and_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkdir("folder")
    os.symlink("pipe", "link")
    before = {name: os.lstat(name).st_mode for name in os.listdir()}
    for path in ("pipe", b"pipe", "folder", "link", "x" * 300, "new/", "/dev/null"):
        with pytest.raises(UnusableFile):
            trainer_of().fit(X, LABELS, 1, callbacks=CSVLogger(path))
    for path in ("a\0b", ""):
        with pytest.raises(InvalidInput):
            trainer_of().fit(X, LABELS, 1, callbacks=CSVLogger(path))
    assert {name: os.lstat(name).st_mode for name in os.listdir()} == before
    assert not os.path.isfile("/dev/null")


def test_folders_are_made(tmp_path):
    trainer_of().fit(X, LABELS, 1, callbacks=CSVLogger(os.fsencode(tmp_path / "new" / "log.csv")))
    assert len((tmp_path / "new" / "log.csv").read_text().splitlines()) == 2


def test_no_path_and_several_trainings_are_refused(tmp_path):
    trainer, log = trainer_of(), CSVLogger(tmp_path / "log.csv")
    with pytest.raises(InvalidInput, match="path must be a path, not 3"):
        CSVLogger(3)
    with pytest.raises(InvalidInput, match="follows one training"):
        trainer.fit(X, LABELS, 1, callbacks=log, restarts=2)
    with pytest.raises(InvalidInput, match="follows one training"):
        sweep(trainer, X, LABELS, 1, grid={"l2": [0]}, callbacks=log)
    assert trainer.epoch == 0 and not os.listdir(tmp_path)
