"""The command line: what it prints, and with which code it ends."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_driver import no_driver, with_device

import fastnn
from fastnn import cli
from fastnn.cli import bench, demo, info
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


def test_demo_below_the_needed_accuracy_ends_with_1_after_all_its_epochs(capsys, monkeypatch):
    monkeypatch.setattr(demo, "NEEDED_ACCURACY", 1.01)
    monkeypatch.setattr(demo, "EPOCHS", 2)
    assert cli.main(["demo", "--target", "numpy", "--epochs", "2"]) == 1
    assert "at least 1.01" in capsys.readouterr().err
    assert cli.main(["demo", "--target", "numpy", "--epochs", "1"]) == 0


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

    monkeypatch.setattr(info, "run", fail)
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == "fastnn: first second\n"


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_no_command_and_help_show_all_commands(arguments, capsys):
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert "train a small network" in shown.out and "info" in shown.out and not shown.err


COMMANDS = [
    "train", "predict", "evaluate", "show", "demo", "examples", "bench", "info", "cache", "warm",
]  # fmt: skip


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example_and_fits(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(["help", command]) == 0
    text = capsys.readouterr().out
    help_text, _, example = text.partition("example:\n")
    assert example.startswith(f"  fastnn {command}")
    assert max(map(len, help_text.splitlines())) <= columns


def test_help_of_an_unknown_command_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["help", "trian"])
    assert stop.value.code == 2
    assert "did you mean train?" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_that_of_the_package(option, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([option])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fastnn {fastnn.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "did you mean train?"),
        (["demo", "--epochs", "many"], "'many'"),
        (["demo", "--epoch", "3"], "did you mean --epochs?"),
        (["predict", "model.safetensors"], "DATA"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_ends_with_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error and "--help" in error


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--lr 0.1", "did you mean --rate?"),
        ("--learning_rate=0.1", "did you mean --rate?"),
        ("--val 0.1", "did you mean --validation?"),
        ("--valid-split 0.1 --test-size 0.2", "--test-size: did you mean --test?"),
        ("--weight-decay 0.1", "--l2 is a penalty on squares"),
        ("--device cpu", "did you mean --target?"),
        ("--gpu", "--target cuda is a GPU;"),
        ("--layers 3", "--hidden 128,64 has the units"),
        ("--hidden-layer-sizes 64,32", "did you mean --hidden?"),
        ("--model m", "the file of the model is --out"),
        ("--validation-data v.csv", "--validation SHARE leaves rows of DATA out"),
        ("--input x.csv", "files stand without an option: fastnn train DATA"),
        ("-o m.safetensors", "did you mean --out?"),
        ("--num-workers 3", "did you mean --threads?"),
        ("--random-state 3", "did you mean --seed?"),
        ("--max-iter 3", "did you mean --epochs?"),
        ("--dropot 0.1", "did you mean --dropout?"),
        ("--tets 0.1", "did you mean --test?"),
        ("--opti adam", "did you mean --optimizer?"),
        ("-label y", "did you mean --label?"),
    ],
)
def test_options_of_other_programs_are_named_as_they_are_here(given, said, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "data.csv", "--label", "y", *given.split()])
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f" {said}" in error and error.count("--l2") == ("l2" in said)


@pytest.mark.parametrize(
    "given",
    ["--l3 1", "--best", "--late 3", "--name run", "--mode fast", "--rho 1", "more.csv", "-5"],
)
def test_no_option_of_another_meaning_is_offered(given, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "data.csv", "--label", "y", *given.split()])
    assert f"unrecognized arguments: {given}; see: " in capsys.readouterr().err


def test_names_of_other_programs_are_those_of_options_and_commands_that_there_are():
    from fastnn.cli import commands, option_hints

    parsers = commands._parser()._subparsers._group_actions[0].choices
    options = {option for each in parsers.values() for option in each._option_string_actions}
    named = {f"--{name}" for names in option_hints._NAMES.values() for name in names}
    advice = [pair for each in option_hints._ADVICE.values() for pair in each.values()]
    assert named | {f"--{needed}" for needed, _ in advice if needed} <= options
    for _, text in advice:
        assert {*re.findall(r"--[a-z][a-z0-9-]*", text)} <= options
    assert {*option_hints._COMMANDS.values()} <= parsers.keys()
    known = {option_hints._bare(option) for option in options}
    overlap = {*option_hints._NAMES, *option_hints._ADVICE} & known
    assert not overlap  # which would keep the option itself from being meant


@pytest.mark.parametrize(("asked", "meant"), [("fit", "train"), ("eval", "evaluate")])
def test_commands_of_other_programs_are_named_as_they_are_here(asked, meant, capsys):
    for arguments in ([asked], ["help", asked]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert f"did you mean {meant}?" in capsys.readouterr().err


def test_info_fits_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "/" not in line) <= 80


def test_info_names_versions_processor_vectors_threads_and_cache(capsys):
    rows = rows_of_info(capsys)
    assert {*rows["kernels"].values()} - {rows["kernels"]["made for"]} <= {
        "shipped", "compiled", "missing",
    }  # fmt: skip
    assert rows["fastnn"] == fastnn.__version__
    assert rows["python"] == platform.python_version()
    for name in ("numba", "numpy", "scipy"):
        assert rows[name] == importlib.metadata.version(name)
    assert platform.machine() in rows["processor"]
    assert rows["vectors"] in ("128 bits", "256 bits", "512 bits")
    assert rows["bfloat16"].startswith(("by AMX", "by AVX512_BF16", "cannot run: needs "))
    assert int(rows["threads"]) >= 1
    assert Path(rows["cache"]).is_dir()


def rows_of_info(capsys):
    assert cli.main(["info", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_info_says_why_there_is_no_device(capsys, monkeypatch):
    no_driver(monkeypatch)
    monkeypatch.setattr(availability, "package", lambda: "")
    rows = rows_of_info(capsys)
    assert rows["numba-cuda"] == "not installed"
    assert "driver" not in rows and "device" not in rows
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
    assert rows["device"] == ["Some Card, compute capability 9.0, 2.0 GiB, 132 multiprocessors"]
    assert (rows["NVVM"], rows["NVRTC"]) == ("2.0", "not found")
    assert rows["cuda"] == "runs on device 0"


def test_info_says_on_which_of_several_devices_kernels_run(capsys, monkeypatch):
    with_device(monkeypatch, count=3)
    monkeypatch.setattr(availability, "package", lambda: "0.30.4")
    monkeypatch.setattr(availability, "compilers", dict)
    old = {1: "too old"}
    monkeypatch.setattr(availability, "unavailable", lambda device=0: old.get(device, ""))
    rows = rows_of_info(capsys)
    assert len(rows["device"]) == 3
    assert rows["cuda"] == "runs on cuda:0, cuda:2"


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


def test_cache_prints_its_folder_and_clears_kernels_alone(tmp_path):
    """In a process of its own, since a process keeps the folder that it began with."""
    place = tmp_path / ("kernels-" + "0" * 16)
    place.mkdir(mode=0o700)
    (place / "old.kernel").write_bytes(b"12")
    (tmp_path / "notes.txt").write_text("mine")
    command = [sys.executable, "-m", "fastnn", "cache", "--clear"]
    environment = os.environ | {"FASTNN_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == f"removed 1 file, 2 bytes from {tmp_path}\n"
    assert not place.exists() and (tmp_path / "notes.txt").exists()


def test_examples_are_listed_and_a_wrong_name_offers_the_nearest(capsys):
    assert cli.main(["examples"]) == 0
    assert "softmax_digits" in capsys.readouterr().out
    assert cli.main(["examples", "softmax_digit"]) == 2
    assert "did you mean 'softmax_digits'" in capsys.readouterr().err


def test_an_example_runs_with_its_options(capsys):
    assert cli.main(["examples", "perceptron", "--no-such-option"]) == 2
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["warm", "--optimizer", "sgdd"], "unknown optimizer 'sgdd'; did you mean 'sgd'?"),
        (["warm", "--dtype", "float32", "--optimizer", "Adam"], "did you mean 'adam'?"),
        (["bench", "--dtype", "f"], "invalid choice: 'f'"),
    ],
)
def test_names_that_warm_and_bench_do_not_know_are_refused(arguments, said, capsys):
    try:
        code = cli.main(arguments)
    except SystemExit as end:
        code = end.code
    assert code == 2 and said in capsys.readouterr().err


def test_bench_names_what_it_measured(capsys, monkeypatch):
    monkeypatch.setattr(bench, "_CASES", (((4, 8, 2), 64, 16),))
    assert cli.main(["bench", "--target", "numpy", "--seconds", "0", "--json"]) == 0
    (case,) = json.loads(capsys.readouterr().out)
    assert case["network"] == "4-8-2" and case["where"] == "numpy, 1 thread"
    assert case["epochs_timed"] >= 3
    assert case["rows_per_second"] == pytest.approx(64 / case["seconds_per_epoch"])


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_and_a_closed_pipe_end_without_a_traceback(unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "fastnn", "help", "train"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=-1, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("fastnn: the standard output") and done.stderr.count("\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=-1, text=True, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
