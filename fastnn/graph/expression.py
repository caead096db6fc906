"""Formulas that know their variables: what a reader computes with.

An `Expression` is one number, a `Vector` several. Either holds a node and the names of the
variables that it may be asked about. Those of a derivative are those of what it was derived from,
though fewer may be left in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import numpy as np

from fastnn.errors import InvalidInput, RoundingWarning, shown
from fastnn.graph import nodes, origin
from fastnn.graph.derivative import adjoints
from fastnn.graph.evaluate import common_form, evaluate, real_array, spread
from fastnn.graph.nodes import Node
from fastnn.graph.operands import Formula, array_constant, node_of
from fastnn.graph.operations import OPERATIONS
from fastnn.graph.simplify import ZERO
from fastnn.rules.table import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastnn.graph.table import Table

Method = Callable[[Any, Any], Any]


def _infix(operation: str) -> tuple[Method, Method]:
    """Return the methods of an operator: with `self` on the left, and on the right."""

    def left(self: Any, other: Any) -> Any:
        return build(operation, self, other) if _goes_with(self, other) else NotImplemented

    def right(self: Any, other: Any) -> Any:
        return build(operation, other, self) if _goes_with(self, other) else NotImplemented

    return left, right


def _powers() -> tuple[Method, Method]:
    """Return the methods of ``**``, of which `pow` has a third argument."""
    left, right = _infix("pow")

    def power(self: Any, other: Any, modulus: Any = None) -> Any:
        return left(self, other) if modulus is None else _no_modulus(self)

    def power_of(self: Any, other: Any, modulus: Any = None) -> Any:
        return right(self, other) if modulus is None else _no_modulus(self)

    return power, power_of


def _no_modulus(formula: Formula) -> NoReturn:
    problem = f"pow of {formula!r} cannot take a modulus, which is for whole numbers alone"
    raise origin.cannot_trace(problem, "use x**n", origin.calling_place())


def _unknown(operator: str) -> Method:
    """Return the method of an operator of Python's that no formula has."""

    def refuse(self: Any, *_: Any) -> NoReturn:
        problem = f"{operator} of {self!r} is unknown here"
        raise origin.cannot_trace(problem, origin.substitute(operator), origin.calling_place())

    return refuse


def _goes_with(formula: Formula, other: Any) -> bool:
    """Return whether `other` may stand beside a formula in an operation."""
    vectors = formula.node.length is not None and isinstance(other, np.ndarray) and other.ndim
    return bool(vectors) or node_of(other) is not None


class Condition(Formula):
    """A comparison, or comparisons joined by & (and), | (or) and ~ (not): for `where` alone."""

    def _no_arithmetic(self, *_: object) -> NoReturn:
        problem = f"{self!r} is a condition, not a number"
        remedy = f"use where({self!r}, 1, 0) of fastnn.graph"
        raise origin.cannot_trace(problem, remedy, origin.calling_place())

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _no_arithmetic
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = _no_arithmetic
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = _no_arithmetic
    __matmul__ = __rmatmul__ = __xor__ = __rxor__ = _no_arithmetic
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _no_arithmetic
    __neg__ = __pos__ = __abs__ = _no_arithmetic
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _no_arithmetic
    __hash__ = object.__hash__

    __and__, __rand__ = _infix("and")
    __or__, __ror__ = _infix("or")

    def __invert__(self) -> Any:
        """Return the condition that holds where this one does not."""
        return build("not", self)


