"""XOR and nested rings: no straight line separates them, one hidden layer does."""

from __future__ import annotations

from fastnn import SGD, Dense, Network, Trainer, datasets, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.typing import Target


def main(
    save: str | None = None,
    points: int = 600,
    hidden: int = 8,
    epochs: int = 100,
    target: Target = "cpu",
) -> None:
    """Train both networks on both sets of points."""
    axes = panels(2, 2) if save is not None else []
    for row, (name, make) in enumerate((("xor", datasets.xor), ("rings", datasets.rings))):
        X, y = make(points)
        networks = {
            "a straight line": Network(2, [Dense(1)]),
            f"{hidden} tanh units": Network(2, [Dense(hidden, "tanh"), Dense(1)]),
        }
        for column, (what, network) in enumerate(networks.items()):
            trainer = Trainer(
                network, "binary_cross_entropy", SGD(0.3), batch_size=16, target=target
            )
            trainer.fit(X, y, epochs)
            accuracy = trainer.evaluate(X, y)["accuracy"]
            print(f"{name}, {what}: accuracy {accuracy:.3f}")
            if axes:
                ax = plots.decision_boundary(trainer, X, y, ax=axes[2 * row + column])
                ax.set_title(f"{what}: accuracy {accuracy:.3f}")
    if save is not None:
        save_figure(axes[0], save)


if __name__ == "__main__":
    command_line(main)
