"""A computation graph, forward and backward: J = (2a + b)c, and one step down its gradient."""

from __future__ import annotations

from fastnn.examples.running import command_line, save_figure
from fastnn.graph import variables


def main(
    save: str | None = None, a: float = 3.0, b: float = 4.0, c: float = 5.0, rate: float = 0.01
) -> None:
    """Print value and gradient of every node, and check one derivative by a small change."""
    first, second, third = variables("a b c")
    u = (2 * first).named("u")
    v = (u + second).named("v")
    J = (v * third).named("J")
    print(J.table(a=a, b=b, c=c))
    change = 1e-6
    quotient = (J.evaluate(a=a + change, b=b, c=c) - J.evaluate(a=a, b=b, c=c)) / change
    gradient = J.gradient(a=a, b=b, c=c)
    print(f"dJ/da = {J.derivative('a')} = {gradient['a']:g}; a little more a: {quotient:.4f}")
    values = {"a": a, "b": b, "c": c}
    moved = {name: value - rate * gradient[name] for name, value in values.items()}
    print(f"one step of rate {rate:g} takes J from {J.evaluate(**values):g} to", end=" ")
    print(f"{J.evaluate(**moved):g}")
    if save is not None:
        save_figure(J.draw(a=a, b=b, c=c), save)


if __name__ == "__main__":
    command_line(main)
