"""What a step of a small network costs beside its arithmetic.

    python benchmarks/fixed_cost.py [--rounds N]

prints a Markdown table: for each network the least microseconds of a step on one thread for some
batch sizes, and the line through them, by least squares of relative deviations: what a step costs
without rows, and what each row adds. Epochs of all batch sizes alternate.
"""

from __future__ import annotations

import argparse

import numpy as np
from markdown_tables import heading, row

from fastnn import SGD, Dense, Network, Trainer

NETWORKS = {
    "20-32-16-2 relu": ((20, 32, 16, 2), "relu"),
    "54-33-17-7 tanh": ((54, 33, 17, 7), "tanh"),
}
BATCHES = 8, 16, 32, 64, 128
STEPS = 2000  # of an epoch


def step_seconds(widths: tuple[int, ...], activation: str, rounds: int) -> list[float]:
    """Return the seconds of a step of the fastest epoch, for each batch size."""
    random, (*hidden, outputs) = np.random.default_rng(0), widths[1:]
    layers = [*(Dense(units, activation) for units in hidden), Dense(outputs)]
    trainers = [
        Trainer(Network(widths[0], layers), optimizer=SGD(1e-3), batch_size=batch, threads=1)
        for batch in BATCHES
    ]
    X = random.standard_normal((max(BATCHES) * STEPS, widths[0]), np.float32)
    y = random.integers(0, outputs, len(X))
    for _ in range(rounds):
        for trainer, batch in zip(trainers, BATCHES, strict=True):
            trainer.fit(X[: batch * STEPS], y[: batch * STEPS], epochs=2)
    return [min(trainer.history.seconds[1:]) / STEPS for trainer in trainers]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    titles = [f"{batch} rows, us" for batch in BATCHES]
    print("\n".join(heading("a step", *titles, "without rows, us", "a row, us")))
    for name, (widths, activation) in NETWORKS.items():
        found = 1e6 * np.array(step_seconds(widths, activation, rounds))
        terms = np.stack([np.ones(len(BATCHES)), BATCHES], axis=1) / found[:, None]
        (fixed, slope), *_ = np.linalg.lstsq(terms, np.ones(len(BATCHES)), rcond=None)
        print(row(name, *(f"{each:.2f}" for each in (*found, fixed)), f"{slope:.3f}"), flush=True)


if __name__ == "__main__":
    main()
