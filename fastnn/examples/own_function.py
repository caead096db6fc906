"""Any function that you define: its derivatives as formulas, and the way down with momentum.

Rosenbrock's function (1960) has a long bent valley, along which plain descent creeps.
"""

from __future__ import annotations

import numpy as np

from fastnn import plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.graph import minimize, trace


def valley(x, y):  # type: ignore[no-untyped-def]
    """Return (1 - x)^2 + 100 (y - x^2)^2, which is 0 at (1, 1) alone."""
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def main(save: str | None = None, steps: int = 1000, learning_rate: float = 1e-3) -> None:
    """Print the partial derivatives, then descend with and without momentum."""
    formula = trace(valley)
    print(f"f = {formula}")
    for name in formula.names:
        print(f"df/d{name} = {formula.derivative(name)}")
    axes = panels(1, 2) if save is not None else []
    for index, momentum in enumerate((0.0, 0.9)):
        result = minimize(
            valley, start=(-1.2, 1), learning_rate=learning_rate, steps=steps, momentum=momentum
        )
        far = np.linalg.norm(result.x - 1)
        print(f"momentum {momentum}: after {steps} steps {far:.2g} from (1, 1), value", end=" ")
        print(f"{result.value:.2g}")
        if axes:
            plots.descent(result, ax=axes[index]).set_title(f"momentum {momentum}")
    if save is not None:
        save_figure(axes[0], save)


if __name__ == "__main__":
    command_line(main)
