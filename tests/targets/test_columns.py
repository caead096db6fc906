"""Some columns of many rows, as compiled code copies and spreads them: to the bit, nothing else."""

import numpy as np
import pytest
from numba import njit
from target_cases import DTYPES, needs_jit

from fastnn.storage.kernels.machine import register_shape
from fastnn.targets.cpu.llvm.columns import make_columns

pytestmark = needs_jit

ROWS = (0, 1, 7)


@pytest.fixture(scope="module", params=DTYPES)
def functions(request):
    """Return the dtype, how many columns to try, and both functions, compiled."""
    dtype = np.dtype(request.param)
    spread, copy = (getattr(make_columns(dtype), name) for name in ("spread", "copy"))

    @njit
    def run_spread(memory, x, apart, c, b, to, width, count, rows):
        spread(memory, x, apart, c, b, to, width, count, rows)

    @njit
    def run_copy(memory, at, stride, target, to, width, count, rows):
        copy(memory, at, stride, target, to, width, count, rows)

    return dtype, range(register_shape(dtype).panel + 3), run_spread, run_copy


@pytest.mark.parametrize("rows", ROWS)
def test_columns_are_copied_and_nothing_around_them_is_touched(functions, rows):
    dtype, counts, _, copy = functions
    for count in counts:
        source = np.random.default_rng(count).normal(size=(rows + 2, count + 5)).astype(dtype)
        target = np.random.default_rng(1).normal(size=(rows + 2, count + 3)).astype(dtype)
        expected = target.copy()
        expected[1 : rows + 1, 2 : 2 + count] = source[1 : rows + 1, 4 : 4 + count]
        copy(
            source.ravel(), source.shape[1] + 4, source.shape[1],
            target.ravel(), target.shape[1] + 2, target.shape[1], count, rows,
        )  # fmt: skip
        assert target.tobytes() == expected.tobytes()


@pytest.mark.parametrize("rows", ROWS)
def test_a_column_is_spread_over_units_and_nothing_around_them_is_touched(functions, rows):
    dtype, counts, spread, _ = functions
    for count in counts:
        random, width, apart = np.random.default_rng(count), count + 3, 5
        x = random.integers(-9, 9, apart * rows + 1).astype(dtype)
        factors, shifts = random.integers(-9, 9, (2, count)).astype(dtype)
        place = random.normal(size=(rows + 2, width)).astype(dtype)
        memory = np.concatenate([x, factors, shifts, place.ravel()])
        expected = place.copy()
        # Of small integers, so that no rounding depends on whether a processor fuses both.
        values = x[1::apart][:rows, None] if rows else np.zeros((0, 1), dtype)
        expected[1 : rows + 1, 2 : 2 + count] = values * factors + shifts
        c, out = len(x), len(x) + 2 * count
        spread(memory, 1, apart, c, c + count, out + width + 2, width, count, rows)
        assert memory[out:].tobytes() == expected.tobytes()
        assert memory[:out].tobytes() == np.concatenate([x, factors, shifts]).tobytes()
