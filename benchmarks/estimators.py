"""Estimators beside scikit-learn's of the same name: accuracy, the whole fit, one row predicted.

    python benchmarks/estimators.py [--quick] [--seeds 20] [--data wine,digits] [--fits adam]
    python benchmarks/estimators.py --sparse
    python benchmarks/estimators.py --memory

For each table and fit, a row: mean and standard deviation of the test score of both over the seeds,
seconds of the whole `fit` of both (the least of the seeds'), and their ratio. Both have the same
settings and epochs, and begin when the processors have come to rest. A mean score of fastnn's below
scikit-learn's by more than a standard deviation is said: by five seeds some are by chance, so such
a row is of 30. Nothing is said where fastnn has settings of its own: "linear by 32" makes 32 times
fewer steps, at rates that are meant for single rows, which scores higher on some tables and lower
on others. The tables of `adult` and `housing` are read from the folder FASTNN_DATA. Further
estimators are rows of `FITS`.

`--memory` prints, for sparse rows of 20,000 columns of which 1 % is stored, how far the resident
memory of a fresh process rises at most in a fit of two epochs, beside what the matrix takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from options import listed

import fastnn
from fastnn.errors import FastnnError
from fastnn.examples import tables

SEEDS, MORE_SEEDS = 5, 30
# Threads of linear algebra wait awake for a tenth of a second after their last work: whoever is
# measured next would have to do with the rest of the processors.
REST = 0.3


@dataclass(frozen=True)
class Fit:
    """Two estimators of one name, and their settings.

    Attributes
    ----------
    classifier, regressor
        (module of scikit-learn, name of the class) for tables of labels and of numbers; None where
        there is no such estimator.
    settings
        Of both.
    own
        Of fastnn's alone.
    """

    classifier: tuple[str, str] | None
    regressor: tuple[str, str] | None
    settings: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)


_MLP = ("sklearn.neural_network", "MLPClassifier"), ("sklearn.neural_network", "MLPRegressor")
_SGD = ("sklearn.linear_model", "SGDClassifier"), ("sklearn.linear_model", "SGDRegressor")
_LINEAR = {"max_iter": 30, "tol": None, "alpha": 1e-3}
FITS: dict[str, Fit] = {
    "adam": Fit(*_MLP, {"max_iter": 30, "batch_size": 200, "tol": 0.0}),
    "sgd": Fit(*_MLP, {"max_iter": 30, "batch_size": 32, "tol": 0.0, "solver": "sgd",
                       "learning_rate_init": 0.01}),
    "stopped early": Fit(*_MLP, {"max_iter": 30, "early_stopping": True}),
    "defaults": Fit(*_SGD),
    "linear": Fit(*_SGD, _LINEAR),
    "linear by 32": Fit(*_SGD, _LINEAR, {"batch_size": 32}),
    "averaged": Fit(*_SGD, {**_LINEAR, "average": True}),
    "logistic": Fit(_SGD[0], None, {**_LINEAR, "loss": "log_loss", "class_weight": "balanced"}),
    "perceptron": Fit(("sklearn.linear_model", "Perceptron"), None, {"max_iter": 30, "tol": None}),
}  # fmt: skip


def _shipped(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets

    loaded = getattr(datasets, f"load_{name}")(return_X_y=True)
    return loaded[0], loaded[1]


def _housing() -> tuple[np.ndarray, np.ndarray]:
    return tables.california_housing()[:2]


def _adult() -> tuple[np.ndarray, np.ndarray]:
    """Return numbers and one-hot columns of words, dense: scikit-learn's fit is measured on it."""
    import pandas as pd

    X, y, _, _ = tables.adult()
    return pd.get_dummies(X, dtype=float).fillna(0.0).to_numpy(), y.to_numpy()


DATA: dict[str, tuple[Callable[[], tuple[np.ndarray, np.ndarray]], bool]] = {
    "digits": (lambda: _shipped("digits"), True),
    "cancer": (lambda: _shipped("breast_cancer"), True),
    "wine": (lambda: _shipped("wine"), True),
    "diabetes": (lambda: _shipped("diabetes"), False),
    "housing": (_housing, False),
    "adult": (_adult, True),
}


