"""Along what the work of training grows: the shapes that the report's section on scaling times."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workloads import Workload

BASE = Workload("base", (64, 128, 128, 10), 64, 8_192, 0.01)


@dataclass(frozen=True)
class Axis:
    """What grows, what the exponent is fitted on, the exponent to hope for, and the shapes."""

    title: str
    x: str
    ideal: str
    workloads: dict[int, Workload]  # by what grows


def hidden(layers: int, width: int) -> Workload:
    """Return the base with other hidden layers."""
    return replace(BASE, widths=(BASE.widths[0], *[width] * layers, BASE.widths[-1]))


AXES = {
    "rows": Axis(
        "rows, from 2,048 to 32,768",
        "work",
        "1",
        {n: replace(BASE, rows=n) for n in (2_048, 4_096, 8_192, 16_384, 32_768)},
    ),
    "width": Axis(
        "width of 2 hidden layers, from 32 to 512",
        "work",
        "1",
        {width: hidden(2, width) for width in (32, 64, 128, 256, 512)},
    ),
    "depth": Axis(
        "hidden layers of 128, from 1 to 8",
        "work",
        "1",
        {layers: hidden(layers, 128) for layers in (1, 2, 4, 8)},
    ),
    "batch": Axis(
        "rows a batch, from 8 to 512",
        "batch",
        "0",
        {m: replace(BASE, batch=m) for m in (8, 32, 128, 512)},
    ),
    "threads": Axis("threads, from 1 to all", "threads", "-1", {0: BASE}),
}


def multiply_adds(workload: Workload) -> int:
    """Return the multiply-adds of an epoch: forward, weights' gradients, inputs' gradients.

    The first layer needs no gradient of its inputs.
    """
    products = [n * k for n, k in zip(workload.widths[:-1], workload.widths[1:], strict=True)]
    return workload.rows * (3 * sum(products) - products[0])
