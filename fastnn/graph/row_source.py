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

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastnn.graph.derivative import adjoints
from fastnn.graph.expression import Expression
from fastnn.graph.lower import lower, parted
from fastnn.graph.nodes import Node, topological, vector
from fastnn.graph.simplify import ZERO, add, neg, sub
from fastnn.graph.source import Writer, numbered, parametrized
from fastnn.graph.statements import FUNCTIONS

ROWS_TOGETHER = 64  # a multiple of every vector; the slots of few outputs stay in a cache
_REDUCTIONS = {"sum": "total", "max": "largest"}
# A node, and what is done with the text of its value.
_Use = tuple[Node, Callable[[str], list[str]]]
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
    root, constants = parametrized(expression.node)
    (root,) = parted([root])
    leaf = vector(expression.names[0], outputs)
    dense, singles, slices = _terms(adjoints(root).get(leaf, ZERO))
    lowered = parted(lower([root, dense, *(each.node for each in (*singles, *slices))]))
    loss, dense, *rest = lowered
    singles = [_Term(one.places, node) for one, node in zip(singles, rest, strict=False)]
    slices = [
        _Term(one.places, node) for one, node in zip(slices, rest[len(singles) :], strict=True)
    ]
    writer = _RowWriter(leaf, vector(expression.names[1], targets), len(constants))
    text = writer.source(loss, dense, singles, slices)
    functions = tuple(sorted(writer.functions))
    count = len(topological(lowered))
    return RowSource(text, functions, count, constants, writer.slots * ROWS_TOGETHER)


@dataclass(frozen=True)
class _Term:
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


def _terms(gradient: Node) -> tuple[Node, list[_Term], list[_Term]]:
    """Return what a sum has for all outputs, for single ones, and for slices of them."""
    partial: set[Node] = set()
    for node in topological([gradient]):
        below = node.operation in ("add", "sub", "neg") and partial.intersection(node.arguments)
        if below or node.operation in ("put", "spread"):
            partial.add(node)
    dense, singles, slices = ZERO, list[_Term](), list[_Term]()
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
                singles.append(_Term(range(numbers[0], numbers[0] + 1), x))
            else:
                slices.append(_Term(range(*numbers), x))
        else:
            first, *second = node.arguments
            signs = positive != (node.operation == "neg"), positive == (node.operation == "add")
            waiting += reversed(list(zip((first, *second), signs, strict=False)))
    return dense, singles, slices


