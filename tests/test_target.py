"""Names of targets, and the engines behind them."""

import inspect
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_driver import no_driver, with_device
from trainer_cases import TARGETS

from fastnn import (
    SGD,
    Dense,
    Ensemble,
    InvalidInput,
    LayerNorm,
    Network,
    TargetUnavailable,
    Trainer,
)
from fastnn.inputs.problem import Problem
from fastnn.targets.cpu import bfloat16
from fastnn.targets.cuda.host import availability
from fastnn.targets.cuda.host.worthwhile import step_operations
from fastnn.targets.engine import Engine
from fastnn.targets.selection import choose, engine_class, is_cuda, new_engine, numbered, parse


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_asked_for_by_name_needs_no_reason(name):
    assert choose(name) == (name, "")


@pytest.mark.parametrize(("name", "hint"), [("cpus", "'cpu'"), ("nunpy", "'numpy'"), (3, "Known")])
def test_an_unknown_target_is_refused_with_a_near_name(name, hint):
    with pytest.raises(InvalidInput, match=f"unknown target {name!r}.*{hint}"):
        choose(name)


def problem_of(units=4, batch_size=8, precision="float32") -> Problem:
    network = Network(784, [Dense(units, "relu"), Dense(10)])
    return Problem(
        network, "mse", SGD(0.1), batch_size, 0.0, 0.0, "float32", 0, precision=precision
    )


def test_auto_chooses_the_processor_where_there_is_no_device_and_says_so(monkeypatch):
    no_driver(monkeypatch)
    reason = "auto chose cpu: no CUDA device (driver library not found)"
    assert choose("auto", problem_of(2048, 64)) == ("cpu", reason)


def test_auto_chooses_a_device_for_work_that_is_worth_it(monkeypatch):
    with_device(monkeypatch)
    monkeypatch.setattr(availability, "unavailable", lambda *_: "")
    name, reason = choose("auto", problem_of(128, batch_size=64))
    assert name == "cuda"
    assert reason.startswith("auto chose cuda: Some Card, compute capability 9.0, 2.0 GiB, ")


def test_auto_leaves_small_work_to_the_processor_unless_many_networks_are_trained(monkeypatch):
    with_device(monkeypatch)
    monkeypatch.setattr(availability, "unavailable", lambda *_: "")
    name, reason = choose("auto", problem_of(4, 8))
    assert name == "cpu"
    assert reason == (
        "auto chose cpu: a network of 3176 weights in batches of 8 is quicker on the processor"
    )
    assert (
        "weights in batches of 8 trained 2 at a time is" in choose("auto", problem_of(4, 8), 2)[1]
    )
    assert choose("auto", problem_of(4, 8), restarts=1000)[0] == "cuda"


def test_auto_asks_no_driver_where_there_is_little_work(monkeypatch):
    """A process that has started CUDA cannot fork children that use it."""
    with_device(monkeypatch)
    monkeypatch.setattr(availability, "driver", lambda: pytest.fail("the driver is asked"))
    assert choose("auto", problem_of(4, 8))[0] == "cpu"
    assert choose("auto") == ("auto", "")


def test_auto_asks_no_driver_where_a_small_model_is_loaded(monkeypatch, tmp_path):
    with_device(monkeypatch)
    monkeypatch.setattr(availability, "driver", lambda: pytest.fail("the driver is asked"))
    network = Network(4, [Dense(3, "relu"), Dense(2)])
    X = np.random.default_rng(0).standard_normal((40, 4), np.float32)
    trainer = Trainer(network, target="auto")
    trainer.fit(X, (X[:, 0] > 0).astype(int), epochs=5)
    trainer.save(tmp_path / "model")
    Ensemble([trainer]).save(tmp_path / "ensemble")
    for target in (None, "auto"):
        assert Trainer.load(tmp_path / "model", target=target).target == "auto"
        assert Ensemble.load(tmp_path / "ensemble", target=target).predict(X).shape == (40,)


def test_operations_of_a_step_are_those_of_its_products():
    # 784-4-10 in batches of 8: X W and X^T dZ of the first layer, dZ W^T too of the second.
    assert step_operations(problem_of(4, 8)) == 2 * 8 * (2 * 784 * 4 + 3 * 4 * 10)


