"""The state of callbacks in a file, so that a resumed training goes on to the same bits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput, shown

_PREFIX = "callbacks."


@dataclass(frozen=True)
class CallbackState:
    """What one callback has to remember.

    Attributes
    ----------
    kind
        The name of its class, by which a resumed training finds whose state it is.
    values
        By name: values that `json` can write, and arrays.
    """

    kind: str
    values: dict[str, Any]


def to_file(states: list[CallbackState]) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Return the plain values of all states, and their arrays by names of their own.

    Raises
    ------
    InvalidInput
        A value that a file cannot keep; the message names it.
    """
    plain, tensors = [], {}
    for position, state in enumerate(states):
        values: dict[str, Any] = {}
        for name, value in state.values.items():
            if isinstance(value, np.ndarray) and _storable(value.dtype):
                tensors[f"{_PREFIX}{position}.{name}"] = value
                continue
            try:
                values[name] = json.loads(json.dumps(value, default=_python_number))
                kept = isinstance(name, str) and _alike(values[name], value)
            except (TypeError, ValueError, RecursionError):
                kept = False
            if not kept:
                raise InvalidInput(
                    f"the state of the callback {state.kind} cannot be saved: {name!r} is "
                    f"{shown(value):.80}; state_dict must return a dict of numbers, strings, lists "
                    "and dicts of such, and arrays of numbers of at most 64 bits, by name"
                )
        plain.append({"kind": state.kind, "values": values})
    return plain, tensors


def _storable(dtype: np.dtype) -> bool:
    """Whether a file has such numbers; it has none of more than 64 bits, and no complex ones."""
    return dtype.kind in "fiub" and dtype.itemsize <= 8


def _python_number(value: Any) -> Any:
    """Return NumPy's number as Python's, for `json`."""
    if isinstance(value, np.generic) and _storable(value.dtype):
        return value.item()
    raise TypeError


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are the same, NaN and itself included."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    return bool(one == other or (one != one and other != other))


def from_file(plain: Any, tensors: dict[str, np.ndarray], where: str) -> list[CallbackState]:
    """Return the states that `to_file` gave; their arrays are taken out of `tensors`.

    Raises
    ------
    CorruptFile
        Something else; the message names `where` it came from.
    """
    if not isinstance(plain, list) or not all(
        isinstance(each, dict)
        and each.keys() == {"kind", "values"}
        and isinstance(each["kind"], str)
        and isinstance(each["values"], dict)
        for each in plain
    ):
        raise CorruptFile(f"{where} is damaged: callbacks cannot be {plain!r:.80}")
    states = [CallbackState(each["kind"], dict(each["values"])) for each in plain]
    for name in [name for name in tensors if name.startswith(_PREFIX)]:
        position, _, own = name.removeprefix(_PREFIX).partition(".")
        if not position.isdecimal() or int(position) >= len(states):
            raise CorruptFile(f"{where} is damaged: no callback has the array {name!r}")
        states[int(position)].values[own] = tensors.pop(name)
    return states