class Arithmetic(Formula):
    """Python's operators, number by number, and names for what comes of them."""

    # Type checkers do not take the types of what a tuple brings for declared ones.
    __add__: ClassVar[Method]
    __radd__: ClassVar[Method]
    __sub__: ClassVar[Method]
    __rsub__: ClassVar[Method]
    __mul__: ClassVar[Method]
    __rmul__: ClassVar[Method]
    __truediv__: ClassVar[Method]
    __rtruediv__: ClassVar[Method]
    __pow__: ClassVar[Method]
    __rpow__: ClassVar[Method]
    __lt__: ClassVar[Method]
    __gt__: ClassVar[Method]
    __le__: ClassVar[Method]
    __ge__: ClassVar[Method]
    __eq__: ClassVar[Callable[[Any, object], Any]]
    __ne__: ClassVar[Callable[[Any, object], Any]]
    __hash__: ClassVar[Callable[[Any], int]]

    __add__, __radd__ = _infix("add")
    __sub__, __rsub__ = _infix("sub")
    __mul__, __rmul__ = _infix("mul")
    __truediv__, __rtruediv__ = _infix("div")
    __pow__, __rpow__ = _powers()
    __lt__, __gt__ = _infix("lt")[0], _infix("gt")[0]
    __le__, __ge__ = _infix("le")[0], _infix("ge")[0]
    __eq__, __ne__ = _infix("eq")[0], _infix("ne")[0]
    __hash__ = object.__hash__

    __mod__ = __rmod__ = _unknown("%")
    __floordiv__ = __rfloordiv__ = _unknown("//")
    __divmod__ = __rdivmod__ = _unknown("divmod")
    __xor__ = __rxor__ = _unknown("^")
    __lshift__ = __rlshift__ = _unknown("<<")
    __rshift__ = __rrshift__ = _unknown(">>")

    def _no_condition(self, *_: object) -> NoReturn:
        raise origin.no_condition(repr(self), origin.calling_place())

    __and__ = __rand__ = __or__ = __ror__ = __invert__ = _no_condition

    def __neg__(self) -> Any:
        """Return -self."""
        return build("neg", self)

    def __pos__(self) -> Any:
        """Return self."""
        return self

    def __abs__(self) -> Any:
        """Return |self|."""
        return build("abs", self)

    def named(self, name: str) -> Self:
        """Return the same formula under a name, which tables and drawings then show.

        Raises
        ------
        InvalidInput
            A name that is no identifier or that is a variable's, or a formula without an operation.
        """
        nodes.check_name(name)
        if self.node.operation not in OPERATIONS:
            raise InvalidInput(f"{self!r} is not an intermediate result, so it takes no name")
        if name in self.names:
            raise InvalidInput(f"{name!r} is a variable of {self!r}; choose another name")
        return type(self)(nodes.named(self.node, name), self.names)


