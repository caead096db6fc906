"""What is found of CUDA, and what is said of what is missing: with a fake driver."""

import re
import sys
from types import SimpleNamespace

import pytest
from fake_driver import no_driver, with_device

from fastnn.targets.cuda.host import availability
from fastnn.targets.cuda.host import driver as driver_module


def installed(monkeypatch, bindings="13.5.0", fault=lambda: "", compilers=None):
    """Make numba-cuda a package that is there, whether it is or not."""
    versions = {"cuda-bindings": bindings, "numba-cuda": "0.30.4"}
    monkeypatch.setattr(availability, "package", lambda: "0.30.4")
    monkeypatch.setattr(
        availability, "compilers", lambda: compilers or {"NVVM": "2.0", "NVRTC": "13.5"}
    )
    monkeypatch.setattr(availability, "version_of", versions.__getitem__)
    device = SimpleNamespace(fault=fault)
    monkeypatch.setitem(sys.modules, "fastnn.targets.cuda.host.numba_cuda", device)
    monkeypatch.setattr("fastnn.targets.cuda.host.numba_cuda", device, raising=False)


def test_a_device_is_described_by_the_driver(monkeypatch):
    with_device(monkeypatch)
    (device,) = availability.devices()
    assert device == driver_module.Device("Some Card", (9, 0), 2 << 30, 132)
    assert availability.usable() is availability.usable("tf32") is device
    assert availability.driver().cuda_text == "13.0"


def test_with_device_driver_and_package_kernels_can_run(monkeypatch):
    with_device(monkeypatch)
    installed(monkeypatch)
    assert availability.unavailable() == availability.unavailable("bfloat16") == ""


def test_without_a_driver_and_the_package_both_are_to_be_installed(monkeypatch):
    no_driver(monkeypatch)
    monkeypatch.setattr(availability, "package", lambda: "")
    text = availability.unavailable()
    assert text.startswith(
        "looked for NVIDIA's driver (libcuda.so.1): driver library not found; "
        "the package numba-cuda: not installed. To have it, install NVIDIA's driver from https://"
    )
    assert '`pip install "fastnn[cuda]"`. Without it use target=' in text
    assert availability.devices() == [] and availability.usable() is None


def test_a_library_that_cannot_be_loaded_is_another_fault_than_none(monkeypatch):
    no_driver(monkeypatch, "libcuda.so.1: wrong ELF class: ELFCLASS32")
    assert "unusable" in availability.driver().fault and "ELFCLASS32" in availability.driver().fault


def test_a_library_that_is_no_driver_is_a_fault_and_no_error(monkeypatch):
    with_device(monkeypatch)
    monkeypatch.setattr(driver_module.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert "driver library unusable" in availability.driver().fault
    assert availability.devices() == []


def test_a_system_without_cuda_is_named(monkeypatch):
    no_driver(monkeypatch)
    monkeypatch.setattr(driver_module, "LIBRARIES", {})
    assert availability.driver().fault == f"CUDA has no driver for {sys.platform}"
    assert "use Linux or Windows" in availability.unavailable()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"count": 0}, "the driver knows of no device"),
        ({"errors": {"cuInit": 100}}, r"the driver answered error 100 \(CUDA_ERROR_NO_DEVICE\)"),
        ({"errors": {"cuInit": 3}}, "error 3 .*, as in a process forked from one"),
        ({"errors": {"cuDeviceGetCount": 77}}, "the driver answered error 77$"),
        ({"errors": {"cuDeviceGet": 100}}, "error 100 .* for device 0"),
        ({"errors": {"cuDeviceGetAttribute": 1}}, "error 1 for device 0"),
    ],
)
def test_an_error_of_the_driver_is_named_and_there_is_no_device(settings, fault, monkeypatch):
    with_device(monkeypatch, **settings)
    installed(monkeypatch)
    assert availability.devices() == []
    assert re.search(fault, availability.driver().fault)
    assert (
        "see that `nvidia-smi` and CUDA_VISIBLE_DEVICES show a device" in availability.unavailable()
    )


def test_an_old_device_is_refused_with_what_is_needed(monkeypatch):
    with_device(monkeypatch, capability=(7, 0))
    installed(monkeypatch)
    assert availability.usable() is None
    assert "compute capability 7.5 or later: Some Card, compute capability 7.0" in (
        availability.unavailable()
    )


def test_tensor_cores_need_a_later_device_than_float32_does(monkeypatch):
    with_device(monkeypatch, capability=(7, 5))
    installed(monkeypatch)
    assert availability.unavailable() == ""
    assert availability.usable("tf32") is None
    assert "8.0 or later" in availability.unavailable("tf32")
    assert "use precision='float32', since 'tf32' needs tensor cores" in availability.unavailable(
        "tf32"
    )


def test_a_driver_older_than_the_bindings_is_refused(monkeypatch):
    with_device(monkeypatch, cuda=12040)
    installed(monkeypatch)
    text = availability.unavailable()
    assert "a driver for cuda-bindings 13: CUDA 12.4" in text
    assert 'pip install "numba-cuda[cu12]"' in text


def test_a_compiler_that_is_missing_is_named(monkeypatch):
    with_device(monkeypatch)
    installed(monkeypatch, compilers={"NVVM": "", "NVRTC": "13.5"})
    assert "CUDA's compilers: NVVM not found" in availability.unavailable()


def test_a_package_that_cannot_be_imported_is_told_of(monkeypatch):
    with_device(monkeypatch)
    installed(monkeypatch)
    monkeypatch.setitem(sys.modules, "fastnn.targets.cuda.host.numba_cuda", None)
    monkeypatch.delattr("fastnn.targets.cuda.host.numba_cuda", raising=False)
    assert (
        "numba-cuda: 0.30.4, which cannot be imported (ModuleNotFound" in availability.unavailable()
    )


def broken():
    raise RuntimeError("[3] Call to cuInit results in trouble\n  of two lines")


@pytest.mark.parametrize("fault", [broken, lambda: "results in trouble of two lines"])
def test_what_numba_says_of_the_driver_is_passed_on_in_one_line(fault, monkeypatch):
    with_device(monkeypatch)
    installed(monkeypatch, fault=fault)
    text = availability.unavailable()
    assert "a driver that Numba can use: " in text and "trouble of two lines" in text


def test_the_simulator_is_looked_for_without_numba(monkeypatch):
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    for value, expected in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", value)
        assert availability.simulated() is expected


def test_what_is_really_here_is_said_without_an_error():
    assert isinstance(availability.unavailable(), str)
    assert all(device.memory > 0 for device in availability.devices())
    assert set(availability.compilers()) <= {"NVVM", "NVRTC"}
