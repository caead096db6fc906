"""Where the first layer reads the rows of a batch that are not in panels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.targets.cpu.arguments import ADDRESS, ROW_STRIDE
from fastnn.targets.cpu.llvm.inner import njit
from fastnn.targets.cpu.llvm.intrinsics import address_of
from fastnn.targets.cpu.llvm.rule_loops import EXACT, U
from fastnn.targets.cpu.plan import IN_PLACE
from fastnn.targets.cpu.products.gemm import ZERO
from fastnn.targets.cpu.views import (
    addresses_of,
    counting_of,
    head_of,
    layers_of,
    make_view,
    order_of,
    strided_of,
)
from fastnn.targets.fields import INPUT, K


@njit(**EXACT)
def caller_rows(job, layer, first):
    """Return (order, address, stride) of the batch that begins at `first`, for rows read in place.

    Which rows of X those are stands from address `order` on. All are 0 for inputs in panels.
    """
    strided = strided_of(job)
    if layer == 0 and head_of(job)[IN_PLACE] == 1:
        return address_of(order_of(job), first), strided[0, ADDRESS], strided[0, ROW_STRIDE]
    return ZERO, ZERO, ZERO


def make_first_rows(dtype: np.dtype, gemm: Any) -> tuple[Any, Any]:
    """Return first_rows and list_rows.

    first_rows(job, first, own): (order, base, address, stride). Row r of the batch that begins at
    `first` is at address + order[base + r] stride: one of the caller's; or, unless those can be
    read in place, a copy, `own` numbers beyond the first thread's.
    list_rows(job, first, own, r0, count, i0, to): writes the addresses of input i0 of `count` rows,
    from row r0 on, to `addresses` from `to` on. Sums over the rows for a few inputs at a time come
    to each row very often: to multiply by the stride there would take the place of a product.
    """
    memory_of, padded, itemsize = make_view("memory", dtype), gemm.padded, dtype.itemsize

    @njit(**EXACT)
    def first_rows(job, first, own):
        head, layers, strided = head_of(job), layers_of(job), strided_of(job)
        if head[IN_PLACE] == 1:
            return order_of(job), first, strided[0, ADDRESS], strided[0, ROW_STRIDE]
        address = address_of(memory_of(job), layers[0, INPUT] + own)
        return counting_of(job), ZERO, address, padded(layers[0, K]) * itemsize

    @njit(**EXACT)
    def list_rows(job, first, own, r0, count, i0, to):
        addresses = addresses_of(job)
        order, base, address, stride = first_rows(job, first, own)
        address += i0 * itemsize
        for r in range(count):
            addresses[U(to + r)] = address + order[U(base + r0 + r)] * stride

    return first_rows, list_rows
