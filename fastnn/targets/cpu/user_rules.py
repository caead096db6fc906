"""User-defined rules, compiled into the loops that built-in rules are compiled into.

Each loop is a C function of its own, which the kernels call by address. What Numba makes of it is
kept in the folder of the compiled kernels under a hash of its source, so the next process compiles
nothing, and does not import Numba.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.storage.kernels import kernel_cache
from fastnn.storage.kernels.code_cache import generated_module
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.storage.kernels.machine_code import Code, link
from fastnn.targets.cpu.plan import (
    OWN_DERIVATIVE,
    OWN_GRADIENT,
    OWN_LOSS_GRADIENTS,
    OWN_LOSSES,
    OWN_VALUE,
    Plan,
)
from fastnn.threads.atomic import new_lock
from fastnn.threads.pool import uninterrupted

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

# Loop -> its arguments and their types; "real" is the problem's, "reals" are an array of such.
_ARGUMENTS: dict[str, dict[str, str]] = {
    "activate": {"memory": "reals", "at": "int", "count": "int", "alpha": "real"},
    "multiply_derivative": {
        "memory": "reals",
        **dict.fromkeys(("z_at", "a_at", "d_at", "count"), "int"),
        "alpha": "real",
    },
    **dict.fromkeys(
        ("losses", "loss_gradients"),
        {"memory": "reals", **dict.fromkeys(("p_at", "y_at", "to", "count"), "int")},
    ),
    "gradient": {"p": "real", "y": "real"},
}


class Compiled:
    """A loop of a rule, compiled or loaded; `address` is good as long as the process lives."""

    def __init__(self, rule: str, operation: str, dtype: np.dtype) -> None:
        kinds = {"real": dtype.name, "reals": f"{dtype.name}s"}
        self._arguments = {
            name: kinds.get(kind, kind) for name, kind in _ARGUMENTS[operation].items()
        }
        self._operation, self._dtype = operation, dtype
        passed = ", ".join(
            f"as_array({name})" if kind.endswith("s") else name
            for name, kind in self._arguments.items()
        )
        self._text = (
            f"# {operation} of {dtype.name}: {self._arguments}\n{rule}\n\n"
            f"def call({', '.join(self._arguments)}):\n    return loop({passed})\n"
        )
        if DISABLE_JIT:
            from fastnn.targets.cpu.llvm.function_pointers import registered

            loop = vars(self._module())["loop"]
            self.address, self.loaded = id(loop), False
            registered[self.address] = loop
        else:
            name = f"rule_{operation}"
            code, self.loaded = kernel_cache.kept(name, self._text, self._compile)
            self.address = link(code)

    def _compile(self, identity: str) -> Code:
        from fastnn.storage.kernels.compiling import machine_code

        module, result = self._module(), None
        if self._operation == "gradient":
            result = self._dtype.name
        return machine_code(
            vars(module)["call"], tuple(self._arguments.values()), "fastnn_rule", identity, result
        )

    def _module(self) -> Any:
        """Return the module of the text, with the loop that it calls."""
        from fastnn.storage.kernels.compiling import as_array
        from fastnn.targets.cpu.llvm import rule_loops
        from fastnn.targets.cpu.llvm.elementary import make_elementary

        with np.errstate(all="ignore"):  # constants beyond float32
            module = generated_module("fastnn_rule", self._text)
            make = rule_loops.LOOPS[self._operation]
            rule, real = vars(module)["rule"], self._dtype.type
            loop = make(rule, real, make_elementary(self._dtype))
        vars(module).update(loop=loop, as_array=as_array)
        return module


_compiled: dict[tuple[Any, ...], Compiled] = {}  # for good, since plans hold addresses
_compiling = new_lock()


def compiled(rule: str, operation: str, dtype: np.dtype) -> Compiled:
    """Return a loop of the rule with this source, from this process or the cache if it is there.

    Parameters
    ----------
    rule
        Source of a function ``rule(real, m)``, see `fastnn.graph.source`.
    operation
        A key of `fastnn.targets.cpu.llvm.rule_loops.LOOPS`.
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
    """Write into the plan where user-defined rules are, compiled or loaded where need be.

    Prediction needs the values of activations alone.
    """
    for layer, dense in enumerate(problem.network.parametric):
        own: Any = dense.activation
        if not isinstance(own, str):
            rule = own.source.text
            value = compiled(rule, "activate", problem.dtype).address
            plan.layers[layer, OWN_VALUE] = plan.inference[:, layer, OWN_VALUE] = value
            if training:
                derivative = compiled(rule, "multiply_derivative", problem.dtype).address
                plan.layers[layer, OWN_DERIVATIVE] = derivative
    loss: Any = problem.loss
    if training and not isinstance(loss, str):
        _place_loss(loss.source.text, problem.dtype, plan)


def _place_loss(rule: str, dtype: np.dtype, plan: Plan) -> None:
    head, layout = plan.head, plan.layout
    head[OWN_LOSSES] = compiled(rule, "losses", dtype).address
    head[OWN_LOSS_GRADIENTS] = compiled(rule, "loss_gradients", dtype).address
    if layout.panel == 1:
        head[OWN_GRADIENT] = compiled(rule, "gradient", dtype).address
