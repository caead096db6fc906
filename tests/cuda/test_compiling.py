"""What a first training compiles: each device function once, and none that its network lacks."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import cubin
import pytest
from test_family_code import kernels_of, predicting
from test_kept import absent_device

from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Dense, Network

pytestmark = pytest.mark.skipif(bool(cubin.missing()), reason=cubin.missing())


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[tuple[str, str]]]:
    """Give the device functions that are compiled, with the types of their arguments."""
    from numba.cuda.dispatcher import CUDADispatcher

    from fastnn.targets.cuda.host import kernel_cache

    monkeypatch.setattr(kernel_cache, "folder", lambda: tmp_path)
    compiled: list[tuple[str, str]] = []
    compile_device = CUDADispatcher.compile_device

    def noting(self: Any, args: Any, return_type: Any = None) -> Any:
        if args not in self.overloads:
            compiled.append((self.py_func.__qualname__, str(args)))
        return compile_device(self, args, return_type)

    monkeypatch.setattr(CUDADispatcher, "compile_device", noting)
    with absent_device():
        yield compiled


def compile_for(*layers: Dense, inputs: int = 20, family: str = "block", **settings: Any) -> None:
    """Compile all that a network trains with."""
    from fastnn.targets.cuda.host.launching import compile_now

    problem = Problem(
        Network(inputs, layers), "softmax_cross_entropy", SGD(0.1), 32, 0.0, 0.0, "float32", 0,
        **settings,
    )  # fmt: skip
    for wanted in kernels_of(family, problem, 1 << 20, (9, 0)):
        compile_now(wanted.kernel, *wanted.types)


def test_a_function_is_compiled_once_whatever_constants_it_is_called_with(
    functions: list[tuple[str, str]],
) -> None:
    from numba import int64

    from fastnn.targets.cuda.host.numba_cuda import inner

    @inner
    def shifted(x, by, twice):
        return 2 * (x + by) if twice else x + by

    @inner
    def two(pair, by):
        return shifted(pair[0], by, True) + shifted(pair[1], 4, False)

    def kernel(found):
        found[0] = two((found[1], 5), 6) + shifted(found[2], 7, True)

    ptx = cubin.compile_ptx(kernel, (int64[::1],))
    assert [name.rpartition(".")[2] for name, _ in functions] == ["two", "shifted"]
    assert "Literal" not in str(functions) and ptx


@pytest.mark.parametrize("family", ["block", "tiled"])
def test_layers_and_kernels_share_what_they_compile(
    family: str, functions: list[tuple[str, str]]
) -> None:
    # Rules that no other test has, whose kernels this process may have already.
    compile_for(Dense(16, "mish"), Dense(32, "gelu"), Dense(12, "mish"), Dense(3), family=family)
    own = [each for each in functions if each[0].startswith(("make_update", "make_epilogue"))]
    assert own and max(Counter(own).values()) == 1
    assert not any("Literal" in types for _, types in functions)


@pytest.mark.parametrize(("family", "clip_norm"), [("block", 1.0), ("grid", None)])
def test_nothing_is_compiled_that_layers_have_no_use_for(
    functions: list[tuple[str, str]], family: str, clip_norm: float | None
) -> None:
    def names() -> set[str]:
        found = {name.rpartition(".")[2] for name, _ in functions}
        functions.clear()
        return found

    activation = {"block": "softplus", "grid": "hardtanh"}[family]  # that no other test has
    rowwise, by_norm = {"forward_rows", "backward_rows", "softmax_row"}, {"squares", "largest"}
    compile_for(Dense(5, activation), Dense(3), family=family)
    assert not names() & (rowwise | by_norm)
    layers = Dense(5, "softmax"), Dense(4, activation), Dense(3)
    compile_for(*layers, family=family, clip_norm=clip_norm)
    assert names() >= rowwise | (by_norm if clip_norm else set())


@pytest.mark.parametrize("rowwise", ["softmax", "hardmax", ""])
def test_predictions_compile_softmax_where_a_layer_has_it(
    functions: list[tuple[str, str]], rowwise: str
) -> None:
    from fastnn.targets.cuda.host.launching import compile_now

    # Activations that no other test has: functions of the same rules are compiled once.
    activation = {"softmax": "selu", "hardmax": "elu", "": "silu"}[rowwise]
    layers = [Dense(5, activation), *([Dense(4, rowwise)] if rowwise else []), Dense(1)]
    problem = Problem(Network(20, layers), "mse", SGD(0.1), 32, 0.0, 0.0, "float32", 0)
    for wanted in predicting(problem):
        compile_now(wanted.kernel, *wanted.types)
    names = {name.rpartition(".")[2] for name, _ in functions}
    assert "finish_forward" in names
    assert ({"forward_rows", "softmax_row"} <= names) == bool(rowwise)
    assert rowwise or not names & {"forward_rows", "softmax_row", "hardmax_row"}


def test_garbage_is_looked_for_again_after_a_compilation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from numba import float32

    from fastnn.targets.cuda.host import launching
    from fastnn.targets.cuda.host.numba_cuda import kernel

    enabled = []

    def doubled(x):
        x[0] = 2 * x[0]

    made = kernel(doubled, "a test")
    compiling = made.compile
    monkeypatch.setattr(
        made, "compile", lambda types: (enabled.append(gc.isenabled()), compiling(types))[1]
    )
    with absent_device():
        launching.compile_now(made, float32[::1])
    assert enabled == [False] and gc.isenabled()
    gc.disable()
    try:
        with absent_device():
            launching.compile_now(made, float32[::1])
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert enabled == [False, False]


@pytest.fixture
def shared_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Have this process and those that it starts keep kernels in a folder of the test's."""
    from fastnn.storage.kernels.kernel_cache import folder
    from fastnn.targets.cuda.host import compiling, kernel_cache

    found = tmp_path / folder().name
    found.mkdir(0o700)
    monkeypatch.setenv("FASTNN_CACHE_DIR", str(tmp_path))
    for module in (compiling, kernel_cache):
        monkeypatch.setattr(module, "folder", lambda: found)
    monkeypatch.setattr(compiling, "available_threads", lambda: 3)
    return found


