"""Every kernel of every family, and that of prediction, as machine code for devices not at hand.

Nothing spills, and nothing lies in local memory: what a thread works on stays in its registers.
Here with a network of usual size; `test_compiled_runs` looks at the kernels that it runs, which
have every kind of layer, limit and loss.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import cubin
import pytest
from pairs import in_turns

from fastnn.graph import tanh
from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Dropout, Network

# Instructions of a kernel at most, by the first word of its name. Caches of an SM hold thousands.
INSTRUCTIONS = {"block": 7_500, "tiled": 3_300, "shared": 3_300, "predict": 5_000}
LARGE = 1 << 20  # bytes of shared memory that any network here fits into
# A family, how much shared memory a block of its has, and the loss: of "block", the first is not
# resident. The kernel of "grid" is in test_grid_code.
PLACES: list[tuple[str, int, Any]] = [
    ("block", 0, "softmax_cross_entropy"),
    ("block", LARGE, lambda z, y: 0.2 * (z - y) ** 4),
    ("tiled", 0, "softmax_cross_entropy"),
]
# Layers with all that prediction has.
PREDICTED: dict[str, list[Any]] = {
    "float64": [
        Dropout(0.2),
        Dense(32, "prelu"),
        Dense(16, "gelu"),
        Dense(8, "rrelu"),
        Dense(8, "softmax"),
        Dense(3, "tanh"),
    ],
    "float32": [
        Dense(32, lambda z: tanh(0.3 * z) * z),
        Dense(16, "mish"),
        Dense(3, "hardmax"),
        Dense(2),
    ],
}


def plain(loss: Any = "softmax_cross_entropy") -> Problem:
    """Return the problem of a network of usual size."""
    network = Network(784, [Dense(128, "relu"), Dense(10)])
    return Problem(network, loss, SGD(0.1), 64, 0.0, 0.01, "float32", 0)


class Wanted(NamedTuple):
    """A kernel, and the types of its arguments."""

    name: str
    kernel: Any
    types: tuple[Any, ...]


def kernels_of(
    family: str, problem: Problem, shared_bytes: int, capability: tuple[int, int] = (8, 0)
) -> list[Wanted]:
    """Return what a family compiles before it trains `problem`."""
    from fastnn.targets.cuda.dispatch import FAMILIES
    from fastnn.targets.cuda.host.numba_cuda import Limits

    kind = FAMILIES[family]
    limits, rule = Limits("a device", 132, shared_bytes, capability), problem.optimizer.rule
    if reason := kind.reason_against(problem, rule, limits):
        pytest.skip(f"family {family!r}: {reason}")
    return [
        Wanted(f"{family} {kernel.py_func.__name__}", kernel, types)
        for kernel, types in kind(problem, rule, limits).kernels(1000)
    ]


def predicting(problem: Problem) -> list[Wanted]:
    """Return the kernel of prediction."""
    from fastnn.targets.cuda.block.family import Block
    from fastnn.targets.cuda.host.numba_cuda import Limits

    family = Block(problem, problem.optimizer.rule, Limits("a device", 132, 0))
    return [Wanted("predict", *each) for each in family.predicting()]


def of_shared_steps(problem: Problem) -> list[Wanted]:
    """Return what is compiled before processes train `problem` together."""
    from fastnn.targets.cuda.host.numba_cuda import Limits
    from fastnn.targets.cuda.tiled.family import Tiled

    limits = Limits("a device", 132, 0, (8, 0))
    family = pickle.loads(pickle.dumps(Tiled(problem, problem.optimizer.rule, limits, shared=True)))
    return [
        Wanted(f"shared {kernel.py_func.__name__}", kernel, types)
        for kernel, types in family.kernels(32)
    ]


def families() -> list[str]:
    if cubin.missing():
        return ["block"]  # once is enough to say so
    from fastnn.targets.cuda.dispatch import FAMILIES

    return [*FAMILIES]


@pytest.fixture(params=cubin.CAPABILITIES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
def capability(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Give each compute capability in turn; device functions ask for that of a current device."""
    if reason := cubin.missing():
        pytest.skip(reason)
    from numba.cuda import dispatcher

    device = SimpleNamespace(compute_capability=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatcher, "get_current_device", lambda: device)
        yield request.param


def assert_in_registers(wanted: list[Wanted], capability: tuple[int, int]) -> None:
    """Compile kernels, and look for what lies in local memory."""
    for name, kernel, types in wanted:
        ptx = library_of(kernel, types).get_asm_str(cc=capability)
        code = cubin.assemble(ptx, capability)
        cubin.assert_in_registers(code, name)
        most = INSTRUCTIONS.get(name.split()[0])
        assert most is None or len(code.instructions) <= most, name


@cache
def library_of(kernel: Any, types: tuple[Any, ...]) -> Any:
    """Do Numba's part once for every capability."""
    options = {
        key: value
        for key, value in kernel.targetoptions.items()
        if key in ("launch_bounds", "max_registers", "fastmath") and value
    }
    return cubin.library_of(kernel.py_func, types, **options)


@pytest.mark.parametrize(
    ("place", "capability"),
    in_turns(PLACES if not cubin.missing() else PLACES[:1], cubin.CAPABILITIES),
    indirect=["capability"],
)
def test_every_kernel_of_a_family_stays_in_registers(
    place: tuple[str, int, Any], capability: tuple[int, int]
) -> None:
    family, shared_bytes, loss = place
    problem = plain(loss)
    wanted = kernels_of(family, problem, shared_bytes)
    if family == "tiled":
        known = {each.kernel for each in wanted}
        more = [each for each in of_shared_steps(problem) if each.kernel not in known]
        assert {"shared hold", "shared apply"} <= {each.name for each in more}
        wanted += more
    assert_in_registers(wanted, capability)


@pytest.mark.parametrize("family", families())
def test_what_the_oldest_devices_may_choose_compiles_for_them(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := cubin.missing():
        pytest.skip(reason)
    from numba.cuda import dispatcher

    from fastnn.targets.cuda.host.availability import OLDEST

    device = SimpleNamespace(compute_capability=OLDEST)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    wanted = kernels_of(family, plain(), 1 << 16, OLDEST)
    assert_in_registers(wanted, OLDEST)


@pytest.mark.parametrize(
    ("dtype", "capability"), in_turns(PREDICTED, cubin.CAPABILITIES), indirect=["capability"]
)
def test_prediction_does_too(dtype: str, capability: tuple[int, int]) -> None:
    network = Network(20, PREDICTED[dtype])
    problem = Problem(network, "mse", SGD(0.1), 64, 0.0, 0.0, dtype, 0)
    assert_in_registers(predicting(problem), capability)
