"""The perceptron moves only when it is wrong, and stops for good where a line separates.

With ``--save perceptron.png`` it draws the line among the points, and how many points were wrong
after each epoch.
"""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.graph.axes import colour
from fastnn.typing import Target


def separable(n: int, gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return n points (n, 2) with no one nearer to the line x0 + 2 x1 = 1/2 than `gap`."""
    points = np.random.default_rng(seed).uniform(-1, 1, (20 * n, 2))
    distance = (points @ [1.0, 2.0] - 0.5) / np.sqrt(5)
    kept = np.abs(distance) >= gap
    return points[kept][:n], (distance[kept][:n] > 0).astype(int)


def main(
    save: str | None = None, points: int = 200, gap: float = 0.05, target: Target = "cpu"
) -> None:
    """Train row by row until an epoch leaves all weights alone."""
    X, y = separable(points, gap)
    trainer = Trainer(
        Network(2, [Dense(1, init="zeros")]), "perceptron", SGD(1.0), batch_size=1, target=target
    )
    wrong = []
    for epoch in range(1, 101):
        before = trainer.parameters[0][0]
        trainer.fit(X, y, epochs=1)
        wrong.append(int(np.sum(trainer.predict(X) != y)))
        still = np.array_equal(before, trainer.parameters[0][0])
        print(f"epoch {epoch}: {wrong[-1]} points wrong{'; no weight moved' if still else ''}")
        if still:
            break
    (W, b) = trainer.parameters[0]
    line, right_ones = f"{W[0, 0]:+.3f} x0 {W[1, 0]:+.3f} x1 {b[0]:+.3f} = 0", len(y) - wrong[-1]
    print(f"{line} separates {'all' if not wrong[-1] else f'{right_ones} of'} {len(y)} points")
    if save is not None:
        left, right = panels(1, 2)
        plots.decision_boundary(trainer, X, y, ax=left).set_title("the line that it stopped at")
        right.plot(range(1, len(wrong) + 1), wrong, "o-", color=colour(0))
        right.locator_params(axis="both", integer=True)
        right.set(title="errors", xlabel="epoch", ylabel="points wrong after it")
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
