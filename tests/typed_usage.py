"""What a user writes under ``mypy --strict`` and pyright: ``mypy tests/typed_usage.py``; never run.

A line that must not pass has an ignore comment with the code of its error. The type checkers report
an ignore comment that is not needed, so they fail where a wrong name is let through.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np

import fastnn
from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    History,
    Huber,
    MLPClassifier,
    MLPRegressor,
    Network,
    Perceptron,
    Quantile,
    ReduceOnPlateau,
    SGDClassifier,
    SGDRegressor,
    Trainer,
    graph,
    schedules,
    sweep,
)
from fastnn.initializers import constant
from fastnn.typing import ActivationName, Dtype, LossName, Target

X = np.zeros((4, 2), dtype=np.float32)
y = np.zeros(4, dtype=np.int64)


def scaled_tanh(z: Any) -> Any:
    """Return a user-defined activation."""
    return graph.tanh(z) * 0.5


def start(generator: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """Return user-defined initial weights."""
    return generator.normal(size=(inputs, outputs))


def error_rate(y: np.ndarray, outputs: np.ndarray) -> float:
    """Return a user-defined metric."""
    return float((y != (outputs > 0)).sum() / y.size)


def layers_and_networks(activation: ActivationName) -> Network:
    """Names, functions and formulas are layers' settings; misspelt names are not."""
    Dense(8, "relu", init="he_normal")
    Dense(8, scaled_tanh, init=start)
    Dense(8, lambda z: graph.tanh(z) * 0.5, init=constant(0.1))
    Dense(8, "rleu")  # type: ignore[arg-type]
    Dense(8, activation="softmx")  # type: ignore[arg-type]
    Dense(8, init="he")  # type: ignore[arg-type]
    BatchNorm(activation="selu")
    BatchNorm(activation="sellu")  # type: ignore[arg-type]
    return Network(None, [Dense(8, activation), Dropout(0.1), Dense(2)])


def trainers(network: Network, loss: LossName, target: Target, dtype: Dtype) -> Trainer:
    """Every setting by name has the names that there are."""
    Trainer(network, loss="softmax_cross_entropy", target="numpy", dtype=np.float64, shuffle=4096)
    Trainer(network, loss=Quantile(0.9), dtype="float64", shuffle=False)
    Trainer(network, loss=lambda z, y: (z - y) ** 4, dtype=np.dtype("float32"))
    Trainer(network, optimizer=SGD(schedules.Cosine(0.1, steps=100)), precision="tf32")
    Trainer(network, optimizer=Adam(lambda step: 0.1 / (step + 1)), on_divergence="restore")
    Trainer(network, loss="softmax")  # type: ignore[arg-type]
    Trainer(network, loss="softmx")  # type: ignore[arg-type]
    Trainer(network, target="gpu")  # type: ignore[arg-type]
    Trainer(network, dtype="float16")  # type: ignore[arg-type]
    Trainer(network, precision="bf16")  # type: ignore[arg-type]
    Trainer(network, on_divergence="ignore")  # type: ignore[arg-type]
    Trainer(network, shuffle="window")  # type: ignore[arg-type]
    Trainer(network, optimizer="adam")  # type: ignore[arg-type]
    return Trainer(network, loss, target=target, dtype=dtype)


def training(trainer: Trainer) -> History:
    """Metrics, monitors, settings and results have types."""
    calls = [EarlyStopping(3, mode="min"), ReduceOnPlateau(mode="max"), Checkpoint("x", mode="min")]
    trainer.fit(X, y, metrics="auc", callbacks=calls)
    trainer.fit(X, y, metrics=["auc", error_rate, ("errors", error_rate)])
    trainer.fit(X, y, metrics={"errors": error_rate}, callbacks=lambda trainer, history: True)
    trainer.fit(X, y, metrics="acu")  # type: ignore[arg-type]
    trainer.fit(X, y, metrics=["auc", "acu"])  # type: ignore[list-item]
    trainer.evaluate(X, y, metrics=["rsme"])  # type: ignore[list-item]
    EarlyStopping(mode="minimum")  # type: ignore[arg-type]
    trainer.set(loss="mse", precision="float32", learning_rate=0.1, target="auto")
    trainer.set(loss="msee")  # type: ignore[arg-type]
    trainer.set(batchsize=32)  # type: ignore[call-arg]
    trainer.target = "cuda"
    trainer.target = "gpu"  # type: ignore[assignment]
    assert_type(trainer.evaluate(X, y), dict[str, float])
    assert_type(Trainer.load("model.safetensors", target="numpy"), Trainer)
    Trainer.load("model.safetensors", target="gpu")  # type: ignore[arg-type]
    sweep(trainer, X, y, 5, grid={"batch_size": [8, 64]}, metrics=["rmse"])
    return trainer.fit(X, y, epochs=3)


def estimators() -> None:
    """Parameters of estimators are scikit-learn's and fastnn's names."""
    MLPClassifier((16,), "logistic", solver="sgd", learning_rate="adaptive", loss="log_loss")
    MLPClassifier(16, ["relu", scaled_tanh], batch_size="auto", class_weight="balanced")
    MLPClassifier(optimizer=Adam(), schedule=schedules.Constant(0.1), dtype=np.float32)
    MLPRegressor("squared_error", loss=Huber(0.1))  # type: ignore[misc]
    MLPRegressor(loss=Huber(0.1))
    MLPRegressor(loss=Quantile(0.9), scoring="r2", target="auto")
    SGDClassifier("hinge", penalty="elasticnet", learning_rate="optimal", class_weight={0: 2.0})
    SGDRegressor(Huber(0.1), penalty=None, random_state=0)
    SGDRegressor(lambda z, y: (z - y) ** 4)
    Perceptron(penalty="l1", random_state=np.random.RandomState(0))
    MLPClassifier(activation="rleu")  # type: ignore[arg-type]
    MLPClassifier(activation=["relu", "rleu"])  # type: ignore[list-item]
    MLPClassifier(solver="sdg")  # type: ignore[arg-type]
    MLPClassifier(learning_rate="optimal")  # type: ignore[arg-type]
    MLPClassifier(loss="softmax")  # type: ignore[arg-type]
    MLPClassifier(batch_size="full")  # type: ignore[arg-type]
    MLPRegressor(loss="hinge")  # type: ignore[arg-type]
    SGDClassifier(loss="hinges")  # type: ignore[arg-type]
    SGDClassifier(penalty="l3")  # type: ignore[arg-type]
    SGDClassifier(class_weight="balance")  # type: ignore[arg-type]
    SGDRegressor(learning_rate="cosine")  # type: ignore[arg-type]
    Perceptron(target="gpu")  # type: ignore[arg-type]


def misspelt_attribute() -> None:
    """Misspell a name of fastnn's: an error, although names are imported when first used."""
    fastnn.Trianer  # type: ignore[attr-defined]  # noqa: B018
