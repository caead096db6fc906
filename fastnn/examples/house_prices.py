"""House prices by linear regression: the squared error bends to a few dear houses.

Half the mean square error makes the mean of what is like a house the best guess, the mean absolute
error the median. Prices in these data are cut off at 500000 dollars, and few are dear, so the
median lies lower.
"""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, plots
from fastnn.examples.running import command_line, panels, save_figure, standardised
from fastnn.examples.tables import california_housing
from fastnn.graph.axes import colour
from fastnn.typing import Target


def main(save: str | None = None, epochs: int = 30, target: Target = "cpu") -> None:
    """Train on both losses and compare both errors of both on a fifth of the districts."""
    X, y, names = california_housing()
    rows = np.random.default_rng(0).permutation(len(y))
    cut = len(y) * 4 // 5
    X, y = standardised(X[rows], cut), y[rows]
    print(f"{len(y)} districts, {len(names)} columns; prices in 100000 dollars")
    trainers = {}
    for loss in ("mse", "mae"):
        trainer = Trainer(
            Network(len(names), [Dense(1)]), loss, SGD(0.005), batch_size=64, target=target
        )
        trainer.fit(X[:cut], y[:cut], epochs, validation_data=(X[cut:], y[cut:]))
        error = y[cut:] - trainer.predict(X[cut:])
        print(
            f"trained on {loss}: root of the mean square error {np.sqrt(np.mean(error**2)):.3f}, "
            f"mean absolute error {np.mean(np.abs(error)):.3f}, "
            f"{np.mean(error < 0):.0%} of the prices below the prediction"
        )
        trainers[loss] = trainer
    weights = trainers["mse"].parameters[0][0][:, 0]
    most = np.argmax(np.abs(weights))
    print(f"largest weight (mse): {names[most]}, {weights[most]:.2f} for a standard deviation")
    if save is not None:
        left, right = panels(1, 2)
        for loss, trainer in trainers.items():
            plots.loss_curves(trainer.history, loss, ax=left)
        right.scatter(y[cut:], trainers["mae"].predict(X[cut:]), s=4, alpha=0.3, color=colour(0))
        right.axline((0, 0), slope=1, color="black", linewidth=1)
        right.set(xlabel="price", ylabel="prediction (mae)", xlim=(0, 5.2), ylim=(-0.5, 6))
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
