"""The block-level matrix product against NumPy, tile by tile, up to the edges of the matrices.

On a machine without a device this runs in Numba's simulator, which cannot show:

- the intrinsics: 16-byte loads and stores, the straight-line sums, the tensor cores' fragments and
  their lane numbers; plain Python stands for each (test_gemm_code.py looks at the machine code);
- races between threads that a barrier should keep apart, bank conflicts, and alignment on a device;
- a warp: on tensor cores a simulated lane reads the rows and columns of its own sums itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import product_cases as products
import pytest
from pairs import all_pairs

pytestmark = pytest.mark.usefixtures("running")
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
FORMS = ["nn", "nt", "tn"]
# One, a tile (of 8 x 8, 4 deep), one more and one less, several tiles with a rest.
SHAPES = [
    (1, 1, 1),
    (8, 8, 4),
    (7, 9, 3),
    (9, 7, 5),
    (1, 17, 8),
    (16, 1, 9),
    (19, 23, 1),
    (25, 18, 13),
]


@pytest.mark.parametrize(("shape", "dtype", "form"), all_pairs(SHAPES, DTYPES, FORMS), ids=str)
def test_product_matches_numpy(
    form: str, dtype: np.dtype[Any], shape: tuple[int, int, int]
) -> None:
    a, b = products.operands(form, dtype, shape)
    found = products.run(form, dtype, "float32", a, b)
    exact = products.product(form, a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=0, atol=40 * np.finfo(dtype).eps * shape[2])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(DTYPES[0], "float32"), (DTYPES[1], "float32"), (DTYPES[0], "tf32"), (DTYPES[0], "bfloat16")],
    ids=["float32", "float64", "tf32", "bfloat16"],
)
def test_nan_and_infinity_go_where_numpy_has_them(
    form: str, dtype: np.dtype[Any], precision: str
) -> None:
    a, b = products.operands(form, dtype, (9, 10, 7))
    a[-1, -1], a[2, 3], b[1, 1], b[-1, -1] = np.nan, np.inf, -np.inf, np.inf
    found = products.run(form, dtype, precision, a, b)
    exact = products.product(form, a, b)
    assert np.isnan(exact).any() and np.isinf(exact).any() and np.isfinite(exact).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    np.testing.assert_array_equal(found[np.isinf(exact)], exact[np.isinf(exact)])
    finite = np.isfinite(exact)
    np.testing.assert_allclose(found[finite], exact[finite], rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("form", "kind", "shape"),
    all_pairs(FORMS, ["float32", "float64", "tf32", "bfloat16"], [(9, 7, 50), (33, 17, 1)]),
    ids=str,
)
def test_groups_of_threads_share_the_depth(
    form: str, kind: str, shape: tuple[int, int, int]
) -> None:
    from fastnn.targets.cuda.tiled.rounding import rounded
    from fastnn.targets.cuda.tiled.tiling import small_tile

    dtype, precision, _ = products.kind_of(kind)
    a, b = products.operands(form, dtype, shape)
    found = products.run(form, dtype, precision, a, b, small_tile(precision, groups=4))
    if precision != "float32":
        a, b = rounded(precision, a), rounded(precision, b)
    exact = products.product(form, a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=0, atol=40 * np.finfo(dtype).eps * shape[2])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_tile_of_a_device_covers_its_part(form: str, dtype: np.dtype[Any]) -> None:
    from fastnn.targets.cuda.tiled.tiling import large_tile

    tile = large_tile()
    a, b = products.operands(form, dtype, (tile.rows - 1, tile.columns - 2, tile.depth + 1))
    found = products.run(form, dtype, "float32", a, b, tile)
    exact = products.product(form, a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1000 * np.finfo(dtype).eps)


TENSOR_SHAPES = [(1, 1, 1), (32, 16, 8), (31, 17, 15), (33, 15, 17), (70, 40, 33)]


@pytest.mark.parametrize(
    ("shape", "precision", "form"), all_pairs(TENSOR_SHAPES, ["tf32", "bfloat16"], FORMS), ids=str
)
def test_tensor_cores_multiply_rounded_numbers(
    form: str, precision: str, shape: tuple[int, int, int]
) -> None:
    from fastnn.targets.cuda.tiled.rounding import rounded

    a, b = products.operands(form, DTYPES[0], shape)
    found = products.run(form, DTYPES[0], precision, a, b)
    left, right = (rounded(precision, x).astype(np.float64) for x in (a, b))
    np.testing.assert_allclose(
        found, products.product(form, left, right), rtol=0, atol=4e-6 * shape[2]
    )


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("form", FORMS)
def test_the_tile_of_tensor_cores_covers_its_part(form: str, precision: str) -> None:
    from fastnn.targets.cuda.tiled.rounding import rounded
    from fastnn.targets.cuda.tiled.tiling import large_tile

    tile = large_tile(precision)
    a, b = products.operands(form, DTYPES[0], (tile.rows - 1, tile.columns - 2, tile.depth + 1))
    found = products.run(form, DTYPES[0], precision, a, b, tile)
    left, right = (rounded(precision, x).astype(np.float64) for x in (a, b))
    np.testing.assert_allclose(found, products.product(form, left, right), rtol=0, atol=1e-4)


def test_numbers_are_rounded_as_tensor_cores_round_them() -> None:
    from fastnn.targets.cuda.tiled.rounding import rounded

    one, tf32, bfloat16 = 0x3F800000, 1 << 13, 1 << 16
    bits = [
        one + part
        for step in (tf32, bfloat16)
        for part in (step // 2, step // 2 - 1, 3 * step // 2)
    ]
    bits += [0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0x00000001, 0x80000000]
    numbers = np.array(bits, np.uint32).view(np.float32)
    # Halves: away from zero, and to even; the largest number overflows in both.
    ends = [0x7F800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0, 0x80000000]
    half = bfloat16 // 2
    expected = {
        "tf32": [one + tf32, one, one + 2 * tf32, one + half, one + half, one + 3 * half, *ends],
        "bfloat16": [one, one, one, one, one, one + 2 * bfloat16, *ends],
    }
    for precision, wanted in expected.items():
        np.testing.assert_array_equal(
            rounded(precision, numbers).view(np.uint32), np.array(wanted, np.uint32), precision
        )
