"""MNIST: where its files are found, how they are read, checked and, where missing, downloaded."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import stat
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn.arguments import explained
from fastnn.datasets.planar import Samples
from fastnn.errors import (
    EXHAUSTED,
    CorruptFile,
    FastnnError,
    InvalidInput,
    MissingFile,
    UnusableFile,
    shown,
)

Arrays = dict[str, NDArray[np.uint8]]


class MnistFile(NamedTuple):
    """One of MNIST's four files; SHA-256 of the .gz as published and of the array's bytes in it."""

    name: str
    gz_sha256: str
    array_sha256: str


# Folders, tried in this order, that serve the files of `MNIST_FILES`.
MNIST_URLS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# By the key that the same array has in mnist.npz.
MNIST_FILES = {
    "x_train": MnistFile(
        "train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    ),
    "y_train": MnistFile(
        "train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ),
    "x_test": MnistFile(
        "t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    ),
    "y_test": MnistFile(
        "t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
}


@explained
def mnist(path: str | bytes | os.PathLike[Any] | None = None) -> tuple[Samples, Samples]:
    """Return MNIST's 60000 training and 10000 test digits of 28 x 28 pixels.

    Without `path` the data come from the first of these that has them, and must have MNIST's own
    SHA-256: the folder that the environment variable FASTNN_DATA names; the cache folder
    (``fastnn/datasets`` in XDG_CACHE_HOME or ``~/.cache``; on Windows in LOCALAPPDATA); a download
    of 11.6 MB into the cache folder.

    Parameters
    ----------
    path
        An .npz file with uint8 arrays x_train (n, 28, 28), y_train (n,), x_test and y_test, as
        Keras has it; or a folder that holds it as mnist.npz, or the four original IDX files, each
        as .gz or unpacked. Any data in this form are welcome (Fashion-MNIST, a subset).

    Returns
    -------
    (X_train, y_train), (X_test, y_test)
        X (n, 784) float32, rows of pixels from top left, 0 (paper) to 1 (ink) in steps of 1/255;
        y (n,) int64, the digit.

    Raises
    ------
    InvalidInput
        `path` is no path.
    MissingFile
        `path` or FASTNN_DATA names nothing, or a folder given as `path` lacks the files.
    UnusableFile
        A pipe or a device, a file that cannot be read, or FASTNN_DATA names a file.
    CorruptFile
        A file is damaged, is not in MNIST's form, or differs from MNIST where it must not.
    FastnnError
        The download or its storing failed; the message says where to put the files by hand.
    """
    if path is not None:
        where = _existing(path)
        return _samples(_read(where))
    where = _data_folder()
    arrays = _read(where)
    for key, file in MNIST_FILES.items():
        if hashlib.sha256(arrays[key].tobytes()).hexdigest() != file.array_sha256:
            raise CorruptFile(
                f"{key} in {where} is not MNIST's: its SHA-256 differs; remove mnist.npz or the "
                f"{file.name} there to download it again, or read other data with mnist(path)"
            )
    return _samples(arrays)


def _existing(path: Any) -> Path:
    """Return `path`, a file or a folder with all of MNIST's files in it."""
    try:
        name = os.fsdecode(path)
        if not name or "\0" in name:
            raise ValueError
    except (TypeError, ValueError):
        raise InvalidInput(f"path must be a file or folder name, not {shown(path)}") from None
    where = Path(name)
    if not _there(where):
        what = "there is no such file or folder; path=None finds or downloads MNIST"
        raise MissingFile(errno.ENOENT, what, name)
    if where.is_dir() and (missing := _missing(where)):
        what = f"this folder has neither mnist.npz nor {', '.join(missing)}"
        raise MissingFile(errno.ENOENT, what, name)
    return where


def _there(where: Path) -> bool:
    """Return whether there is something at a path, or raise `UnusableFile` where none can tell."""
    try:
        where.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UnusableFile(error.errno, error.strerror, str(where)) from error
    return True


