"""Epochs and seconds of training until MNIST's test data are well recognised."""

from __future__ import annotations

from collections.abc import Iterator

from libraries import LIBRARIES, Settings, best_run, child, explain, in_words, missing
from markdown_tables import Table
from processes import in_turns
from workloads import TO_ACCURACY

ACCURACY = 0.98
QUICK_ACCURACY = 0.95

TEXT = """\
Only training is on the clock, of a network already compiled. The epochs differ because each library
shuffles in its own way."""


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
    wanted = target(settings)
    results, failures = in_turns(
        settings.runs(TO_ACCURACY),
        1,
        lambda run: child("accuracy", run[0], run[1], str(wanted), mode=run[1]),
    )
    reports = {run: found[0] for run, found in results.items() if found}
    settings.record["to_accuracy"] = list(reports.values())
    figures = {run: sum(report["epochs"]) for run, report in reports.items()}
    for name in settings.libraries:
        run = best_run(figures, name)
        if run is None:
            yield table.line(name, "-", "-", missing(name))
            continue
        report = reports[run]
        seconds = f"{figures[run]:.3g}"
        if report["accuracy"][-1] < wanted:
            seconds += f", only {max(report['accuracy']):.2%}"
        how = in_words(run, LIBRARIES[name].ways(TO_ACCURACY))
        yield table.line(name, how, str(len(report["epochs"])), seconds, note=report["note"])
    for line in explain(failures):
        yield from ("", line)
