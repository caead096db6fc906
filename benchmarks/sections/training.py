"""Seconds an epoch of every workload, side by side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any

from axes import multiply_adds
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
from markdown_tables import Table, milliseconds
from processes import MODES, cores, in_turns, thread_count
from products import FLOAT32, peak
from workloads import WORKLOADS, Workload

LOSSES_ALIKE = 0.1  # relative deviations from their median above this are worth a warning
HOPELESS = 3.0  # what takes this many times the best peer's time is not run again

PEAK_SECONDS = 0.5

TEXT = """\
Times are medians; the ratio beside is that of the fastest epochs. The share is that of the
arithmetic of an epoch, done in fastnn's fastest one, in what multiply-adds in registers alone
reach, measured before the first row. Inputs are random, without a zero, but for MNIST, which is not
in the mean: the first layer leaves out columns of X that are zero in all of 64 rows or so, which
changes no result, there those of the empty margin."""


def tables(settings: Settings) -> list[Table]:
    """Return the outline: a row for each workload, a column for each library."""
    titles = [LIBRARIES[name].title for name in settings.libraries]
    return [
        Table(
            (
                "ms an epoch (threads)",
                *titles,
                "best peer / fastnn",
                "by fastest epochs",
                "of the peak, 1 thread",
                "all threads",
                "loss, 2 epochs",
            ),
            {name: WORKLOADS[name].title for name in settings.workloads},
        )
    ]


def measure(settings: Settings, table: Table) -> Iterator[str]:
    """Time an epoch of every workload."""
    yield from table.head()
    teams = {mode: thread_count(mode) or cores() for mode in settings.modes}
    peaks = {mode: peak(FLOAT32, team, PEAK_SECONDS) for mode, team in teams.items()}
    settings.record["peak_gflops"] = peaks
    ratios: dict[str, float] = {}
    remarks: list[str] = []
    for name in settings.workloads:
        workload = WORKLOADS[name]

        def run_once(run: Run, name: str = name) -> dict[str, Any]:
            return child("time", run[0], name, run[1], str(settings.seconds), mode=run[1])

        results, failures = in_turns(
            settings.runs(workload), settings.rounds, run_once, is_hopeless
        )
        settings.record.setdefault("training", []).extend(sum(results.values(), []))
        best = best_figures(medians(results), settings.libraries)
        quickest = fastest(results)
        settings.record.setdefault("epoch_seconds", {})[workload.title] = {
            library: seconds for library, (_, seconds) in best.items()
        }
        ratio = ratio_of(best)
        other = ratio_of(best_figures(quickest, settings.libraries))
        if ratio is not None and not workload.is_mnist:
            ratios[workload.title] = ratio
        warnings, losses = agree(results)
        remarks += [f"{workload.title}: {remark}" for remark in [*warnings, *explain(failures)]]
        notes = {report["note"] for reports in results.values() for report in reports} - {""}
        cells = [cell(workload, library, best) for library in settings.libraries]
        cells += ["-" if each is None else f"{each:.2f}" for each in (ratio, other)]
        cells += [
            share(workload, quickest.get(("fastnn", mode)), peaks.get(mode)) for mode in MODES
        ]
        yield table.line(name, *cells, losses, note="; ".join(sorted(notes)))
    for remark in remarks:
        yield from ("", remark)
    if ratios:
        worst = min(ratios, key=ratios.__getitem__)
        mean = statistics.geometric_mean(ratios.values())
        yield ""
        yield f"Geometric mean without MNIST {mean:.2f}, worst {ratios[worst]:.2f} ({worst})."
        settings.record["ratios"] = ratios


def medians(results: dict[Run, list[dict[str, Any]]]) -> dict[Run, float]:
    """Return the median over all epochs of all rounds, for each run that has some."""
    return {
        run: statistics.median(sum((report["epochs"] for report in reports), []))
        for run, reports in results.items()
        if reports
    }


def fastest(results: dict[Run, list[dict[str, Any]]]) -> dict[Run, float]:
    """Return the least over all epochs of all rounds, for each run that has some."""
    return {
        run: min(min(report["epochs"]) for report in reports)
        for run, reports in results.items()
        if reports
    }


def share(workload: Workload, seconds: float | None, gflops: float | None) -> str:
    """Return the share of the peak that an epoch's arithmetic reached; MNIST's is not all done."""
    if seconds is None or gflops is None or workload.is_mnist:
        return "-"
    return f"{2e-9 * multiply_adds(workload) / seconds / gflops:.0%}"


def is_hopeless(results: dict[Run, list[dict[str, Any]]], run: Run) -> bool:
    """Return whether a peer's run is so far behind the best peer's that it need not be repeated."""
    figures = medians(results)
    peers = [seconds for other, seconds in figures.items() if library_of(other) != "fastnn"]
    return library_of(run) != "fastnn" and figures[run] > HOPELESS * min(peers)


def best_figures(figures: dict[Run, float], libraries: list[str]) -> dict[str, tuple[Run, float]]:
    """Return the best run of each library that has one, and its seconds."""
    best = {name: best_run(figures, name) for name in libraries}
    return {name: (run, figures[run]) for name, run in best.items() if run is not None}


def ratio_of(best: dict[str, tuple[Run, float]]) -> float | None:
    """Return the best peer's time over fastnn's, or None where one of them is missing."""
    peers = [seconds for name, (_, seconds) in best.items() if name != "fastnn"]
    return min(peers) / best["fastnn"][1] if peers and "fastnn" in best else None


def cell(workload: Workload, library: str, best: dict[str, tuple[Run, float]]) -> str:
    """Return the time of a library with how it was reached, or why there is none."""
    if library not in best:
        return missing(library)
    run, seconds = best[library]
    return f"{milliseconds(seconds)} ({in_words(run, LIBRARIES[library].ways(workload))})"


def agree(results: dict[Run, list[dict[str, Any]]]) -> tuple[list[str], str]:
    """Return warnings of losses that are unlike the others, and the cell that sums them up."""
    losses = {run: reports[0]["loss"] for run, reports in results.items() if reports}
    losses = {run: loss for run, loss in losses.items() if not math.isnan(loss)}
    if not losses:
        return [], "-"
    middle = statistics.median(losses.values())
    off = {run: abs(loss / middle - 1) for run, loss in losses.items()}
    warnings = [
        f"LOSS DIFFERS: {run[0]}, threads: {run[1]}: {losses[run]:.4g}, median {middle:.4g}"
        for run, deviation in off.items()
        if not deviation <= LOSSES_ALIKE
    ]
    return warnings, f"{middle:.3g} ± {max(off.values()):.1%}"
