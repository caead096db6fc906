"""Deep sigmoid layers hardly learn: each multiplies the gradient by a derivative of at most 1/4."""

from __future__ import annotations

import numpy as np

from fastnn import SGD, Dense, Network, Trainer, datasets, plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.graph.axes import colour, marker
from fastnn.typing import ActivationName, Target


def gradient_norms(
    activation: ActivationName, layers: int, units: int, target: Target
) -> np.ndarray:
    """Return the root mean square of the first step's gradient by each layer's weights.

    One step over all rows at a learning rate of 1 changes the weights by exactly the gradient.
    """
    X, y = datasets.digits()
    trainer = Trainer(
        Network(64, [*(Dense(units, activation) for _ in range(layers)), Dense(10)]),
        optimizer=SGD(1.0),
        batch_size=len(y),
        target=target,
        dtype="float64",
    )
    before = trainer.parameters
    trainer.fit(X, y, epochs=1)
    changes = (W - V for (W, _), (V, _) in zip(before, trainer.parameters, strict=True))
    return np.array([np.sqrt(np.mean(change**2)) for change in changes])


def main(
    save: str | None = None, layers: int = 10, units: int = 50, target: Target = "cpu"
) -> None:
    """Compare gradients in the first and in the last hidden layer."""
    names: tuple[ActivationName, ...] = ("sigmoid", "tanh", "relu")
    found = {name: gradient_norms(name, layers, units, target) for name in names}
    print(f"Root mean square of the gradient by the weights, {layers} hidden layers, digits:")
    for name, norms in found.items():
        first, last = norms[0], norms[-2]
        print(f"{name:8s} first {first:.1e}, last hidden {last:.1e}, ratio {first / last:.1e}")
    if save is not None:
        axes = panels(1, 2)
        for index, (name, norms) in enumerate(found.items()):
            style = {"color": colour(index), "marker": marker(index), "label": name}
            axes[0].semilogy(range(len(norms)), norms, **style)
        axes[0].set(xlabel="layer", ylabel="root mean square of the gradient")
        axes[0].legend()
        plots.activation("sigmoid", limits=(-8, 8), ax=axes[1])
        save_figure(axes[0], save)


if __name__ == "__main__":
    command_line(main)
