"""The report in benchmarks/README.md: the part between two marks, as peers.py prints it."""

from __future__ import annotations

from collections.abc import Sequence

BEGIN = "<!-- the report of benchmarks/peers.py -->"
END = "<!-- end of the report -->"


def report_in(text: str) -> str:
    """Return what is between the marks.

    Raises
    ------
    ValueError
        The marks are not there, once each and in order.
    """
    _, begin, rest = text.partition(BEGIN)
    report, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the text needs {BEGIN!r} and then {END!r}, once each")
    return report


def replace_report(text: str, lines: Sequence[str]) -> str:
    """Return the text with these lines between the marks."""
    old = report_in(text)
    return text.replace(f"{BEGIN}{old}{END}", "\n".join([BEGIN, "", *lines, "", END]))


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
