"""Losses of whole rows, ready to be written: what is computed, and in which loops over a row.

What is computed of one row, number by number, is one loop over its numbers. Where a sum or the
largest number is needed first, there is a loop for that before: softmax takes three. Between two
loops come the numbers of which a row has one each, and after the last the loss, and what of the
derivative is for single outputs.

`row_source` writes that for some rows side by side, and `row_function` for a row by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastnn.graph.derivative import adjoints
from fastnn.graph.expression import Expression
from fastnn.graph.lower import lower, parted
from fastnn.graph.nodes import Node, topological, vector
from fastnn.graph.simplify import ZERO, add, neg, sub
from fastnn.graph.source import Writer, numbered, parametrized

REDUCTIONS = frozenset(("sum", "max"))
# A node, and what is done with the text of its value.
Use = tuple[Node, Callable[[str], list[str]]]


@dataclass(frozen=True)
class RowFormula:
    """A loss of whole rows and its derivative, in the words of compiled code.

    Attributes
    ----------
    outputs, targets
        The variables.
    loss
        A number.
    dense
        What the derivatives by all outputs have, a vector or one number for all.
    singles, slices
        What is added for single outputs, and for slices of them.
    constants
        The numbers that compiled code is given.
    operations
        How many there are to compile.
    """

    outputs: Node
    targets: Node
    loss: Node
    dense: Node
    singles: list[Term]
    slices: list[Term]
    constants: tuple[float, ...]
    operations: int

    @property
    def roots(self) -> list[Node]:
        """All that is computed."""
        return [self.loss, self.dense, *(each.node for each in (*self.singles, *self.slices))]


@dataclass(frozen=True)
class Term:
    """A part of the derivative that is for some outputs alone.

    Attributes
    ----------
    places
        Which: from the first of them on.
    node
        A number, for one, or a vector.
    """

    places: range
    node: Node


def row_formula(expression: Expression, outputs: int, targets: int) -> RowFormula:
    """Return the formula of a loss: one number, of two vectors of these lengths."""
    root, constants = parametrized(expression.node)
    (root,) = parted([root])
    first, second = expression.names
    leaf = vector(first, outputs)
    dense, singles, slices = _terms(adjoints(root).get(leaf, ZERO))
    lowered = parted(lower([root, dense, *(each.node for each in (*singles, *slices))]))
    loss, dense, *rest = lowered
    singles = [Term(one.places, node) for one, node in zip(singles, rest, strict=False)]
    slices = [
        Term(one.places, node) for one, node in zip(slices, rest[len(singles) :], strict=True)
    ]
    count = len(topological(lowered))
    leaves = leaf, vector(second, targets)
    return RowFormula(*leaves, loss, dense, singles, slices, constants, count)


def _terms(gradient: Node) -> tuple[Node, list[Term], list[Term]]:
    """Return what a sum has for all outputs, for single ones, and for slices of them."""
    partial: set[Node] = set()
    for node in topological([gradient]):
        below = node.operation in ("add", "sub", "neg") and partial.intersection(node.arguments)
        if below or node.operation in ("put", "spread"):
            partial.add(node)
    dense, singles, slices = ZERO, list[Term](), list[Term]()
    waiting = [(gradient, True)]
    while waiting:
        node, positive = waiting.pop()
        if node not in partial:
            dense = add(dense, node) if positive else sub(dense, node)
        elif node.operation in ("put", "spread"):
            x, *places = node.arguments
            x = x if positive else neg(x)
            numbers = [int(each.value) for each in places[:-1]]
            if node.operation == "put":
                singles.append(Term(range(numbers[0], numbers[0] + 1), x))
            else:
                slices.append(Term(range(*numbers), x))
        else:
            first, *second = node.arguments
            signs = positive != (node.operation == "neg"), positive == (node.operation == "add")
            waiting += reversed(list(zip((first, *second), signs, strict=False)))
    return dense, singles, slices


class RowWriter(Writer):
    """Writes the function of one loss; where numbers lie is for its subclasses to say."""

    def __init__(self, formula: RowFormula) -> None:
        super().__init__()
        self._formula = formula
        self._n = formula.outputs.length or 0
        self._known = numbered(len(formula.constants))
        self._held: set[Node] = {formula.outputs, formula.targets}  # what is read where it lies
        self._lines: list[str] = []
        self._locals = 0

    def _write(self) -> None:
        """Write all lines."""
        formula = self._formula
        order = topological(formula.roots)
        stage = _stages(order)
        numbers = [formula.loss, *(each.node for each in formula.singles)]
        kept = _kept(order, stage, numbers, formula.dense)
        for node in kept:
            self._hold(node)
        # Every loop over the numbers of a row: how many, of what, and what becomes of each.
        loops: list[tuple[int, int, list[Use]]] = []
        last = max(stage.values())
        for level in range(last + 1):
            found: dict[int, list[Use]] = {}
            for node in kept:
                if node.operation in REDUCTIONS and stage[node] == level + 1:
                    x = node.arguments[0]
                    found.setdefault(x.length or 0, []).append((x, self._reducing(node)))
            loops += [(level, length, uses) for length, uses in found.items()]
        loops.append((last, self._n, [(formula.dense, self._deriving())]))
        loops += [(last, len(t.places), [(t.node, self._adding(t))]) for t in formula.slices]
        reached = [set(self._below(node for node, _ in uses)) for *_, uses in loops]
        level = -1
        for number, (own_level, length, uses) in enumerate(loops):
            while level < own_level:
                level += 1
                self._numbers(kept, stage, level)
            self._loop(length, uses, set().union(*reached[number + 1 :]))
        self._finish()

    def _numbers(self, kept: list[Node], stage: dict[Node, int], level: int) -> None:
        """Compute what a row has one of each of, once the loops before are done."""
        found = [each for each in kept if stage[each] == level]
        uses = [(each, self._storing(each)) for each in found if each.operation not in REDUCTIONS]
        if uses:
            self._row(uses, self._held - {each for each, _ in uses})
        start = [each for each in kept if each.operation in REDUCTIONS and stage[each] == level + 1]
        if start:
            self._begin(start)

    def _below(self, roots: Iterable[Node]) -> list[Node]:
        return topological(roots, self._held)

    def _computed(self, uses: list[Use], stops: set[Node]) -> list[str]:
        """Return lines that compute some nodes, and do with each what is to be done."""
        known = dict(self._known)
        lines: list[str] = []
        roots = [node for node, _ in uses]
        for node in topological(roots, _Stops(stops)):
            if node.operation == "range":
                known[node] = "index"
            elif (place := self._read(node, stops)) is not None:
                name = place
                if not place.isidentifier():
                    name = f"v{self._locals}"
                    self._locals += 1
                    lines.append(f"{name} = {place}")
                known[node] = name
        self._locals += 1
        computed, texts = self.statements(roots, known, f"t{self._locals}_")
        lines += computed
        for (_, use), text in zip(uses, texts, strict=True):
            lines += use(text)
        return lines

    def _hold(self, node: Node) -> None:
        """Make a place for a number of which a row has one."""
        raise NotImplementedError

    def _storing(self, node: Node) -> Callable[[str], list[str]]:
        """Return what stores such a number."""
        raise NotImplementedError

    def _reducing(self, node: Node) -> Callable[[str], list[str]]:
        """Return what adds a number to a sum, or takes the larger one; NaN stays."""
        raise NotImplementedError

    def _deriving(self) -> Callable[[str], list[str]]:
        """Return what stores the derivative by one output."""
        raise NotImplementedError

    def _adding(self, term: Term) -> Callable[[str], list[str]]:
        """Return what adds a term to the derivatives by a slice of outputs."""
        raise NotImplementedError

    def _begin(self, reductions: list[Node]) -> None:
        """Write what sums and largest numbers begin with."""
        raise NotImplementedError

    def _row(self, uses: list[Use], stops: set[Node]) -> None:
        """Write what is computed of numbers of which a row has one each."""
        raise NotImplementedError

    def _loop(self, length: int, uses: list[Use], later: set[Node]) -> None:
        """Write a loop over the numbers of a row; `later` is what the loops after it need."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Write the loss, and the derivatives by single outputs."""
        raise NotImplementedError

    def _read(self, node: Node, stops: set[Node]) -> str | None:
        """Return where a node can be read, or None."""
        raise NotImplementedError


