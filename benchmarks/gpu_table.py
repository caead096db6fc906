"""What gpu.py prints of its records: the verdict of the checks, the limits, and the one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gpu_limits import floor_seconds
from gpu_workloads import ROWS, Row
from markdown_tables import Table

Record = dict[str, Any]
WAYS = {  # of PyTorch, with the titles of their columns
    "eager": "eager",
    "graphs": "graphs",
    "long graphs": "32-step graphs",
    "compiled": "compiled",
    "compiled graphs": "compiled, graphs",
}
TITLES = ("microseconds a step", "fastnn", *WAYS.values(), "at the limits", "ratio", "to reach")
NOTES = (
    "Times are medians of epochs with the data on the device, the order of each epoch made anew.",
    "At the limits: A two barriers of the grid a step, or its products; B its products on one",
    "multiprocessor, or on all; C its products, all at the rate of torch.matmul. Of many models",
    "the ratio is to PyTorch's graphs of one after another; its columns are of batched products.",
)
LOSSES_APART = 0.1  # relative; orders differ, and so do losses a little
TABLE = Table(TITLES, {key: row.title for key, row in ROWS.items()})


def figures(records: Sequence[Record]) -> dict[tuple[str, str], float]:
    """Return the seconds by row and way."""
    return {
        (each["row"], each["way"]): each["seconds"]
        for each in records
        if each.get("kind") == "figure" and "seconds" in each
    }


def limits_of(records: Sequence[Record]) -> dict[str, float]:
    """Return the measured limits by name."""
    return {
        each["name"]: each["value"]
        for each in records
        if each.get("kind") == "limit" and "value" in each
    }


def opponent(key: str, found: dict[tuple[str, str], float]) -> float | None:
    """Return the seconds of the PyTorch that a row is measured by, or None where there are none.

    Many models are measured by one after another, each on graphs.
    """
    row = ROWS[key]
    if row.models > 1:
        return found.get(("B", "graphs"))
    if row.against == "graphs":
        return found.get((key, "graphs"))
    return min((found[key, way] for way in WAYS if (key, way) in found), default=None)


def ratio(key: str, found: dict[tuple[str, str], float]) -> float | None:
    """Return how many times faster fastnn is than its opponent, or None where one is missing."""
    mine, other = found.get((key, "fastnn")), opponent(key, found)
    return None if mine is None or other is None else other / mine


def aim(row: Row, reached: float | None) -> str:
    """Return what a row has to reach, and whether it does."""
    if row.reach is None:
        return "-"
    verdict = "" if reached is None else ", met" if reached >= row.reach else ", missed"
    what = "graphs" if row.against == "graphs" else "the best"
    return f"{row.reach:g} x {what}{verdict}"


def cell(seconds: float | None, key: str) -> str:
    """Return a time for a cell, in microseconds, of D in seconds."""
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if key == "D" else f"{1e6 * seconds:.4g}"


def table(records: Sequence[Record], multiprocessors: int, parts: Sequence[str]) -> list[str]:
    """Return the lines of the table, with the rows of these parts."""
    found, limits = figures(records), limits_of(records)
    lines = TABLE.head()
    for key, row in ROWS.items():
        if row.part in parts:
            reached = ratio(key, found)
            cells = [cell(found.get((key, way)), key) for way in ("fastnn", *WAYS)]
            floor = floor_seconds(row, limits, multiprocessors)
            times = "-" if reached is None else f"{reached:.3g}"
            lines.append(TABLE.line(key, *cells, cell(floor, key), times, aim(row, reached)))
    return lines


def limit_lines(records: Sequence[Record]) -> Iterator[str]:
    """Yield a line for each limit."""
    for name, value in limits_of(records).items():
        what, unit = name.rsplit(", ", 1)
        number = f"{1e6 * value:.3g} us" if unit == "s" else f"{value / 1e12:.3g} T{unit}"
        yield f"Measured limit: {what} {number}."


def check_lines(records: Sequence[Record]) -> Iterator[str]:
    """Yield a line for each family and dtype, and one for each case that failed."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for each in records:
        if each.get("kind") == "check":
            groups.setdefault((each["family"], each["dtype"]), []).append(each)
    for (family, dtype), own in groups.items():
        taken = [each for each in own if "left_out" not in each]
        good = [each for each in taken if not each["failure"]]
        largest = max((each["error"] for each in good), default=0.0)
        left = f", {len(own) - len(taken)} it does not take" * (len(taken) < len(own))
        yield (
            f"Checks: {family}, {dtype}: {len(good)} of {len(taken)} as the NumPy target has it"
            f"{left}; largest error {largest:.1e}."
        )
        for each in taken:
            if each["failure"]:
                yield f"FAILED: {family}, {dtype}, {each['case']}: {each['failure']}"


def failures(records: Sequence[Record], checked: bool) -> Iterator[str]:
    """Yield what went wrong: cases, figures, limits; `checked` says whether there were checks.

    A family that takes no case at all, or of which no case had time, is a failure too.
    """
    checks = [each for each in records if each.get("kind") == "check"]
    for each in records:
        if each.get("failure"):
            names = (each.get(name) for name in ("family", "dtype", "case", "row", "way", "name"))
            yield f"{', '.join(filter(None, names))}: {each['failure']}"
    families = dict.fromkeys(each["family"] for each in checks)
    for family in families:
        if all("left_out" in each for each in checks if each["family"] == family):
            yield f"{family}: takes none of the cases"
    ends = [each for each in records if each.get("kind") == "checked"]
    if checked and not ends:
        yield "the checks did not come to their end"
    for each in ends:
        yield from (f"{family}: no case had time" for family in each["unseen"])


def warnings(records: Sequence[Record]) -> Iterator[str]:
    """Yield notes of the parts, and rows where the ways to train came to different losses."""
    yield from (
        f"{each['without_time']} cases of the checks had no time to compile; "
        "--parts check --seconds 3600 has more"
        for each in records
        if each.get("without_time")
    )
    yield from (f"{ROWS[each['row']].title}: {each['note']}" for each in records if "note" in each)
    losses: dict[str, dict[str, float]] = {}
    for each in records:
        if each.get("kind") == "figure" and "loss" in each and ROWS[each["row"]].models == 1:
            losses.setdefault(each["row"], {})[each["way"]] = each["loss"]
    for key, own in losses.items():
        if max(own.values()) - min(own.values()) > LOSSES_APART * abs(min(own.values())):
            shown = ", ".join(f"{way} {loss:.3g}" for way, loss in own.items())
            yield f"{ROWS[key].title}: losses after two epochs are apart: {shown}"
