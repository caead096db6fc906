"""Files that are written whole or not at all, and what killed processes leave."""

import os
import subprocess
import sys

import pytest

from fastnn.storage import whole_files
from fastnn.storage.whole_files import write_whole

needs_locks = pytest.mark.skipif(whole_files.fcntl is None, reason="this system has no such locks")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        write_whole(tmp_path / "there", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    write_whole(tmp_path / "file", b"one")
    write_whole(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"


LEAVE_A_PART = """
import os, sys
from pathlib import Path
from fastnn.storage.whole_files import write_whole
os.replace = lambda *_: os.kill(os.getpid(), 9)
write_whole(Path(sys.argv[1]), b"new")
"""


@needs_locks
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    file = tmp_path / "file"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", LEAVE_A_PART, str(file)], check=False)
        assert len(list(tmp_path.iterdir())) == 1
    whole_files._swept.clear()
    write_whole(file, b"whole")
    assert list(tmp_path.iterdir()) == [file]


@needs_locks
def test_what_another_process_is_writing_is_left_alone(tmp_path):
    part, descriptor = whole_files._open_part(tmp_path, 0o600)
    try:
        whole_files._swept.clear()
        write_whole(tmp_path / "file", b"whole")
        assert part.exists()
    finally:
        os.close(descriptor)


@needs_locks
def test_a_part_that_was_swept_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    taken = []

    def lock(descriptor):
        if not taken:
            (part,) = tmp_path.iterdir()
            taken.append(part)
            part.unlink()
        return True

    monkeypatch.setattr(whole_files, "_lock", lock)
    write_whole(tmp_path / "file", b"whole")
    assert taken and (tmp_path / "file").read_bytes() == b"whole"
