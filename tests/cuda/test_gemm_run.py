"""The compiled matrix product, run instruction by instruction where there is no device."""

from __future__ import annotations

import numpy as np
import product_cases as products
import ptx
import pytest

KINDS = ["float32", "float64", "tf32", "bfloat16"]
CASES = [(kind, form, 0) for kind in KINDS for form in products.SPECIFICATION]
CASES += [("float32", "tn", 1), ("float64", "nt", 2), ("bfloat16", "tn", 1), ("tf32", "nn", 1)]
CASES += [(kind, form, -1) for kind, form in products.IN_GROUPS]
# Several tiles with a rest in every direction, and less than a vector; or long sums.
SHAPES = [(130, 140, 21), (3, 1, 1)]
LONG = [(34, 5, 300), (3, 1, 1)]


@pytest.mark.parametrize(
    ("kind", "form", "which", "shape"),
    [(*case, shape) for case in CASES for shape in (LONG if case[2] < 0 else SHAPES)],
    ids=str,
)
def test_compiled_product_matches_numpy(
    kind: str, form: str, which: int, shape: tuple[int, int, int]
) -> None:
    code = products.ptx_of(kind, form, which)
    from fastnn.targets.cuda.tiled.gemm import shared_bytes
    from fastnn.targets.cuda.tiled.rounding import rounded
    from fastnn.targets.cuda.tiled.tiling import tiles

    dtype, precision, tile = products.kind_of(kind, which)
    m, n, k = shape
    a, b = products.operands(form, dtype, shape)
    before, words, inside = products.lay_out(form, a, b)
    memory = before.copy()
    asked = ptx.run(
        code,
        tiles(m, n, tile),
        tile.threads,
        memory,
        words,
        np.array([3.0]),
        1,
        shared_bytes=shared_bytes(dtype, precision, tile),
    )
    if precision != "float32":
        a, b = rounded(precision, a), rounded(precision, b)
    exact = products.product(form, a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(
        products.taken(before, memory, inside, n), exact, rtol=0, atol=20 * k * np.finfo(dtype).eps
    )
    # No bank of shared memory is asked twice for what it could have given at once.
    assert [text for text, (found, least) in asked.items() if found > least] == []


@pytest.mark.parametrize("kind", ["float32", "tf32", "bfloat16"])
def test_compiled_product_passes_nan_and_infinity_on(kind: str) -> None:
    code = products.ptx_of(kind, "nn")
    from fastnn.targets.cuda.tiled.gemm import shared_bytes

    dtype, precision, tile = products.kind_of(kind)
    a, b = products.operands("nn", dtype, (9, 10, 7))
    a[-1, -1], a[2, 3], b[1, 1], b[-1, -1] = np.nan, np.inf, -np.inf, np.inf
    before, words, inside = products.lay_out("nn", a, b)
    memory = before.copy()
    asked = shared_bytes(dtype, precision, tile)
    ptx.run(code, 1, tile.threads, memory, words, np.array([3.0]), 1, shared_bytes=asked)
    found, exact = products.taken(before, memory, inside, 10), products.product("nn", a, b)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    np.testing.assert_array_equal(found[np.isinf(exact)], exact[np.isinf(exact)])
