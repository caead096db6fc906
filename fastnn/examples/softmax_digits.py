"""Softmax regression on digits: one template a class, which the weights show."""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, datasets, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.typing import Target


def main(
    save: str | None = None, epochs: int = 30, l2: float = 1e-3, target: Target = "cpu"
) -> None:
    """Train 64-10 and say which digits are taken for which others."""
    X, y = datasets.digits()
    cut = 1400
    trainer = Trainer(
        Network(64, [Dense(10)]), optimizer=SGD(0.2), batch_size=16, l2=l2, target=target
    )
    trainer.fit(X[:cut], y[:cut], epochs, validation_data=(X[cut:], y[cut:]))
    found = trainer.evaluate(X[cut:], y[cut:])
    print(f"test loss {found['loss']:.4f}, test accuracy {found['accuracy']:.4f}")
    predicted = trainer.predict(X[cut:])
    wrong = np.zeros((10, 10), int)
    np.add.at(wrong, (y[cut:], predicted), predicted != y[cut:])
    for place in np.argsort(-wrong, axis=None)[:3]:
        true, taken = divmod(int(place), 10)
        print(f"true class {true}, predicted {taken}: {wrong[true, taken]} times")
    sums = trainer.predict_proba(X[cut:]).sum(axis=1)
    print(f"probabilities of a row add up to 1 within {np.abs(sums - 1).max():.0e}")
    if save is not None:
        left, right = panels(1, 2)
        plots.weights(trainer, shape=(8, 8), ax=left)
        plots.confusion_matrix(y[cut:], predicted, ax=right)
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
