"""A linear support vector machine: hinge loss and l2 trade a wide margin against points inside it.

The margin is 1/|w| wide on each side; only points on its edge, inside it or on the wrong side pull.
"""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.typing import Target


def clouds(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two round clouds of points (n, 2) that overlap a little, and 0 or 1 for each."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return generator.normal(size=(n, 2)) + 1.8 * np.column_stack((y, y)), y


def main(
    save: str | None = None, points: int = 300, epochs: int = 60, target: Target = "cpu"
) -> None:
    """Train with a weak and with a strong penalty."""
    X, y = clouds(points)
    axes = panels(1, 2) if save is not None else []
    for index, l2 in enumerate((0.001, 0.3)):
        trainer = Trainer(
            Network(2, [Dense(1)]), "hinge", SGD(0.02), batch_size=8, l2=l2, target=target
        )
        trainer.fit(X, y, epochs)
        width = 1 / np.linalg.norm(trainer.parameters[0][0])
        outputs = trainer.forward(X)[:, 0]
        inside = (2 * y - 1) * outputs <= 1
        accuracy = trainer.evaluate(X, y)["accuracy"]
        print(
            f"l2 = {l2}: margin {width:.2f} on each side, {inside.sum()} of {len(y)} points pull, "
            f"accuracy {accuracy:.3f}"
        )
        if axes:
            ax = plots.decision_boundary(trainer, X, y, ax=axes[index])
            across = np.linspace(*ax.get_xlim(), 100)
            up = np.linspace(*ax.get_ylim(), 100)
            grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
            heights = trainer.forward(grid).reshape(100, 100)
            ax.contour(across, up, heights, [-1, 1], colors="black", linestyles="dashed")
            ax.set_title(f"l2 = {l2}: the margin is between the dashed lines")
    if save is not None:
        save_figure(axes[0], save)


if __name__ == "__main__":
    command_line(main)
