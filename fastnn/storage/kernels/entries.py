"""The compiled functions that the engine calls: one table, which building and loading both read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """A compiled function: where its Python is, and what it takes.

    Arguments are "int", an int64; "words", an array of int64; "float32s" or "float64s".
    """

    module: str
    function: str
    arguments: tuple[str, ...]


def _entries() -> dict[str, Entry]:
    entries = {
        "shuffle": Entry("fastnn.targets.cpu.shuffle", "shuffle", ("words", "int", "words", "int"))
    }
    for dtype in ("float32", "float64"):
        forward = "words", "int", "int", f"{dtype}s"
        team = "words", "int", "int", "int"
        for prefix, module, train in (
            ("", "fastnn.targets.cpu.step.epoch", team),
            ("linear_", "fastnn.targets.cpu.step.linear", ("words", "int")),
            ("sparse_linear_", "fastnn.targets.cpu.step.sparse_linear", team),
        ):
            for operation, arguments in (("train_epoch", train), ("forward", forward)):
                name = f"{operation}_{dtype}"
                entries[prefix + name] = Entry(module, name, arguments)
    return entries


ENTRIES = _entries()


def groups(names: Iterable[str]) -> list[list[str]]:
    """Return names in groups that are compiled one after another, in one process.

    Entries of one dtype have most functions in common, which that process compiles once.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=list(ENTRIES).index):
        dtype = name.rpartition("_")[2]
        found.setdefault(dtype if dtype.startswith("float") else "float32", []).append(name)
    return list(found.values())
