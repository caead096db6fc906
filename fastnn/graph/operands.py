"""What may stand in a formula: expressions, conditions and numbers; and what refuses to be one."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from numbers import Real
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.graph import nodes, origin
from fastnn.graph.formula import formula
from fastnn.graph.nodes import Node


class Formula:
    """What numbers and conditions have in common: no value yet, hence no branch on it."""

    node: Node
    names: tuple[str, ...]
    # What type checkers take for declared, which a chain of assignments is not.
    __float__: ClassVar[Callable[..., NoReturn]]
    __int__: ClassVar[Callable[..., NoReturn]]
    __index__: ClassVar[Callable[..., NoReturn]]
    __complex__: ClassVar[Callable[..., NoReturn]]
    __round__: ClassVar[Callable[..., NoReturn]]
    __floor__: ClassVar[Callable[..., NoReturn]]
    __ceil__: ClassVar[Callable[..., NoReturn]]
    __trunc__: ClassVar[Callable[..., NoReturn]]
    __array__: ClassVar[Callable[..., NoReturn]]

    def __init__(self, node: Node, names: tuple[str, ...]) -> None:
        self.node, self.names = node, names

    def __repr__(self) -> str:
        """Show the formula, with the fewest parentheses."""
        return formula(self.node)

    def _repr_latex_(self) -> str:
        """Show the formula in a notebook, as mathematics; see `fastnn.graph.latex`."""
        from fastnn.graph.latex import latex

        return f"$\\displaystyle {latex(self.node)}$"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a flat list, since equal nodes must stay one object and graphs may be deep."""
        return _unpickled, (type(self), nodes.flattened(self.node), self.names)

    def __copy__(self) -> Self:
        """Return the same formula: it cannot change."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the same formula: it cannot change."""
        return self

    def __bool__(self) -> NoReturn:
        """Refuse a branch."""
        raise origin.branched(repr(self), origin.calling_place())

    def _no_number(self, *_: object, **__: object) -> NoReturn:
        raise origin.needs_number(repr(self), origin.calling_place())

    __float__ = __int__ = __index__ = __complex__ = __round__ = _no_number
    __floor__ = __ceil__ = __trunc__ = __array__ = _no_number

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply the graph's own function in place of NumPy's."""
        from fastnn.graph.numpy_calls import call

        return call(ufunc.__name__, inputs, options if method == "__call__" else {method: True})

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        """Apply the graph's own function in place of NumPy's."""
        from fastnn.graph.numpy_calls import call

        return call(function.__name__, inputs, options)


def _unpickled(kind: type[Formula], rows: list[nodes.FlatNode], names: tuple[str, ...]) -> Formula:
    return kind(nodes.unflattened(rows), names)


def node_of(value: Any) -> Node | None:
    """Return the node of an expression, a condition or a number; None for anything else."""
    if isinstance(value, Formula):
        return value.node
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (Real, np.bool_)):
        with suppress(OverflowError):  # a whole number or a fraction beyond any float
            if math.isfinite(number := float(value)):
                return nodes.constant(number)
        problem = f"a constant of an expression must be finite, not {shown(value):.60}"
        raise origin.cannot_trace(problem, "use a finite number", origin.calling_place())
    if isinstance(value, np.ndarray):
        raise array_constant(value)
    return None


def array_constant(value: np.ndarray) -> InvalidInput:
    """Return the error for an array among numbers."""
    problem = f"an array of shape {value.shape} cannot be a constant of an expression"
    remedy = "make a variable of it and give the array to evaluate"
    return origin.cannot_trace(problem, remedy, origin.calling_place())
