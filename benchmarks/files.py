"""Rows in a file beside the same rows in memory, and a file five times the memory that there is.

``python benchmarks/files.py`` trains from both in turns, with the file in the page cache, and
prints the ratio of the shortest epochs: of a file that is known to be in the cache as a whole, and
of one that is gone through in pieces, as a file is that does not fit into it. ``--limit`` (as root,
on Linux with control groups of version 1) puts the process into a group of so many MiB, pages of
files included, and trains there on a file of five times that size: first read from the disk, then
in the page cache on another group's account, beside epochs from memory outside of the group.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastnn import SGD, Dense, Network, Trainer
from fastnn.inputs.pages import Pages

MEGABYTE = 1 << 20
EPOCHS = 4  # of a turn; the first of a fit may be slow, wherever the rows are
GROUPS = Path("/sys/fs/cgroup/memory")
# name -> rows, columns, layers, batch size
WORKLOADS = {
    "784-128-10, batch 64": (60_000, 784, [Dense(128, "relu"), Dense(10)], 64),
    "784-128-10, batch 512": (60_000, 784, [Dense(128, "relu"), Dense(10)], 512),
    "784-10, batch 32": (60_000, 784, [Dense(10)], 32),
    "20-32-16-2, batch 32": (1_000_000, 20, [Dense(32, "relu"), Dense(16, "relu"), Dense(2)], 32),
}


def write(path: Path, rows: int, columns: int) -> None:
    """Write rows of random numbers to a file, of which no page is in memory then."""
    random = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (rows, columns))
    for start in range(0, rows, 10_000):
        part = file[start : start + 10_000]
        part[:] = random.random(part.shape, np.float32)
    file.flush()
    del file
    forget(path)


def forget(path: Path) -> None:
    """Have the system forget the pages of a file."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare(folder: Path, turns: int) -> None:
    """Print the shortest epoch from memory and from a file, and their ratio."""
    print("| rows shuffled within a tenth | memory, ms | file, ms | memory / file | in pieces |")
    print("|---|---|---|---|---|")
    known = Pages.resident
    for name, (rows, columns, layers, batch_size) in WORKLOADS.items():
        path = folder / "rows.npy"
        write(path, rows, columns)
        labels = np.random.default_rng(1).integers(0, layers[-1].units, rows)
        sources = {"memory": np.load(path), "file": np.load(path, mmap_mode="r")}
        sources["pieces"] = np.load(path, mmap_mode="r")
        trainers = {
            source: Trainer(
                Network(columns, layers), optimizer=SGD(0.01), batch_size=batch_size,
                shuffle=rows // 10,
            )
            for source in sources
        }  # fmt: skip
        for _ in range(turns):
            for source, X in sources.items():
                Pages.resident = known if source == "file" else lambda pages: False
                trainers[source].fit(X, labels, EPOCHS)
        memory, file, pieces = (min(each.history.seconds) * 1e3 for each in trainers.values())
        print(
            f"| {name:28} | {memory:10.1f} | {file:8.1f} | {memory / file:13.2f} "
            f"| {memory / pieces:9.2f} |"
        )
    Pages.resident = known


def train_within(folder: Path, limit: int) -> None:
    """Train in a control group on a file of five times its memory, and print what it took."""
    columns = 100
    rows = 5 * limit // (4 * columns) + 1
    path = folder / "rows.npy"
    write(path, rows, columns)
    labels = np.random.default_rng(1).integers(0, 10, rows)
    network = Network(columns, [Dense(32, "relu"), Dense(10)])
    trainers = [Trainer(network, shuffle=rows // 100) for _ in range(3)]
    with group_of(limit) as group:
        trainers[0].fit(path, labels, epochs=2)
        trainers[0].predict(path)
        print(f"from the disk:  {described(path, limit, group)}, epochs of {seconds(trainers[0])}")
    forget(path)
    memory = np.load(path)  # which puts the file into the page cache
    trainers[1].fit(memory, labels, epochs=5)
    del memory
    with group_of(limit) as group:
        trainers[2].fit(path, labels, epochs=5)
        print(f"from the cache: {described(path, limit, group)}, epochs of {seconds(trainers[2])}")
    ratio = min(trainers[1].history.seconds) / min(trainers[2].history.seconds)
    print(f"from memory, without a limit: epochs of {seconds(trainers[1])}; ratio {ratio:.2f}")


@contextlib.contextmanager
def group_of(limit: int) -> Iterator[Path]:
    """Have this process in a control group of so many bytes meanwhile, below the one it is in."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    home = GROUPS / next(line.split(":")[2] for line in lines if ":memory:" in line).lstrip("/")
    group = home / f"fastnn-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield group
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def described(path: Path, limit: int, group: Path) -> str:
    """Return how large the file and the limit are, and how much the group has had at most."""
    most = int((group / "memory.max_usage_in_bytes").read_text())
    size = path.stat().st_size
    return (
        f"{size / MEGABYTE:.0f} MiB of rows within {limit / MEGABYTE:.0f} MiB "
        f"({most / MEGABYTE:.0f} at most)"
    )


def seconds(trainer: Trainer) -> str:
    """Return the seconds of each epoch."""
    return ", ".join(f"{each:.2f}" for each in trainer.history.seconds) + " s"


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="fits of each source")
    parser.add_argument("--limit", type=int, help="MiB of a control group")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.limit is None:
            compare(Path(folder), arguments.turns)
        else:
            train_within(Path(folder), arguments.limit * MEGABYTE)


if __name__ == "__main__":
    main()