class _RowWriter(Writer):
    """Writes the function of one loss."""

    def __init__(self, outputs: Node, targets: Node, constants: int) -> None:
        super().__init__()
        self.slots = 0
        self._known = numbered(constants)
        self._slot: dict[Node, int] = {}  # of variables, and of what is kept between loops
        self._lines: list[str] = []
        self._locals = 0
        n, m = outputs.length or 0, targets.length or 0
        self._slot[outputs], self._slot[targets] = self._take(n), self._take(m)
        self._gradient, self._loss = self._take(n), self._take(1)
        self._n = n
        self._layout = n, m, ROWS_TOGETHER, self._slot[targets], self._gradient, self._loss

    def _take(self, count: int) -> int:
        self.slots += count
        return self.slots - count

    def source(self, loss: Node, dense: Node, singles: list[_Term], slices: list[_Term]) -> str:
        """Return the source."""
        roots = [loss, dense, *(each.node for each in (*singles, *slices))]
        order = topological(roots)
        stage = _stages(order)
        kept = _kept(order, stage, [loss, *(each.node for each in singles)], dense)
        for node in kept:
            self._slot[node] = self._take(1)
        # Every loop over the numbers of a row: how many, of what, and what becomes of each.
        loops: list[tuple[int, int, list[_Use]]] = []
        for level in range(max(stage.values()) + 1):
            found: dict[int, list[_Use]] = {}
            for node in kept:
                if node.operation in _REDUCTIONS and stage[node] == level + 1:
                    x = node.arguments[0]
                    found.setdefault(x.length or 0, []).append((x, self._reducing(node)))
            loops += [(level, length, uses) for length, uses in found.items()]
        last = max(stage.values())
        to = self._at(self._gradient, "row")
        loops.append((last, self._n, [(dense, lambda text: [f"{to} = {text}"])]))
        for term in slices:
            places = f"({term.places.start} + {term.places.step} * j)"
            to_slice = self._at(self._gradient, "at", places)
            adding = self._adding(to_slice)
            loops.append((last, len(term.places), [(term.node, adding)]))
        reached = [set(self._below(node for node, _ in uses)) for *_, uses in loops]
        level = -1
        for number, (own_level, length, uses) in enumerate(loops):
            while level < own_level:
                level += 1
                self._numbers(kept, stage, level)
            later = set().union(*reached[number + 1 :])
            self._loop(length, uses, later)
        self._rows([(loss, self._storing(self._at(self._loss, "at")))], set(self._slot))
        for term in singles:
            place = self._at(self._gradient + term.places.start, "at")
            self._rows([(term.node, self._adding(place))], set(self._slot))
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

    def _storing(self, to: str) -> Callable[[str], list[str]]:
        return lambda text: [f"{to} = {text}"]

    def _adding(self, to: str) -> Callable[[str], list[str]]:
        return lambda text: [f"{to} += {text}"]

    def _reducing(self, node: Node) -> Callable[[str], list[str]]:
        """Return what adds a number to a sum, or takes the larger one; NaN stays."""
        to = self._at(self._slot[node], "at")
        if node.operation == "sum":
            return self._adding(to)
        return lambda text: [f"x = {text}", f"y = {to}", f"{to} = x if x > y or x != x else y"]

    def _numbers(self, kept: list[Node], stage: dict[Node, int], level: int) -> None:
        """Compute what a row has one of each of, once the loops before are done."""
        found = [each for each in kept if stage[each] == level]
        uses = [
            (each, self._storing(self._at(self._slot[each], "at")))
            for each in found
            if each.operation not in _REDUCTIONS
        ]
        if uses:
            self._rows(uses, set(self._slot) - {each for each, _ in uses})
        start = [
            each for each in kept if each.operation in _REDUCTIONS and stage[each] == level + 1
        ]
        if start:
            self._lines.append("for i in range(count):")
            for node in start:
                begin = self._constant(0.0) if node.operation == "sum" else "low"
                self._lines.append(f"    {self._at(self._slot[node], 'at')} = {begin}")

    def _rows(self, uses: list[_Use], stops: set[Node]) -> None:
        """Write a loop over rows, for numbers that a row has one of each of."""
        self._lines.append("for i in range(count):")
        self._lines += (f"    {line}" for line in self._computed(uses, stops))

    def _loop(self, length: int, uses: list[_Use], later: set[Node]) -> None:
        """Write a loop over the numbers of a row, and in it one over rows."""
        stops = set(self._slot)
        keep = [
            node
            for node in self._below(node for node, _ in uses)
            if node.operation in _DEAR and node.length is not None
            if node in later and node not in stops
        ]
        saved = []
        for node in keep:
            slot = self._take(node.length or 0)
            saved.append((node, self._storing(self._at(slot, "row"))))
            self._slot[node] = slot
        self._lines.append(f"for j in range({length}):")
        self._lines.append(f"    row, index = at + j * {ROWS_TOGETHER}, real(j)")
        self._lines.append("    for i in range(count):")
        self._lines += (f"        {line}" for line in self._computed([*saved, *uses], stops))

    def _below(self, roots: Iterable[Node]) -> list[Node]:
        return topological(roots, self._slot)

    def _computed(self, uses: list[_Use], stops: set[Node]) -> list[str]:
        """Return lines that compute some nodes, and do with each what is to be done."""
        known = dict(self._known)
        lines: list[str] = []
        roots = [node for node, _ in uses]
        for node in topological(roots, _Stops(stops)):
            if node.operation == "range":
                known[node] = "index"
            elif (place := self._read(node, stops)) is not None:
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

    def _read(self, node: Node, stops: set[Node]) -> str | None:
        """Return where a node can be read, or None."""
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
        stage[node] = before + (node.operation in _REDUCTIONS)
    return stage


def _kept(
    order: list[Node], stage: dict[Node, int], numbers: list[Node], dense: Node
) -> list[Node]:
    """Return the numbers of a row that are kept: those that a loop, or a later stage, needs.

    Conditions are not, nor what depends on no variable: they are computed where they are needed.
    """
    wanted = {node for node in order if node.operation in _REDUCTIONS}
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
        and (node.operation in _REDUCTIONS or not node.fixed)
        and not node.is_condition
    ]
