"""The machine code of the kernels that read and order rows, for devices that are not there."""

from types import SimpleNamespace

import cubin
import pytest
from pairs import all_pairs

from fastnn.inputs.arrays import WRONG

NUMBERS = ["float16", "float32", "int64"]  # one of each kind


def strided(name):
    from numba import types

    return getattr(types, name)[:, :]


@pytest.fixture(params=cubin.CAPABILITIES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
def capability(request, monkeypatch):
    if reason := cubin.missing():
        pytest.skip(reason)
    from numba.cuda import dispatcher

    # Which device functions of kernels are asked for, though nothing runs.
    device = SimpleNamespace(compute_capability=request.param)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    return request.param


def check(code):
    assert code.spill_bytes == 0
    assert code.stack_bytes == 0
    assert code.count("LDL|STL") == 0


@pytest.mark.parametrize(
    ("capability", "wrong", "number"),
    all_pairs(cubin.CAPABILITIES, WRONG, NUMBERS),
    indirect=["capability"],
)
def test_every_search_compiles(capability, wrong, number):
    from numba import float64, int64

    from fastnn.targets.cuda.host.reader import make_search

    search = make_search(wrong).py_func
    check(cubin.compile_kernel(search, (strided(number), float64, int64[::1]), cc=capability))


@pytest.mark.parametrize(
    ("capability", "target", "number"),
    all_pairs(cubin.CAPABILITIES, ["float32", "int64"], NUMBERS),
    indirect=["capability"],
)
def test_every_conversion_compiles(capability, target, number):
    from numba import types

    from fastnn.targets.cuda.host.reader import make_convert

    made = getattr(types, target)[:, ::1]
    convert = make_convert().py_func
    check(cubin.compile_kernel(convert, (strided(number), made), cc=capability))


@pytest.mark.parametrize("resident", [True, False])
def test_shuffling_compiles(capability, resident):
    from numba import int32, int64, uint64

    from fastnn.targets.cuda.block.row_orders import DRAWS, make_kernel

    shuffle, swaps = make_kernel(resident).py_func, () if resident else (int64, int64)
    code = cubin.compile_kernel(shuffle, (uint64[::1], int32[:, ::1], *swaps), cc=capability)
    check(code)
    # What `shared_bytes` of an order leaves for it.
    assert code.shared_bytes == (4 * DRAWS if resident else 0)
