"""Rules of the caller's own, compiled into the loops that built-in rules are compiled into.

Each loop is a C function of its own, which the kernels call by address. Its source is kept in the
folder of the compiled kernels, and what Numba makes of it beside that, so the next process
compiles nothing; the folder's name has a hash of all that the rule is compiled with.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
from numba import cfunc, config, types

from fastnn.atomic import new_lock
from fastnn.cpu import rules
from fastnn.cpu.calls import as_array, registered
from fastnn.cpu.elementary import make_elementary
from fastnn.custom import CustomActivation, CustomLoss
from fastnn.folders import generated_module
from fastnn.kernel_cache import FOLDER
from fastnn.plan import (
    OWN_GRADIENT,
    OWN_LOSSES,
    OWN_NARROW,
    OWN_ROWS,
    OWN_SLOPE,
    OWN_VALUE,
    Plan,
)
from fastnn.pool import uninterrupted
from fastnn.problem import Problem

_INDEX = types.int64
# Loop -> its arguments and their types; "real" is the problem's.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "activate": {"memory": "reals", "at": _INDEX, "count": _INDEX, "alpha": "real"},
    "multiply_slope": {
        "memory": "reals",
        **dict.fromkeys(("z_at", "a_at", "d_at", "count"), _INDEX),
        "alpha": "real",
    },
    "loss_rows": {
        "memory": "reals",
        **dict.fromkeys(("p_at", "y_at", "d_at", "mask_at", "scale_at", "count"), _INDEX),
        "row_loss": types.CPointer(types.float64),
        "loss_at": _INDEX,
    },
    "losses": {"memory": "reals", **dict.fromkeys(("p_at", "y_at", "count"), _INDEX)},
    "gradient": {"p": "real", "y": "real"},
}


_elementary = cache(make_elementary)


class Compiled:
    """A loop of a rule, compiled or loaded; its `address` is good as long as this is alive."""

    def __init__(self, rule: str, operation: str, dtype: np.dtype, width: int) -> None:
        real = getattr(types, dtype.name)
        kinds = {"real": real, "reals": types.CPointer(real)}
        arguments = {
            name: kinds.get(kind, kind) if isinstance(kind, str) else kind
            for name, kind in _ARGUMENTS[operation].items()
        }
        passed = ", ".join(
            f"as_array({name})" if isinstance(kind, types.CPointer) else name
            for name, kind in arguments.items()
        )
        # Numba keeps one compilation for each text and signature, so the text says the rest.
        text = (
            f"# {operation} of {dtype.name}, {width} numbers in a row\n{rule}\n\n"
            f"def call({', '.join(arguments)}):\n    return loop({passed})\n"
        )
        with np.errstate(all="ignore"):  # constants beyond float32
            module = generated_module(FOLDER, "fastnn_rule", text)
            loop = rules.LOOPS[operation](module.rule, dtype.type, _elementary(dtype), width)
        self.function: Any = loop
        if config.DISABLE_JIT:
            self.address, self.loaded = id(loop), False
            registered[self.address] = loop
            return
        vars(module).update(loop=loop, as_array=as_array)
        result = real if operation == "gradient" else types.void
        previous = config.CACHE_DIR
        config.CACHE_DIR = str(FOLDER)  # read when the decorator runs
        try:
            self.function = cfunc(
                result(*arguments.values()), cache=True, error_model="numpy", _nrt=False
            )(module.call)
        finally:
            config.CACHE_DIR = previous
        self.address, self.loaded = self.function.address, self.function.cache_hits > 0


_compiled: dict[tuple[Any, ...], Compiled] = {}  # for good, since plans hold addresses
_compiling = new_lock()


def compiled(rule: str, operation: str, dtype: np.dtype, width: int = 1) -> Compiled:
    """Return a loop of the rule with this source, from this process or the cache if it is there.

    Parameters
    ----------
    rule
        Source of a function ``rule(real, m)``, see `fastnn.graph.source`.
    operation
        A key of `fastnn.cpu.rules.LOOPS`.
    dtype
        float32 or float64.
    width
        For "loss_rows": how many numbers lie in a row.
    """
    key = rule, operation, dtype, width
    if key not in _compiled:
        uninterrupted(partial(_compile, key))
    return _compiled[key]


def _compile(key: tuple[str, str, np.dtype, int]) -> None:
    with _compiling:
        if key not in _compiled:
            _compiled[key] = Compiled(*key)


def place_rules(problem: Problem, plan: Plan, training: bool) -> None:
    """Write into the plan where rules of the caller's own are, compiled or loaded where need be.

    Prediction needs the values of activations alone.
    """
    for layer, dense in enumerate(problem.network.dense):
        if isinstance(dense.activation, CustomActivation):
            rule = dense.activation.source.text
            value = compiled(rule, "activate", problem.dtype).address
            plan.layers[layer, OWN_VALUE] = plan.inference[:, layer, OWN_VALUE] = value
            if training:
                slope = compiled(rule, "multiply_slope", problem.dtype).address
                plan.layers[layer, OWN_SLOPE] = slope
    if training and isinstance(problem.loss, CustomLoss):
        _place_loss(problem.loss.source.text, problem.dtype, plan)


def _place_loss(rule: str, dtype: np.dtype, plan: Plan) -> None:
    head, layout = plan.head, plan.layout
    head[OWN_ROWS] = compiled(rule, "loss_rows", dtype, layout.panel).address
    head[OWN_NARROW] = compiled(rule, "loss_rows", dtype, layout.lanes).address
    if layout.panel == 1:
        head[OWN_LOSSES] = compiled(rule, "losses", dtype).address
        head[OWN_GRADIENT] = compiled(rule, "gradient", dtype).address
