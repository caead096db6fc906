"""Rules of the caller's own, compiled into the loops that built-in rules are compiled into.

Each loop is a C function of its own, which the kernels call by address. What Numba makes of it is
kept in the folder of the compiled kernels under a hash of its source, so the next process compiles
nothing; the folder's name has a hash of all that the rule is compiled with.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import config, types
from numba.core.ccallback import CFunc

from fastnn.atomic import new_lock
from fastnn.code_cache import CodeCache, generated_module
from fastnn.cpu import rules
from fastnn.cpu.calls import as_array, registered
from fastnn.cpu.elementary import make_elementary
from fastnn.kernel_cache import FOLDER
from fastnn.plan import (
    OWN_GRADIENT,
    OWN_LOSS_GRADIENTS,
    OWN_LOSSES,
    OWN_SLOPE,
    OWN_VALUE,
    Plan,
)
from fastnn.pool import uninterrupted

if TYPE_CHECKING:
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
    **dict.fromkeys(
        ("losses", "loss_gradients"),
        {"memory": "reals", **dict.fromkeys(("p_at", "y_at", "to", "count"), _INDEX)},
    ),
    "gradient": {"p": "real", "y": "real"},
}


_elementary = cache(make_elementary)


class Compiled:
    """A loop of a rule, compiled or loaded; its `address` is good as long as this is alive."""

    def __init__(self, rule: str, operation: str, dtype: np.dtype) -> None:
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
            f"# {operation} of {dtype.name}\n{rule}\n\n"
            f"def call({', '.join(arguments)}):\n    return loop({passed})\n"
        )
        with np.errstate(all="ignore"):  # constants beyond float32
            module = generated_module("fastnn_rule", text)
            loop = rules.LOOPS[operation](module.rule, dtype.type, _elementary(dtype))
        self.function: Any = loop
        if config.DISABLE_JIT:
            self.address, self.loaded = id(loop), False
            registered[self.address] = loop
            return
        vars(module).update(loop=loop, as_array=as_array)
        result = real if operation == "gradient" else types.void
        # Numba's decorator of this name, with another cache.
        options = {"error_model": "numpy", "_nrt": False}
        signature = tuple(arguments.values()), result
        self.function = CFunc(module.call, signature, locals={}, options=options)
        self.function._cache = CodeCache(FOLDER, module.call)
        self.function.compile()
        self.address, self.loaded = self.function.address, self.function.cache_hits > 0


_compiled: dict[tuple[Any, ...], Compiled] = {}  # for good, since plans hold addresses
_compiling = new_lock()


def compiled(rule: str, operation: str, dtype: np.dtype) -> Compiled:
    """Return a loop of the rule with this source, from this process or the cache if it is there.

    Parameters
    ----------
    rule
        Source of a function ``rule(real, m)``, see `fastnn.graph.source`.
    operation
        A key of `fastnn.cpu.rules.LOOPS`.
    dtype
        float32 or float64.
    """
    key = rule, operation, dtype
    if key not in _compiled:
        uninterrupted(partial(_compile, key))
    return _compiled[key]


def _compile(key: tuple[str, str, np.dtype]) -> None:
    with _compiling:
        if key not in _compiled:
            _compiled[key] = Compiled(*key)


def place_rules(problem: Problem, plan: Plan, training: bool) -> None:
    """Write into the plan where rules of the caller's own are, compiled or loaded where need be.

    Prediction needs the values of activations alone.
    """
    for layer, dense in enumerate(problem.network.dense):
        own: Any = dense.activation
        if not isinstance(own, str):
            rule = own.source.text
            value = compiled(rule, "activate", problem.dtype).address
            plan.layers[layer, OWN_VALUE] = plan.inference[:, layer, OWN_VALUE] = value
            if training:
                slope = compiled(rule, "multiply_slope", problem.dtype).address
                plan.layers[layer, OWN_SLOPE] = slope
    loss: Any = problem.loss
    if training and not isinstance(loss, str):
        _place_loss(loss.source.text, problem.dtype, plan)


def _place_loss(rule: str, dtype: np.dtype, plan: Plan) -> None:
    head, layout = plan.head, plan.layout
    head[OWN_LOSSES] = compiled(rule, "losses", dtype).address
    head[OWN_LOSS_GRADIENTS] = compiled(rule, "loss_gradients", dtype).address
    if layout.panel == 1:
        head[OWN_GRADIENT] = compiled(rule, "gradient", dtype).address
