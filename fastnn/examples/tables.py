"""Real tables that the examples learn from."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from pathlib import Path

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, MissingExtra

_HOUSING = ("california-housing.csv.gz", "housing.csv")
_COLUMNS = (
    "longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population",
    "households", "median_income",
)  # fmt: skip
_PRICE = "median_house_value"


def california_housing() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return districts of California in the census of 1990: X (n, 8), prices in 100000 $, names.

    Pace & Barry 1997, "Sparse spatial autoregressions". Districts with a missing number are left
    out.

    Raises
    ------
    InvalidInput
        The file is nowhere; the message says where to get it and where to put it.
    CorruptFile
        A file without these columns.
    """
    folder = Path(os.environ.get("FASTNN_DATA") or ".")
    file = next((folder / name for name in _HOUSING if (folder / name).is_file()), None)
    if file is None:
        raise InvalidInput(
            f"{folder} has neither {' nor '.join(_HOUSING)}; download housing.csv from "
            "https://github.com/ageron/handson-ml/tree/master/datasets/housing and name its folder "
            "in the environment variable FASTNN_DATA"
        )
    names = (*_COLUMNS, _PRICE)
    try:
        rows = _columns(file, names)
    except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
        raise CorruptFile(
            f"{file} is no table with numbers in the columns {', '.join(names)} ({error!r}); "
            "download it again"
        ) from error
    rows = rows[np.isfinite(rows).all(axis=1)]
    return rows[:, :-1], rows[:, -1] / 100_000, _COLUMNS


def _columns(file: Path, names: tuple[str, ...]) -> np.ndarray:
    """Return these columns of a file of comma-separated values, (n, columns); empty is NaN."""
    raw = file.read_bytes()
    text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
    lines = list(csv.DictReader(io.StringIO(text)))
    if not lines:
        raise ValueError("it has no rows")
    return np.array([[float(line[name] or "nan") for name in names] for line in lines])


def breast_cancer() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return 569 tumours as scikit-learn ships them: X (569, 30), 1 for benign, names of columns.

    Breast Cancer Wisconsin (Diagnostic), UCI Machine Learning Repository (Wolberg et al. 1995).

    Raises
    ------
    MissingExtra
        scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError as error:
        raise MissingExtra(
            f"these data come with scikit-learn, which cannot be imported here ({error}); "
            'install it with: pip install "fastnn[sklearn]"'
        ) from error
    found = load_breast_cancer()
    return found.data, found.target, [str(name) for name in found.feature_names]
