"""The sections of the report, each a module that is imported when it is wanted.

``tables(settings)`` returns the outlines of its tables, ``measure(settings, *tables)`` measures and
yields their lines, and ``TEXT`` is what a reader of the figures has to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol, cast

NAMES = (
    "contenders",
    "training",
    "accuracy",
    "startup",
    "memory",
    "scaling",
    "gemm",
    "custom",
    "restarts",
)


class Section(Protocol):
    """What each module has."""

    TEXT: str

    def tables(self, settings: Any) -> list[Any]:
        """Return the outlines of the tables, before anything is measured."""
        ...

    def measure(self, settings: Any, *tables: Any) -> Iterator[str]:
        """Measure, and yield the lines of the tables as they come."""
        ...


def load(name: str) -> Section:
    """Return a section."""
    return cast(Section, import_module(f"sections.{name}"))
