"""Nodes as text: formulas to read, and expressions of generated code.

A `Style` says how each operation is written and how tightly it binds; parentheses follow from
that. Text is put together from the leaves up, without recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fastnn.graph.nodes import Node, topological
from fastnn.graph.operations import OPERATIONS

# How tightly Python's operators bind.
CHOICE, OR, AND, NOT, COMPARISON, BIT_OR, BIT_AND, SUM, PRODUCT, SIGN, POWER, ATOM = range(12)

_MOST_SHOWN = 400  # operations in a formula that is still printed in full


@dataclass(frozen=True)
class Form:
    """How an operation is written.

    Attributes
    ----------
    template
        With a place ``{}`` for each argument.
    binding
        How tightly the text binds.
    needed
        How tightly the text of each argument must bind to go without parentheses.
    """

    template: str
    binding: int
    needed: tuple[int, ...]


Style = Mapping[str, Form]

_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def _infix(symbol: str, binding: int, left: int, right: int) -> Form:
    return Form(f"{{}}{symbol}{{}}", binding, (left, right))


# a + (b + c) and a + b + c are the same to a reader, though they may be rounded differently.
READABLE: dict[str, Form] = {
    "add": _infix(" + ", SUM, SUM, SUM),
    "sub": _infix(" - ", SUM, SUM, PRODUCT),
    "mul": _infix("*", PRODUCT, PRODUCT, PRODUCT),
    "div": _infix("/", PRODUCT, PRODUCT, SIGN),
    "pow": _infix("**", POWER, ATOM, SIGN),
    "neg": Form("-{}", SIGN, (POWER,)),
    **{name: _infix(f" {s} ", COMPARISON, BIT_OR, BIT_OR) for name, s in _COMPARISONS.items()},
    "and": _infix(" & ", BIT_AND, BIT_AND, SUM),
    "or": _infix(" | ", BIT_OR, BIT_OR, BIT_AND),
    "not": Form("~{}", SIGN, (SIGN,)),
    "where": Form("where({}, {}, {})", ATOM, (CHOICE, CHOICE, CHOICE)),
    "maximum": Form("maximum({}, {})", ATOM, (CHOICE, CHOICE)),
    "minimum": Form("minimum({}, {})", ATOM, (CHOICE, CHOICE)),
}
READABLE |= {
    "item": Form("{}[{}]", ATOM, (ATOM, CHOICE)),
    "take": Form("{}[{}]", ATOM, (ATOM, CHOICE)),
    "slice": Form("{}[{}:{}:{}]", ATOM, (ATOM, *(CHOICE,) * 3)),
    "put": Form("put({}, {}, {})", ATOM, (CHOICE,) * 3),
    "spread": Form("spread({}, {}, {}, {}, {})", ATOM, (CHOICE,) * 5),
}
_BY_ONES = Form("{}[{}:{}]", ATOM, (ATOM, CHOICE, CHOICE))
READABLE = {
    **{name: Form(f"{name}({{}})", ATOM, (CHOICE,)) for name in OPERATIONS if name not in READABLE},
    **READABLE,
}


def readable_number(value: float) -> str:
    """Return a number as a reader would write it."""
    if value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return repr(value)


def texts(
    nodes: Iterable[Node],
    style: Style,
    given: dict[Node, tuple[str, int]],
    number: Callable[[float], str] = readable_number,
) -> None:
    """Add text and binding of each of `nodes`, which come after their arguments, to `given`."""
    for node in nodes:
        if node in given:
            continue
        if node.operation == "constant":
            text = number(node.value)
            given[node] = text, SIGN if text.startswith("-") else ATOM
        elif node.operation in ("variable", "vector"):
            given[node] = node.name, ATOM
        elif node.operation == "array":
            parts = [given[each][0] for each in node.arguments]
            given[node] = f"array([{', '.join(parts)}])", ATOM
        elif node.operation == "slice" and node.arguments[3].value == 1:
            given[node] = apply_form(_BY_ONES, [given[a] for a in node.arguments[:3]])
        else:
            given[node] = apply_form(style[node.operation], [given[a] for a in node.arguments])


def apply_form(form: Form, arguments: list[tuple[str, int]]) -> tuple[str, int]:
    """Return text and binding of an operation on arguments with these."""
    parts = []
    for position, ((text, binding), needed) in enumerate(zip(arguments, form.needed, strict=True)):
        # x + -2 would be right, but is read wrongly; x**-2 is usual.
        signed = position == 1 and form.binding in (SUM, PRODUCT) and text.startswith("-")
        parts.append(f"({text})" if binding < needed or signed else text)
    return form.template.format(*parts), form.binding


def formula(root: Node, names: Mapping[Node, str] | None = None) -> str:
    """Return the formula of a node, with the fewest parentheses.

    >>> from fastnn.graph.nodes import apply, constant, variable
    >>> formula(apply("pow", apply("add", constant(2), variable("a")), variable("b")))
    '(2 + a)**b'

    Parameters
    ----------
    root
        What to show. A formula too long to be read is replaced by its size.
    names
        Nodes to show by a name rather than a formula.
    """
    given = {node: (name, ATOM) for node, name in (names or {}).items()}
    order = topological([root], given)
    # Written out, a shared node counts once for each use, so the text may be far longer.
    size: dict[Node, int] = {}
    for node in order:
        below = 0 if node in given else sum(size[each] for each in node.arguments)
        size[node] = min(1 + below, _MOST_SHOWN + 1)  # else numbers of as many digits as nodes
    if size[root] > _MOST_SHOWN:
        return f"<a formula of {len(order)} nodes>"
    texts(order, READABLE, given)
    return given[root][0]
