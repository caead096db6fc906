"""Lists of one entry an epoch, which are read only, and of which copies cost the same always."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import CorruptFile, NotAssignable


class Series(list[Any]):
    """A list that only the history changes which has it, and only by adding entries at its end.

    Whoever else reads it sees them come. Methods that would change it raise `NotAssignable`; the
    history adds entries by those of `list` itself, and puts another `Series` into the place of one
    that is to have fewer. So the first entries of a series stay what they are.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle and copy a plain list."""
        return list, (list(self),)


class ByName(dict[str, Any]):
    """A dict that is only read, as those of `Series` by their names are."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle and copy a plain dict."""
        return dict, (dict(self),)


class Prefix(NamedTuple):
    """The first `length` entries of a series."""

    values: Series
    length: int

    def to_list(self) -> list[Any]:
        """Return them in a list of their own."""
        return self.values[: self.length]


def _refusal(name: str, kind: str, copy: str) -> Callable[..., Any]:
    """Return a method that refuses to change a list or a dict of a history."""

    def refuse(self: Any, *args: Any, **settings: Any) -> Any:
        raise NotAssignable(
            f"a {kind} of a History is only read: training goes on from it, and files have it; "
            f"{copy} is a copy that can be changed"
        )

    refuse.__name__, refuse.__doc__ = name, "Raise `NotAssignable`."
    return refuse


_OF_BOTH = ("__setitem__", "__delitem__", "pop", "clear")
_OF_LISTS = ("__iadd__", "__imul__", "append", "extend", "insert", "remove", "sort", "reverse")
_OF_DICTS = ("__ior__", "popitem", "setdefault", "update")
for _name in (*_OF_BOTH, *_OF_LISTS):
    setattr(Series, _name, _refusal(_name, "list", "list() of it, such as list(history.loss),"))
for _name in (*_OF_BOTH, *_OF_DICTS):
    setattr(ByName, _name, _refusal(_name, "dict", "dict() of it, such as dict(history.metrics),"))


def pack(values: list[Any], one_by_one: bool = False) -> dict[str, np.ndarray]:
    """Return numbers and Nones as arrays: nothing for Nones alone, and one number for equal ones.

    With `one_by_one`, equal numbers, too, are as many as they are.

    >>> pack([0.5, 0.5, 0.5])
    {'numbers': array([0.5])}
    >>> pack([None, 0.5, 0.25])["none"]
    array([ True, False, False])
    """
    none = np.array([value is None for value in values], bool)
    if none.all():
        return {}
    numbers = np.array([0.0 if value is None else value for value in values], np.float64)
    if none.any():
        return {"numbers": numbers, "none": none}
    bits = numbers.view(np.int64)
    equal = not one_by_one and (bits == bits[0]).all()
    return {"numbers": numbers[:1] if equal else numbers}


def unpack(arrays: dict[str, np.ndarray], count: int, what: str) -> list[Any]:
    """Return the list of `count` entries that `pack` gave these arrays for.

    Raises
    ------
    CorruptFile
        Arrays that `pack` cannot have given; the message names `what` they are of.
    """
    numbers, none = arrays.get("numbers"), arrays.get("none")
    if numbers is None and none is None:
        return [None] * count
    if numbers is None or numbers.dtype != np.float64 or numbers.ndim != 1:
        good = False
    elif none is None:
        good = len(numbers) in (1, count)
    else:
        good = none.dtype == bool and none.shape == numbers.shape == (count,)
    if numbers is None or not good or arrays.keys() - {"numbers", "none"}:
        raise CorruptFile(
            f"the saved history is damaged: the arrays of {what} are not of {count} epochs"
        )
    values: list[Any] = numbers.tolist() if len(numbers) == count else numbers.tolist() * count
    if none is not None:
        for place in none.nonzero()[0]:
            values[place] = None
    return values
