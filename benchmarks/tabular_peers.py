"""Who takes part in tabular.py, each with its library's defaults; a new one is a row of `PEERS`.

Trees have a learning rate of 0.05, stop when the validation rows have had no better loss for 50
rounds, and draw neither rows nor columns. Categories go to each in the form that it takes itself;
scikit-learn's network, which takes none, has one-hot columns and standardized numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from tabular_data import Split

Predict = Callable[["pd.DataFrame"], np.ndarray]
ROUNDS = 4000
PATIENCE = 50
RATE = 0.05


@dataclass(frozen=True)
class Peer:
    """A library's estimator.

    Attributes
    ----------
    title
        What the table calls it.
    fit
        Trains with a split and a seed; returns what predicts: numbers (n,), or the probabilities
        of classes (n, classes).
    module
        What has to be importable, and `distribution`, where pip finds it.
    slow
        Whether it takes part only if asked for, and then with as many seeds as slow ones are to.
    draws
        Whether anything is drawn, so that seeds differ; if not, one fit is as good as five.
    """

    title: str
    fit: Callable[[Split, int], Predict]
    module: str
    distribution: str
    slow: bool = False
    draws: bool = True

    @property
    def name(self) -> str:
        """The name of its distribution, without the versions that it needs."""
        return self.distribution.partition(">")[0]

    def seeds(self, most: int) -> int:
        """Return of how many seeds there can be fits that differ, of so many."""
        return most if self.draws else 1


def _fastnn(split: Split, seed: int, **settings: Any) -> Predict:
    import fastnn

    regression = split.task == "regression"
    kind = fastnn.TabularRegressor if regression else fastnn.TabularClassifier
    model = kind(random_state=seed, **settings)
    held_out = {"X_val": split.validation.X, "y_val": split.validation.y}
    model.fit(split.train.X, split.train.y, **held_out)
    return model.predict if regression else model.predict_proba


def _fastnn_limited(split: Split, seed: int) -> Predict:
    """Train within ten seconds of a core of its own: the clock does not run while others have it.

    So what else the machine does changes nothing, as it changes little in CPU seconds.
    """
    with mock.patch.multiple(time, perf_counter=time.process_time, monotonic=time.process_time):
        return _fastnn(split, seed, time_limit=10)


def _fastnn_with(members: int) -> Callable[[Split, int], Predict]:
    """Return the fit of so many members."""
    return lambda split, seed: _fastnn(split, seed, n_members=members)


def _hist_gradient_boosting(split: Split, seed: int) -> Predict:
    from sklearn import ensemble

    regression = split.task == "regression"
    kind = f"HistGradientBoosting{'Regressor' if regression else 'Classifier'}"
    model = getattr(ensemble, kind)(
        learning_rate=RATE, max_iter=ROUNDS, early_stopping=True, n_iter_no_change=PATIENCE,
        random_state=seed,
    )  # fmt: skip
    held_out = {"X_val": split.validation.X, "y_val": split.validation.y}
    model.fit(split.train.X, split.train.y, **held_out)
    return model.predict if regression else model.predict_proba


def _lightgbm(split: Split, seed: int) -> Predict:
    import lightgbm

    regression = split.task == "regression"
    kind = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    model = kind(learning_rate=RATE, n_estimators=ROUNDS, random_state=seed, n_jobs=1, verbose=-1)
    model.fit(
        split.train.X, split.train.y, eval_X=split.validation.X, eval_y=split.validation.y,
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )  # fmt: skip
    return model.predict if regression else model.predict_proba


def _xgboost(split: Split, seed: int) -> Predict:
    import xgboost

    regression = split.task == "regression"
    kind = xgboost.XGBRegressor if regression else xgboost.XGBClassifier
    model = kind(
        learning_rate=RATE, n_estimators=ROUNDS, early_stopping_rounds=PATIENCE, n_jobs=1,
        random_state=seed, enable_categorical=True, tree_method="hist",
    )  # fmt: skip
    held_out = [(split.validation.X, split.validation.y)]
    model.fit(split.train.X, split.train.y, eval_set=held_out, verbose=False)
    return model.predict if regression else model.predict_proba


def _sklearn_mlp(split: Split, seed: int) -> Predict:
    """Train with all rows but the test's: it draws as many of them to stop by as there were."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    X = pd.concat([split.train.X, split.validation.X], ignore_index=True)
    y = np.concatenate([split.train.y, split.validation.y])
    words = list(X.select_dtypes("category").columns)
    columns = ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), words)],
        remainder=make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
    )
    regression = split.task == "regression"
    kind = MLPRegressor if regression else MLPClassifier
    share = len(split.validation.y) / len(y)
    network = kind(early_stopping=True, validation_fraction=share, random_state=seed)
    if regression:
        network = TransformedTargetRegressor(network, transformer=StandardScaler())
    model = make_pipeline(columns, network)
    model.fit(X, y)
    return model.predict if regression else model.predict_proba