class Expression(Arithmetic):
    """A formula of variables: ``J = (2*a + b)*c``.

    Made from `variables` by Python's operators and the functions of `fastnn.graph`. Comparisons
    give a `Condition`. What is used twice is stored and computed once.
    """

    def __matmul__(self, other: Any) -> Any:
        """Refuse a sum of products, which is one of vectors."""
        if is_vector(other):
            return NotImplemented  # which it knows itself
        problem = f"@ of {self!r} is unknown here, which is one number"
        raise origin.cannot_trace(problem, "use *", origin.calling_place())

    __rmatmul__ = __matmul__

    def evaluate(self, /, **values: Any) -> Any:
        """Return the value of the formula.

        >>> from fastnn.graph import variables
        >>> a, b, c = variables("a b c")
        >>> J = (2*a + b)*c
        >>> J.evaluate(a=3, b=4, c=5)
        50.0

        Parameters
        ----------
        values
            A number or an array for each variable; arrays broadcast. If all arrays are float32,
            so is the arithmetic; else it is float64.

        Returns
        -------
        float or numpy.ndarray
            A float if all values are numbers; else an array of the shape to which they broadcast.
            NaN or infinite outside of the domain of a function.

        Warns
        -----
        RoundingWarning
            The value is not finite because the logarithm of a saturated sigmoid or softmax is not,
            or because a part of the formula, such as an exponential, is too large for a float. It
            names the function that is exact there.

        Raises
        ------
        InvalidInput
            A variable without a value, a value without a variable, no number, or shapes that do
            not broadcast.
        """
        return self._told([self.node], values)[0]

    def gradient(self, /, **values: Any) -> dict[str, Any]:
        """Return the partial derivative of the formula by each variable.

        Parameters and errors are those of `evaluate`. With arrays, each entry is the derivative
        at each point, of the shape to which the values broadcast; nothing is summed. What holds at
        kinks is said in `fastnn.graph.derivative`.

        >>> from fastnn.graph import variables
        >>> a, b, c = variables("a b c")
        >>> ((2*a + b)*c).gradient(a=3, b=4, c=5)
        {'a': 10.0, 'b': 5.0, 'c': 10.0}
        """
        derivatives = [self._adjoint(nodes.variable(name)) for name in self.names]
        return dict(zip(self.names, self._told(derivatives, values), strict=True))

    def derivative(self, variable: str | Expression) -> Expression:
        """Return the partial derivative by one variable as a formula, simplified.

        >>> from fastnn.graph import variables
        >>> x, y = variables("x y")
        >>> (x**3*y).derivative("x")
        3*y*x**2
        >>> (x**3*y).derivative("x").derivative("x")
        6*y*x

        Raises
        ------
        InvalidInput
            A name that is not a variable of this formula.
        """
        name = repr(variable) if isinstance(variable, Expression) else variable
        if name not in self.names:
            raise unknown_name("variable", name, self.names)
        return Expression(self._adjoint(nodes.variable(name)), self.names)

    def table(self, /, **values: Any) -> Table:
        """Return the value of every node, and the gradient of the formula by every node.

        Parameters and errors are those of `evaluate`.

        >>> from fastnn.graph import variables
        >>> a, b, c = variables("a b c")
        >>> u = (2*a).named("u")
        >>> print(((u + b)*c).table(a=3, b=4, c=5))
        node  operation  value  gradient
        a     variable       3        10
        b     variable       4         5
        c     variable       5        10
        u     2*a            6         5
        v1    u + b         10         5
        v2    v1*c          50         1
        """
        from fastnn.graph.table import make_table

        return make_table(self, values)

    def draw(self, *, ax: Axes | None = None, **values: Any) -> Axes:
        """Draw the nodes from left to right, with value and gradient on each.

        Parameters
        ----------
        ax
            Where to draw; None makes a new figure.
        values
            A number for each variable.

        Raises
        ------
        InvalidInput
            As `evaluate`; also arrays in place of numbers, and a graph too large to be read.
        MissingExtra
            Matplotlib is not installed.
        """
        from fastnn.graph.drawing import draw

        return draw(self.table(**values), ax)

    @cached_property
    def _adjoints(self) -> dict[Node, Node]:
        return adjoints(self.node)

    def _adjoint(self, node: Node) -> Node:
        return self._adjoints.get(node, ZERO)

    def _told(self, roots: list[Node], values: dict[str, Any], calls: int = 2) -> list[Any]:
        """Return values of `roots`; warn where one is not finite for rounding alone.

        `calls` is by how many calls the caller's line is above this one.
        """
        found = self._values(roots, values)
        if not all(np.isfinite(each).all() for each in found):
            from fastnn.graph.rounding import explanation

            arrays = {name: real_array(value, name) for name, value in values.items()}
            if text := explanation(self.node, arrays, common_form(arrays)[1], found):
                warnings.warn(text, RoundingWarning, stacklevel=calls + 1)
        return found

    def _values(self, roots: Iterable[Node], values: dict[str, Any]) -> list[Any]:
        """Return the values of `roots`, nodes with the variables of this formula."""
        roots = list(roots)
        for name in values:
            if name not in self.names:
                raise unknown_name("variable", name, self.names)
        missing = [name for name in nodes.variable_names(self.node) if name not in values]
        if missing:
            known = ", ".join(f"{name}=..." for name in self.names)
            raise InvalidInput(f"no value for {', '.join(missing)}; give ({known})")
        arrays = {name: real_array(value, f"the value of {name}") for name, value in values.items()}
        shape, dtype = common_form(arrays)
        return [spread(each, shape, dtype) for each in evaluate(roots, arrays, dtype)]


