"""Benign or malignant: logistic regression gives a probability, log loss asks for a good one."""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, plots
from fastnn.examples.running import command_line, panels, save_figure, standardised
from fastnn.examples.tables import breast_cancer
from fastnn.typing import Target


def main(
    save: str | None = None, epochs: int = 40, l2: float = 0.01, target: Target = "cpu"
) -> None:
    """Train on four fifths of the tumours; of the rest, say how sure it is and how often right."""
    X, y, names = breast_cancer()
    rows = np.random.default_rng(0).permutation(len(y))
    cut = len(y) * 4 // 5
    X, y = standardised(X[rows], cut), y[rows]
    trainer = Trainer(
        Network(len(names), [Dense(1, init="zeros")]),
        loss="binary_cross_entropy",
        optimizer=SGD(0.05),
        batch_size=16,
        l2=l2,
        target=target,
    )
    # At zero weights every probability is a half, and the loss log 2.
    print(f"log loss before training: {trainer.evaluate(X[cut:], y[cut:])['loss']:.4f}")
    history = trainer.fit(X[:cut], y[:cut], epochs, validation_data=(X[cut:], y[cut:]))
    found = trainer.evaluate(X[cut:], y[cut:])
    print(f"log loss after {epochs} epochs: {found['loss']:.4f}, accuracy {found['accuracy']:.4f}")
    certain = np.max(trainer.predict_proba(X[cut:]), axis=1)
    right = trainer.predict(X[cut:]) == y[cut:]
    for low, high in ((0.5, 0.9), (0.9, 1.0)):
        chosen = (certain > low) & (certain <= high)
        if chosen.any():
            print(
                f"surer than {low:.0%} and at most {high:.0%}: {chosen.sum()} tumours, "
                f"{right[chosen].mean():.0%} of them right"
            )
    weights = trainer.parameters[0][0][:, 0]
    for most in np.argsort(-np.abs(weights))[:3]:
        print(f"weight {weights[most]:+.2f}: {names[most]}")
    if save is not None:
        left, other = panels(1, 2)
        plots.loss_curves(history, ax=left)
        plots.confusion_matrix(y[cut:], trainer.predict(X[cut:]), ax=other)
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
