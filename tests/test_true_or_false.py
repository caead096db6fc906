"""Parameters that are true or false take nothing else, wherever the package has one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import (
    SGD,
    Adam,
    AdamW,
    Checkpoint,
    Dense,
    EarlyStopping,
    InvalidInput,
    Nadam,
    Network,
    Periodic,
    Trainer,
    plots,
    sweep,
    train_population,
)
from fastnn.graph import minimize, variables
from fastnn.training.inspection.trace_result import Trace

X, y = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1])
(x_1,) = variables("x_1")


def trainer(inputs: int = 2, **settings: Any) -> Trainer:
    """Return a small classifier, or a regression of one input."""
    last, loss = (2, "softmax_cross_entropy") if inputs == 2 else (1, "mse")
    return Trainer(Network(inputs, [Dense(last)]), loss, target="numpy", **settings)


def surface(value: Any) -> Any:
    """Draw a loss."""
    return plots.loss_surface(trainer(1), X[:, :1], X[:, 1], epochs=1, three_d=value)


def population(value: Any) -> Any:
    """Train two members."""
    given = [trainer(), trainer(seed=1)]
    return train_population(given, X, y, 1, validation_data=(X, y), progress=value)


CALLS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("Adam", "epsilon_hat"): lambda value: Adam(epsilon_hat=value),
    ("AdamW", "epsilon_hat"): lambda value: AdamW(epsilon_hat=value),
    ("Checkpoint", "on_signal"): lambda value: Checkpoint("a", on_signal=value),
    ("Dense", "bias"): lambda value: Dense(2, bias=value),
    ("Dense", "trainable"): lambda value: Dense(2, trainable=value),
    ("EarlyStopping", "restore_best"): lambda value: EarlyStopping(restore_best=value),
    ("Network.with_trainable", "trainable"): lambda value: Network(2, [Dense(2)]).with_trainable(
        [value]
    ),
    ("Periodic", "trainable"): lambda value: Periodic(trainable=value),
    ("SGD", "nesterov"): lambda value: SGD(0.1, 0.9, nesterov=value),
    ("Trainer", "ignore_nan"): lambda value: Trainer(
        Network(2, [Dense(1)]), "mse", target="numpy", ignore_nan=value
    ),
    ("Trainer", "shuffle"): lambda value: trainer(shuffle=value),
    ("Trainer.fit", "keep_trainers"): lambda value: trainer().fit(
        X, y, 1, restarts=2, keep_trainers=value
    ),
    ("Trainer.fit", "progress"): lambda value: trainer().fit(X, y, 1, progress=value),
    ("Trainer.fit", "verbose"): lambda value: trainer().fit(X, y, 1, verbose=value),
    ("Trainer.gradients", "inputs"): lambda value: trainer().gradients(X, y, inputs=value),
    ("Trainer.to_torch", "probabilities"): lambda value: trainer().to_torch(probabilities=value),
    ("Trace.to_frame", "flat"): lambda value: trainer().trace(X, y).to_frame(flat=value),
    ("sweep", "keep_trainers"): lambda value: sweep(
        trainer(), X, y, 1, grid={"l2": [0.0]}, keep_trainers=value
    ),
    ("sweep", "stop"): lambda value: sweep(
        trainer(), X, y, 1, grid={"l2": [0.0]}, validation_data=(X, y), accuracy=1.0, stop=value
    ),
    ("train_population", "progress"): population,
    ("minimize", "normalized"): lambda value: minimize(x_1 * x_1, 1.0, steps=3, normalized=value),
    ("minimize", "keep_paths"): lambda value: minimize(x_1 * x_1, 1.0, steps=3, keep_paths=value),
    ("loss_surface", "three_d"): surface,
    ("regression_line", "residuals"): lambda value: plots.regression_line(
        trainer(1), X[:, :1], X[:, 1], residuals=value
    ),
}


def flags() -> Iterator[tuple[str, str]]:
    """Go through all parameters of what is public that are annotated as booleans."""
    homes = [(fastnn, fastnn.__all__), (fastnn.graph, fastnn.graph.__all__)]
    homes += [(plots, plots.__all__), (fastnn.datasets, fastnn.datasets.__all__)]
    public = {name: getattr(home, name) for home, names in homes for name in names}
    for name, value in (public | {"Trace": Trace}).items():
        kinds = {name: value}
        if inspect.isclass(value):
            methods = inspect.getmembers(value, callable)
            kinds |= {f"{name}.{key}": each for key, each in methods if not key.startswith("_")}
        for called, each in kinds.items():
            if inspect.isclass(each) and issubclass(each, Exception):
                continue
            if not callable(each) or not str(getattr(each, "__module__", "")).startswith("fastnn"):
                continue
            for parameter in inspect.signature(each).parameters.values():
                if "bool" in str(parameter.annotation):
                    yield called, parameter.name


def test_every_parameter_that_is_annotated_as_a_boolean_is_tried_here():
    found = set(flags())
    assert ("Trainer.gradients", "inputs") in found and ("Trace.to_frame", "flat") in found
    assert found - {("Trace", "diverged")} <= CALLS.keys()  # a result, which no caller makes


@pytest.mark.parametrize(("called", "name"), CALLS, ids=" ".join)
@pytest.mark.parametrize("value", ["yes", "", None, [], 0.0])
def test_what_is_neither_true_nor_false_is_refused_by_name(called, name, value):
    if (called, name) == ("Trainer.fit", "verbose") and value == 0.0:
        value = 0.5
    with pytest.raises(InvalidInput) as refused:
        CALLS[called, name](value)
    text = str(refused.value)
    assert text.startswith(name) and "True" in text and "False" in text and repr(value) in text


@pytest.mark.parametrize(("called", "name"), CALLS, ids=" ".join)
def test_booleans_of_numpy_are_booleans(called, name):
    if name in ("residuals", "three_d"):
        pytest.importorskip("matplotlib")
    if name == "flat":
        pytest.importorskip("pandas")
    if name == "probabilities":
        pytest.importorskip("torch")
    for value in (np.True_, np.False_):
        CALLS[called, name](value)


def test_booleans_of_numpy_are_kept_as_those_of_python():
    dense = Dense(2, bias=np.True_, trainable=np.False_)
    assert dense.bias is True and dense.trainable is False
    assert SGD(0.1, 0.9, nesterov=np.True_).nesterov is True
    assert Periodic(trainable=np.False_).trainable is False
    assert Nadam(1e-3, ema=0.9).ema == 0.9
