"""Machine code on disk: what one process compiled, the next one loads.

Numba compiles for a device that is not there; loading code into it is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import cubin
import numpy as np
import pytest

from fastnn import CacheWarning
from fastnn.inputs.problem import Problem
from fastnn.network import SGD, Adam, Dense, Network
from fastnn.storage import cache_folders

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(bool(cubin.missing()), reason=cubin.missing())


def problem_of(optimizer: Any = None, activation: Any = "relu", loss: Any = "mse") -> Problem:
    """Return a problem with few rules, whose kernel is compiled soon."""
    network = Network(20, [Dense(8, activation), Dense(3)])
    return Problem(network, loss, optimizer or SGD(0.1), 32, 0.0, 0.0, "float32", 0)


@contextmanager
def absent_device(capability: tuple[int, int] = (9, 0)) -> Iterator[None]:
    """Let Numba find a device of this capability, into which nothing is loaded."""
    from fastnn.targets.cuda.host.numba_cuda import cuda  # comes first: it can import Numba's

    from numba.cuda import dispatcher  # isort: skip
    from numba.cuda.cudadrv import devices

    device = SimpleNamespace(compute_capability=capability, id=0)
    with (
        patch.object(cuda, "get_current_device", lambda: device),
        patch.object(dispatcher, "get_current_device", lambda: device),
        patch.object(devices, "get_context", lambda: SimpleNamespace(device=device)),
        patch.object(dispatcher._Kernel, "bind", lambda kernel: kernel.library.get_cubin()),
    ):
        yield


def machine_code() -> bytes:
    """Return the machine code of a small kernel as a new process would get it."""
    from numba import float32

    from fastnn.targets.cuda.host.reader import make_convert

    make_convert.cache_clear()
    compiled = make_convert().compile((float32[:, ::1], float32[:, ::1]))
    code: bytes = compiled.library.get_cubin().code
    return code


def made(problem: Problem, resident: bool = True) -> str:
    """Return by what the kernel of a network is known."""
    from fastnn.targets.cuda.block.family import make_kernel
    from fastnn.targets.cuda.device.rules import recipe_of
    from fastnn.targets.cuda.host.plan import layout_of, make_plan

    layout = layout_of(make_plan(problem, 100, ones=True))
    known: str = make_kernel(recipe_of(problem), layout, resident)._cache.made
    return known


@contextmanager
def no_compiler() -> Iterator[None]:
    """Let any compilation fail."""
    from numba.cuda import dispatcher

    with patch.object(dispatcher, "compile_cuda", side_effect=AssertionError("it is compiled")):
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from fastnn.targets.cuda.host import kernel_cache

    monkeypatch.setattr(cache_folders, "_warned", False)
    monkeypatch.setattr(kernel_cache, "folder", lambda: tmp_path)
    return tmp_path


def test_what_was_compiled_once_is_loaded(folder: Path) -> None:
    with absent_device():
        code = machine_code()
        (file,) = folder.iterdir()
        assert file.stat().st_size < 5 * len(code)
        with no_compiler():
            assert machine_code() == code


def test_what_was_loaded_serves_a_second_device_of_another_kind(folder: Path) -> None:
    from numba import float32

    from fastnn.targets.cuda.host.reader import make_convert

    with absent_device((9, 0)):
        machine_code()
        machine_code()
        loaded = make_convert().compile((float32[:, ::1], float32[:, ::1]))
    with absent_device((8, 0)):
        assert loaded.library.get_cubin().code


def test_another_process_loads_it(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)])}
    environment["FASTNN_CACHE_DIR"] = str(folder)
    for said in ("compiled", "loaded"):
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", __file__],
            env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert (done.stdout.strip(), done.stderr) == (said, "")


@pytest.mark.parametrize("what", ["capability", "options", "sources"])
def test_code_is_not_taken_for_other_code(
    what: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba.cuda.core import config

    from fastnn.targets.cuda.host import kernel_cache

    with absent_device():
        machine_code()
    if what == "options":
        monkeypatch.setattr(config, "OPT", type(config.OPT)(0))
    if what == "sources":
        monkeypatch.setattr(kernel_cache, "_surroundings", lambda: "an edit")
    with absent_device((8, 0) if what == "capability" else (9, 0)):
        with no_compiler(), pytest.raises(AssertionError, match="it is compiled"):
            machine_code()
        machine_code()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("name", ["package", "compilers", "wheels", "linker", "driver", "numba"])
def test_code_of_another_version_is_other_code(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastnn.targets.cuda.host import kernel_cache

    def known() -> str:
        return kernel_cache._surroundings.__wrapped__()

    if name == "driver":  # where that makes the machine code
        monkeypatch.setattr("cuda.core.Linker", SimpleNamespace(which_backend=lambda: "driver"))
    before = known()
    assert known() == before
    if name == "driver":
        driver = SimpleNamespace(cuda=(99, 0))
        monkeypatch.setattr(kernel_cache.driver, "driver", lambda: driver)
    elif name == "linker":
        monkeypatch.setattr("cuda.bindings.nvjitlink.version", lambda: (99, 0))
    elif name == "numba":
        monkeypatch.setattr(kernel_cache.numba, "__version__", "99.0.1")
    else:
        monkeypatch.setattr(kernel_cache, name, lambda: "99.0.1")
    assert known() != before


def test_what_nvjitlink_makes_serves_any_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnn.targets.cuda.host import kernel_cache

    before = kernel_cache._surroundings.__wrapped__()
    driver = SimpleNamespace(cuda=(99, 0))
    monkeypatch.setattr(kernel_cache.driver, "driver", lambda: driver)
    assert kernel_cache._surroundings.__wrapped__() == before


def test_a_barrier_of_the_grid_brings_none_of_cudas_libraries(folder: Path) -> None:
    from numba import int32

    from fastnn.targets.cuda.grid.tiles import make_tiles
    from fastnn.targets.cuda.host.numba_cuda import kernel

    tiles = make_tiles(np.dtype(np.float32))
    arrive, wait = tiles.arrive, tiles.wait

    def meet(counter: Any) -> None:
        wait(counter, arrive(counter))

    with absent_device():
        compiled = kernel(meet, cooperative=True).compile((int32[::1],))
        assert len(compiled.library.get_cubin().code) < 20_000


def test_kernels_are_known_by_all_that_they_are_made_from() -> None:
    every = [
        made(problem_of()),
        made(problem_of(), resident=False),
        made(problem_of(Adam())),
        made(problem_of(activation="tanh")),
        made(problem_of(activation=lambda z: z * z + 0.1)),
        made(problem_of(activation=lambda z: z * z * 0.1)),
        made(problem_of(loss=lambda z, y: (z - y) ** 2 * 0.1)),
        made(problem_of(loss=lambda z, y: (z[0] - y[0]) ** 2 * 0.1)),
    ]
    assert len(set(every)) == len(every)
    assert made(problem_of(SGD(0.2))) == made(problem_of(SGD(0.1)))
    # Numbers are arguments: names of variables say nothing, and neither do they.
    assert made(problem_of(activation=lambda x: x * x * 0.3)) == every[-3]
    assert made(problem_of(loss=lambda z, y: (z - y) ** 2 * 0.3)) == every[-2]
    assert made(problem_of(loss=lambda a, b: (a[0] - b[0]) ** 2 * 0.3)) == every[-1]


def test_a_damaged_file_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with absent_device():
        machine_code()
        (file,) = folder.iterdir()
        for damaged in (b"", file.read_bytes()[:-100], b"no kernel"):
            file.write_bytes(damaged)
            monkeypatch.setattr(cache_folders, "_warned", False)
            with pytest.warns(CacheWarning, match=f"{file} cannot be used .*compiled anew"):
                code = machine_code()
            with no_compiler():
                assert machine_code() == code


def test_a_folder_that_is_gone_costs_only_time(folder: Path) -> None:
    with absent_device():
        folder.rmdir()
        code = machine_code()
        with no_compiler():
            assert machine_code() == code


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no modes of files")
def test_what_others_can_write_is_compiled_anew(folder: Path) -> None:
    with absent_device():
        machine_code()
        folder.chmod(0o777)
        with no_compiler(), pytest.raises(AssertionError, match="it is compiled"):
            with pytest.warns(CacheWarning, match="other users may write"):
                machine_code()


if __name__ == "__main__":
    with absent_device(), patch("numba.cuda.dispatcher.compile_cuda") as compiler:
        from numba.cuda.compiler import compile_cuda

        compiler.side_effect = compile_cuda
        machine_code()
        print("compiled" if compiler.called else "loaded")