def test_auto_says_what_a_device_lacks(monkeypatch):
    with_device(monkeypatch)
    monkeypatch.setattr(availability, "unavailable", lambda *_: "looked for numba-cuda")
    name, reason = choose("auto", problem_of(512, 512))
    assert (name, reason) == (
        "cpu",
        "auto chose cpu: CUDA device Some Card, but looked for numba-cuda",
    )


def test_auto_never_chooses_the_simulator(monkeypatch):
    monkeypatch.setattr(availability, "simulated", lambda: True)
    name, reason = choose("auto", problem_of(2048, 512))
    assert name == "cpu" and "simulator" in reason


def test_cuda_without_a_device_says_what_was_looked_for_and_what_to_do(monkeypatch):
    no_driver(monkeypatch)
    with pytest.raises(TargetUnavailable, match="looked for .*To have it, install .*target='cpu'"):
        choose("cuda")


def test_a_precision_of_tensor_cores_needs_cuda(monkeypatch):
    no_driver(monkeypatch)
    problem = problem_of(4, 8, "tf32")
    with pytest.raises(InvalidInput, match="precision 'tf32' needs target 'cuda'.* not 'cpu'"):
        choose("cpu", problem)
    assert choose("numpy", problem)[0] == "numpy"
    with pytest.raises(TargetUnavailable, match="'tf32' needs target 'cuda', which 'auto' did not"):
        choose("auto", problem)
    with_device(monkeypatch)
    monkeypatch.setattr(availability, "unavailable", lambda *_: "")
    assert choose("auto", problem)[0] == choose("cuda", problem)[0] == "cuda"


def test_bfloat16_on_the_cpu_needs_a_processor_that_has_it(monkeypatch):
    no_driver(monkeypatch)
    problem = problem_of(4, 8, "bfloat16")
    monkeypatch.setattr(bfloat16, "DISABLE_JIT", False)
    monkeypatch.setattr(bfloat16, "on_x86", lambda: True)
    monkeypatch.setattr(bfloat16, "host_features", lambda: {"avx512f": True})
    with pytest.raises(TargetUnavailable, match="'bfloat16' on target 'cpu' needs a processor"):
        choose("cpu", problem)
    with pytest.raises(TargetUnavailable, match="'auto' did not find.* a processor with AVX512_BF"):
        choose("auto", problem)
    monkeypatch.setattr(bfloat16, "host_features", lambda: {"avx512bf16": True})
    monkeypatch.setattr(bfloat16, "vector_bytes", lambda: 32)
    with pytest.raises(TargetUnavailable, match="needs code for AVX-512, and NUMBA_CPU_FEATURES"):
        choose("cpu", problem)
    monkeypatch.setattr(bfloat16, "vector_bytes", lambda: 64)
    assert choose("cpu", problem)[0] == choose("auto", problem)[0] == "cpu"
    monkeypatch.setattr(bfloat16, "DISABLE_JIT", True)
    with pytest.raises(TargetUnavailable, match="NUMBA_DISABLE_JIT is set"):
        choose("cpu", problem)


def test_the_engine_of_cuda_is_imported_when_it_is_asked_for(monkeypatch):
    class Engine:
        """Stands for that of the CUDA target, which needs numba-cuda."""

    monkeypatch.setitem(sys.modules, "fastnn.targets.cuda.engine", SimpleNamespace(Engine=Engine))
    assert engine_class("cuda") is Engine
    monkeypatch.setitem(sys.modules, "fastnn.targets.cuda.engine", None)  # an import of it fails
    with pytest.raises(TargetUnavailable, match="cannot be imported .*or use target='cpu'"):
        engine_class("cuda")


@pytest.mark.parametrize(
    ("name", "parts"),
    [("cpu", ("cpu", None)), ("cuda", ("cuda", None)), ("cuda:0", ("cuda", 0)),
     ("cuda:31", ("cuda", 31)), ("auto", ("auto", None))],
)  # fmt: skip
def test_a_name_says_what_computes_and_on_which_device(name, parts):
    assert parse(name) == parts
    assert is_cuda(name) == (parts[0] == "cuda")


@pytest.mark.parametrize("name", ["cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:1 ", "cuda:1.0"])
def test_a_device_is_named_by_its_number(name):
    with pytest.raises(InvalidInput, match=f"unknown target '{name}': .* as in 'cuda:0'"):
        choose(name)


