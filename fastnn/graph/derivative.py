"""Derivatives in reverse: how a result changes with every node below it, as nodes themselves.

One pass from the result down: the adjoint of a node n is dJ/dn, and each operation hands its own
adjoint on to its arguments, multiplied by its partial derivatives (reverse mode; Griewank & Walther
2008, Evaluating Derivatives, section 3.2). Adjoints are graphs, so they can be printed, evaluated,
compiled, and differentiated again.

Where a function has a kink, the derivatives are these:

- ``abs(x)`` at 0: sign(0) = 0. ``sign`` and ``step`` have derivative 0 everywhere.
- ``maximum(a, b)`` and ``minimum(a, b)`` where a = b: if one of them is a number, it takes all, so
  that ``maximum(x, 0)`` and ``maximum(0, x)`` have the derivative 0 at 0 that the activation relu
  has; else each takes half.
- ``where(c, a, b)``: the derivative of the branch taken. The condition itself has none.
- ``max(v)`` of a vector: the largest number takes all; several that are equal have equal shares.

The adjoint of a vector is a vector, or a number, which then is that of each of its numbers. What a
number hands to a vector it takes back as a sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastnn.errors import InvalidInput
from fastnn.graph.nodes import MOST_DERIVED, Node, apply, constant, topological
from fastnn.graph.operations import OPERATIONS
from fastnn.graph.simplify import (
    ONE,
    ZERO,
    add,
    choose,
    div,
    mul,
    neg,
    negate,
    power,
    sub,
    total,
    when,
)

# (adjoint d of the node, the node y, its arguments...) -> what the argument receives.
Rule = Callable[..., Node]

TWO = constant(2)


def _tie(strict: str, weak: str, d: Node, mine: Node, other: Node) -> Node:
    """Return the share of one argument of maximum or minimum."""
    if other.fixed:
        return when(apply(strict, mine, other), d)
    equal = apply("eq", mine, other)
    # One guard, so that an argument that does not win hands on 0 whatever its own derivative.
    return when(apply(weak, mine, other), choose(equal, mul(constant(0.5), d), d))


def _power_base(d: Node, y: Node, a: Node, b: Node) -> Node:
    """Return d b a^(b - 1); 0 for b = 0, where a = 0 would make it 0 times infinity."""
    if b.operation == "constant":
        return mul(d, mul(b, power(a, constant(b.value - 1))))
    return when(negate(apply("eq", b, ZERO)), mul(d, mul(b, power(a, sub(b, ONE)))))


def _power_exponent(d: Node, y: Node, a: Node, b: Node) -> Node:
    """Return d a^b log(a); 0 for a = 0, where a^b is 0 on both sides of b > 0."""
    if a.operation != "constant":
        a = choose(apply("eq", a, ZERO), ONE, a)
    return mul(d, mul(y, apply("log", a))) if a is not ZERO else ZERO


def _divisor(d: Node, y: Node, a: Node, b: Node) -> Node:
    """Return -d a / b^2."""
    if a.operation == "constant":
        return neg(mul(d, mul(a, power(b, constant(-2)))))
    return neg(div(mul(d, y), b))  # b^2 could overflow where a / b does not


def _largest(d: Node, y: Node, x: Node) -> Node:
    """Return d for the largest numbers of x, divided by how many these are."""
    equal = apply("eq", x, y)
    return when(equal, div(d, apply("sum", apply("where", equal, ONE, ZERO))))


# One rule for each argument; None for a condition, and for what is structural.
RULES: dict[str, tuple[Rule | None, ...]] = {
    "add": (lambda d, y, a, b: d, lambda d, y, a, b: d),
    "sub": (lambda d, y, a, b: d, lambda d, y, a, b: neg(d)),
    "mul": (lambda d, y, a, b: mul(d, b), lambda d, y, a, b: mul(d, a)),
    "div": (lambda d, y, a, b: div(d, b), _divisor),
    "pow": (_power_base, _power_exponent),
    "neg": (lambda d, y, x: neg(d),),
    "exp": (lambda d, y, x: mul(d, y),),
    "expm1": (lambda d, y, x: mul(d, apply("exp", x)),),
    "log": (lambda d, y, x: div(d, x),),
    "log1p": (lambda d, y, x: div(d, add(ONE, x)),),
    "sqrt": (lambda d, y, x: div(mul(constant(0.5), d), y),),
    "abs": (lambda d, y, x: mul(d, apply("sign", x)),),
    "sign": (lambda d, y, x: ZERO,),
    "step": (lambda d, y, x: ZERO,),
    "maximum": (
        lambda d, y, a, b: _tie("gt", "ge", d, a, b),
        lambda d, y, a, b: _tie("gt", "ge", d, b, a),
    ),
    "minimum": (
        lambda d, y, a, b: _tie("lt", "le", d, a, b),
        lambda d, y, a, b: _tie("lt", "le", d, b, a),
    ),
    "tanh": (lambda d, y, x: mul(d, sub(ONE, power(y, TWO))),),
    "sigmoid": (lambda d, y, x: mul(d, mul(y, sub(ONE, y))),),
    "softplus": (lambda d, y, x: mul(d, apply("sigmoid", x)),),
    "erf": (
        lambda d, y, x: mul(
            d, mul(constant(2 / math.sqrt(math.pi)), apply("exp", neg(power(x, TWO))))
        ),
    ),
    "sin": (lambda d, y, x: mul(d, apply("cos", x)),),
    "cos": (lambda d, y, x: neg(mul(d, apply("sin", x))),),
    "where": (None, lambda d, y, c, a, b: when(c, d), lambda d, y, c, a, b: when(negate(c), d)),
    "sum": (lambda d, y, x: d,),
    "mean": (lambda d, y, x: div(d, constant(x.length or 1)),),
    "max": (_largest,),
    "logsumexp": (lambda d, y, x: mul(d, apply("exp", sub(x, y))),),
    "item": (lambda d, y, x, i: apply("put", d, i, constant(x.length or 1)), None),
    "take": (
        lambda d, y, x, i: when(apply("eq", apply("range", constant(x.length or 1)), i), d),
        None,
    ),
    "slice": (
        lambda d, y, x, *places: apply("spread", d, *places, constant(x.length or 1)),
        *(None,) * 3,
    ),
    "put": (lambda d, y, x, i, n: d if d.length is None else apply("item", d, i), None, None),
    "spread": (
        lambda d, y, x, *places: d if d.length is None else apply("slice", d, *places[:3]),
        *(None,) * 4,
    ),
}


def _element(index: int) -> Rule:
    """Return the rule of one argument of `array`."""
    return lambda d, y, *x: d if d.length is None else apply("item", d, constant(index))


def _summed(share: Node, length: int) -> Node:
    """Return what an argument that is one number receives from a vector of that length."""
    if share is ZERO:
        return share
    return mul(constant(length), share) if share.length is None else apply("sum", share)


_BY_NUMBER = frozenset(name for name, row in OPERATIONS.items() if row.length is None)


def adjoints(root: Node) -> dict[Node, Node]:
    """Return dJ/dn for J = root and every node n that J changes with.

    A node that is missing has adjoint 0.

    Raises
    ------
    InvalidInput
        A formula too large.
    """
    order = topological([root])
    if len(order) > MOST_DERIVED:
        raise InvalidInput(
            f"the formula has {len(order)} nodes, but at most {MOST_DERIVED} are differentiated; "
            "make it shorter, or differentiate it fewer times"
        )
    shares: dict[Node, list[Node]] = {root: [ONE]}
    found: dict[Node, Node] = {}
    for node in reversed(order):
        if node not in shares:
            continue
        # Everything that uses the node has been here before; terms in the order of the formula.
        found[node] = total(reversed(shares.pop(node)))
        if node.operation == "array":
            rules: tuple[Rule | None, ...] = tuple(map(_element, range(len(node.arguments))))
        else:
            rules = RULES.get(node.operation, ())
        for argument, rule in zip(node.arguments, rules, strict=True):
            if rule is None or argument.fixed:
                continue
            share = rule(found[node], node, *node.arguments)
            if argument.length is None and node.length is not None:
                share = _summed(share, node.length) if node.operation in _BY_NUMBER else share
            if share is not ZERO:
                shares.setdefault(argument, []).append(share)
    return found
