"""The state of callbacks in a file, so that a resumed training goes on to the same bits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.errors import CorruptFile, InvalidInput

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
            if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
                tensors[f"{_PREFIX}{position}.{name}"] = value
                continue
            values[name] = value
            try:
                kept = json.loads(json.dumps({name: value})) == {name: value} or value != value
            except (TypeError, ValueError):
                kept = False
            if not kept:
                raise InvalidInput(
                    f"the state of the callback {state.kind} cannot be saved: {name!r} is "
                    f"{value!r:.80}; state_dict must return a dict of numbers, strings, lists and "
                    "dicts of such, and arrays of numbers, by name"
                )
        plain.append({"kind": state.kind, "values": values})
    return plain, tensors


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
