"""The command line: what it prints, and with which code it ends."""

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from fake_driver import no_driver, with_device

import fastnn
from fastnn import cli
from fastnn.targets.cuda.host import availability


def test_demo_trains_prints_its_epochs_and_ends_well(capsys):
    assert cli.main(["demo", "--target", "numpy", "--epochs", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    epochs = [line.split() for line in lines if line.startswith("epoch")]
    assert [int(words[1]) for words in epochs] == list(range(1, 13))
    losses = [float(words[3]) for words in epochs]
    assert losses[-1] < losses[0] / 5
    result = next(line for line in lines if line.startswith("Test accuracy"))
    assert float(result.split()[2]) == float(epochs[-1][-1]) >= 0.95
    assert result.endswith("on numpy, 1 thread.")


def test_demo_below_the_needed_accuracy_ends_with_1(capsys, monkeypatch):
    monkeypatch.setattr(cli, "NEEDED_ACCURACY", 1.01)
    assert cli.main(["demo", "--target", "numpy", "--epochs", "1"]) == 1
    assert "at least 1.01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--target", "gpu"], "'gpu'"), (["--epochs", "-3"], "-3"), (["--threads", "0"], "0")],
)
def test_an_error_of_the_family_is_one_line_and_ends_with_2(arguments, named, capsys):
    assert cli.main(["demo", "--target", "numpy", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastnn: ") and error.count("\n") == 1
    assert named in error


def test_a_message_of_several_lines_is_printed_as_one(capsys, monkeypatch):
    def fail(options):
        raise fastnn.FastnnError("first\n  second")

    monkeypatch.setattr(cli, "_info", fail)
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == "fastnn: first second\n"


def test_no_command_shows_the_help_and_ends_with_2(capsys):
    assert cli.main([]) == 2
    shown = capsys.readouterr()
    assert "train a small network" in shown.err and "info" in shown.err and not shown.out


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fastnn {fastnn.__version__}\n"


@pytest.mark.parametrize("arguments", [["trian"], ["demo", "--epochs", "many"]])
def test_a_wrong_command_line_shows_the_usage_and_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: fastnn" in capsys.readouterr().err


def test_info_names_versions_processor_vectors_threads_and_cache(capsys):
    assert cli.main(["info"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["fastnn"] == fastnn.__version__
    assert rows["python"] == platform.python_version()
    for name in ("numba", "numpy", "scipy"):
        assert rows[name] == importlib.metadata.version(name)
    assert platform.machine() in rows["processor"]
    assert rows["vectors"] in ("128 bits", "256 bits", "512 bits")
    assert int(rows["threads"]) >= 1
    assert Path(rows["cache"]).is_dir()


def rows_of_info(capsys):
    assert cli.main(["info"]) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())


def test_info_says_why_there_is_no_device(capsys, monkeypatch):
    no_driver(monkeypatch)
    monkeypatch.setattr(availability, "package", lambda: "")
    rows = rows_of_info(capsys)
    assert rows["numba-cuda"] == "not installed"
    assert "driver" not in rows and "device0" not in rows
    assert rows["cuda"].startswith("cannot run: looked for NVIDIA's driver (")
    assert 'pip install "fastnn[cuda]"' in rows["cuda"]


def test_info_lists_driver_and_devices(capsys, monkeypatch):
    with_device(monkeypatch)
    monkeypatch.setattr(availability, "package", lambda: "0.30.4")
    monkeypatch.setattr(availability, "compilers", lambda: {"NVVM": "2.0", "NVRTC": ""})
    monkeypatch.setattr(availability, "unavailable", lambda: "")
    rows = rows_of_info(capsys)
    assert rows["numba-cuda"] == "0.30.4"
    assert rows["driver"].endswith("for CUDA up to 13.0")
    assert rows["device0"] == "Some Card, compute capability 9.0, 2.0 GiB, 132 multiprocessors"
    assert (rows["NVVM"], rows["NVRTC"]) == ("2.0", "not found")
    assert rows["cuda"] == "runs on device 0"


def test_demo_without_a_device_says_so_in_one_line(capsys, monkeypatch):
    no_driver(monkeypatch)
    assert cli.main(["demo", "--target", "cuda"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastnn: target 'cuda' cannot run here: ") and error.count("\n") == 1


def test_python_m_fastnn_is_the_same_command():
    command = [sys.executable, "-m", "fastnn", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: fastnn")


def test_info_says_so_where_llvmlite_is_missing():
    code = "import sys; sys.modules['llvmlite'] = None; from fastnn.cli import main; main(['info'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("kernels")]
    assert "cannot run: " in row or "plain Python" in row
