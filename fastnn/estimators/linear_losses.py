"""scikit-learn's losses of linear models, by its names, and what they are here."""

from __future__ import annotations

from typing import Any, Literal

from sklearn.utils._param_validation import StrOptions

from fastnn.estimators.description import UserDefinedLoss, losses_without_name
from fastnn.losses import (
    EpsilonInsensitive,
    Huber,
    Margin,
    ParametricLoss,
    SquaredEpsilonInsensitive,
)
from fastnn.rules import table
from fastnn.rules.table import LossName

LinearLossName = Literal[LossName, "log_loss", "squared_error"]
LinearLoss = LinearLossName | ParametricLoss | UserDefinedLoss
# Those of `WITH_EPSILON` have a parameter.
PLAIN_LOSSES: dict[str, ParametricLoss | str] = {
    "hinge": Margin(1.0),
    "perceptron": Margin(0.0),
    "log_loss": "binary_cross_entropy",
    "modified_huber": "modified_huber",
    "squared_hinge": "squared_hinge",
    # (p - y)^2 / 2, whose derivative is limited to 1e12 as scikit-learn does it: what would diverge
    # ends in finite numbers of no use.
    "squared_error": Huber(1e12),
}
WITH_EPSILON: dict[str, type[Huber | EpsilonInsensitive]] = {
    "huber": Huber,
    "epsilon_insensitive": EpsilonInsensitive,
    "squared_epsilon_insensitive": SquaredEpsilonInsensitive,
}
# By scikit-learn's names: what the losses are here, and the default of their parameter.
LOSSES: dict[str, tuple[Any, ...]] = {
    **{name: (kind, 0.1) for name, kind in WITH_EPSILON.items()},
    **{name: (loss,) for name, loss in PLAIN_LOSSES.items()},
}


def losses_of(*targets: str) -> list[Any]:
    """Return the constraint of a parameter: losses of such targets, or a user-defined one."""
    names = {name for name, row in table.LOSSES.items() if row.targets in targets}
    theirs = {"squared_error": "real", "log_loss": "binary"}
    names |= {name for name, kind in theirs.items() if kind in targets}
    return [StrOptions(names), *losses_without_name(*targets)]
