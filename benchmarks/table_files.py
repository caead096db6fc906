"""Rows in Parquet and Arrow files beside the same rows in memory and in a .npy file.

``python benchmarks/table_files.py`` trains from each in turns and prints the rows a second.
``--sorted`` trains on MNIST in the order of its labels, with windows and row groups of some sizes,
and prints what the test digits come to: what a window that is too small costs. ``--gigabytes 12``
writes a file of that size and trains on it in a process that prints the most memory it had; with
``--limit`` (as root, on Linux with control groups of version 1) in a group of so many MiB, pages of
files included.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from files import MEGABYTE, group_of

from fastnn import SGD, Dense, Network, Trainer, datasets
from fastnn.inputs import table_files

BATCH = 64


def trainer_of(columns: int, shuffle: Any = True) -> Trainer:
    """Return a network of one hidden layer, not trained."""
    network = Network(columns, [Dense(128, "relu"), Dense(10)])
    return Trainer(network, optimizer=SGD(0.1), batch_size=BATCH, shuffle=shuffle)


def write_table(path: Path, X: Any, y: np.ndarray, group: int, listed: bool) -> None:
    """Write rows to a Parquet or Arrow file, as a column each or as one column of lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(first: int) -> Any:
        rows = np.ascontiguousarray(X[first : first + group])
        if listed:
            features = {"x": pa.FixedSizeListArray.from_arrays(rows.ravel(), X.shape[1])}
        else:
            features = {f"x{column}": rows[:, column] for column in range(X.shape[1])}
        return pa.table(features | {"label": y[first : first + group]})

    with contextlib.ExitStack() as stack:
        schema = table(0).schema
        if path.suffix == ".parquet":
            writer: Any = pq.ParquetWriter(path, schema, compression="none", use_dictionary=False)
        else:
            writer = pa.ipc.new_file(path, schema)
        stack.enter_context(writer)
        for first in range(0, len(X), group):
            if path.suffix == ".parquet":
                writer.write_table(table(first), row_group_size=group)
            else:
                writer.write_table(table(first), max_chunksize=group)


def compare(folder: Path, turns: int) -> None:
    """Print the rows a second of the fastest epoch from each source."""
    print("| rows | from | thousand rows a second | to memory |")
    print("|---|---|---|---|")
    for rows, columns in ((60_000, 784), (1_000_000, 20)):
        random = np.random.default_rng(0)
        X = random.random((rows, columns), np.float32)
        y = random.integers(0, 10, rows)
        np.save(folder / "rows.npy", X)
        group = rows // 60
        sources: dict[str, tuple[Any, Any]] = {
            "memory": (X, y),
            ".npy": (folder / "rows.npy", y),
        }
        for suffix in ("parquet", "arrow"):
            for listed in (False, True):
                path = folder / f"rows-{listed}.{suffix}"
                write_table(path, X, y, group, listed)
                name = f"{suffix}, {'one column of lists' if listed else 'a column each'}"
                sources[name] = path, "label"
        trainers = {name: trainer_of(columns, rows // 10) for name in sources}
        for _ in range(turns):
            for name, (features, labels) in sources.items():
                trainers[name].fit(features, labels, epochs=1)
        speeds = {name: rows / min(each.history.seconds) for name, each in trainers.items()}
        for name, speed in speeds.items():
            ratio = speed / speeds["memory"]
            print(f"| {rows} x {columns} | {name} | {speed / 1e3:.0f} | {ratio:.2f} |")


def show_sorted(folder: Path, epochs: int) -> None:
    """Print the accuracy of test digits after training on digits in the order of labels."""
    (X, y), test = datasets.mnist()
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    np.save(folder / "sorted.npy", X)
    print("| file | row group | window | test accuracy |")
    print("|---|---|---|---|")
    for window in (True, 30_000, 6_000, 1_000, 256):
        trainer = trainer_of(784, window)
        trainer.fit(folder / "sorted.npy", y, epochs)
        print(f"| .npy | | {window} | {trainer.evaluate(*test)['accuracy']:.4f} |", flush=True)
    for group in (100, 1_000, 6_000):
        write_table(folder / "sorted.parquet", X, y, group, True)
        for window in (True, 30_000, 6_000, 1_000):
            trainer = trainer_of(784, window)
            trainer.fit(folder / "sorted.parquet", "label", epochs)
            accuracy = trainer.evaluate(*test)["accuracy"]
            print(f"| .parquet | {group} | {window} | {accuracy:.4f} |", flush=True)


class _Rows:
    """Random rows, made when they are asked for, some of them again and again."""

    def __init__(self, rows: int, columns: int) -> None:
        self.shape = rows, columns
        self._some = np.random.default_rng(0).random((50_000, columns), np.float32)

    def __len__(self) -> int:
        """Return how many there are."""
        return self.shape[0]

    def __getitem__(self, places: slice) -> np.ndarray:
        """Return rows that follow one another."""
        first, last, _ = places.indices(len(self))
        return self._some[np.arange(first, last) % len(self._some)]


def train_large(folder: Path, gigabytes: float, limit: int | None, kind: str) -> None:
    """Write a file of that size, train an epoch on it, and print what it took."""
    columns, group = 256, 20_000
    rows = int(gigabytes * 1e9) // (4 * columns)
    path, X = folder / f"rows.{kind}", _Rows(rows, columns)
    y = np.arange(rows) % 10
    if kind == "npy":
        file = np.lib.format.open_memmap(path, "w+", np.float32, X.shape)
        for first in range(0, rows, group):
            file[first : first + group] = X[first : first + group]
        file.flush()
        del file
    else:
        write_table(path, X, y, group, True)
    memory = trainer_of(columns, 10_000)
    memory.fit(X[:50_000], y[:50_000], epochs=5)
    del X
    trainer = trainer_of(columns, 100_000)
    with within(limit) as group_folder:
        trainer.fit(path, y if kind == "npy" else "label", epochs=1)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        if group_folder is not None:
            most = int((group_folder / "memory.max_usage_in_bytes").read_text())
    speed = rows / trainer.history.seconds[0]
    fastest = 50_000 / min(memory.history.seconds)
    print(
        f"{path.stat().st_size / 1e9:.1f} GB of {kind}: {speed / 1e3:.0f} thousand rows a second, "
        f"{speed / fastest:.2f} of rows in memory; {most / MEGABYTE:.0f} MiB at most"
    )


@contextlib.contextmanager
def within(limit: int | None) -> Iterator[Path | None]:
    """Have this process in a control group, if there is to be a limit."""
    if limit is None:
        yield None
    else:
        with group_of(limit) as group:
            yield group


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="epochs of each source")
    parser.add_argument("--sorted", action="store_true", help="MNIST in the order of labels")
    parser.add_argument("--gigabytes", type=float, help="of one large file")
    parser.add_argument("--kind", default="parquet", choices=["npy", "parquet", "arrow"])
    parser.add_argument("--limit", type=int, help="MiB of a control group")
    parser.add_argument("--folder", help="where to write files; None: a temporary one")
    arguments = parser.parse_args()
    table_files.HELD_BYTES = 0  # none of these is read into memory for being small
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if arguments.gigabytes is not None:
            limit = arguments.limit and arguments.limit * MEGABYTE
            train_large(folder, arguments.gigabytes, limit, arguments.kind)
        elif arguments.sorted:
            show_sorted(folder, arguments.turns)
        else:
            compare(folder, arguments.turns)


if __name__ == "__main__":
    main()
