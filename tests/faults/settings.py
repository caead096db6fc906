"""Settings drawn at random: the CPU target beside the NumPy target, and that beside PyTorch."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
from fault_table import ROOT, Count, in_child, part

from fastnn import SGD, Adagrad, Adam, AdamW, AveragedSGD, Dense, Dropout, Lion, Nadam, RMSProp
from fastnn.rules.table import ACTIVATIONS, LOSSES

sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "targets")]
EACH = 250  # settings a process
TOLERANCE = 1e-10  # of the largest number beside it; hundreds of steps add roundings up
# Some settings drawn make a last bit grow, up to chaos. How far the NumPy target parts from itself
# when last bits change, of X and of what activations give, says how far another target may: as far
# as this many times that.
ROUNDINGS = 10
# Of hinges, whose derivative jumps where rounding may take them, two targets part ways by chance.
JUMPS = ("perceptron", "hinge", "margin", "mae", "quantile", "epsilon_insensitive")
SMOOTH = [name for name in LOSSES if name not in JUMPS]
HIDDEN = ("sigmoid", "tanh", "elu", "selu", "gelu", "silu", "mish", "softplus", "softmax", "rrelu")
# With an epsilon well above a gradient's rounding: else a first step is that rounding's sign.
OPTIMIZERS = (
    lambda draw: SGD(0.1, draw.choice([0.0, 0.9])),
    lambda draw: SGD(0.1, 0.9, nesterov=True),
    lambda draw: Adam(0.1, epsilon=1e-3),
    lambda draw: AdamW(0.1, epsilon=1e-3, weight_decay=0.1),
    lambda draw: Nadam(0.1, epsilon=1e-3),
    lambda draw: RMSProp(0.1, epsilon=1e-3),
    lambda draw: Adagrad(0.1, epsilon=1e-3),
    lambda draw: Lion(0.1, weight_decay=0.1),
    lambda draw: AveragedSGD(0.1, start=draw.randint(0, 5)),
)


def drawn(draw: random.Random) -> tuple[Any, int, bool | str, int]:
    """Return a problem in float64, and of its data the rows, what is weighted, and threads."""
    from fastnn.inputs.problem import Problem
    from fastnn.network import Network

    loss, layers = draw.choice(SMOOTH), []
    for _ in range(draw.randint(0, 3)):
        if draw.random() < 0.3:
            layers.append(Dropout(draw.choice([0.1, 0.5])))
        bounded = draw.choice([None, None, 0.9])
        bias, activation = draw.random() < 0.8, draw.choice(HIDDEN)
        layers.append(Dense(draw.randint(1, 70), activation, bias=bias, max_norm=bounded))
    raw = LOSSES[loss].from_logits
    outputs = draw.randint(2, 9) if LOSSES[loss].targets == "classes" else draw.randint(1, 5)
    last = "identity" if raw or loss == "squared_hinge" else draw.choice(["identity", "tanh"])
    layers.append(Dense(outputs, last))
    problem = Problem(
        Network(draw.randint(1, 90), layers), loss, draw.choice(OPTIMIZERS)(draw),
        draw.randint(1, 70), draw.choice([0.0, 0.01]), draw.choice([0.0, 0.01]), "float64",
        draw.randint(0, 99), draw.choice([None, None, 0.05]), draw.choice([None, None, 0.5]),
    )  # fmt: skip
    rows, threads = draw.randint(1, 150), draw.choice([1, 2])
    able = not LOSSES[loss].rowwise and outputs > 1
    weighted = draw.choice([False, False, True, "targets" if able else True])
    return problem, rows, weighted, threads


def far(found: Any, expected: Any) -> float:
    """Return the largest difference of two runs, by the largest number beside it."""
    largest = 0.0
    for one, other in zip(found.groups(), expected.groups(), strict=True):
        scale = max((float(np.abs(array).max()) for array in other.values()), default=0.0) or 1.0
        gaps = [float(np.abs(one[name] - array).max()) for name, array in other.items()]
        largest = max([largest, *(gap / scale for gap in gaps)])
    return largest


def own_noise(problem: Any, data: Any, expected: Any) -> float:
    """Return how far the NumPy target parts from `expected` when last bits change.

    Those of activations count by themselves: of a tanh near 1 the derivative is 1 - y^2, which a
    rounding of y changes, and none of X does.
    """
    from target_cases import run

    from fastnn.targets import numpy as reference
    from fastnn.targets.numpy import passes

    bit, exact = np.finfo(problem.dtype).eps, passes.activation_of

    def rounded(values: np.ndarray) -> np.ndarray:
        return values * (1 + bit * random.uniform(-1, 1, np.shape(values)))

    def inexact(rule: Any) -> Any:
        value = exact(rule).value
        return replace(exact(rule), value=lambda z, alpha: rounded(value(z, alpha)))

    largest = 0.0
    with patch.object(passes, "activation_of", inexact):
        for seed in range(8):
            random = np.random.default_rng(seed)
            other = run(reference.Engine, problem, replace(data, X=rounded(data.X)))
            largest = max(largest, far(other, expected))
    return largest


def trained(engine_class: Any, problem: Any, data: Any, **settings: Any) -> Any:
    """Return two epochs' run, or None if it diverged."""
    from target_cases import run

    try:
        found = run(engine_class, problem, data, **settings)
    except AssertionError:  # an epoch that met a number that is not finite
        return None
    finite = all(np.isfinite(array).all() for group in found.groups() for array in group.values())
    return found if finite else None


