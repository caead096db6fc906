"""The reports in benchmarks/README.md: what is between two marks, as a script prints it."""

from __future__ import annotations

from collections.abc import Sequence

BEGIN = "<!-- the report of benchmarks/peers.py -->"
END = "<!-- end of the report -->"
Marks = tuple[str, str]
OF_PEERS: Marks = (BEGIN, END)
OF_TABLES: Marks = ("<!-- the report of benchmarks/tabular.py -->", "<!-- end of the tables -->")


def report_in(text: str, marks: Marks = OF_PEERS) -> str:
    """Return what is between the marks.

    Raises
    ------
    ValueError
        The marks are not there, once each and in order.
    """
    first, last = marks
    _, begin, rest = text.partition(first)
    report, end, after = rest.partition(last)
    if not begin or not end or first in rest or last in after:
        raise ValueError(f"the text needs {first!r} and then {last!r}, once each")
    return report


def replace_report(text: str, lines: Sequence[str], marks: Marks = OF_PEERS) -> str:
    """Return the text with these lines between the marks."""
    first, last = marks
    old = report_in(text, marks)
    return text.replace(f"{first}{old}{last}", "\n".join([first, "", *lines, "", last]))


def tables_in(text: str) -> list[list[list[str]]]:
    """Return the tables of a Markdown text: the cells of each row, without the line of dashes."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif not inside:
            tables.append([cells(line)])
            inside = True
        elif not set(line) <= set("|-"):
            tables[-1].append(cells(line))
    return tables


def cells(line: str) -> list[str]:
    """Return the cells of a row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
