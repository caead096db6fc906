"""Nodes as lines of Python code that Numba compiles: one local name for each shared value.

The text follows from the structure of the graph alone, so that compiled code can be kept under a
hash of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from fastnn.graph.formula import (
    AND,
    ATOM,
    CHOICE,
    COMPARISON,
    NOT,
    OR,
    POWER,
    PRODUCT,
    READABLE,
    SIGN,
    SUM,
    Form,
    Style,
    texts,
)
from fastnn.graph.nodes import Node, topological

FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "erf", "sin", "cos")

_LONGEST = 70  # characters of an expression before it gets a name of its own


def code_style(prefix: str = "") -> Style:
    """Return how operations are written in code, elementary functions with `prefix` in front.

    Unlike formulas to be read, code keeps the order in which the graph adds and multiplies.
    """
    return {
        **READABLE,
        "add": Form("{} + {}", SUM, (SUM, PRODUCT)),
        "mul": Form("{} * {}", PRODUCT, (PRODUCT, SIGN)),
        "div": Form("{} / {}", PRODUCT, (PRODUCT, SIGN)),
        "pow": Form("{} ** {}", POWER, (ATOM, SIGN)),
        "and": Form("{} and {}", AND, (AND, NOT)),
        "or": Form("{} or {}", OR, (OR, AND)),
        "not": Form("not {}", NOT, (COMPARISON,)),
        "where": Form("{1} if {0} else {2}", CHOICE, (OR, OR, OR)),
        **{name: Form(f"{prefix}{name}({{}})", ATOM, (CHOICE,)) for name in FUNCTIONS},
    }


def statements(
    roots: Iterable[Node],
    arguments: Mapping[Node, str],
    style: Style,
    number: Callable[[float], str],
    local: str = "t",
) -> tuple[list[str], list[str]]:
    """Return lines that assign to the locals t0, t1, ..., and an expression for each root.

    Parameters
    ----------
    roots
        What to compute, lowered.
    arguments
        Nodes that have a name already, all variables among them.
    style
        How operations are written.
    number
        How a constant is written.
    local
        What names of locals begin with.
    """
    roots = list(roots)
    order = topological(roots, arguments)
    uses = Counter(roots)
    for node in order:
        if node not in arguments:
            uses.update(node.arguments)
    given = {node: (name, ATOM) for node, name in arguments.items()}
    lines: list[str] = []
    for node in order:
        texts([node], style, given, number)
        if not node.arguments or node in arguments:
            continue
        text, _ = given[node]
        if uses[node] > 1 or (len(text) > _LONGEST and node not in roots):
            name = f"{local}{len(lines)}"
            lines.append(f"{name} = {text}")
            given[node] = name, ATOM
    return lines, [given[root][0] for root in roots]
