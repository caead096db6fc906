"""Real tables that the examples learn from."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, importing

if TYPE_CHECKING:
    import pandas as pd

_HOUSING = ("california-housing.csv.gz", "housing.csv")
_COLUMNS = (
    "longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population",
    "households", "median_income",
)  # fmt: skip
_PRICE = "median_house_value"


_ADULT = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week",
    "native_country", "income",
)  # fmt: skip


def adult() -> tuple[pd.DataFrame, pd.Series, pd.DataFrame, pd.Series]:
    """Return adults in the US census of 1994: X and labels to train on, and those to test with.

    UCI Adult (Kohavi 1996, "Scaling up the accuracy of naive-Bayes classifiers"): 32561 and 16281
    rows of 14 columns, numbers and categories, where "?" is missing; whether income is ">50K".

    Raises
    ------
    InvalidInput
        The files are nowhere; the message says where to get them and where to put them.
    CorruptFile
        A file without these columns.
    MissingExtra
        pandas is not installed.
    """
    with importing("this table is read by pandas, which", 'pip install "fastnn[tables]"'):
        import pandas as pd
    parts = []
    for names in (("adult-train.csv.gz", "adult.data"), ("adult-test.csv.gz", "adult.test")):
        file = _find(names, "the two files from https://archive.ics.uci.edu/dataset/2/adult")
        try:
            table = pd.read_csv(
                file, names=_ADULT, skipinitialspace=True, na_values="?", comment="|"
            )
            labels = table.pop("income").str.rstrip(".")
            if not labels.isin(["<=50K", ">50K"]).all():
                raise ValueError("the last column is not <=50K or >50K everywhere")
        except (OSError, EOFError, zlib.error, AttributeError, ValueError) as error:
            raise CorruptFile(f"{file} is not UCI Adult ({error!r}); download it again") from error
        parts += [table, labels]
    return parts[0], parts[1], parts[2], parts[3]


def california_housing() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return districts of California in the census of 1990: X (n, 8), prices in 100000 $, names.

    Pace & Barry 1997, "Sparse spatial autoregressions". Districts with a missing number are left
    out. Where FASTNN_DATA names no folder, and this one has no such file, they are the 1022 that
    come with fastnn: every 20th of them, from the public records of the census.

    >>> X, y, names = california_housing()
    >>> X.shape[1], names[-1]
    (8, 'median_income')

    Raises
    ------
    InvalidInput
        The folder of FASTNN_DATA has no such file; the message says where to get it.
    CorruptFile
        A file without these columns.
    """
    if not os.environ.get("FASTNN_DATA") and not any(Path(each).is_file() for each in _HOUSING):
        with resources.files("fastnn.examples").joinpath("districts.npz").open("rb") as stream:
            table = np.load(stream, allow_pickle=False)["table"].astype(np.float64)
        return table[:, :-1], table[:, -1] / 100_000, _COLUMNS
    file = _find(
        _HOUSING,
        "housing.csv from https://github.com/ageron/handson-ml/tree/master/datasets/housing",
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


def _find(names: tuple[str, ...], what: str) -> Path:
    """Return the first of these files that is in the folder of data."""
    folder = Path(os.environ.get("FASTNN_DATA") or ".")
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise InvalidInput(
            f"{folder} has neither {' nor '.join(names)}; download {what} and name the folder in "
            "the environment variable FASTNN_DATA"
        )
    return file


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
    with importing("these data come with scikit-learn, which", 'pip install "fastnn[sklearn]"'):
        from sklearn.datasets import load_breast_cancer
    found = load_breast_cancer()
    return found.data, found.target, [str(name) for name in found.feature_names]