def _pytabkit(name: str, **settings: Any) -> Callable[[Split, int], Predict]:
    """Return the fit of a network of pytabkit's, which takes no missing numbers: medians do."""

    def fit(split: Split, seed: int) -> Predict:
        import pytabkit

        regression = split.task == "regression"
        kind = getattr(pytabkit, f"{name}_{'Regressor' if regression else 'Classifier'}")
        model = kind(device="cpu", n_threads=1, random_state=seed, **settings)
        medians = split.train.X.median(numeric_only=True)
        held_out = split.validation.X.fillna(medians), split.validation.y
        model.fit(split.train.X.fillna(medians), split.train.y, *held_out)
        predict = model.predict if regression else model.predict_proba
        return lambda X: predict(X.fillna(medians))

    return fit


PEERS: dict[str, Peer] = {
    "fastnn": Peer("fastnn", _fastnn, "fastnn", "fastnn"),
    "lightgbm": Peer("LightGBM", _lightgbm, "lightgbm", "lightgbm>=4.7", draws=False),
    "xgboost": Peer("XGBoost", _xgboost, "xgboost", "xgboost", draws=False),
    "hgb": Peer(
        "HistGradientBoosting", _hist_gradient_boosting, "sklearn", "scikit-learn", draws=False
    ),
    "mlp": Peer("scikit-learn, MLP", _sklearn_mlp, "sklearn", "scikit-learn"),
    "realmlp": Peer("RealMLP-TD", _pytabkit("RealMLP_TD"), "pytabkit", "pytabkit", slow=True),
    "tabm": Peer("TabM-D", _pytabkit("TabM_D"), "pytabkit", "pytabkit", slow=True),
}
LIMITED = "fastnn-10s"
"""fastnn with little time: no peer of the others, as all of them take as long as they want."""
STOPPED_AFTER = 40  # epochs
STOPPED = f"tabm-{STOPPED_AFTER}"
"""TabM-D that is stopped long before it stops itself, on a table that would take it hours."""
FEWER = {f"fastnn-{members}": members for members in (1, 2, 4, 8)}
"""fastnn with fewer members than by default, for how much time it needs to be as good as a peer."""
PEERS_AND_LIMITED = {
    **PEERS,
    LIMITED: Peer("fastnn, time_limit=10", _fastnn_limited, "fastnn", "fastnn"),
    **{
        name: Peer(f"fastnn, n_members={members}", _fastnn_with(members), "fastnn", "fastnn")
        for name, members in FEWER.items()
    },
    STOPPED: Peer(
        f"TabM-D, {STOPPED_AFTER} epochs", _pytabkit("TabM_D", n_epochs=STOPPED_AFTER),
        "pytabkit", "pytabkit", slow=True,
    ),
}  # fmt: skip
PAIR = ("fastnn", "lightgbm")
AVERAGE = "+".join(PAIR)
TITLES = {name: peer.title for name, peer in PEERS_AND_LIMITED.items()} | {
    AVERAGE: " + ".join(PEERS[name].title for name in PAIR)
}
