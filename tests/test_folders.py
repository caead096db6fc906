"""Where caches go when their usual place cannot be written."""

import os
import tempfile

import pytest

from fastnn.folders import writable_folder, write_whole


@pytest.fixture
def nowhere_usual(tmp_path, monkeypatch):
    """Take the usual place away, and give an empty folder for temporary files."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def test_the_usual_place_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path))
    assert writable_folder("kernels") == tmp_path / "kernels"


def test_else_it_is_a_folder_of_this_user(nowhere_usual):
    folder = writable_folder("kernels")
    assert folder.parent.parent == nowhere_usual and folder.name == "kernels"
    assert writable_folder("kernels") == folder


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no numbers of users")
def test_a_folder_that_somebody_else_made_is_not_used(nowhere_usual, monkeypatch):
    other = os.getuid() + 1
    (nowhere_usual / f"fastnn-{other}").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: other)
    folder = writable_folder("kernels")
    assert folder.parent == nowhere_usual and folder.name.startswith("fastnn-")
    assert folder != writable_folder("kernels")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        write_whole(tmp_path / "there", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    write_whole(tmp_path / "file", b"one")
    write_whole(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"
