"""Files: whole or not there, and never misread."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fastnn.errors import CorruptFile, FastnnError, MissingFile
from fastnn.storage import tensor_file

SMALL = {"W": np.ones(())}
METADATA: dict[str, Any] = {
    "epoch": 3,
    "rate": 0.1,
    "name": "Größe",
    "loss": [1 / 3, None, float("inf")],
    "nested": {"b": True, "a": []},
}


def tensors() -> dict[str, np.ndarray]:
    """Return arrays of several dtypes, shapes and layouts."""
    base = np.arange(12.0).reshape(3, 4)
    return {
        "weights": base.astype(np.float32),
        "fortran": np.asfortranarray(base),
        "strided": base[::-1, ::2],
        "transposed": base.T,
        "labels": np.array([3, 1, 2]),
        "scalar": np.array(2.5),
        "none": np.zeros((0, 3)),
        "broadcast": np.broadcast_to(np.float64(1.5), (2, 2)),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the path of a small file that fastnn wrote."""
    path = tmp_path / "model.safetensors"
    tensor_file.write(path, {"W": np.arange(6.0).reshape(2, 3), "b": np.ones(3)}, {"epoch": 3})
    return path


def only_file(path: Path) -> bool:
    """Return whether the folder holds `path` and nothing else."""
    return list(path.parent.iterdir()) == [path]


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "model"
    before = tensors()
    tensor_file.write(path, before, METADATA)
    after, metadata = tensor_file.read(path)
    assert metadata == METADATA
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype and after[name].shape == tensor.shape
        assert np.array_equal(after[name], tensor)
    assert only_file(path)


def test_paths_may_be_strings(tmp_path):
    path = str(tmp_path / "model")
    tensor_file.write(path, SMALL, {})
    assert tensor_file.read(path)[0]["W"] == 1.0


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in "ab":
        tensor_file.write(tmp_path / name, tensors(), METADATA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_others_can_read_the_tensors(saved):
    assert load_file(saved)["W"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_cut_short_leaves_the_old_file(saved, monkeypatch, step, error):
    def stop(*_: Any) -> None:
        raise error("cut short")

    before = saved.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(os, step, stop)
        tensor_file.write(saved, tensors(), {"epoch": 4})
    assert saved.read_bytes() == before
    assert only_file(saved)


def test_a_kill_before_the_rename_leaves_the_old_file_whole(saved):
    code = (
        "import os, sys; from numpy import zeros; "
        "from fastnn.storage import tensor_file as checkpoint;"
        "os.replace = lambda *_: os._exit(9);"
        "checkpoint.write(sys.argv[1], {'W': zeros(2)}, {'epoch': 4})"
    )
    assert subprocess.run([sys.executable, "-c", code, saved], check=False).returncode == 9
    assert tensor_file.read(saved)[1] == {"epoch": 3}
    tensor_file.write(saved, SMALL, {"epoch": 5})  # what the kill left behind is in nobody's way
    assert tensor_file.read(saved)[1] == {"epoch": 5}


def test_metadata_that_json_cannot_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        tensor_file.write(tmp_path / "model", SMALL, {"epoch": np.int64(3)})
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named_as_the_caller_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFile, match=r"make it first.*'absent'") as caught:
        tensor_file.write(Path("absent") / "model", SMALL, {})
    assert caught.value.errno == errno.ENOENT and caught.value.filename == "absent"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another error here")
def test_any_other_error_names_the_file_that_was_to_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        tensor_file.write(tmp_path / "file" / "model", SMALL, {})
    assert caught.value.filename == str(tmp_path / "file" / "model")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder'$"):
        tensor_file.write(tmp_path / "folder", SMALL, {})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_permissions_are_those_of_any_new_file_and_then_stay(tmp_path):
    path, other = tmp_path / "model", tmp_path / "other"
    tensor_file.write(path, SMALL, {})
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
    path.chmod(0o640)
    tensor_file.write(path, SMALL, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights")
def test_a_link_is_followed(saved, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(saved)
    tensor_file.write(link, SMALL, {"epoch": 9})
    assert link.is_symlink() and tensor_file.read(saved)[1] == {"epoch": 9}


def test_a_missing_file_is_named_and_so_is_the_remedy(tmp_path):
    with pytest.raises(MissingFile, match=r"Trainer.save.*absent'") as caught:
        tensor_file.read(tmp_path / "absent")
    assert isinstance(caught.value, FileNotFoundError) and isinstance(caught.value, FastnnError)
    assert caught.value.filename == str(tmp_path / "absent")
    with pytest.raises(IsADirectoryError if sys.platform != "win32" else PermissionError):
        tensor_file.read(tmp_path)


def refused(path: Path, content: bytes, said: str = "") -> None:
    """Assert that `content` is refused with a message that names the file."""
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=f"^{path} .*{said}"):
        tensor_file.read(path)


def test_a_file_truncated_anywhere_is_refused(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        refused(saved, content[:length], "truncated")


def test_a_longer_file_is_refused(saved):
    refused(saved, saved.read_bytes() + b"\0", "truncated")


def test_a_flipped_bit_anywhere_is_refused(saved):
    content = saved.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            refused(saved, bytes(damaged))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4" * 100, b"\x80\4" + bytes(99)])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    refused(tmp_path / "model", content, "not a file that fastnn wrote.*save the model again")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_safetensors_file_of_another_program_is_refused(tmp_path, metadata):
    path = tmp_path / "model"
    save_file({"W": np.ones(2)}, path, metadata)
    with pytest.raises(CorruptFile, match=f"{path} .*not one that fastnn wrote; pass a file"):
        tensor_file.read(path)


def test_a_file_of_a_later_version_asks_for_an_upgrade(tmp_path, monkeypatch):
    path = tmp_path / "model"
    with monkeypatch.context() as patch:
        patch.setattr(tensor_file, "FORMAT", tensor_file.FORMAT + 1)
        tensor_file.write(path, SMALL, {})
    with pytest.raises(CorruptFile, match=f"{path} has format 3 but .* up to 2; upgrade fastnn"):
        tensor_file.read(path)


@pytest.mark.parametrize(
    "header",
    [None, 3, [], {}, {"format": 1}, {"format": "1"}, {"format": 0}, {"format": 1, "sha256": ""}],
)
def test_a_header_of_another_form_is_refused(tmp_path, header):
    path = tmp_path / "model"
    save_file({"W": np.ones(2)}, path, {"fastnn": json.dumps(header)})
    with pytest.raises(CorruptFile, match="damaged"):
        tensor_file.read(path)


def test_a_header_nested_too_deep_is_refused(tmp_path):
    path = tmp_path / "model"
    save_file({"W": np.ones(2)}, path, {"fastnn": "[" * 100_000})
    with pytest.raises(CorruptFile, match="damaged"):
        tensor_file.read(path)


def test_a_tensor_that_was_changed_or_renamed_is_refused(saved):
    content = saved.read_bytes()
    refused(saved, content.replace(b'"W"', b'"V"', 1), "checksum")
    refused(saved, content.replace(b"[2,3]", b"[3,2]", 1), "checksum")
