"""The steps of gradient descent as one compiled function, generated for the function to minimise.

The machine code is kept in a folder of fastnn's caches under a hash of the generated source: a
later process that minimises the same function loads it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastnn.graph.derivative import adjoints
from fastnn.graph.expression import Expression
from fastnn.graph.lower import lower
from fastnn.graph.nodes import check_compiled, topological, variable
from fastnn.graph.simplify import ZERO
from fastnn.graph.statements import code_style, statements
from fastnn.sanitizer import CHECKED
from fastnn.storage.kernels.code_cache import generated_module
from fastnn.storage.kernels.kernel_cache import kept
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.storage.kernels.machine_code import Code, function_at, link
from fastnn.threads.atomic import new_lock

_STYLE = {
    **code_style("np."),
    "erf": code_style("math.")["erf"],  # NumPy has none
}

# What `descend` takes.
_compiling = new_lock()
_KINDS = (*["float64s"] * 3, "float64", "float64", "int", "int", "float64s")

_CALL = """

def call(state, low, high, learning_rate, momentum, steps, every, path):
    arrays = as_array(state), as_array(low), as_array(high)
    return descend(*arrays, learning_rate, momentum, steps, every, as_array(path))
"""

# What is not finite ends the loop before it is used. A point outside of its bounds, NaN included
# in neither comparison, goes to the nearer one.
_TEMPLATE = """\
import math

import numpy as np


def descend(state, low, high, learning_rate, momentum, steps, every, path):
{load}
    taken = row = 0
    left = every
    for _ in range(steps):
{compute}
        if not ({finite}):
            break
{scale}{move}
        taken += 1
        left -= 1
        if left == 0:
{record}
            row += 1
            left = every
{store}
    return taken
"""


# The largest goes out first: squares of the others neither overflow nor vanish.
_SCALE = """\
        largest = {largest}
        if largest > 0:
{divided}
            length = np.sqrt({squares})
{unit}
"""


def descent_source(expression: Expression, normalized: bool = False) -> str:
    """Return Python source of ``descend``, which takes steps of gradient descent on an expression.

    descend(state, low, high, learning_rate, momentum, steps, every, path) -> steps taken

        v = momentum v + gradient;  x = clip(x - learning_rate v, low, high)

    Normalized, gradient / |gradient| stands for the gradient, and 0 where that is 0.

    state is float64 (2 n): x and then v, read and overwritten. low and high are (n,), path is
    (steps // every * n,), for x after each `every` steps. Stops early, before the step, where the
    value or the gradient is not finite. Raises `InvalidInput` for too long a formula.
    """
    count = len(expression.names)
    check_compiled(len(topological([expression.node])))
    inputs = [variable(name) for name in expression.names]
    derivatives = adjoints(expression.node)
    roots = lower([expression.node, *(derivatives.get(each, ZERO) for each in inputs)])
    check_compiled(len(topological(roots)))
    known = {node: f"x{i}" for i, node in enumerate(inputs)}
    lines, results = statements(roots, known, _STYLE, repr)
    names = ["f", *(f"g{i}" for i in range(count))]
    lines += [f"{name} = {result}" for name, result in zip(names, results, strict=True)]
    each = range(count)
    move = [
        line
        for i in each
        for line in (
            f"v{i} = momentum * v{i} + g{i}",
            f"x{i} = x{i} - learning_rate * v{i}",
            f"x{i} = low[{i}] if x{i} < low[{i}] else (high[{i}] if x{i} > high[{i}] else x{i})",
        )
    ]
    state = [f"x{i}" for i in each] + [f"v{i}" for i in each]
    scale = (
        ""
        if not normalized
        else _SCALE.format(
            largest=f"max({', '.join(f'abs(g{i})' for i in each)})" if count > 1 else "abs(g0)",
            divided=_indented(12, [f"g{i} = g{i} / largest" for i in each]),
            squares=" + ".join(f"g{i} * g{i}" for i in each),
            unit=_indented(12, [f"g{i} = g{i} / length" for i in each]),
        )
    )
    return _TEMPLATE.format(
        load=_indented(4, [f"{name} = state[{i}]" for i, name in enumerate(state)]),
        compute=_indented(8, lines),
        finite=" and ".join(f"abs({name}) < np.inf" for name in names),
        scale=scale,
        move=_indented(8, move),
        record=_indented(12, [f"path[{count} * row + {i}] = x{i}" for i in each]),
        store=_indented(4, [f"state[{i}] = {name}" for i, name in enumerate(state)]),
    )


def _indented(spaces: int, lines: list[str]) -> str:
    return "\n".join(" " * spaces + line for line in lines)


class Descend:
    """The compiled ``descend`` of a source, from this process or the cache if it is there.

    Attributes
    ----------
    loaded
        Whether it was in the cache.
    """

    def __init__(self, text: str) -> None:
        self._text, self.loaded = text, False
        if DISABLE_JIT:
            self._function: Any = vars(generated_module("fastnn_descent", text))["descend"]
        else:
            code, self.loaded = kept("descent", f"{text}{_CALL}{_KINDS}", self._compile)
            self._function = function_at(link(code), _KINDS, "int")
            if CHECKED:
                from fastnn.sanitizer.table import checked_arrays

                self._function = checked_arrays(self._function)

    def __call__(self, *arguments: Any) -> int:
        """Take steps, as `descent_source` says; Python's lock is free meanwhile."""
        *others, path = arguments
        return int(self._function(*others, path.reshape(-1)))

    def _compile(self, identity: str) -> Code:
        from numba import njit

        from fastnn.storage.kernels.compiling import as_array, machine_code

        module = generated_module("fastnn_descent", self._text + _CALL)
        descend = njit(error_model="numpy", _nrt=False)(vars(module)["descend"])
        vars(module).update(descend=descend, as_array=as_array)
        return machine_code(vars(module)["call"], _KINDS, "fastnn_descend", identity, "int")


@lru_cache(maxsize=64)
def _compiled(text: str) -> Descend:
    return Descend(text)


def compiled(text: str) -> Descend:
    """Return the compiled ``descend`` of a source."""
    with _compiling:  # once, however many threads ask
        return _compiled(text)
