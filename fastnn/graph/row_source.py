"""Losses of whole rows as source: loops over the numbers of a row, for some rows side by side.

What is computed of one row, number by number, is one loop over its numbers. Where a sum or the
largest number is needed first, there is a loop for that before: softmax takes three. Between two
loops come the numbers of which a row has one each. Exponentials and their like that two loops need
are kept.

Everything lies in slots of `ROWS_TOGETHER` numbers, one a row: a slot for each output, target and
derivative, and for each number between the loops. So every inner loop is one over rows, which
compilers turn into vectors however short a row is, and sums over a row are taken in one order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastnn.graph.expression import Expression
from fastnn.graph.nodes import Node
from fastnn.graph.row_formula import RowFormula, RowWriter, Term, Use, row_formula
from fastnn.graph.statements import FUNCTIONS

ROWS_TOGETHER = 64  # a multiple of every vector; the slots of few outputs stay in a cache
_DEAR = frozenset((*FUNCTIONS, "pow", "div"))  # kept where several loops need it


@dataclass(frozen=True)
class RowSource:
    """The source of a loss of whole rows.

    Attributes
    ----------
    text
        Python source of the function ``rule(real, m, U)``, which returns ``rows(memory, at,
        count, numbers)``, for `count` rows; `U` makes an unsigned index. Its attribute `layout`
        says how many outputs and targets there are, how many rows go together, and the slots of the
        first target, of the first derivative and of the loss. Outputs are in slots 0 and on,
        counted from `at`.
    functions, operations, constants
        As those of `fastnn.graph.source.RuleSource`.
    scratch
        Numbers in all slots.
    """

    text: str
    functions: tuple[str, ...]
    operations: int
    constants: tuple[float, ...]
    scratch: int


def row_source(expression: Expression, outputs: int, targets: int) -> RowSource:
    """Return the source of a loss: one number, of two vectors of these lengths."""
    formula = row_formula(expression, outputs, targets)
    writer = _SlotWriter(formula)
    text, functions = writer.source(), tuple(sorted(writer.functions))
    scratch = writer.slots * ROWS_TOGETHER
    return RowSource(text, functions, formula.operations, formula.constants, scratch)


class _SlotWriter(RowWriter):
    """Writes the function of one loss, for some rows side by side."""

    def __init__(self, formula: RowFormula) -> None:
        super().__init__(formula)
        self.slots = 0
        self._slot: dict[Node, int] = {}  # of variables, and of what is kept between loops
        n, m = self._n, formula.targets.length or 0
        self._slot[formula.outputs], self._slot[formula.targets] = self._take(n), self._take(m)
        self._gradient, self._loss = self._take(n), self._take(1)
        self._layout = n, m, ROWS_TOGETHER, self._slot[formula.targets], self._gradient, self._loss

    def _take(self, count: int) -> int:
        self.slots += count
        return self.slots - count

    def source(self) -> str:
        """Return the source."""
        self._write()
        head = ["low = real(-1e999)", *self._head()]
        body = [
            "",
            "def rows(memory, at, count, numbers):",
            *(f"    {line}" for line in self._lines),
        ]
        lines = [*head, *body, "", "return rows"]
        text = ["def rule(real, m, U):", *(f"    {line}".rstrip() for line in lines)]
        return "\n".join((*text, "", "", f"rule.layout = {self._layout}", ""))

    def _at(self, slot: int, start: str, places: str = "") -> str:
        """Return the number of row i in a slot, or in one that is so many behind."""
        behind = f" + {places} * {ROWS_TOGETHER}" if places else ""
        return f"memory[U({start} + {slot * ROWS_TOGETHER}{behind} + i)]"

    def _hold(self, node: Node, count: int = 1) -> None:
        self._slot[node] = self._take(count)
        self._held.add(node)

    def _storing(self, node: Node) -> Callable[[str], list[str]]:
        to = self._at(self._slot[node], "at" if node.length is None else "row")
        return lambda text: [f"{to} = {text}"]

    def _reducing(self, node: Node) -> Callable[[str], list[str]]:
        to = self._at(self._slot[node], "at")
        if node.operation == "sum":
            return _added(to)
        return lambda text: [f"x = {text}", f"y = {to}", f"{to} = x if x > y or x != x else y"]

    def _deriving(self) -> Callable[[str], list[str]]:
        to = self._at(self._gradient, "row")
        return lambda text: [f"{to} = {text}"]

    def _adding(self, term: Term) -> Callable[[str], list[str]]:
        places = f"({term.places.start} + {term.places.step} * j)"
        return _added(self._at(self._gradient, "at", places))

    def _begin(self, reductions: list[Node]) -> None:
        self._lines.append("for i in range(count):")
        for node in reductions:
            begin = self._constant(0.0) if node.operation == "sum" else "low"
            self._lines.append(f"    {self._at(self._slot[node], 'at')} = {begin}")

    def _row(self, uses: list[Use], stops: set[Node]) -> None:
        self._lines.append("for i in range(count):")
        self._lines += (f"    {line}" for line in self._computed(uses, stops))

    def _loop(self, length: int, uses: list[Use], later: set[Node]) -> None:
        """Write a loop over the numbers of a row, and in it one over rows."""
        stops = set(self._held)
        keep = [
            node
            for node in self._below(node for node, _ in uses)
            if node.operation in _DEAR and node.length is not None
            if node in later and node not in stops
        ]
        saved: list[Use] = []
        for node in keep:
            self._hold(node, node.length or 0)
            saved.append((node, self._storing(node)))
        self._lines.append(f"for j in range({length}):")
        self._lines.append(f"    row, index = at + j * {ROWS_TOGETHER}, real(j)")
        self._lines.append("    for i in range(count):")
        self._lines += (f"        {line}" for line in self._computed([*saved, *uses], stops))

    def _finish(self) -> None:
        loss = self._at(self._loss, "at")
        self._row([(self._formula.loss, lambda text: [f"{loss} = {text}"])], self._held)
        for term in self._formula.singles:
            place = self._at(self._gradient + term.places.start, "at")
            self._row([(term.node, _added(place))], self._held)

    def _read(self, node: Node, stops: set[Node]) -> str | None:
        if node.operation == "item":
            x, index = node.arguments
            return self._at(self._slot[x] + int(index.value), "at")
        if node.operation == "slice":
            x, start, _, step = node.arguments
            places = f"({int(start.value)} + {int(step.value)} * j)"
            return self._at(self._slot[x], "at", places)
        if node in stops:
            return self._at(self._slot[node], "at" if node.length is None else "row")
        return None


def _added(to: str) -> Callable[[str], list[str]]:
    return lambda text: [f"{to} += {text}"]
