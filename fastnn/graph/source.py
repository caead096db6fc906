"""Activations and losses as source, in the form of the rules in `fastnn.rules`.

A rule is a function ``rule(real, m)`` that returns two scalar functions whose constants are of type
`real` and whose elementary functions come from `m`. Their last argument is a tuple of the numbers
of the formula: formulas that differ in those alone have one text, and derivatives are computed from
them as they are. Only 0, 1, -1 and whole exponents, with which arithmetic is another, are in the
text. The text is the same in every process, so what is compiled from it can be kept under a hash of
it.

`fastnn.targets.cpu.llvm.elementary` has exp, expm1, log, log1p, sqrt and tanh; a rule that needs
erf, sin or cos says so in `functions`. erf(x) = 2 normal_cdf(x sqrt(2)) - 1 would do only where
absolute accuracy is enough: near 0 the difference cancels, and erf(x) = 2 x / sqrt(pi) keeps no
digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastnn.errors import InvalidInput
from fastnn.graph.derivative import adjoints
from fastnn.graph.expression import Expression
from fastnn.graph.lower import lower
from fastnn.graph.nodes import Node, apply, parameter, topological, variable
from fastnn.graph.operations import OPERATIONS
from fastnn.graph.simplify import ZERO
from fastnn.graph.statements import FUNCTIONS, code_style, statements

_KEPT = (0.0, 1.0, -1.0)  # constants with which other code comes of a formula


@dataclass(frozen=True)
class RuleSource:
    """The source of a rule.

    Attributes
    ----------
    text
        Python source of the function ``rule(real, m)``.
    functions
        Names of the elementary functions that it takes from `m`, sorted.
    derivative_needs_z
        Whether an activation's derivative reads z, as in `fastnn.rules.table`; else a is enough.
    operations
        How many there are to compile.
    constants
        The numbers that its functions are given.
    """

    text: str
    functions: tuple[str, ...]
    derivative_needs_z: bool
    operations: int
    constants: tuple[float, ...]


def activation_source(expression: Expression) -> RuleSource:
    """Return the rule of an activation: ``value(z, numbers)`` and ``derivative(z, a, numbers)``.

    The derivative reads the output a instead of computing it again.

    >>> from fastnn.graph import trace
    >>> source = activation_source(trace(lambda z: 3 / (1 + z**2)))
    >>> source.constants
    (3.0,)
    >>> print(source.text)
    def rule(real, m):
        c0 = real(1.0)
        c1 = real(-2.0)
    <BLANKLINE>
        def value(z, numbers):
            return numbers[0] / (c0 + z * z)
    <BLANKLINE>
        def derivative(z, a, numbers):
            return c1 * (a / (c0 + z * z) * z)
    <BLANKLINE>
        return value, derivative
    <BLANKLINE>

    Parameters
    ----------
    expression
        Of one variable, z, or of two, z and alpha, in this order whatever their names; alpha is
        then the first of the numbers, before the constants.

    Raises
    ------
    InvalidInput
        Another number of variables.
    """
    names = expression.names
    if len(names) not in (1, 2):
        raise InvalidInput(
            f"an activation has one variable, or two with its parameter, not {len(names)} "
            f"({', '.join(names)})"
        )
    value, derivative, operations, constants = _lowered(expression)
    inputs = dict(zip(map(variable, names), ("z", "numbers[0]"), strict=False))
    inputs |= numbered(len(constants), len(names) - 1)
    outputs = {value: "a", **inputs} if value.arguments and not value.fixed else inputs
    writer = Writer()
    text = writer.rule(
        ("value(z, numbers)", value, inputs), ("derivative(z, a, numbers)", derivative, outputs)
    )
    needs_z = variable(names[0]) in topological([derivative], outputs)
    return RuleSource(text, tuple(sorted(writer.functions)), needs_z, operations, constants)


def loss_source(expression: Expression) -> RuleSource:
    """Return the rule of a loss: ``value(p, y, numbers)``, and ``gradient``, its derivative by p.

    Parameters
    ----------
    expression
        Of two variables, the output p and the target y, in this order whatever their names.

    Raises
    ------
    InvalidInput
        Another number of variables.
    """
    names = expression.names
    if len(names) != 2:
        raise InvalidInput(
            f"a loss has two variables, the output and the target, not {len(names)} "
            f"({', '.join(names)})"
        )
    value, derivative, operations, constants = _lowered(expression)
    inputs = dict(zip(map(variable, names), ("p", "y"), strict=True)) | numbered(len(constants))
    writer = Writer()
    text = writer.rule(
        ("value(p, y, numbers)", value, inputs), ("gradient(p, y, numbers)", derivative, inputs)
    )
    return RuleSource(text, tuple(sorted(writer.functions)), True, operations, constants)


def numbered(count: int, first: int = 0) -> dict[Node, str]:
    """Return what parameters are called in code, where others come before the first."""
    return {parameter(index): f"numbers[{first + index}]" for index in range(count)}


def parametrized(root: Node) -> tuple[Node, tuple[float, ...]]:
    """Return the formula with a parameter for each use of a constant, and their numbers.

    Each use is one of its own: what the formula is must not depend on whether two are equal. What
    arithmetic is another with stays as it is.
    """
    found: dict[Node, Node] = {}
    constants: list[float] = []

    def use(node: Node, kept: bool) -> Node:
        if node.operation != "constant" or kept or node.value in _KEPT:
            return found.get(node, node)
        constants.append(node.value)
        return parameter(len(constants) - 1)

    for node in topological([root]):
        if node.arguments:
            power = node.operation == "pow"
            structural = OPERATIONS[node.operation].structural
            arguments = [
                use(
                    each,
                    place >= structural
                    or (power and place == 1 and (each.value.is_integer() or each.value == 0.5)),
                )
                for place, each in enumerate(node.arguments)
            ]
            found[node] = apply(node.operation, *arguments)
    return use(root, False), tuple(constants)


def _lowered(expression: Expression) -> tuple[Node, Node, int, tuple[float, ...]]:
    """Return value, derivative by the first variable, how many operations, and constants."""
    root, constants = parametrized(expression.node)
    derivative = adjoints(root).get(variable(expression.names[0]), ZERO)
    value, derivative = lower([root, derivative])
    return value, derivative, len(topological([value, derivative])), constants


class Writer:
    """Writes the functions of one rule, which share their constants.

    Attributes
    ----------
    functions
        Names of the elementary functions in what is written so far.
    """

    def __init__(self) -> None:
        self._constants: dict[str, str] = {}  # text of a number -> its name
        self.functions: set[str] = set()

    def _constant(self, value: float) -> str:
        return self._constants.setdefault(repr(value), f"c{len(self._constants)}")

    def rule(self, *functions: tuple[str, Node, Mapping[Node, str]]) -> str:
        """Return the source of the rule with these functions: signature, result, known nodes."""
        bodies = [
            line
            for signature, root, known in functions
            for line in ("", *self._function(signature, root, known))
        ]
        head = self._head()
        names = ", ".join(signature.partition("(")[0] for signature, _, _ in functions)
        lines = [*head, *bodies, "", f"return {names}"]
        return "\n".join(("def rule(real, m):", *(f"    {line}".rstrip() for line in lines), ""))

    def _head(self) -> list[str]:
        """Return lines that define constants and functions, of what is written so far."""
        head = [f"{name} = real({number})" for number, name in self._constants.items()]
        return head + [f"{name} = m.{name}" for name in sorted(self.functions)]

    def statements(
        self, roots: list[Node], known: Mapping[Node, str], local: str = "t"
    ) -> tuple[list[str], list[str]]:
        """Return lines and an expression for each root, as `fastnn.graph.statements` has them."""
        operations = {node.operation for node in topological(roots, known) if node not in known}
        self.functions |= operations.intersection(FUNCTIONS)
        return statements(roots, known, code_style(), self._constant, local)

    def _function(self, signature: str, root: Node, known: Mapping[Node, str]) -> list[str]:
        lines, (result,) = self.statements([root], known)
        return [f"def {signature}:", *(f"    {line}" for line in lines), f"    return {result}"]
