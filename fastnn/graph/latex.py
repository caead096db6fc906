r"""Formulas as LaTeX, for notebooks: fractions, powers and roots, and names with subscripts.

``log`` is the natural logarithm, as everywhere here. A vector is written by its number of index i,
`sum` as the sum over that; of several indices in one formula each has a letter of its own.

>>> from fastnn.graph import exp, variables
>>> x, theta_1 = variables("x theta_1")
>>> latex((1 / (1 + exp(-theta_1 * x))).node)
'\\frac{1}{1 + e^{-\\theta_{1} x}}'
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fastnn.graph.nodes import Node, topological

# How tightly text binds: as in Python, but that a function's argument ends where its bracket does.
CHOICE, OR, AND, NOT, COMPARISON, SUM, SIGN, PRODUCT, POWER, ATOM = range(10)

_MOST_SHOWN = 400  # operations in a formula that is still written in full
_INDEX = "\0"  # stands for the index of vectors, until it is known whose it is
_INDICES = "ijklmnpqrstuvw"

_GREEK = frozenset(
    """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau
    upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega""".split()
)
_SPECIAL = {each: f"\\{each}" for each in "#$%&_{}"}


Forms = dict[str, Callable[..., "Text"]]


class Text(NamedTuple):
    """LaTeX, how tightly it binds, and how many indices of sums are within one another in it."""

    latex: str
    binding: int = ATOM
    height: int = 0


def latex(root: Node) -> str:
    """Return the formula of a node as LaTeX, for a mathematical mode.

    A formula too long to be read is replaced by its size, as `fastnn.graph.formula.formula` does.
    """
    order = topological([root])
    size: dict[Node, int] = {}
    for node in order:
        below = sum(size[each] for each in node.arguments)
        size[node] = min(1 + below, _MOST_SHOWN + 1)
    if size[root] > _MOST_SHOWN:
        return rf"\text{{a formula of {len(order)} nodes}}"
    names = [each.name for each in order if each.operation in ("variable", "vector")]
    letters = [each for each in _INDICES if each not in names]
    shown = Counter(map(symbol, names))
    forms = _FORMS | {name: form for name, (like, form) in _WRITTEN_OUT.items() if like & {*names}}
    found: dict[Node, Text] = {}
    for node in order:
        if node.operation in ("variable", "vector"):
            # x1 and x_1 would be one; a vector has its index besides.
            index = _INDEX if node.operation == "vector" else ""
            alike = shown[symbol(node.name)] > 1
            found[node] = Text(symbol(node.name, index, verbatim=alike))
        else:
            found[node] = _text_of(node, [found[each] for each in node.arguments], letters, forms)
    return found[root].latex.replace(_INDEX, letters[found[root].height % len(letters)])


def _text_of(node: Node, texts: list[Text], letters: list[str], forms: Forms) -> Text:
    height = max((each.height for each in texts), default=0)
    if node.operation == "constant":
        return _number(node.value)
    if node.operation == "parameter":
        return Text(f"p_{{{int(node.value)}}}")
    if node.operation in _REDUCED:
        letter = letters[height % len(letters)]
        inner = texts[0]._replace(latex=texts[0].latex.replace(_INDEX, letter))
        return _REDUCED[node.operation](inner, letter)._replace(height=height + 1)
    if node.operation in ("item", "take"):
        text = texts[0].latex.replace(_INDEX, texts[1].latex)
        return Text(text, texts[0].binding, height)
    if node.operation == "slice":
        start, _, step = (int(each.value) for each in node.arguments[1:])
        index = (f"{start} + " if start else "") + (f"{step} " if step != 1 else "") + _INDEX
        return Text(texts[0].latex.replace(_INDEX, index), texts[0].binding, height)
    made = forms[node.operation](*texts) if node.operation in forms else _call(node, texts)
    return made._replace(height=height)


def symbol(name: str, index: str = "", verbatim: bool = False) -> str:
    r"""Return the symbol of a name, with what follows a letter as its subscript.

    A name with other underscores than between its parts is written as it is.

    >>> symbol("x"), symbol("theta"), symbol("w12"), symbol("alpha_1"), symbol("y_true")
    ('x', '\\theta', 'w_{12}', '\\alpha_{1}', 'y_{\\mathrm{true}}')
    """
    if name == "lambda_":  # as Python makes one write it
        name = "lambda"
    parts = name.split("_")
    if verbatim or not all(parts):
        parts = [name]
    elif digits := re.fullmatch(r"(.*\D)(\d+)", parts[0]):
        parts[:1] = digits.groups()
    below = [_word(part) for part in parts[1:]] + ([index] if index else [])
    return _word(parts[0]) + (f"_{{{','.join(below)}}}" if below else "")


def _word(text: str) -> str:
    if text in _GREEK:
        return f"\\{text}"
    if text.isdigit() or len(text) == 1 and text not in _SPECIAL:
        return text
    return rf"\mathrm{{{''.join(_SPECIAL.get(each, each) for each in text)}}}"


def _number(value: float) -> Text:
    if value.is_integer() and abs(value) < 1e16:
        text = str(int(value))
    else:
        text = repr(value)
    mantissa, exponential, exponent = text.partition("e")
    if exponential:
        power = f"10^{{{int(exponent)}}}"
        sign = "-" * mantissa.startswith("-")
        text = rf"{mantissa} \cdot {power}" if abs(float(mantissa)) != 1 else f"{sign}{power}"
        return Text(text, SIGN if sign else PRODUCT if "cdot" in text else POWER)
    return Text(text, SIGN if text.startswith("-") else ATOM)


def _within(text: Text, needed: int = ATOM) -> str:
    """Return text, in parentheses where it binds less than is needed."""
    if text.binding >= needed:
        return text.latex
    return rf"\left({text.latex}\right)"


def _add(a: Text, b: Text) -> Text:
    return Text(f"{_within(a, SUM)} + {_second(b, SUM)}", SUM)


def _sub(a: Text, b: Text) -> Text:
    return Text(f"{_within(a, SUM)} - {_second(b, PRODUCT)}", SUM)


def _second(text: Text, needed: int) -> str:
    """Return a term behind another one: in parentheses, too, where it begins with a sign."""
    return _within(text, ATOM + 1 if text.latex.startswith("-") else needed)


def _mul(a: Text, b: Text) -> Text:
    left, right = _within(a, SIGN), _within(b, PRODUCT)
    # Side by side, two numbers would be one, and a number and a fraction a mixed number.
    digits = right[0].isdigit() or (right.startswith("\\frac") and left[-1].isdigit())
    text = rf"{left} \cdot {right}" if digits else f"{left} {right}"
    return Text(text, SIGN if a.binding == SIGN else PRODUCT)


def _div(a: Text, b: Text) -> Text:
    return Text(rf"\frac{{{a.latex}}}{{{b.latex}}}", PRODUCT)


def _pow(a: Text, b: Text) -> Text:
    return Text(f"{_within(a)}^{{{b.latex}}}", POWER)


def _neg(a: Text) -> Text:
    return Text(f"-{_within(a, PRODUCT)}", SIGN)


def _function(name: str) -> Callable[[Text], Text]:
    return lambda a: Text(rf"{name}\left({a.latex}\right)", POWER)


def _infix(sign: str, binding: int) -> Callable[[Text, Text], Text]:
    return lambda a, b: Text(f"{_within(a, binding + 1)} {sign} {_within(b, binding + 1)}", binding)


def _where(condition: Text, a: Text, b: Text) -> Text:
    cases = rf"{a.latex} & \text{{if }} {condition.latex} \\ {b.latex} & \text{{otherwise}}"
    return Text(rf"\begin{{cases}} {cases} \end{{cases}}", CHOICE)


def _call(node: Node, texts: Iterable[Text]) -> Text:
    arguments = ", ".join(each.latex for each in texts)
    # What is a vector, such as a slice, has its index after all.
    end = f"_{{{_INDEX}}}" if node.length is not None else ""
    name = f"\\operatorname{{{node.operation}}}"
    return Text(rf"{name}\left({arguments}\right){end}", POWER)


_FORMS: Forms = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "neg": _neg,
    "exp": lambda a: Text(f"e^{{{a.latex}}}", POWER),
    "expm1": lambda a: Text(f"e^{{{a.latex}}} - 1", SUM),
    "log": _function(r"\log"),
    "log1p": lambda a: Text(rf"\log\left(1 + {_within(a, PRODUCT)}\right)", POWER),
    "sqrt": lambda a: Text(rf"\sqrt{{{a.latex}}}", ATOM),
    "abs": lambda a: Text(rf"\left|{a.latex}\right|", ATOM),
    "sign": _function(r"\operatorname{sign}"),
    "step": _function(r"\operatorname{step}"),
    "tanh": _function(r"\tanh"),
    "sin": _function(r"\sin"),
    "cos": _function(r"\cos"),
    "sigmoid": _function(r"\sigma"),
    "softplus": _function(r"\operatorname{softplus}"),
    "erf": _function(r"\operatorname{erf}"),
    "maximum": lambda a, b: Text(rf"\max\left({a.latex}, {b.latex}\right)", POWER),
    "minimum": lambda a, b: Text(rf"\min\left({a.latex}, {b.latex}\right)", POWER),
    "where": _where,
    "lt": _infix("<", COMPARISON),
    "le": _infix(r"\le", COMPARISON),
    "gt": _infix(">", COMPARISON),
    "ge": _infix(r"\ge", COMPARISON),
    "eq": _infix("=", COMPARISON),
    "ne": _infix(r"\ne", COMPARISON),
    "and": lambda a, b: Text(rf"{_within(a, AND)} \land {_within(b, AND)}", AND),
    "or": lambda a, b: Text(rf"{_within(a, OR)} \lor {_within(b, OR)}", OR),
    "not": lambda a: Text(rf"\lnot {_within(a)}", NOT),
    "array": lambda *each: Text(
        rf"\left[{', '.join(one.latex for one in each)}\right]_{{{_INDEX}}}", POWER
    ),
    "range": lambda length: Text(_INDEX, ATOM),
}
# Where a variable has the function's letter.
_WRITTEN_OUT: dict[str, tuple[set[str], Callable[..., Text]]] = {
    "exp": ({"e"}, _function(r"\exp")),
    "sigmoid": ({"sigma", "σ"}, _function(r"\operatorname{sigmoid}")),
}
_REDUCED: dict[str, Callable[[Text, str], Text]] = {
    "sum": lambda a, i: Text(rf"\sum_{{{i}}} {_within(a, PRODUCT)}", SUM),
    "mean": lambda a, i: Text(rf"\operatorname{{mean}}_{{{i}}}\left({a.latex}\right)", POWER),
    "max": lambda a, i: Text(rf"\max_{{{i}}}\left({a.latex}\right)", POWER),
    "logsumexp": lambda a, i: Text(rf"\log\left(\sum_{{{i}}} e^{{{a.latex}}}\right)", POWER),
}
