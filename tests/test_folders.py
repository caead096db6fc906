"""Where caches go, and which of them are trusted."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fastnn import CacheWarning
from fastnn.storage import cache_folders
from fastnn.storage.cache_folders import Untrusted, cache_folder, read_trusted, write_trusted

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid"), reason="this system has no modes of files"
)
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
SOMEBODY = 54321


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Give a place for caches and one for temporary files, and let every test warn once."""
    chosen, temporary = tmp_path / "chosen", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(chosen))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(cache_folders, "_warned", False)
    cache_folders._passing.cache_clear()
    return chosen, temporary


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_chosen_place_comes_first_and_is_for_this_user_alone(places):
    folder = cache_folder("kernels")
    assert folder == places[0] / "kernels"
    assert mode_of(folder) == mode_of(places[0]) == 0o700


def test_of_parents_only_what_is_missing_is_made(places, monkeypatch):
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(places[0] / "a" / "b"))
    places[0].mkdir(mode=0o755)
    cache_folder("kernels")
    assert mode_of(places[0]) == 0o755
    assert mode_of(places[0] / "a") == mode_of(places[0] / "a" / "b") == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_what_others_can_write_is_not_used_and_one_warning_says_so(places, mode):
    chosen, temporary = places
    (chosen / "kernels").mkdir(parents=True)
    (chosen / "kernels").chmod(mode)
    with pytest.warns(CacheWarning, match=f"other users may write to {chosen}/kernels .*go-w"):
        folder = cache_folder("kernels")
    assert folder == temporary / f"fastnn-{os.geteuid()}" / "kernels"
    assert mode_of(folder) == mode_of(folder.parent) == 0o700
    assert cache_folder("kernels") == folder  # without another warning, which would be an error


def test_a_folder_above_may_be_sticky(places):
    places[0].mkdir()
    places[0].chmod(0o1777)
    assert cache_folder("kernels") == places[0] / "kernels"
    places[0].chmod(0o777)
    with pytest.warns(CacheWarning, match="other users may write"):
        assert cache_folder("kernels").parent.parent == places[1]


@as_root
@pytest.mark.parametrize("which", ["kernels", "."])
def test_what_another_user_owns_is_not_used(places, which):
    cache_folder("kernels")
    os.chown(places[0] / which, SOMEBODY, -1)
    with pytest.warns(CacheWarning, match=f"belongs to another user .number {SOMEBODY}"):
        assert cache_folder("kernels").parent.parent == places[1]


@as_root
def test_what_root_owns_is_trusted_by_others(places, monkeypatch):
    write_trusted(cache_folder("kernels") / "file", b"content")
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert read_trusted(cache_folder("kernels") / "file") == b"content"


def test_a_link_of_this_user_is_followed(places, tmp_path):
    (tmp_path / "real").mkdir()
    places[0].symlink_to("real")
    assert cache_folder("kernels") == tmp_path / "real" / "kernels"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        cache_folders._trusted(tmp_path / "round" / "kernels")


def test_a_link_to_where_others_can_write_is_not_followed(places, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o777)
    places[0].symlink_to(tmp_path / "theirs" / ".." / "theirs")
    with pytest.warns(CacheWarning, match=f"other users may write to {tmp_path}/theirs"):
        cache_folder("kernels")


@pytest.mark.parametrize("made", ["of all", "a link", "a file"])
def test_a_folder_that_somebody_laid_out_among_temporary_files_is_not_used(places, made):
    chosen, temporary = places
    own = temporary / f"fastnn-{os.geteuid()}"
    if made == "of all":
        own.mkdir()
        own.chmod(0o777)
    elif made == "a link":
        (temporary / "theirs").mkdir()
        (temporary / "theirs").chmod(0o777)
        own.symlink_to(temporary / "theirs")
    else:
        own.write_text("")
    chosen.write_text("no folder")
    with pytest.warns(CacheWarning, match="chosen: Not a directory"):
        folder = cache_folder("kernels")
    assert folder.parent.parent == temporary and folder.parent.name.startswith("fastnn-")
    assert folder.parent != own and mode_of(folder.parent) == 0o700
    assert cache_folder("kernels") == folder


def test_a_passing_folder_goes_with_its_process(tmp_path):
    (tmp_path / f"fastnn-{os.geteuid()}").write_text("")
    code = (
        "from fastnn.storage import cache_folders as folders;"
        "print(folders.cache_folder('a')); print(folders._passing())"
    )
    environment = os.environ | {"FASTNN_CACHE_DIR": "/dev/null/a", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    made = Path(done.stdout.decode().splitlines()[1])
    assert made.parent == tmp_path and not made.exists()


@pytest.mark.parametrize("home", ["", "relative", None])
def test_without_a_home_caches_are_among_temporary_files(places, monkeypatch, home):
    import pwd

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("FASTNN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "also/relative")
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    assert cache_folder("kernels").parent.parent == places[1]


def test_a_tilde_is_the_home_and_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FASTNN_CACHE_DIR", "~/own")
    assert cache_folder("kernels") == tmp_path / "own" / "kernels"
    cache_folders._absolute.cache_clear()
    monkeypatch.setenv("FASTNN_CACHE_DIR", "near")
    monkeypatch.setattr(cache_folders, "__started_in__", str(tmp_path))  # when fastnn was imported
    monkeypatch.chdir("/")
    assert cache_folder("kernels") == tmp_path / "near" / "kernels"


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_file_that_others_can_write_is_not_read(places, mode):
    file = cache_folder("kernels") / "file"
    assert read_trusted(file) is None
    write_trusted(file, b"content")
    assert read_trusted(file) == b"content" and mode_of(file) == 0o600
    file.chmod(mode)
    with pytest.raises(Untrusted, match=f"other users may write to {file}"):
        read_trusted(file)
    write_trusted(file, b"new")
    assert read_trusted(file) == b"new" and mode_of(file) == 0o600


@as_root
def test_a_file_of_another_user_is_not_read(places):
    file = cache_folder("kernels") / "file"
    write_trusted(file, b"content")
    os.chown(file, SOMEBODY, -1)
    with pytest.raises(Untrusted, match="another user"):
        read_trusted(file)


def test_what_is_no_file_is_not_read_and_not_waited_for(places):
    folder = cache_folder("kernels")
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(folder / "pipe")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(OSError):  # noqa: PT011 - the system's words
            read_trusted(folder / name)


READ_ONLY = """
import os, sys, warnings
from pathlib import Path
from fastnn.storage.cache_folders import cache_folder, read_trusted, write_trusted
warnings.simplefilter("error")
os.seteuid(54321)
folder = cache_folder("kernels")
print(folder, read_trusted(folder / "file"))
write_trusted(folder / "file", b"new")
write_trusted(folder / "other", b"new")
print(read_trusted(folder / "file"), read_trusted(folder / "other"))
print(cache_folder("others"))
"""


@as_root
def test_a_folder_that_can_only_be_read_is_read_and_not_written_without_a_word(places):
    # Below the folders of pytest, which only root may enter, nobody else finds anything.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        base = Path(name)
        base.chmod(0o755)
        (base / "kernels").mkdir()
        (base / "kernels").chmod(0o755)
        (base / "kernels" / "file").write_bytes(b"content")
        environment = os.environ | {"FASTNN_CACHE_DIR": name, "TMPDIR": "/tmp"}
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY], env=environment, capture_output=True, text=True
        )
        assert done.stdout.splitlines() == [
            f"{base}/kernels b'content'",
            "b'content' None",
            "/tmp/fastnn-54321/others",
        ], done.stderr
