"""scikit-learn's classes, trained by fastnn: the same parameters and attributes, and more of them.

They need scikit-learn, ``pip install "fastnn[sklearn]"``, and are public as `fastnn.MLPClassifier`
and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn.errors import MissingExtra

if TYPE_CHECKING:
    from fastnn.estimators.mlp import MLPClassifier, MLPRegressor
    from fastnn.estimators.perceptron import Perceptron
    from fastnn.estimators.sgd import SGDClassifier, SGDRegressor
    from fastnn.estimators.tabular.estimators import TabularClassifier, TabularRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "Perceptron",
    "SGDClassifier",
    "SGDRegressor",
    "TabularClassifier",
    "TabularRegressor",
]

_HOMES = {
    "MLPClassifier": "mlp",
    "MLPRegressor": "mlp",
    "Perceptron": "perceptron",
    "SGDClassifier": "sgd",
    "SGDRegressor": "sgd",
    "TabularClassifier": "tabular.estimators",
    "TabularRegressor": "tabular.estimators",
}


def __getattr__(name: str) -> Any:
    """Import the estimator `name`, at its first use.

    Raises
    ------
    MissingExtra
        scikit-learn is not installed, or too old.
    """
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'fastnn.estimators' has no attribute {name!r}")
    try:
        if not hasattr(import_module("sklearn.utils.validation"), "validate_data"):  # of 1.6
            raise ImportError("the one that is installed is older")
    except ImportError as error:
        raise MissingExtra(
            f"fastnn.{name} needs scikit-learn 1.6 or later ({error}); "
            'pip install "fastnn[sklearn]"'
        ) from error
    value = getattr(import_module(f"fastnn.estimators.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
