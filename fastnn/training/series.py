"""Lists of one entry an epoch, of which copies cost the same whatever their length."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import CorruptFile
from fastnn.threads.atomic import new_lock

_SHARING = new_lock()


class _Entries:
    """Entries that a `Series` has, for prefixes of it to read: they stay when they change there."""

    __slots__ = ("__weakref__", "values")

    def __init__(self, values: list[Any]) -> None:
        self.values: list[Any] = values


class Prefix(NamedTuple):
    """The first `length` entries of a series, as they were when this was made."""

    entries: _Entries
    length: int

    def to_list(self) -> list[Any]:
        """Return them in a list of their own."""
        return self.entries.values[: self.length]


class Series(list[Any]):
    """A list that knows of the prefixes made of it.

    Entries may be added at any time. Whoever replaces or removes some first leaves the prefixes,
    which then are of a copy.
    """

    _shared: weakref.ref[_Entries] | None = None

    def prefix(self, length: int) -> Prefix:
        """Return the first `length` entries, without copying them."""
        with _SHARING:
            entries = None if self._shared is None else self._shared()
            if entries is None:
                entries = _Entries(self)
                self._shared = weakref.ref(entries)
        return Prefix(entries, length)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle and copy a plain list."""
        return list, (list(self),)

    def _leave(self) -> None:
        with _SHARING:
            entries = None if self._shared is None else self._shared()
            if entries is not None:
                entries.values = list(self)
            self._shared = None


def _leaving(name: str) -> Callable[..., Any]:
    """Return a method of `list` that leaves the prefixes first."""
    method = getattr(list, name)

    @wraps(method)
    def changed(self: Series, *args: Any, **settings: Any) -> Any:
        self._leave()
        return method(self, *args, **settings)

    return changed


_CHANGES = ("insert", "pop", "remove", "clear", "sort", "reverse")
for _name in ("__setitem__", "__delitem__", "__imul__", *_CHANGES):
    setattr(Series, _name, _leaving(_name))


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