def split(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]:
    """Return rows and labels to train on and to test on, standardized, and whether they are labels.

    Raises
    ------
    FastnnError, ImportError
        The table is not there.
    """
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    load, labelled = DATA[name]
    X, y = load()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    if not labelled:
        mean, spread = y_train.mean(), y_train.std()
        y_train, y_test = (y_train - mean) / spread, (y_test - mean) / spread
    return scaler.transform(X_train), y_train, scaler.transform(X_test), y_test, labelled


def measured(
    kind: Any, settings: dict[str, Any], data: tuple[Any, ...]
) -> tuple[float, float, Any]:
    """Return test score, seconds of the fit and the model."""
    X_train, y_train, X_test, y_test = data
    model = kind(**settings)
    start = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    return float(model.score(X_test, y_test)), seconds, model


def compare_sparse(seeds: int, rows: int = 20_000, columns: int = 20_000) -> None:
    """Print the row of 1 % dense features, of logistic regressions: theirs by single rows.

    Then what an epoch of all rows takes: a tenth of what a fit of 12 takes longer than one of 2.
    """
    import scipy.sparse
    from sklearn.linear_model import SGDClassifier

    random = np.random.default_rng(0)
    X = scipy.sparse.random(rows, columns, 0.01, "csr", random_state=random)
    y = (X @ random.normal(size=columns) > 0).astype(int)
    half = rows // 2
    data = X[:half], y[:half], X[half:], y[half:]
    settings = {"loss": "log_loss", "max_iter": 5, "tol": None, "alpha": 1e-5}
    kinds = (SGDClassifier, {}), (fastnn.SGDClassifier, {"batch_size": 32})
    measured(fastnn.SGDClassifier, {**settings, "batch_size": 32, "max_iter": 1}, data)
    scores, seconds, epochs = [], [], []
    for kind, own in kinds:
        runs = [
            measured(kind, {**settings, **own, "random_state": seed}, data) for seed in range(seeds)
        ]
        scores.append(np.array([score for score, _, _ in runs]))
        seconds.append(min(each for _, each, _ in runs))
        few, many = (
            min(
                measured(kind, {**settings, **own, "max_iter": count}, (X, y, X[:1], y[:1]))[1]
                for _ in range(seeds)
            )
            for count in (2, 12)
        )
        epochs.append(100 * (many - few))
    print(
        f"sparse    logistic by 32 "
        f"{scores[0].mean():7.4f} +- {scores[0].std():.4f}  "
        f"{scores[1].mean():7.4f} +- {scores[1].std():.4f}  "
        f"{seconds[0]:9.4f} {seconds[1]:9.4f} {seconds[0] / seconds[1]:6.1f}x"
    )
    print(
        f"ms an epoch of all {rows} rows: scikit-learn {epochs[0]:.2f}, fastnn {epochs[1]:.2f}, "
        f"{epochs[0] / epochs[1]:.1f}x",
        flush=True,
    )


def stored_rows(rows: int, columns: int = 20_000) -> Any:
    """Return a CSR of float64 and int32 that stores one number of each 100 columns."""
    import scipy.sparse

    random, stored = np.random.default_rng(0), columns // 100
    places = random.integers(0, 100, (rows, stored), np.int32)
    places += np.arange(0, columns, 100, np.int32)
    starts = np.arange(0, rows * stored + 1, stored, np.int32)
    numbers = random.standard_normal(rows * stored)
    return scipy.sparse.csr_array((numbers, places.ravel(), starts), shape=(rows, columns))


def print_memory(library: str, name: str, rows: int) -> None:
    """Print the MiB of a CSR, and by how many resident memory rises in a fit to it."""
    import resident
    from sklearn.base import clone
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    classes = (SGDClassifier, MLPClassifier)
    if library == "fastnn":
        classes = (fastnn.SGDClassifier, fastnn.MLPClassifier)
    if name == "hidden 64":
        settings: dict[str, Any] = {"solver": "sgd", "batch_size": 32, "max_iter": 2}
        model = classes[1]((64,), **settings)
    else:
        settings = {"max_iter": 2, "tol": None, "alpha": 1e-5}
        own = {"batch_size": 32} if library == "fastnn" else {}
        model = classes[0]("log_loss", **settings, **own)
    labels = np.arange(rows) % 2
    # What a library takes itself is there now. By another model: one that is fitted again frees its
    # old weights at the beginning or at the end.
    clone(model).fit(stored_rows(100, 200), labels[:100])
    X = stored_rows(rows)
    resident.forget_peak()
    before = resident.now()
    model.fit(X, labels)
    size = sum(each.nbytes for each in (X.data, X.indices, X.indptr))
    print(size / 2**20, (resident.peak() - before) / 2**20)


