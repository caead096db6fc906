"""MNIST from files: where it is looked for, what is in it, and what happens to bad files."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mnist_cases import Arrays, Parts, assert_holds, write_idx

from fastnn import datasets
from fastnn.errors import CorruptFile, InvalidInput, MissingFile, UnusableFile


def test_mnist_reads_an_npz_file(tmp_path: Path, arrays: Arrays) -> None:
    np.savez_compressed(tmp_path / "any.npz", **arrays)
    assert_holds(datasets.mnist(tmp_path / "any.npz"), arrays)
    assert_holds(datasets.mnist(str(tmp_path / "any.npz")), arrays)


def test_mnist_reads_a_folder_with_mnist_npz(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays)
    assert_holds(datasets.mnist(tmp_path), arrays)


def test_mnist_reads_a_folder_of_idx_files(tmp_path: Path, arrays: Arrays) -> None:
    assert_holds(datasets.mnist(write_idx(tmp_path, arrays)), arrays)


def test_mnist_reads_unpacked_idx_files(tmp_path: Path, arrays: Arrays) -> None:
    for file in write_idx(tmp_path, arrays).glob("*.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert_holds(datasets.mnist(tmp_path), arrays)


@pytest.mark.usefixtures("expected_sums")
def test_mnist_prefers_the_folder_in_fastnn_data(
    tmp_path: Path, cache: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    assert_holds(datasets.mnist(), arrays)
    assert not cache.exists()


@pytest.mark.usefixtures("expected_sums")
def test_mnist_looks_into_the_cache_where_fastnn_data_has_none(
    tmp_path: Path, cache: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    write_idx(cache, arrays)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    assert_holds(datasets.mnist(), arrays)


@pytest.mark.usefixtures("cache")
def test_mnist_that_is_found_must_have_the_published_sums(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTNN_DATA", str(write_idx(tmp_path, arrays)))
    with pytest.raises(CorruptFile, match=r"x_train in .* is not MNIST's.*remove"):
        datasets.mnist()


@pytest.mark.parametrize("path", [3, "", b"", "a\0b", ["mnist.npz"]])
def test_mnist_refuses_what_is_no_path(path: Any) -> None:
    with pytest.raises(InvalidInput, match="path must be a file or folder name, not"):
        datasets.mnist(path)


@pytest.mark.parametrize("form", [str, Path, os.fsencode])
def test_mnist_says_that_a_path_is_not_there(tmp_path: Path, form: Any) -> None:
    place = form(str(tmp_path / "nowhere.npz"))
    with pytest.raises(MissingFile, match="there is no such file or folder") as missing:
        datasets.mnist(place)
    assert missing.value.filename == str(tmp_path / "nowhere.npz")


def test_mnist_names_the_files_that_a_folder_lacks(tmp_path: Path, arrays: Arrays) -> None:
    (write_idx(tmp_path, arrays) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(MissingFile, match="neither mnist.npz nor t10k-labels-idx1-ubyte.gz") as no:
        datasets.mnist(tmp_path)
    assert no.value.filename == str(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_mnist_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mnist.npz")
    with pytest.raises(UnusableFile, match="a pipe, a device or a socket"):
        datasets.mnist(tmp_path / "mnist.npz")


def test_mnist_says_that_a_path_goes_through_a_file(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(UnusableFile) as refused:
        datasets.mnist(tmp_path / "mnist.npz" / "more")
    assert isinstance(refused.value, NotADirectoryError)


def test_fastnn_data_must_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingFile, match="FASTNN_DATA names this folder, and there is none"):
        datasets.mnist()
    (tmp_path / "file").touch()
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "file"))
    with pytest.raises(UnusableFile, match="FASTNN_DATA names this, which is not a folder") as no:
        datasets.mnist()
    assert isinstance(no.value, NotADirectoryError)


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_truncated_npz_file_is_corrupt(tmp_path: Path, arrays: Arrays, kept: int) -> None:
    file = tmp_path / "cut.npz"
    np.savez(file, **arrays)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CorruptFile, match=r"cut\.npz is not an \.npz file.*replace it"):
        datasets.mnist(file)


def test_a_flipped_byte_in_an_npz_file_is_corrupt(tmp_path: Path, arrays: Arrays) -> None:
    file = tmp_path / "flipped.npz"
    np.savez(file, **arrays)
    content = bytearray(file.read_bytes())
    content[content.index(arrays["x_train"].tobytes()) + 99] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptFile, match="CRC"):
        datasets.mnist(file)


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("kept", [0, 3, 7, 30, -1])
def test_a_truncated_idx_file_is_corrupt(
    tmp_path: Path, arrays: Arrays, kept: int, suffix: str
) -> None:
    file = write_idx(tmp_path, arrays) / "train-images-idx3-ubyte.gz"
    content = file.read_bytes() if suffix else gzip.decompress(file.read_bytes())
    file.with_suffix(suffix).write_bytes(content[:kept])
    with pytest.raises(CorruptFile, match=r"train-images-idx3-ubyte.* not a whole IDX file"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize(
    "head", [b"\x00\x00\x0d\x01\x00\x00\x00\x07", b"PK\x08\x01\x00\x00\x00\x07"]
)
def test_an_idx_file_of_another_type_is_corrupt(
    tmp_path: Path, arrays: Arrays, head: bytes
) -> None:
    file = write_idx(tmp_path, arrays) / "train-labels-idx1-ubyte"
    file.write_bytes(head + bytes(7))
    with pytest.raises(CorruptFile, match="does not start with 0, 0, 8"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x_train", np.zeros((7, 28, 28), np.float32), r"x_train .* is float32 \(7, 28, 28\)"),
        ("x_test", np.zeros((3, 784), np.uint8), r"x_test .* is uint8 \(3, 784\)"),
        ("x_test", np.zeros((), np.uint8), r"x_test .* is uint8 \(\)"),
        ("y_test", np.zeros((3, 1), np.uint8), r"y_test .* is uint8 \(3, 1\)"),
        ("y_test", np.zeros((0,), np.uint8), r"y_test .* is uint8 \(0,\)"),
        ("y_train", np.zeros(6, np.uint8), "7 images but 6 labels in its train part"),
        ("y_train", np.full(7, 10, np.uint8), "y_train .* has label 10"),
        ("y_train", np.array([None] * 7), "Object arrays cannot be loaded"),
    ],
)
def test_arrays_of_another_form_are_corrupt(
    tmp_path: Path, arrays: Arrays, key: str, value: np.ndarray, message: str
) -> None:
    changed = {**arrays, key: value}
    np.savez(tmp_path / "other.npz", **changed)
    with pytest.raises(CorruptFile, match=message):
        datasets.mnist(tmp_path / "other.npz")


@pytest.fixture(scope="module")
def real(data_folder: Path) -> Parts:
    if not (data_folder / "mnist.npz").is_file():
        pytest.skip(f"FASTNN_DATA={data_folder} has no mnist.npz")
    return datasets.mnist()


def test_mnist_has_its_published_counts(real: Parts) -> None:
    (X_train, y_train), (X_test, y_test) = real
    assert (X_train.shape, y_train.shape) == ((60000, 784), (60000,))
    assert (X_test.shape, y_test.shape) == ((10000, 784), (10000,))
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (np.bincount(y_train).tolist(), np.bincount(y_test).tolist()) == (train, test)


def test_mnist_has_its_well_known_mean_and_deviation(real: Parts) -> None:
    # 0.1307 and 0.3081 are the constants that MNIST examples everywhere normalise with.
    X = real[0][0]
    assert (X.min(), X.max(), X.dtype) == (0, 1, np.float32)
    assert float(X.mean(dtype=np.float64)) == pytest.approx(0.1307, abs=5e-5)
    assert float(X[:6000].std(dtype=np.float64)) == pytest.approx(0.3081, abs=2e-3)
