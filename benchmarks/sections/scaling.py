"""How the time of an epoch grows with rows, width, depth, batch and threads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from axes import AXES
from libraries import LIBRARIES, Settings, child, is_installed, missing
from markdown_tables import Table, milliseconds
from processes import cores, in_turns

Point = dict[str, Any]  # what grows by its name, work, seconds

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
    titles = []
    for name in settings.libraries:
        first, *others = LIBRARIES[name].contenders.values()
        titles.append(LIBRARIES[name].title + (f", {first.title}" if others else ""))
    rows = {name: axis.title for name, axis in AXES.items()}
    return [Table(("time as a power of x", "x", "ideal", *titles), rows)]


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Time every shape, in each round in one process for a library and an axis."""
    yield from table.head()
    record = settings.record["scaling"] = {}
    remarks = []
    installed = [library for library in settings.libraries if is_installed(library)]
    for name, axis in AXES.items():
        results, failures = in_turns(
            installed, settings.rounds, partial(measure_axis, name, settings)
        )
        remarks += [f"FAILED: {library}, {name}: {why}" for library, why in failures.items()]
        points = {library: quickest(found) for library, found in results.items() if found}
        record[name] = {"x": axis.x, "points": points}
        cells = [
            cell(points[library], axis.x) if library in points else missing(library)
            for library in settings.libraries
        ]
        yield table.line(name, axis.x, axis.ideal, *cells)
    for line in remarks:
        yield from ("", line)


def measure_axis(name: str, settings: Settings, library: str) -> list[Point]:
    """Return for each point along an axis its value, its work and its seconds."""
    contender, seconds = next(iter(LIBRARIES[library].contenders)), str(settings.seconds / 4)
    if name != "threads":
        return child("scale", contender, name, "all", seconds, mode="all")["points"]
    points = []
    for count in thread_counts(cores()):
        (point,) = child("scale", contender, name, str(count), seconds, mode=str(count))["points"]
        points.append(point | {"threads": count})
    return points


def quickest(rounds: Sequence[Sequence[Point]]) -> list[Point]:
    """Return for each point along an axis the round in which it took the least time.

    One point that was disturbed, or measured while the cores were far apart, bends the whole fit.
    """
    return [min(found, key=itemgetter("seconds")) for found in zip(*rounds, strict=True)]


def cell(points: list[Point], x: str) -> str:
    """Return the exponent of the points and the times at both ends."""
    seconds = [point["seconds"] for point in points]
    ends = f"{milliseconds(seconds[0])} to {milliseconds(seconds[-1])}"
    if len(points) < 2:
        return f"- ({milliseconds(seconds[0])})"
    return f"{exponent([point[x] for point in points], seconds):.2f} ({ends})"
