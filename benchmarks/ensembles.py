"""What ensembles and populations could still gain: by faster products, and by shared rows.

    python benchmarks/ensembles.py [--rounds N]

prints two Markdown tables, of one thread. First, `Ensemble.predict` of 32 members beside the sum of
their products at the rate of the engine's GEMM, each product timed alone, of as many rows as a
prediction takes at a time; they alternate. Of networks with learned cosines the rows of the first
product are those that the cosines leave. Second, what it could save at the most to gather the rows
of X once for several members: an epoch that takes rows in random order beside one that takes them
as they lie, which reads X once and from first to last. All is CPU time, so that others may use the
machine meanwhile.
"""

from __future__ import annotations

import argparse
import time
from unittest import mock

import numpy as np
from markdown_tables import heading, row
from options import positive
from products import FLOAT32, rate
from timing import best_seconds, of_calls

from fastnn import AdamW, Dense, Ensemble, Network, Periodic, Trainer
from fastnn.estimators.tabular.members import batch_size_of
from fastnn.targets.cpu.plan import INFERENCE_ROWS

MEMBERS = 32
ROWS = 20_000
EPOCHS = 4  # of a round
SECONDS = 0.1  # of a batch of calls, of which the fastest counts
NETWORKS = ((8, 64, 1), (64, 128, 10), (216, 128, 128, 1), (384, 256, 1), (216, 160, 128, 10))
# As populations have them for tables of eight numbers, by how many cosines each has.
WITH_COSINES = {16: (8, 128, 128, 1), 24: (8, 160, 128, 1)}


def layers_of(widths: tuple[int, ...], cosines: int = 0) -> Network:
    """Return the relu network of so many inputs, each with so many cosines, units and outputs."""
    *hidden, outputs = widths[1:]
    first = [Periodic(cosines, amplitude=0.1)] if cosines else []
    return Network(widths[0], [*first, *(Dense(units, "relu") for units in hidden), Dense(outputs)])


def predicted(widths: tuple[int, ...], cosines: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of an ensemble's prediction, and of its products alone."""
    network = layers_of(widths, cosines)
    ensemble = Ensemble(
        [Trainer(network, loss="mse", seed=seed) for seed in range(MEMBERS)], threads=1
    )
    X = np.random.default_rng(0).standard_normal((ROWS, widths[0]), np.float32)
    ensemble.predict(X)
    whole, products = [], []
    for _ in range(rounds):
        whole.append(best_seconds(of_calls(lambda: ensemble.predict(X)), SECONDS))
        products.append(MEMBERS * sum(map(product_seconds, pairs_of(widths, cosines))))
    return min(whole), min(products)


def pairs_of(widths: tuple[int, ...], cosines: int) -> list[tuple[str, int, int]]:
    """Return each product's layout, inputs and outputs.

    The first reads the caller's rows, or these and their cosines, which are in panels.
    """
    inputs = [widths[0] * (1 + cosines), *widths[1:-1]]
    layouts = ["in panels" if cosines else "in place", *["in panels"] * (len(widths) - 2)]
    return [*zip(layouts, inputs, widths[1:], strict=True)]


def name_of(widths: tuple[int, ...], cosines: int = 0) -> str:
    """Return what the tables call a network.

    >>> name_of((8, 64, 1)), name_of((8, 128, 1), 16)
    ('8-64-1', '8-128-1, 16 cosines each')
    """
    return "-".join(map(str, widths)) + (f", {cosines} cosines each" if cosines else "")


def product_seconds(pair: tuple[str, int, int]) -> float:
    """Return the seconds of a product of all rows, at the rate of one of some rows."""
    layout, k, n = pair
    found = rate(layout, FLOAT32, (INFERENCE_ROWS, k, n), 1, SECONDS)
    return 2e-9 * ROWS * k * n / found


def epochs(widths: tuple[int, ...], rounds: int) -> tuple[float, float]:
    """Return the seconds of an epoch with rows in random order, and as they lie.

    Medians over the rounds, in each of which both have their fastest.
    """
    random = np.random.default_rng(0)
    X = random.standard_normal((ROWS, widths[0]), np.float32)
    y = random.standard_normal((ROWS, widths[-1]), np.float32)
    trainers = [
        Trainer(
            layers_of(widths), loss="mse", optimizer=AdamW(1e-4), batch_size=batch_size_of(ROWS),
            threads=1, shuffle=shuffle,
        )
        for shuffle in (True, False)
    ]  # fmt: skip
    found = np.empty((rounds + 1, 2))
    for each in found:
        for place, trainer in enumerate(trainers):
            trainer.fit(X, y, epochs=EPOCHS, progress=False)
            each[place] = min(trainer.history.seconds[-EPOCHS:])
    shuffled, in_order = np.median(found[1:], axis=0).tolist()  # the first is to begin
    return shuffled, in_order


def main() -> None:
    """Read the command line, and measure by CPU time."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=positive(int), default=5, help="default: %(default)s")
    rounds = parser.parse_args().rounds
    with mock.patch.object(time, "perf_counter", time.process_time):
        report(rounds)


def report(rounds: int) -> None:
    """Print both tables."""
    lines = heading(
        f"prediction of {MEMBERS} members, {ROWS} rows", "ms", "products at the GEMM's rate, ms",
        "times",
    )  # fmt: skip
    print("\n".join(lines))
    plain = [(widths, 0) for widths in NETWORKS]
    for widths, cosines in [*plain, *((each, count) for count, each in WITH_COSINES.items())]:
        whole, products = predicted(widths, cosines, rounds)
        times = f"{1e3 * whole:.3g}", f"{1e3 * products:.3g}", f"{whole / products:.2f}"
        print(row(name_of(widths, cosines), *times), flush=True)
    lines = heading(
        f"epoch of {ROWS} rows, AdamW, batches of {batch_size_of(ROWS)}", "random order, ms",
        "as they lie, ms", "saved at the most",
    )  # fmt: skip
    print("\n".join(lines))
    for widths in NETWORKS:
        shuffled, in_order = epochs(widths, rounds)
        saved = f"{100 * (1 - in_order / shuffled):.1f} %"
        times = f"{1e3 * shuffled:.3g}", f"{1e3 * in_order:.3g}"
        print(row(name_of(widths), *times, saved), flush=True)


if __name__ == "__main__":
    main()
