"""An epoch beside as many busy processes as there are processors, divided by one on a calm machine.

    python benchmarks/crowded.py [--rounds N] [--seconds S]

prints a Markdown table: the mean over rounds of S seconds of fits with two threads, as they are,
with both threads all the time, and with one alone. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
from markdown_tables import heading, row

from fastnn import SGD, Dense, Network, Trainer
from fastnn.threads import crowding
from fastnn.threads.processors import available_threads

# Widths, rows, batch.
WORKLOADS = [
    ((784, 128, 10), 16_384, 64),
    ((784, 256, 256, 10), 8_192, 128),
    ((64, 100, 10), 16_384, 200),
]
DECISIONS: dict[str, Callable[[float], bool] | None] = {
    "two threads": None,
    "both, always": lambda now: False,
    "one, always": lambda now: True,
}


@contextmanager
def beside(count: int) -> Any:
    """Have so many processes that never rest."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(1)
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


def epoch_seconds(
    fit: Callable[[int], Any], seconds: float, decide: Callable[[float], bool] | None
) -> float:
    """Return the mean time of an epoch, with decisions from the beginning."""
    crowding.CROWDING = crowding.Crowding()
    if decide is not None:
        vars(crowding.CROWDING)["wants_one"] = decide
    epochs, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        fit(4)
        epochs += 4
    return (time.perf_counter() - begun) / epochs


def times_of(
    workload: tuple[tuple[int, ...], int, int], rounds: int, seconds: float
) -> list[list[float]]:
    """Return, for each kind of decision, the quotient in every round."""
    widths, rows, batch = workload
    random = np.random.default_rng(0)
    X = random.standard_normal((rows, widths[0]), dtype=np.float32)
    y = random.integers(widths[-1], size=rows)
    layers = [*(Dense(units, "relu") for units in widths[1:-1]), Dense(widths[-1])]
    trainer = Trainer(Network(widths[0], layers), optimizer=SGD(0.01), batch_size=batch, threads=2)

    def fit(epochs: int) -> None:
        trainer.fit(X, y, epochs, progress=False)

    calm = min(epoch_seconds(fit, seconds, None) for _ in range(3))
    found: list[list[float]] = [[] for _ in DECISIONS]
    with beside(available_threads()):
        for _ in range(rounds):
            for own, decide in zip(found, DECISIONS.values(), strict=True):
                own.append(epoch_seconds(fit, seconds, decide) / calm)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    print(*heading("times a calm epoch: mean (least, most)", *DECISIONS), sep="\n")
    for workload in WORKLOADS:
        widths, _, batch = workload
        cells = [
            f"{np.mean(own):.2f} ({min(own):.2f} to {max(own):.2f})"
            for own in times_of(workload, given.rounds, given.seconds)
        ]
        print(row(f"{'-'.join(map(str, widths))}, batch {batch}", *cells), flush=True)


if __name__ == "__main__":
    main()