@pytest.mark.parametrize("name", ["cpu:0", "auto:1", "gpu:1", "CUDA:1", "cuda1"])
def test_no_other_target_has_numbers(name):
    with pytest.raises(InvalidInput, match=f"unknown target '{name}'.* Known: .*cuda:N"):
        choose(name)


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "device 2: there is 1 device, cuda:0"),
     (2, "device 2: there are 2 devices, cuda:0 to cuda:1")],
)  # fmt: skip
def test_a_device_beyond_those_there_are_is_refused_with_their_number(monkeypatch, count, said):
    with_device(monkeypatch, count=count)
    with pytest.raises(TargetUnavailable, match=f"target 'cuda:2' cannot run here: .*{said}"):
        choose("cuda:2")


def test_a_device_is_looked_at_by_its_own_number(monkeypatch):
    with_device(monkeypatch, count=2)
    said = availability.driver()
    first, second = said.devices
    old = replace(second, capability=(7, 5))
    monkeypatch.setattr(availability, "driver", lambda: replace(said, devices=(first, old)))
    assert availability.usable("tf32", 0) is first and availability.usable("tf32", 1) is None
    found, remedies = availability._device("tf32", 1)
    assert any("8.0 or later: Some Card, compute capability 7.5" in each for each in found)
    assert "use target='cuda:0'" in remedies


def test_what_a_device_cannot_train_names_the_target_as_it_was_asked_for(monkeypatch):
    with_device(monkeypatch, count=2)
    network = Network(4, [Dense(3), LayerNorm(), Dense(2)])
    problem = Problem(network, "mse", SGD(0.1), 8, 0.0, 0.0, "float32", 0)
    with pytest.raises(InvalidInput, match="target 'cuda:1' does not have LayerNorm"):
        choose("cuda:1", problem)


def test_an_engine_is_made_on_the_device_that_its_target_names(monkeypatch):
    def made(problem, threads, **others):
        return problem, threads, others

    there = SimpleNamespace(Engine=made)
    monkeypatch.setitem(sys.modules, "fastnn.targets.cuda.engine", there)
    assert new_engine("cuda:3", "problem", 2) == ("problem", 2, {"device": 3})
    assert new_engine("cuda", "problem", group="all") == ("problem", None, {"group": "all"})


def test_cuda_without_a_number_is_the_device_that_is_current_in_this_thread(monkeypatch):
    with_device(monkeypatch, count=3, current=2)
    monkeypatch.setitem(
        sys.modules, "fastnn.targets.cuda.engine",
        SimpleNamespace(Engine=lambda problem, threads, device=None: device),
    )  # fmt: skip
    asked = []
    monkeypatch.setattr(availability, "_verdict", lambda *given: asked.append(given[:2]) or "")
    assert choose("cuda") == ("cuda", "") and choose("cuda:0") == ("cuda:0", "")
    assert asked == [("float32", 2), ("float32", 0)]
    assert (new_engine("cuda", "problem"), new_engine("cuda:0", "problem")) == (2, 0)
    assert [numbered(name) for name in ("cuda", "cuda:0", "cpu")] == ["cuda:2", "cuda:0", "cpu"]
    said = availability.driver()
    third = replace(said.devices[2], name="The third")
    monkeypatch.setattr(
        availability, "driver", lambda: replace(said, devices=(*said.devices[:2], third))
    )
    assert "chose cuda: The third, " in choose("auto", problem_of(512, 512))[1]


def test_where_no_device_is_current_cuda_is_the_first(monkeypatch):
    with_device(monkeypatch, count=3)
    assert availability.current() == 0 and numbered("cuda") == "cuda"
    no_driver(monkeypatch)
    assert availability.current() == 0 and numbered("cuda") == "cuda"


@pytest.mark.parametrize("name", TARGETS)
def test_every_engine_has_the_operations_with_the_same_arguments(name):
    engine = engine_class(name)
    for operation, expected in vars(Engine).items():
        if not operation.startswith("_") and callable(expected):
            found = inspect.signature(getattr(engine, operation))
            assert [*found.parameters] == [*inspect.signature(expected).parameters], operation


def test_where_llvmlite_cannot_be_imported_the_cpu_target_is_unavailable(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastnn.targets.cpu.engine", None)  # an import of it fails
    with pytest.raises(TargetUnavailable, match="needs llvmlite, .* or use target='numpy'"):
        engine_class("cpu")
