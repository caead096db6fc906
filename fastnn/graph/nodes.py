"""The nodes of a graph: one object for each distinct subexpression.

Equal nodes are the same object, so what two formulas share is stored, computed and differentiated
once, and ``is`` compares whole subexpressions. Nodes are immutable and refer to their arguments
only; nothing here recurses, so a graph may be deeper than Python's stack.
"""

from __future__ import annotations

import keyword
import math
import threading
from collections.abc import Container, Iterable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from fastnn.errors import InvalidInput, shown
from fastnn.graph.operations import OPERATIONS

# Operations of a formula and its derivatives that are compiled, at most: nested branches, which
# take longest, need some 15 s for so many, and twice as many four times that.
MOST_COMPILED = 1000
MOST_TOGETHER = 4 * MOST_COMPILED  # of all formulas of a network
# Nodes of a formula that is differentiated: some seconds. Each derivative is several times larger.
MOST_DERIVED = 50_000
_LONGEST_NAME = 255


class Node:
    """A constant, a variable, or an operation on other nodes.

    Attributes
    ----------
    operation
        "constant", "parameter", "variable", "vector" (a variable that is one), or a key of
        `OPERATIONS`.
    arguments
        The nodes it is applied to.
    value
        The number of a constant; the index of a parameter; the length of a vector.
    name
        The name of a variable, or the name that an intermediate result was given, or "".
    fixed
        Whether no variable is below.
    length
        How many numbers a vector, or a vector of conditions, has; None for one number.
    """

    __slots__ = ("operation", "arguments", "value", "name", "fixed", "length", "__weakref__")

    def __init__(
        self, operation: str, arguments: tuple[Node, ...], value: float, name: str
    ) -> None:
        self.operation: str = operation
        self.arguments: tuple[Node, ...] = arguments
        self.value: float = value
        self.name: str = name
        variable = operation in ("variable", "vector")
        self.fixed: bool = not variable and all(each.fixed for each in arguments)
        self.length: int | None = int(value) if operation == "vector" else None
        if arguments:
            rule = OPERATIONS[operation].length
            self.length = rule(*arguments) if rule else length_of(arguments)

    @property
    def is_condition(self) -> bool:
        """Whether the node is true or false, and so no number."""
        return self.operation in OPERATIONS and OPERATIONS[self.operation].condition


def length_of(nodes: Iterable[Node]) -> int | None:
    """Return the length of the vectors among some nodes, which is one; None if there are none."""
    return next((node.length for node in nodes if node.length is not None), None)


# Keys hold the arguments' ids, which stay theirs for as long as the node keeps the arguments alive.
_nodes: WeakValueDictionary[tuple[object, ...], Node] = WeakValueDictionary()
_lock = threading.Lock()


def _the(operation: str, arguments: tuple[Node, ...], value: float = 0.0, name: str = "") -> Node:
    """Return the one node that is this."""
    # As text, -0.0 differs from 0.0.
    key = (operation, tuple(map(id, arguments)), repr(value), name)
    with _lock:
        found = _nodes.get(key)
        if found is None:
            found = _nodes[key] = Node(operation, arguments, value, name)
        return found


def constant(value: float) -> Node:
    """Return the node of a number."""
    return _the("constant", (), float(value))


def parameter(index: int) -> Node:
    """Return the node of a number that compiled code is given, the one of that index."""
    return _the("parameter", (), index)


def variable(name: str) -> Node:
    """Return the node of a variable."""
    return _the("variable", (), name=name)


def vector(name: str, length: int) -> Node:
    """Return the node of a variable that is a vector."""
    return _the("vector", (), length, name)


def apply(operation: str, *arguments: Node) -> Node:
    """Return the node of an operation; of an operation on numbers alone, the node of its value.

    A value that is not finite stays a formula, such as ``log(0)``.
    """
    row = OPERATIONS[operation]
    numbers = not row.condition and row.length is None
    if numbers and all(each.operation == "constant" for each in arguments):
        with np.errstate(all="ignore"):
            value = float(row.value(*(np.float64(each.value) for each in arguments)))
        if math.isfinite(value):
            return constant(value)
    return _the(operation, arguments)


def named(node: Node, name: str) -> Node:
    """Return `node`, an operation, with a name; another node than the one without."""
    return _the(node.operation, node.arguments, name=name)


def check_name(name: Any) -> str:
    """Return `name` if it can name a variable, or raise `InvalidInput`."""
    if isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name):
        if len(name) <= _LONGEST_NAME:
            return name
        raise InvalidInput(
            f"{shown(name):.40}... is longer than {_LONGEST_NAME} letters; shorten it"
        )
    raise InvalidInput(
        f"{shown(name):.80} cannot be a name; use letters, digits and _, such as x or u1"
    )


def check_compiled(count: int) -> int:
    """Return how many operations a formula has, or raise `InvalidInput` for too many to compile."""
    if count > MOST_COMPILED:
        raise InvalidInput(
            f"the formula has {count} operations, its derivative included, but at most "
            f"{MOST_COMPILED} are compiled, since many more would take minutes; make it shorter"
        )
    return count


def topological(roots: Iterable[Node], stops: Container[Node] = ()) -> list[Node]:
    """Return every node that `roots` need and the roots, arguments before what uses them.

    What only nodes in `stops` need is left out. The order follows from the structure alone: the
    same formula gives the same order in every process.
    """
    done: dict[Node, None] = {}
    stack = list(roots)[::-1]
    while stack:
        node = stack[-1]
        needed = () if node in stops else node.arguments
        waiting = [each for each in needed if each not in done]
        if waiting:
            stack.extend(reversed(waiting))
        else:
            done[node] = None
            stack.pop()
    return list(done)


def variable_names(root: Node) -> tuple[str, ...]:
    """Return the names of the variables that `root` needs, in order of appearance."""
    leaves = (each for each in topological([root]) if not each.arguments)
    return tuple(each.name for each in leaves if each.operation in ("variable", "vector"))


FlatNode = tuple[str, tuple[int, ...], float, str]  # operation, places of arguments, value, name


def flattened(root: Node) -> list[FlatNode]:
    """Return the nodes below `root` and itself, last, as plain values that can be pickled."""
    order = topological([root])
    place = {node: index for index, node in enumerate(order)}
    return [
        (node.operation, tuple(place[each] for each in node.arguments), node.value, node.name)
        for node in order
    ]


def unflattened(rows: list[FlatNode]) -> Node:
    """Return the root of what `flattened` gave."""
    found: list[Node] = []
    for operation, places, value, name in rows:
        found.append(_the(operation, tuple(found[each] for each in places), value, name))
    return found[-1]
