"""The plan: a problem turned into offsets, sizes and codes that compiled code can follow.

Subscripts used everywhere: m rows of a batch, k inputs and n outputs of a layer, s a sample (row), i an
input, j an output.

Every matrix that the engine owns is kept in *column panels*: columns 0..P-1 of all its rows, then
columns P..2P-1, and so on, where P is two vectors wide. A last panel of at most one vector is one
vector wide. This is the layout that BLIS packs its right operand into (Van Zee & van de Geijn 2015),
so nothing is packed during training: gathering the rows of a minibatch is the only copy.
Columns beyond the last are padding: zero in weights, and never read as inputs.

The weights of a layer are a matrix of k + 1 rows: row k is the bias. All numbers of one dtype live in
one buffer, `memory`: parameters first, then each slot of optimizer state, then scratch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.problem import Problem
from fastnn.rules.table import (
    ACTIVATION_CODES,
    ACTIVATIONS,
    LOSS_CODES,
    LOSSES,
    UPDATE_CODES,
    UPDATES,
)

# Fields of a row of `Plan.layers`.
(
    K,  # inputs
    N,  # outputs
    ACTIVATION,  # code
    NEEDS_Z,  # 1: the slope needs z, which is kept at Z
    ROWWISE,  # 1: the activation works on whole rows
    BIAS,  # 1: the bias is trained
    WEIGHTS,  # offset of the (k + 1, n) weights
    TRANSPOSED,  # offset of the (n, k) transposed weights, or -1
    INPUT,  # offset of the (m, k) inputs, after dropout
    UNDROPPED,  # offset of the (m, k) inputs before dropout: INPUT where there is none
    MASK,  # offset of the (m, k) dropout factors, or -1
    THRESHOLD,  # dropout rate as a fraction of 2^32
    Z,  # offset of (m, n): z where NEEDS_Z, else OUTPUT
    OUTPUT,  # offset of (m, n): activations
    DELTA,  # offset of (m, n): derivative of the loss by z
    LAYER_FIELDS,
) = range(16)

# Fields of `Plan.head`.
(
    LAYERS,
    CAPACITY,  # rows that the scratch holds: the batch size, or fewer if there are fewer rows
    SAMPLES,  # rows of the data
    STEPS,  # minibatches of the epoch
    LOSS,
    UPDATE,
    SLOTS,
    SIZE,  # numbers in one copy of the parameters
    TARGETS,  # offset of the (m, n) targets of the batch
    ROW_SCALE,  # offset of (m,): weight of each row in the gradient
    ROW_SCRATCH,  # offset of (2, m)
    ONES,  # offset of one vector panel of ones, followed by one of zeros
    COLUMN_MASK,  # offset of (padded outputs,): 1 for a real output, 0 for padding
    PRIVATE,  # offset of the first thread's own scratch
    PRIVATE_SIZE,
    ROW_BLOCK,  # rows of one tile
    COLUMN_BLOCK,  # panels of one tile, where layers are phases of their own
    PHASES,
    DIRECT,  # 1: the update is W = beta W + alpha X^T D, inside the product
    CLASSES,  # 1: targets are class indices
    WEIGHTED,  # 1: rows have weights
    DROPOUT,  # 1: some layer has dropout
    PREFETCH,  # 1: ask for the rows of the next batch ahead of time
    HEAD_FIELDS,
) = range(24)

# Phases of a step: kind, layer.
ROWS, GATHER, FORWARD, LOSS_ROWS, BACKWARD, UPDATE_TILES = range(6)

# Columns of an update tile: layer, first and last input row, first and last panel.
TILE_FIELDS = 5

# Weights of up to this many bytes stay in a core's second-level cache, so that one thread can take a
# block of rows through all layers; larger ones are multiplied layer by layer.
FUSED_BYTES = 3 << 20
K_BLOCK_BYTES = 32 << 10  # a block of a panel that stays in the first-level cache
INFERENCE_ROWS = 64  # rows that prediction takes through all layers at a time


@dataclass(frozen=True)
class Layout:
    """Panels of `panel` columns, the last one `lanes` wide where that is enough."""

    lanes: int
    panel: int

    def padded(self, columns: int) -> int:
        """Columns stored, padding included."""
        return -(-columns // self.lanes) * self.lanes

    def panels(self, columns: int) -> int:
        """Number of panels."""
        return -(-columns // self.panel)

    def split(self, matrix: np.ndarray, flat: np.ndarray) -> None:
        """Write `matrix` (rows, columns) into `flat` in panels; padding becomes zero."""
        for part, panel in self._pairs(matrix, flat):
            panel[:, : part.shape[1]] = part
            panel[:, part.shape[1] :] = 0

    def join(self, flat: np.ndarray, matrix: np.ndarray) -> None:
        """Read `matrix` (rows, columns) back from its panels."""
        for part, panel in self._pairs(matrix, flat):
            part[:] = panel[:, : part.shape[1]]

    def _pairs(self, matrix: np.ndarray, flat: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        rows, columns = matrix.shape
        pairs = []
        for start in range(0, columns, self.panel):
            part = matrix[:, start : start + self.panel]
            width = self.padded(part.shape[1])
            pairs.append((part, flat[start * rows :][: width * rows].reshape(rows, width)))
        return pairs


@dataclass(frozen=True)
class Plan:
    """What compiled code follows; see the field names above."""

    layout: Layout
    head: np.ndarray  # int64 (HEAD_FIELDS,)
    layers: np.ndarray  # int64 (layers, LAYER_FIELDS)
    tiles: np.ndarray  # int64 (tiles, TILE_FIELDS): the update, largest first
    phases: np.ndarray  # int64 (phases, 2)
    inference: np.ndarray  # int64 (threads, layers, LAYER_FIELDS): the same weights, other scratch
    inference_head: np.ndarray
    memory_size: int

    def weights(self, memory: np.ndarray, layer: int, copy: int = 0) -> np.ndarray:
        """Return the panels of a layer's (k + 1, n) weights, or of a state slot (`copy` >= 1)."""
        row = self.layers[layer]
        start = int(row[WEIGHTS] + copy * self.head[SIZE])
        return memory[start : start + (row[K] + 1) * self.layout.padded(row[N])]