def compare_memory() -> None:
    """Print a row for each fit and number of rows."""
    print(f"{'fit':16} {'rows':>8} {'CSR, MiB':>9}  {'scikit-learn':>20}  {'fastnn':>20}")
    for name, rows in (
        ("logistic by 32", 20_000),
        ("logistic by 32", 200_000),
        ("hidden 64", 20_000),
    ):
        cells, size = [], 0.0
        for library in ("scikit-learn", "fastnn"):
            child = [sys.executable, __file__, "--memory-of", library, name, str(rows)]
            output = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            size, more = map(float, output.split())
            cells.append(f"+{more:7.1f} MiB, {100 * more / size:4.1f} %")
        print(f"{name:16} {rows:8} {size:9.1f}  {cells[0]:>20}  {cells[1]:>20}", flush=True)


def predicting(model: Any, row: np.ndarray, calls: int = 200) -> float:
    """Return microseconds of a prediction of one row: the least of some."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        model.predict(row)
        times.append(time.perf_counter() - start)
    return 1e6 * min(times)


def compare(name: str, chosen: list[str], seeds: int) -> None:
    """Print the rows of one table."""
    from importlib import import_module

    *data, labelled = split(name)
    for fit_name in chosen:
        fit = FITS[fit_name]
        which = fit.classifier if labelled else fit.regressor
        if which is None:
            continue
        module, kind = which
        kinds = getattr(import_module(module), kind), getattr(fastnn, kind)
        # Kernels are loaded, and caches warm, before anything is measured.
        measured(kinds[1], {**fit.settings, **fit.own, "max_iter": 1}, tuple(data))
        runs: list[list[Any]] = [[], []]
        for until in (seeds, max(seeds, MORE_SEEDS)):
            for run, kind, own in zip(runs, kinds, ({}, fit.own), strict=True):
                settings = {**fit.settings, **own}
                time.sleep(REST)
                run += [
                    measured(kind, {**settings, "random_state": seed}, tuple(data))
                    for seed in range(len(run), until)
                ]
            scores = [np.array([score for score, _, _ in run]) for run in runs]
            least = scores[0].mean() - scores[0].std()
            worse = not fit.own and scores[1].mean() < least - 1e-12
            if not worse:
                break
        seconds = [min(each for _, each, _ in run) for run in runs]
        rows = [predicting(run[0][2], data[2][:1]) for run in runs]
        verdict = "  BELOW mean - sd" if worse else ""
        print(
            f"{name:9} {fit_name:14} "
            f"{scores[0].mean():7.4f} +- {scores[0].std():.4f}  "
            f"{scores[1].mean():7.4f} +- {scores[1].std():.4f}  "
            f"{seconds[0]:9.4f} {seconds[1]:9.4f} {seconds[0] / seconds[1]:6.1f}x  "
            f"{rows[0]:7.1f} {rows[1]:7.1f}{verdict}",
            flush=True,
        )


def main() -> None:
    """Print one row a table and fit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many (default: 5)")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--data", type=listed(list(DATA)), default=list(DATA))
    parser.add_argument("--sparse", action="store_true", help="the row of sparse features alone")
    parser.add_argument("--memory", action="store_true", help="memory for sparse features alone")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--fits", type=listed(list(FITS)), default=list(FITS))
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    if chosen.memory_of:
        print_memory(*chosen.memory_of[:2], int(chosen.memory_of[2]))
        return
    if chosen.memory:
        compare_memory()
        return
    print(
        f"{'table':9} {'fit':14} {'scikit-learn score':>18}  {'fastnn score':>18}  "
        f"{'s':>9} {'s':>9} {'ratio':>7}  {'us/row':>7} {'us/row':>7}"
    )
    if chosen.sparse:
        compare_sparse(2 if chosen.quick else chosen.seeds)
        return
    for name in chosen.data:
        try:
            compare(name, chosen.fits, 2 if chosen.quick else chosen.seeds)
        except (FastnnError, ImportError) as error:
            print(f"{name:9} skipped: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
