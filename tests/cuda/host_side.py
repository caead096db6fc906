"""What `test_host_side` runs in processes of their own, where `host_driver` is the driver."""

from __future__ import annotations

import sys
import threading
import warnings
from dataclasses import replace
from importlib import import_module
from typing import Any
from unittest.mock import Mock

import numpy as np

import_module(
    "fastnn.targets.cuda.host.numba_cuda"
)  # comes first: it knows how to import numba.cuda

import host_driver  # noqa: E402

host_driver.install()

from fastnn.inputs.data import Data, check_data  # noqa: E402
from fastnn.inputs.problem import Problem  # noqa: E402
from fastnn.network import SGD, Adam, AveragedSGD, Dense, Network  # noqa: E402
from fastnn.targets.cuda.engine import Engine  # noqa: E402
from fastnn.targets.cuda.host import launching  # noqa: E402
from fastnn.targets.cuda.host.memory import free_bytes  # noqa: E402
from fastnn.training import saved_trainer  # noqa: E402


def engine_of(
    family: str,
    inputs: int = 20,
    units: int = 32,
    optimizer: Any = None,
    dtype: str = "float32",
    device: int | None = None,
    **settings: Any,
) -> Engine:
    """Return an engine for a small network, with parameters; no units mean no hidden layer."""
    hidden = [Dense(units, "relu")] if units else []
    network = Network(inputs, [*hidden, Dense(3)])
    problem = Problem(
        network, "softmax_cross_entropy", optimizer or Adam(), 32, 0.0, 0.0, dtype, 0, **settings
    )
    made, start = (
        Engine(problem, family=family, device=device),
        saved_trainer.begin(problem, "numpy", None, True),
    )
    made.load(start.parameters, start.slots)
    return made


def data_of(engine: Engine, rows: int = 100, X: Any = None, device: int | None = None) -> Data:
    inputs = engine.problem.network.inputs
    X = np.ones((rows, inputs), np.float32) if X is None else X
    from fastnn.targets.cuda.host.reader import DeviceReader

    device = engine._session.device if device is None else device
    return check_data(engine.problem, X, np.arange(rows) % 3, None, reader=DeviceReader(device))


