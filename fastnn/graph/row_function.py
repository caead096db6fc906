"""Losses of whole rows as source: a function of one row, its numbers in local variables.

One thread calls it for a row, or several for one row together: each has every n-th output.
Outputs, targets and derivatives are read and written where they lie, and nothing is kept between
two loops over the numbers of a row but what a row has one of: what is dear is computed again, as a
device does sooner than it fetches it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastnn.graph.expression import Expression
from fastnn.graph.nodes import Node, parameter, topological
from fastnn.graph.row_formula import RowFormula, RowWriter, Term, Use, row_formula


def row_function(expression: Expression, outputs: int, targets: int) -> str:
    """Return the source of a loss: one number, of two vectors of these lengths.

    Returns
    -------
    str
        Python source of the function ``rule(real, m, U, together)``, which returns ``row(act, p, d,
        targets, s, share, numbers, at, team, lane, lanes)``; `U` makes an unsigned index. That
        returns the loss for the outputs at act[p] and on and the targets in row s, and writes its
        derivatives by the outputs, times `share`, to act[d] and on. The formula's constants, which
        are those of `fastnn.graph.row_source.RowSource`, are at numbers[at] and on.

        A caller has the outputs `lane`, `lane` + `lanes`, ...; all callers of a row call
        ``together.total(team, x)`` and ``together.largest(team, x)`` for the sum and the largest of
        all their numbers, and ``together.wait(team)`` before one changes what another wrote.

    >>> from fastnn.graph.tracing import trace_row
    >>> loss = trace_row(lambda z, y: -3 * z[0] * y[0], 2)
    >>> print(row_function(loss, 2, 1))
    def rule(real, m, U, together):
        total, largest, wait = together.total, together.largest, together.wait
        low = real(-1e999)
        c0 = real(0.0)
    <BLANKLINE>
        def row(act, p, d, targets, s, share, numbers, at, team, lane, lanes):
            v0 = real(numbers[U(at + 0)])
            v1 = act[U(p + 0)]
            v2 = targets[U(s), U(0)]
            r0 = v0 * v1 * v2
            r1 = v2 * v0
            for j in range(lane, 2, lanes):
                index = real(j)
                act[U(d + j)] = (c0) * share
            wait(team)
            if lane == 0:
                act[U(d + 0)] += (r1) * share
            return r0
    <BLANKLINE>
        return row
    <BLANKLINE>
    """
    return _LocalWriter(row_formula(expression, outputs, targets)).source()


class _LocalWriter(RowWriter):
    """Writes the function of one loss, for a row by itself."""

    def __init__(self, formula: RowFormula) -> None:
        super().__init__(formula)
        self._known = {}
        self._held.update(map(parameter, range(len(formula.constants))))
        self._names: dict[Node, str] = {}  # of what a row has one of
        self._begun: list[Node] = []  # sums and largest numbers of loops to come
        self._arrays: dict[Node, int] = {}  # of constants, and the place of the first
        for node in topological(formula.roots):
            if (first := _array_of_constants(node)) is not None:
                self._arrays[node] = first
        self._held.update(self._arrays)

    def source(self) -> str:
        """Return the source."""
        self._write()
        joint = "total, largest, wait = together.total, together.largest, together.wait"
        head = [joint, "low = real(-1e999)", *self._head()]
        signature = "def row(act, p, d, targets, s, share, numbers, at, team, lane, lanes):"
        lines = [*head, "", signature, *(f"    {line}" for line in self._lines), "", "return row"]
        first = "def rule(real, m, U, together):"
        return "\n".join((first, *(f"    {line}".rstrip() for line in lines), ""))

    def _hold(self, node: Node) -> None:
        self._names[node] = f"r{len(self._names)}"
        self._held.add(node)

    def _storing(self, node: Node) -> Callable[[str], list[str]]:
        return partial(_assigned, self._names[node], "=")

    def _reducing(self, node: Node) -> Callable[[str], list[str]]:
        to = self._names[node]
        if node.operation == "sum":
            return partial(_assigned, to, "+=")
        return lambda text: [f"x = {text}", f"{to} = x if x > {to} or x != x else {to}"]

    def _deriving(self) -> Callable[[str], list[str]]:
        return lambda text: [f"act[U(d + j)] = ({text}) * share"]

    def _adding(self, term: Term) -> Callable[[str], list[str]]:
        to = f"act[U(d + {_along(term.places)})]"
        return lambda text: [f"{to} += ({text}) * share"]

    def _begin(self, reductions: list[Node]) -> None:
        self._begun = reductions
        for node in reductions:
            begin = self._constant(0.0) if node.operation == "sum" else "low"
            self._lines.append(f"{self._names[node]} = {begin}")

    def _row(self, uses: list[Use], stops: set[Node]) -> None:
        self._lines += self._computed(uses, stops)

    def _loop(self, length: int, uses: list[Use], later: set[Node]) -> None:
        roots = [node for node, _ in uses]
        if any(term.node in roots for term in self._formula.slices):
            self._lines.append("wait(team)")
        self._lines.append(f"for j in range(lane, {length}, lanes):")
        self._lines.append("    index = real(j)")
        self._lines += (f"    {line}" for line in self._computed(uses, self._held))
        done = [node for node in self._begun if node.arguments[0] in roots]
        self._begun = [node for node in self._begun if node not in done]
        for node in done:
            name, how = self._names[node], "total" if node.operation == "sum" else "largest"
            self._lines.append(f"{name} = {how}(team, {name})")

    def _finish(self) -> None:
        if self._formula.singles:
            self._lines += ("wait(team)", "if lane == 0:")
        for term in self._formula.singles:
            lines = self._computed([(term.node, self._adding(term))], self._held)
            self._lines += (f"    {line}" for line in lines)
        self._row([(self._formula.loss, lambda text: [f"return {text}"])], self._held)

    def _read(self, node: Node, stops: set[Node]) -> str | None:
        if node.operation == "item":
            x, index = node.arguments
            return self._number(x, f"{int(index.value)}")
        if node.operation == "slice":
            x, *places = node.arguments
            return self._number(x, _along(range(*(int(each.value) for each in places))))
        if node.operation == "parameter":
            return f"real(numbers[U(at + {int(node.value)})])"
        if node in self._arrays:
            return f"real(numbers[U(at + {self._arrays[node]} + j)])"
        if node not in stops:
            return None
        return self._names[node] if node.length is None else self._number(node, "j")

    def _number(self, leaf: Node, place: str) -> str:
        """Return one number of the outputs or the targets."""
        if leaf is self._formula.outputs:
            return f"act[U(p + {place})]"
        return f"targets[U(s), U({place})]"


def _array_of_constants(node: Node) -> int | None:
    """Return the first parameter of an array of all that follow it, as lowered; else None."""
    length, numbers = node.length, list[Node]()
    while node.operation == "where":
        condition, value, rest = node.arguments
        if condition.operation != "eq":
            return None
        places, place = condition.arguments
        if (places.operation, place.operation) != ("range", "constant"):
            return None
        if place.value != len(numbers):
            return None
        numbers.append(value)
        node = rest
    numbers.append(node)
    if len(numbers) < 2 or len(numbers) != length:
        return None
    if any(each.operation != "parameter" for each in numbers):
        return None
    first = int(numbers[0].value)
    follow = [int(each.value) for each in numbers] == list(range(first, first + length))
    return first if follow else None


def _along(places: range) -> str:
    """Return place j of some."""
    if len(places) == 1:
        return f"{places.start}"
    return f"{places.start} + {places.step} * j"


def _assigned(to: str, how: str, text: str) -> list[str]:
    return [f"{to} {how} {text}"]
