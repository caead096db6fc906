"""User-defined rules, compiled into the loops that built-in rules are compiled into.

Each loop is a C function of its own, which the kernels call by address. What Numba makes of it is
kept in the folder of the compiled kernels under a hash of its source, so the next process compiles
nothing, and does not import Numba. The numbers of a formula are an argument: formulas that differ
in nothing else are compiled once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.rules.table import CUSTOM
from fastnn.storage.kernels import kernel_cache
from fastnn.storage.kernels.code_cache import generated_module
from fastnn.storage.kernels.machine import DISABLE_JIT
from fastnn.storage.kernels.machine_code import Code, link
from fastnn.targets.cpu.plan import (
    LOSS,
    OWN_DERIVATIVE,
    OWN_GRADIENT,
    OWN_LOSS_GRADIENTS,
    OWN_LOSSES,
    OWN_ROW_LOSSES,
    OWN_VALUE,
    ROW_BY_ROW,
    Plan,
)
from fastnn.threads.atomic import new_lock
from fastnn.threads.pool import uninterrupted

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

# Loop -> its arguments and their types; "real" is the problem's, "reals" are an array of such.
_ARGUMENTS: dict[str, dict[str, str]] = {
    "activate": {"memory": "reals", "at": "int", "count": "int"},
    "multiply_derivative": {
        "memory": "reals",
        **dict.fromkeys(("z_at", "a_at", "d_at", "count"), "int"),
    },
    **dict.fromkeys(
        ("losses", "loss_gradients"),
        {"memory": "reals", **dict.fromkeys(("p_at", "y_at", "to", "count"), "int")},
    ),
    "gradient": {"p": "real", "y": "real"},
    "row_losses": {
        "memory": "reals",
        **dict.fromkeys(("p_at", "y_at", "d_at", "to", "scratch", "rows", "r0", "r1"), "int"),
    },
}


class Compiled:
    """A loop of a rule, compiled or loaded; `address` is good as long as the process lives.

    Where Numba is switched off it is the function `loop` instead.
    """

    def __init__(self, rule: str, count: int, operation: str, dtype: np.dtype) -> None:
        kinds = {"real": dtype.name, "reals": f"{dtype.name}s"}
        described = {"constants": "reals", **_ARGUMENTS[operation]}
        self._arguments = {name: kinds.get(kind, kind) for name, kind in described.items()}
        self._operation, self._dtype = operation, dtype
        passed = ", ".join(
            f"as_array({name})" if kind.endswith("s") else name
            for name, kind in self._arguments.items()
            if name != "constants"
        )
        # As numbers they stay in registers; as an array they would be read again after each store.
        numbers = "".join(f"numbers[{place}], " for place in range(count))
        self._text = (
            f"# {operation} of {dtype.name}: {self._arguments}\n{rule}\n\n"
            f"def call({', '.join(self._arguments)}):\n    numbers = as_array(constants)\n"
            f"    return loop({passed}, ({numbers}))\n"
        )
        self.loop: Any = None
        if DISABLE_JIT:
            self.loop, self.address, self.loaded = vars(self._module())["loop"], 0, False
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
        from fastnn.targets.cpu.llvm.elementary import make_elementary
        from fastnn.targets.cpu.llvm.row_loops import row_losses_loop
        from fastnn.targets.cpu.llvm.rule_loops import LOOPS

        with np.errstate(all="ignore"):  # constants beyond float32
            module = generated_module("fastnn_rule", self._text)
            make = (LOOPS | {"row_losses": row_losses_loop})[self._operation]
            rule, real = vars(module)["rule"], self._dtype.type
            loop = make(rule, real, make_elementary(self._dtype))
        vars(module).update(loop=loop, as_array=as_array)
        return module


_compiled: dict[tuple[Any, ...], Compiled] = {}  # for good, since plans hold addresses
_compiling = new_lock()


def compiled(rule: str, count: int, operation: str, dtype: np.dtype) -> Compiled:
    """Return a loop of the rule with this source, from this process or the cache if it is there.

    Parameters
    ----------
    rule, count
        Source of a function ``rule(real, m)``, and how many numbers its functions take; see
        `fastnn.graph.source`.
    operation
        A key of `fastnn.targets.cpu.llvm.rule_loops.LOOPS`, or "row_losses".
    dtype
        float32 or float64.
    """
    key = rule, count, operation, dtype
    if key not in _compiled:
        uninterrupted(partial(_compile, key))
    return _compiled[key]


def _compile(key: tuple[str, int, str, np.dtype]) -> None:
    with _compiling:
        if key not in _compiled:
            _compiled[key] = Compiled(*key)


class _Placing:
    """Writes records of user-defined rules: where the code is, and where the numbers are."""

    def __init__(self, plan: Plan, dtype: np.dtype) -> None:
        self._plan, self._dtype = plan, dtype

    def place(self, index: int, source: Any, operation: str) -> int:
        """Return the address of record `index`, of a loop of the rule with this source.

        The plan keeps its numbers.
        """
        plan, count = self._plan, len(source.constants)
        found = compiled(source.text, count, operation, self._dtype)
        if index not in plan.constants:
            with np.errstate(all="ignore"):  # numbers beyond float32
                plan.constants[index] = np.array(source.constants or (0.0,), self._dtype)
        numbers, record = plan.constants[index], plan.records[index]
        record[:] = found.address, numbers.ctypes.data
        address = int(record.ctypes.data)
        if DISABLE_JIT:
            from fastnn.targets.cpu.llvm.function_pointers import registered

            values = tuple(numbers[:count])
            # The last argument, which is in their place, is that of built-in rules.
            registered[address] = lambda *given: found.loop(*given[:-1], values)
        return address


def place_rules(problem: Problem, plan: Plan, training: bool) -> None:
    """Write into the plan where user-defined rules are, compiled or loaded where need be.

    Prediction needs the values of activations alone.
    """
    placing = _Placing(plan, problem.dtype)
    for layer, dense in enumerate(problem.network.parametric):
        own: Any = dense.activation
        if not isinstance(own, str):
            value = placing.place(2 * layer, own.source, "activate")
            plan.layers[layer, OWN_VALUE] = plan.inference[:, layer, OWN_VALUE] = value
            if training:
                derivative = placing.place(2 * layer + 1, own.source, "multiply_derivative")
                plan.layers[layer, OWN_DERIVATIVE] = derivative
    if training and plan.head[LOSS] == CUSTOM:
        _place_loss(problem.loss, placing, plan)


def _place_loss(loss: Any, placing: _Placing, plan: Plan) -> None:
    head, layout, first = plan.head, plan.layout, len(plan.records) - 3
    if loss.row.rowwise:
        head[OWN_ROW_LOSSES] = placing.place(first, loss.source, "row_losses")
        return
    head[OWN_LOSSES] = placing.place(first, loss.source, "losses")
    head[OWN_LOSS_GRADIENTS] = placing.place(first + 1, loss.source, "loss_gradients")
    if layout.panel == 1 or head[ROW_BY_ROW] == 1:
        head[OWN_GRADIENT] = placing.place(first + 2, loss.source, "gradient")
