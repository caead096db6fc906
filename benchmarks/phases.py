"""One phase of a step alone: a layer forward, backward, or the update of its weights.

What the engine does in a step is a table of phases in its plan. Here the plan of a network that has
just been trained keeps a single row of it, which the same compiled code then repeats, once a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastnn import Dense, Network, Trainer
from fastnn.inputs.data import Data
from fastnn.targets.cpu.engine import Engine
from fastnn.targets.cpu.plan import PHASES
from fastnn.targets.cpu.tiling import BACKWARD, FORWARD, KIND, ROW_BLOCK, ROWS, UPDATE_TILES
from fastnn.targets.cpu.working_memory import Working

KINDS = {"forward": FORWARD, "backward": BACKWARD, "update": UPDATE_TILES}
ALL_PANELS = 1 << 20  # more than a layer has


def repeated_phase(
    kind: str, layer: int, widths: tuple[int, ...], batch: int, batches: int
) -> Callable[[], None]:
    """Return a function that does one phase of a relu network for some batches, on one thread.

    Parameters
    ----------
    kind
        A key of `KINDS`.
    layer
        0 for the first. Backward is the derivative by the inputs of a layer, which the first lacks.
    widths
        Inputs, then the units of each layer.
    batch, batches
        Rows of a batch, and how many a call of the function does.

    Raises
    ------
    RuntimeError
        Other weights changed than those of the phase.
    """
    *hidden, outputs = widths[1:]
    network = Network(widths[0], [*(Dense(n, "relu") for n in hidden), Dense(outputs)])
    trainer = Trainer(network, batch_size=batch)
    engine = Engine(trainer.problem, threads=1)
    engine.load(trainer.parameters, [])
    random = np.random.default_rng(0)
    rows = batch * batches
    X = random.standard_normal((rows, widths[0]), np.float32)
    data = Data(X, random.integers(0, outputs, rows))
    order, rates = random.permutation(rows), np.full(batches, 1e-6)

    def train() -> None:
        engine.train_epoch(data, order, rates, 0, 0)

    train()  # activations and derivatives are now those of the last batch
    plan, memory = engine._working.plan, engine._working.memory
    head, phases = plan.head.copy(), plan.phases[:1].copy()
    head[PHASES] = 1
    row_block = plan.phases[plan.phases[:, KIND] == ROWS][0, ROW_BLOCK]
    of = 0 if kind == "update" else layer  # the one part of the gradient
    panels = plan.layout.panels(widths[layer])
    phases[0] = KINDS[kind], of, row_block, ALL_PANELS, 1, -1, -1, 0, panels
    tiles = plan.tiles[plan.tiles[:, 0] == layer]
    owners = np.array([0, len(tiles)])
    alone = replace(plan, head=head, phases=phases, tiles=tiles, owners=owners)
    engine._working = Working(engine.problem, alone, engine._slots, engine._alphas)
    engine._working.memory[:] = memory
    before = engine.parameters()
    train()
    moved = [
        not all(map(np.array_equal, old, new))
        for old, new in zip(before, engine.parameters(), strict=True)
    ]
    if moved != [kind == "update" and each == layer for each in range(len(moved))]:
        raise RuntimeError(
            f"this was not the {kind} of layer {layer} alone; weights moved: {moved}"
        )
    return train
