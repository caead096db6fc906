"""What gpu.py trains and has to reach: the rows of its table, its tasks, their shares of time.

A row is a workload in one precision. What each has to reach is a ratio of times: A and B against
PyTorch with CUDA graphs, C against the fastest PyTorch there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from workloads import TO_ACCURACY, WORKLOADS, Workload

MODELS = 1024
AIM = 0.98  # the test accuracy of D
TOTAL_SECONDS = 450.0  # of the 480 that the whole command may take


@dataclass(frozen=True)
class Row:
    """A row of the table: its title, what is trained, and what it has to reach, if anything."""

    title: str
    part: str
    workload: Workload
    precision: str = "float32"
    models: int = 1
    reach: float | None = None
    against: str = "graphs"  # or "best", the fastest PyTorch


_WIDE = Workload("wide-4096", (2048, 2048, 2048, 10), 4096, 65_536, 0.01)
ROWS = {
    "A64": Row("A: 784-128-10, batch 64", "A", WORKLOADS["dense-64"], reach=5),
    "A512": Row("A: 784-128-10, batch 512", "A", WORKLOADS["dense-512"], reach=5),
    "B": Row("B: 20-32-16-2, batch 32", "B", WORKLOADS["tiny"], reach=5),
    "B1024": Row(
        f"B: {MODELS} at once, time of one", "B", WORKLOADS["tiny"], models=MODELS, reach=500
    ),
    "C-float32": Row("C: 2048-2048-2048-10, batch 4096", "C", _WIDE, reach=0.85, against="best"),
    "C-tf32": Row("C: tf32", "C", _WIDE, "tf32", reach=0.6, against="best"),
    "C-bfloat16": Row("C: bfloat16", "C", _WIDE, "bfloat16", against="best"),
    "D": Row("D: MNIST to 98 %, 784-256-10, batch 128", "D", TO_ACCURACY, against="best"),
}


@dataclass(frozen=True)
class Task:
    """What one child process does: a part of the benchmark by one contender."""

    part: str
    contender: str  # "fastnn", "torch" or "compile"
    seconds: float  # its share of the time

    def __str__(self) -> str:
        """Name the task for a line of progress."""
        return f"{self.part} {self.contender}"


# What matters most comes first: what a task leaves over is for those after it.
TASKS = (
    Task("check", "fastnn", 95),
    Task("limits", "torch", 25),
    Task("A", "fastnn", 30),
    Task("A", "torch", 35),
    Task("B", "fastnn", 30),
    Task("B", "torch", 25),
    Task("C", "fastnn", 50),  # kernels of three precisions compile
    Task("C", "torch", 30),
    Task("D", "fastnn", 15),
    Task("D", "torch", 15),
    Task("A", "compile", 40),
    Task("B", "compile", 25),
    Task("C", "compile", 35),
)
CONTENDERS = ("fastnn", "torch", "compile")
PARTS = list(dict.fromkeys(task.part for task in TASKS))


def rows_of(part: str, device: str) -> dict[str, Row]:
    """Return the rows of a part; small ones on "cpu", where the script itself is tried."""
    rows = {key: row for key, row in ROWS.items() if row.part == part}
    return rows if device == "cuda" else {key: smaller(row) for key, row in rows.items()}


def smaller(row: Row) -> Row:
    """Return a row that a processor trains in a moment."""
    workload, models = row.workload, min(row.models, 8)
    if row.part == "C":
        workload = replace(workload, widths=(64, 64, 64, 10), batch=128, rows=1024)
    elif row.part != "D":
        workload = replace(workload, rows=20 * workload.batch)
    return replace(row, workload=workload, models=models)


def steps(workload: Workload) -> int:
    """Return the steps of an epoch."""
    return -(-workload.rows // workload.batch)


def step_operations(workload: Workload) -> int:
    """Return the floating-point operations of the products of a step, as fastnn counts them."""
    pairs = list(zip(workload.widths[:-1], workload.widths[1:], strict=True))
    products = sum((3 if index else 2) * k * n for index, (k, n) in enumerate(pairs))
    return 2 * workload.batch * products