def against_numpy(first: int, tries: int) -> Any:
    """Train with some settings on both targets, two epochs."""
    from target_cases import data_of

    from fastnn.targets import numpy as reference
    from fastnn.targets.cpu.engine import Engine

    assert set(HIDDEN) < set(ACTIVATIONS)
    broken = []
    for seed in range(first, first + tries):
        problem, rows, weighted, threads = drawn(random.Random(seed))
        data = data_of(problem, rows, weighted=weighted, seed=seed)
        found = trained(Engine, problem, data, threads=threads)
        expected = trained(reference.Engine, problem, data)
        if found is None or expected is None:
            if found is not expected:
                broken.append(f"settings {seed}, {problem}: one target diverged")
        elif (gap := far(found, expected)) > TOLERANCE:
            noise = own_noise(problem, data, expected)
            if gap > ROUNDINGS * noise:
                broken.append(f"settings {seed}, {problem}: {gap:.2g} apart, noise {noise:.2g}")
    return tries, broken


def against_torch(first: int, tries: int) -> Any:
    """Train one layer after another with some settings on the NumPy target and in PyTorch."""
    import torch
    from target_cases import data_of, parameters_of, run

    from fastnn.inputs.problem import Problem
    from fastnn.network import Network
    from fastnn.targets import numpy as reference

    functions = {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "relu": torch.relu, "elu": torch.nn.functional.elu, "selu": torch.selu,
        "gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu,
        "mish": torch.nn.functional.mish, "softplus": torch.nn.functional.softplus,
    }  # fmt: skip
    broken = []
    for seed in range(first, first + tries):
        draw = random.Random(seed)
        activations = [draw.choice(list(functions)[1:]) for _ in range(draw.randint(0, 3))]
        layers = [Dense(draw.randint(1, 40), each) for each in activations]
        classes = draw.randint(2, 9)
        momentum, l2 = draw.choice([0.0, 0.9]), draw.choice([0.0, 0.01])
        problem = Problem(
            Network(draw.randint(1, 50), [*layers, Dense(classes)]), "softmax_cross_entropy",
            SGD(0.1, momentum), draw.randint(1, 40), 0.0, l2, "float64", 0,
        )  # fmt: skip
        data = data_of(problem, draw.randint(1, 100), seed=seed)
        found = run(reference.Engine, problem, data, epochs=1)
        pairs = [tuple(torch.tensor(a) for a in own) for own in parameters_of(problem)]
        tensors = [each.requires_grad_() for pair in pairs for each in pair]
        weights = {"params": tensors[::2], "weight_decay": l2}
        groups = [weights, {"params": tensors[1::2], "weight_decay": 0.0}]
        descent = torch.optim.SGD(groups, lr=0.1, momentum=momentum)
        X, y, batch = torch.tensor(data.X), torch.tensor(data.targets), problem.batch_size
        steps = -(-len(X) // batch)
        order = np.random.default_rng(0).permutation(len(X))
        rates = 0.05 * np.linspace(1, 0.5, steps)
        for step in range(steps):
            for group in descent.param_groups:
                group["lr"] = rates[step]
            rows, z = order[step * batch :][:batch], None
            for (W, b), name in zip(pairs, [*activations, "identity"], strict=True):
                z = functions[name]((X[rows] if z is None else z) @ W + b)
            descent.zero_grad()
            torch.nn.functional.cross_entropy(z, y[rows]).backward()
            descent.step()
        for own, pair in zip(found.parameters, pairs, strict=True):
            for one, other in zip(own, pair, strict=True):
                if not np.allclose(one, other.detach().numpy(), rtol=1e-9, atol=1e-11):
                    broken.append(f"settings {seed}, {problem}")
                    break
    return tries, broken


def _many(function: Any, tries: int) -> Count:
    count = Count()
    for first in range(0, tries, EACH):
        in_child(count, function, first, min(EACH, tries - first), seconds=1800)
    return count


@part("random settings, cpu against numpy", 50, 3000)
def _numpy(tries: int) -> Count:
    return _many(against_numpy, tries)


@part("random settings, numpy against PyTorch", 0, 500)
def _torch(tries: int) -> Count:
    return _many(against_torch, tries)
