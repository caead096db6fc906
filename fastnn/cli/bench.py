"""``fastnn bench``: how fast networks train on this machine."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fastnn.cli import screen

# Inputs, hidden units and classes; rows; batch.
_CASES: tuple[tuple[tuple[int, ...], int, int], ...] = (
    ((16, 32, 2), 8192, 32),
    ((128, 256, 128, 2), 8192, 64),
    ((784, 128, 64, 10), 8192, 128),
)


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="time some trainings on this machine",
        description="Time three networks from small to MNIST's size, on numbers at random. Each is "
        "trained for a while first; the time is the median of at least three epochs, and whether "
        "the machine was busy otherwise nobody knows. Compiling is left out, and said.",
        example="fastnn bench --target cpu --threads 1",
    )
    parser.add_argument(
        "--target", default="cpu", help="cpu (default), cuda, cuda:1, numpy or auto"
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float64"),
        metavar="NAME",
        help="float32 (default) or float64",
    )
    parser.add_argument(
        "--precision", default="float32", help="of products: float32 (default), bfloat16 or tf32"
    )
    parser.add_argument("--threads", type=int, help="default: chosen from the work")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each network (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Print rows and updates a second of each network."""
    import time

    import numpy as np

    from fastnn.errors import number
    from fastnn.network import SGD, Dense, Network
    from fastnn.training.trainer import Trainer

    seconds = number(options.seconds, "--seconds", 0.0)
    random = np.random.default_rng(0)
    results = []
    for sizes, rows, batch in _CASES:
        X = random.standard_normal((rows, sizes[0])).astype(options.dtype, copy=False)
        y = random.integers(sizes[-1], size=rows)
        hidden = [Dense(units, "relu") for units in sizes[1:-1]]
        trainer = Trainer(
            Network(sizes[0], [*hidden, Dense(sizes[-1])]),
            optimizer=SGD(0.01, momentum=0.9),
            batch_size=batch,
            dtype=options.dtype,
            precision=options.precision,
            target=options.target,
            threads=options.threads,
        )
        begun = time.perf_counter()
        trainer.fit(X, y, 1, progress=False)
        first = time.perf_counter() - begun
        times: list[float] = []
        while len(times) < 3 or sum(times) < seconds:
            begun = time.perf_counter()
            trainer.fit(X, y, 1, progress=False)
            times.append(time.perf_counter() - begun)
        median = sorted(times)[len(times) // 2]
        results.append(
            {
                "network": "-".join(map(str, sizes)),
                "batch": batch,
                "rows": rows,
                "where": trainer.history.where,
                "epochs_timed": len(times),
                "seconds_per_epoch": median,
                "spread": (max(times) - min(times)) / median,
                "rows_per_second": rows / median,
                "microseconds_per_update": 1e6 * median / -(-rows // batch),
                "first_epoch_seconds": first,
            }
        )
    if options.json:
        screen.answer(json.dumps(results, indent=2))
        return 0
    table = [["network", "batch", "rows/s", "us/update", "spread", "first epoch"]]
    for each in results:
        table.append(
            [
                str(each["network"]),
                str(each["batch"]),
                f"{each['rows_per_second']:.3g}",
                f"{each['microseconds_per_update']:.3g}",
                f"{each['spread']:.0%}",
                f"{each['first_epoch_seconds']:.2f} s",
            ]
        )
    if screen.width() < len(screen.table(table)[0]):
        table = [row[:4] for row in table]
    for line in screen.table(table):
        screen.answer(line)
    kind = options.dtype if options.precision == "float32" else options.precision
    screen.answer(f"{kind} on {results[-1]['where']}; SGD with momentum")
    return 0
