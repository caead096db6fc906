"""Every family of kernels on the device beside the NumPy target, which defines what is right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import InvalidInput, Network, Trainer
from fastnn.inputs.data import Data
from fastnn.inputs.problem import Problem
from fastnn.network import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    AveragedSGD,
    Dense,
    Dropout,
    Lion,
    Nadam,
    RMSProp,
)
from fastnn.rules.table import ACTIVATIONS, LOSSES, UPDATES, loss_row
from fastnn.targets import numpy as reference

# Of the largest number of an array: sums in another order, a few steps one after another. Tensor
# cores round the factors too, which the reference then does itself: compared with exact factors, a
# row whose relu a rounding switches moves a gradient by as much as a fault would. That they are
# rounded from sums in another order remains.
TOLERANCE = {"float32": 1e-4, "float64": 1e-11, "tf32": 2e-3, "bfloat16": 2e-2}
EPOCHS = 2
_HIDDEN = (Dense(9, "tanh"), Dense(3))
_OPTIMIZERS = (
    SGD(0.1, 0.9),
    SGD(0.1, 0.9, nesterov=True),
    # An epsilon well above a gradient's rounding: else the first step is that rounding's sign.
    Adam(0.1, epsilon=1e-3),
    AdamW(0.1, epsilon=1e-3, weight_decay=0.1),
    Nadam(0.1, epsilon=1e-3),
    RMSProp(0.1, epsilon=1e-3),
    Adagrad(0.1, epsilon=1e-3),
    Lion(0.1, weight_decay=0.1),
    AveragedSGD(0.1, start=2),
)
_SHAPES = (  # inputs, hidden, outputs, batch, rows
    (1, 1, 2, 1, 3),
    (31, 33, 17, 32, 100),
    (128, 64, 10, 16, 64),
    (127, 129, 65, 33, 100),
    (784, 128, 10, 64, 300),
    (784, 128, 10, 512, 1_300),
    (513, 257, 5, 128, 400),
)


@dataclass(frozen=True)
class Case:
    """One training: its name, its problem, how many rows, and whether they have weights.

    `by_target`: whether each target has one of its own.

    `first`: of those with which each family shows itself, before all its rules are gone through.
    """

    name: str
    problem: Problem
    rows: int = 20
    weighted: bool = False
    first: bool = False
    by_target: bool = False

    @property
    def kind(self) -> str:
        """The dtype or the precision: what a tolerance depends on."""
        problem = self.problem
        return problem.dtype.name if problem.precision == "float32" else problem.precision


def cases(dtype: str) -> Iterator[Case]:
    """Yield what is trained in a dtype: shapes around tiles, every rule, every setting."""

    def case(name: str, layers: Any = _HIDDEN, loss: Any = "mse", **more: Any) -> Case:
        rows, weighted = more.pop("rows", 20), more.pop("weighted", False)
        first, by_target = more.pop("first", False), more.pop("by_target", False)
        settings = {"batch_size": 8, "l1": 0.0, "l2": 0.0, "dtype": dtype, "seed": 7}
        inputs = more.pop("inputs", 5)
        optimizer = more.pop("optimizer", SGD(0.1))
        problem = Problem(Network(inputs, layers), loss, optimizer, **(settings | more))
        return Case(name, problem, rows, weighted, first, by_target)

    for inputs, hidden, outputs, batch, rows in _SHAPES:
        layers = [Dense(hidden, "relu"), Dense(outputs)]
        shape = {"inputs": inputs, "batch_size": batch, "rows": rows, "first": True}
        name = f"{inputs}-{hidden}-{outputs}, batch {batch}"
        yield case(name, layers, "softmax_cross_entropy", **shape)
        if dtype == "float32" and min(inputs, hidden, batch) >= 16:
            for precision in ("tf32", "bfloat16"):
                yield case(name, layers, "softmax_cross_entropy", precision=precision, **shape)
    for name in ACTIVATIONS:
        yield case(f"hidden {name}", [Dense(9, name), Dense(3)])
        yield case(f"last {name}", [Dense(9, "tanh"), Dense(3, name)])
    for name in LOSSES:
        yield case(f"loss {name}", loss=name, weighted=True)
    for optimizer in _OPTIMIZERS:
        yield case(f"update {optimizer.rule}", optimizer=optimizer, l2=0.1)
    yield case("l1 and l2", l1=0.02, l2=0.3, loss="huber", weighted=True)
    yield case("weights of targets", weighted=True, by_target=True)
    yield case("max_norm", [Dense(9, "tanh", max_norm=0.9), Dense(3)])
    apart = [Dense(9, "prelu", rate_factor=0.5), Dense(7, trainable=False), Dense(3)]
    yield case("layers trained apart", apart, optimizer=Adam(0.1, epsilon=1e-3), clip_norm=0.3)
    yield case("without bias", [Dense(9, "tanh", bias=False), Dense(3, bias=False)])
    dropped = [Dropout(0.2), Dense(33, "relu"), Dropout(0.5), Dense(17, "relu"), Dense(3)]
    yield case("dropout", dropped, "softmax_cross_entropy", inputs=19, rows=41, weighted=True)
    yield case("clip_value", clip_value=0.05)
    yield case("clip_norm", clip_norm=0.3, optimizer=Adam(0.1, epsilon=1e-3))
    if dtype == "float32":  # each is a compilation of its own
        yield case("own loss", loss=lambda z, y: (z - y) ** 4)
        yield case("own activation", [Dense(9, lambda z: z * z / (1 + z * z)), Dense(3)])
    yield case("batches of one", batch_size=1, rows=5)
    yield case("softmax regression", [Dense(4)], "softmax_cross_entropy")


def data_of(case: Case) -> Data:
    """Return normal features and targets that suit the loss."""
    random = np.random.default_rng(0)
    problem, n = case.problem, case.rows
    outputs, kind = problem.network.outputs, loss_row(problem.loss).targets
    X = random.normal(size=(n, problem.network.inputs)).astype(problem.dtype)
    if kind == "classes":
        targets = random.integers(0, outputs, n)
    elif kind == "binary":
        targets = random.integers(0, 2, (n, outputs)).astype(problem.dtype)
    else:
        targets = random.normal(size=(n, outputs)).astype(problem.dtype)
    shape = (n, outputs) if case.by_target else n
    return Data(X, targets, random.uniform(0.1, 3, shape) if case.weighted else None)


def start_of(problem: Problem) -> Any:
    """Return parameters that keep the scale, biases and slopes other than zero; and the slots."""
    random = np.random.default_rng(1)
    layers = []
    for dense, (k, n) in zip(problem.network.dense, problem.network.shapes, strict=True):
        own = [random.normal(0, 1 / math.sqrt(k), (k, n)), random.normal(0, 0.3, n) * dense.bias]
        if dense.activation == "prelu":
            own.append(random.normal(0, 0.5, n))
        layers.append(tuple(each.astype(problem.dtype) for each in own))
    slots = UPDATES[problem.optimizer.rule].slots
    return layers, [[tuple(map(np.zeros_like, own)) for own in layers] for _ in range(slots)]


def trained(engine: Any, case: Case) -> list[np.ndarray]:
    """Return what an engine makes of a case: losses, outputs, gradients, parameters and state."""
    problem, data = case.problem, data_of(case)
    steps = -(-case.rows // problem.batch_size)
    rates = 0.05 * np.linspace(1, 0.5, steps)
    with closing(engine):
        engine.load(*start_of(problem))
        loss, gradients = engine.gradients(data)
        losses = [loss]
        for epoch in range(EPOCHS):
            order = np.random.default_rng(epoch).permutation(case.rows)
            losses.append(engine.train_epoch(data, order, rates, epoch, epoch * steps).loss)
        found = [np.array(losses), engine.forward(data.X)]
        for layers in (gradients, engine.parameters(), *engine.slots()):
            found += [array for own in layers for array in own]
    return found


def worst(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest error, each relative to the largest number of its array; NaN is infinite.

    An array without a number above 1e-3 is measured by that.
    """
    errors = [0.0]
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            return math.inf
        if one.size:
            error = float(np.abs(one - other).max()) / max(float(np.abs(other).max()), 1e-3)
            errors.append(error if math.isfinite(error) else math.inf)
    return max(errors)


