"""Parts of the gradient, which are summed over processes while others are still computed.

The last layers' gradients are complete first. Each part is one run of numbers of the kept gradient,
from its end on: some whole layers, or some columns of a large one. How it is cut depends on the
network alone: MPI may add up a part in another order than the whole, from three processes on, and
the same training is to give the same bits whatever it runs on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastnn.targets.cpu.kinds import LINEAR, Kind
from fastnn.targets.layout import Layout

if TYPE_CHECKING:
    from fastnn.network import Network

# What a part costs is some messages more, and handing it to another thread and back: 8 us with
# MPICH and with Open MPI on one machine, and 180 us more among 8 machines that are 30 us apart. The
# sum of so much takes 0.3 ms in the memory of one machine, and 1.5 ms at 10 Gbit/s.
PART_BYTES = 1 << 20
# The sum of the last part has only the update of the others to hide behind; more parts than these
# shorten it by little, and each is one more phase.
MOST_PARTS = 8


class Part(NamedTuple):
    """What is summed by itself.

    Attributes
    ----------
    pieces
        Layers, the last one first, with the first panel of each and the one after the last.
    start
        Offset of its first number among those of the parameters.
    """

    pieces: list[tuple[int, int, int]]
    start: int

    def follows(self, layer: int, kinds: Sequence[Kind]) -> bool:
        """Return whether it can be computed once derivatives are back through this layer.

        What is no linear layer overwrites then what its own backward pass reads.
        """
        return all(each >= layer - (kinds[each].code == LINEAR) for each, _, _ in self.pieces)


def count_parts(count_bytes: int) -> int:
    """Return how many parts a gradient of so many bytes is cut into, about."""
    return max(1, min(MOST_PARTS, count_bytes // PART_BYTES))


def cut_parts(
    network: Network,
    layout: Layout,
    starts: Sequence[int],
    size: int,
    sent: int,
    whole: Sequence[bool],
    block: int,
) -> list[Part]:
    """Cut the gradient of a network, from the last layer to the first that is trained.

    Parameters
    ----------
    network, layout
        The layers, and how their numbers lie.
    starts, size
        Where those of each parametric layer begin, and where the last ones end.
    sent
        Bytes of a number; 0: it stays in this process, and the gradient is one part.
    whole
        Of each layer, whether it is not to be cut: it has numbers beside its panels.
    block
        Panels that stay together.
    """
    blocks = []
    for layer, ((k, n), start) in enumerate(zip(network.widths, starts, strict=True)):
        panels = layout.panels(n)
        if network.parametric[layer].trainable:
            for p0 in range(0, panels, panels if whole[layer] else block):
                p1 = panels if whole[layer] else min(panels, p0 + block)
                blocks.append((layer, p0, p1, start + p0 * layout.panel * (k + 1)))
    first = blocks[0][3]
    count = count_parts((size - first) * sent)
    parts: list[Part] = []
    pieces: list[tuple[int, int, int]] = []
    for layer, p0, p1, start in reversed(blocks):
        if pieces and pieces[-1][0] == layer:
            pieces[-1] = layer, p0, pieces[-1][2]
        else:
            pieces.append((layer, p0, p1))
        if start == first or (size - start) * count >= (size - first) * (len(parts) + 1):
            parts.append(Part(pieces, start))
            pieces = []
    return parts
