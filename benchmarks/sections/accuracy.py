"""Epochs and seconds of training until MNIST's test data are well recognised."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any

from libraries import (
    LIBRARIES,
    Run,
    Settings,
    best_run,
    child,
    explain,
    in_words,
    library_of,
    missing,
)
from markdown_tables import Table
from processes import in_turns
from workloads import TO_ACCURACY

ACCURACY = 0.98
QUICK_ACCURACY = 0.95
STARTS = 9  # first parameters, the same for every library
HOPELESS = 3.0  # what takes this many times the best time is not run from the other starts

TEXT = """\
Only training is on the clock, of a network already compiled. Seconds are the median of nine first
sets of parameters, the same for all, each with an order of rows of its own; what took three times
as long as the fastest from the first was not trained from the others. Epochs are those from each,
least first; they differ because each library shuffles in its own way."""


def target(settings: Settings) -> float:
    """Return the accuracy to reach."""
    return QUICK_ACCURACY if settings.quick else ACCURACY


def tables(settings: Settings) -> list[Table]:
    """Return the outline: a row for each library."""
    title = f"{TO_ACCURACY.title}, to {target(settings):.0%}"
    rows = {name: LIBRARIES[name].title for name in settings.libraries}
    return [Table((title, "threads", "epochs", "seconds"), rows)]


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Train every contender until it is good enough."""
    yield from table.head()
    wanted, turn = target(settings), Counter[Run]()

    def run_once(run: Run) -> dict[str, Any]:
        turn[run] += 1
        start = str(turn[run] - 1)
        return child("accuracy", run[0], run[1], str(wanted), start, mode=run[1])

    starts = 1 if settings.quick else STARTS
    results, failures = in_turns(settings.runs(TO_ACCURACY), starts, run_once, is_hopeless)
    settings.record["to_accuracy"] = sum(results.values(), [])
    figures = medians(results)
    for name in settings.libraries:
        run = best_run(figures, name)
        if run is None:
            yield table.line(name, "-", "-", missing(name))
            continue
        reports = results[run]
        seconds = f"{figures[run]:.3g}" if math.isfinite(figures[run]) else "-"
        highest = max(max(report["accuracy"]) for report in reports)
        if not all(report["reached"] for report in reports):
            seconds += f", at best {highest:.2%}"
        epochs = ", ".join(map(str, sorted(len(report["epochs"]) for report in reports)))
        how = in_words(run, LIBRARIES[name].ways(TO_ACCURACY))
        yield table.line(name, how, epochs, seconds, note=reports[0]["note"])
    for line in explain(failures):
        yield from ("", line)


def medians(results: dict[Run, list[dict[str, Any]]]) -> dict[Run, float]:
    """Return the median over the starts of the seconds of all epochs, for each run that has some.

    What has not been good enough in the end has taken longer than anything else.
    """
    return {
        run: statistics.median(
            sum(report["epochs"]) if report["reached"] else math.inf for report in reports
        )
        for run, reports in results.items()
        if reports
    }


def is_hopeless(results: dict[Run, list[dict[str, Any]]], run: Run) -> bool:
    """Return whether a peer's run is so far behind the best that it need not be repeated."""
    figures = medians(results)
    return library_of(run) != "fastnn" and figures[run] > HOPELESS * min(figures.values())
