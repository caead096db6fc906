"""Variables: where formulas begin."""

from __future__ import annotations

from collections.abc import Iterable

from fastnn.errors import InvalidInput, shown
from fastnn.graph import nodes
from fastnn.graph.expression import Expression


def variables(names: str | Iterable[str]) -> tuple[Expression, ...]:
    """Return one variable for each name, always as a tuple.

    >>> x, y = variables("x y")
    >>> (x + 1)/y
    (x + 1)/y

    Parameters
    ----------
    names
        Names with spaces or commas between them, or a sequence of names.

    Raises
    ------
    InvalidInput
        Something that cannot be a name, or no name at all.
    """
    if not isinstance(names, Iterable):
        raise InvalidInput(f"names must be a string or several, such as 'x y', not {shown(names)}")
    found = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    if not found:
        raise InvalidInput("variables needs at least one name, such as variables('x y')")
    return tuple(Expression(nodes.variable(nodes.check_name(name)), (name,)) for name in found)
