"""Arithmetic of nodes that simplifies as it builds, for derivatives.

What a reader wrote stays as it was written; only what is derived from it passes through here. Rules
look at a node and its arguments, never deeper, so that deep graphs cost no recursion.

A *guarded* node is ``where(c, u, 0)`` or ``where(c, 0, u)``: the derivative of a branch that may
not be taken. Products move into the guard, ``where(c, u, 0) * v = where(c, u*v, 0)``, so a branch
that is not taken adds 0 to a gradient even where its own derivative is infinite or NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fastnn.graph.nodes import Node, apply, constant

ZERO, ONE = constant(0), constant(1)

Guard = tuple[Node | None, Node]  # (condition, what it guards); None: always


def negate(condition: Node) -> Node:
    """Return the condition that holds where `condition` does not."""
    return condition.arguments[0] if condition.operation == "not" else apply("not", condition)


def _both(first: Node | None, second: Node | None) -> Node | None:
    if first is None or second is None or first is second:
        return first if second is None else second
    return apply("and", first, second)


def _unguard(node: Node) -> Guard:
    condition: Node | None = None
    while node.operation == "where":
        if node.arguments[2] is ZERO:
            inner, node = node.arguments[0], node.arguments[1]
        elif node.arguments[1] is ZERO:
            inner, node = negate(node.arguments[0]), node.arguments[2]
        else:
            break
        condition = _both(condition, inner)
    return condition, node


def when(condition: Node | None, node: Node) -> Node:
    """Return `node` where the condition holds, 0 elsewhere."""
    outer, node = _unguard(node)
    condition = _both(outer, condition)
    if condition is None or node is ZERO:
        return node
    if condition.operation == "not":
        return apply("where", condition.arguments[0], ZERO, node)
    return apply("where", condition, node, ZERO)


def choose(condition: Node, first: Node, second: Node) -> Node:
    """Return `first` where the condition holds, `second` elsewhere."""
    if first is second:
        return first
    if condition.operation == "not":
        condition, first, second = condition.arguments[0], second, first
    return apply("where", condition, first, second)


def neg(a: Node) -> Node:
    """Return -a."""
    condition, a = _unguard(a)
    if a.operation == "neg":
        a = a.arguments[0]
    elif a.operation == "sub":
        a = apply("sub", a.arguments[1], a.arguments[0])
    elif a.operation == "mul" and a.arguments[0].operation == "constant":
        a = apply("mul", constant(-a.arguments[0].value), a.arguments[1])
    else:
        a = apply("neg", a)
    return when(condition, a)


def total(terms: Iterable[Node]) -> Node:
    """Return the sum of the terms, with the branches of one condition brought together.

    ``where(c, a, 0) + where(c, 0, b)`` gives ``where(c, a, b)``, also where other terms stand
    between the two, and where both are guarded by further conditions.
    """
    plain = ZERO
    guarded: dict[Node, Node] = {}
    for term in terms:
        condition, node = _unguard(term)
        while condition is not None:
            if condition in guarded:
                guarded[condition] = add(guarded[condition], node)
                break
            joined = condition.operation == "and"
            outer, branch = condition.arguments if joined else (None, condition)
            opposite = _both(outer, negate(branch))
            if opposite not in guarded:
                guarded[condition] = node
                break
            assert opposite is not None
            condition, node = outer, choose(branch, node, guarded.pop(opposite))
        else:
            plain = add(plain, node)
    for condition, node in guarded.items():
        plain = add(plain, when(condition, node))
    return plain


def add(a: Node, b: Node) -> Node:
    """Return a + b."""
    if a is ZERO:
        return b
    if b is ZERO:
        return a
    if a is b:
        return mul(constant(2), a)
    if (positive := _opposite(b)) is not None:
        return apply("sub", a, positive)
    if (positive := _opposite(a)) is not None:
        return apply("sub", b, positive)
    return apply("add", a, b)


def _opposite(a: Node) -> Node | None:
    """Return -a for what is written with a minus sign in front, else None."""
    if a.operation == "neg":
        return a.arguments[0]
    if a.operation == "constant" and a.value < 0:
        return constant(-a.value)
    if a.operation == "mul" and a.arguments[0].operation == "constant" and a.arguments[0].value < 0:
        return mul(constant(-a.arguments[0].value), a.arguments[1])
    return None


def sub(a: Node, b: Node) -> Node:
    """Return a - b."""
    if b is ZERO:
        return a
    if a is ZERO:
        return neg(b)
    if a is b:
        return ZERO
    if (positive := _opposite(b)) is not None:
        return apply("add", a, positive)
    return apply("sub", a, b)


def mul(a: Node, b: Node) -> Node:
    """Return a * b, a number first."""
    (first, a), (second, b) = _unguard(a), _unguard(b)
    return when(_both(first, second), _product(a, b))


def _product(a: Node, b: Node) -> Node:
    negative = (a.operation == "neg") != (b.operation == "neg")
    a, b = (each.arguments[0] if each.operation == "neg" else each for each in (a, b))
    # Numbers to the front: a = k a', b = l b' gives (k l) (a' b').
    factor = 1.0
    rest = []
    for each in (a, b):
        if each.operation == "constant":
            factor *= each.value
        elif each.operation == "mul" and each.arguments[0].operation == "constant":
            factor *= each.arguments[0].value
            rest.append(each.arguments[1])
        else:
            rest.append(each)
    if not math.isfinite(factor):
        return apply("neg", apply("mul", a, b)) if negative else apply("mul", a, b)
    if negative:
        factor = -factor
    product = _plain_product(*rest) if len(rest) == 2 else rest[0] if rest else ONE
    if product is ONE or factor == 0:
        return constant(factor) if factor else ZERO
    if factor == 1:
        return product
    if factor == -1:
        return apply("neg", product)
    return apply("mul", constant(factor), product)


def _plain_product(a: Node, b: Node) -> Node:
    if a is b:
        return apply("pow", a, constant(2))
    for one, other in ((a, b), (b, a)):
        if one.operation == "div" and one.arguments[0] is ONE:
            return div(other, one.arguments[1])
    return apply("mul", a, b)


def div(a: Node, b: Node) -> Node:
    """Return a / b."""
    condition, a = _unguard(a)
    if a is ZERO:
        return ZERO
    if b is ONE:
        return when(condition, a)
    if a is b:
        return when(condition, ONE)
    if a.operation == "neg":
        return when(condition, apply("neg", apply("div", a.arguments[0], b)))
    return when(condition, apply("div", a, b))


def power(a: Node, exponent: Node) -> Node:
    """Return a ** exponent."""
    if exponent is ZERO:
        return ONE
    if exponent is ONE:
        return a
    return apply("pow", a, exponent)