class Taken:
    """Which targets a formula takes, and so how many there are.

    Attributes
    ----------
    needed
        At least as many as this.
    whole
        Whether they are as many as the outputs.
    """

    def __init__(self) -> None:
        self.needed: int = 0
        self.whole: bool = False

    def slice(self, index: slice) -> range | None:
        """Return what a slice takes, if it has a stop; None if it takes them to the end."""
        bounds = index.start or 0, index.stop, 1 if index.step is None else index.step
        known = all(isinstance(each, (int, np.integer)) for each in bounds)
        if not known or min(bounds[:2]) < 0 or bounds[2] < 1:
            return None
        places = range(*map(int, bounds))
        if places:
            self.needed = max(self.needed, places[-1] + 1)
        return places


class Vector(Arithmetic):
    """A formula of several numbers: the outputs or the targets of a row, and what comes of them.

    Operators and functions work number by number; numbers go with vectors, and vectors with vectors
    of the same length. ``v[0]`` and ``v[-1]`` are numbers, ``v[1:3]`` is a vector, and ``v[y]``,
    for an expression y, is the number of that index: NaN, if there is none. `sum`, `mean`, `max`,
    `min` and `logsumexp` of `fastnn.graph` give a number.
    """

    taken: Taken | None = None  # of targets, while it is not known how many there are

    def __len__(self) -> int:
        """Return how many numbers there are."""
        if self.taken is not None:
            self.taken.whole = True
        length = self.node.length
        assert length is not None
        return length

    def __iter__(self) -> Iterator[Any]:
        """Yield the numbers."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        """Return one number, or a vector of some."""
        if isinstance(index, slice):
            return self._slice(index)
        if isinstance(index, Expression):
            return self._chosen(index)
        if isinstance(index, (bool, np.bool_)) or not isinstance(index, (int, np.integer)):
            raise origin.cannot_trace(
                f"an index of {self!r} must be a whole number, a slice or an expression, not "
                f"{shown(index):.60}",
                f"write one of 0..{len(self) - 1}",
                origin.calling_place(),
            )
        place = self._place(int(index))
        return Expression(nodes.apply("item", self.node, nodes.constant(place)), self.names)

    def _place(self, index: int) -> int:
        """Return an index from 0 on."""
        if self.taken is not None and index >= 0:
            self.taken.needed = max(self.taken.needed, index + 1)
            return index
        length = len(self)
        if not -length <= index < length:
            raise origin.cannot_trace(
                f"{self!r} has {length} number{'s' * (length != 1)}, and none of index {index}",
                f"the last is of index {length - 1}",
                origin.calling_place(),
            )
        return index % length

    def _slice(self, index: slice) -> Vector:
        if self.taken is not None and (places := self.taken.slice(index)):
            return self._cut(places.start, places.stop, places.step)
        try:
            start, stop, step = index.indices(len(self))
        except (TypeError, ValueError):
            start, stop, step = 0, 0, 1
        if step < 1 or not range(start, stop, step):
            problem = f"a slice of {self!r}, of {len(self)} numbers, cannot be {index}"
            remedy = "let start, stop and step be whole numbers, step at least 1, and some be in it"
            raise origin.cannot_trace(problem, remedy, origin.calling_place())
        return self._cut(start, stop, step)

    def _cut(self, start: int, stop: int, step: int) -> Vector:
        places = (nodes.constant(each) for each in (start, stop, step))
        return Vector(nodes.apply("slice", self.node, *places), self.names)

    def _chosen(self, index: Expression) -> Expression:
        """Return the number of that index; NaN where no number has it."""
        names = tuple(dict.fromkeys((*self.names, *index.names)))
        return Expression(nodes.apply("take", self.node, index.node), names)

    def sum(self) -> Expression:
        """Return the sum."""
        return _reduced("sum", self)

    def mean(self) -> Expression:
        """Return the mean."""
        return _reduced("mean", self)

    def max(self) -> Expression:
        """Return the largest number; equal ones share the derivative."""
        return _reduced("max", self)

    def min(self) -> Expression:
        """Return the smallest number; equal ones share the derivative."""
        smallest: Expression = -_reduced("max", -self)
        return smallest

    def __matmul__(self, other: Any) -> Any:
        """Return the sum of products."""
        return _reduced("sum", self * other)

    __rmatmul__ = __matmul__


def _reduced(operation: str, vector: Any) -> Expression:
    return Expression(nodes.apply(operation, vector.node), vector.names)


def as_vector(array: np.ndarray) -> Vector:
    """Return the vector of constants that an array (n,) of finite numbers is."""
    found = [node_of(each) for each in array] if array.ndim == 1 else []
    numbers = [each for each in found if each is not None]
    if not numbers or len(numbers) < len(found):
        raise array_constant(array)
    return Vector(nodes.apply("array", *numbers), ())


def as_expression(value: Any) -> Expression:
    """Return an expression as it is, and a number as the expression of that constant.

    Raises
    ------
    InvalidInput
        Anything else.
    """
    node = node_of(value)
    if node is None:
        raise InvalidInput(
            f"an expression or a number is needed, not {type(value).__name__} {shown(value):.60}"
        )
    if isinstance(value, Condition):
        value._no_arithmetic()
    return value if isinstance(value, Expression) else Expression(node, ())


def build(operation: str, *arguments: Any) -> Any:
    """Return the expression, vector or condition of an operation on such and numbers.

    Raises
    ------
    InvalidInput
        An argument that is neither, vectors of two lengths, or a condition in place of a number or
        the reverse.
    """
    row = OPERATIONS[operation]
    if any(map(is_vector, arguments)):
        arguments = tuple(
            as_vector(each) if isinstance(each, np.ndarray) and each.ndim else each
            for each in arguments
        )
    found: list[Node] = []
    names: dict[str, None] = {}
    for position, value in enumerate(arguments):
        node = node_of(value)
        if node is None:
            raise InvalidInput(
                f"argument {position + 1} of {operation} must be an expression or a number, "
                f"not {type(value).__name__} {shown(value):.60}"
            )
        if isinstance(value, Condition) and position >= row.takes_conditions:
            value._no_arithmetic()
        if not isinstance(value, Condition) and position < row.takes_conditions:
            if not isinstance(value, (bool, np.bool_)):
                raise origin.no_condition(repr(value), origin.calling_place())
            node = nodes.apply("eq", ZERO, nodes.constant(not value))
        found.append(node)
        if isinstance(value, Formula):
            names.update(dict.fromkeys(value.names))
    lengths = dict.fromkeys(node.length for node in found if node.length is not None)
    if len(lengths) > 1:
        raise _unequal(operation, arguments, tuple(lengths))
    kind = Condition if row.condition else Vector if lengths else Expression
    return kind(nodes.apply(operation, *found), tuple(names))


def is_vector(value: Any) -> bool:
    """Return whether `value` is a vector, or a vector of conditions."""
    return isinstance(value, Formula) and value.node.length is not None


def _unequal(operation: str, arguments: Iterable[Any], lengths: tuple[int, ...]) -> InvalidInput:
    vectors = [
        f"{each!r:.60} of {each.node.length} numbers" for each in arguments if is_vector(each)
    ]
    problem = f"{' and '.join(vectors)} cannot go together, number by number"
    remedy = (
        f"index one, as in v[0], or slice it, as in v[0:{min(lengths)}] (targets that are used as "
        "a whole are as many as the outputs)"
    )
    return origin.cannot_trace(problem, remedy, origin.calling_place())
