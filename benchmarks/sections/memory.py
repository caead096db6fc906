"""The most memory that training takes, beyond imports and data."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from libraries import LIBRARIES, Run, Settings, child, explain, is_installed, missing
from markdown_tables import Table, megabytes
from processes import in_turns
from workloads import MEMORY

ROUNDS = 3

TEXT = """\
The first column is the resident memory of a process that imported the library and loaded MNIST, the
third its peak in the first two epochs after that, with all threads: what the library imports late,
copies and allocates, and what it compiles in every process, is the difference."""


def tables(settings: Settings) -> list[Table]:
    """Return the outline: a row for each way to train."""
    return [
        Table(
            (f"{MEMORY.title}, MB resident", "imports and data", "training adds", "peak"),
            {
                contender: ", ".join([LIBRARIES[name].title, way.title][: 1 + (len(ways) > 1)])
                for name in settings.libraries
                for ways in [LIBRARIES[name].ways(MEMORY)]
                for contender, way in ways.items()
            },
        )
    ]


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Train each contender for two epochs and ask for its peak."""
    yield from table.head()
    runs = [(key, "all") for key in table.rows if is_installed(key.partition(".")[0])]

    def run_once(run: Run) -> dict[str, Any]:
        return child("memory", run[0], run[1], mode=run[1])

    in_turns(runs, 1, run_once)  # compiled code gets into its caches
    results, failures = in_turns(runs, settings.times(ROUNDS), run_once)
    settings.record["memory"] = sum(results.values(), [])
    for key in table.rows:
        reports: list[dict[str, Any]] = results.get((key, "all"), [])
        if not reports:
            yield table.line(key, "-", "-", missing(key.partition(".")[0]))
            continue
        before, peak = (
            statistics.median(report[what] for report in reports) for what in ("before", "peak")
        )
        cells = (megabytes(size) for size in (before, peak - before, peak))
        yield table.line(key, *cells, note=reports[0]["note"])
    for line in explain(failures):
        yield from ("", line)
