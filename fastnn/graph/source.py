"""Activations and losses as source, in the form of the rules in `fastnn.rules`.

A rule is a function ``rule(real, m)`` that returns two scalar functions whose constants are of type
`real` and whose elementary functions come from `m`. The text is the same in every process, so what
is compiled from it can be kept under a hash of it.

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
from fastnn.graph.nodes import Node, topological, variable
from fastnn.graph.simplify import ZERO
from fastnn.graph.statements import FUNCTIONS, code_style, statements


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
    """

    text: str
    functions: tuple[str, ...]
    derivative_needs_z: bool
    operations: int


def activation_source(expression: Expression) -> RuleSource:
    """Return the rule of an activation: ``value(z, alpha)`` and ``derivative(z, a, alpha)``.

    The derivative reads the output a instead of computing it again.

    >>> from fastnn.graph import trace
    >>> print(activation_source(trace(lambda z: 1 / (1 + z**2))).text)
    def rule(real, m):
        c0 = real(1.0)
        c1 = real(-2.0)
    <BLANKLINE>
        def value(z, alpha):
            return c0 / (c0 + z * z)
    <BLANKLINE>
        def derivative(z, a, alpha):
            t0 = c0 + z * z
            return c1 * (c0 / (t0 * t0) * z)
    <BLANKLINE>
        return value, derivative
    <BLANKLINE>

    Parameters
    ----------
    expression
        Of one variable, z, or of two, z and alpha, in this order whatever their names.

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
    value, derivative, operations = _lowered(expression)
    inputs = dict(zip(map(variable, names), ("z", "alpha"), strict=False))
    outputs = {value: "a", **inputs} if value.arguments and not value.fixed else inputs
    writer = _Writer()
    text = writer.rule(
        ("value(z, alpha)", value, inputs), ("derivative(z, a, alpha)", derivative, outputs)
    )
    needs_z = variable(names[0]) in topological([derivative], outputs)
    return RuleSource(text, tuple(sorted(writer.functions)), needs_z, operations)


def loss_source(expression: Expression) -> RuleSource:
    """Return the rule of a loss: ``value(p, y)`` and ``gradient(p, y)``, its derivative by p.

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
    value, derivative, operations = _lowered(expression)
    inputs = dict(zip(map(variable, names), ("p", "y"), strict=True))
    writer = _Writer()
    text = writer.rule(("value(p, y)", value, inputs), ("gradient(p, y)", derivative, inputs))
    return RuleSource(text, tuple(sorted(writer.functions)), True, operations)


def _lowered(expression: Expression) -> tuple[Node, Node, int]:
    """Return value, derivative by the first variable, and how many operations they have."""
    derivative = adjoints(expression.node).get(variable(expression.names[0]), ZERO)
    value, derivative = lower([expression.node, derivative])
    return value, derivative, len(topological([value, derivative]))


class _Writer:
    """Writes the functions of one rule, which share their constants."""

    def __init__(self) -> None:
        self.constants: dict[str, str] = {}  # text of a number -> its name
        self.functions: set[str] = set()

    def _constant(self, value: float) -> str:
        return self.constants.setdefault(repr(value), f"c{len(self.constants)}")

    def rule(self, *functions: tuple[str, Node, Mapping[Node, str]]) -> str:
        """Return the source of the rule with these functions: signature, result, known nodes."""
        bodies = [
            line
            for signature, root, known in functions
            for line in ("", *self._function(signature, root, known))
        ]
        head = [f"{name} = real({number})" for number, name in self.constants.items()]
        head += [f"{name} = m.{name}" for name in sorted(self.functions)]
        names = ", ".join(signature.partition("(")[0] for signature, _, _ in functions)
        lines = [*head, *bodies, "", f"return {names}"]
        return "\n".join(("def rule(real, m):", *(f"    {line}".rstrip() for line in lines), ""))

    def _function(self, signature: str, root: Node, known: Mapping[Node, str]) -> list[str]:
        lines, (result,) = statements([root], known, code_style(), self._constant)
        operations = {node.operation for node in topological([root], known) if node not in known}
        self.functions |= operations.intersection(FUNCTIONS)
        return [f"def {signature}:", *(f"    {line}" for line in lines), f"    return {result}"]
