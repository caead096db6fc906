"""The types of what fastnn takes by name, for annotations in code that calls it.

A name that is written where it is used needs none of them: ``Trainer(network, loss="mse")`` passes
mypy and pyright, and ``loss="msee"`` does not. What passes a name on does:

>>> from fastnn import Dense, Network
>>> from fastnn.typing import ActivationName
>>> def two_layers(activation: ActivationName) -> Network:
...     return Network(4, [Dense(8, activation), Dense(1)])
>>> two_layers("relu").dense[0].activation
'relu'

Names that a program reads, from a file say, are of type `str`: `fastnn.Trainer` checks them when it
runs, and ``typing.cast(ActivationName, name)`` tells the type checker so.
"""

from fastnn.graph.custom import AnyActivation, AnyLoss
from fastnn.initializers import Initialiser, InitialiserName
from fastnn.inputs.problem import Dtype, DtypeName, Precision
from fastnn.losses import ParametricLoss
from fastnn.rules.table import ActivationName, LossName
from fastnn.schedules import LearningRate
from fastnn.targets.selection import Target
from fastnn.training.callbacks import Callback
from fastnn.training.callbacks.bundled import Mode, Monitor
from fastnn.training.metrics import MetricName, Metrics
from fastnn.training.saved_trainer import OnDivergence

__all__ = [
    "ActivationName",
    "AnyActivation",
    "AnyLoss",
    "Callback",
    "Dtype",
    "DtypeName",
    "Initialiser",
    "InitialiserName",
    "LearningRate",
    "LossName",
    "MetricName",
    "Metrics",
    "Mode",
    "Monitor",
    "OnDivergence",
    "ParametricLoss",
    "Precision",
    "Target",
]
