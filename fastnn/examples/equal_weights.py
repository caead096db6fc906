"""Equal initial weights never part: a layer of equal units learns as one unit does.

Units with the same weights have the same outputs and hence the same gradients, in every step. Only
different numbers at the start let them become different.
"""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, datasets, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.typing import Initialiser, InitialiserName, Target


def constant(generator: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """Return the same weight everywhere."""
    del generator
    return np.full((inputs, outputs), 0.5)


def main(
    save: str | None = None, hidden: int = 8, epochs: int = 100, target: Target = "cpu"
) -> None:
    """Train on XOR from zeros, from one constant and from random weights."""
    X, y = datasets.xor(600)
    axes = panels(1, 3) if save is not None else []
    starts: dict[str, InitialiserName | Initialiser] = {
        "zeros": "zeros",
        "all 0.5": constant,
        "random": "xavier_uniform",
    }
    for index, (name, init) in enumerate(starts.items()):
        layers = [Dense(hidden, "tanh", init), Dense(1, init=init)]
        trainer = Trainer(
            Network(2, layers), "binary_cross_entropy", SGD(0.3), batch_size=16, target=target
        )
        trainer.fit(X, y, epochs)
        W = trainer.parameters[0][0]
        apart = np.ptp(W, axis=1).max()
        accuracy = trainer.evaluate(X, y)["accuracy"]
        print(
            f"{name}: weights of two units differ by at most {apart:.2g} after {epochs} epochs, "
            f"accuracy {accuracy:.3f}"
        )
        if axes:
            ax = plots.decision_boundary(trainer, X, y, ax=axes[index])
            ax.set_title(f"{name}: accuracy {accuracy:.3f}")
    if save is not None:
        save_figure(axes[0], save)


if __name__ == "__main__":
    command_line(main)