class _Stops:
    """What is read, not computed."""

    def __init__(self, kept: set[Node]) -> None:
        self._kept = kept

    def __contains__(self, node: object) -> bool:
        assert isinstance(node, Node)
        return node in self._kept or node.operation in ("item", "slice", "range")


def _stages(order: list[Node]) -> dict[Node, int]:
    """Return after how many loops over a row each node can be computed."""
    stage: dict[Node, int] = {}
    for node in order:
        before = max((stage[each] for each in node.arguments), default=0)
        stage[node] = before + (node.operation in REDUCTIONS)
    return stage


def _kept(
    order: list[Node], stage: dict[Node, int], numbers: list[Node], dense: Node
) -> list[Node]:
    """Return the numbers of a row that are kept: those that a loop, or a later stage, needs.

    Conditions are not, nor what depends on no variable: they are computed where they are needed.
    """
    wanted = {node for node in order if node.operation in REDUCTIONS}
    wanted.update(numbers)
    wanted.add(dense)
    for node in order:
        inline = node.is_condition and node.length is None
        for each in node.arguments:
            if node.length is not None or inline or stage[node] > stage[each]:
                wanted.add(each)
    return [
        node
        for node in order
        if node in wanted
        and node.length is None
        and node.arguments
        and node.operation != "item"
        and (node.operation in REDUCTIONS or not node.fixed)
        and not node.is_condition
    ]
