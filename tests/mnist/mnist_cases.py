"""Small arrays in the form of MNIST, as files, and what reading them must give."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.datasets import mnist_files

Arrays = dict[str, Any]
Parts = tuple[Any, Any]


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def published(arrays: Arrays) -> dict[str, bytes]:
    """Return the four .gz files by name."""
    return {
        file.name: gzip.compress(idx(arrays[key]), mtime=0)
        for key, file in mnist_files.MNIST_FILES.items()
    }


def write_idx(folder: Path, arrays: Arrays) -> Path:
    for name, content in published(arrays).items():
        (folder / name).write_bytes(content)
    return folder


def assert_holds(parts: Parts, arrays: Arrays) -> None:
    for (X, y), part in zip(parts, ("train", "test"), strict=True):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        assert (X.dtype, y.dtype, X.min(), X.max()) == (np.float32, np.int64, 0, 1)
        expected = images.reshape(len(images), 784).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(X, expected)
        np.testing.assert_array_equal(y, labels)
