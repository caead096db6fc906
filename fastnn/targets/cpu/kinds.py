"""The kinds of layers that have parameters: which code computes them, and how they are cut.

What computes a kind is in `fastnn.targets.cpu.step`, and what it needs of memory in the plan. Kinds
go by name, since what is imported here counts among the sources of compiled code.
"""

from __future__ import annotations

from typing import NamedTuple

# Codes: x W + b; rows, or columns, are normalized; x and cosines of it.
LINEAR, BY_ROWS, BY_COLUMNS, PERIODIC = range(4)


class Kind(NamedTuple):
    """What plan and tiling have to know of one kind of layer.

    Attributes
    ----------
    code
        Of what computes it.
    whole_rows
        Whether a tile takes whole rows: all columns.
    whole_columns
        Whether a tile takes whole columns: all rows of the batch. Such a layer is a phase of its
        own, and so are those before it.
    """

    code: int
    whole_rows: bool = False
    whole_columns: bool = False


KINDS = {
    "Dense": Kind(LINEAR),
    "LayerNorm": Kind(BY_ROWS, whole_rows=True),
    "BatchNorm": Kind(BY_COLUMNS, whole_columns=True),
    "Periodic": Kind(PERIODIC, whole_rows=True),
}
