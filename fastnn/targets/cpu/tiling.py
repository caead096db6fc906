"""How a step is cut: into phases, one after another, and each phase into tiles in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn.rules.table import activation_row
from fastnn.targets.cpu.kinds import KINDS, LINEAR, Kind
from fastnn.targets.cpu.laziness import SCALED, Laziness
from fastnn.targets.cpu.parts import Part
from fastnn.targets.layout import Layout

if TYPE_CHECKING:
    from fastnn.inputs.problem import Problem
    from fastnn.network import Network

# Fields of a row of `Plan.phases`, and the kinds of phases.
# Tiles go row block by row block through GROUP column blocks, then through the next GROUP. From
# UPDATE_TILES on, LAYER is the number of a part of the gradient. After its last tile, the sum over
# processes of part BEGINS is begun, and that of part NEEDS waited for; -1: of none. BACKWARD takes
# the panels of inputs from FIRST_PANEL to before END_PANEL; tiles of FORWARD begin before that, and
# the last of them ends with the last panel.
(
    KIND,
    LAYER,
    ROW_BLOCK,
    COLUMN_BLOCK,
    GROUP,
    BEGINS,
    NEEDS,
    FIRST_PANEL,
    END_PANEL,
    PHASE_FIELDS,
) = range(10)
(
    GATHER,  # bring in a block of rows, for all threads
    FORWARD,  # one layer: a block of rows by a block of panels of its outputs
    ROWS,  # from LAYER forward to the loss and back, for a block of rows
    BACKWARD,  # one layer: a block of rows by a block of panels of its inputs
    MAX_NORM,  # one layer: a block of panels of its outputs, whose columns of W are held
    UPDATE_TILES,  # the gradient and the rule; only the gradient where its norm is needed first
    APPLY_TILES,  # the same tiles: the rule, with the gradients that were kept
    MAKE_GOOD,  # the same tiles: what earlier steps would have done to the rows of W in the batch
    LIMIT_TILES,  # the same tiles: gradients summed over processes, each number in its limits
) = range(9)

# Columns of an update tile: layer, first and last input row, first and last panel.
TILE_FIELDS = 5

# Layers with more weights than this are phases of their own, in which every thread keeps to its own
# columns of W: passing weights from core to core costs more than waiting for each other once more.
SHARED_BYTES = 64 << 10
# One thread alone takes a block of rows through all layers up to this size.
ALONE_BYTES = 1 << 20
# Up to this many threads each gather the whole batch for themselves, if it is no larger than that
# or read in place: a larger copy leaves the second-level cache in any case.
OWN_INPUT_THREADS, OWN_INPUT_BYTES = 3, 1 << 20
# A first layer of up to this many units reads rows in place; wider ones reuse a copy often enough.
IN_PLACE_UNITS = 512
TILE_PRODUCTS = 400_000  # multiplications of one tile: about 3 us
UPDATE_TILE_SHARE = 4  # tiles of the update for each thread, about, in all but small networks
SPARSE_TILES = 4  # of a first layer that reads sparse rows, for each thread
TILE_COLUMNS = 64  # of W that a tile of the update takes, so that X is read once for all of them
# The same, and rows of a tile, where factors are packed first, which pays by their being reused.
PACKED_COLUMNS, PACKED_ROWS = 256, 512
# Rows of a batch that have a list of the inputs that they use: so many of large batches, and all of
# those that are a little larger. More would touch more pages than the first-level table of
# addresses holds (64 to 96 entries are usual); of fewer, W is read and written more often.
LOOK_ROWS, MOST_LOOK_ROWS = 64, 80
LOOK_TILES = 20  # tiles that these rows are cut into, at most


def list_phases(
    problem: Problem,
    layout: Layout,
    rows: int,
    threads: int,
    own_rule: bool,
    sparse: Laziness | None = None,
    parts: Sequence[Part] = (),
    rounded: bool = False,
) -> np.ndarray:
    """List the phases of a step: large layers one by one, the small ones after them together.

    What is normalized over the batch has phases of its own, too, for its columns need all rows. A
    first layer that reads sparse rows is a small one, whatever its inputs are. Gradients that are
    summed over processes come in `parts`, each as soon as it can be computed: of a layer whose
    columns are cut, those of a part get their derivatives, then their gradient, and then the next
    ones, so that sums are begun evenly.
    """
    shapes, itemsize = problem.network.widths, problem.dtype.itemsize
    limit = ALONE_BYTES if threads == 1 else SHARED_BYTES
    kinds = [KINDS[layer.kind] for layer in problem.network.parametric]
    alone = [
        index
        for index, (kind, (k, n)) in enumerate(zip(kinds, shapes, strict=True))
        if kind.whole_columns
        or (kind.code == LINEAR and k * n * itemsize > limit and not (sparse and index == 0))
    ]
    together = alone[-1] + 1 if alone else 0
    # The loss needs whole rows, so the last layer is never cut by columns.
    together = min(together, len(shapes) - 1)
    phases: list[tuple[int, ...]] = []
    if sparse and sparse.mode > SCALED:
        phases.append((MAKE_GOOD, 0, 1, 1, 1, -1, -1))
    inputs, units = shapes[0]
    copied = units > IN_PLACE_UNITS and rows * inputs * itemsize > OWN_INPUT_BYTES
    if together > 0 and not sparse and threads > (1 if copied else OWN_INPUT_THREADS):
        phases.append((GATHER, 0, max(1, -(-rows // threads)), 1, 1, -1, -1))
    for layer in range(together):
        k, n = shapes[layer]
        high, columns = _blocks(k, layout.panels(n), layout, rows, threads)
        if rounded:
            high, columns = _packed_blocks(layout.panels(n), rows, threads)
        group = 1
        if kinds[layer].code != LINEAR:
            high, columns = _whole(kinds[layer], layout.panels(n), rows, threads)
        elif layer == 0 and sparse:
            high, columns = max(1, -(-rows // (4 * threads))), layout.panels(n)
        elif layer == 0:
            # A thread goes through X once: what the first of its panels reads, the others use.
            group = -(-layout.begun(n) // (columns * threads))
            if n <= IN_PLACE_UNITS and not rounded:
                high = look_rows(rows) // (2 if _uneven(layout, n, threads) else 1)
        products = kinds[layer].code == LINEAR and not rounded
        end = layout.begun(n) if products else layout.panels(n)
        phases.append((FORWARD, layer, high, columns, group, -1, -1, 0, end))
    high = _even_rows(rows, threads) if threads > 1 else min(rows, 2 * look_rows(rows))
    phases.append((ROWS, together, high, 1, 1, -1, -1))
    last = len(parts) - 1
    updates: list[tuple[int, ...]] = [
        (UPDATE_TILES, part, 1, 1, 1, part, 0 if part == last else -1) for part in range(last + 1)
    ] or [(UPDATE_TILES, 0, 1, 1, 1, -1, -1)]
    begun, first_trained = 0, problem.network.first_trained
    for layer in range(together - 1, first_trained, -1):
        while begun < last and parts[begun].follows(layer + 1, kinds):
            phases.append(updates[begun])
            begun += 1
        k, n = shapes[layer]
        whole = activation_row(problem.network.parametric[layer - 1].activation).rowwise
        end = layout.panels(k)
        while kinds[layer].code == LINEAR and not whole and begun < last:
            lowest, first, _ = parts[begun].pieces[-1]
            if lowest != layer - 1 or first == 0:
                break
            high, columns = _back_blocks(n, end - first, layout, rows, threads, rounded)
            phases.append((BACKWARD, layer, high, columns, 1, -1, -1, first, end))
            phases.append(updates[begun])
            begun, end = begun + 1, first
        high, columns = _back_blocks(n, end, layout, rows, threads, rounded)
        if kinds[layer].code != LINEAR:
            high, columns = _whole(kinds[layer], end, rows, threads)
        phases.append((BACKWARD, layer, high, columns, 1, -1, -1, 0, end))
    phases.extend(updates[begun:])
    norm = own_rule and problem.clip_norm is not None
    needed = [*range(1, len(parts)), -1]  # by what comes after the sum of each part is there
    if norm and parts:
        phases.extend((LIMIT_TILES, part, 1, 1, 1, -1, next) for part, next in enumerate(needed))
        needed = [-1] * len(parts)
    if norm or parts:
        phases.extend((APPLY_TILES, part, 1, 1, 1, -1, next) for part, next in enumerate(needed))
    for layer, each in enumerate(problem.network.parametric):
        limited = getattr(each, "max_norm", None) is not None
        if own_rule and each.trainable and limited:
            phases.append((MAX_NORM, layer, rows, 1, 1, -1, -1))
    return np.array([(*phase, 0, 0)[:PHASE_FIELDS] for phase in phases], np.int64)


def _uneven(layout: Layout, n: int, threads: int) -> bool:
    """Whether n outputs are a tile a thread or fewer, and unequal ones.

    Then one takes some of the tiles of another, which are to be small.
    """
    vectors = layout.padded(n) // layout.lanes
    return threads > 1 and layout.begun(n) <= threads and vectors % (2 * threads) > 0


def _even_rows(rows: int, threads: int) -> int:
    """Return rows of a tile, so that all threads have about as many, in two tiles or more each.

    There are fewer of few rows. A tile costs about a row more than its rows do.
    """

    def most(high: int) -> int:
        tiles = -(-rows // high)
        ends = [(who + 1) * tiles // threads for who in range(threads)]
        starts = [0, *ends[:-1]]
        pairs = zip(starts, ends, strict=True)
        return max(min(rows, end * high) - start * high + end - start for start, end in pairs)

    highest = max(8, min(32, -(-rows // (2 * threads) // 8) * 8))
    return min(range(highest, 0, -8), key=most)


def _blocks(k: int, panels: int, layout: Layout, rows: int, threads: int) -> tuple[int, int]:
    """Return rows and panels of a tile of a product over k; one thread takes all panels."""
    if threads == 1:
        return min(rows, 512), panels
    columns = max(1, panels // (8 * threads))
    high = -(-TILE_PRODUCTS // (k * layout.panel * columns) // 8) * 8
    return max(16, rows // 64 * 8, min(high, 128)), columns


def _back_blocks(
    n: int, panels: int, layout: Layout, rows: int, threads: int, rounded: bool
) -> tuple[int, int]:
    """Return rows and panels of a tile of derivatives by inputs of a layer of n outputs.

    Every tile transposes its part of W, so it takes as many rows as it can.
    """
    if rounded:
        return _packed_blocks(panels, rows, threads)
    return min(rows, 512), _blocks(n, panels, layout, rows, threads)[1]


def _packed_blocks(panels: int, rows: int, threads: int) -> tuple[int, int]:
    """Return rows and panels of a tile whose factors are packed first: large ones, one a thread.

    Where there are few panels, each is packed by every thread.
    """
    if panels >= 2 * threads:
        return min(rows, PACKED_ROWS), -(-panels // threads)
    return max(16, min(PACKED_ROWS, -(-rows // threads // 16) * 16)), panels


def _whole(kind: Kind, panels: int, rows: int, threads: int) -> tuple[int, int]:
    """Return rows and panels of a tile of what is no product."""
    high = rows if kind.whole_columns else max(8, -(-rows // (2 * threads) // 8) * 8)
    return high, panels if kind.whole_rows else max(1, panels // (2 * threads))


def cut_update(
    network: Network,
    layout: Layout,
    threads: int,
    capacity: int,
    sparse: Laziness | None = None,
    parts: Sequence[Part] = (),
    rounded: bool = False,
    middle: int = 0,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cut all weights that are trained into tiles, part by part of the gradient.

    Each thread gets the columns that it also computes forward. What is no linear layer has tiles of
    no inputs, for what it has one number a unit. A first layer that reads sparse rows is cut into a
    few tiles, each of which looks for its inputs in every row, and if it is lazy by inputs alone.

    Where the second of two threads begins with panel `middle` of the first layer, the thread that
    has fewer of its columns takes some inputs of the other's, before its own, so that both do as
    much in the update and the first layer together. The last number is how many tiles it has left
    when the other has none.
    """
    layers = zip(network.parametric, network.widths, strict=True)
    trained = [(layer, shape) for layer, (each, shape) in enumerate(layers) if each.trainable]
    linear = [each for each in trained if KINDS[network.parametric[each[0]].kind].code == LINEAR]
    work = sum(k * n for _, (k, n) in linear)
    # Enough tiles to share, and to spread the prefetching, of a microsecond or more each.
    target = max(work // (UPDATE_TILE_SHARE * threads), (1 << 17) // capacity)
    whole = [(layer, 0, layout.panels(n)) for layer, (_, n) in trained]
    moved = {}
    if middle:
        moved = _moved_chunks(layout, *network.widths[0], middle)
        (_, _, end), *others = whole
        whole = [*others, *((0, begin, end if begin else middle) for begin in moved)]
    owned: list[list[tuple[int, ...]]] = []
    for pieces in [part.pieces for part in parts] or [whole]:
        own: list[list[tuple[int, ...]]] = [[] for _ in range(threads)]
        for layer, begin, end in pieces:
            k, n = network.widths[layer]
            chunks, panels = layout.panels(k), layout.panels(n)
            if KINDS[network.parametric[layer].kind].code != LINEAR:
                cuts = [panels * each // threads for each in range(threads + 1)]
                for share, (p0, p1) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
                    if p0 < p1:
                        own[share].append((layer, k, k, p0, p1))
                continue
            columns = PACKED_COLUMNS if rounded else TILE_COLUMNS
            begun = panels if rounded else layout.begun(n)
            together = max(1, min(columns // layout.panel, -(-begun // threads)))
            if sparse and layer == 0:
                most = max(1, min(TILE_COLUMNS // layout.panel, panels))
                together = panels if sparse.mode else most
            last_begun = max(begin + 1, min(end, begun)) if end == panels else end
            groups = -(-(last_begun - begin) // together)
            width = layout.panel * min(n, together * layout.panel)
            own_target = target / 2 if _uneven(layout, n, threads) else target
            # Where there are too few columns for all, each thread gets as many inputs.
            most = -(-chunks // threads) if groups < threads else chunks
            high = max(1, min(most, round(own_target / width)))
            if sparse and layer == 0:
                high = -(-chunks // (1 if threads == 1 else SPARSE_TILES * threads))
            for group in range(groups):
                p0 = begin + group * together
                p1 = p0 + together if p0 + together < last_begun else end
                cut = moved[begin] if layer == 0 and moved else 0
                for c in [*range(0, cut, high), *range(cut, chunks, high)]:
                    last = min(c + high, cut if c < cut else chunks)
                    # By columns where there are enough of them, by inputs where there are not.
                    share = (group * chunks + c) * threads // (groups * chunks)
                    if layer == 0 and moved:
                        share = int((begin > 0) != (c < cut))
                    rows = c * layout.panel, min(k, last * layout.panel)
                    own[share].append((layer, *rows, p0, p1))
        owned += own
    owners = np.cumsum([0, *map(len, owned)])
    tiles = np.array([tile for own in owned for tile in own], np.int64).reshape(-1, TILE_FIELDS)
    left = _left_over(owned, layout, network.widths[0][1]) if moved else 0
    return tiles, owners.astype(np.int64), left


def _moved_chunks(layout: Layout, k: int, n: int, middle: int) -> dict[int, int]:
    """Return, by the first panel of each thread's columns, how many chunks of inputs it gives away.

    Two threads have the columns before panel `middle` and those from it on. The one with more of
    them comes first. In vectors of columns times inputs, it has a k in the first layer and the
    other b k; in the update b k, and the other the remaining (a - b) k of its columns and its own.
    """
    before = middle * layout.panel // layout.lanes
    vectors = {0: before, middle: layout.padded(n) // layout.lanes - before}
    more, fewer = sorted(vectors, key=lambda begin: vectors[begin], reverse=True)
    given = layout.panels(k) * (vectors[more] - vectors[fewer]) / vectors[more]
    return {more: round(given), fewer: 0}


def _left_over(owned: list[list[tuple[int, ...]]], layout: Layout, n: int) -> int:
    """Return how many tiles of the first layer one of two threads has left when the other has none.

    It does them last, and the first layer has n outputs.
    """
    end, per_panel = layout.padded(n), layout.panel
    work = [
        [(k1 - k0) * (min(p1 * per_panel, end) - p0 * per_panel) for _, k0, k1, p0, p1 in tiles]
        for tiles in ([tile for tile in own if tile[0] == 0] for own in owned)
    ]
    fewer, more = sorted(work, key=sum)
    count = 0
    while sum(more[len(more) - count :]) < sum(more) - sum(fewer):
        count += 1
    return count


def look_rows(batch: int) -> int:
    """Return how many rows of a batch share a list of inputs."""
    for size in (24, 48):
        if batch <= size:
            return size
    return -(-batch // 8) * 8 if batch <= MOST_LOOK_ROWS else LOOK_ROWS
