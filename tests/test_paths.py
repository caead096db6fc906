"""Paths of models that are no regular files: refused by name, and left as they are."""

import errno
import os
import pickle
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from fastnn import Dense, FastnnError, InvalidInput, MissingFile, Network, Trainer, UnusableFile
from fastnn.storage import tensor_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
SMALL = {"W": np.ones(())}


@pytest.fixture(scope="module")
def trainer():
    return Trainer(Network(2, [Dense(2)]), target="numpy")


def pipe(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def link_to_pipe(folder):
    (folder / "link").symlink_to(pipe(folder))
    return folder / "link"


NO_FILES = {
    "a folder": (lambda folder: folder, errno.EISDIR),
    "a pipe": (pipe, errno.EINVAL),
    "a link to a pipe": (link_to_pipe, errno.EINVAL),
    "/dev/null": (lambda folder: Path("/dev/null"), errno.EINVAL),
    "/dev/full": (lambda folder: Path("/dev/full"), errno.EINVAL),
    "/dev/stdin": (lambda folder: Path("/dev/tty"), errno.EINVAL),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_neither_replaced_nor_read(tmp_path, trainer, kind):
    make, number = NO_FILES[kind]
    path = make(tmp_path)
    before = path.lstat()
    for call in (trainer.save, Trainer.load):
        with pytest.raises(UnusableFile) as caught:
            call(path)
        assert caught.value.errno == number and caught.value.filename == str(path)
        assert isinstance(caught.value, FastnnError) and isinstance(caught.value, OSError)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert not list(tmp_path.glob(".fastnn-*"))


def test_such_an_error_is_also_the_system_s_own_and_can_be_pickled(tmp_path, trainer):
    with pytest.raises(IsADirectoryError) as caught:
        trainer.save(tmp_path)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, IsADirectoryError) and isinstance(again, UnusableFile)
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("path", [b"model", "model", Path("model")])
def test_a_path_is_text_bytes_or_a_path(tmp_path, monkeypatch, trainer, path):
    monkeypatch.chdir(tmp_path)
    trainer.save(path)
    assert repr(Trainer.load(path)) == repr(trainer)
    assert os.listdir() == ["model"]


@pytest.mark.parametrize("path", [None, 3, True, 1.5, [], "", b"", "a\0b", b"a\0b", object()])
def test_anything_else_is_no_path(trainer, path):
    for call in (trainer.save, Trainer.load):
        with pytest.raises(InvalidInput, match="path must be the path of a file"):
            call(path)


@pytest.mark.parametrize("path", ["x" * 300, "model/", "new/", "a/b", "file/model"])
def test_a_path_that_cannot_be_is_an_error_of_the_family(tmp_path, monkeypatch, trainer, path):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("model").mkdir()
    for call in (trainer.save, Trainer.load):
        with pytest.raises((UnusableFile, MissingFile)):
            call(path)
    assert sorted(os.listdir()) == ["file", "model"]


def test_a_link_to_nothing_is_where_the_file_is_made(tmp_path, trainer):
    link = tmp_path / "link"
    link.symlink_to("later")
    with pytest.raises(MissingFile):
        Trainer.load(link)
    trainer.save(link)
    assert link.is_symlink() and (tmp_path / "later").is_file()
    link.unlink()
    link.symlink_to(tmp_path / "nowhere" / "model")
    with pytest.raises(MissingFile, match="nowhere.*no such folder|no such folder.*nowhere"):
        trainer.save(link)
    link.unlink()
    link.symlink_to(link)
    for call in (trainer.save, Trainer.load):
        with pytest.raises(UnusableFile):
            call(link)


AS_SOMEBODY = """
import os, sys
import numpy as np
import safetensors.numpy
from fastnn import FastnnError
from fastnn.storage import tensor_file as checkpoint

os.seteuid(54321)
for path in sys.argv[1:]:
    write = lambda: checkpoint.write(path, {"W": np.ones(())}, {})
    for call in (write, lambda: checkpoint.read(path)):
        try:
            call()
            print("done")
        except FastnnError as error:
            print(type(error).__name__, isinstance(error, PermissionError))
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root becomes somebody else"
)
def test_what_may_not_be_written_stays_as_it_is():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder, shut = Path(name), Path(name) / "shut"
        folder.chmod(0o777)
        file, secret = folder / "file", folder / "secret"
        tensor_file.write(file, SMALL, {"epoch": 1})
        tensor_file.write(secret, SMALL, {})
        file.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        secret.chmod(0)
        shut.mkdir(mode=0o755)
        paths = [str(each) for each in (file, shut / "model", secret)]
        done = subprocess.run(
            [sys.executable, "-c", AS_SOMEBODY, *paths], capture_output=True, text=True
        )
        refused = "UnusableFile True"
        assert done.stdout.splitlines() == [
            *(refused, "done"),
            *(refused, "MissingFile False"),
            *(refused, refused),
        ], done.stderr
        assert tensor_file.read(file)[1] == {"epoch": 1}
        assert sorted(each.name for each in folder.iterdir()) == ["file", "secret", "shut"]