class Searches:
    """A family of five kernels that are compiled soon."""

    def __init__(self, problem: Problem, rule: str, limits: Any) -> None:
        """Take what every family takes."""
        self.problem, self.rule = problem, rule

    def kernels(self, samples: int) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the kernels, and the types of their arguments."""
        from numba import float32, float64, int64

        from fastnn.targets.cuda.host.reader import WRONG, make_search

        types = float32[:, ::1], float64, int64[::1]
        return [(make_search(wrong), types) for wrong in WRONG]


def compiled_here(activation: Any = "relu") -> int:
    """Compile all that a family trains with; return how many kernels this process compiled."""
    from numba.cuda import dispatcher

    from fastnn.targets.cuda.host.compiling import compile_all
    from fastnn.targets.cuda.host.numba_cuda import Limits
    from fastnn.targets.cuda.host.reader import make_search

    make_search.cache_clear()
    limits, network = Limits("a device", 132, 1 << 18, (9, 0)), Network(2, [Dense(2, activation)])
    problem = Problem(network, "mse", SGD(0.1), 32, 0.0, 0.0, "float32", 0)
    family = Searches(problem, "sgd", limits)
    with (
        absent_device(),
        patch.object(dispatcher, "compile_cuda", side_effect=dispatcher.compile_cuda) as compiler,
    ):
        compile_all(cast(Any, family), limits, 100)
    assert all(types in kernel.overloads for kernel, types in family.kernels(100))
    return [call.args[0].__name__ for call in compiler.call_args_list].count("search")


@pytest.mark.parametrize("activation", ["relu", lambda z: z * z * 0.7])  # both go to another one
def test_other_processes_compile_their_shares(shared_folder: Path, activation: Any) -> None:
    assert compiled_here(activation) == 3
    assert len([*shared_folder.iterdir()]) == 5
    assert compiled_here(activation) == 0


def test_shares_that_come_to_nothing_are_compiled_here(
    shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert compiled_here() == 5
    for file in shared_folder.iterdir():
        file.unlink()
    monkeypatch.setattr(sys, "executable", "/no/python")
    assert compiled_here() == 5


def test_flags_are_compared_as_numba_compares_them() -> None:
    from numba.cuda.compiler import CUDAFlags
    from numba.cuda.core.targetconfig import TargetConfig

    from fastnn.targets.cuda.host.numba_cuda import quick_comparisons

    plain, same, said, other = (CUDAFlags() for _ in range(4))
    said.release_gil = plain.release_gil  # as it is anyway
    other.release_gil = not plain.release_gil
    every = plain, same, said, other, 3
    before = [(one == two, hash(one) == hash(two)) for one in every for two in every]
    methods = TargetConfig.__eq__, TargetConfig.__hash__
    with quick_comparisons():
        assert methods[0] is not TargetConfig.__eq__
        assert before == [(one == two, hash(one) == hash(two)) for one in every for two in every]
        assert hash(plain) == methods[1](plain)
    assert methods == (TargetConfig.__eq__, TargetConfig.__hash__)
    assert plain == said != other


def test_flags_that_differ_are_not_asked_for_all_values(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.cuda.compiler import CUDAFlags
    from numba.cuda.core.targetconfig import TargetConfig

    from fastnn.targets.cuda.host.numba_cuda import quick_comparisons

    plain, said, other = (CUDAFlags() for _ in range(3))
    said.release_gil, other.release_gil = plain.release_gil, not plain.release_gil
    monkeypatch.setattr(TargetConfig, "values", lambda flags: pytest.fail("asked for all values"))
    with quick_comparisons():
        assert plain == said != other != plain


@pytest.mark.parametrize("kept", ["a dict", "another name", "a list", "no module"])
def test_flags_that_are_kept_otherwise_are_compared_as_numba_does(
    monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    from numba.cuda.core import targetconfig

    from fastnn.targets.cuda.host.numba_cuda import quick_comparisons

    class Flags:
        """Flags of another version of Numba."""

        def __init__(self, number: int = 0) -> None:
            """Set one."""
            self.number = number
            vars(self)["_set" if kept == "another name" else "_values"] = {"number": number}
            if kept == "a list":
                self._values = [number]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Flags) and vars(self) == vars(other)

        def __hash__(self) -> int:
            return hash("number")

    methods = Flags.__eq__, Flags.__hash__
    if kept == "no module":
        monkeypatch.setitem(sys.modules, targetconfig.__name__, None)
    else:
        monkeypatch.setattr(targetconfig, "TargetConfig", Flags)
    with quick_comparisons():
        assert ((Flags.__eq__, Flags.__hash__) == methods) == (kept != "a dict")
        assert Flags(1) == Flags(1) != Flags(2) and len({Flags(1), Flags(1), Flags(2)}) == 2
    assert (Flags.__eq__, Flags.__hash__) == methods


def test_a_compilation_asks_for_few_values_of_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import float32
    from numba.cuda.core.targetconfig import TargetConfig

    from fastnn.targets.cuda.host import launching
    from fastnn.targets.cuda.host.numba_cuda import kernel

    def doubled(x):
        for i in range(len(x)):
            x[i] = 2 * x[i] + abs(x[0])

    asked, values = list[int](), TargetConfig.values
    monkeypatch.setattr(TargetConfig, "values", lambda flags: (asked.append(1), values(flags))[1])
    with absent_device():
        launching.compile_now(kernel(doubled, "another test"), float32[::1])
    assert len(asked) < 100
