"""What is new in the rows of a table beside those that a model was trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fastnn.tabular.rules import Found


@dataclass
class Met:
    """What there is to report of a table that has been prepared.

    Attributes
    ----------
    missing
        Missing values by column.
    unknown
        New categories by column, with how often each is there.
    ignored
        Columns that the model does not know.
    remarks
        What else there is to say.
    """

    missing: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, Counter[str]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def add(self, name: str, found: Found) -> None:
        """Take note of what was met in a column."""
        if found.missing:
            self.missing[name] = found.missing
        if found.unknown:
            self.unknown[name] = found.unknown

    def join(self, other: Met) -> None:
        """Take note of what was met in other rows of the same columns."""
        for name, count in other.missing.items():
            self.missing[name] = self.missing.get(name, 0) + count
        for name, words in other.unknown.items():
            self.unknown[name] = self.unknown.get(name, Counter()) + words
        self.ignored = tuple(dict.fromkeys((*self.ignored, *other.ignored)))
        self.remarks = tuple(dict.fromkeys((*self.remarks, *other.remarks)))
