"""Rules that are applied number by number as machine code, run where there is no device."""

from __future__ import annotations

from typing import Any

import cubin
import numpy as np
import ptx
import pytest

if reason := cubin.missing():
    pytest.skip(reason, allow_module_level=True)

from numba import from_dtype

from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Network
from fastnn.rules import activations, losses
from fastnn.rules.table import ACTIVATIONS, LOSSES
from fastnn.targets.cuda.device.elementary import make_elementary
from fastnn.targets.cuda.host.numba_cuda import U, cuda, inner
from fastnn.targets.numpy.activations import activation_of
from fastnn.targets.numpy.losses import definition_of

ALPHA = 0.3
# prelu and rrelu are leaky_relu with slopes of their own.
ACTIVE = [n for n, row in ACTIVATIONS.items() if not (row.rowwise or row.trainable or row.random)]
PROBLEMS = [
    Problem(Network(1, [Dense(1)]), name, SGD(0.1), 1, 0.0, 0.0, "float64", 0)
    for name, row in LOSSES.items()
    if not row.rowwise
]


def compiled(dtype: Any) -> list[Any]:
    """Return device functions of (x, y): value and derivative of activations, then of losses."""
    real, m, found = dtype.type, make_elementary(dtype), []
    alpha = real(ALPHA)
    for name in ACTIVE:
        value, slope = map(inner, getattr(activations, name)(real, m))
        found.append(lambda x, y, value=value: value(x, alpha))
        found.append(lambda x, y, value=value, slope=slope: slope(x, value(x, alpha), alpha))
    for problem in PROBLEMS:
        of_loss = real(problem.loss_alpha)
        for rule in map(inner, getattr(losses, str(problem.loss))(real, m)):
            found.append(lambda x, y, rule=rule, alpha=of_loss: rule(x, y, alpha))
    return [inner(function) for function in found]


def defined(x: Any, y: Any) -> list[Any]:
    """Return what they are by the definitions of the NumPy target."""
    found: list[Any] = []
    for name in ACTIVE:
        rule: Any = activation_of(name)
        a = rule.value(x, ALPHA)
        found += [a, rule.derivative(x, a, ALPHA)]
    for problem in PROBLEMS:
        loss: Any = definition_of(problem)
        found += [loss.value(x, y), loss.gradient(x, y)]
    return found


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_every_rule_is_its_definition(name: str) -> None:
    dtype = np.dtype(name)
    functions = compiled(dtype)
    namespace: dict[str, Any] = {f"rule{i}": each for i, each in enumerate(functions)}
    lines = [f"    out[U({i}), at] = rule{i}(x[at], y[at])" for i in range(len(functions))]
    source = ["def kernel(x, y, out):", "    at = U(cuda.threadIdx.x)", *lines]
    namespace |= {"U": U, "cuda": cuda}
    exec("\n".join(source), namespace)
    x = np.linspace(-5.1, 5, 64).astype(dtype)
    y = (np.arange(64) % 3 == 0).astype(dtype)
    out, number = np.full((len(functions), 64), np.nan, dtype), from_dtype(dtype)
    types = number[::1], number[::1], number[:, ::1]
    code = cubin.compile_ptx(namespace["kernel"], types, min(cubin.CAPABILITIES))
    ptx.run(code, 1, 64, x, y, out, count=False)
    expected = np.array(defined(x.astype(float), y.astype(float)))
    epsilon = np.finfo(dtype).eps
    np.testing.assert_allclose(out, expected, rtol=30 * epsilon, atol=10 * epsilon)
