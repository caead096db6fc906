"""The settings of a training: what was asked for, and what follows from the data where it was not.

The rest were chosen on UCI Adult (classes that no network tells apart without error, where long
training fits noise) and on house prices in California (numbers that take many steps to learn).
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from fastnn.errors import InvalidInput, whole

if TYPE_CHECKING:
    from fastnn.network import Network, Optimizer

HIDDEN = "256,128"
ACTIVATION = "relu"
DROPOUT = 0.1
OPTIMIZER = "adamw"
SCHEDULES = ("cosine", "constant", "onecycle")
# (learning rate of Adam and its kin, updates altogether) by task.
_REGRESSION, _CLASSES = (3e-3, 12_000), (1e-3, 2_300)
_BATCHES_AN_EPOCH = 256
_MOMENTUM = 0.9
_RATES = {"sgd": 0.03, "momentum": 0.01, "nesterov": 0.01, "averaged_sgd": 0.03}
OPTIMIZERS = (
    "sgd", "momentum", "nesterov", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion",
    "averaged_sgd",
)  # fmt: skip


def check_names(options: argparse.Namespace) -> None:
    """Refuse names that nothing has, and hidden layers that are none.

    Raises
    ------
    InvalidInput
        With names that are near.
    """
    from fastnn.inputs.problem import PRECISIONS
    from fastnn.rules.table import ACTIVATIONS, LOSSES, unknown_name
    from fastnn.targets.selection import TARGETS, is_cuda, parse

    if options.hidden is not None:
        hidden_of(options.hidden)
    task_for(options.task, options.loss)
    target = options.target
    if target is not None and is_cuda(target):
        target = parse(target).kind
    for kind, asked, known in (
        ("optimizer", options.optimizer, OPTIMIZERS),
        ("schedule", options.schedule, SCHEDULES),
        ("activation", options.activation, ACTIVATIONS),
        ("loss", options.loss, ["auto", *LOSSES]),
        ("target", target, TARGETS),
        ("dtype", options.dtype, ("float32", "float64")),
        ("precision", options.precision, PRECISIONS),
    ):
        if kind == "target" and asked is not None and asked not in known and not options.label:
            raise InvalidInput(
                f"--target {asked}: that is where a training runs, one of {', '.join(known)}; the "
                f"column to predict is named by --label {asked}"
            )
        if asked is not None and asked not in known:
            raise unknown_name(kind, asked, known)


def batch_for(rows: int) -> int:
    """Return how many rows a minibatch has: a power of two that makes some 256 of an epoch.

    >>> batch_for(100), batch_for(16_000), batch_for(10**7)
    (16, 64, 1024)
    """
    return int(2 ** min(10, max(4, round(math.log2(max(1, rows) / _BATCHES_AN_EPOCH)))))


def epochs_for(rows: int, batch: int, regression: bool) -> int:
    """Return how many epochs make enough updates, at least 10 and at most 200."""
    _, updates = _REGRESSION if regression else _CLASSES
    return int(min(200, max(10, round(updates / -(-rows // batch)))))


def rate_for(optimizer: str, regression: bool) -> float:
    """Return the learning rate that an optimizer begins with."""
    rate, _ = _REGRESSION if regression else _CLASSES
    return {"lion": rate / 5, "adagrad": 10 * rate}.get(optimizer, _RATES.get(optimizer, rate))


def highest_rate(rate: Any) -> float | None:
    """Return the largest rate of a schedule that comes to an end; None for one that does not."""
    from fastnn.schedules import Cosine, OneCycle

    if isinstance(rate, Cosine):
        return rate.rate
    return rate.maximum if isinstance(rate, OneCycle) else None


def network_of(options: argparse.Namespace, inputs: int, outputs: int) -> Network:
    """Return the network that was asked for."""
    from fastnn.network import Dense, Dropout, Network

    layers: list[Any] = []
    rate = DROPOUT if options.dropout is None else options.dropout
    activation: Any = options.activation or ACTIVATION
    for units in hidden_of(HIDDEN if options.hidden is None else options.hidden):
        layers.append(Dense(units, activation))
        if rate:
            layers.append(Dropout(rate))
    return Network(inputs, [*layers, Dense(outputs)])


def hidden_of(text: str) -> list[int]:
    """Return the units of the hidden layers.

    >>> hidden_of("128,64"), hidden_of("0")
    ([128, 64], [])
    """
    if text.strip().lower() in ("0", "none"):
        return []
    try:
        return [whole(int(part), "a number of --hidden", 1) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInput(
            "--hidden must be numbers of units, such as 128,64, or 0 for a linear model, "
            f"not {text!r}"
        ) from error


def optimizer_of(
    options: argparse.Namespace, regression: bool, updates: int
) -> tuple[Optimizer, float]:
    """Return the optimizer that was asked for, and the learning rate that it begins with.

    Raises
    ------
    InvalidInput
        An unknown one.
    """
    from fastnn import optimizers, schedules
    from fastnn.rules.table import unknown_name

    name, kind = options.optimizer or OPTIMIZER, options.schedule or "cosine"
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    rate = rate_for(name, regression) if options.rate is None else options.rate
    schedule: Any = rate
    if kind == "cosine":
        schedule = schedules.Cosine(rate, max(1, updates))
    elif kind == "onecycle":
        schedule = schedules.OneCycle(rate, max(2, updates))
    classes: dict[str, Any] = {
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
        "nadam": optimizers.Nadam,
        "rmsprop": optimizers.RMSProp,
        "adagrad": optimizers.Adagrad,
        "lion": optimizers.Lion,
        "averaged_sgd": optimizers.AveragedSGD,
    }
    if name in classes:
        return classes[name](schedule), rate
    momentum = 0.0 if name == "sgd" else _MOMENTUM
    return optimizers.SGD(schedule, momentum, nesterov=name == "nesterov"), rate


def loss_for(asked: str | None, task: str) -> str:
    """Return the loss for a task: "regression", "binary" or "... classes".

    Raises
    ------
    InvalidInput
        A loss that is not for this task.
    """
    from fastnn.rules.table import LOSSES

    regression, binary = task == "regression", task == "binary"
    if asked in (None, "auto"):
        if regression:
            return "mse"
        return "binary_cross_entropy" if binary else "softmax_cross_entropy"
    classes = "2 classes" if binary else task
    kinds = ("real", "counts") if regression else ("classes", "binary")[: 1 + binary]
    fitting = [name for name, row in LOSSES.items() if row.targets in kinds]
    if asked not in fitting:
        raise InvalidInput(
            f"--loss {asked} is not for a {'regression' if regression else f'label of {classes}'}; "
            f"choose among {', '.join(fitting)}, or another --task"
        )
    return str(asked)


def task_for(asked: str | None, loss: str | None) -> str | None:
    """Return the task that options ask for, None where the label decides."""
    from fastnn.rules.table import LOSSES
    from fastnn.tabular.label import TASKS

    if asked not in (None, "auto"):
        if asked not in TASKS:
            from fastnn.rules.table import unknown_name

            raise unknown_name("task", asked, ["auto", *TASKS])
        return asked
    if loss in LOSSES:
        return "regression" if LOSSES[loss].targets in ("real", "counts") else "classification"
    return None
