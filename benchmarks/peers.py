"""fastnn side by side with scikit-learn, PyTorch and JAX, on the machine at hand.

Every contender trains in a process of its own, on one thread and on as many as it likes; its better
median counts. All make the same steps: the same data and first parameters, an order drawn anew for
each epoch, the last short batch used. They run in turns, so that noise meets all of them alike; a
peer that takes three times as long as the best one is not run again after the first round.

What they train is in workloads.py, what each does in contender.py and contenders/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from processes import HERE, MODES, in_turns, run_python
from tables import (
    LIBRARIES,
    Run,
    Settings,
    best_run,
    explain,
    heading,
    in_words,
    milliseconds,
    missing,
    row,
    to_accuracy,
    training,
)
from workloads import FIRST_TRAINING, WORKLOADS

DIGITS_ROUNDS = 5
IMPORT_ROUNDS = 9


def gemm_table() -> Iterator[str]:
    """Yield the table of matrix products alone, beside the FMA peak measured in the same run."""
    yield "### matrix products alone"
    yield ""
    if find_spec("fastnn") is None:
        yield missing("fastnn")
        return
    from gemm import lines

    yield from lines()


def digits(settings: Settings) -> Iterator[str]:
    """Time whole processes that fit the embedded digits and predict them."""
    yield from heading("whole process: digits 64-100-10, 20 epochs", "threads", "ms")
    if find_spec("fastnn") is None:
        yield row("fastnn", "-", missing("fastnn"))
        return
    from fastnn.datasets import digits as embedded

    X, y = embedded()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "digits.npz"))
        np.savez(file, X=X, y=y)

        def run_once(run: Run) -> float:
            return run_python([str(HERE / "contenders" / f"digits_{run[0]}.py"), file], run[1])[1]

        runs: list[Run] = [
            (name, mode)
            for name in ("fastnn", "sklearn")
            if name in settings.libraries and find_spec(name) is not None
            for mode in MODES
        ]
        in_turns(runs, 1, run_once)  # kernels and files get into their caches
        results, failures = in_turns(runs, DIGITS_ROUNDS, run_once)
    figures = {run: statistics.median(seconds) for run, seconds in results.items() if seconds}
    settings.record["digits"] = {" ".join(run): seconds for run, seconds in results.items()}
    for name in ("fastnn", "sklearn"):
        run = best_run(figures, name)
        cells = (in_words(run), milliseconds(figures[run])) if run else ("-", missing(name))
        yield row(LIBRARIES[name].title, *cells)
    if failures:
        yield from ("", *explain(failures))


def imports(settings: Settings) -> Iterator[str]:
    """Time the imports of fastnn in new processes that have imported NumPy already."""
    yield from heading("import, after NumPy", "ms")
    statements = ("import fastnn", "from fastnn import Trainer")
    timed = "import time, numpy; s = time.perf_counter(); {}; print(time.perf_counter() - s)"

    def run_once(statement: str) -> float:
        return float(run_python(["-P", "-c", timed.format(statement)])[0])

    results, _ = in_turns(statements, IMPORT_ROUNDS, run_once)
    settings.record["imports"] = results
    for statement, seconds in results.items():
        yield row(statement, milliseconds(statistics.median(seconds)) if seconds else "failed")


def compilation(settings: Settings) -> Iterator[str]:
    """Time the first training on a machine: a process whose cache of kernels is empty."""
    yield from heading("first training on a machine: kernels compiled", "seconds")
    if find_spec("fastnn") is None:
        yield row("fastnn", missing("fastnn"))
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = os.environ.get("FASTNN_CACHE_DIR")
        os.environ["FASTNN_CACHE_DIR"] = folder
        try:
            runs = [run_python(["-P", "-c", FIRST_TRAINING]) for _ in ("empty", "filled")]
        finally:
            os.environ.pop("FASTNN_CACHE_DIR")
            if kept is not None:
                os.environ["FASTNN_CACHE_DIR"] = kept
    seconds = [each for _, each in runs]
    settings.record["compilation"] = seconds
    yield row("empty cache", f"{seconds[0]:.3g}")
    yield row("second process", f"{seconds[1]:.3g}")


SECTIONS = {
    "training": training,
    "gemm": lambda settings: gemm_table(),
    "digits": digits,
    "import": imports,
    "compile": compilation,
    "accuracy": to_accuracy,
}


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version_of(library: str) -> str:
    """Return the title of a library and its version."""
    known = LIBRARIES.get(library)
    title, distribution = (known.title, known.distribution) if known else (library, library)
    try:
        return f"{title} {version(distribution)}"
    except PackageNotFoundError:
        return f"{title} {'not installed' if find_spec(library) is None else 'from its sources'}"


def machine(libraries: list[str]) -> Iterator[str]:
    """Yield what the figures depend on: machine, versions, date, command."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"    python benchmarks/peers.py {' '.join(sys.argv[1:])}".rstrip()
    yield ""
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    yield f"{date.today()}; {processor()}, {cores} cores{load}; {platform.system()};"
    versions = map(version_of, ["numpy", "numba", *libraries])
    yield ", ".join([f"Python {platform.python_version()}", *versions]) + "."


def listed(known: list[str]) -> Callable[[str], list[str]]:
    """Return the parser of an option that takes known names with commas between them."""

    def parse_names(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return chosen

    return parse_names


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    peers = [name for name in LIBRARIES if name != "fastnn"]

    parser.add_argument(
        "--only",
        nargs="+",
        choices=WORKLOADS,
        default=list(WORKLOADS),
        metavar="NAME",
        help=f"workloads, from {' '.join(WORKLOADS)}; default: all",
    )
    for option, known in (("--peers", peers), ("--sections", list(SECTIONS))):
        parser.add_argument(
            option,
            type=listed(known),
            default=known,
            metavar="NAME,...",
            help=f"some of {','.join(known)}; default: all",
        )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--epochs-seconds", type=float, default=2.0, help="of timed epochs in a process"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures there")
    parser.add_argument(
        "--quick", action="store_true", help="one round of 0.3 s: a look, no measurement"
    )
    return parser.parse_args()


def main() -> None:
    """Print the header and the sections, as they come."""
    chosen = parse()
    settings = Settings(
        libraries=["fastnn", *chosen.peers],
        workloads=chosen.only,
        rounds=1 if chosen.quick else chosen.rounds,
        seconds=0.3 if chosen.quick else chosen.epochs_seconds,
    )
    header = list(machine(settings.libraries))
    print("\n".join(header), flush=True)
    for name in chosen.sections:
        for line in SECTIONS[name](settings):
            print(line, flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": header, **settings.record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