def _content(file: Path) -> bytes:
    """Return all that is in a file, or raise `UnusableFile`."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # of a pipe, reading would wait
            what = "a pipe, a device or a socket is in the place of the file; choose another path"
            raise UnusableFile(errno.EINVAL, what, str(file))
        return file.read_bytes()
    except UnusableFile:
        raise
    except OSError as error:
        raise UnusableFile(error.errno, f"cannot be read: {error.strerror}", str(file)) from error


def _data_folder() -> Path:
    """Return the folder that has MNIST, downloading what the cache folder lacks."""
    if data := os.environ.get("FASTNN_DATA"):
        if not _there(Path(data)):
            what = "FASTNN_DATA names this folder, and there is none; unset or mend it"
            raise MissingFile(errno.ENOENT, what, data)
        if not Path(data).is_dir():
            what = "FASTNN_DATA names this, which is not a folder; unset or mend it"
            raise UnusableFile(errno.ENOTDIR, what, data)
        if not _missing(Path(data)):
            return Path(data)
    folder = _cache_folder()
    for name in _missing(folder):
        _download(name, folder)
    return folder


def _cache_folder() -> Path:
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "fastnn" / "datasets"


def _idx_path(folder: Path, name: str) -> Path:
    """Return the IDX file in `folder`: unpacked if it is there so, else the .gz, there or not."""
    unpacked = folder / name.removesuffix(".gz")
    return unpacked if unpacked.is_file() else folder / name


def _missing(folder: Path) -> list[str]:
    """Return the names of the files without which `folder` does not hold MNIST."""
    if (folder / "mnist.npz").is_file():
        return []
    names = [file.name for file in MNIST_FILES.values()]
    return [name for name in names if not _idx_path(folder, name).is_file()]


def _read(where: Path) -> Arrays:
    """Read an .npz file, or the files in a folder, and check that they have MNIST's form."""
    if not where.is_dir():
        arrays = _read_npz(where)
    elif (where / "mnist.npz").is_file():
        arrays = _read_npz(where / "mnist.npz")
    else:
        arrays = {key: _read_idx(_idx_path(where, f.name)) for key, f in MNIST_FILES.items()}
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        _require_form(images, "(n, 28, 28)", images.shape[1:] == (28, 28), f"x_{part} in {where}")
        _require_form(labels, "(n,)", labels.ndim == 1, f"y_{part} in {where}")
        if len(images) != len(labels):
            raise CorruptFile(
                f"{where} has {len(images)} images but {len(labels)} labels in its {part} part"
            )
        if labels.max() > 9:
            raise CorruptFile(f"y_{part} in {where} has label {labels.max()}; MNIST's are 0 to 9")
    return arrays


def _require_form(array: NDArray[np.uint8], form: str, fits: bool, what: str) -> None:
    if array.dtype != np.uint8 or not fits or not len(array):
        raise CorruptFile(
            f"{what} is {array.dtype} {array.shape}; MNIST's form is uint8 {form} with n >= 1"
        )


def _read_npz(file: Path) -> Arrays:
    raw = io.BytesIO(_content(file))
    try:
        with np.load(raw, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in MNIST_FILES}
    except EXHAUSTED:
        raise
    # The bytes are in memory, so whatever else is raised here, and damage can raise nearly
    # anything, speaks of their content.
    except Exception as error:
        raise CorruptFile(
            f"{file} is not an .npz file with arrays {', '.join(MNIST_FILES)} ({error}); "
            "replace it, or name a folder to read IDX files"
        ) from error


def _read_idx(file: Path) -> NDArray[np.uint8]:
    """Read unsigned bytes in IDX form: 0, 0, 8, rank, each dimension as big-endian uint32, data."""
    raw = _content(file)
    try:
        if file.suffix == ".gz":
            raw = gzip.decompress(raw)
        rank = raw[3]
        shape = struct.unpack_from(f">{rank}I", raw, 4)
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it does not start with 0, 0, 8")
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, IndexError, ValueError) as error:
        raise CorruptFile(f"{file} is not a whole IDX file ({error}); replace it") from error


def _samples(arrays: Arrays) -> tuple[Samples, Samples]:
    """Scale the images to 0..1, one a row."""

    def part(name: str) -> Samples:
        images = arrays[f"x_{name}"]
        X = np.divide(images.reshape(len(images), -1), np.float32(255), dtype=np.float32)
        return X, arrays[f"y_{name}"].astype(np.int64)

    return part("train"), part("test")


def _download(name: str, folder: Path) -> None:
    """Store the file `name` of `MNIST_FILES` in `folder`, whole and checked or not at all."""
    (expected,) = (f.gz_sha256 for f in MNIST_FILES.values() if f.name == name)
    by_hand = (
        f"Download {name} elsewhere and put it into {folder}, or name a folder that has MNIST in "
        "the environment variable FASTNN_DATA or as mnist(path)"
    )
    failures: list[str] = []
    damaged = False
    for base in MNIST_URLS:
        try:
            content = _fetch(base + name)
        except OSError as error:
            failures.append(f"{base}: {error}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == expected:
            try:
                _store(content, folder / name)
            except OSError as error:
                raise FastnnError(f"{folder} cannot be written ({error}). {by_hand}") from error
            return
        damaged = True
        failures.append(f"{base}: SHA-256 {found} instead of {expected}")
    raise (CorruptFile if damaged else FastnnError)(
        f"{name} could not be downloaded. {'; '.join(failures)}. {by_hand}"
    )


def _fetch(url: str) -> bytes:
    # Imported here because it takes 40 ms, and a download is rare.
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=30) as response:
            content: bytes = response.read()
            return content
    except HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _store(content: bytes, file: Path) -> None:
    """Write `file` so that no reader, and no interruption, ever sees a part of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(beside, file)
    finally:
        Path(beside).unlink(missing_ok=True)
