"""The sections of peers.py: each runs contenders in turns and yields the lines of its table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from processes import HERE, MODES, in_turns, run_python
from workloads import TO_ACCURACY, WORKLOADS, Workload

Run = tuple[str, str]  # contender, and "one" or "all": its threads

ACCURACY = 0.98
LOSSES_ALIKE = 0.1  # relative deviations from their median above this are worth a warning
HOPELESS = 3.0  # what takes this many times the best peer's time is not run again


@dataclass(frozen=True)
class Library:
    """A column of the tables: its title, its distribution, its contenders and what they use."""

    title: str
    distribution: str
    contenders: dict[str, str]
    linear: dict[str, str] = field(default_factory=dict)  # for linear models of one output only


LIBRARIES = {
    "fastnn": Library("fastnn", "fastnn", {"fastnn": "Trainer"}),
    "sklearn": Library(
        "scikit-learn",
        "scikit-learn",
        {"sklearn": "MLPClassifier"},
        {"sklearn.Linear": "SGDClassifier"},
    ),
    "torch": Library("PyTorch", "torch", {"torch": "eager"}),
    "jax": Library("JAX", "jax", {"jax": "jitted epoch"}),
}


@dataclass
class Settings:
    """What to run, and for how long; `record` collects the raw figures for the JSON file."""

    libraries: list[str]
    workloads: list[str]
    rounds: int
    seconds: float
    record: dict[str, Any] = field(default_factory=dict)

    def runs(self, workload: Workload) -> list[Run]:
        """Return the contenders of the libraries that are installed, on one thread and on all."""
        linear = workload.binary and len(workload.widths) == 2
        return [
            (contender, mode)
            for name in self.libraries
            if find_spec(name) is not None
            for contender in LIBRARIES[name].contenders | (LIBRARIES[name].linear if linear else {})
            for mode in MODES
        ]


def library_of(run: Run) -> str:
    """Return the name of the library that a run belongs to."""
    return run[0].partition(".")[0]


def best_run(figures: dict[Run, float], library: str) -> Run | None:
    """Return the run of a library with the smallest figure, or None if it has none."""
    mine = [run for run in figures if library_of(run) == library]
    return min(mine, key=figures.__getitem__, default=None)


def child(*arguments: str, mode: str) -> dict[str, Any]:
    """Run contender.py and return what it reports."""
    output, _ = run_python([str(HERE / "contender.py"), *arguments], mode)
    return json.loads(output.splitlines()[-1])


def row(*cells: str) -> str:
    """Return a row of a Markdown table whose columns are about aligned."""
    return f"| {cells[0]:<40} | " + " | ".join(f"{cell:<13}" for cell in cells[1:]) + " |"


def heading(*titles: str) -> list[str]:
    """Return the first two rows of a Markdown table."""
    return ["", row(*titles), "|" + "---|" * len(titles)]


def milliseconds(seconds: float) -> str:
    """Return milliseconds with three digits."""
    value = 1e3 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def in_words(run: Run) -> str:
    """Return the threads of a run, for a cell."""
    return "1 thread" if run[1] == "one" else "all"


def missing(library: str) -> str:
    """Say why there is no figure of a library."""
    return "not installed" if find_spec(library) is None else "failed"


def explain(failures: dict[Run, str]) -> list[str]:
    """Return one line for each run that failed."""
    return [f"FAILED: {name}, threads: {mode}: {why}" for (name, mode), why in failures.items()]


def training(settings: Settings) -> Iterator[str]:
    """Time an epoch of every workload."""
    titles = [LIBRARIES[name].title for name in settings.libraries]
    yield from heading("ms an epoch (threads)", *titles, "best peer / fastnn", "loss, 2 epochs")
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
        figures = medians(results)
        cells, ratio = compare(figures, settings.libraries)
        if ratio is not None and not workload.dense:
            ratios[workload.title] = ratio
        warnings, losses = agree(results)
        remarks += [f"{workload.title}: {remark}" for remark in [*warnings, *explain(failures)]]
        notes = {report["note"] for reports in results.values() for report in reports} - {""}
        title = "; ".join([workload.title, *sorted(notes)])
        yield row(title, *cells, "-" if ratio is None else f"{ratio:.2f}", losses)
    yield ""
    yield from remarks
    if ratios:
        worst = min(ratios, key=ratios.__getitem__)
        mean = statistics.geometric_mean(ratios.values())
        yield f"Geometric mean {mean:.2f}, worst {ratios[worst]:.2f} ({worst})."
        settings.record["ratios"] = ratios


def medians(results: dict[Run, list[dict[str, Any]]]) -> dict[Run, float]:
    """Return the median over all epochs of all rounds, for each run that has some."""
    return {
        run: statistics.median(sum((report["epochs"] for report in reports), []))
        for run, reports in results.items()
        if reports
    }


def is_hopeless(results: dict[Run, list[dict[str, Any]]], run: Run) -> bool:
    """Say whether a peer's run is so far behind the best peer's that it need not be repeated."""
    figures = medians(results)
    peers = [seconds for other, seconds in figures.items() if library_of(other) != "fastnn"]
    return library_of(run) != "fastnn" and figures[run] > HOPELESS * min(peers)


def compare(figures: dict[Run, float], libraries: list[str]) -> tuple[list[str], float | None]:
    """Return the cell of each library, and the best peer's time over fastnn's."""
    cells = []
    best: dict[str, float] = {}
    for name in libraries:
        run = best_run(figures, name)
        if run is None:
            cells.append(missing(name))
            continue
        best[name] = figures[run]
        which = LIBRARIES[name].linear.get(run[0])
        how = f"{which}, {in_words(run)}" if which else in_words(run)
        cells.append(f"{milliseconds(best[name])} ({how})")
    peers = [seconds for name, seconds in best.items() if name != "fastnn"]
    return cells, min(peers) / best["fastnn"] if peers and "fastnn" in best else None


def agree(results: dict[Run, list[dict[str, Any]]]) -> tuple[list[str], str]:
    """Return warnings of losses that are unlike the others, and the cell that sums them up."""
    losses = {run: reports[0]["loss"] for run, reports in results.items() if reports}
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


def to_accuracy(settings: Settings) -> Iterator[str]:
    """Count epochs and seconds of training until MNIST's test data are well recognised."""
    yield from heading(f"{TO_ACCURACY.title}, to {ACCURACY:.0%}", "threads", "epochs", "seconds")
    results, failures = in_turns(
        settings.runs(TO_ACCURACY),
        1,
        lambda run: child("accuracy", run[0], run[1], str(ACCURACY), mode=run[1]),
    )
    reports = {run: found[0] for run, found in results.items() if found}
    settings.record["to_accuracy"] = list(reports.values())
    figures = {run: sum(report["epochs"]) for run, report in reports.items()}
    for name in settings.libraries:
        run = best_run(figures, name)
        if run is None:
            yield row(LIBRARIES[name].title, "-", "-", missing(name))
            continue
        report = reports[run]
        seconds = f"{figures[run]:.3g}"
        if report["accuracy"][-1] < ACCURACY:
            seconds += f", only {max(report['accuracy']):.2%}"
        title = "; ".join(filter(None, [LIBRARIES[name].title, report["note"]]))
        yield row(title, in_words(run), str(len(report["epochs"])), seconds)
    if failures:
        yield from ("", *explain(failures))
