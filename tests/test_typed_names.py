"""The names that type checkers let through are those that there are."""

import importlib
from typing import get_args

import pytest

from fastnn.estimators import description, linear_losses
from fastnn.initializers import INITIALISERS, InitialiserName
from fastnn.inputs.problem import DTYPES, PRECISIONS, DtypeName, Precision
from fastnn.rules.table import ACTIVATIONS, LOSSES, ActivationName, LossName
from fastnn.targets.selection import TARGETS, Device, Kind, Target, parse
from fastnn.training.metrics import LARGER_IS_BETTER, MetricName

PAIRS = {
    "activations": (ActivationName, ACTIVATIONS),
    "losses": (LossName, LOSSES),
    "initialisers": (InitialiserName, INITIALISERS),
    "targets": (Kind, TARGETS),
    "precisions": (Precision, PRECISIONS),
    "dtypes": (DtypeName, [dtype.name for dtype in DTYPES]),
    "metrics": (MetricName, LARGER_IS_BETTER),
    "losses of linear models": (
        linear_losses.LinearLossName,
        {**LOSSES, **linear_losses.PLAIN_LOSSES, **linear_losses.WITH_EPSILON},
    ),
    "losses of regressors": (
        description.RegressionLossName,
        ["squared_error", *(k for k, row in LOSSES.items() if row.targets in ("real", "counts"))],
    ),
}


@pytest.mark.parametrize("what", PAIRS)
def test_the_names_of_a_type_are_those_of_its_registry(what):
    names, registry = PAIRS[what]
    assert len(get_args(names)) == len(set(get_args(names)))
    assert set(get_args(names)) == set(registry)


def test_targets_are_kinds_and_devices_of_cuda():
    assert set(get_args(Target)) == {Kind, Device}
    assert [parse(name) for name in get_args(Device)] == [("cuda", n) for n in range(16)]


def test_fastnn_typing_has_each_of_its_names():
    typing = importlib.import_module("fastnn.typing")
    assert all(getattr(typing, name) is not None for name in typing.__all__)
