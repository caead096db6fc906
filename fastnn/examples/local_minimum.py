"""Gradient descent ends in the valley where it starts; random restarts find the lowest one."""

from __future__ import annotations

import numpy as np

from fastnn import plots
from fastnn.examples.running import command_line, panels, save_figure
from fastnn.graph import cos, minimize


def hills(x):  # type: ignore[no-untyped-def]
    """Return a parabola with waves on it: many valleys, the lowest near 0.5."""
    return 0.1 * (x - 1) ** 2 - cos(3 * x - 1.5)


def main(save: str | None = None, start: float = 6.0, restarts: int = 20) -> None:
    """Go down from one start, and then from many."""
    one = minimize(hills, start, bounds=(-8, 8), learning_rate=0.02, steps=400)
    many = minimize(hills, None, (-8, 8), learning_rate=0.02, steps=400, restarts=restarts)
    print(f"from x = {start:g}: ends at x = {one.x[0]:.4f}, value {one.value:.4f}")
    print(f"the gradient there is {one.gradient[0]:.1e}, so descent has no reason to go on")
    ends = np.unique(np.round([each.x[0] for each in many.restarts], 3))
    print(
        f"{restarts} random starts end in {len(ends)} valleys, at x = {', '.join(map(str, ends))}"
    )
    print(f"the lowest: x = {many.x[0]:.4f}, value {many.value:.4f}")
    if save is not None:
        left, right = panels(1, 2)
        plots.descent(one, ax=left).set_title("one start")
        plots.descent(many, ax=right).set_title(f"the best of {restarts} starts")
        save_figure(left, save)


if __name__ == "__main__":
    command_line(main)
