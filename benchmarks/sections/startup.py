"""What a process takes: a whole one to its first prediction, imports, the first on a machine."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from libraries import LIBRARIES, Run, Settings, best_run, explain, in_words, is_installed, missing
from markdown_tables import Table, milliseconds
from processes import HERE, ChildFailed, in_turns, run_python
from workloads import FIRST_TRAINING

from fastnn.storage.kernels.machine import processor

PROCESS_ROUNDS = 5
IMPORT_ROUNDS = 9
TIMED_IMPORT = "import time, numpy; s = time.perf_counter(); {}; print(time.perf_counter() - s)"

TEXT = """\
A whole process starts Python, imports, reads the digits, trains and predicts them. What a library
compiled and keeps on disk is there already, as in every process but the first: fastnn's kernels,
and JAX's, whose cache of compiled code is switched on."""


def tables(settings: Settings) -> list[Table]:
    """Return the outlines: whole processes, imports, empty and filled cache."""
    libraries = {name: LIBRARIES[name] for name in settings.libraries}
    return [
        Table(
            ("whole process: digits 64-100-10, 20 epochs", "threads", "ms"),
            {name: library.title for name, library in libraries.items()},
        ),
        Table(
            ("import, after NumPy", "ms"),
            {"package": "import fastnn"}
            | {name: library.statement for name, library in libraries.items()},
        ),
        Table(
            (
                "first process on a machine: import, 784-128-10, an epoch of 2,000 rows, predict",
                "CPU s",
            ),
            {
                "shipped": "fastnn, as installed",
                "compiled": "fastnn, compiled on first use",
                "sklearn": LIBRARIES["sklearn"].title,
            },
        ),
    ]


def measure(settings: Settings, whole: Table, imports: Table, first: Table) -> Iterator[str]:
    """Measure all three."""
    yield from whole_processes(settings, whole)
    yield from import_times(settings, imports)
    yield from first_training(settings, first)


def whole_processes(settings: Settings, table: Table) -> Iterator[str]:
    """Time whole processes that fit the embedded digits and predict them."""
    from fastnn.datasets import digits

    yield from table.head()
    X, y = digits()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "digits.npz"))
        np.savez(file, X=X, y=y)

        def run_once(run: Run) -> float:
            script = HERE / "contenders" / f"digits_{run[0]}.py"
            others = [] if script.exists() else [run[0]]
            command = script if script.exists() else script.with_name("digits_other.py")
            return run_python([str(command), file, *others], run[1])[1]

        runs: list[Run] = [
            (name, mode)
            for name in settings.libraries
            if is_installed(name)
            for mode in settings.modes
        ]
        with environment("JAX_COMPILATION_CACHE_DIR", folder):
            in_turns(runs, 1, run_once)  # kernels and files get into their caches
            results, failures = in_turns(runs, settings.times(PROCESS_ROUNDS), run_once)
    figures = {run: statistics.median(seconds) for run, seconds in results.items() if seconds}
    settings.record["process"] = {" ".join(run): seconds for run, seconds in results.items()}
    for name in settings.libraries:
        run = best_run(figures, name)
        cells = (in_words(run), milliseconds(figures[run])) if run else ("-", missing(name))
        yield table.line(name, *cells)
    for line in explain(failures):
        yield from ("", line)


def import_times(settings: Settings, table: Table) -> Iterator[str]:
    """Time imports in new processes that have imported NumPy already."""
    yield from table.head()

    def run_once(key: str) -> float:
        return float(run_python(["-P", "-c", TIMED_IMPORT.format(table.rows[key])])[0])

    keys = [key for key in table.rows if key == "package" or is_installed(key)]
    results, _ = in_turns(keys, settings.times(IMPORT_ROUNDS), run_once)
    settings.record["imports"] = {table.rows[key]: seconds for key, seconds in results.items()}
    for key in table.rows:
        seconds = results.get(key)
        yield table.line(key, milliseconds(statistics.median(seconds)) if seconds else missing(key))


def first_training(settings: Settings, table: Table) -> Iterator[str]:
    """Measure a first process's seconds of processor time, with its children; caches are empty."""
    yield from table.head()
    seconds = {}
    for key in table.rows:
        library = "sklearn" if key == "sklearn" else "fastnn"
        # With a processor of the user's choice nothing that is shipped fits.
        name = processor().cpu if key == "compiled" else ""
        with (
            tempfile.TemporaryDirectory() as folder,
            environment("FASTNN_CACHE_DIR", folder),
            environment("NUMBA_CPU_NAME", name),
        ):
            try:
                if library != "fastnn" and not is_installed(library):
                    raise ChildFailed(missing(library))
                seconds[key] = float(run_python(["-P", "-c", FIRST_TRAINING[library]])[0])
                yield table.line(key, f"{seconds[key]:.3g}")
            except ChildFailed as failure:
                yield table.line(key, f"failed: {failure}")
    settings.record["first process"] = seconds


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while, to "": unset it."""
    kept = os.environ.pop(name, None)
    if value:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if kept is not None:
            os.environ[name] = kept
