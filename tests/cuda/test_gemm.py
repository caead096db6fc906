"""The block-level matrix product against NumPy, tile by tile, up to the edges of the matrices.

On a machine without a device this runs in Numba's simulator, which cannot show:

- the intrinsics: 16-byte loads and stores, the straight-line sums, the tensor cores' fragments and
  their lane numbers; plain Python stands for each (test_gemm_code.py looks at the machine code);
- races between threads that a barrier should keep apart, bank conflicts, and alignment on a device;
- a warp: on tensor cores one simulated thread does the work of its 32 lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import products

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


def names(shape: Any) -> str:
    return "x".join(map(str, shape))


@pytest.mark.parametrize("shape", SHAPES, ids=names)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_product_matches_numpy(form: str, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> None:
    a, b = products.operands(form, dtype, shape)
    found = products.run(form, dtype, "float32", a, b)
    exact = products.product(form, a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=0, atol=40 * np.finfo(dtype).eps * shape[2])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinity_go_where_numpy_has_them(form: str, dtype: np.dtype[Any]) -> None:
    a, b = products.operands(form, dtype, (9, 10, 7))
    a[-1, -1], a[2, 3], b[1, 1], b[-1, -1] = np.nan, np.inf, -np.inf, np.inf
    found = products.run(form, dtype, "float32", a, b)
    exact = products.product(form, a, b)
    assert np.isnan(exact).any() and np.isinf(exact).any() and np.isfinite(exact).any()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    np.testing.assert_array_equal(found[np.isinf(exact)], exact[np.isinf(exact)])
    finite = np.isfinite(exact)
    np.testing.assert_allclose(found[finite], exact[finite], rtol=1e-4, atol=1e-5)
