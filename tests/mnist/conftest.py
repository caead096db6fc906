"""Small arrays in the form of MNIST, and places that hold no other data."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from mnist_cases import Arrays, published

from fastnn.datasets import mnist_files

CACHE_VARIABLE = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"


@pytest.fixture
def arrays() -> Arrays:
    generator = np.random.default_rng(5)
    small: Arrays = {}
    for part, n in (("train", 7), ("test", 3)):
        small[f"x_{part}"] = generator.integers(0, 256, (n, 28, 28), np.uint8)
        small[f"x_{part}"][0, 0, :2] = 0, 255
        small[f"y_{part}"] = generator.integers(0, 10, n, np.uint8)
    return small


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name an empty cache folder, which is not made yet, and unset FASTNN_DATA."""
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "fastnn" / "datasets"


@pytest.fixture
def expected_sums(arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small arrays' checksums stand for MNIST's."""
    sums = {
        key: mnist_files.MnistFile(
            file.name,
            hashlib.sha256(published(arrays)[file.name]).hexdigest(),
            hashlib.sha256(arrays[key].tobytes()).hexdigest(),
        )
        for key, file in mnist_files.MNIST_FILES.items()
    }
    monkeypatch.setattr(mnist_files, "MNIST_FILES", sums)
