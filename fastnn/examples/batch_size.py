"""Larger batches make an epoch faster, and more epochs necessary.

An epoch of n rows makes n / batch_size updates. Fewer updates cost less time, and one of a larger
batch is not better by as much: so the time to a given accuracy has its best somewhere between.
"""

from __future__ import annotations

import os

import numpy as np

from fastnn import SGD, Dense, InvalidInput, Network, Trainer, datasets, sweep
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.typing import Target

_CUT = 1400  # rows of digits to train on


def rows_of(data: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return X, y and the same to validate on: of MNIST, or of the digits that come with fastnn."""
    if data == "mnist":
        (X, y), (X_test, y_test) = datasets.mnist(os.environ.get("FASTNN_DATA") or None)
        return X, y, X_test, y_test
    X, y = datasets.digits()
    return X[:_CUT], y[:_CUT], X[_CUT:], y[_CUT:]


def main(
    save: str | None = None,
    data: str = "",
    accuracy: float = 0.0,
    most_epochs: int = 1000,
    learning_rate: float = 0.0,
    target: Target = "cpu",
) -> None:
    """Train one network in batches of several sizes until the accuracy is reached.

    `data` is "mnist" or "digits"; without it MNIST if FASTNN_DATA names its folder, else digits.
    An `accuracy` of 0 stands for 0.95 on MNIST and 0.91 on digits, a `learning_rate` of 0 for 0.02
    and 0.1, with which batches of one row come there too.
    """
    if data not in ("", "mnist", "digits"):
        raise InvalidInput(f"data must be 'mnist' or 'digits', not {data!r}")
    if not data:
        folder = os.environ.get("FASTNN_DATA", "")
        data = "mnist" if os.path.isfile(os.path.join(folder, "mnist.npz")) else "digits"
    accuracy = accuracy or (0.95 if data == "mnist" else 0.91)
    learning_rate = learning_rate or (0.02 if data == "mnist" else 0.1)
    X, y, X_test, y_test = rows_of(data)
    trainer = Trainer(
        Network(X.shape[1], [Dense(32, "relu"), Dense(10)]),
        optimizer=SGD(learning_rate),
        target=target,
    )
    sizes = [1, 8, 64, 512]
    result = sweep(
        trainer, X, y, most_epochs, grid={"batch_size": sizes}, validation_data=(X_test, y_test),
        accuracy=accuracy, stop=True, workers=1,
    )  # fmt: skip
    print(f"{data}, {len(X)} rows, learning rate {learning_rate}")
    print(result)
    small, large = result[0], result[-1]
    print(
        f"From batches of {sizes[0]} to {sizes[-1]}, an epoch takes "
        f"{1000 * (small.epoch_seconds or 0):.1f} -> {1000 * (large.epoch_seconds or 0):.1f} ms, "
        f"and {accuracy:.0%} takes {small.epochs_to_accuracy} -> {large.epochs_to_accuracy} epochs"
    )
    reached = [run for run in result if run.seconds_to_accuracy is not None]
    if reached:
        best = min(reached, key=lambda run: run.seconds_to_accuracy or 0.0)
        print(
            f"soonest there: batches of {best.settings['batch_size']}, after "
            f"{1000 * (best.seconds_to_accuracy or 0):.0f} ms"
        )
    if save is not None:
        left, middle, right = panels(1, 3)
        titles = {
            "epoch_seconds": "time of an epoch",
            "epochs_to_accuracy": f"epochs to an accuracy of {accuracy:.0%}",
            "seconds_to_accuracy": f"time to an accuracy of {accuracy:.0%}",
        }
        for ax, column in zip(
            (left, middle, right),
            ("epoch_seconds", "epochs_to_accuracy", "seconds_to_accuracy"),
            strict=True,
        ):
            result.plot("batch_size", column, ax=ax)
            ax.set_title(titles[column])
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
