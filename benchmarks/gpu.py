"""The CUDA target on the device at hand: is it right, and how fast is it? In under eight minutes.

First every family of kernels is checked against the NumPy target. Then fastnn is timed beside
PyTorch (eager, with CUDA graphs, by torch.compile, by both), and beside what the device can do at
best: copies, products of matrices, barriers of a whole grid. (A) 784-128-10 on random data shaped
as MNIST; (B) 20-32-16-2, one model and 1024 at once; (C) 2048-2048-2048-10 in three precisions; (D)
seconds to 98 % on MNIST, if FASTNN_DATA names its folder. Each task is a process of its own with a
share of the time, so that one that fails or hangs takes nothing else along. PyTorch is optional.

Ends with 0, with 1 if anything failed, with 2 where there is no device.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import date
from typing import Any

from gpu_table import NOTES, check_lines, failures, limit_lines, table, warnings
from gpu_tasks import Budget, run_task
from gpu_workloads import CONTENDERS, PARTS, TASKS, TOTAL_SECONDS, Task
from libraries import is_installed
from options import check_data_folder, listed, positive, writable
from peers import processor, version_of


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=writable, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--parts",
        type=listed(PARTS),
        default=PARTS,
        metavar="NAME,...",
        help=f"some of {','.join(PARTS)}; default: all",
    )
    parser.add_argument(
        "--contenders",
        type=listed(CONTENDERS),
        default=CONTENDERS,
        metavar="NAME,...",
        help=f"some of {','.join(CONTENDERS)}, the last of which is torch.compile; default: all",
    )
    parser.add_argument(
        "--seconds",
        type=positive(float),
        default=TOTAL_SECONDS,
        help="of all together; default: %(default)g",
    )
    parser.add_argument(
        "--device",
        type=device,
        default="cuda",
        metavar="NAME",
        help="cuda (default), cuda:1 and so on, or cpu: small problems on the processor, to try "
        "this script;\nits figures say nothing",
    )
    parser.add_argument(
        "--compile-for",
        type=compute_device,
        metavar="CAPABILITY,SMS,BYTES",
        help="measure nothing: compile the kernels for a device that need not be here into\n"
        "FASTNN_CACHE_DIR; 9.0,132,232448 is an H100 or H200",
    )
    chosen = parser.parse_args(arguments)
    check_data_folder(parser)
    return chosen


def device(name: str) -> str:
    """Return "cuda" or "cpu"; where a name has a number, no other device is seen from now on.

    So it is the first one to all libraries, in the processes of all tasks.
    """
    from fastnn.targets.selection import parse as parse_target

    try:
        kind, number = parse_target(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if kind not in ("cuda", "cpu"):
        raise argparse.ArgumentTypeError("cuda, cuda:N or cpu")
    if number is not None:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        every = shown.split(",") if shown else [str(each) for each in range(number + 1)]
        if number >= len(every):
            raise argparse.ArgumentTypeError(f"CUDA_VISIBLE_DEVICES={shown} shows {len(every)}")
        os.environ["CUDA_VISIBLE_DEVICES"] = every[number]
    return kind


def compute_device(text: str) -> Any:
    """Return the limits of a device in words."""
    from gpu_compile import limits_of

    try:
        return limits_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def missing() -> str:
    """Return why kernels cannot run on a device here, "" where they can."""
    from fastnn.targets.cuda.host import availability

    if availability.simulated():
        return "NUMBA_ENABLE_CUDASIM is set, and the simulator is no device"
    return availability.unavailable()


def tasks_of(
    parts: Sequence[str], torch: bool, contenders: Sequence[str] = CONTENDERS
) -> list[Task]:
    """Return the tasks of these parts and contenders; without PyTorch only those of fastnn."""
    able = [each for each in contenders if torch or each == "fastnn"]
    return [task for task in TASKS if task.part in parts and task.contender in able]


def header(arguments: Sequence[str]) -> list[str]:
    """Return what the figures depend on: command, date, device, machine, versions."""
    from fastnn.targets.cuda.host import availability

    said = availability.driver()
    distributions = {
        "fastnn": "fastnn",
        "NumPy": "numpy",
        "Numba": "numba",
        "numba-cuda": "numba-cuda",
        "PyTorch": "torch",
    }
    versions = (version_of(*each) for each in distributions.items())
    return [
        f"    python benchmarks/gpu.py {' '.join(arguments)}".rstrip(),
        "",
        f"{date.today()}; {'; '.join(map(str, said.devices)) or 'no device'};",
        f"driver {said.version or 'unknown'} for CUDA up to {said.cuda_text}; {processor()};",
        ", ".join([f"Python {platform.python_version()}", *versions]) + ".",
        "",
    ]


def multiprocessors() -> int:
    """Return how many multiprocessors the device has; 1 where there is none."""
    from fastnn.targets.cuda.host import availability

    return next((device.multiprocessors for device in availability.devices()), 1)


def measure(
    tasks: Sequence[Task], device: str, seconds: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run all tasks in time; return their records, and a line for each that failed."""
    records: list[dict[str, Any]] = []
    failed: list[str] = []
    budget = Budget(tasks, seconds)
    for task in tasks:
        outcome = run_task(task, device, budget.left(task))
        records += outcome.records
        ending = f"FAILED: {outcome.error}" if outcome.error else "done"
        print(f"{task}: {ending} ({outcome.seconds:.1f} s)", flush=True)
        if outcome.error:
            failed.append(f"{task}: {outcome.error}")
    return records, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; print the table, write the file, return the exit code."""
    start = time.monotonic()
    given = sys.argv[1:] if arguments is None else list(arguments)
    chosen = parse(given)
    if chosen.compile_for is not None:
        from gpu_compile import compile_for

        failed = compile_for(chosen.compile_for, chosen.parts, chosen.seconds)
        print("\n".join(f"FAILED: {each}" for each in failed))
        return 1 if failed else 0
    if chosen.device == "cuda" and (why := missing()):
        print(f"gpu.py needs a CUDA device: {why}", file=sys.stderr)
        return 2
    head = header(given)
    print("\n".join(head), flush=True)
    torch = is_installed("torch")
    if not torch:
        print("PyTorch is not installed: fastnn is timed alone, without the limits.", flush=True)
    tasks = tasks_of(chosen.parts, torch, chosen.contenders)
    records, failed = measure(tasks, chosen.device, chosen.seconds)
    failed += failures(records, "check" in chosen.parts)
    lines = [
        "",
        *check_lines(records),
        *limit_lines(records),
        *table(records, multiprocessors(), chosen.parts),
        "",
        *(f"Note: {each}." for each in warnings(records)),
        *NOTES,
        *(f"FAILED: {each}" for each in failed),
        f"All of it took {time.monotonic() - start:.0f} s.",
    ]
    print("\n".join(lines))
    if chosen.json:
        content = {"machine": head, "records": records, "failures": failed, "lines": lines}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
