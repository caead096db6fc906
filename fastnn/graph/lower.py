"""Graphs in the words of compiled code: what a processor or the CPU target computes.

Of operations on vectors, sums, largest numbers, and single numbers of variables are left.

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


def _range(length: int) -> Node:
    return apply("range", constant(length))


def _mean(x: Node) -> Node:
    return apply("div", apply("sum", x), constant(x.length or 1))


def _exponentials(x: Node) -> tuple[Node, Node]:
    """Return exp(x - max x), and max x."""
    largest = apply("max", x)
    return apply("exp", apply("sub", x, largest)), largest


def _logsumexp(x: Node) -> Node:
    exponentials, largest = _exponentials(x)
    return apply("add", largest, apply("log", apply("sum", exponentials)))


def _softmax(x: Node) -> Node:
    """Return exp(x - logsumexp x), of which the exponentials are there already."""
    exponentials, _ = _exponentials(x)
    return apply("mul", exponentials, apply("div", _ONE, apply("sum", exponentials)))


def _take(x: Node, index: Node) -> Node:
    """Return the sum over the numbers of that index, by how many these are: 0 / 0 for none."""
    here = apply("eq", _range(x.length or 1), index)
    found, count = (apply("sum", apply("where", here, each, _ZERO)) for each in (x, _ONE))
    return apply("div", found, count)


def _array(*numbers: Node) -> Node:
    found = numbers[-1]
    for index in range(len(numbers) - 2, -1, -1):
        here = apply("eq", _range(len(numbers)), constant(index))
        found = apply("where", here, numbers[index], found)
    return found if len(numbers) > 1 else apply("add", found, apply("mul", _ZERO, _range(1)))


def _put(x: Node, index: Node, length: Node) -> Node:
    return apply("where", apply("eq", apply("range", length), index), x, _ZERO)


def item(root: Node, index: int) -> Node:
    """Return number `index` of a vector, as a formula of numbers of variables."""
    found: dict[tuple[Node, int], Node] = {}
    waiting = [(root, index)]
    while waiting:
        key = node, place = waiting[-1]
        below = _items_below(node, place)
        if below is None:
            found[key] = _item_of_leaf(node, place)
        else:
            missing = [each for each in below if each not in found]
            if missing:
                waiting += missing
                continue
            found[key] = _item_of(node, place, [found[each] for each in below])
        waiting.pop()
    return found[root, index]


def _items_below(node: Node, place: int) -> list[tuple[Node, int]] | None:
    """Return of which vectors which numbers are needed for one of a vector; None for a leaf."""
    if node.length is None or node.operation in ("vector", "range", "spread"):
        return None
    if node.operation == "slice":
        start, _, step = (int(each.value) for each in node.arguments[1:])
        return [(node.arguments[0], start + place * step)]
    if node.operation in ("array", "put"):
        return [(node.arguments[place if node.operation == "array" else 0], 0)]
    return [(each, place if each.length is not None else 0) for each in node.arguments]


def _item_of_leaf(node: Node, place: int) -> Node:
    if node.length is None:
        return node
    if node.operation == "range":
        return constant(place)
    return apply("item", node, constant(place))


def _item_of(node: Node, place: int, arguments: list[Node]) -> Node:
    if node.operation in ("slice", "array"):
        return arguments[0]
    if node.operation == "put":
        return arguments[0] if place == node.arguments[1].value else _ZERO
    return apply(node.operation, *arguments)


def _slice(root: Node, start: Node, stop: Node, step: Node) -> Node:
    """Return the slice of a vector as a formula of slices of variables."""
    first, by = int(start.value), int(step.value)
    length = len(range(first, int(stop.value), by))
    found: dict[Node, Node] = {}
    for node in topological([root], _NumbersAndSlices()):
        if node.length is None:
            found[node] = node
        elif node.operation == "range":
            steps = apply("mul", constant(by), _range(length))
            found[node] = apply("add", constant(first), steps)
        elif node.operation == "slice":
            inner, _, inner_step = (int(each.value) for each in node.arguments[1:])
            begin, wide = inner + first * inner_step, by * inner_step
            places = map(constant, (begin, begin + (length - 1) * wide + 1, wide))
            found[node] = apply("slice", node.arguments[0], *places)
        elif node.operation == "array":
            chosen = (node.arguments[first + by * place] for place in range(length))
            found[node] = apply("array", *chosen)
        elif not node.arguments:
            found[node] = apply("slice", node, start, stop, step)
        else:
            found[node] = apply(node.operation, *(found[each] for each in node.arguments))
    return found[root]


class _NumbersAndSlices:
    """The nodes below which no vector has to be sliced."""

    def __contains__(self, node: object) -> bool:
        assert isinstance(node, Node)
        return node.length is None or node.operation in ("slice", "array", "range")


def parted(roots: Iterable[Node]) -> list[Node]:
    """Return nodes of the same values in which only variables have items and slices."""
    roots = list(roots)
    found: dict[Node, Node] = {}
    for node in topological(roots):
        arguments = tuple(found[each] for each in node.arguments)
        if node.operation == "item":
            found[node] = item(arguments[0], int(arguments[1].value))
        elif node.operation == "slice":
            found[node] = _slice(*arguments)
        else:
            found[node] = apply(node.operation, *arguments) if arguments else node
    return [found[each] for each in roots]


_LOWERED: dict[str, Callable[..., Node]] = {
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "sign": _sign,
    "step": _step,
    "maximum": lambda a, b: _extreme("lt", "gt", a, b),
    "minimum": lambda a, b: _extreme("gt", "lt", a, b),
    "pow": _power,
    "mean": _mean,
    "logsumexp": _logsumexp,
    "take": _take,
    "array": _array,
    "put": _put,
}


def _softened(node: Node) -> Node | None:
    """Return x for exp(x - logsumexp x)."""
    if node.operation == "exp" and node.arguments[0].operation == "sub":
        x, total = node.arguments[0].arguments
        if total.operation == "logsumexp" and total.arguments[0] is x:
            return x
    return None


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
            if (softened := _softened(node)) is not None:
                found[node] = _softmax(found[softened])
            else:
                found[node] = rule(*arguments) if rule else apply(node.operation, *arguments)
    return [found[each] for each in roots]
