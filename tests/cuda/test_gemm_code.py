"""The machine code of the matrix product, for devices that need not be there."""

from __future__ import annotations

from typing import Any

import cubin
import numpy as np
import pytest
from pairs import all_pairs, in_turns
from product_cases import IN_GROUPS, compiled, kind_of

FORMS = ["nn", "nt", "tn"]
# The kind of numbers, and how much of the main loop is arithmetic: for float64, which the device
# does at half the rate, the rest hides behind it; one HMMA is the work of 32 or 64 FFMA.
KINDS = {
    "float32": ("FFMA", 0.88),
    "float64": ("DFMA", 0.80),
    "tf32": ("HMMA.1688.F32.TF32", 0.22),
    "bfloat16": ("HMMA.16816.F32.BF16", 0.22),
}
CASES = all_pairs(KINDS, FORMS, cubin.CAPABILITIES)
every_case = pytest.mark.parametrize(
    ("kind", "form", "cc"), CASES, ids=[f"{k}-{f}-sm_{c[0]}{c[1]}" for k, f, c in CASES]
)


@every_case
def test_sums_stay_in_registers(kind: str, form: str, cc: tuple[int, int]) -> None:
    code = compiled(kind, form, cc)
    assert code.spill_bytes == 0
    assert code.stack_bytes == 0
    assert code.count("LDL|STL") == 0
    assert code.registers <= (128 if kind == "float32" else 255)


SMALL = [("float32", 1), ("float32", 2), ("tf32", 1), ("float64", 1), ("float64", 2)]


@pytest.mark.parametrize(
    ("tile", "form"),
    # Most of them are compiled in test_gemm_run too.
    [*in_turns(SMALL, ["tn", "nt", "nn"]), *(((kind, -1), form) for kind, form in IN_GROUPS)],
)
def test_sums_of_small_tiles_stay_in_registers(tile: tuple[str, int], form: str) -> None:
    kind, which = tile
    code = compiled(kind, form, (8, 0), which)
    assert code.spill_bytes == code.stack_bytes == code.count("LDL|STL") == 0


@every_case
def test_shared_memory_is_what_is_said(kind: str, form: str, cc: tuple[int, int]) -> None:
    from fastnn.targets.cuda.tiled.gemm import shared_bytes

    code = compiled(kind, form, cc)
    asked = shared_bytes(*kind_of(kind))
    assert code.shared_bytes <= 48 * 1024
    assert (asked > 0) == (kind in ("tf32", "bfloat16"))
    if asked:  # the rest lies in what a launch asks for: two tiles of both operands
        _, _, tile = kind_of(kind)
        assert asked == 2 * (tile.rows + tile.columns) * (16 + 4) * 4
        assert code.shared_bytes == 16


@every_case
def test_main_loop_is_arithmetic(kind: str, form: str, cc: tuple[int, int]) -> None:
    name, share = KINDS[kind]
    loop = compiled(kind, form, cc).main_loop
    done = cubin.count(loop, name)
    assert done / len(loop) >= share
    assert done == cubin.count(loop, "FFMA|DFMA|HMMA")
    # All the products of a tile: one copy of them, and one barrier.
    _, _, tile = kind_of(kind)
    a_product = {"float32": 1, "float64": 1, "tf32": 32, "bfloat16": 64}[kind]
    assert done * a_product == tile.row_values * tile.column_values * tile.depth
    assert cubin.count(loop, "BAR") == 1


@every_case
def test_memory_is_read_by_16_bytes(kind: str, form: str, cc: tuple[int, int]) -> None:
    dtype, _, tile = kind_of(kind)
    loop = compiled(kind, form, cc).main_loop
    read = (tile.rows + tile.columns) * tile.depth * dtype.itemsize
    assert cubin.count(loop, r"LDG\.E\.128") == read // (16 * tile.threads)
    assert cubin.count(loop, "LD[GL]?(?!S)") == cubin.count(loop, r"LDG\.E\.128")


@every_case
def test_shared_memory_is_read_by_16_bytes(kind: str, form: str, cc: tuple[int, int]) -> None:
    dtype, _, tile = kind_of(kind)
    loop = compiled(kind, form, cc).main_loop
    if kind in ("float32", "float64"):
        vectors = (tile.row_values + tile.column_values) * tile.depth * dtype.itemsize // 16
        assert cubin.count(loop, "LDS") == cubin.count(loop, r"LDS\.128") == vectors
    else:
        # Four 8 x 4 matrices of words an instruction: 16 x 8 words of A or of B, twice.
        matrices = (8 * tile.row_values + 4 * tile.column_values) // 16 * 2
        assert cubin.count(loop, r"LDSM\.16\.M88\.4") == matrices
        assert cubin.count(loop, r"LDS\b(?!M)") == 0


@every_case
def test_the_way_to_a_load_is_short(kind: str, form: str, cc: tuple[int, int]) -> None:
    """The whole numbers of a turn are few: 64-bit additions to places, one comparison a load."""
    loop = compiled(kind, form, cc).main_loop
    loads = cubin.count(loop, r"LDG\.E\.128")
    tests = cubin.count(loop, "ISETP")
    assert tests <= loads + 3
    assert cubin.count(loop, r"IMAD\.WIDE|IMAD\.HI|IDIV|I2F|F2I") == 0


@pytest.mark.parametrize("length", [12, 20])
def test_lanes_hold_what_mma_asks_for(length: int) -> None:
    """Follow a warp by PTX's description of ldmatrix and mma.sync, with words for numbers."""
    if reason := cubin.missing():
        pytest.skip(reason)
    from fastnn.targets.cuda.tiled.tensor_cores import a_pointer, b_pointer

    random = np.random.default_rng(0)
    rows, columns = random.random((16, length)), random.random((16, length))
    lanes = np.arange(32)
    group, member = lanes // 4, lanes % 4

    def ldmatrix(memory: Any, pointer: Any) -> Any:
        starts = np.array([pointer(lane, length) for lane in range(32)])
        # Register i of a lane: word `member` of row `group` of matrix i, whose rows lanes 8 i and
        # on point at.
        return [memory.ravel()[starts[8 * i + group] + member] for i in range(4)]

    a, b = ldmatrix(rows, a_pointer), ldmatrix(columns, b_pointer)
    for half in (0, 1):
        left, right = np.zeros((16, 8)), np.zeros((8, 8))
        for i, (row, word) in enumerate([(0, 0), (8, 0), (0, 4), (8, 4)]):
            left[group + row, member + word] = a[i]
        for i, word in enumerate([0, 4]):
            right[group, member + word] = b[2 * half + i]
        np.testing.assert_array_equal(left, rows[:, :8])
        np.testing.assert_array_equal(right, columns[8 * half : 8 * half + 8, :8])
