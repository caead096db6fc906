"""Larger batches make an epoch faster, and more epochs necessary.

An epoch of n rows makes n / batch_size updates. Fewer updates cost less time, and one of a larger
batch is not better by as much: so the time to a given accuracy has its best somewhere between.
"""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, History, Network, Trainer, datasets
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.plots.palette import colour


def main(
    save: str | None = None,
    accuracy: float = 0.91,
    most_epochs: int = 1000,
    learning_rate: float = 0.1,
    target: str = "cpu",
) -> None:
    """Train the same network on digits in batches of 1 to 512 until the accuracy is reached."""
    X, y = datasets.digits()
    cut = 1400

    def reached(trainer: Trainer, history: History) -> bool:
        return (history.validation_accuracy[-1] or 0.0) >= accuracy

    print(f"To {accuracy:.0%} of the test digits right, at a learning rate of {learning_rate}:")
    print("batch  ms an epoch  epochs  updates  ms in all")
    histories = {}
    for batch in (1, 8, 64, 512):
        trainer = Trainer(
            Network(64, [Dense(32, "relu"), Dense(10)]),
            optimizer=SGD(learning_rate),
            batch_size=batch,
            target=target,
        )
        history = trainer.fit(
            X[:cut], y[:cut], most_epochs, (X[cut:], y[cut:]), callbacks=[reached]
        )
        each = 1000 * float(np.median(history.seconds))
        total = 1000 * sum(history.seconds)
        short = "" if reached(trainer, history) else "  (not reached)"
        print(
            f"{batch:5d}  {each:11.2f}  {len(history):6d}  {trainer.step:7d}  {total:9.1f}{short}"
        )
        histories[batch] = history
    if save is not None:
        left, right = panels(1, 2)
        for index, (batch, history) in enumerate(histories.items()):
            epochs = range(1, 1 + len(history))
            label = f"batch {batch}"
            left.semilogx(epochs, history.validation_accuracy, color=colour(index), label=label)
        left.axhline(accuracy, color="gray", linestyle="dotted")
        left.set(xlabel="epoch", ylabel="test accuracy")
        left.legend()
        times = [1000 * float(np.median(history.seconds)) for history in histories.values()]
        counts = [len(history) for history in histories.values()]
        right.loglog(list(histories), times, "o-", color=colour(0), label="ms an epoch")
        right.loglog(list(histories), counts, "^--", color=colour(3), label="epochs")
        right.set_xlabel("batch size")
        right.legend()
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
