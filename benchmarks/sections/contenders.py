"""How each contender trains; nothing is measured."""

from __future__ import annotations

from collections.abc import Iterator

from libraries import LIBRARIES, Settings, Way, is_installed
from markdown_tables import Table

TEXT = """\
These settings were the fastest of those tried; the reasons are in `benchmarks/contenders/`. The
clock is on epochs alone, with the order of their rows: not on what a `fit` checks and prepares
before its first one, nor on making tensors of the arrays. Of SGDClassifier all of `fit` counts."""


def all_ways(settings: Settings) -> dict[str, tuple[str, Way]]:
    """Return library and way of each contender."""
    return {
        contender: (name, way)
        for name in settings.libraries
        for contender, way in (LIBRARIES[name].contenders | LIBRARIES[name].linear).items()
    }


def tables(settings: Settings) -> list[Table]:
    """Return the outline: a row for each contender."""
    ways = all_ways(settings)
    rows = {key: f"{LIBRARIES[name].title}, {way.title}" for key, (name, way) in ways.items()}
    return [Table(("contender", "how it trains"), rows)]


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Yield the table."""
    yield from table.head()
    for key, (name, way) in all_ways(settings).items():
        yield table.line(key, way.settings + ("" if is_installed(name) else "; not installed"))
