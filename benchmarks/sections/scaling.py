"""How the time of an epoch grows with rows, width, depth, batch and threads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from axes import AXES
from libraries import LIBRARIES, Settings, child, is_installed, missing
from markdown_tables import Table, milliseconds
from processes import ChildFailed, cores

TEXT = """\
Each cell has the exponent a that fits time ~ x^a best (least squares of log time on log x), and the
first and the last time in ms. x is the work, the multiply-adds of an epoch, where the work grows,
and else what grows. Inputs are random, without zeros; each library trains in the first of its ways
in the table of contenders, with all threads but in the last row. Where work grows, an exponent of 1
is time in proportion to it, and one below 1 the overhead of small steps."""


def exponent(x: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of the least-squares line through (log x, log seconds).

    Raises
    ------
    ValueError
        There are fewer than two different x.
    """
    if len(set(x)) < 2:
        raise ValueError(f"a slope needs two different x, not {sorted(set(x))}")
    points = [(math.log(a), math.log(b)) for a, b in zip(x, seconds, strict=True)]
    mean_x = math.fsum(a for a, _ in points) / len(points)
    mean_y = math.fsum(b for _, b in points) / len(points)
    above = math.fsum((a - mean_x) * (b - mean_y) for a, b in points)
    return above / math.fsum((a - mean_x) ** 2 for a, _ in points)


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, 4, ... and the number of cores.

    >>> thread_counts(6)
    [1, 2, 4, 6]
    """
    return sorted({2**i for i in range(cores.bit_length())} | {cores})


def tables(settings: Settings) -> list[Table]:
    """Return the outline: a row for each thing that grows, a column for each library."""
    titles = [LIBRARIES[name].title for name in settings.libraries]
    rows = {name: axis.title for name, axis in AXES.items()}
    return [Table(("time as a power of x", "x", "ideal", *titles), rows)]


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Time every shape, one process for a library and an axis."""
    yield from table.head()
    record = settings.record["scaling"] = {}
    failures = []
    for name, axis in AXES.items():
        record[name] = {"x": axis.x, "points": {}}
        cells = []
        for library in settings.libraries:
            if not is_installed(library):
                cells.append(missing(library))
                continue
            try:
                points = measure_axis(name, next(iter(LIBRARIES[library].contenders)), settings)
            except ChildFailed as failure:
                failures.append(f"FAILED: {library}, {name}: {failure}")
                cells.append("failed")
                continue
            record[name]["points"][library] = points
            cells.append(cell(points, axis.x))
        yield table.line(name, axis.x, axis.ideal, *cells)
    for line in failures:
        yield from ("", line)


def measure_axis(name: str, contender: str, settings: Settings) -> list[dict[str, Any]]:
    """Return for each point along an axis its value, its work and its seconds."""
    seconds = str(settings.seconds / 4)
    if name != "threads":
        return child("scale", contender, name, "all", seconds, mode="all")["points"]
    points = []
    for count in thread_counts(cores()):
        (point,) = child("scale", contender, name, str(count), seconds, mode=str(count))["points"]
        points.append(point | {"threads": count})
    return points


def cell(points: list[dict[str, Any]], x: str) -> str:
    """Return the exponent of the points and the times at both ends."""
    seconds = [point["seconds"] for point in points]
    ends = f"{milliseconds(seconds[0])} to {milliseconds(seconds[-1])}"
    if len(points) < 2:
        return f"- ({milliseconds(seconds[0])})"
    return f"{exponent([point[x] for point in points], seconds):.2f} ({ends})"
