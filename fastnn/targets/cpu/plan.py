"""The plan: a problem turned into offsets, sizes and codes that compiled code can follow.

Subscripts used everywhere: m rows of a batch, k inputs and n outputs of a layer, s a sample (row),
i an input, j an output.

Every matrix that the engine owns is kept in *column panels*: columns 0..P-1 of all its rows, then
columns P..2P-1, and so on, where P is two vectors wide. A last panel of at most one vector is one
vector wide. This is the layout that BLIS packs its right operand into (Van Zee & van de Geijn
2015), so nothing is packed during training: gathering the rows of a minibatch is the only copy.
Columns beyond the last are padding: zero in weights, and never read as inputs.

The weights of a layer are a matrix of k + 1 rows: row k is the bias. A first layer of few outputs
is the exception (see `fastnn.targets.cpu.products.narrow`): n rows of k weights, then the n biases.
What else a layer has one number a unit of, such as the slopes of prelu, follows by itself: see
`UNIT_FIELDS`. Other layers have nothing but such. All numbers of one dtype live in one buffer,
`memory`: parameters, then each slot of optimizer state, then scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.inputs.memory import check_memory
from fastnn.rules.table import (
    ACTIVATION_CODES,
    CUSTOM,
    LOSS_CODES,
    UPDATE_CODES,
    UPDATES,
    activation_row,
    loss_row,
    update_row,
)
from fastnn.sanitizer import CHECKED
from fastnn.targets import fields
from fastnn.targets.cpu.kinds import BY_COLUMNS, BY_ROWS, KINDS, LINEAR, PERIODIC
from fastnn.targets.cpu.lanes import fit_lanes, memory_for
from fastnn.targets.cpu.laziness import STAMPED, Laziness
from fastnn.targets.cpu.parts import Part, cut_parts
from fastnn.targets.cpu.tiling import (
    ALONE_BYTES,
    COLUMN_BLOCK,
    END_PANEL,
    FORWARD,
    GROUP,
    KIND,
    LAYER,
    PACKED_ROWS,
    ROWS,
    TILE_COLUMNS,
    UPDATE_TILES,
    cut_update,
    list_phases,
    look_rows,
)
from fastnn.targets.fields import (
    DELTA,
    INPUT,
    MEAN_SLOT,
    NEEDS_Z,
    OUTPUT,
    ROWWISE,
    SHARED,
    SIZE,
    THRESHOLD,
    WEIGHTS,
    K,
    N,
    Z,
    describe,
)
from fastnn.targets.layout import SUMMED_ROWS, Allocator, Layout

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem

# Fields of a row of `Plan.layers` after those of `fastnn.targets.fields`.
(
    ACTIVATION,  # code, or CUSTOM
    NARROW,  # offset of the n biases where the weights before them are kept as (n, k), or -1
    TRAINABLE,  # offset of the n slopes below 0 that are trainable, or -1
    TRANSPOSED,  # offset of the (n, k) transposed weights, or -1
    UNDROPPED,  # offset of the (m, k) inputs before dropout: INPUT where there is none
    MASK,  # offset of the (m, k) dropout factors, or -1
    PARTS,  # index of its first sum of squares in `parts`, where the gradient's norm is needed
    SLOPES,  # offset of (m, n): the slopes drawn in training, 1 above 0; or -1
    OWN_VALUE,  # address of the record of the user-defined activation, which the engine fills in
    OWN_DERIVATIVE,  # and of that of its derivative
    LAYER_KIND,  # code: LINEAR, BY_ROWS, BY_COLUMNS or PERIODIC
    GAMMA,  # offset of the n factors of a normalization, or of n frequencies, or -1
    BETA,  # offset of the n numbers that it adds, or of n phases, or -1
    MEAN,  # offset of the n running means, or -1
    VARIANCE,  # offset of the n running variances, or -1
    COSINES,  # how many each column has
    X_HAT,  # offset of (m, n): normalized inputs, or derivatives of cosines by c x; in the end,
    # derivatives by GAMMA; or -1
    STATISTICS,  # of rows: offset of 1 / sqrt(variance + epsilon) of m rows; of columns: of five
    # vectors (n,), which lie padded(n) apart, or -1 in prediction; else -1
    LAYER_FIELDS,
) = range(fields.LAYER_FIELDS, fields.LAYER_FIELDS + 19)

IDENTITY = ACTIVATION_CODES["identity"]
# Where in a row the parameters lie that a layer has one of a unit, but the bias: in their order.
UNIT_FIELDS = {
    "gamma": GAMMA,
    "frequencies": GAMMA,
    "beta": BETA,
    "phases": BETA,
    "mean": MEAN,
    "variance": VARIANCE,
    "slopes": TRAINABLE,
}
_UNITS = tuple(dict.fromkeys(UNIT_FIELDS.values()))

# Fields of `Plan.head` after those of `fastnn.targets.fields`.
(
    CAPACITY,  # rows of every activation matrix
    STEPS,  # minibatches of the epoch
    LOSS,  # code, or CUSTOM
    UPDATE,
    TARGETS,  # offset of the (m, n) targets of the batch
    ROW_SCALE,  # offset of (m,): weight of each row in the gradient
    ROW_SCRATCH,  # offset of (2, m)
    ONES,  # offset of one panel's width of ones, followed by one of zeros
    PADDING,  # offset of one vector of zeros, followed by one of ones
    PRIVATE,  # offset of the first thread's own scratch
    PRIVATE_SIZE,
    PHASES,
    FIRST_TRAINED,  # the first layer that is trained: no derivative by what is before it is needed
    DIRECT,  # 1: the update is W = beta W + alpha X^T D, inside the product
    CLASSES,  # 1: targets are class indices
    PREFETCH,  # how many rows ahead of time rows are asked for, or 0
    OWN_INPUTS,  # numbers from one thread's copy of the batch's inputs to the next thread's, or 0
    LOOK_ROWS,  # rows of a batch that have a list of the inputs that they use
    NONZERO_SIZE,  # numbers from one list of nonzero inputs to the next
    ADDRESSES_SIZE,  # numbers from one table of row addresses to the next
    IN_PLACE,  # 1: the first layer reads the caller's rows where they lie; COPIED: in the same way,
    # it reads copies of them, for their numbers are of another dtype; SPARSE: they are sparse;
    # 0: copies in panels
    KEPT,  # from a parameter to its gradient, kept until the norm of all is known, or 0
    OWN_LOSSES,  # address of the record of the user-defined loss, which the engine fills in: for
    OWN_LOSS_GRADIENTS,  # many numbers, for the derivatives of many,
    OWN_GRADIENT,  # for that of one,
    OWN_ROW_LOSSES,  # and for a loss of whole rows, with its derivatives;
    OWN_SCRATCH,  # offset of the first thread's scratch for that
    OWN_SCRATCH_SIZE,
    LAZY,  # how the first layer follows sparse rows: see `laziness`
    ENTRIES,  # offset of numbers of one row, for each thread: ENTRY_BLOCK, one thread after another
    GRADIENT,  # offset of the gradient of those rows of the first W that a batch uses, as W lies
    EPOCH_STEPS,  # minibatches of the epoch, where STEPS are those of a part of it
    STATUS,  # offset of two numbers behind the kept gradient, where it is summed over processes: 1
    # for a loss that is not finite, and 1 for a process that wants to stop; else 0
    SUM,  # address of the function that sums both, which the engine fills in
    ROUNDED,  # how factors of products are rounded to bfloat16 and multiplied: see
    # `products.rounded`; or 0
    PACKED,  # offset of the first thread's rounded factors
    PACKED_SIZE,
    THREADS,  # of the team that `owners` is for
    IN_LANES,  # offset of the weights of a model of one layer, for single rows, side by side in
    # vectors, and of what goes with them: see `products.outputs`; or -1
    RANGE_BITS,  # 2^this ranges of inputs, whose sums are apart: see `step.sparse_ranges`
    RANGE_SUMS,  # offset of these sums, of a batch, range by range
    MIDDLE,  # the panel of the first layer where the part of the second of two threads begins, each
    # of which may begin its part of the next step while the other ends this one; or 0
    LEFT_OVER,  # how many tiles of the update the other may have left then
    ROW_BY_ROW,  # 1: all outputs are trained on one sparse row at a time: `step.sparse_outputs`
    SUMMED,  # 1: a batch's gradient by sparse rows is summed in PRIVATE: `step.sparse_ranges`
    HEAD_FIELDS,
) = range(fields.NETWORK_FIELDS, fields.NETWORK_FIELDS + 46)

COPIED, SPARSE = 2, 3  # of IN_PLACE
# Of each thread: of the rows that it sums over, of some to be read later, and of those of either
# that it asks for.
ADDRESS_TABLES = 3
PAIRS, TILES = 1, 2  # of ROUNDED: by AVX512_BF16, or by AMX
ENTRY_BLOCK = 512  # numbers of a sparse row that are unpacked together

PRIVATE_BYTES = 32 << 10  # a thread's own gradient of a part of W, or transposed part of W
K_BLOCK_BYTES = 20 << 10  # a block of a panel that stays in the first-level cache
LOSS_BLOCK = 64  # steps of one row each whose losses are added up together
LIST_SLACK = 8  # numbers behind a list that are written while it is made
PACKED_TERMS = 256  # of a sum whose factors are rounded and packed together, two in a word
# What a thread has packed: rows of one factor, and one panel of the other. After them a row of
# zeros, and a block of results.
PACKED_BLOCK, PACKED_PANEL = PACKED_ROWS * PACKED_TERMS // 2, 32 * PACKED_TERMS // 2
PACKED_NUMBERS = PACKED_BLOCK + PACKED_PANEL + 32 + 32 * 32
# A thread's own gradient, where each part of it packs its factors.
ROUNDED_PRIVATE_BYTES = 256 << 10
# Rows that prediction takes through all layers at a time, whole tiles, and places for them: an odd
# number, as in training.
INFERENCE_ROWS = 64
INFERENCE_PLACES = INFERENCE_ROWS + 1


@dataclass(frozen=True)
class Plan:
    """What compiled code follows; see the field names above."""

    layout: Layout
    head: np.ndarray  # int64 (HEAD_FIELDS,)
    layers: np.ndarray  # int64 (layers, LAYER_FIELDS)
    tiles: np.ndarray  # int64 (tiles, TILE_FIELDS): the update, in the order of their owners
    owners: np.ndarray  # int64 (parts * threads + 1,): where the tiles of each thread start, part
    # by part of the gradient; of one part, where no gradients are summed over processes
    phases: np.ndarray  # int64 (phases, PHASE_FIELDS)
    inference: np.ndarray  # int64 (threads, layers, LAYER_FIELDS): the same weights, other scratch
    inference_heads: np.ndarray  # int64 (threads, HEAD_FIELDS)
    memory_size: int
    parts_size: int  # float64 numbers: a panel's width for each thread, then sums of squares
    records: np.ndarray  # int64 (2 layers + 3, 2): addresses of code and numbers of user's rules
    constants: dict[int, np.ndarray]  # record -> those numbers
    buffers: list[tuple[int, int]]  # offset and count of each, in the order of their offsets
    parts: list[Part]  # of the gradient, which are summed over processes; none, or at least one

    def keeps_states_of(self, other: Plan) -> bool:
        """Return whether parameters and slots lie where another plan of the problem has them."""
        fields = [WEIGHTS, NARROW, *_UNITS]
        return bool(
            self.layout == other.layout
            and self.head[SIZE] == other.head[SIZE]
            and (self.layers[:, fields] == other.layers[:, fields]).all()
        )

    def write_weights(
        self, memory: np.ndarray, layer: int, weights: np.ndarray, copy: int = 0
    ) -> None:
        """Store the parameters of a layer, or a state slot of them (`copy` >= 1).

        They are (k + 1, n) weights, if it has any, followed by a row for each of `UNIT_FIELDS` that
        it has.
        """
        units = self._units(memory, layer, copy)
        for unit, values in zip(units, weights[len(weights) - len(units) :], strict=True):
            unit[:] = values
        weights = weights[: len(weights) - len(units)]
        if self.layers[layer, WEIGHTS] < 0:
            return
        if self.layers[layer, NARROW] < 0:
            self.layout.split(weights, self._panels(memory, layer, copy))
        else:
            transposed, bias = self._narrow(memory, layer, copy)
            transposed[:], bias[:] = weights[:-1].T, weights[-1]

    def read_weights(self, memory: np.ndarray, layer: int, copy: int = 0) -> np.ndarray:
        """Return a copy of what `write_weights` stored."""
        row = self.layers[layer]
        k, n, start = int(row[K]), int(row[N]), int(row[WEIGHTS])
        units = self._units(memory, layer, copy)
        height = k + 1 if start >= 0 else 0
        every = np.empty((height + len(units), n), memory.dtype)
        weights = every[:height]
        for to, unit in zip(every[height:], units, strict=True):
            to[:] = unit
        if start < 0:
            return every
        if self.layers[layer, NARROW] < 0:
            self.layout.join(self._panels(memory, layer, copy), weights)
        else:
            transposed, bias = self._narrow(memory, layer, copy)
            weights[:-1], weights[-1] = transposed.T, bias
        return every

    def _units(self, memory: np.ndarray, layer: int, copy: int) -> list[np.ndarray]:
        """Return views of the parameters in `UNIT_FIELDS` that a layer has."""
        row = self.layers[layer].tolist()
        offset, n = copy * int(self.head[SIZE]), row[N]
        starts = [offset + row[field] for field in _UNITS if row[field] >= 0]
        return [memory[start : start + n] for start in starts]

    def _panels(self, memory: np.ndarray, layer: int, copy: int) -> np.ndarray:
        row = self.layers[layer]
        start = int(row[WEIGHTS]) + copy * int(self.head[SIZE])
        return memory[start : start + (int(row[K]) + 1) * self.layout.padded(int(row[N]))]

    def _narrow(self, memory: np.ndarray, layer: int, copy: int) -> tuple[np.ndarray, np.ndarray]:
        k, n, weights, bias = self.layers[layer, [K, N, WEIGHTS, NARROW]]
        offset = copy * self.head[SIZE]
        transposed = memory[weights + offset :][: n * k].reshape(n, k)
        return transposed, memory[bias + offset :][:n]


def is_narrow(layout: Layout, inputs: int, outputs: int) -> bool:
    """Whether a first layer is better computed along its inputs than along its outputs."""
    return 4 * outputs <= 3 * layout.lanes and inputs >= layout.panel > 1


def make_plan(
    problem: Problem,
    samples: int,
    layout: Layout,
    threads: int,
    rule: str | None = None,
    sparse: Laziness | None = None,
    shared: bool = False,
    summed: int = 0,
    rounded: int = 0,
) -> Plan:
    """Lay out `problem` for data of `samples` rows and a team of `threads`.

    `rule` is another update rule than the optimizer's. With `sparse` the first layer reads sparse
    rows: nothing has the size of a batch of them, and W is in panels however few its units. Which
    numbers are summed in which order does not depend on `threads`; only how the work is cut does.
    `shared` is whether other processes have rows of each batch, `summed` of how many of them
    gradients are added up, or 0. With `rounded`, factors of products are rounded to bfloat16: see
    ROUNDED.
    """
    rule = rule or problem.optimizer.rule
    own_rule = rule == problem.optimizer.rule
    state = update_row(problem.optimizer) if own_rule else UPDATES[rule]
    take = Allocator(max(1, 64 // problem.dtype.itemsize))
    shapes = problem.network.widths
    batch, first_trained = min(problem.batch_size, samples), problem.network.first_trained
    # An odd number of rows: the same row of all panels would else fall into one set of the cache.
    # A row that nothing uses would hide a stray access from the checks.
    capacity = batch if CHECKED else batch | 1
    padded = layout.padded

    head = np.zeros(HEAD_FIELDS, np.int64)
    layers = np.zeros((len(shapes), LAYER_FIELDS), np.int64)
    describe(problem, samples, own_rule, head, layers)
    for index, (layer, (k, n)) in enumerate(zip(problem.network.parametric, shapes, strict=True)):
        row = layers[index]
        row[LAYER_KIND] = KINDS[layer.kind].code
        row[ACTIVATION] = ACTIVATION_CODES.get(activation_row(layer.activation).name, CUSTOM)
        row[[MASK, TRANSPOSED, NARROW, SLOPES, X_HAT, STATISTICS, WEIGHTS]] = -1
        row[list(_UNITS)] = -1
        row[COSINES] = getattr(layer, "frequencies", 0)
        if row[LAYER_KIND] != LINEAR:
            pass
        elif index == 0 and not (sparse or rounded) and is_narrow(layout, k, n):
            row[WEIGHTS], row[NARROW] = take(n * k), take(padded(n))
        else:
            row[WEIGHTS] = take((k + 1) * padded(n))
        for parameter in problem.network.parameters[index]:
            if parameter.name in UNIT_FIELDS:
                row[UNIT_FIELDS[parameter.name]] = take(padded(n))
    size = take.used
    take.copy(1 + state.slots)
    mean_slot = size * state.slots if state.mean else 0  # the last one, which predicts
    norm = own_rule and problem.clip_norm is not None
    kept = take.like_first(size) if norm or summed else 0
    status = take(2) if summed else 0  # next to it, so that both are one buffer
    parts_size = _place_parts(layers, layout, threads) if norm else threads * layout.panel
    places = INFERENCE_ROWS if CHECKED else INFERENCE_PLACES
    inference = np.stack([layers] * threads)
    inference[:, :, THRESHOLD] = 0  # nothing is dropped
    for field in (WEIGHTS, NARROW, *_UNITS):
        there = layers[:, field] >= 0
        inference[:, there, field] += mean_slot
    for own in inference:
        inputs = 0 if sparse else take(places * padded(shapes[0][0]))
        _place_activations(own, inputs, take, places, layout)

    parts = _parts_of(problem, layout, layers, size, sparse, summed) if summed else []
    phases = list_phases(problem, layout, batch, threads, own_rule, sparse, parts, rounded > 0)
    own = phases[0, KIND] == FORWARD and not sparse
    first = step = 0
    if not sparse:
        first, step = _place_inputs(problem, take, capacity, layout, threads if own else 1)
    _place_activations(layers, first, take, capacity, layout)
    together = int(phases[phases[:, KIND] == ROWS][0, LAYER])
    back_to = max(together, first_trained + 1)  # the first layer that hands derivatives on in ROWS
    for index, (row, rate) in enumerate(zip(layers, problem.network.dropouts, strict=True)):
        k, n = int(row[K]), int(row[N])
        if rate > 0 and not (sparse and index == 0):  # of whose numbers each is dropped by itself
            row[MASK] = take(capacity * padded(k))
            row[INPUT] = take(capacity * padded(k)) if index > 0 else first + step // 2
        if row[LAYER_KIND] == PERIODIC:
            row[X_HAT] = take(capacity * padded(n))
        if row[LAYER_KIND] == BY_COLUMNS:
            row[X_HAT], row[STATISTICS] = take(capacity * padded(n)), take(5 * padded(n))
        small = row[LAYER_KIND] == LINEAR and k * n * problem.dtype.itemsize <= ALONE_BYTES
        if small and index >= back_to and not rounded:
            row[TRANSPOSED] = take(n * padded(k))
        row[DELTA] = take(capacity * padded(n))
        if activation_row(problem.network.parametric[index].activation).random:
            row[SLOPES] = take(capacity * padded(n))

    head[CAPACITY], head[THREADS] = capacity, threads
    head[STEPS] = -(-samples // problem.batch_size)
    loss = loss_row(problem.loss)
    head[LOSS], head[UPDATE] = LOSS_CODES.get(loss.name, CUSTOM), UPDATE_CODES[rule]
    head[SIZE], head[MEAN_SLOT] = size, mean_slot
    head[CLASSES] = loss.targets == "classes"
    head[TARGETS] = take(capacity * padded(problem.target_columns))
    row_by_row = sparse is not None and sparse.row_by_row
    alone = problem.network.outputs if layout.panel == 1 or row_by_row else 1  # of single rows
    head[ROW_SCALE] = take(capacity)
    head[ROW_SCRATCH] = take(2 * max(capacity, LOSS_BLOCK, alone))
    head[PADDING] = take(2 * layout.lanes)
    head[ONES] = take(2 * layout.panel)
    panel_bytes = problem.dtype.itemsize * layout.panel
    private = ROUNDED_PRIVATE_BYTES if rounded else PRIVATE_BYTES
    head[PRIVATE_SIZE] = max(1, private // panel_bytes // layout.panel) * layout.panel**2
    if layout.panel == 1:
        head[PRIVATE_SIZE] = 3 * shapes[0][0]  # a gradient, or three rows of X
    head[PRIVATE] = take(threads * int(head[PRIVATE_SIZE]))
    head[IN_LANES] = -1
    if layout.panel == 1 and fit_lanes(*shapes[0], problem.dtype.itemsize):
        head[IN_LANES] = take(memory_for(*shapes[0], problem.dtype.itemsize))
    if loss.rowwise and head[LOSS] == CUSTOM:
        own_loss: Any = problem.loss
        head[OWN_SCRATCH_SIZE] = take.round(own_loss.source.scratch)
        head[OWN_SCRATCH] = take(threads * int(head[OWN_SCRATCH_SIZE]))
    head[KEPT] = kept
    head[FIRST_TRAINED] = first_trained
    shrunk = any(
        l1 and layer.trainable
        for layer, (l1, _) in zip(problem.network.parametric, problem.penalties, strict=True)
    )
    plain = rule == "sgd" and not problem.clips and not shrunk and not summed
    head[DIRECT] = plain and batch <= SUMMED_ROWS and not (sparse and sparse.summed)
    head[OWN_INPUTS] = step if own else 0
    k = shapes[0][0]
    head[LOOK_ROWS] = look_rows(batch)
    head[NONZERO_SIZE] = -(-(k + LIST_SLACK + layout.panels(k) + 2) // 8) * 8
    head[ADDRESSES_SIZE] = -(-min(batch, SUMMED_ROWS) // 8) * 8
    head[PHASES] = len(phases)
    head[EPOCH_STEPS] = head[STEPS]
    if sparse:
        head[IN_PLACE], head[LOOK_ROWS] = SPARSE, batch
        head[NONZERO_SIZE] = -(-(ENTRY_BLOCK + batch) // 8) * 8
        head[ENTRIES] = take(threads * ENTRY_BLOCK)
    head[STATUS] = status
    if rounded:
        head[ROUNDED], head[PACKED_SIZE] = rounded, PACKED_NUMBERS
        head[PACKED] = take(threads * PACKED_NUMBERS)
    inference_heads = np.stack([head] * threads)
    inference_heads[:, CAPACITY] = places
    for thread, own_head in enumerate(inference_heads):
        own_head[ROW_SCRATCH] = take(2 * places)
        own_head[ENTRIES] += thread * ENTRY_BLOCK
        own_head[PACKED] += thread * own_head[PACKED_SIZE]
    head[SHARED] = shared
    if sparse:
        head[LAZY], head[ROW_BY_ROW] = sparse.mode, row_by_row
        head[SUMMED] = sparse.summed
        if sparse.linear:
            head[RANGE_BITS] = sparse.ranges.bit_length() - 1
            head[RANGE_SUMS] = take(sparse.ranges * capacity)
        if sparse.mode >= STAMPED:
            head[GRADIENT] = take((k + 1) * padded(shapes[0][1]))
    check_memory(
        take.used * problem.dtype.itemsize,
        f"training in batches of {batch} rows on {threads} threads",
        "make batch_size smaller, or layers narrower",
    )
    apart = threads == 2 and first_trained == 0
    head[MIDDLE] = middle = _middle_of(layers, phases) if apart else 0
    tiles, owners, head[LEFT_OVER] = cut_update(
        problem.network, layout, threads, batch, sparse, parts, rounded > 0, middle
    )
    return Plan(
        layout, head, layers, tiles, owners, phases, inference, inference_heads, take.used,
        parts_size, np.zeros((2 * len(layers) + 3, 2), np.int64), {}, take.buffers,
        parts,
    )  # fmt: skip


def _middle_of(layers: np.ndarray, phases: np.ndarray) -> int:
    """Return the panel of the first layer where the part of the second of two threads begins, or 0.

    Each updates its columns of W and then begins the next step with them. So nobody else may want
    these, and the step before nothing that the first phase writes: its last phase updates all.
    """
    first, row = phases[0], layers[0]
    plain = row[[LAYER_KIND, NARROW, ROWWISE, TRAINABLE]].tolist() == [LINEAR, -1, 0, -1]
    once = phases[-1, KIND] == UPDATE_TILES and (phases[:, KIND] == UPDATE_TILES).sum() == 1
    if not plain or not once or first[KIND] != FORWARD or first[END_PANEL] == 0:
        return 0
    middle = int(first[GROUP] * first[COLUMN_BLOCK])
    return middle if middle < first[END_PANEL] <= 2 * middle else 0


def _parts_of(
    problem: Problem,
    layout: Layout,
    layers: np.ndarray,
    size: int,
    sparse: Laziness | None,
    processes: int,
) -> list[Part]:
    """Cut the gradient that processes add up, whose sum over one process costs nothing."""
    places = layers[:, [WEIGHTS, NARROW, *_UNITS]]
    starts = np.where(places < 0, size, places).min(axis=1)
    beside = (layers[:, [NARROW, *_UNITS]] >= 0).any(axis=1) | (layers[:, LAYER_KIND] != LINEAR)
    beside[0] |= sparse is not None
    sent = problem.dtype.itemsize if processes > 1 else 0
    block = max(1, TILE_COLUMNS // layout.panel)
    return cut_parts(problem.network, layout, starts.tolist(), size, sent, beside.tolist(), block)


def _place_inputs(
    problem: Problem, take: Allocator, rows: int, layout: Layout, copies: int
) -> tuple[int, int]:
    """Return where the batch's inputs go and the distance between the copies of two threads.

    With dropout on the inputs, the second half of a copy holds the inputs after it.
    """
    halves = 2 if problem.network.dropouts[0] > 0 else 1
    step = take.round(rows * layout.padded(problem.network.widths[0][0])) * halves
    return take(step * copies), step


def _place_activations(
    layers: np.ndarray, inputs: int, take: Allocator, rows: int, layout: Layout
) -> None:
    """Give z and outputs of every layer a place for `rows` rows; the first inputs have theirs."""
    for row in layers:
        row[UNDROPPED] = row[INPUT] = inputs
        inputs = row[OUTPUT] = take(rows * layout.padded(int(row[N])))
        row[Z] = take(rows * layout.padded(int(row[N]))) if row[NEEDS_Z] else inputs
        if row[LAYER_KIND] == BY_ROWS:
            row[X_HAT], row[STATISTICS] = take(rows * layout.padded(int(row[N]))), take(rows)


def _place_parts(layers: np.ndarray, layout: Layout, threads: int) -> int:
    """Give the pieces of every layer's gradient a place for their sums of squares; return the end.

    A piece is a panel of outputs by a panel of inputs, or by all else: tiles are whole
    pieces, so that the sums do not depend on how tiles are cut. Narrow layers are one panel, and
    normalizations have no inputs here.
    """
    parts = threads * layout.panel
    for row in layers:
        row[PARTS] = parts
        chunks = layout.panels(int(row[K])) if row[LAYER_KIND] == LINEAR else 0
        parts += layout.panels(int(row[N])) * (chunks + 1)
    return parts