class _Allocator:
    """Hands out offsets, each at the start of a cache line."""

    def __init__(self, line: int) -> None:
        self.line, self.used = line, 0

    def __call__(self, count: int) -> int:
        at = self.used
        self.used += -(-count // self.line) * self.line
        return at


def make_plan(
    problem: Problem, samples: int, layout: Layout, threads: int, rule: str | None = None
) -> Plan:
    """Lay out `problem` for data of `samples` rows and a team of `threads`.

    `rule` is another update rule than the optimizer's. Which numbers are summed in which order does not
    depend on `threads`; only how the work is cut does.
    """
    rule = rule or problem.optimizer.rule
    take = _Allocator(max(1, 64 // problem.dtype.itemsize))
    shapes = problem.network.shapes
    capacity = min(problem.batch_size, samples)
    panel, padded = layout.panel, layout.padded

    layers = np.zeros((len(shapes), LAYER_FIELDS), np.int64)
    for row, dense, (k, n) in zip(layers, problem.network.dense, shapes, strict=True):
        activation = ACTIVATIONS[dense.activation]
        row[[K, N, BIAS]] = k, n, dense.bias
        row[ACTIVATION] = ACTIVATION_CODES[dense.activation]
        row[NEEDS_Z], row[ROWWISE] = activation.slope_needs_z, activation.rowwise
        row[MASK] = row[TRANSPOSED] = -1
        row[WEIGHTS] = take((k + 1) * padded(n))
    size = take.used
    take.used = size * (1 + UPDATES[rule].slots)
    fused = size * problem.dtype.itemsize <= FUSED_BYTES
    inference = np.stack([layers] * threads)
    for own in inference:
        _place_activations(own, take, min(INFERENCE_ROWS, max(samples, 1)), layout)

    _place_activations(layers, take, capacity, layout)
    for index, (row, rate) in enumerate(zip(layers, problem.network.dropouts, strict=True)):
        k, n = int(row[K]), int(row[N])
        if rate > 0:
            row[INPUT], row[MASK] = take(capacity * padded(k)), take(capacity * padded(k))
            row[THRESHOLD] = int(rate * 2**32)
        if fused and index > 0:
            row[TRANSPOSED] = take(n * padded(k))
        row[DELTA] = take(capacity * padded(n))

    outputs = shapes[-1][1]
    head = np.zeros(HEAD_FIELDS, np.int64)
    head[LAYERS], head[CAPACITY], head[SAMPLES] = len(shapes), capacity, samples
    head[STEPS] = -(-samples // problem.batch_size)
    head[LOSS], head[UPDATE] = LOSS_CODES[problem.loss], UPDATE_CODES[rule]
    head[SLOTS], head[SIZE] = UPDATES[rule].slots, size
    head[CLASSES] = LOSSES[problem.loss].targets == "classes"
    head[TARGETS] = take(capacity * padded(outputs))
    head[ROW_SCALE], head[ROW_SCRATCH] = take(capacity), take(2 * capacity)
    head[ONES], head[COLUMN_MASK] = take(2 * panel), take(padded(outputs))
    k_block = max(1, K_BLOCK_BYTES // problem.dtype.itemsize // panel // panel) * panel
    head[PRIVATE_SIZE] = k_block * panel
    head[PRIVATE] = take(threads * k_block * panel)
    head[DIRECT] = rule == "sgd" and problem.l1 == 0
    head[DROPOUT] = any(rate > 0 for rate in problem.network.dropouts)
    head[ROW_BLOCK], head[COLUMN_BLOCK] = _row_block(capacity, threads, fused), 4
    phases = _phases(len(shapes), fused)
    head[PHASES] = len(phases)
    inference_head = head.copy()
    inference_head[CAPACITY] = min(INFERENCE_ROWS, max(samples, 1))
    inference_head[CLASSES], inference_head[ROW_SCALE] = 1, take(2 * INFERENCE_ROWS)
    inference_head[ROW_SCRATCH] = take(threads * 2 * INFERENCE_ROWS)
    tiles = _update_tiles(shapes, layout, threads, capacity)
    return Plan(layout, head, layers, tiles, phases, inference, inference_head, take.used)


def _place_activations(layers: np.ndarray, take: _Allocator, rows: int, layout: Layout) -> None:
    """Give the inputs, z and outputs of every layer a place for `rows` rows."""
    inputs = take(rows * layout.padded(int(layers[0, K])))
    for row in layers:
        row[UNDROPPED] = row[INPUT] = inputs
        inputs = row[OUTPUT] = take(rows * layout.padded(int(row[N])))
        row[Z] = take(rows * layout.padded(int(row[N]))) if row[NEEDS_Z] else inputs


def _row_block(capacity: int, threads: int, fused: bool) -> int:
    """Rows of a tile: many enough to reuse weights, few enough to share the batch evenly."""
    if threads == 1:
        return min(capacity, 64 if fused else 512)
    if not fused:
        return 128
    return max(8, min(32, -(-capacity // (2 * threads) // 8) * 8))


def _phases(layers: int, fused: bool) -> np.ndarray:
    if fused:
        phases = [(ROWS, 0), (UPDATE_TILES, 0)]
    else:
        phases = [(GATHER, 0)]
        phases += [(FORWARD, layer) for layer in range(layers)]
        phases += [(LOSS_ROWS, 0)]
        phases += [(BACKWARD, layer) for layer in range(layers - 1, 0, -1)]
        phases += [(UPDATE_TILES, 0)]
    return np.array(phases, np.int64)


def _update_tiles(
    shapes: tuple[tuple[int, int], ...], layout: Layout, threads: int, capacity: int
) -> np.ndarray:
    """Cut all weights into tiles of whole panels of inputs, of about equal work."""
    work = sum(k * n for k, n in shapes)
    # One thread needs no cutting; a team needs enough tiles to share, of a microsecond or more each.
    target = work if threads == 1 else max(work // (8 * threads), 1 << 21 // max(capacity, 1))
    tiles = []
    for layer, (k, n) in enumerate(shapes):
        chunks, panels = layout.panels(k), layout.panels(n)
        width = min(n, layout.panel)
        high = max(1, min(chunks, round(target / (layout.panel * width))))
        wide = max(1, min(panels, round(target / (k * width)))) if high == chunks else 1
        for p in range(0, panels, wide):
            for c in range(0, chunks, high):
                rows = (c * layout.panel, min(k, (c + high) * layout.panel))
                tiles.append((layer, *rows, p, min(panels, p + wide)))
    tiles.sort(key=lambda tile: (tile[1] - tile[2]) * (tile[4] - tile[3]))
    return np.array(tiles, np.int64)