@contextmanager
def factors_of(precision: str) -> Iterator[None]:
    """Let the NumPy target round the factors of its products as tensor cores do, for so long."""
    from fastnn.targets.cuda.tiled.rounding import rounded
    from fastnn.targets.numpy import layers, passes

    forward, backward = layers.linear_forward, layers.linear_backward

    def rounded_forward(X: Any, W: Any, b: Any) -> Any:
        return forward(rounded(precision, X), rounded(precision, W), b)

    def rounded_backward(X: Any, W: Any, dZ: Any) -> Any:
        dX, dW, _ = backward(*(rounded(precision, each) for each in (X, W, dZ)))
        return dX, dW, dZ.sum(axis=0)

    if precision != "float32":
        passes.linear_forward, passes.linear_backward = rounded_forward, rounded_backward
    try:
        yield
    finally:
        passes.linear_forward, passes.linear_backward = forward, backward


def verdict(error: float, kind: str) -> dict[str, Any]:
    """Return an error as a record has it, and whether it is a failure."""
    failed = "" if error <= TOLERANCE[kind] else f"differs by {error:.2g}"
    return {"error": error if math.isfinite(error) else None, "failure": failed}


def check(engine_class: Any, case: Case, family: str) -> dict[str, Any]:
    """Return the record of a case in a family: its error, or that the family does not take it."""
    record = {"family": family, "case": case.name, "dtype": case.kind}
    try:
        engine = engine_class(case.problem, None, family=family)
    except InvalidInput as error:
        return record | {"left_out": str(error)}
    try:
        found = trained(engine, case)
        with factors_of(case.problem.precision):
            error = worst(found, trained(reference.Engine(case.problem, None), case))
    except Exception as failure:  # one case that fails must not hide the others
        return record | {"failure": f"{type(failure).__name__}: {failure}"}
    return record | verdict(error, case.kind)