def train(engine: Engine, data: Data, epochs: int = 1) -> None:
    steps = -(-len(data) // engine.problem.batch_size)
    orders = np.tile(np.arange(len(data)), (epochs, 1))
    engine.train_epochs(data, orders, np.full((epochs, steps), 0.1), 0, 0)


def everything(family: str) -> None:
    """Train twice, look, predict, gradients; nothing is compiled twice."""
    for settings in ({}, {"dtype": "float64", "optimizer": AveragedSGD(0.1), "clip_norm": 1.0}):
        if family == "grid":
            settings.pop("clip_norm", None)
        engine = engine_of(family, inputs=21, **settings)
        engine.prepare(rows=100, predicts=True)
        before, launched = len(host_driver.compiled), len(host_driver.launches)
        data = data_of(engine)
        train(engine, data, 2)
        train(engine, data, 2)
        assert host_driver.compiled[before:] == [], host_driver.compiled[before:]
        assert engine.finite() and engine.snapshot().flags.writeable is False
        engine.restore(engine.snapshot())
        train(engine, data)
        before = len(host_driver.compiled)
        for rows in (70, 1, 69, 5000):
            X = np.ones((rows, 21), engine.problem.dtype)
            assert engine.forward(X).shape == (rows, 3)
        assert host_driver.compiled[before:] == [], host_driver.compiled[before:]
        engine.close()
        for launch in host_driver.launches[
            launched:
        ]:  # those of the grid alone wait for one another
            assert launch.cooperative == (family == "grid" and launch.name == "train"), launch
        # Captures have a stream of their own: one that blocks would keep all others from working.
        streams = {launch.stream for launch in host_driver.launches[launched:]}
        assert streams == {7, 8} if family == "tiled" else streams == {7}, streams
        other = engine_of(family, inputs=21, **settings)
        other.gradients(data)


def few_rows(family: str) -> None:
    """Train on fewer rows than a batch has, with what was prepared for them."""
    engine = engine_of(family, units=8, optimizer=SGD(0.1))
    engine.prepare(rows=7)
    before = len(host_driver.compiled)
    train(engine, data_of(engine, 7))
    assert before and host_driver.compiled[before:] == [], host_driver.compiled[before:]


def shared_memory(family: str) -> None:
    """Ask for any amount of shared memory, with what kernels declare beside it."""
    for units in range(1, 400, 1 if family == "block" else 40):
        engine = engine_of(family, units=units)
        kind = engine._family
        if family == "block" and not 45000 < kind.resident_bytes(100) < 51000:
            continue
        train(engine, data_of(engine))


def memory_of_data(family: str) -> None:
    """Let the data of one call go before those of the next come."""
    engine = engine_of(family)
    for _ in range(3):
        train(engine, data_of(engine, 100_000))
    free_bytes()  # lets all go that is no more
    held = sum(map(len, host_driver.blocks.values()))
    assert held < 2 * 100_000 * 20 * 4, held


def device_arrays(family: str) -> None:
    """Read arrays on the device in place."""
    from numba import cuda

    engine = engine_of(family)
    X = cuda.to_device(np.ones((100, 20), np.float32))
    y = cuda.to_device(np.arange(100) % 3)
    from fastnn.targets.cuda.host.reader import DeviceReader

    data = check_data(engine.problem, X, y, None, reader=DeviceReader())
    train(engine, data)
    assert engine.forward(data.X).shape == (100, 3)
    assert engine.forward(data.X[10:30]).shape == (20, 3)


def streamed(family: str) -> None:
    """Train on data that do not fit."""
    from fastnn.targets.cuda.host.streaming import Streamed

    engine = engine_of(family)
    data = data_of(engine, 4000)
    host_driver.MEMORY["free"] = 250_000
    train(engine, data, 2)
    assert isinstance(engine._session.placed, Streamed) and engine._session.placed.chunk_rows < 4000
    engine.close()


def worthless_capture(family: str) -> None:
    """Train kernel by kernel where CUDA captures no graph, and say so once."""
    for ended in (0, 3, 100):  # at the first launch, at another one, at the end
        host_driver.GraphBuilder.worthless = ended
        engine = engine_of(family)
        data = data_of(engine, 4000)
        before = len(host_driver.launches)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            train(engine, data, 2)
            train(engine, data, 2)
        assert len(heard) == (family == "tiled"), [str(each.message) for each in heard]
        assert not heard or "INVALIDATED" in str(heard[0].message)
        assert host_driver.GraphBuilder.open == 0
        # All kernels of all steps, beside the one capture.
        assert family != "tiled" or len(host_driver.launches) - before > 4 * 125 * 6
    host_driver.GraphBuilder.worthless = None


def several(family: str, device: int = 0) -> None:
    """Train several networks at once."""
    from fastnn.targets.cuda.batched_models import Several

    one = engine_of(family, optimizer=SGD(0.1), device=device)
    some = Several([replace(one.problem, seed=seed) for seed in (1, 2, 3)], device)
    for seat in some.seats:
        assert seat.hides_steps(seat.problem)
        seat.load(one.parameters(), one.slots())
    some.prepare()
    before, launched = len(host_driver.compiled), len(host_driver.launches)
    data, rates = data_of(one), np.full((2, 4), 0.1)
    for seat in some.seats:
        seat.forecast = lambda seat=seat: (seat.state, rates, 0, 0)
    for seat in some.seats:
        assert len(seat.train_epochs(data, seat.orders(range(2), len(data)), rates, 0, 0)) == 2
    assert set(host_driver.compiled[before:]) <= {"shuffle_near"}
    assert len(host_driver.launches) - launched == 2  # orders, and the epochs of all
    some.seats[1].restore(some.seats[1].snapshot())
    in_order = np.tile(np.arange(len(data)), (2, 1))
    some.seats[1].train_epochs(data, in_order, rates, 2, 8)
    assert some.seats[1].finite() and len(some.seats[1].parameters()) == 2


def failure(family: str) -> None:
    """Keep the parameters of the last good epoch when the device is lost."""
    from cuda.bindings.driver import CUresult

    from fastnn.errors import DeviceFailure

    engine = engine_of(family)
    good = engine.snapshot().copy()
    data = data_of(engine)
    train(engine, data)
    assert host_driver.GraphBuilder.open == 0
    host_driver.errors["cuMemAlloc"] = CUresult.CUDA_ERROR_OUT_OF_MEMORY
    for call in (lambda: train(engine, data_of(engine)), lambda: engine.forward(np.ones((2, 20)))):
        try:
            call()
        except DeviceFailure as error:
            assert "memory" in str(error) or "room" in str(error), error
        else:
            raise AssertionError("no error")
    host_driver.errors.clear()
    engine.load(engine.parameters(), engine.slots())
    train(engine, data)  # a device that had no room goes on
    engine.restore(good)
    host_driver.errors["cuEventQuery"] = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    for call in (lambda: train(engine, data), lambda: engine.forward(np.ones((2, 20), "f4"))):
        try:
            call()
        except DeviceFailure as error:
            assert family in str(error), error
        else:
            raise AssertionError("no error")
    assert np.array_equal(engine.snapshot(), good)
    engine.close()


def refused(family: str) -> None:
    """Say what a device does not take, and keep what has been learnt."""
    from cuda.bindings.nvjitlink import nvJitLinkError
    from numba.cuda.cudadrv.driver import LinkerError
    from numba.cuda.cudadrv.error import NvrtcError, NvvmError

    from fastnn.errors import DeviceFailure

    launch, allow = host_driver.dispatcher.launch, host_driver.binding.cuKernelSetAttribute
    bad = host_driver.binding.CUresult.CUDA_ERROR_INVALID_VALUE
    for fault, message in (
        (ValueError("more blocks than a cooperative launch may have"), "than a cooperative"),
        (LinkerError("undefined reference"), "undefined reference"),
        (nvJitLinkError(4), "ERROR_PTX_COMPILE"),
        (NvvmError("no such architecture"), "no such architecture"),
        (NvrtcError("no such header"), "no such header"),
        (None, "bytes of shared memory a block: CUDA_ERROR_INVALID_VALUE"),
    ):
        engine = engine_of(family)
        good = engine.snapshot()
        if fault is not None:
            host_driver.dispatcher.launch = Mock(side_effect=fault)
        elif family == "tiled":  # which asks for no more than it may have
            continue
        else:
            launching._raised.clear()
            host_driver.binding.cuKernelSetAttribute = lambda *given: (bad,)
        try:
            train(engine, data_of(engine))
        except DeviceFailure as error:
            assert message in str(error), error
        else:
            raise AssertionError("it is taken")
        finally:
            host_driver.dispatcher.launch = launch
            host_driver.binding.cuKernelSetAttribute = allow
        assert np.array_equal(engine.snapshot(), good)


def elsewhere(family: str) -> None:
    """Refuse arrays on another device than the one in use."""
    from numba import cuda

    from fastnn.errors import InvalidInput

    host_driver.count = 2
    with cuda.gpus[1]:
        X = cuda.to_device(np.ones((100, 20), np.float32))
    for device in (0, 1):
        engine = engine_of(family, device=device)
        assert f"A device (cuda:{device})" in engine.description
        if device == 1:
            train(engine, data_of(engine, X=X))
            engine.forward(data_of(engine, X=X).X)
            continue
        read = data_of(engine, X=X, device=1)
        for call, given in (
            (data_of, (engine, 100, X)),
            (train, (engine, read)),
            (engine.forward, (read.X,)),
        ):
            try:
                call(*given)
            except InvalidInput as error:
                assert "it is on device 1, but fastnn computes on device 0" in str(error), error
                assert "'cuda:1'" in str(error), error
            else:
                raise AssertionError("it is taken")


def current(family: str) -> None:
    """Be on the device that is current where no number is given; read arrays where they are."""
    from numba import cuda

    from fastnn.errors import InvalidInput
    from fastnn.targets.selection import new_engine, reader_of

    host_driver.count = 2
    problem = engine_of(family).problem
    with cuda.gpus[1]:
        engine, X = new_engine("cuda", problem, family=family), np.ones((100, 20), np.float32)
        there = cuda.to_device(X)
    first = new_engine("cuda", problem, family=family)
    assert [each._session.device for each in (engine, first)] == [1, 0]
    for made in (engine, first):
        start = engine_of(family)
        made.load(start.parameters(), start.slots())
    reader = reader_of("cuda")
    data, here = (
        check_data(problem, rows, np.arange(100) % 3, None, reader=reader)
        for rows in (there, cuda.to_device(X))
    )
    assert [each.X.device for each in (data, here)] == [1, 0]
    train(engine, data)
    assert engine.forward(data.X).shape == (100, 3)
    train(first, here)
    for other, given in ((engine, here), (first, data)):
        try:
            train(other, given)
        except InvalidInput as error:
            assert f"but fastnn computes on device {other._session.device}" in str(error), error
        else:
            raise AssertionError("it is taken")


def two_devices(family: str) -> None:
    """Work on the second device, in threads that use another one or none."""
    from numba import cuda

    host_driver.count = 2
    engines = [engine_of(family, device=device) for device in (1, 0)]
    failed: list[BaseException] = []

    def work(others: bool) -> None:
        try:
            if others:
                cuda.to_device(np.zeros(3))
            for engine in engines:
                data = engine.to_device(data_of(engine))
                train(engine, data, 3)
                assert engine.finite() and engine.snapshot().size
                engine.forward(data.X)
                engine.forward(np.ones((70, 20), np.float32))
                engine.gradients(data)
                train(engine, data_of(engine, 100_000))
                engine.load(engine.parameters(), engine.slots())
        except BaseException as error:
            failed.append(error)

    for others in (False, True):
        thread = threading.Thread(target=work, args=(others,))
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
    with cuda.gpus[1]:
        work(False)
    work(False)
    assert not failed, failed
    for engine in engines:
        engine.close()
    free_bytes()
    MEMORY = host_driver.MEMORY
    MEMORY["free"] = 3_000_000  # too little for the data, which are streamed
    try:
        work(False)
        assert not failed, failed
    finally:
        MEMORY["free"] = 100 << 30
    engines[0].close()
    if family == "block":
        several(family, device=1)


def numbers(family: str) -> None:
    """Run the code that is compiled: what comes out is what the NumPy target says."""
    from fastnn.targets import numpy as reference

    host_driver.interpreting = True
    host_driver.driver.driver.get_device().__class__.MULTIPROCESSOR_COUNT = 2
    engine = engine_of(family, inputs=5, units=0, optimizer=SGD(0.1, 0.9))
    expected = reference.Engine(engine.problem, None)
    expected.load(engine.parameters(), engine.slots())
    X = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    data, orders = data_of(engine, 50, X), np.stack([np.arange(50), np.arange(49, -1, -1)])
    # The graph is made in the first call. In the last one, a loss is not finite.
    for call, rate in enumerate((0.1, 0.1, 1e38)):
        arguments = data, orders, np.full((2, 2), rate), 2 * call, 4 * call
        found, wanted = engine.train_epochs(*arguments), expected.train_epochs(*arguments)
        assert [each.bad_step for each in found] == [each.bad_step for each in wanted]
        good = [[each for each in results if each.bad_step is None] for results in (found, wanted)]
        losses = [[each.loss for each in results] for results in good]
        np.testing.assert_allclose(*losses, rtol=1e-5)
        if call < 2:
            assert_alike(engine.parameters(), expected.parameters())
            assert_alike(engine.slots()[0], expected.slots()[0])
            np.testing.assert_allclose(engine.forward(X), expected.forward(X), atol=1e-5)
    assert wanted[-1].bad_step is not None
    assert family != "tiled" or any(graph.launched for graph in host_driver.graphs)


def assert_alike(found: Any, wanted: Any) -> None:
    """Compare parameters, of each layer (W, b)."""
    for layer, other in zip(found, wanted, strict=True):
        for one, another in zip(layer, other, strict=True):
            np.testing.assert_allclose(one, another, atol=1e-5)


if __name__ == "__main__":
    for each in ("block", "grid", "tiled"):
        host_driver.MEMORY["free"] = 100 << 30
        host_driver.errors.clear()
        globals()[sys.argv[1]](each)
