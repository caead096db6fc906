"""A user-defined loss: three lines through one cloud, above a tenth, half and nine tenths of it.

The loss of a quantile weighs an error above the line differently from one below (Koenker & Bassett
1978). The function is all that has to be written: its derivative is found, and both are compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastnn import Adam, Dense, Network, Trainer
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.graph import maximum
from fastnn.typing import Target


def quantile_loss(z: Any, y: Any, below: float = 0.5) -> Any:
    """Return below (y - z) for targets above the output z, (1 - below) (z - y) for those below."""
    return maximum(below * (y - z), (1 - below) * (z - y))


def cloud(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return x (n, 1) from 0 to 1 and y (n,), which spreads more the larger x is."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 1, n)
    return x[:, None], np.sin(4 * x) + (0.1 + 0.5 * x) * generator.normal(size=n)


def main(
    save: str | None = None, points: int = 2000, epochs: int = 60, target: Target = "cpu"
) -> None:
    """Train one network for each of the three shares, and count the points below each line."""
    X, y = cloud(points)
    network = Network(1, [Dense(24, "tanh"), Dense(1)])
    ax = panels()[0] if save is not None else None
    if ax is not None:
        ax.plot(X[:, 0], y, ".", color="gray", alpha=0.3)
    for below in (0.1, 0.5, 0.9):
        loss: Callable[..., Any] = partial(quantile_loss, below=below)
        trainer = Trainer(network, loss, Adam(0.01), batch_size=32, target=target)
        trainer.fit(X, y, epochs)
        share = np.mean(y < trainer.predict(X))
        print(f"loss {trainer.problem.loss}: {share:.2f} of the points are below the line")
        if ax is not None:
            across = np.linspace(0, 1, 200)
            ax.plot(across, trainer.predict(across[:, None]), linewidth=2, label=f"{below} below")
    if ax is not None and save is not None:
        ax.set_xlabel("x")
        ax.set_ylabel("y")
        ax.legend()
        save_figure(ax, save)


if __name__ == "__main__":
    command_line(main)