def check_trainers(target: str) -> Iterator[dict[str, Any]]:
    """Yield the records of what a Trainer does beyond one engine: restarts, arrays on a device."""
    random = np.random.default_rng(3)
    X = random.normal(size=(70, 20)).astype(np.float32)
    y = random.integers(0, 2, 70)

    def trainer(where: str) -> Trainer:
        network = Network(20, [Dense(32, "relu"), Dense(16, "relu"), Dense(2)])
        return Trainer(network, optimizer=SGD(0.05), batch_size=32, target=where, seed=5)

    def restarts(where: str) -> list[np.ndarray]:
        history = trainer(where).fit(X, y, epochs=3, restarts=5)
        return [np.array([each.loss for each in history.restarts or ()])]

    def epochs(where: str) -> list[np.ndarray]:
        one = trainer(where)
        return [np.array(one.fit(X, y, epochs=4).loss), *sum(map(list, one.parameters), [])]

    def resident(where: str) -> list[np.ndarray]:
        given: tuple[Any, ...] = X, y
        if where == "cuda":
            from fastnn.targets.cuda.host.numba_cuda import cuda

            given = tuple(map(cuda.to_device, given))
        return [np.array(trainer(where).fit(*given, epochs=2).loss)]

    for name, come_to in (("restarts", restarts), ("epochs", epochs), ("device X", resident)):
        record = {"family": "trainer", "case": name, "dtype": "float32"}
        try:
            error = worst(come_to(target), come_to("numpy"))
        except Exception as failure:
            yield record | {"failure": f"{type(failure).__name__}: {failure}"}
        else:
            yield record | verdict(error, "float32")
