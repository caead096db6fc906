"""Gradient descent ends in the valley where it starts; random restarts find the lowest one."""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.graph import cos, minimize
from fastnn.typing import Target


def hills(x):  # type: ignore[no-untyped-def]
    """Return a parabola with waves on it: many valleys, the lowest near 0.5."""
    return 0.1 * (x - 1) ** 2 - cos(3 * x - 1.5)


def main(
    save: str | None = None,
    start: float = 6.0,
    restarts: int = 20,
    epochs: int = 1500,
    target: Target = "cpu",
) -> None:
    """Go down a curve from one start and from many, and then train a network so."""
    one = minimize(hills, start, bounds=(-8, 8), learning_rate=0.02, steps=400)
    many = minimize(hills, None, (-8, 8), learning_rate=0.02, steps=400, restarts=restarts)
    print(f"from x = {start:g}: ends at x = {one.x[0]:.4f}, value {one.value:.4f}")
    print(f"the gradient there is {one.gradient[0]:.1e}, so descent has no reason to go on")
    ends = np.unique(np.round([each.x[0] for each in many.restarts], 3))
    print(
        f"{restarts} random starts end in {len(ends)} valleys, at x = {', '.join(map(str, ends))}"
    )
    print(f"the lowest: x = {many.x[0]:.4f}, value {many.value:.4f}")

    # Two hidden units are just enough for exclusive or, so that many starts miss the solution.
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])
    network = Network(2, [Dense(2, "tanh"), Dense(1)])
    trainer = Trainer(network, "binary_cross_entropy", SGD(0.5), batch_size=4, target=target)
    found = trainer.fit(X, y, epochs, restarts=restarts).restarts
    losses = np.array([each.loss for each in found if each.loss is not None])
    stuck = losses[losses > 0.1]
    print(f"a network of two hidden units on exclusive or, {restarts} random starts:")
    where = " and ".join(f"{loss:.2f}" for loss in np.unique(stuck.round(2)))
    print(f"{len(stuck)} of them are stuck at a loss of {where or 'nothing'}")
    print(f"the best has loss {losses.min():.4f} and predicts {trainer.predict(X)}")
    if save is not None:
        axes = panels(1, 3)
        plots.descent(one, ax=axes[0]).set_title("one start")
        plots.descent(many, ax=axes[1]).set_title(f"the best of {restarts} starts")
        axes[2].plot(np.sort(losses), "o")
        axes[2].locator_params(axis="x", integer=True)
        axes[2].set(xlabel="start, best first", ylabel="loss", title="exclusive or, two units")
        save_figure(axes[0], save)


if __name__ == "__main__":
    command_line(main)
