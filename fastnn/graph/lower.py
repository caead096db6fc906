"""Graphs in the words of compiled code: what a processor or the CPU target computes.

sigmoid, softplus, maximum, minimum, sign, step and whole powers become arithmetic, comparisons and
`where`. The formulas are those of `fastnn.rules`: they neither overflow nor lose a NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastnn.graph.nodes import Node, apply, constant, topological

_ZERO, _ONE = constant(0), constant(1)
_MOST_FACTORS = 16  # whole powers beyond this are left to the power function


def _sigmoid(x: Node) -> Node:
    """Return 1 / (1 + exp(-x)): 0 where exp overflows to infinity."""
    return apply("div", _ONE, apply("add", _ONE, apply("exp", apply("neg", x))))


def _softplus(x: Node) -> Node:
    positive = apply("where", apply("lt", x, _ZERO), _ZERO, x)
    return apply("add", positive, apply("log1p", apply("exp", apply("neg", apply("abs", x)))))


def _sign(x: Node) -> Node:
    above = apply("where", apply("gt", x, _ZERO), _ONE, _ZERO)
    below = apply("where", apply("lt", x, _ZERO), _ONE, _ZERO)
    return apply("sub", above, below)


def _step(x: Node) -> Node:
    return apply("where", apply("lt", x, _ZERO), _ZERO, _ONE)


def _extreme(loses: str, wins: str, a: Node, b: Node) -> Node:
    """Return maximum or minimum, NaN if either is: a comparison with NaN does not hold."""
    if b.fixed:
        return apply("where", apply(loses, a, b), b, a)
    if a.fixed:
        return apply("where", apply(loses, b, a), a, b)
    first = apply("or", apply(wins, a, b), apply("ne", a, a))
    return apply("where", first, a, b)


def _power(a: Node, b: Node) -> Node:
    if b.operation != "constant":
        return apply("pow", a, b)
    if b.value == 0.5:
        return apply("sqrt", a)
    count = int(abs(b.value)) if b.value.is_integer() else 0
    if not 1 <= count <= _MOST_FACTORS:
        return apply("pow", a, b)
    product, square = None, a  # by the binary digits of the exponent
    while count:
        if count & 1:
            product = square if product is None else apply("mul", product, square)
        count >>= 1
        square = apply("mul", square, square) if count else square
    assert product is not None
    return product if b.value > 0 else apply("div", _ONE, product)


_LOWERED: dict[str, Callable[..., Node]] = {
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "sign": _sign,
    "step": _step,
    "maximum": lambda a, b: _extreme("lt", "gt", a, b),
    "minimum": lambda a, b: _extreme("gt", "lt", a, b),
    "pow": _power,
}


def lower(roots: Iterable[Node]) -> list[Node]:
    """Return nodes of the same values without the operations above, and without given names.

    Names go because a named node and its formula without the name are two nodes, but one value.
    """
    roots = list(roots)
    found: dict[Node, Node] = {}
    for node in topological(roots):
        if not node.arguments:
            found[node] = node
        else:
            arguments = [found[each] for each in node.arguments]
            rule = _LOWERED.get(node.operation)
            found[node] = rule(*arguments) if rule else apply(node.operation, *arguments)
    return [found[each] for each in roots]
